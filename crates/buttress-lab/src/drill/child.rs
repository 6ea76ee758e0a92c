//! The process that is killed: it does the steps of some workflows, and tells what was acknowledged.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use buttress::{
    Event, Rejection, Teller,
    checkpoint::{CheckpointLayer, Effects, Halt, InDoubt, Keyed, Landing, Step},
    store::{Journal, Store, StoreError, TroubleKind},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    task::{JoinSet, LocalSet},
    time::{Instant, sleep},
};
use tower::{BoxError, Service, ServiceExt, service_fn};

use super::{
    point::{Fate, Point},
    tool::Receipt,
};

/// How long a server that was killed may take to come back.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a step of the drill does, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trade {
    /// An effect at a tool that honours keys; in doubt it is done again.
    Keyed,
    /// An effect at a tool that does not; in doubt it fails, and somebody looks.
    Blind,
    /// The same, and the checkpoint looks.
    Probed,
    /// No effect.
    Read,
}

impl Trade {
    pub(crate) const fn of(step: u32) -> Self {
        match step % 4 {
            0 => Self::Keyed,
            1 => Self::Blind,
            2 => Self::Probed,
            _ => Self::Read,
        }
    }
}

/// What the process is to do.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) tool: SocketAddr,
    /// The name that the workflows begin with.
    pub(crate) batch: String,
    pub(crate) workflows: u32,
    pub(crate) steps: u32,
}

/// The workflow at a place in a batch.
pub(crate) fn workflow(batch: &str, number: u32) -> String {
    format!("{batch}-{number}")
}

/// What the tool knows a step by.
pub(crate) fn at_the_tool(workflow: &str, step: u32) -> String {
    format!("{workflow}.{step}")
}

type Http = Client<HttpConnector, Empty<Bytes>>;

/// Does all steps of all workflows, the workflows at once, and says so line by line:
/// `told WORKFLOW STEP RECEIPT` for what was acknowledged, `doubt WORKFLOW STEP` for what was not done.
pub(crate) async fn work(
    store: Arc<dyn Store>,
    work: Work,
    fate: Arc<Fate>,
) -> Result<(), BoxError> {
    let journal = Journal::new(store).namespace("drill").ttl(Duration::from_millis(500));
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let local = LocalSet::new();
    let mut running = JoinSet::new();
    for number in 0..work.workflows {
        let (journal, client, work, fate) =
            (journal.clone(), client.clone(), work.clone(), fate.clone());
        let doing = async move {
            let name = workflow(&work.batch, number);
            for step in 0..work.steps {
                let way = Way { journal: &journal, client: &client, tool: work.tool, fate: &fate };
                let receipt = way.insist(&name, step).await?;
                say(format_args!("told {name} {step} {}", receipt.number))?;
                fate.pass(Point::Told);
            }
            Ok::<_, BoxError>(())
        };
        running.spawn_local_on(doing, &local);
    }
    let all = async {
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(())
    };
    local.run_until(all).await
}

/// One write a line: the reader never sees half of one that was not cut off by death.
fn say(line: std::fmt::Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

struct Way<'a> {
    journal: &'a Journal,
    client: &'a Http,
    tool: SocketAddr,
    fate: &'a Arc<Fate>,
}

impl Way<'_> {
    /// Does a step, again if the store was out of reach: what became of it then is the checkpoint's to know.
    async fn insist(&self, workflow: &str, step: u32) -> Result<Receipt, BoxError> {
        let started = Instant::now();
        loop {
            match self.go(workflow, step).await {
                Err(error) if out_of_reach(&*error) && started.elapsed() < PATIENCE => {
                    sleep(Duration::from_millis(50)).await;
                }
                done => return done,
            }
        }
    }

    async fn go(&self, workflow: &str, step: u32) -> Result<Receipt, BoxError> {
        self.fate.pass(Point::Start);
        let place = at_the_tool(workflow, step);
        match Trade::of(step) {
            Trade::Keyed => {
                let layer = self.layer(Effects::SideEffect(InDoubt::Retry));
                call(layer, self.tool(Method::POST, "keyed"), workflow, step, place).await
            }
            Trade::Read => {
                let layer = self.layer(Effects::ReadOnly);
                call(layer, self.tool(Method::GET, "read"), workflow, step, place).await
            }
            Trade::Probed => self.probed(workflow, step, place).await,
            Trade::Blind => {
                let layer = self.layer(Effects::SideEffect(InDoubt::Fail));
                let blind = self.tool(Method::POST, "blind");
                match call(layer, blind, workflow, step, place.clone()).await {
                    Err(error) if in_doubt(&*error) => {
                        say(format_args!("doubt {workflow} {step}"))?;
                        // Somebody looks at the tool's books, and settles it.
                        self.probed(workflow, step, place).await
                    }
                    done => done,
                }
            }
        }
    }

    async fn probed(&self, workflow: &str, step: u32, place: String) -> Result<Receipt, BoxError> {
        let landed = self.tool(Method::GET, "landed");
        let layer =
            self.layer(Effects::SideEffect(InDoubt::Fail)).probe(move |step: &Step<String>, _| {
                let looking = landed.clone().oneshot(step.clone());
                async move {
                    match looking.await {
                        Ok(receipt) => Ok(Landing::Landed(receipt)),
                        Err(error) if error.is::<Nothing>() => Ok(Landing::Absent),
                        Err(error) => Err(error),
                    }
                }
            });
        call(layer, self.tool(Method::POST, "blind"), workflow, step, place).await
    }

    fn layer(&self, effects: Effects) -> CheckpointLayer {
        let fate = self.fate.clone();
        // A process that died holds its workflows for a while yet, where the store outlives it.
        let layer = CheckpointLayer::new(self.journal.clone(), effects).wait_in_flight();
        layer.name("drill").observe(move |_: Teller<'_>, event: &Event| match event {
            Event::Intended { .. } => fate.pass(Point::Intended),
            Event::Recorded { .. } => fate.pass(Point::Recorded),
            _ => {}
        })
    }

    fn tool(
        &self,
        method: Method,
        path: &'static str,
    ) -> impl Service<Step<String>, Response = Receipt, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + use<> {
        let (client, tool, fate) = (self.client.clone(), self.tool, self.fate.clone());
        service_fn(move |step: Step<String>| {
            let (client, fate, method) = (client.clone(), fate.clone(), method.clone());
            async move {
                let mut request = Request::builder()
                    .method(method)
                    .uri(format!("http://{tool}/{path}/{}", step.request));
                if let Some(key) = &step.key {
                    request = request.header("idempotency-key", key.to_string());
                }
                let response = client.request(request.body(Empty::new())?).await?;
                let status = response.status();
                let body = response.into_body().collect().await?.to_bytes();
                if status == StatusCode::NOT_FOUND {
                    return Err(Nothing.into());
                }
                if !status.is_success() {
                    return Err(format!("the tool answered {status}").into());
                }
                fate.pass(Point::Answered);
                Ok(serde_json::from_slice(&body)?)
            }
        })
    }
}

async fn call<L, S>(
    layer: L,
    tool: S,
    workflow: &str,
    step: u32,
    place: String,
) -> Result<Receipt, BoxError>
where
    L: tower::Layer<S>,
    L::Service: Service<Step<String>, Response = Receipt, Error = BoxError>,
    Step<String>: Keyed,
{
    let step = Step::new(workflow, format!("step-{step}"), place);
    layer.layer(tool).oneshot(step).await
}

/// Whether a step was refused because it is in doubt.
fn in_doubt(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(Rejection::Halted { halt, .. }) if matches!(**halt, Halt::InDoubt { .. })
    )
}

/// Whether the store could not be asked, or did not answer.
fn out_of_reach(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    let Some(Rejection::Halted { halt, .. }) = error.downcast_ref() else { return false };
    let (Halt::Store(error) | Halt::Unrecorded { error, .. }) = &**halt else { return false };
    matches!(error, StoreError::Engine(trouble) if trouble.kind == TroubleKind::Unreachable)
}

/// The tool has nothing in its books.
#[derive(Debug)]
struct Nothing;

impl std::fmt::Display for Nothing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the tool was never asked")
    }
}

impl Error for Nothing {}

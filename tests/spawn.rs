//! Calls that are spawned: that it compiles is most of the test.
//!
//! Of a type that is named inside of an async block the compiler forgets, where it asks whether the
//! block is `Send`, that the boxed errors in it are `'static`
//! (<https://github.com/rust-lang/rust/issues/110338>). So a stack over such errors is spawned
//! without a block of its own, or comes out of a function that does not tell its type.

use std::{
    error::Error,
    fmt,
    future::{Future, ready},
    pin::Pin,
    time::Duration,
};

use buttress::{
    Answers, BreakerLayer, CallError, DegradeLayer, FailoverLayer, FallbackLayer, Fault,
    HedgeLayer, LimitLayer, QuorumLayer, Rejection, RespondLayer, RetryLayer, Stack, TimeoutLayer,
    Verdict, never,
};
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt, service_fn,
    util::{BoxCloneService, BoxCloneSyncService},
};

const SECOND: Duration = Duration::from_secs(1);

/// A type without a lifetime, also where a boxed error is inside.
#[derive(Debug)]
struct Failure(BoxError);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self(rejection.into())
    }
}

impl Fault for Failure {
    fn verdict(&self) -> Verdict {
        self.0.verdict()
    }
}

/// Answers with the request. Its type tells the error's, as that of any boxed service does.
fn model<E: Send + 'static>() -> BoxCloneSyncService<u32, u32, E> {
    BoxCloneSyncService::new(service_fn(|n| ready(Ok(n))))
}

/// One answer, to have the same response from every stack.
fn first(answers: Answers<u32>) -> u32 {
    answers.into_iter().map(|(_, answer)| answer).next().unwrap_or_default()
}

/// The stack in each of the shapes that calls are spawned in.
macro_rules! spawned {
    ($($name:ident: $($layer:expr),+;)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            /// The stack, whatever its type.
            fn hidden() -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static {
                ServiceBuilder::new()$(.layer($layer))+.service(model())
            }
            // Without a block, nothing is forgotten.
            let stack = ServiceBuilder::new()$(.layer($layer))+.service(model::<BoxError>());
            assert_eq!(tokio::spawn(stack.clone().oneshot(7)).await.unwrap().unwrap(), 7);
            // Boxed.
            let boxed = BoxCloneService::new(stack);
            let call = tokio::spawn(async move { boxed.oneshot(7).await });
            assert_eq!(call.await.unwrap().unwrap(), 7);
            // Hidden.
            all_shapes!(BoxError, hidden());
            // An error with a name of its own hides the boxed one as well.
            all_shapes!(Failure, ServiceBuilder::new()$(.layer($layer))+.service(model::<Failure>()));
        }
    )+};
}

macro_rules! all_shapes {
    ($error:ty, $stack:expr) => {{
        /// What an application puts a stack behind.
        trait Agent {
            fn ask(&self, n: u32) -> impl Future<Output = Result<u32, $error>> + Send;
        }
        struct Desk;
        impl Agent for Desk {
            async fn ask(&self, n: u32) -> Result<u32, $error> {
                $stack.oneshot(n).await
            }
        }
        async fn ask<S>(stack: S) -> Result<u32, $error>
        where
            S: Service<u32, Response = u32, Error = $error>,
        {
            stack.oneshot(7).await
        }

        let stack = $stack;
        let call = tokio::spawn(async move { stack.oneshot(7).await });
        assert_eq!(call.await.unwrap().unwrap(), 7);

        let mut stack = $stack;
        let call: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            let mut sum = 0;
            for n in 1..4 {
                sum += stack.ready().await?.call(n).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, $error>(sum)
        });
        assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), 6);

        let (one, other) = ($stack, $stack);
        let both = async move { tokio::join!(one.oneshot(7), ask(other)) };
        let (one, other) = tokio::spawn(both).await.unwrap();
        assert_eq!((one.unwrap(), other.unwrap()), (7, 7));

        let call = tokio::spawn(async { Desk.ask(7).await });
        assert_eq!(call.await.unwrap().unwrap(), 7);
    }};
}

spawned! {
    timeout: TimeoutLayer::new(SECOND);
    retry: RetryLayer::new();
    hedge: HedgeLayer::after(SECOND);
    breaker: BreakerLayer::default();
    limit: LimitLayer::adaptive();
    failover: FailoverLayer::active_active().standby("other", model());
    quorum: QuorumLayer::of(3);
    fallback: FallbackLayer::to(model()).then_fn(|n: &u32| Ok(*n));
    fallback_to_a_value: FallbackLayer::to(model()).then_value(7);
    fallback_with_the_last_error: FallbackLayer::to(model()).last_error();
    preset: Stack::tool("tool");
    degrade: tower::util::MapResponseLayer::new(first),
        DegradeLayer::new().optional("other", model());
    classified_by_a_closure: RetryLayer::new().classify(|outcome: Result<&u32, &_>| match outcome {
        Ok(_) => Verdict::success(),
        Err(_) => Verdict::transient(),
    });
    several: TimeoutLayer::new(SECOND), RetryLayer::new(), HedgeLayer::after(SECOND),
        BreakerLayer::default(), LimitLayer::adaptive();
}

#[tokio::test(start_paused = true)]
async fn errors_without_a_lifetime_are_spawned_as_they_are() {
    let model = service_fn(async |n: u32| Ok::<_, std::io::Error>(n));
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new())
        .layer(BreakerLayer::default())
        .map_err(CallError::Service)
        .service(model);
    let call = tokio::spawn(async move { stack.oneshot(7).await });
    assert_eq!(call.await.unwrap().unwrap(), 7);

    let cannot_fail = service_fn(async |n: u32| Ok::<_, std::convert::Infallible>(n));
    let stack = ServiceBuilder::new()
        .layer(RespondLayer::new(|_: Rejection| 503))
        .layer(RetryLayer::new())
        .map_err(never::<Rejection>)
        .service(cannot_fail);
    let call = tokio::spawn(async move { stack.oneshot(7).await });
    assert_eq!(call.await.unwrap().unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn sagas_and_transactions_can_be_spawned() {
    use buttress::{
        checkpoint::{Effects, InDoubt, Step},
        store::{Journal, MemoryStore},
    };
    use buttress_flow::{
        saga::{self, Action, Saga},
        transaction::{Coordinator, Outcome, Standing, Transaction},
    };
    use tower::BoxError;

    let journal = Journal::new(MemoryStore::new());
    let effects = Effects::SideEffect(InDoubt::Retry);
    let tool = service_fn(async |step: Step<u32>| Ok::<u32, BoxError>(step.request));
    let action = Action::new("double", effects, tool, |n: &u32| 2 * *n)
        .then(|n, response| *n = *response)
        .undo(effects, tool, |_, response| *response);
    let saga = Saga::new("double", journal.clone().namespace("sagas")).step(action);
    let run = tokio::spawn(async move {
        let report = saga.run("s1", 4).await;
        saga.recover().await.map(|_| report)
    });
    let report = run.await.unwrap().unwrap().unwrap();
    assert_eq!((report.outcome, report.state), (saga::Outcome::Completed, 8));

    let shop = service_fn(async |asked: Transaction<u32>| {
        Ok::<_, BoxError>(match asked.ask {
            buttress_flow::transaction::Ask::Commit => Standing::Committed,
            _ => Standing::Prepared,
        })
    });
    let coordinator = Coordinator::new(journal.namespace("transactions")).participant("shop", shop);
    let run = tokio::spawn(async move {
        let report = coordinator.run("t1", [("shop", 1)]).await;
        coordinator.recover().await.map(|_| report)
    });
    let report = run.await.unwrap().unwrap().unwrap();
    assert_eq!(report.outcome, Outcome::Committed);
}

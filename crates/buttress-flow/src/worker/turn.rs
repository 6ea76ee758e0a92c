//! One workflow, from the moment it was taken to the moment it is let go.

use std::{
    fmt::Display,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use buttress::{
    Event, Fault, Kind, Why,
    store::{
        Append, Begin, Begun, Claim, Digest, Entry, Finding, Journal, Keeper, Kept, Lease, Payload,
        Sealed, Settled, Store, StoreError, Ticket, WorkflowId,
    },
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Task,
    attempt::{Ending, handle},
    paper::{self, Attempts, Failure, Next},
    run::{Settings, Stop},
};

/// A workflow that is held.
pub(super) struct Turn<'a> {
    settings: &'a Settings,
    workflow: WorkflowId,
    journal: Journal,
    lease: Lease,
}

/// The lease is over, or not known to hold: nothing more is done under it.
struct Lost;

/// What is known of a workflow when it is taken up.
enum Found {
    Work {
        ticket: Ticket,
        input: Option<Payload>,
        attempts: Attempts,
    },
    /// Its result is there, and it only was not marked as ended.
    Done,
    /// It cannot be done.
    Broken {
        ticket: Ticket,
        message: String,
        attempts: u32,
    },
}

impl<'a> Turn<'a> {
    pub(super) fn new(settings: &'a Settings, lease: Lease) -> Self {
        let journal = settings.journal.clone().held(lease.clone());
        Self { settings, workflow: lease.workflow.clone(), journal, lease }
    }

    /// Does the workflow, unless its lease is lost on the way.
    pub(super) async fn run<H, F, T, E>(self, asked: Instant, handler: &H, stop: &Stop)
    where
        H: Fn(Task) -> F,
        F: Future<Output = Result<T, E>>,
        T: Serialize,
        E: Fault + Display,
    {
        let mut keeper =
            Keeper::new(self.store().clone(), self.lease.clone(), asked, self.settings.margin());
        let done = {
            let mut work = pin!(self.work(handler, stop));
            self.beside(&mut keeper, work.as_mut()).await
        };
        // What ran under the lease is gone by now.
        match done {
            Ok(Ok(())) => {}
            Ok(Err(Lost)) | Err(Lost) => self.tell(Event::Fenced { epoch: self.lease.epoch }),
        }
    }

    /// Polls `work` for as long as the lease provably holds, and keeps it.
    async fn beside<W: Future>(
        &self,
        keeper: &mut Keeper,
        mut work: Pin<&mut W>,
    ) -> Result<W::Output, Lost> {
        enum Step<T> {
            Kept(Kept),
            Done(T),
        }
        let mut failures = 0;
        loop {
            let until = keeper.tenure().until();
            let mut next = pin!(keeper.next());
            let step = poll_fn(|cx| {
                // Before the work is polled: a process that was stopped must not go on with it.
                if Instant::now() >= until {
                    return Poll::Ready(Step::Kept(Kept::Lapsed));
                }
                match next.as_mut().poll(cx) {
                    Poll::Ready(kept) => Poll::Ready(Step::Kept(kept)),
                    Poll::Pending => work.as_mut().poll(cx).map(Step::Done),
                }
            });
            match step.await {
                Step::Done(output) => return Ok(output),
                Step::Kept(Kept::Renewed(_)) => failures = 0,
                Step::Kept(Kept::Failed(error)) => {
                    failures += 1;
                    self.tell(Event::StoreFailed { attempt: failures, verdict: error.verdict() });
                }
                Step::Kept(Kept::Lapsed | Kept::Lost(_)) => return Err(Lost),
            }
        }
    }

    /// Everything that is done under the lease.
    async fn work<H, F, T, E>(&self, handler: &H, stop: &Stop) -> Result<(), Lost>
    where
        H: Fn(Task) -> F,
        F: Future<Output = Result<T, E>>,
        T: Serialize,
        E: Fault + Display,
    {
        let (ticket, input, attempts) = match self.look().await? {
            Found::Done => return self.finish().await,
            Found::Broken { ticket, message, attempts } => {
                return self.give_up(&ticket, message, attempts, Why::Permanent).await;
            }
            Found::Work { ticket, input, attempts } => (ticket, input, attempts),
        };
        let (attempt, begun) = match attempts.next(self.settings.attempts) {
            Next::Attempt(attempt, begun) => (attempt, begun),
            Next::GiveUp(made, message) => {
                return self.give_up(&ticket, message, made, Why::Attempts).await;
            }
        };
        self.note(&begun).await?;
        self.tell(Event::Claimed { attempt, epoch: self.lease.epoch });
        let task =
            Task { workflow: self.workflow.clone(), journal: self.journal.clone(), input, attempt };
        match handle(handler, task, stop, self.settings.grace).await {
            Ending::Done(payload) => {
                let settled = self.complete(&ticket, Entry::done(payload).finish()).await?;
                let version = settled.record.version;
                self.tell(Event::Recorded { attempt, version });
                Ok(())
            }
            Ending::Failed { verdict, message } => {
                self.tell(Event::Failed { attempt, verdict });
                if verdict.kind == Kind::Permanent {
                    return self.give_up(&ticket, message, attempt, Why::Permanent).await;
                }
                if attempt >= self.settings.attempts {
                    return self.give_up(&ticket, message, attempt, Why::Attempts).await;
                }
                let unit = self.settings.random.unit();
                let delay = self.settings.backoff.delay(attempt, Duration::ZERO, unit);
                let delay = delay.max(verdict.retry_after.unwrap_or_default());
                self.tell(Event::Retrying { attempt: attempt + 1, delay });
                self.note(&begun.failed(message)).await?;
                // Nobody takes it before its lease has run out.
                self.insist(|| self.store().renew(&self.lease, delay)).await.map(drop)
            }
            Ending::Interrupted => {
                self.note(&begun.interrupted()).await?;
                self.insist(|| self.store().release(&self.lease)).await
            }
        }
    }

    /// Reads what is kept of the workflow.
    async fn look(&self) -> Result<Found, Lost> {
        let mut broken = None;
        let (input, fingerprint) = match self.latest(paper::INPUT).await? {
            Ok(Some(found)) => (Some(found.payload.clone()), found.fingerprint),
            Ok(None) => (None, Digest::default()),
            Err(error) => {
                broken = Some(error.to_string());
                (None, Digest::default())
            }
        };
        let begin = Begin {
            workflow: self.workflow.clone(),
            step: paper::result(),
            fingerprint,
            claim: self.claim(),
            intent: false,
            restart: None,
            mark: None,
        };
        let ticket = match self.insist(|| self.store().begin(&begin)).await? {
            Begun::Fresh(ticket) => ticket,
            // A copy of a workflow that was done, or one whose input was healed after it.
            _ => return Ok(Found::Done),
        };
        // A count that rotted begins anew.
        let recorded = self.latest(paper::ATTEMPTS).await?.ok().flatten();
        let recorded = recorded.as_ref().map(|found| &found.payload);
        let attempts = Attempts::at(&self.workflow, recorded).unwrap_or_else(|error| {
            broken = broken.take().or_else(|| Some(error.to_string()));
            Attempts::default()
        });
        Ok(match broken {
            Some(message) => Found::Broken { ticket, message, attempts: attempts.count() },
            None => Found::Work { ticket, input, attempts },
        })
    }

    /// The newest record of a step; what is damaged is told and returned.
    async fn latest(&self, step: &'static str) -> Result<Result<Option<Sealed>, StoreError>, Lost> {
        let step = step.into();
        let found = self
            .insist(|| async {
                match self.store().latest(&self.workflow, Some(&step)).await {
                    Ok(found) => Ok(Ok(found)),
                    Err(error @ StoreError::Corrupt { .. }) => Ok(Err(error)),
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(match found {
            Ok(found) => Ok(found.map(|found| {
                for Finding { version, .. } in found.skipped {
                    self.tell(Event::Damaged { version });
                }
                found.record
            })),
            Err(error) => {
                if let StoreError::Corrupt { version: Some(version), .. } = error {
                    self.tell(Event::Damaged { version });
                }
                Err(error)
            }
        })
    }

    /// Writes down how the attempts stand.
    async fn note(&self, attempts: &Attempts) -> Result<(), Lost> {
        // A struct of numbers and texts can always be put into JSON.
        let Ok(payload) = paper::write("count of attempts", attempts) else { return Err(Lost) };
        let append = Append {
            workflow: self.workflow.clone(),
            step: paper::attempts(),
            claim: self.claim(),
            expect: None,
            parent: None,
            fingerprint: Digest::default(),
            entry: Entry::state(payload),
        };
        self.insist(|| self.store().append(append.clone())).await.map(drop)
    }

    /// Records the workflow as failed: nobody takes it up any more.
    async fn give_up(
        &self,
        ticket: &Ticket,
        message: String,
        attempts: u32,
        why: Why,
    ) -> Result<(), Lost> {
        let failure = Failure { message, attempts };
        let Ok(payload) = paper::write("failure", &failure) else { return Err(Lost) };
        self.complete(ticket, Entry::failed(payload).finish()).await?;
        self.tell(Event::GivenUp { attempt: attempts, why });
        Ok(())
    }

    async fn complete(&self, ticket: &Ticket, entry: Entry) -> Result<Settled, Lost> {
        self.insist(|| self.store().complete(ticket, entry.clone())).await
    }

    async fn finish(&self) -> Result<(), Lost> {
        let claim = self.claim();
        self.insist(|| self.store().finish(&self.workflow, &claim)).await
    }

    /// Asks the store again while it fails: whoever polls this knows for how long.
    async fn insist<F, T>(&self, act: impl Fn() -> F) -> Result<T, Lost>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut failures = 0;
        loop {
            match act().await {
                Ok(value) => return Ok(value),
                Err(error @ StoreError::Engine(_)) => {
                    failures += 1;
                    self.tell(Event::StoreFailed { attempt: failures, verdict: error.verdict() });
                    sleep((self.lease.ttl / 24).max(Duration::from_millis(1))).await;
                }
                // Taken by another, or deleted: it is not ours.
                Err(_) => return Err(Lost),
            }
        }
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.journal.store()
    }

    fn claim(&self) -> Claim {
        Claim::Held { epoch: self.lease.epoch }
    }

    fn tell(&self, event: Event) {
        self.settings.tell(&self.workflow, event);
    }
}

//! The one thread that writes: what waits for it goes into one commit.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::redb::Durability;
use buttress::{
    Event, Observe, Teller,
    store::{
        Head, Now, Retention, StepId, StoreError, WorkflowId,
        ledger::{Decided, Newest, Slot},
    },
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    file::File,
    meta::{LEAP, Meta},
    queue::Queue,
    rows::{self, Writing},
    trouble::{self, Stop},
};

/// A point in the work of the writer, for drills that end the process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Point {
    /// Operations were taken from the queue; nothing is written of them.
    BatchTaken,
    /// One operation of the batch was decided and written to the transaction.
    Applied,
    /// All were; nothing of it is durable.
    BeforeCommit,
    /// All is durable; nobody knows.
    AfterCommit,
    /// The answers go out next.
    BeforeReply,
}

impl Point {
    /// All points, in the order in which they are passed.
    pub const ALL: [Self; 5] =
        [Self::BatchTaken, Self::Applied, Self::BeforeCommit, Self::AfterCommit, Self::BeforeReply];

    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BatchTaken => "batch_taken",
            Self::Applied => "applied",
            Self::BeforeCommit => "before_commit",
            Self::AfterCommit => "after_commit",
            Self::BeforeReply => "before_reply",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What store and writer share.
pub(super) struct Shared {
    pub(super) file: File,
    pub(super) queue: Queue<Box<dyn Job>>,
    pub(super) retention: Retention,
    pub(super) quick_repair_above: u64,
    pub(super) observe: Arc<dyn Observe>,
    pub(super) on_point: Option<Arc<dyn Fn(Point) + Send + Sync>>,
    /// The last epoch that is known to be durable.
    pub(super) epoch: AtomicU64,
    /// Which start of the lease clock this is.
    pub(super) boot: AtomicU64,
}

impl Shared {
    /// Tells that a version is damaged, or something else (0) was.
    pub(super) fn tell_damage(&self, workflow: Option<&WorkflowId>, version: u64) {
        let workflow = workflow.map_or("", |workflow| &*workflow.workflow);
        let teller = Teller { pattern: "store", name: &self.file.name, workflow };
        self.observe.event(teller, &Event::Damaged { version });
    }

    fn pass(&self, point: Point) {
        if let Some(on_point) = &self.on_point {
            on_point(point);
        }
    }
}

/// An operation that waits for the writer.
pub(super) trait Job: Send {
    /// Decides and writes. Fails only if the engine does.
    fn apply(&mut self, view: &mut View<'_, '_>) -> Result<(), Stop>;

    /// Answers with what was decided, or with why the commit failed.
    fn answer(self: Box<Self>, failed: Option<&StoreError>);
}

/// A closure that waits for the writer.
pub(super) struct Call<T, F> {
    act: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Call<T, F>
where
    F: FnOnce(&mut View<'_, '_>) -> Result<T, Stop> + Send,
    T: Send,
{
    pub(super) fn new(act: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { act: Some(act), outcome: None, reply }, answer)
    }
}

impl<T, F> Job for Call<T, F>
where
    F: FnOnce(&mut View<'_, '_>) -> Result<T, Stop> + Send,
    T: Send,
{
    fn apply(&mut self, view: &mut View<'_, '_>) -> Result<(), Stop> {
        let Some(act) = self.act.take() else { return Ok(()) };
        self.outcome = Some(match act(view) {
            Ok(reply) => Ok(reply),
            Err(Stop::Refused(refused)) => Err(refused),
            Err(broken) => return Err(broken),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, failed: Option<&StoreError>) {
        let outcome = match (failed, self.outcome) {
            (Some(failed), _) => Err(failed.clone()),
            (None, Some(outcome)) => outcome,
            (None, None) => return,
        };
        // Whoever asked may have gone; it is done all the same.
        let _ = self.reply.send(outcome);
    }
}

/// What an operation sees and changes: the tables in the transaction of the batch.
pub(super) struct View<'v, 't> {
    pub(super) rows: &'v mut Writing<'t>,
    pub(super) meta: &'v mut Meta,
    pub(super) shared: &'v Shared,
}

impl View<'_, '_> {
    /// The head of a workflow; one that had rotten is written anew.
    pub(super) fn head(&mut self, workflow: &WorkflowId, now: Now) -> Result<Option<Head>, Stop> {
        let loaded = self.rows.head(workflow, now, self.meta.next())?;
        if let (true, Some(head)) = (loaded.rebuilt, &loaded.head) {
            self.put(head, false)?;
            self.shared.tell_damage(Some(workflow), 0);
        }
        Ok(loaded.head)
    }

    fn slot(&mut self, workflow: &WorkflowId, step: &StepId) -> Result<Slot, Stop> {
        let placed = self.rows.slot(workflow, step)?;
        if placed.searched {
            if let Slot::Intact(record) = &placed.slot {
                let prefix = super::key::workflow(workflow);
                self.rows.point(&prefix, step, Newest::of(record))?;
            }
            self.shared.tell_damage(Some(workflow), 0);
        }
        Ok(placed.slot)
    }

    pub(super) fn put(&mut self, head: &Head, new: bool) -> Result<(), Stop> {
        self.meta.epoch = self.meta.epoch.max(head.epoch).max(head.born);
        Ok(self.rows.put_head(head, new)?)
    }

    /// Decides about a workflow, and a step of it, and writes what was decided.
    pub(super) fn decide<T>(
        &mut self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        now: Now,
        decide: impl FnOnce(Option<Head>, Slot, u64) -> Result<Decided<T>, StoreError>,
    ) -> Result<T, Stop> {
        let head = self.head(workflow, now)?;
        let slot = match (&head, step) {
            (Some(_), Some(step)) => self.slot(workflow, step)?,
            _ => Slot::Empty,
        };
        let new = head.is_none();
        let Decided { reply, head, record, expired } = decide(head, slot, self.meta.next())?;
        if let Some(head) = head {
            self.put(&head, new)?;
            if let Some(written) = &record {
                self.rows.put_record(written)?;
            }
            for version in expired {
                self.rows.expire(workflow, version, &self.shared.retention)?;
            }
        }
        Ok(reply)
    }
}

/// Writes until the queue is closed and empty.
pub(super) fn run(shared: &Shared) {
    // Whatever ends this thread, nobody must wait for it.
    struct Closing<'a>(&'a Shared);
    impl Drop for Closing<'_> {
        fn drop(&mut self) {
            self.0.queue.close();
            drop(self.0.queue.take(0, Duration::ZERO));
        }
    }
    let closing = Closing(shared);
    let mut expected = 1;
    let mut patience = Duration::ZERO;
    loop {
        let mut batch = shared.queue.take(expected, patience);
        if batch.is_empty() {
            break;
        }
        expected = batch.len();
        let started = Instant::now();
        let committed = catch_unwind(AssertUnwindSafe(|| commit(shared, &mut batch)));
        patience = gather(started.elapsed());
        let failed = match committed {
            Ok(Ok(())) => None,
            Ok(Err(Stop::Broken(::redb::Error::Corrupted(what)))) => {
                Some(trouble::damaged(&shared.file.name, &what))
            }
            Ok(Err(Stop::Refused(why))) => Some(why),
            // redb goes on from neither an error of the disk nor a panic.
            Ok(Err(Stop::Broken(error))) => {
                Some(shared.file.close(trouble::engine(&shared.file.name, error)))
            }
            Err(payload) => {
                Some(shared.file.close(trouble::panicked(&shared.file.name, &*payload)))
            }
        };
        batch.into_iter().for_each(|job| job.answer(failed.as_ref()));
    }
    drop(closing);
}

/// How long to wait for those who were answered together: a fraction of what a commit takes.
fn gather(commit: Duration) -> Duration {
    (commit / 8).min(Duration::from_millis(1))
}

fn commit(shared: &Shared, batch: &mut [Box<dyn Job>]) -> Result<(), Stop> {
    shared.pass(Point::BatchTaken);
    let reopened = shared.file.reopen()?;
    let mut transaction = shared.file.write()?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(|error| Stop::Broken(::redb::StorageError::Corrupted(error.to_string()).into()))?;
    transaction.set_quick_repair(shared.file.source.len() > shared.quick_repair_above);
    let mut rows = Writing::open(&transaction)?;
    let found = load(shared, &rows)?;
    let mut meta = found;
    // Never less: an older copy may have been put in the place of the file.
    meta.epoch = meta.epoch.max(shared.epoch.load(Ordering::Acquire));
    // Another process may have had the file in between: what it gave away is not ours any more.
    if reopened && found.epoch > shared.epoch.load(Ordering::Acquire) {
        meta.epoch += 1;
        shared.boot.store(meta.epoch, Ordering::Release);
    }
    for job in &mut *batch {
        job.apply(&mut View { rows: &mut rows, meta: &mut meta, shared })?;
        shared.pass(Point::Applied);
    }
    if meta != found {
        rows::put_meta(&mut rows.meta, meta)?;
    }
    drop(rows);
    shared.pass(Point::BeforeCommit);
    transaction.commit()?;
    shared.epoch.fetch_max(meta.epoch, Ordering::AcqRel);
    shared.pass(Point::AfterCommit);
    shared.pass(Point::BeforeReply);
    Ok(())
}

/// What is kept of the store as a whole. If it has rotten, epochs leap over what may have been given away.
pub(super) fn load(shared: &Shared, rows: &Writing<'_>) -> Result<Meta, Stop> {
    match rows::meta(&rows.meta)? {
        Some(Ok(meta)) => Ok(meta),
        Some(Err(_)) | None => {
            shared.tell_damage(None, 0);
            let epoch = shared.epoch.load(Ordering::Acquire).saturating_add(LEAP);
            Ok(Meta { epoch, ..Meta::NEW })
        }
    }
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use super::{Act, Counts, Hold, ProbeRequest, Readiness, ledger::Shared};

/// Scripts a [`ProbeService`](super::ProbeService) and asks what became of it.
///
/// # Clone
/// Clones are handles to the same probe.
#[derive(Clone, Debug)]
pub struct ProbeHandle {
    shared: Arc<Shared>,
}

impl ProbeHandle {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Plans the next calls, one each, after those that are planned already.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        let acts: Vec<Act> = acts.into_iter().collect();
        self.shared.with(|ledger, _| ledger.script.extend(acts));
    }

    /// Sets how calls go that are not planned; they answer at once by default.
    pub fn otherwise(&self, act: Act) {
        self.shared.with(|ledger, _| ledger.otherwise = act);
    }

    /// Plans the next polls for readiness, of whatever instance, as far as they are not decided
    /// by an earlier one: an instance that is ready stays so.
    pub fn readiness(&self, steps: impl IntoIterator<Item = Readiness>) {
        let steps: Vec<Readiness> = steps.into_iter().collect();
        self.shared.with(|ledger, _| ledger.readiness.extend(steps));
    }

    /// Sets how long calls to come keep their permits; until they have ended by default.
    pub fn hold(&self, hold: Hold) {
        self.shared.with(|ledger, _| ledger.hold = hold);
    }

    /// Lets no further instance become ready.
    pub fn block(&self) {
        self.shared.with(|ledger, after| ledger.block(true, after));
    }

    /// Lets instances become ready again, and wakes those that are pending.
    pub fn unblock(&self) {
        self.shared.with(|ledger, after| ledger.block(false, after));
    }

    /// Wakes all instances that are pending on readiness, whether or not they would be ready.
    pub fn wake(&self) {
        self.shared.with(|ledger, after| ledger.wake(after));
    }

    /// Ends a call that hangs, counted from 1, as another [`Act`].
    pub fn end(&self, call: u64, act: Act) {
        self.shared.with(|ledger, after| ledger.end(call, act, after));
    }

    /// A request whose clones are [counted](Counts::copies).
    pub fn request(&self, id: u64) -> ProbeRequest {
        ProbeRequest::counted(id, self.shared.clone())
    }

    /// What is alive, and what has been.
    pub fn counts(&self) -> Counts {
        self.shared.with(|ledger, _| ledger.counts)
    }

    /// Asserts that no call is running and no future, nor a reply, is kept.
    ///
    /// # Panics
    /// Otherwise; law 6.
    #[track_caller]
    pub fn assert_nothing_running(&self) {
        let Counts { in_flight, futures, replies, .. } = self.counts();
        assert!(
            in_flight == 0,
            "law 6: {in_flight} calls are still running; losers are dropped before the winner is \
             returned, and a dropped call leaves nothing"
        );
        assert!(futures == 0, "law 6: {futures} futures that have ended are still kept");
        assert!(replies == 0, "law 6: {replies} replies are still kept");
    }

    /// Asserts that no instance is left pending, or was given a permit that nobody fetches.
    ///
    /// # Panics
    /// Otherwise; law 5.
    #[track_caller]
    pub fn assert_nothing_waiting(&self) {
        let waiting = self.counts().waiting;
        assert!(
            waiting == 0,
            "law 5: {waiting} instances are left pending and nobody polls them; the permits they \
             are given are lost to all others"
        );
    }

    /// Asserts that so many instances hold a permit without a call.
    ///
    /// # Panics
    /// Otherwise; law 2 if there are too many, law 4 if there should be none.
    #[track_caller]
    pub fn assert_reserved(&self, expected: u64) {
        let found = self.counts().reservations;
        let law = match expected {
            0 => "law 4: a readied instance is left unused",
            _ => "law 2: readiness is reserved once, and kept until the call",
        };
        assert!(found == expected, "{law}: {found} reservations instead of {expected}");
    }

    /// Asserts that never more than one instance held a permit without a call.
    ///
    /// # Panics
    /// Otherwise; law 5.
    #[track_caller]
    pub fn assert_one_readiness_at_a_time(&self) {
        let most = self.counts().max_reservations;
        assert!(most <= 1, "law 5: {most} readinesses were held at the same time");
    }

    /// Asserts that some instance is pending, and that each that is would wake this waker.
    ///
    /// # Panics
    /// Otherwise: whoever was told pending, and by whom, would wait for ever.
    #[track_caller]
    pub fn assert_would_wake(&self, waker: &Waker) {
        let (waiting, others) = self.shared.with(|ledger, _| {
            let others = ledger.waiting().filter(|other| !other.will_wake(waker)).count();
            (ledger.waiting().count(), others)
        });
        assert!(waiting > 0, "law 5: pending was returned, but no instance is pending");
        assert!(others == 0, "law 5: {others} of {waiting} pending instances would wake another");
    }

    /// Asserts that nothing is running, kept, reserved or pending: all permits are free.
    ///
    /// Instances may be alive.
    ///
    /// # Panics
    /// Otherwise, with the law that was broken.
    #[track_caller]
    pub fn assert_idle(&self) {
        self.assert_nothing_running();
        self.assert_nothing_waiting();
        self.assert_reserved(0);
    }

    /// Asserts that nothing at all is left but handles.
    ///
    /// # Panics
    /// Otherwise, with the law that was broken.
    #[track_caller]
    pub fn assert_gone(&self) {
        self.assert_idle();
        let instances = self.counts().instances;
        assert!(instances == 0, "law 2: {instances} instances are still alive");
    }
}

/// A waker that counts how often it was woken.
///
/// ```
/// use buttress_sim::probe::Alarm;
///
/// let alarm = Alarm::new();
/// alarm.waker().wake_by_ref();
/// assert_eq!(alarm.count(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Alarm {
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Alarm {
    /// An alarm that has not been woken.
    pub fn new() -> Self {
        let bell = Arc::new(Bell::default());
        Self { waker: bell.clone().into(), bell }
    }

    /// The waker; clone it at will.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// How often it was woken.
    pub fn count(&self) -> u64 {
        self.bell.0.load(Ordering::Relaxed)
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

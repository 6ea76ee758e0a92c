//! How long a lease can be relied upon without asking.

use std::time::Duration;

use tokio::time::Instant;

use super::Lease;

/// Stores count leases in milliseconds: what was granted within one may be over that much sooner.
const TICK: Duration = Duration::from_millis(1);

/// Longer than any process: an [`Instant`] cannot hold just any duration.
const EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// Until when a lease provably holds, on the clock of the process that has it.
///
/// The store counts the lease from when it wrote it, which was not before it was asked. So it is counted
/// here from *before the request was sent*: whatever the request, the answer or this process were
/// delayed by, it is over here before it is over there. The margin makes up for clocks that do not run at the same
/// rate.
///
/// ```
/// use std::time::Duration;
/// use buttress::store::{Lease, Tenure, WorkflowId};
/// use tokio::time::Instant;
///
/// let (asked, second) = (Instant::now(), Duration::from_secs(1));
/// let lease = Lease {
///     workflow: WorkflowId::new("leaders", "scheduler"), epoch: 7, owner: "a".into(), ttl: 10 * second,
/// };
/// let tenure = Tenure::granted(&lease, asked, second);
/// assert!(tenure.holds(asked + 8 * second));
/// assert!(!tenure.holds(asked + 9 * second));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenure {
    epoch: u64,
    asked: Instant,
    until: Instant,
    ttl: Duration,
}

impl Tenure {
    /// The tenure of a lease that was asked for at `asked`, or later. Of the margin no more counts than
    /// half of the lease's time.
    pub fn granted(lease: &Lease, asked: Instant, margin: Duration) -> Self {
        // What is less than a tick does not reach the store.
        let millis = u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX);
        let ttl = Duration::from_millis(millis).min(EVER);
        let proven = ttl.saturating_sub(TICK).saturating_sub(margin.min(ttl / 2));
        Self { epoch: lease.epoch, asked, until: asked + proven, ttl }
    }

    /// The epoch of the lease.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// From here on it is not known to hold.
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Whether it is known to hold.
    pub fn holds(&self, now: Instant) -> bool {
        now < self.until
    }

    /// When it should be renewed: after a third of its time, so that there are several tries.
    pub fn renewal(&self) -> Instant {
        (self.asked + self.ttl / 3).min(self.until)
    }

    /// How long to wait after a renewal that failed, and at most for its answer.
    pub(super) fn pauses(&self) -> (Duration, Duration) {
        ((self.ttl / 12).max(TICK), (self.ttl / 3).max(TICK))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::{Head, Now, WorkflowId, ledger};

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(ttl: Duration) -> Lease {
        Lease { workflow: WorkflowId::new("leaders", "a"), epoch: 1, owner: "a".into(), ttl }
    }

    #[test]
    fn it_ends_a_margin_and_a_tick_before_the_lease() {
        let asked = Instant::now();
        let tenure = Tenure::granted(&lease(9 * SECOND), asked, SECOND);
        assert_eq!(tenure.until(), asked + 8 * SECOND - TICK);
        assert!(tenure.holds(asked) && !tenure.holds(tenure.until()));
        assert_eq!(tenure.renewal(), asked + 3 * SECOND);
    }

    #[test]
    fn no_margin_takes_more_than_half_and_no_lease_is_too_short_or_too_long() {
        let asked = Instant::now();
        let half = Tenure::granted(&lease(8 * SECOND), asked, Duration::MAX);
        assert_eq!(half.until(), asked + 4 * SECOND - TICK);
        for short in [Duration::ZERO, Duration::from_micros(1_999)] {
            let tenure = Tenure::granted(&lease(short), asked, Duration::ZERO);
            assert!(!tenure.holds(asked), "{short:?}");
            assert!(tenure.renewal() <= tenure.until());
        }
        assert!(
            Tenure::granted(&lease(Duration::MAX), asked, SECOND).holds(asked + 1_000 * SECOND)
        );
    }

    /// What a candidate does, and what becomes of the request on its way there and back.
    #[derive(Clone, Copy, Debug)]
    struct Act {
        candidate: usize,
        wait: u64,
        resign: bool,
        there: Option<u64>,
        back: Option<u64>,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let delay = || prop_oneof![4 => (0..50_000_u64).prop_map(Some), 1 => (0..3_000_000_u64).prop_map(Some), 1 => Just(None)];
        let act = (0..2_usize, 0..700_000_u64, prop::bool::weighted(0.1), delay(), delay());
        prop::collection::vec(
            act.prop_map(|(candidate, wait, resign, there, back)| Act {
                candidate,
                wait,
                resign,
                there,
                back,
            }),
            1..60,
        )
    }

    #[derive(Clone, Debug)]
    enum Request {
        Acquire(Arc<str>),
        Renew(Lease),
        Release(Lease),
    }

    /// On its way to the store, or back from it.
    #[derive(Clone, Debug)]
    struct Message {
        at: u64,
        candidate: usize,
        /// The number of the request, and when it was sent on the sender's clock.
        number: usize,
        asked: u64,
        back: Option<u64>,
        what: What,
    }

    #[derive(Clone, Debug)]
    enum What {
        Request(Request),
        Answer(Option<Lease>),
    }

    #[derive(Default)]
    struct Candidate {
        lease: Option<Lease>,
        candidacy: u32,
        /// Answers to earlier requests are not waited for.
        newest: usize,
        /// When it admits, in true time: from, until.
        admits: Vec<(u64, u64)>,
    }

    /// The store's lease of a simulated world in microseconds, of which it keeps milliseconds.
    #[derive(Default)]
    struct World {
        head: Option<Head>,
        epoch: u64,
    }

    impl World {
        fn serve(&mut self, at: u64, request: Request, ttl: Duration) -> Option<Lease> {
            let now = Now { boot: 0, clock: at / 1_000, wall: 0 };
            let workflow = WorkflowId::new("leaders", "a");
            let head = self.head.clone();
            let decided = match request {
                Request::Acquire(owner) => {
                    ledger::acquire(head, &workflow, &owner, ttl, now, self.epoch + 1).ok()?
                }
                Request::Renew(lease) => ledger::renew(head, &lease, ttl, now).ok()?,
                Request::Release(lease) => {
                    if let Some(head) = ledger::release(head, &lease).head {
                        self.head = Some(head);
                    }
                    return None;
                }
            };
            self.epoch = self.epoch.max(decided.head.as_ref().map_or(0, |head| head.epoch));
            self.head = decided.head;
            Some(decided.reply)
        }
    }

    /// Plays the acts, and says when each of the two admits. `rates` are those of their clocks, in
    /// thousandths; `from` is when tenure is counted from: the request, or (wrongly) the answer.
    fn play(
        acts: Vec<Act>,
        ttl: Duration,
        margin: Duration,
        rates: [u64; 2],
        from_request: bool,
    ) -> [Vec<(u64, u64)>; 2] {
        let start = Instant::now();
        let local = |candidate: usize, at: u64| at * rates[candidate] / 1_000;
        let mut world = World::default();
        let mut candidates = [Candidate::default(), Candidate::default()];
        let mut under_way: Vec<Message> = vec![];
        let mut clock = 0;
        let mut deliver = |under_way: &mut Vec<Message>,
                           candidates: &mut [Candidate; 2],
                           until: u64| {
            while let Some(next) = (0..under_way.len())
                .min_by_key(|n| under_way[*n].at)
                .filter(|n| under_way[*n].at <= until)
            {
                let message = under_way.swap_remove(next);
                match message.what {
                    What::Request(request) => {
                        let answer = world.serve(message.at, request, ttl);
                        if let Some(back) = message.back {
                            let at = message.at + back;
                            under_way.push(Message { at, what: What::Answer(answer), ..message });
                        }
                    }
                    What::Answer(answer) => {
                        let candidate = &mut candidates[message.candidate];
                        if message.number != candidate.newest {
                            continue;
                        }
                        match answer {
                            Some(lease) => {
                                let asked = if from_request {
                                    message.asked
                                } else {
                                    local(message.candidate, message.at)
                                };
                                let asked = start + Duration::from_micros(asked);
                                let tenure = Tenure::granted(&lease, asked, margin);
                                let until = (tenure.until() - start).as_micros() as u64;
                                // Rounded up: rather too long than too short.
                                let until = (until * 1_000).div_ceil(rates[message.candidate]);
                                if until > message.at {
                                    candidate.admits.push((message.at, until));
                                }
                                candidate.lease = Some(lease);
                            }
                            // Refused: if it was a renewal, somebody else has the office.
                            None if candidate.lease.take().is_some() => candidate.candidacy += 1,
                            None => {}
                        }
                    }
                }
            }
        };
        for (number, act) in acts.into_iter().enumerate() {
            clock += act.wait;
            deliver(&mut under_way, &mut candidates, clock);
            let candidate = &mut candidates[act.candidate];
            candidate.newest = number;
            let request = match candidate.lease.clone() {
                Some(lease) if act.resign => {
                    candidate.lease = None;
                    candidate.candidacy += 1;
                    for (from, until) in &mut candidate.admits {
                        *until = clock.min(*until).max(*from);
                    }
                    candidate.admits.retain(|(from, until)| from < until);
                    Request::Release(lease)
                }
                Some(lease) => Request::Renew(lease),
                None => {
                    Request::Acquire(format!("{}.{}", act.candidate, candidate.candidacy).into())
                }
            };
            if let Some(there) = act.there {
                under_way.push(Message {
                    at: clock + there,
                    candidate: act.candidate,
                    number,
                    asked: local(act.candidate, clock),
                    back: act.back,
                    what: What::Request(request),
                });
            }
        }
        deliver(&mut under_way, &mut candidates, u64::MAX);
        candidates.map(|candidate| candidate.admits)
    }

    fn overlap(admits: &[Vec<(u64, u64)>; 2]) -> bool {
        let [one, other] = admits;
        one.iter().any(|a| other.iter().any(|b| a.0 < b.1 && b.0 < a.1))
    }

    proptest! {
        #[test]
        fn two_never_admit_at_once(acts in acts(), ttl in 2_000..2_000_000_u64) {
            let ttl = Duration::from_micros(ttl);
            let admits = play(acts, ttl, Duration::ZERO, [1_000, 1_000], true);
            prop_assert!(!overlap(&admits), "{:?}", admits);
        }

        #[test]
        fn a_margin_makes_up_for_clocks_that_run_apart(
            acts in acts(), ttl in 100..2_000_u64, rates in [900..1_100_u64, 900..1_100_u64],
        ) {
            let ttl = Duration::from_millis(ttl);
            // A clock that runs at nine tenths takes a ninth longer for the same time.
            let admits = play(acts, ttl, ttl / 9, rates, true);
            prop_assert!(!overlap(&admits), "{:?}", admits);
        }
    }

    /// The check can fail: counted from the answer, two do admit at once.
    #[test]
    fn counted_from_the_answer_two_admit_at_once() {
        let act = |candidate, wait, back| Act {
            candidate,
            wait,
            resign: false,
            there: Some(0),
            back: Some(back),
        };
        let acts = vec![act(0, 0, 900_000), act(1, 1_100_000, 0)];
        let ttl = SECOND;
        assert!(overlap(&play(acts.clone(), ttl, Duration::ZERO, [1_000, 1_000], false)));
        assert!(!overlap(&play(acts, ttl, Duration::ZERO, [1_000, 1_000], true)));
    }

    #[test]
    fn a_slow_clock_needs_a_margin() {
        let act =
            |candidate, wait| Act { candidate, wait, resign: false, there: Some(0), back: Some(0) };
        let acts = vec![act(0, 0), act(1, 1_010_000)];
        let rates = [900, 1_000];
        assert!(overlap(&play(acts.clone(), SECOND, Duration::ZERO, rates, true)));
        assert!(!overlap(&play(acts, SECOND, SECOND / 9, rates, true)));
    }
}

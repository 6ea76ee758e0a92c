//! When the next attempt of a call starts, and at which target: times in, a decision out.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Kind, Why};

/// What a failed attempt does to the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// The next attempt starts at once, in the same poll.
    #[default]
    Next,
    /// The next attempt starts when its delay has passed.
    Wait,
    /// The failure is returned at once, and the other attempts are dropped.
    Propagate,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Start an attempt.
    Launch(Why),
    /// Start one at this time, should nothing happen before.
    At(Instant),
    /// Start none while others run.
    Hold,
    /// Start none at all.
    Stop(Why),
}

/// What a failed attempt means for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The call goes on.
    Race,
    /// This failure is the answer.
    Return,
}

/// The course of one call.
#[derive(Clone, Debug)]
pub(super) struct Course {
    attempts: u32,
    on_failure: OnFailure,
    launched: u32,
    running: u32,
    targets: u32,
    /// Targets that further attempts must not go to, a bit each.
    barred: u64,
    /// The target of the attempt launched last.
    target: u32,
    /// When the last attempt was launched; the first when the call began.
    last: Option<Instant>,
    /// A failure asks for the next attempt now.
    urge: bool,
    /// A failure that nobody understands: none starts while others run.
    puzzled: bool,
    stopped: Option<Why>,
}

/// Targets that fit into the bits of a word.
pub(super) const MOST_TARGETS: u32 = 64;

impl Course {
    /// A call whose first attempt, at target 0, has been launched.
    pub(super) fn new(attempts: u32, targets: u32, on_failure: OnFailure) -> Self {
        Self {
            attempts,
            on_failure,
            launched: 1,
            running: 1,
            targets: targets.clamp(1, MOST_TARGETS),
            barred: 0,
            target: 0,
            last: None,
            urge: false,
            puzzled: false,
            stopped: None,
        }
    }

    pub(super) const fn launched(&self) -> u32 {
        self.launched
    }

    pub(super) const fn running(&self) -> u32 {
        self.running
    }

    /// Whether the attempt to be launched next is the last one.
    pub(super) const fn is_last(&self) -> bool {
        self.launched + 1 >= self.attempts
    }

    pub(super) const fn is_barred(&self, target: u32) -> bool {
        self.barred & (1 << target) != 0
    }

    /// Whether none is to be started while others run.
    pub(super) const fn is_held(&self) -> bool {
        self.puzzled && self.running > 0
    }

    /// What is to be done; `begun` is when the call began, `gap` tells the wait after the attempt
    /// launched last.
    pub(super) fn next(
        &self,
        begun: Instant,
        now: impl FnOnce() -> Instant,
        gap: impl FnOnce() -> Option<Duration>,
    ) -> Next {
        if let Some(why) = self.stopped {
            return Next::Stop(why);
        }
        if self.launched >= self.attempts {
            return Next::Stop(Why::Attempts);
        }
        if self.is_held() {
            return Next::Hold;
        }
        if self.urge {
            return Next::Launch(Why::Failure);
        }
        let Some(gap) = gap() else {
            return if self.running > 0 { Next::Hold } else { Next::Stop(Why::NoGain) };
        };
        if gap.is_zero() {
            return Next::Launch(Why::Schedule);
        }
        let now = now();
        match self.last.unwrap_or(begun).checked_add(gap) {
            Some(at) if at <= now => Next::Launch(Why::Delay),
            Some(at) => Next::At(at),
            // Further off than a clock can tell.
            None if self.running > 0 => Next::Hold,
            None => Next::Stop(Why::NoGain),
        }
    }

    /// The target of the next attempt: the next in turn that is not barred.
    pub(super) fn next_target(&self) -> Option<u32> {
        (1..=self.targets)
            .map(|step| (self.target + step) % self.targets)
            .find(|target| !self.is_barred(*target))
    }

    /// An attempt was launched.
    pub(super) fn launch(&mut self, target: u32, now: Instant) {
        self.launched += 1;
        self.running += 1;
        self.target = target;
        self.last = Some(now);
        self.urge = false;
        self.puzzled = false;
    }

    /// The attempt that should have been launched could not be made ready.
    pub(super) fn not_ready(&mut self, target: u32) {
        self.launched += 1;
        self.bar(target, Why::NotReady);
        self.urge = true;
    }

    /// No further attempt is to be made. The first reason stands.
    pub(super) fn stop(&mut self, why: Why) {
        self.stopped.get_or_insert(why);
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, kind: Kind, target: u32) -> After {
        self.running -= 1;
        match kind {
            Kind::Success | Kind::Permanent => return After::Return,
            Kind::Throttled => self.bar(target, Why::Throttled),
            Kind::Reroute => self.bar(target, Why::Reroute),
            Kind::Unknown => self.puzzled = true,
            Kind::Transient | Kind::Rejected => {}
        }
        match self.on_failure {
            OnFailure::Next => self.urge = true,
            OnFailure::Wait => {}
            OnFailure::Propagate => return After::Return,
        }
        After::Race
    }

    fn bar(&mut self, target: u32, why: Why) {
        self.barred |= 1 << target;
        if self.next_target().is_none() {
            self.stop(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn every_second() -> Option<Duration> {
        Some(SECOND)
    }

    /// Times are offsets from one start; no clock is read but this once.
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn starts_one_after_each_gap() {
        let t = start();
        let mut course = Course::new(3, 1, OnFailure::Next);
        assert_eq!(course.next(t, || t, every_second), Next::At(t + SECOND));
        let late = t + SECOND;
        assert_eq!(course.next(t, || late, every_second), Next::Launch(Why::Delay));
        course.launch(0, late);
        assert_eq!(course.next(t, || late, every_second), Next::At(t + 2 * SECOND));
        course.launch(0, t + 2 * SECOND);
        assert_eq!(course.next(t, || t, every_second), Next::Stop(Why::Attempts));
    }

    #[test]
    fn reads_no_clock_for_what_is_immediate() {
        let clock = || -> Instant { panic!("no clock is needed") };
        let mut course = Course::new(2, 1, OnFailure::Next);
        assert_eq!(
            course.next(start(), clock, || Some(Duration::ZERO)),
            Next::Launch(Why::Schedule)
        );
        course.failed(Kind::Transient, 0);
        assert_eq!(course.next(start(), clock, every_second), Next::Launch(Why::Failure));
        let single = Course::new(1, 1, OnFailure::Next);
        assert_eq!(single.next(start(), clock, every_second), Next::Stop(Why::Attempts));
    }

    #[test]
    fn each_kind_is_read_as_the_table_says() {
        let t = start();
        let after = |kind, targets| {
            let mut course = Course::new(9, targets, OnFailure::Next);
            course.launch(0, t);
            let after = course.failed(kind, 0);
            (after, course.next(t, || t, every_second), course.next_target())
        };
        let go = Next::Launch(Why::Failure);
        assert_eq!(after(Kind::Transient, 1), (After::Race, go, Some(0)));
        assert_eq!(after(Kind::Rejected, 1), (After::Race, go, Some(0)));
        assert_eq!(after(Kind::Throttled, 1), (After::Race, Next::Stop(Why::Throttled), None));
        assert_eq!(after(Kind::Throttled, 3), (After::Race, go, Some(1)));
        assert_eq!(after(Kind::Reroute, 1), (After::Race, Next::Stop(Why::Reroute), None));
        assert_eq!(after(Kind::Reroute, 2), (After::Race, go, Some(1)));
        assert_eq!(after(Kind::Permanent, 1).0, After::Return);
        assert_eq!(after(Kind::Unknown, 1), (After::Race, Next::Hold, Some(0)));
    }

    #[test]
    fn the_unknown_holds_only_while_others_run() {
        let t = start();
        let mut course = Course::new(9, 1, OnFailure::Next);
        course.launch(0, t);
        course.failed(Kind::Unknown, 0);
        assert_eq!(course.next(t, || t + 5 * SECOND, every_second), Next::Hold);
        course.failed(Kind::Transient, 0);
        assert_eq!(course.next(t, || t, every_second), Next::Launch(Why::Failure));
    }

    #[test]
    fn a_failure_may_wait_or_end_the_call() {
        let t = start();
        let mut course = Course::new(9, 1, OnFailure::Wait);
        course.failed(Kind::Transient, 0);
        assert_eq!(course.next(t, || t, every_second), Next::At(t + SECOND));
        let mut course = Course::new(9, 1, OnFailure::Propagate);
        course.launch(0, t);
        assert_eq!(course.failed(Kind::Transient, 0), After::Return);
    }

    #[test]
    fn targets_take_turns() {
        let t = start();
        let mut course = Course::new(9, 3, OnFailure::Next);
        let mut seen = vec![];
        for _ in 0..4 {
            let target = course.next_target().unwrap();
            course.launch(target, t);
            seen.push(target);
        }
        assert_eq!(seen, [1, 2, 0, 1]);
        course.not_ready(2);
        assert_eq!(course.next_target(), Some(0));
    }

    #[test]
    fn the_last_attempt_is_known_before_it_starts() {
        let t = start();
        let mut course = Course::new(3, 1, OnFailure::Next);
        assert!(!course.is_last());
        course.launch(0, t);
        assert!(course.is_last());
    }

    #[test]
    fn an_endless_gap_holds_only_while_others_run() {
        let t = start();
        let mut course = Course::new(3, 1, OnFailure::Wait);
        let endless = || Some(Duration::MAX);
        assert_eq!(course.next(t, || t, endless), Next::Hold);
        assert_eq!(course.next(t, || t, || None), Next::Hold);
        course.failed(Kind::Transient, 0);
        assert_eq!(course.next(t, || t, endless), Next::Stop(Why::NoGain));
        assert_eq!(course.next(t, || t, || None), Next::Stop(Why::NoGain));
    }

    #[test]
    fn what_puzzled_is_settled_by_the_next_attempt() {
        let t = start();
        let mut course = Course::new(9, 1, OnFailure::Wait);
        course.failed(Kind::Unknown, 0);
        course.launch(0, t);
        assert!(!course.is_held());
        assert_eq!(course.next(t, || t, every_second), Next::At(t + SECOND));
    }

    #[test]
    fn an_attempt_that_could_not_be_made_ready_counts_and_hands_on() {
        let t = start();
        let mut course = Course::new(3, 3, OnFailure::Wait);
        course.not_ready(1);
        assert_eq!(course.launched(), 2);
        assert_eq!(course.next(t, || t, every_second), Next::Launch(Why::Failure));
        assert_eq!(course.next_target(), Some(2));
        course.not_ready(2);
        assert_eq!(course.next(t, || t, every_second), Next::Stop(Why::Attempts));
    }

    #[test]
    fn the_first_reason_to_stop_stands() {
        let t = start();
        let mut course = Course::new(9, 1, OnFailure::Next);
        course.launch(0, t);
        course.stop(Why::Budget);
        course.failed(Kind::Throttled, 0);
        assert_eq!(course.next(t, || t, every_second), Next::Stop(Why::Budget));
    }

    proptest! {
        /// Whatever happens, attempts are bounded, barred targets stay unused, and a course
        /// without running attempts either goes on or stops: it never holds for nobody.
        #[test]
        fn never_wedges_nor_overruns(
            attempts in 1_u32..8, targets in 1_u32..5, failure in 0_usize..3,
            gaps in prop::collection::vec(prop::option::of(0_u64..3), 8),
            events in prop::collection::vec((0_usize..7, any::<bool>(), 0_u64..3), 0..40),
        ) {
            let on_failure = [OnFailure::Next, OnFailure::Wait, OnFailure::Propagate][failure];
            let mut course = Course::new(attempts, targets, on_failure);
            let mut now = start();
            let begun = now;
            let mut running = vec![0_u32];
            let mut barred = vec![];
            for (kind, fail, later) in events {
                now += Duration::from_secs(later);
                if fail && !running.is_empty() {
                    let target = running.remove(0);
                    let kind = Kind::ALL[kind];
                    if matches!(kind, Kind::Throttled | Kind::Reroute) {
                        barred.push(target);
                    }
                    if course.failed(kind, target) == After::Return {
                        return Ok(());
                    }
                }
                let gap = gaps[course.launched() as usize % gaps.len()].map(Duration::from_secs);
                let next = course.next(begun, || now, || gap);
                match next {
                    Next::Launch(_) => {
                        let target = course.next_target().expect("a launch has a target");
                        prop_assert!(!barred.contains(&target));
                        course.launch(target, now);
                        running.push(target);
                    }
                    Next::At(at) => prop_assert!(at > now),
                    Next::Hold => prop_assert!(!running.is_empty()),
                    Next::Stop(_) => {}
                }
                prop_assert!(course.launched() <= attempts);
                prop_assert_eq!(course.running() as usize, running.len());
            }
        }
    }
}

//! Who serves which call when: known as soon as the call is made.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use crate::Capacity;

/// The workers and the queue of a tool. Times are counted from its first call, and only grow.
///
/// First come, first served, and nobody leaves the queue: so the time at which a call will be
/// taken up follows from the calls before it alone. Nothing has to happen when that time comes.
#[derive(Debug)]
pub(super) struct Workers {
    workers: usize,
    queue: usize,
    /// When those that have worked before are free again.
    free_at: BinaryHeap<Reverse<Duration>>,
    /// When the calls that wait will be taken up, in order.
    starts: VecDeque<Duration>,
}

/// The time for which a worker is busy with a call. What never comes is [`Duration::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Turn {
    /// How long the worker is busy; nothing, if that would be for ever.
    pub(super) fn work(&self) -> Duration {
        self.work_after(Duration::ZERO)
    }

    /// The same, after some time has passed.
    pub(super) fn work_after(&self, now: Duration) -> Duration {
        if self.to == Duration::MAX {
            return Duration::ZERO;
        }
        self.to.saturating_sub(self.from.max(now))
    }
}

impl Workers {
    pub(super) fn new(capacity: &Capacity) -> Self {
        let (workers, queue) = capacity.places();
        Self { workers, queue, free_at: BinaryHeap::new(), starts: VecDeque::new() }
    }

    /// When a call that is made now will be taken up; `None` if there is no place to wait in.
    pub(super) fn next(&mut self, now: Duration) -> Option<Duration> {
        let start = match self.free_at.peek() {
            Some(Reverse(free)) if self.free_at.len() >= self.workers => now.max(*free),
            _ => now,
        };
        (start == now || self.queued(now) < self.queue).then_some(start)
    }

    /// Takes up the call that was just told when; it takes so long, or for ever.
    pub(super) fn take(&mut self, now: Duration, from: Duration, takes: Option<Duration>) -> Turn {
        if self.free_at.len() >= self.workers {
            self.free_at.pop();
        }
        let to = takes.and_then(|takes| from.checked_add(takes)).unwrap_or(Duration::MAX);
        self.free_at.push(Reverse(to));
        if from > now {
            self.starts.push_back(from);
        }
        Turn { from, to }
    }

    /// How many calls wait.
    pub(super) fn queued(&mut self, now: Duration) -> usize {
        while self.starts.front().is_some_and(|start| *start <= now) {
            self.starts.pop_front();
        }
        self.starts.len()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use proptest::prelude::*;

    use super::*;

    fn workers(workers: u32, queue: usize) -> Workers {
        Workers::new(&Capacity::workers(NonZero::new(workers).unwrap()).queue(queue))
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn arrive(workers: &mut Workers, now: u64, takes: u64) -> Option<(u64, u64)> {
        let from = workers.next(millis(now))?;
        let turn = workers.take(millis(now), from, Some(millis(takes)));
        Some((turn.from.as_millis() as u64, turn.to.as_millis() as u64))
    }

    /// Walks through the milliseconds: workers count down, and take from a list of waiting calls.
    fn by_ticks(workers: usize, queue: usize, calls: &[(u64, u64)]) -> Vec<Option<(u64, u64)>> {
        let mut turns = vec![None; calls.len()];
        let mut left = vec![0_u64; workers];
        let mut waiting: Vec<usize> = Vec::new();
        let last = calls.iter().map(|call| call.0 + call.1).sum();
        for now in 0..=last {
            let mut begin = |waiting: &mut Vec<usize>| {
                for worker in &mut left {
                    // A call that takes no time leaves its worker to the next one.
                    while *worker == 0 && !waiting.is_empty() {
                        let call = waiting.remove(0);
                        turns[call] = Some((now, now + calls[call].1));
                        *worker = calls[call].1;
                    }
                }
            };
            begin(&mut waiting);
            for (call, _) in calls.iter().enumerate().filter(|(_, call)| call.0 == now) {
                waiting.push(call);
                begin(&mut waiting);
                if waiting.len() > queue {
                    waiting.pop();
                }
            }
            left.iter_mut().for_each(|left| *left = left.saturating_sub(1));
        }
        turns
    }

    proptest! {
        #[test]
        fn agrees_with_a_walk_through_time(
            (count, queue) in (1_u32..5, 0_usize..6),
            mut calls in prop::collection::vec((0_u64..60, 0_u64..20), 0..40),
        ) {
            calls.sort_by_key(|call| call.0);
            let mut ours = workers(count, queue);
            let turns: Vec<_> =
                calls.iter().map(|(now, takes)| arrive(&mut ours, *now, *takes)).collect();
            prop_assert_eq!(turns, by_ticks(count as usize, queue, &calls));
        }
    }

    #[test]
    fn a_full_queue_has_a_place_again_when_a_call_is_taken_up() {
        let mut one = workers(1, 1);
        let turns = [0, 1, 2, 10, 11, 12].map(|now| arrive(&mut one, now, 10).map(|turn| turn.0));
        assert_eq!(turns, [Some(0), Some(10), None, Some(20), None, None]);
        assert_eq!((one.queued(millis(19)), one.queued(millis(20))), (1, 0));
    }

    #[test]
    fn a_call_that_hangs_keeps_its_worker() {
        let mut one = workers(1, usize::MAX);
        let hung = one.take(millis(5), millis(5), None);
        assert_eq!((hung.to, hung.work()), (Duration::MAX, Duration::ZERO));
        let behind = arrive(&mut one, 6, 10).unwrap();
        assert_eq!(
            (behind.0, one.queued(millis(1_000_000))),
            (Duration::MAX.as_millis() as u64, 1)
        );
    }

    #[test]
    fn work_goes_on_after_the_caller_has_gone() {
        let turn = Turn { from: millis(10), to: millis(30) };
        let left = [0, 10, 25, 30, 99].map(|now| turn.work_after(millis(now)).as_millis());
        assert_eq!(left, [20, 20, 5, 0, 0]);
    }
}

//! Who the members are, and what has become of them in one call.

use std::error::Error;

use super::{Answers, Thresholds, answers::Answer, quota::Quota};
use crate::{Cause, Causes, Effect, Name, Ratio, Rejection, Verdict};

/// A member, without its service.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) name: Name,
    pub(super) required: bool,
}

/// All members, in the order in which they were added, and how many of them must be well.
#[derive(Debug)]
pub(super) struct Seats {
    seats: Vec<Seat>,
    required: u32,
    quota: Quota,
}

impl Seats {
    pub(super) fn new(seats: Vec<Seat>, tolerance: Option<Ratio>, thresholds: Thresholds) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let required = number(seats.iter().filter(|seat| seat.required).count());
        let quota = Quota::new(number(seats.len()), required, tolerance, thresholds);
        Self { seats, required, quota }
    }

    fn name(&self, place: usize) -> Name {
        self.seats.get(place).map_or(Name::new(""), |seat| seat.name.clone())
    }

    fn is_required(&self, place: usize) -> bool {
        self.seats.get(place).is_some_and(|seat| seat.required)
    }
}

/// What has become of the members so far.
pub(super) struct Tally<Res> {
    answers: Vec<Answer<Res>>,
    failed: Vec<(usize, Cause)>,
    succeeded: u32,
    /// How many of the required failed.
    missing: u32,
    /// What the members may have done.
    effect: Effect,
}

impl<Res> Tally<Res> {
    pub(super) const fn new() -> Self {
        Self {
            answers: Vec::new(),
            failed: Vec::new(),
            succeeded: 0,
            missing: 0,
            effect: Effect::None,
        }
    }

    /// A member succeeded. An error that was accepted leaves no answer.
    pub(super) fn succeeded(
        &mut self,
        seats: &Seats,
        place: usize,
        verdict: Verdict,
        response: Option<Res>,
    ) {
        self.succeeded += 1;
        self.effect = self.effect.max(verdict.effect);
        let Some(response) = response else { return };
        if self.answers.capacity() == 0 {
            self.answers.reserve_exact(seats.seats.len());
        }
        let at = self.answers.partition_point(|answer| answer.place < place);
        self.answers.insert(at, Answer { place, name: seats.name(place), response });
    }

    /// A member failed; tells whether too many of the required have by now.
    pub(super) fn failed(
        &mut self,
        seats: &Seats,
        place: usize,
        verdict: Verdict,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> bool {
        self.effect = self.effect.max(verdict.effect);
        let at = self.failed.partition_point(|(other, _)| *other < place);
        self.failed.insert(at, (place, Cause::new(seats.name(place), verdict, error)));
        self.missing += u32::from(seats.is_required(place));
        self.is_too_few(seats)
    }

    pub(super) const fn is_too_few(&self, seats: &Seats) -> bool {
        seats.quota.is_too_few(self.missing)
    }

    pub(super) fn into_answers(self, seats: &Seats) -> Answers<Res> {
        let level = seats.quota.level(self.succeeded);
        let failed = self.failed.into_iter().map(|(_, cause)| cause).collect();
        Answers { level, answers: self.answers, failed }
    }

    /// The refusal, where members of which nothing more is known may have had an `effect`.
    pub(super) fn into_rejection(self, seats: &Seats, name: Name, effect: Effect) -> Rejection {
        let required = self.failed.into_iter().filter(|(place, _)| seats.is_required(*place));
        let causes: Causes = required.map(|(_, cause)| cause).collect();
        let effect = self.effect.max(effect);
        Rejection::TooFew { name, required: seats.required, causes, effect }
    }
}

//! The calls that try whether a dependency is back.

use std::fmt;

/// How many probes a half-open circuit makes, and how many of them must succeed.
///
/// ```
/// use buttress::breaker::Probes;
///
/// const LENIENT: Probes = Probes::new(1, 5);
/// assert_eq!((LENIENT.needed(), LENIENT.allowed()), (1, 5));
/// ```
///
/// # Defaults
/// Two of three: one success may be luck and one failure bad luck.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Probes {
    needed: u8,
    allowed: u8,
}

impl Probes {
    /// The most probes that may be allowed.
    pub const MOST: u8 = 64;

    /// Asks for `needed` successes out of `allowed` probes, at least 1 and at most 64.
    ///
    /// More allowed than 64 is read as 64, fewer than 1 as 1; likewise `needed`, within what is
    /// allowed.
    pub const fn new(needed: u8, allowed: u8) -> Self {
        let allowed = clamp(allowed, Self::MOST);
        Self { needed: clamp(needed, allowed), allowed }
    }

    /// How many must succeed.
    pub const fn needed(self) -> u8 {
        self.needed
    }

    /// How many there are at most.
    pub const fn allowed(self) -> u8 {
        self.allowed
    }
}

const fn clamp(n: u8, most: u8) -> u8 {
    if n == 0 {
        1
    } else if n > most {
        most
    } else {
        n
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self::new(2, 3)
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.needed, self.allowed)
    }
}

/// A probe's place among those of its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    index: u8,
    /// Tells the holders of a place apart: it may be given back and taken again.
    serial: u32,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    serial: u32,
    since: u64,
    /// Only reserved: nothing was sent.
    leased: bool,
}

/// What has come of the probes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Undecided,
    Recovered,
    Failed,
}

/// What a probe was before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Lease,
    /// A probe already, that had to wait.
    Again,
}

/// One round of probes.
#[derive(Debug)]
pub(super) struct Round {
    probes: Probes,
    holders: Box<[Option<Holder>]>,
    succeeded: u8,
    failed: u8,
    serial: u32,
}

impl Round {
    pub(super) fn new(probes: Probes) -> Self {
        let holders = vec![None; usize::from(probes.allowed)].into();
        Self { probes, holders, succeeded: 0, failed: 0, serial: 0 }
    }

    /// Starts the next round.
    pub(super) fn restart(&mut self) {
        self.holders.fill(None);
        (self.succeeded, self.failed) = (0, 0);
    }

    /// Takes a place, if fewer than the allowed probes run or are decided.
    pub(super) fn take(&mut self, now: u64, leased: bool) -> Option<Slot> {
        if self.is_full() {
            return None;
        }
        let index = self.holders.iter().position(Option::is_none)?;
        self.serial = self.serial.wrapping_add(1);
        self.holders[index] = Some(Holder { serial: self.serial, since: now, leased });
        Some(Slot { index: index as u8, serial: self.serial })
    }

    /// Starts the time of a probe; `None` if its place is no longer held.
    pub(super) fn begin(&mut self, now: u64, slot: Slot) -> Option<Begun> {
        let holder = self.holder(slot)?;
        let begun = if holder.leased { Begun::Lease } else { Begun::Again };
        (holder.since, holder.leased) = (now, false);
        Some(begun)
    }

    /// Gives a place back undecided; `false` if it is no longer held.
    pub(super) fn release(&mut self, slot: Slot) -> bool {
        let held = self.holder(slot).is_some();
        if held {
            self.holders[usize::from(slot.index)] = None;
        }
        held
    }

    /// Decides a probe; `false` if its place is no longer held.
    pub(super) fn decide(&mut self, slot: Slot, good: bool) -> bool {
        let held = self.release(slot);
        if held {
            if good { self.succeeded += 1 } else { self.failed += 1 }
        }
        held
    }

    /// The probe that is first out of patience, and when.
    pub(super) fn first_out(&self, patience: u64) -> Option<(u64, Slot, bool)> {
        let out = |(index, holder): (usize, &Option<Holder>)| {
            let Holder { serial, since, leased } = (*holder)?;
            Some((since.saturating_add(patience), Slot { index: index as u8, serial }, leased))
        };
        self.holders.iter().enumerate().filter_map(out).min_by_key(|&(at, ..)| at)
    }

    pub(super) fn standing(&self) -> Standing {
        if self.succeeded >= self.probes.needed {
            Standing::Recovered
        } else if self.failed > self.probes.allowed - self.probes.needed {
            Standing::Failed
        } else {
            Standing::Undecided
        }
    }

    /// How many are under way, leases among them.
    pub(super) fn running(&self) -> u8 {
        self.holders.iter().flatten().count() as u8
    }

    pub(super) fn is_full(&self) -> bool {
        self.running() + self.succeeded + self.failed >= self.probes.allowed
    }

    fn holder(&mut self, slot: Slot) -> Option<&mut Holder> {
        let holder = self.holders.get_mut(usize::from(slot.index))?.as_mut()?;
        (holder.serial == slot.serial).then_some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_cannot_be_wrong() {
        for needed in 0..=u8::MAX {
            for allowed in 0..=u8::MAX {
                let probes = Probes::new(needed, allowed);
                assert!((1..=64).contains(&probes.allowed()));
                assert!((1..=probes.allowed()).contains(&probes.needed()));
            }
        }
    }

    #[test]
    fn a_place_that_was_taken_again_is_not_its_former_holders() {
        let mut round = Round::new(Probes::new(1, 1));
        let first = round.take(0, false).unwrap();
        assert!(round.take(0, false).is_none());
        assert!(round.release(first));
        let second = round.take(0, false).unwrap();
        assert!(!round.decide(first, true));
        assert!(round.decide(second, true));
        assert_eq!(round.standing(), Standing::Recovered);
    }

    #[test]
    fn failed_when_enough_successes_are_impossible() {
        for (needed, allowed, fails) in [(2, 3, 2), (1, 3, 3), (3, 3, 1), (1, 1, 1), (40, 64, 25)] {
            let mut round = Round::new(Probes::new(needed, allowed));
            for n in 1..=fails {
                assert_eq!(round.standing(), Standing::Undecided, "{n} of {allowed}");
                let slot = round.take(0, false).unwrap();
                round.decide(slot, false);
            }
            assert_eq!(round.standing(), Standing::Failed);
        }
    }
}

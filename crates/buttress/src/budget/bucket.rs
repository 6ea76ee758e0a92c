//! The balance of a budget, in one atomic word.
//!
//! The upper half holds the balance in thousandths of a token, the lower half the millisecond
//! up to which the trickle has been paid out. Both change in one step, so no interleaving can
//! pay the trickle twice or lose a deposit.

use crate::sync::{AtomicU64, Ordering};

/// What a bucket is filled by and how much it holds, in thousandths of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Added at each success.
    pub(crate) per_success: u32,
    /// The milliseconds in which one token trickles in, but never above one token; 0 for never.
    pub(crate) trickle: u32,
    /// The most it holds.
    pub(crate) cap: u32,
}

/// One token.
pub(crate) const TOKEN: u32 = 1_000;

/// The two halves of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    balance: u32,
    paid_until: u32,
}

impl Level {
    const fn unpack(word: u64) -> Self {
        Self { balance: (word >> 32) as u32, paid_until: word as u32 }
    }

    const fn pack(self) -> u64 {
        ((self.balance as u64) << 32) | self.paid_until as u64
    }

    fn credited(self, amount: u32, terms: &Terms) -> Self {
        Self { balance: self.balance.saturating_add(amount).min(terms.cap), ..self }
    }

    /// Pays out the trickle up to `now`, in milliseconds that wrap.
    fn refilled(self, now: u32, terms: &Terms) -> Self {
        let elapsed = now.wrapping_sub(self.paid_until);
        // Less than a minute short of a full turn, which is 49 days, is a clock that another
        // thread read before us.
        if elapsed > u32::MAX - 60_000 {
            return self;
        }
        let full = TOKEN.min(terms.cap);
        if self.balance >= full || terms.trickle == 0 {
            return Self { paid_until: now, ..self };
        }
        let due = u64::from(elapsed) * u64::from(TOKEN) / u64::from(terms.trickle);
        if due >= u64::from(full - self.balance) {
            return Self { balance: full, paid_until: now };
        }
        // The fraction that did not make a thousandth stays owed.
        let paid = due * u64::from(terms.trickle) / u64::from(TOKEN);
        Self {
            balance: self.balance + due as u32,
            paid_until: self.paid_until.wrapping_add(paid as u32),
        }
    }

    fn debited(self, cost: u32) -> Option<Self> {
        let balance = self.balance.checked_sub(cost)?;
        Some(Self { balance, ..self })
    }
}

/// A token bucket that many threads share without a lock.
#[derive(Debug)]
pub(crate) struct Bucket {
    word: AtomicU64,
    terms: Terms,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(terms: Terms) -> Self {
        let level = Level { balance: terms.cap, paid_until: 0 };
        Self { word: AtomicU64::new(level.pack()), terms }
    }

    /// The balance in thousandths, without what the trickle still owes.
    pub(crate) fn balance(&self) -> u32 {
        Level::unpack(self.word.load(Ordering::Relaxed)).balance
    }

    /// Adds what one success earns.
    pub(crate) fn deposit(&self) {
        self.credit(self.terms.per_success);
    }

    /// Adds `amount` thousandths, up to the cap.
    pub(crate) fn credit(&self, amount: u32) {
        self.change(|level| (level.credited(amount, &self.terms), true));
    }

    /// Takes `cost` thousandths at `now` milliseconds; `false` if there are too few.
    pub(crate) fn withdraw(&self, now: u32, cost: u32) -> bool {
        self.change(|level| {
            let level = level.refilled(now, &self.terms);
            level.debited(cost).map_or((level, false), |debited| (debited, true))
        })
    }

    /// Applies `step` until it goes through unobserved, and tells what came of it.
    ///
    /// Relaxed order suffices: the word guards no other memory.
    fn change(&self, step: impl Fn(Level) -> (Level, bool)) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (next, done) = step(Level::unpack(word));
            let next = next.pack();
            // A full bucket is left alone: callers that all succeed share no cache line in anger.
            if next == word {
                return done;
            }
            match self.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return done,
                Err(seen) => word = seen,
            }
        }
    }
}

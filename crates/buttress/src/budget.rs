//! How much extra load is allowed.

mod bucket;

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use self::bucket::{Bucket, TOKEN, Terms};
use crate::{Kind, Ratio};

/// Limits extra attempts to a share of what succeeds.
///
/// Each success earns a fraction of a token; each extra attempt (a retry, a hedge) costs one.
/// A dependency that fails earns nothing, so the extra load dries up exactly when it would do
/// harm: budgets fed by requests keep an overloaded server down, this one lets it recover.
/// A small trickle lets rare callers repeat at all.
///
/// Held in one atomic word; a deposit or withdrawal is O(1) and takes no lock.
///
/// ```
/// use buttress::{Budget, Ratio};
///
/// let budget = Budget::per_success(Ratio::percent(20)).cap(2);
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (one, two) = (budget.withdraw(), budget.withdraw());
/// assert!(one.is_some() && two.is_some());
/// assert!(budget.withdraw().is_none(), "two tokens were in it");
/// one.unwrap().spend();
/// drop(two); // not spent: it goes back
/// assert_eq!(budget.balance(), 1.0);
/// # });
/// ```
///
/// # Defaults
/// 10 % per success, at most 10 tokens (and as many at the start), a trickle of one token in
/// ten seconds, one token per extra attempt.
///
/// # Clone
/// Clones share one balance. Give clones of one budget to retry, hedge and fallback, and
/// the extra load of the whole stack is bounded. Setters called on a clone make a new balance.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

thread_local! {
    /// The addresses of the budgets that layers outside of the running code will earn for.
    static EARNERS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

struct Shared {
    terms: Terms,
    costs: [u32; Kind::ALL.len()],
    bucket: Bucket,
    epoch: OnceLock<Instant>,
}

impl Budget {
    /// A budget fed by each success with `share` of a token.
    pub fn per_success(share: Ratio) -> Self {
        let terms = Terms {
            per_success: thousandths(share.get()).max(1),
            trickle: 10_000,
            cap: 10 * TOKEN,
        };
        Self::new(terms, [TOKEN; Kind::ALL.len()])
    }

    /// Sets the most tokens that it holds, and holds at the start; 10 by default.
    ///
    /// Nothing could ever be withdrawn from a budget that holds none, so 0 is read as 1.
    #[must_use]
    pub fn cap(self, tokens: u16) -> Self {
        let cap = u32::from(tokens.max(1)) * TOKEN;
        Self::new(Terms { cap, ..self.0.terms }, self.0.costs)
    }

    /// Sets the time in which the trickle earns one token; 10 s by default.
    ///
    /// The trickle never lifts the balance above one token. It counts whole milliseconds, 1 at
    /// the least; [`Duration::MAX`], like all beyond 49 days, turns it off.
    #[must_use]
    pub fn one_every(self, interval: Duration) -> Self {
        // Beyond what a word of milliseconds holds it is never.
        let trickle = u32::try_from(interval.as_millis()).map_or(0, |millis| millis.max(1));
        Self::new(Terms { trickle, ..self.0.terms }, self.0.costs)
    }

    /// Sets what an extra attempt costs, in tokens, after a failure of this kind; 1 by default.
    #[must_use]
    pub fn cost(self, kind: Kind, tokens: u16) -> Self {
        let mut costs = self.0.costs;
        costs[kind as usize] = u32::from(tokens) * TOKEN;
        Self::new(self.0.terms, costs)
    }

    /// Gives back what an attempt cost that was refused before it left.
    pub(crate) fn refund(&self, cost: u32) {
        self.0.bucket.credit(cost);
    }

    /// Earns what one success earns, unless a layer outside will do it for the same success.
    #[inline]
    pub(crate) fn earn(&self) {
        if !EARNERS.with_borrow(|earners| earners.contains(&self.address())) {
            self.deposit();
        }
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn new(terms: Terms, costs: [u32; Kind::ALL.len()]) -> Self {
        Self(Arc::new(Shared { terms, costs, bucket: Bucket::new(terms), epoch: OnceLock::new() }))
    }

    /// The tokens in it, as of the last deposit or withdrawal.
    pub fn balance(&self) -> f64 {
        f64::from(self.0.bucket.balance()) / f64::from(TOKEN)
    }

    /// Earns what one success earns.
    pub fn deposit(&self) {
        self.0.bucket.deposit();
    }

    /// Takes the cost of one extra attempt, if there is enough.
    pub fn withdraw(&self) -> Option<Withdrawal> {
        self.withdraw_for(Kind::Transient)
    }

    /// Takes the cost of one extra attempt after a failure of this kind, if there is enough.
    pub fn withdraw_for(&self, kind: Kind) -> Option<Withdrawal> {
        let now = Instant::now();
        let epoch = *self.0.epoch.get_or_init(|| now);
        let millis = now.saturating_duration_since(epoch).as_millis() as u32;
        let cost = self.0.costs[kind as usize];
        let paid = self.0.bucket.withdraw(millis, cost);
        paid.then(|| Withdrawal { shared: Some(self.0.clone()), cost })
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::per_success(Ratio::percent(10))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("balance", &self.balance())
            .field("per_success", &(f64::from(self.0.terms.per_success) / f64::from(TOKEN)))
            .field("cap", &(self.0.terms.cap / TOKEN))
            .finish()
    }
}

fn thousandths(tokens: f64) -> u32 {
    (tokens * f64::from(TOKEN)).round() as u32
}

/// Polls an attempt of a layer that will [earn](Budget::earn) for its success: layers inside that
/// share the budget then leave the earning to this one.
#[inline]
pub(crate) fn poll_attempt<F: Future>(
    budget: Option<&Budget>,
    attempt: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    match budget {
        None => attempt.poll(cx),
        Some(budget) => poll_earning(budget, attempt, cx),
    }
}

// Apart, so that an attempt without a budget is polled in place.
#[inline]
fn poll_earning<F: Future>(
    budget: &Budget,
    attempt: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    /// Takes the budget off again, also when the attempt panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            EARNERS.with_borrow_mut(Vec::pop);
        }
    }
    EARNERS.with_borrow_mut(|earners| earners.push(budget.address()));
    let _leave = Leave;
    attempt.poll(cx)
}

/// Tokens that were taken for an attempt.
///
/// Dropping it gives them back: the attempt was never sent. [`spend`](Self::spend) when it is.
#[must_use = "dropping it gives the tokens back"]
pub struct Withdrawal {
    shared: Option<Arc<Shared>>,
    cost: u32,
}

impl Withdrawal {
    /// The attempt was sent: the tokens are gone.
    pub fn spend(self) {
        self.spend_all();
    }

    /// Spends it and tells how much it was, in thousandths.
    pub(crate) fn spend_all(mut self) -> u32 {
        self.shared = None;
        self.cost
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.bucket.credit(self.cost);
        }
    }
}

impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Withdrawal").field("tokens", &(self.cost / TOKEN)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same bucket in exact rational arithmetic: millionths of a token.
    struct Naive {
        terms: Terms,
        balance: u64,
        paid_until: u64,
    }

    impl Naive {
        fn new(terms: Terms) -> Self {
            Self { terms, balance: u64::from(terms.cap) * 1_000, paid_until: 0 }
        }
        fn credit(&mut self, thousandths: u32) {
            let cap = u64::from(self.terms.cap) * 1_000;
            self.balance = (self.balance + u64::from(thousandths) * 1_000).min(cap);
        }
        fn withdraw(&mut self, now: u64, cost: u32) -> bool {
            let full = u64::from(TOKEN.min(self.terms.cap)) * 1_000;
            if self.balance < full {
                let due = (now - self.paid_until) * 1_000_000;
                let due = due.checked_div(u64::from(self.terms.trickle)).unwrap_or(0);
                self.balance = (self.balance + due).min(full);
            }
            self.paid_until = now;
            let cost = u64::from(cost) * 1_000;
            let enough = self.balance >= cost;
            if enough {
                self.balance -= cost;
            }
            enough
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Deposit,
        Refund(u32),
        Withdraw { after: u32, cost: u32 },
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Deposit),
            (0_u32..3).prop_map(|tokens| Step::Refund(tokens * TOKEN)),
            (0_u32..20_000, 0_u32..3)
                .prop_map(|(after, tokens)| Step::Withdraw { after, cost: tokens * TOKEN }),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_exact_arithmetic(
            per_success in 1_u32..1_000, trickle in 0_u32..20_000, cap in 1_u32..20,
            steps in prop::collection::vec(any_step(), 0..200),
        ) {
            let terms = Terms { per_success, trickle, cap: cap * TOKEN };
            let (ours, mut theirs) = (Bucket::new(terms), Naive::new(terms));
            let mut now = 0_u32;
            // Thousandths that rounding may have cost: one where the balance passes a token, and
            // what is owed to the trickle is forgotten.
            let mut rounded = 2_u64;
            for step in steps {
                match step {
                    Step::Deposit => {
                        ours.deposit();
                        theirs.credit(per_success);
                    }
                    Step::Refund(amount) => {
                        ours.credit(amount);
                        theirs.credit(amount);
                    }
                    Step::Withdraw { after, cost } => {
                        now += after;
                        rounded += u64::from(theirs.balance >= u64::from(TOKEN) * 1_000);
                        let (a, b) = (ours.withdraw(now, cost), theirs.withdraw(u64::from(now), cost));
                        if a != b {
                            // Rounding may decide only where the balance meets the cost.
                            prop_assert!(b, "ours is never the more generous");
                            prop_assert!(u64::from(cost - ours.balance()) <= rounded, "{}", ours.balance());
                            return Ok(());
                        }
                    }
                }
                prop_assert!(ours.balance() <= terms.cap);
                let gap = (u64::from(ours.balance()) * 1_000).abs_diff(theirs.balance);
                prop_assert!(gap <= rounded * 1_000, "{} {}", ours.balance(), theirs.balance);
            }
        }
    }

    #[test]
    fn a_clock_read_late_by_another_thread_pays_nothing() {
        let terms = Terms { per_success: 100, trickle: 1_000, cap: TOKEN };
        let paid_until = 5_000_000;
        for (behind, paid) in [(1, false), (60_000, false), (60_001, true)] {
            let bucket = Bucket::new(terms);
            assert!(bucket.withdraw(paid_until, TOKEN));
            // Further behind than a minute it is a clock that has gone round.
            assert_eq!(bucket.withdraw(paid_until - behind, TOKEN), paid, "{behind} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rare_caller_may_repeat() {
        let budget = Budget::default().cap(1);
        budget.withdraw().expect("full at the start").spend();
        assert!(budget.withdraw().is_none());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(budget.withdraw().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_trickle_never_passes_one_token() {
        let budget = Budget::default();
        while let Some(token) = budget.withdraw() {
            token.spend();
        }
        tokio::time::advance(Duration::from_secs(3_600)).await;
        budget.withdraw().expect("one token in an hour").spend();
        assert!(budget.withdraw().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn ten_successes_earn_one_attempt() {
        let budget = Budget::default().one_every(Duration::MAX);
        while let Some(token) = budget.withdraw() {
            token.spend();
        }
        for _ in 0..9 {
            budget.deposit();
        }
        assert!(budget.withdraw().is_none());
        budget.deposit();
        assert!(budget.withdraw().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn costs_differ_by_kind() {
        let budget = Budget::default().cap(5).cost(Kind::Throttled, 5);
        budget.withdraw_for(Kind::Throttled).expect("five tokens").spend();
        assert!(budget.withdraw_for(Kind::Transient).is_none());
    }
}

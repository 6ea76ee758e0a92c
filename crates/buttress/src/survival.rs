//! How long attempts take, learned from those that ended and those that were cut short.
//!
//! A hedge cancels the slow. A history of completions alone would then know only fast
//! attempts, and one that took a cancellation for a completion would believe the hedge's own
//! delay. Here every attempt counts for what is known of it: *ended at age t*, or *still running
//! at age t*. The survival curve S(t), the share of attempts that run longer than t, is the
//! product-limit estimate of Kaplan and Meier (1958), over buckets that grow by 2 %.

use std::time::Duration;

/// Where the first bucket ends, in seconds.
const FIRST: f64 = 1e-3;
/// Each bucket ends this much later than the one before.
const GROWTH: f64 = 1.02;
/// From 1 ms to 10 minutes: ln(600 000) / ln(1.02), and one for what is longer.
const BUCKETS: usize = 673;
/// Answers in one of the two windows: enough to see a tail of 2 % with twenty attempts in it,
/// few enough to follow a change within minutes at a call per second.
const WINDOW: u32 = 1_024;
/// Steps of a curve: the search for the best delay looks at each pair. Latencies that fill more
/// buckets than this have no edge that needs 2 %.
const STEPS: usize = 256;
/// Attempts that must have ended before anything is decided.
const ENOUGH: u32 = 30;
/// Attempts that must be seen to run longer than a delay before it is believed to pay.
const TAIL: f64 = 5.0;
/// By how many standard errors the gain of hedging must exceed its price. Many delays are
/// compared, so two would let noise in: exponential latencies would be hedged now and then.
const SURE: f64 = 3.0;

/// The end of a bucket, in seconds.
fn end_of(bucket: usize) -> f64 {
    FIRST * GROWTH.powi(bucket as i32)
}

fn bucket_of(age: Duration) -> usize {
    let seconds = age.as_secs_f64();
    if seconds <= FIRST {
        return 0;
    }
    // A time on a bucket's end belongs to that bucket, whatever the rounding of the logarithm.
    let bucket = ((seconds / FIRST).ln() / GROWTH.ln() - 1e-9).ceil();
    (bucket as usize).min(BUCKETS - 1)
}

#[derive(Clone, Debug)]
struct Window {
    ended: Vec<u32>,
    censored: Vec<u32>,
    answers: u32,
}

impl Window {
    fn new() -> Self {
        Self { ended: vec![0; BUCKETS], censored: vec![0; BUCKETS], answers: 0 }
    }
}

/// The ages of the last one to two thousand answers, and of the attempts cut short meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct History {
    current: Window,
    previous: Window,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { current: Window::new(), previous: Window::new() }
    }

    /// An attempt gave an acceptable answer at this age.
    pub(crate) fn ended(&mut self, age: Duration) {
        self.turn();
        self.current.ended[bucket_of(age)] += 1;
    }

    /// An attempt was cut short at this age, by cancellation, timeout or failure.
    ///
    /// A failure says that the answer would have come later than this, and no more. It does not
    /// turn the windows: in an outage, failures would wash out all that is known of answers.
    pub(crate) fn censored(&mut self, age: Duration) {
        let count = &mut self.current.censored[bucket_of(age)];
        *count = count.saturating_add(1);
    }

    fn turn(&mut self) {
        if self.current.answers >= WINDOW {
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current = Window::new();
        }
        self.current.answers += 1;
    }

    /// Answers in both windows.
    pub(crate) fn answers(&self) -> u32 {
        self.current.answers + self.previous.answers
    }

    /// The survival curve, once enough attempts have ended.
    pub(crate) fn curve(&self) -> Option<Curve> {
        let sum = |a: &[u32], b: &[u32], i: usize| f64::from(a[i]) + f64::from(b[i]);
        let ended = |i| sum(&self.current.ended, &self.previous.ended, i);
        let censored = |i| sum(&self.current.censored, &self.previous.censored, i);
        let completions: f64 = (0..BUCKETS).map(ended).sum();
        if completions < f64::from(ENOUGH) {
            return None;
        }
        let mut at_risk = completions + (0..BUCKETS).map(censored).sum::<f64>();
        let mut steps = Vec::new();
        let mut survival = 1.0;
        let mut oldest = FIRST;
        for bucket in 0..BUCKETS {
            let (ends, cuts) = (ended(bucket), censored(bucket));
            if ends > 0.0 {
                let share = survival * ends / at_risk;
                survival -= share;
                steps.push(Step { at: end_of(bucket), share, beyond: at_risk - ends });
            }
            if ends + cuts > 0.0 {
                oldest = end_of(bucket);
            }
            at_risk -= ends + cuts;
        }
        // Nobody saw the end of those that were cut short last. What has lasted for so long is
        // taken to last as long again: the median of a tail that falls as 1 / t.
        if survival > 1e-9 {
            steps.push(Step { at: 2.0 * oldest, share: survival, beyond: 0.0 });
        }
        while steps.len() > STEPS {
            steps = coarser(&steps);
        }
        Some(Curve { steps })
    }
}

/// Joins neighbours: half as many steps, each at the later of two.
fn coarser(steps: &[Step]) -> Vec<Step> {
    let joined = |pair: &[Step]| {
        let share = pair.iter().map(|step| step.share).sum();
        pair.last().map(|last| Step { share, ..*last })
    };
    steps.chunks(2).filter_map(joined).collect()
}

/// A drop of the survival curve.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// When, in seconds.
    at: f64,
    /// The share of attempts that end here.
    share: f64,
    /// How many attempts were seen to run longer.
    beyond: f64,
}

/// The shares of attempts that end at each time.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    steps: Vec<Step>,
}

impl Curve {
    /// The mean duration of an attempt in seconds.
    pub(crate) fn mean(&self) -> f64 {
        self.steps.iter().map(|step| step.share * step.at).sum()
    }

    /// The delay after which a second attempt pays best, if one pays at all.
    ///
    /// With a second attempt started at d, a call takes T(d) = min(X, d + X'), X and X'
    /// independent and distributed as the curve tells. The delay minimises
    /// `E[T(d)] + price * P(X > d)`. What a second attempt saves, once d has passed, depends on the
    /// rest R = X - d alone: `H(R) = E[(R - X')+]`, the integral of P(X' <= u) from 0 to R.
    /// So `E[T(d)] = E[X] - E[H(X - d); X > d]`, and hedging at d gains
    /// `E[H(X - d) - price; X > d]`. The best d maximises that.
    ///
    /// `price` is in seconds per extra attempt; by default the mean duration, which leaves
    /// memoryless latencies alone (a second attempt saves half of the mean there) and those with
    /// thinner tails too.
    pub(crate) fn best_delay(&self, price: Option<f64>) -> Option<Duration> {
        let price = price.unwrap_or_else(|| self.mean());
        let saved = Saved::new(&self.steps);
        let mut best: Option<(f64, f64)> = None;
        for (index, step) in self.steps.iter().enumerate() {
            if step.beyond < TAIL {
                break;
            }
            let rest = &self.steps[index + 1..];
            let (mut share, mut sum, mut squares) = (0.0, 0.0, 0.0);
            let mut cursor = 0;
            for later in rest {
                let saving = saved.at(later.at - step.at, &mut cursor);
                share += later.share;
                sum += later.share * saving;
                squares += later.share * saving * saving;
            }
            if share <= 0.0 {
                break;
            }
            let mean = sum / share;
            let error = ((squares / share - mean * mean).max(0.0) / step.beyond).sqrt();
            let gain = sum - price * share;
            let sure = mean - SURE * error > price;
            if sure && best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, step.at));
            }
        }
        best.map(|(_, at)| Duration::from_secs_f64(at))
    }
}

/// H(r): what a second attempt saves, on average, of a rest of r seconds.
struct Saved {
    /// At each step: its time, H there, and the share ended by then.
    knots: Vec<(f64, f64, f64)>,
}

impl Saved {
    fn new(steps: &[Step]) -> Self {
        let mut knots = Vec::with_capacity(steps.len() + 1);
        let (mut at, mut saved, mut ended) = (0.0, 0.0, 0.0);
        knots.push((at, saved, ended));
        for step in steps {
            saved += ended * (step.at - at);
            at = step.at;
            ended += step.share;
            knots.push((at, saved, ended));
        }
        Self { knots }
    }

    /// H at `rest`, from `cursor` on: asked in ascending order, a sweep is linear.
    fn at(&self, rest: f64, cursor: &mut usize) -> f64 {
        while self.knots.get(*cursor + 1).is_some_and(|knot| knot.0 <= rest) {
            *cursor += 1;
        }
        let (at, saved, ended) = self.knots[*cursor];
        saved + ended * (rest - at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    use super::*;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// The unreliable tool: 20 % fail at once, 10 % slow, 70 % fast.
    fn tool(rng: &mut SmallRng) -> Option<f64> {
        let roll: f64 = rng.random();
        match roll {
            _ if roll < 0.2 => None,
            _ if roll < 0.3 => Some(rng.random_range(5.0..7.0)),
            _ => Some(rng.random_range(0.5..1.0)),
        }
    }

    /// Runs calls of up to two attempts, the second at the learned delay or at `forced`.
    fn live(
        history: &mut History,
        calls: u32,
        rng: &mut SmallRng,
        forced: Option<f64>,
        draw: impl Fn(&mut SmallRng) -> Option<f64>,
    ) {
        let mut delay = None;
        for call in 0..calls {
            if call % 64 == 0 {
                delay = forced.or_else(|| {
                    history.curve().and_then(|c| c.best_delay(None)).map(|d| d.as_secs_f64())
                });
            }
            let first = draw(rng);
            let Some(first) = first else {
                history.censored(Duration::ZERO);
                continue;
            };
            match delay.filter(|delay| *delay < first).map(|delay| (delay, draw(rng))) {
                None => history.ended(secs(first)),
                Some((_, None)) => {
                    history.censored(Duration::ZERO);
                    history.ended(secs(first));
                }
                Some((delay, Some(second))) if delay + second < first => {
                    history.ended(secs(second));
                    history.censored(secs(delay + second));
                }
                Some((delay, Some(_))) => {
                    history.ended(secs(first));
                    history.censored(secs(first - delay));
                }
            }
        }
    }

    fn seeds() -> impl Iterator<Item = u64> {
        (1..=8).inspect(|seed| println!("seed {seed}"))
    }

    #[test]
    fn settles_at_the_edge_of_the_tool_from_any_start() {
        for seed in seeds() {
            for forced in [None, Some(0.05), Some(0.6), Some(1.5), Some(4.0), Some(6.2)] {
                let mut rng = SmallRng::seed_from_u64(seed);
                let mut history = History::new();
                if forced.is_some() {
                    live(&mut history, 3_000, &mut rng, forced, tool);
                }
                live(&mut history, 10_000, &mut rng, None, tool);
                for _ in 0..20 {
                    live(&mut history, 250, &mut rng, None, tool);
                    let delay = history.curve().unwrap().best_delay(None).unwrap().as_secs_f64();
                    assert!((0.98..=1.02).contains(&delay), "{seed} {forced:?}: {delay}");
                }
            }
        }
    }

    #[test]
    fn leaves_latencies_without_a_second_mode_alone() {
        let normal = |rng: &mut SmallRng| {
            let (u, v): (f64, f64) = (rng.random(), rng.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        };
        type Draw<'a> = Box<dyn Fn(&mut SmallRng) -> Option<f64> + 'a>;
        let draws: [(&str, Draw<'_>); 3] = [
            ("exponential", Box::new(|rng| Some(-(1.0 - rng.random::<f64>()).ln()))),
            ("uniform", Box::new(|rng| Some(rng.random_range(0.0..2.0)))),
            ("lognormal", Box::new(move |rng| Some((0.4 * normal(rng)).exp()))),
        ];
        for (name, draw) in draws {
            let (mut on, mut looks) = (0, 0);
            for seed in seeds() {
                let mut rng = SmallRng::seed_from_u64(seed);
                let mut history = History::new();
                for _ in 0..100 {
                    live(&mut history, 64, &mut rng, None, &draw);
                    looks += 1;
                    on += u32::from(history.curve().unwrap().best_delay(None).is_some());
                }
                let last = history.curve().unwrap().best_delay(None);
                assert_eq!(last, None, "{name}, seed {seed}");
            }
            assert!(on * 100 <= looks, "{name}: hedged in {on} of {looks} looks");
        }
    }

    #[test]
    fn decides_nothing_before_thirty_completions() {
        let mut history = History::new();
        for _ in 0..29 {
            history.ended(secs(0.7));
            history.censored(Duration::ZERO);
        }
        assert!(history.curve().is_none());
        history.ended(secs(0.7));
        assert!(history.curve().is_some());
    }

    #[test]
    fn forgets_after_two_windows() {
        let mut history = History::new();
        for _ in 0..WINDOW {
            history.ended(secs(9.0));
        }
        for _ in 0..2 * WINDOW {
            history.ended(secs(1.0));
        }
        let mean = history.curve().unwrap().mean();
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!(history.answers() <= 2 * WINDOW);
    }

    /// Kaplan–Meier over the records themselves, and the cost by summing over all pairs.
    fn naive_cost(records: &[(f64, bool)], delay: f64, price: f64) -> f64 {
        let mut ends: Vec<f64> = records.iter().filter(|r| r.1).map(|r| r.0).collect();
        ends.sort_by(f64::total_cmp);
        ends.dedup();
        let mut survival = 1.0;
        let mut steps = Vec::new();
        for at in ends {
            let at_risk = records.iter().filter(|r| r.0 >= at).count() as f64;
            let here = records.iter().filter(|r| r.1 && r.0 == at).count() as f64;
            let share = survival * here / at_risk;
            survival -= share;
            steps.push((at, share));
        }
        let oldest = records.iter().map(|r| r.0).fold(0.0, f64::max);
        if survival > 1e-9 {
            steps.push((2.0 * oldest, survival));
        }
        let mut cost = 0.0;
        for (first, p) in &steps {
            if *first <= delay {
                cost += p * first;
            } else {
                cost += p * price;
                for (second, q) in &steps {
                    cost += p * q * first.min(delay + second);
                }
            }
        }
        cost
    }

    proptest! {
        #[test]
        fn the_gain_agrees_with_summing_over_all_pairs(
            records in prop::collection::vec((0_usize..400, any::<bool>()), 40..200),
            price in 0.0_f64..2.0,
        ) {
            // On bucket ends both see the same times.
            let records: Vec<(f64, bool)> =
                records.into_iter().map(|(bucket, ended)| (end_of(bucket), ended)).collect();
            let mut history = History::new();
            for (at, ended) in &records {
                // Rounding to nanoseconds must not lift it over the end.
                let age = secs(at * 0.9999);
                if *ended { history.ended(age) } else { history.censored(age) }
            }
            let Some(curve) = history.curve() else { return Ok(()) };
            if let Some(best) = curve.best_delay(Some(price)) {
                let best = naive_cost(&records, best.as_secs_f64() + 1e-9, price);
                let without = naive_cost(&records, f64::MAX, price);
                prop_assert!(best <= without + 1e-6, "{best} {without}");
            }
            let mean = naive_cost(&records, f64::MAX, 0.0);
            prop_assert!((curve.mean() - mean).abs() < 1e-6 * mean.max(1.0));
        }

        #[test]
        fn a_time_falls_into_its_bucket(nanos in any::<u64>()) {
            let age = Duration::from_nanos(nanos);
            let bucket = bucket_of(age);
            prop_assert!(bucket < BUCKETS);
            if bucket > 0 {
                prop_assert!(age.as_secs_f64() > end_of(bucket - 1) * (1.0 - 1e-9));
            }
            if bucket < BUCKETS - 1 {
                prop_assert!(age.as_secs_f64() <= end_of(bucket) * (1.0 + 1e-9));
            }
        }
    }
}

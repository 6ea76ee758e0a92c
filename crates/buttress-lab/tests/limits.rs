//! The numbers that the built-in plans must show.

use std::{thread, time::Duration};

use buttress_lab::{
    plan::Plan,
    plans::{self, BuiltIn},
    run::{self, MeasuredArm, Settings, Stop},
};

fn plan(built_in: BuiltIn) -> Plan {
    Plan::parse(built_in.name, built_in.text).unwrap()
}

/// Measures one arm of a plan.
fn measure(plan: &Plan, arm: &str, requests: u64) -> MeasuredArm {
    let mut plan = plan.clone();
    plan.arms.retain(|other| other.name == arm);
    let settings = Settings { requests, ..Settings::of(&plan) };
    let measured = run::run(&plan, settings, &Stop::new(), &mut ()).unwrap();
    let [measured] = &measured.arms[..] else { panic!("no arm {arm}") };
    measured.clone()
}

/// What an arm must show, and half of the 99 % interval of that at 100 000 requests.
///
/// From ten million samples and closed forms; p50 and tool seconds are known without intervals.
struct Limit {
    arm: &'static str,
    success: (f64, f64),
    mean: (f64, f64),
    p50: f64,
    p99: (f64, f64),
    calls: (f64, f64),
    tool_seconds: f64,
}

#[rustfmt::skip]
const REDUNDANT: [Limit; 8] = [
    Limit { arm: "baseline", success: (0.8, 0.0033), mean: (1.406, 0.016), p50: 0.786, p99: (6.84, 0.02), calls: (1.0, 0.0), tool_seconds: 1.125 },
    Limit { arm: "redundant 2", success: (0.96, 0.0016), mean: (0.978, 0.010), p50: 0.699, p99: (6.55, 0.04), calls: (2.0, 0.0), tool_seconds: 1.427 },
    Limit { arm: "redundant 3", success: (0.992, 0.0008), mean: (0.768, 0.006), p50: 0.646, p99: (5.76, 0.08), calls: (3.0, 0.0), tool_seconds: 1.722 },
    Limit { arm: "hedge after 1.0 s, 2 attempts", success: (0.96, 0.0016), mean: (1.097, 0.010), p50: 0.786, p99: (6.59, 0.04), calls: (1.3, 0.004), tool_seconds: 1.155 },
    Limit { arm: "hedge after 1.0 s, 5 attempts", success: (0.99968, 0.00015), mean: (0.9, 0.004), p50: 0.786, p99: (2.75, 0.04), calls: (1.425, 0.006), tool_seconds: 1.029 },
    Limit { arm: "retry 3", success: (0.992, 0.0008), mean: (1.664, 0.016), p50: 0.854, p99: (7.40, 0.08), calls: (1.24, 0.004), tool_seconds: 1.394 },
    Limit { arm: "retry 5", success: (0.99968, 0.00015), mean: (1.725, 0.017), p50: 0.857, p99: (7.90, 0.11), calls: (1.25, 0.005), tool_seconds: 1.404 },
    Limit { arm: "retry 3 over timeout 2 s", success: (0.973, 0.0013), mean: (1.391, 0.011), p50: 0.847, p99: (6.61, 0.08), calls: (1.39, 0.005), tool_seconds: 1.008 },
];

// Those that are lazy, and those of three of five, are from four million samples of a model that
// knows no layers; so are all of the ensembles, and two of the fallbacks.
#[rustfmt::skip]
const QUORUM: [Limit; 5] = [
    Limit { arm: "quorum 2 of 3", success: (0.896, 0.0025), mean: (1.442, 0.015), p50: 0.832, p99: (6.82, 0.02), calls: (3.0, 0.0), tool_seconds: 2.423 },
    Limit { arm: "quorum 2 of 3, lazy", success: (0.896, 0.0025), mean: (2.050, 0.019), p50: 0.904, p99: (6.919, 0.007), calls: (2.32, 0.004), tool_seconds: 2.521 },
    Limit { arm: "quorum 2 of 3, lazy, third after 1.0 s", success: (0.896, 0.0025), mean: (1.579, 0.015), p50: 0.904, p99: (6.83, 0.015), calls: (2.47, 0.004), tool_seconds: 2.251 },
    Limit { arm: "quorum 3 of 5", success: (0.9421, 0.0019), mean: (1.385, 0.014), p50: 0.846, p99: (6.763, 0.019), calls: (5.0, 0.0), tool_seconds: 3.684 },
    Limit { arm: "first success of 3", success: (0.992, 0.0008), mean: (0.768, 0.006), p50: 0.646, p99: (5.76, 0.08), calls: (3.0, 0.0), tool_seconds: 1.722 },
];

#[rustfmt::skip]
const FALLBACK: [Limit; 4] = [
    Limit { arm: "fallback(tool → weak)", success: (0.998, 0.0004), mean: (1.187, 0.013), p50: 0.715, p99: (6.80, 0.02), calls: (1.0, 0.0), tool_seconds: 1.185 },
    Limit { arm: "fallback(timeout 1 s → weak)", success: (0.997, 0.0005), mean: (0.715, 0.003), p50: 0.715, p99: (1.38, 0.01), calls: (1.0, 0.0), tool_seconds: 0.714 },
    Limit { arm: "timeout 1 s (fallback(tool → weak))", success: (0.898, 0.0025), mean: (0.651, 0.002), p50: 0.679, p99: (0.994, 0.001), calls: (1.0, 0.0), tool_seconds: 0.685 },
    Limit { arm: "fallback(timeout 1 s → tool → weak)", success: (0.9994, 0.0002), mean: (0.981, 0.008), p50: 0.774, p99: (6.669, 0.056), calls: (1.3, 0.004), tool_seconds: 0.981 },
];

#[rustfmt::skip]
const INTEGRATED: [Limit; 1] = [
    Limit { arm: "integrated", success: (0.99994, 0.00007), mean: (1.450, 0.015), p50: 0.797, p99: (6.88, 0.02), calls: (1.25, 0.005), tool_seconds: 1.407 },
];

#[rustfmt::skip]
const DEGRADE: [Limit; 5] = [
    Limit { arm: "all or nothing", success: (0.729, 0.0036), mean: (2.412, 0.023), p50: 0.9465, p99: (6.94, 0.006), calls: (1.0, 0.0), tool_seconds: 2.917 },
    Limit { arm: "one of three may fail", success: (0.972, 0.0013), mean: (2.291, 0.019), p50: 0.936, p99: (6.934, 0.005), calls: (1.0, 0.0), tool_seconds: 3.565 },
    Limit { arm: "prices required, the others optional", success: (0.9, 0.0024), mean: (2.313, 0.020), p50: 0.938, p99: (6.935, 0.005), calls: (1.0, 0.0), tool_seconds: 3.361 },
    Limit { arm: "one of three may fail or be slow", success: (0.896, 0.0025), mean: (0.893, 0.001), p50: 0.923, p99: (1.002, 0.001), calls: (1.0, 0.0), tool_seconds: 2.080 },
    Limit { arm: "two of three may fail or be slow", success: (0.992, 0.0007), mean: (0.898, 0.001), p50: 0.933, p99: (1.002, 0.001), calls: (1.0, 0.0), tool_seconds: 2.101 },
];

/// How much wider an interval is than at 100 000 requests.
///
/// It grows with the root of the requests that are missing. 99 % of 100 numbers would fail too often;
/// 1.51 times as wide they hold 99.99 %.
fn wider(requests: u64) -> f64 {
    1.51 * (100_000.0 / requests as f64).sqrt()
}

#[test]
fn arms_lie_within_the_limits() {
    let plans: [(BuiltIn, &[Limit], u64); 5] = [
        (plans::REDUNDANT, &REDUNDANT, 20_000),
        (plans::QUORUM, &QUORUM, 12_000),
        (plans::FALLBACK, &FALLBACK, 15_000),
        (plans::INTEGRATED, &INTEGRATED, 20_000),
        (plans::DEGRADE, &DEGRADE, 8_000),
    ];
    thread::scope(|threads| {
        for (built_in, limits, requests) in plans {
            let plan = plan(built_in);
            threads.spawn(move || limits.iter().for_each(|limit| within(&plan, limit, requests)));
        }
    });
}

fn within(plan: &Plan, limit: &Limit, requests: u64) {
    let MeasuredArm { numbers, .. } = measure(plan, limit.arm, requests);
    let latency = numbers.latency.unwrap();
    let check = |what: &str, value: f64, (expected, half): (f64, f64)| {
        let far = (value - expected).abs();
        let arm = format!("{}: {}", plan.name, limit.arm);
        assert!(far <= half + 1e-9, "{arm}: {what} {value} is not {expected} ± {half}");
    };
    let scaled = |(expected, half): (f64, f64)| (expected, half * wider(requests));
    check("success", numbers.success.value, scaled(limit.success));
    check("mean", latency.mean.value, scaled(limit.mean));
    check("p99", latency.p99.value, scaled(limit.p99));
    check("calls", numbers.calls.value, scaled(limit.calls));
    check("p50", latency.p50.value, (limit.p50, 0.015));
    // Those of a call vary by at most 1.6 times their mean; at 100 000 requests, 99 % are within 1.3 %.
    let half = 0.013 * limit.tool_seconds;
    check("tool seconds", numbers.tool_seconds.value, scaled((limit.tool_seconds, half)));
}

#[test]
fn a_vote_lets_fewer_wrong_answers_through() {
    const REQUESTS: u64 = 8_000;
    let (plan, c) = (plan(plans::QUORUM), 0.2_f64);
    let of_three = 3.0 * c.powi(2) - 2.0 * c.powi(3);
    let of_five = 10.0 * c.powi(3) - 15.0 * c.powi(4) + 6.0 * c.powi(5);
    let arms = [
        ("model", c, 0.0),
        ("model, first success of 3", c, 0.0),
        ("model, quorum 2 of 3", of_three, 0.0),
        ("model, quorum 2 of 3, lazy", of_three, 0.0),
        ("model, quorum 3 of 5", of_five, 0.0),
        // Who would have been deceived is refused.
        ("model, quorum 2 of 3, unlike errors", 0.0, of_three),
    ];
    for (arm, wrong, refused) in arms {
        let numbers = measure(&plan, arm, REQUESTS).numbers;
        for (kind, share) in [("corrupt", wrong), ("no quorum", refused)] {
            let count = numbers.errors.get(kind).copied().unwrap_or(0);
            let half = wider(REQUESTS) * 2.576 * (share * (1.0 - share) / 100_000.0).sqrt();
            let far = (count as f64 / REQUESTS as f64 - share).abs();
            assert!(far <= half, "{arm}: {count} {kind} are not {share} ± {half}");
        }
        let known = ["corrupt", "no quorum"];
        assert!(numbers.errors.keys().all(|kind| known.contains(&kind.as_str())), "{arm}");
    }
}

#[test]
fn ours_answers_more_often_sooner_and_with_less_work_than_the_documents_stack() {
    const REQUESTS: u64 = 8_000;
    let plan = plan(plans::INTEGRATED);
    let documents = measure(&plan, "integrated", REQUESTS).numbers;
    for (arm, most_calls) in [("ours", 1.37), ("ours, 5 attempts at a time", 1.45)] {
        let ours = measure(&plan, arm, REQUESTS).numbers;
        assert!(ours.success.value >= 0.999, "{arm}: {}", ours.success.value);
        let (quick, slow) = (ours.latency.unwrap(), documents.latency.as_ref().unwrap());
        assert!(quick.mean.value < 0.8 * slow.mean.value, "{arm}: {quick:?}");
        assert!(quick.p99.value < slow.p99.value - 0.2, "{arm}: {quick:?}");
        assert!(ours.calls.value <= most_calls, "{arm}: {}", ours.calls.value);
        assert!(ours.tool_seconds.value < 0.9 * documents.tool_seconds.value, "{arm}");
    }
}

#[test]
fn an_outage_is_bridged_by_a_fallback_outside_of_the_breaker() {
    let plan = Plan::parse("outage", plans::find("outage").unwrap().text).unwrap();
    for arm in &plan.arms {
        // Five minutes, in the second of which it is down.
        let numbers = measure(&plan, &arm.name, 3_000).numbers;
        let success = numbers.success.value;
        if arm.name.starts_with("fallback") {
            assert!(success >= 0.99 && numbers.calls.value < 0.9, "{success}");
        } else {
            assert!(success <= 0.85, "{}: {success}", arm.name);
        }
    }
}

#[test]
fn replicas_stand_in_for_one_that_is_away() {
    let plan = Plan { duration: Some(Duration::from_secs(300)), ..plan(plans::FAILOVER) };
    // The share answered, p99, and the calls of the one that is away for two of five minutes.
    for (arm, success, p99, calls) in [
        ("bare", 0.55..0.65, 0.3..0.5, 1.0..1.001),
        ("retry 3", 0.55..0.65, 0.3..0.5, 1.6..2.0),
        ("active-passive", 0.995..1.0, 0.4..0.6, 0.35..0.45),
        ("active-passive, fail back", 0.995..1.0, 0.4..0.6, 0.5..0.65),
        ("active-active", 0.995..1.0, 0.4..0.6, 0.15..0.25),
        ("active-active, retry 3 with budget", 0.999..1.001, 0.4..0.6, 0.15..0.25),
        ("slow: bare", 0.95..1.0, 1.8..2.1, 1.0..1.001),
        ("slow: active-passive", 0.995..1.0, 1.8..2.1, 0.98..1.001),
        ("slow: active-active", 0.995..1.0, 0.4..0.7, 0.15..0.25),
    ] {
        let numbers = measure(&plan, arm, plan.requests).numbers;
        let latency = numbers.latency.unwrap();
        assert!(success.contains(&numbers.success.value), "{arm}: {}", numbers.success.value);
        assert!(p99.contains(&latency.p99.value), "{arm}: p99 {}", latency.p99.value);
        assert!(calls.contains(&numbers.calls.value), "{arm}: {} calls", numbers.calls.value);
    }
}

/// What the requests after the overload must show: the share answered, and the calls for each.
#[rustfmt::skip]
const AFTER_OVERLOAD: [(&str, Share, f64); 13] = [
    ("bare, 80/s", Share::AtLeast(0.95), 1.0),
    ("bare, 90/s", Share::AtLeast(0.95), 1.0),
    // Three attempts each: up to a third of the capacity all is well, beyond it nothing ever again.
    ("retry 3, 30/s", Share::AtLeast(0.95), 1.1),
    ("retry 3, 40/s", Share::AtMost(0.05), 3.0),
    ("retry 3, 80/s", Share::AtMost(0.05), 3.0),
    ("retry 3 with budget, 40/s", Share::AtLeast(0.95), 1.1),
    ("retry 3 with budget, 80/s", Share::AtLeast(0.95), 1.1),
    ("retry 3 with budget, 90/s", Share::AtLeast(0.95), 1.1),
    // Two attempts each: up to half.
    ("hedge after 1 s, 45/s", Share::AtLeast(0.95), 1.1),
    ("hedge after 1 s, 60/s", Share::AtMost(0.05), 2.0),
    ("hedge with budget, 60/s", Share::AtLeast(0.95), 1.1),
    ("hedge with budget, 90/s", Share::AtLeast(0.95), 1.1),
    // Above the capacity a budget is of no use: there is too much without any retries.
    ("retry 3 with budget, 120/s", Share::AtMost(0.05), 1.1),
];

#[derive(Clone, Copy, Debug)]
enum Share {
    AtLeast(f64),
    AtMost(f64),
}

#[test]
fn an_overload_lasts_without_budgets_and_passes_with_them() {
    let whole = plan(plans::OVERLOAD);
    let limited = whole.arms.iter().filter(|arm| arm.name.starts_with("limit")).count();
    assert_eq!(whole.arms.len(), AFTER_OVERLOAD.len() + limited);
    let plan = Plan { duration: Some(Duration::from_secs(180)), ..whole };
    thread::scope(|threads| {
        for arms in AFTER_OVERLOAD.chunks(4) {
            threads.spawn(|| arms.iter().for_each(|arm| after_overload(&plan, arm)));
        }
    });
}

fn after_overload(plan: &Plan, (name, share, most_calls): &(&str, Share, f64)) {
    let later = measure(plan, name, plan.requests).later.unwrap();
    let answered = later.numbers.success.value;
    assert!(
        match share {
            Share::AtLeast(least) => answered >= *least,
            Share::AtMost(most) => answered <= *most,
        },
        "{name}: {answered} is not {share:?}"
    );
    let calls = later.numbers.calls.value;
    assert!(calls <= *most_calls, "{name}: {calls} calls");
}

/// Arms with a limit, and when they must be back; the server is well again at 45 s.
///
/// The first two of those ten seconds are what a call may take, the next three what a limit
/// waits for a further sign. Without a line its calls come and go, and it is less often full.
#[rustfmt::skip]
const LIMITED: [(&str, f64, usize); 7] = [
    ("limit, 90/s", 90.0, 55),
    ("limit, 120/s", 120.0, 55),
    ("limit, 200/s", 200.0, 55),
    ("limit without a line, 200/s", 200.0, 60),
    ("limit of at least 25, 90/s", 90.0, 55),
    ("limit of at least 25, 120/s", 120.0, 55),
    ("limit of at least 25, 200/s", 200.0, 55),
];

#[test]
fn a_limit_keeps_most_of_the_capacity() {
    const END: usize = 84;
    let whole = plan(plans::OVERLOAD);
    let series = Some(Duration::from_secs(1));
    let plan = Plan { duration: Some(Duration::from_secs(END as u64)), series, ..whole };
    for (arm, load, back) in LIMITED {
        let measured = measure(&plan, arm, plan.requests);
        let series = measured.series.unwrap();
        assert_eq!(series.width(), Duration::from_secs(1));
        for (from, to) in [(20, 30), (back, back + 10), (END - 14, END)] {
            let answered: u64 = series.stretches()[from..to].iter().map(|s| s.answered).sum();
            let (goodput, least) = (answered as f64 / (to - from) as f64, 0.9 * load.min(100.0));
            assert!(goodput >= least, "{arm}: {goodput} of {least} from {from} s on");
        }
        let calls = measured.numbers.calls.value;
        assert!(calls <= 1.1, "{arm}: {calls} calls");
    }
}

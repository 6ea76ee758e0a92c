//! Experiments: what every run keeps.

use std::time::Duration;

use buttress_lab::{
    plan::Plan,
    plans, report,
    run::{self, Measured, Progress, Settings, Stop, World},
};

fn plan(text: &str) -> Plan {
    Plan::parse("test.toml", text).unwrap()
}

fn measure(plan: &Plan, requests: u64) -> Measured {
    let settings = Settings { requests, ..Settings::of(plan) };
    run::run(plan, settings, &Stop::new(), &mut ()).unwrap()
}

fn redundant() -> Plan {
    plan(plans::REDUNDANT.text)
}

#[test]
fn no_arm_beats_what_no_policy_can_beat() {
    for arm in measure(&redundant(), 3_000).arms {
        let calls = arm.numbers.calls;
        let most = 0.8 * (calls.value + calls.half_width.unwrap());
        let least = arm.numbers.success.value - arm.numbers.success.half_width.unwrap();
        assert!(least <= most, "{}", arm.name);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let plan = redundant();
    let json = |seed| {
        let settings = Settings { requests: 500, seed, ..Settings::of(&plan) };
        report::json(&run::run(&plan, settings, &Stop::new(), &mut ()).unwrap()).unwrap()
    };
    assert_eq!(json(7), json(7));
    assert_ne!(json(7), json(8));
}

#[test]
fn loads_are_reproducible_too() {
    for load in ["concurrency = 20", "rate = 30.0", "rate = 30.0, arrivals = \"fixed\""] {
        let text = format!(
            "name = \"x\"\nload = {{ {load} }}\n[tools.t]\nfail = 0.2\nfast_takes = [0.5, 1.0]\n\
             [[arms]]\nname = \"a\"\nstack = [{{ hedge = {{ learned = true }} }}, {{ breaker = {{ flaky = true }} }}]\n"
        );
        let json = || report::json(&measure(&plan(&text), 400)).unwrap();
        assert_eq!(json(), json(), "{load}");
    }
}

#[test]
fn adding_arms_changes_nothing_for_the_others() {
    let whole = redundant();
    let mut part = whole.clone();
    part.arms.reverse();
    part.arms.truncate(3);
    let (whole, part) = (measure(&whole, 300), measure(&part, 300));
    for arm in &part.arms {
        let same = whole.arms.iter().find(|other| other.name == arm.name).unwrap();
        assert_eq!(same, arm);
    }
}

#[test]
fn json_has_the_agreed_keys() {
    let text = "name = \"x\"\nrequests = 50\nseed = 3\n[tools.t]\nfail = 0.5\nfast_takes = 0.25\n\
                [[arms]]\nname = \"a\"\n[[arms]]\nname = \"never\"\nstack = [{ timeout = 0.1 }]\n";
    let json = report::json(&measure(&plan(text), 50)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["experiment"], &json["seed"], &json["requests"]),
        (&"x".into(), &3.into(), &50.into())
    );
    assert_eq!(json["interrupted"], false);
    let arm = json["arms"][0].as_object().unwrap();
    for key in [
        "success_rate",
        "mean_s",
        "p50_s",
        "p90_s",
        "p95_s",
        "p99_s",
        "p999_s",
        "max_s",
        "calls_per_request",
        "tool_seconds_per_request",
        "cancelled_per_request",
    ] {
        assert!(arm[key].is_f64(), "{key}: {}", arm[key]);
    }
    assert_eq!(arm["p50_s"], 0.25);
    let failed = 50.0 - 50.0 * arm["success_rate"].as_f64().unwrap();
    assert_eq!(arm["errors"]["failed"].as_f64().unwrap(), failed.round());
    let never = &json["arms"][1];
    assert_eq!((&never["success_rate"], &never["p99_s"]), (&0.0.into(), &serde_json::Value::Null));
    assert!(never["errors"]["timeout"].as_u64().unwrap() > 0);
}

#[test]
fn a_late_server_is_measured_from_the_intended_start() {
    // For the first 100 s every call takes until second 100: open loop sees them all wait.
    let text = "name = \"x\"\nload = { rate = 10.0, arrivals = \"fixed\" }\n[tools.t]\nfast_takes = 0.01\n\
                rules = [{ during = [0.0, 1.0], pass = 9.0 }]\n[[arms]]\nname = \"a\"\n";
    let measured = measure(&plan(text), 100);
    let numbers = &measured.arms[0].numbers;
    // Ten of the hundred arrive in the first second, and all of them are measured slow.
    let latency = numbers.latency.as_ref().unwrap();
    assert_eq!((latency.p90.value, latency.p95.value), (0.01, 9.0));
}

#[test]
fn workers_make_requests_wait() {
    // Ten a second for a tool that can do eight: every request waits a little longer.
    let text = "name = \"x\"\nload = { rate = 10.0, arrivals = \"fixed\" }\n[tools.t]\nfast_takes = 0.25\nworkers = 2\n\
                [[arms]]\nname = \"a\"\n";
    let measured = measure(&plan(text), 100);
    let latency = measured.arms[0].numbers.latency.as_ref().unwrap();
    // The last comes after 10 s, to the worker that has begun at 0.2 s and has 49 to serve before.
    assert!((latency.max - (0.2 + 50.0 * 0.25 - 10.0)).abs() < 0.002, "{latency:?}");
}

#[test]
fn requests_end_with_the_duration() {
    for (load, requests) in
        [("rate = 10.0, arrivals = \"fixed\"", 59), ("concurrency = 4", 24), ("concurrency = 1", 6)]
    {
        let text = format!(
            "name = \"x\"\nduration = 6.0\nload = {{ {load} }}\n[tools.t]\nfast_takes = 1.0\n[[arms]]\nname = \"a\"\n"
        );
        let measured = measure(&plan(&text), 1_000);
        assert_eq!(measured.arms[0].numbers.requests, requests, "{load}");
        assert!(report::table(&measured).contains("up to 1 000 requests per arm"));
    }
}

/// Ten requests a second for 10 s; those of the second half find the tool out of order.
const HALVES: &str = "name = \"x\"\nduration = 10.0\nafter = 5.0\nseries = 1.0\n\
    load = { rate = 10.0, arrivals = \"fixed\" }\n[tools.t]\nfast_takes = 0.75\n\
    rules = [{ during = [4.85, 99.0], fail = \"reset\", after = 0.25 }]\n\
    [[arms]]\nname = \"a\"\n[[arms]]\nname = \"b\"\nstack = [{ retry = { attempts = 2, base = 0.0, jitter = \"none\" } }]\n";

#[test]
fn it_is_told_what_happened_when() {
    let json = report::json(&measure(&plan(HALVES), 1_000)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let counts = |arm: usize, what: &str| -> Vec<u64> {
        let counts = json["arms"][arm]["series"][what].as_array().unwrap();
        counts.iter().map(|count| count.as_u64().unwrap()).collect()
    };
    assert_eq!(json["arms"][0]["series"]["seconds"], 1.0);
    // The first request is made after a tenth of a second, and answered after 0.85 s.
    assert_eq!(counts(0, "offered"), [9, 10, 10, 10, 10, 10, 10, 10, 10, 10, 0]);
    assert_eq!(counts(0, "answered"), [2, 10, 10, 10, 10, 7, 0, 0, 0, 0, 0]);
    assert_eq!(counts(0, "failed"), [0, 0, 0, 0, 0, 8, 10, 10, 10, 10, 2]);
    assert_eq!(counts(0, "calls"), counts(0, "offered"));
    assert_eq!(counts(1, "calls").iter().sum::<u64>(), 99 + 50);
}

#[test]
fn later_requests_are_measured_apart() {
    let measured = measure(&plan(HALVES), 1_000);
    let later = measured.arms[1].later.as_ref().unwrap();
    let numbers = &later.numbers;
    assert_eq!((numbers.requests, numbers.successes, numbers.calls.value), (50, 0, 2.0));
    assert_eq!((later.from.as_secs_f64(), later.to.as_secs_f64()), (5.0, 9.9));
    assert_eq!((measured.arms[1].numbers.requests, later.goodput()), (99, 0.0));
    let table = report::table(&measured);
    assert!(table.contains("FROM 5 s ON") && table.contains("OVER TIME"), "{table}");
    let page = report::html(&measured);
    assert!(report::table(&measure(&plan(HALVES), 10)).contains("none"));
    assert!(page.contains("Requests from 5 s on") && page.contains("What happened when"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

#[test]
fn a_concurrency_is_kept() {
    let text = "name = \"x\"\nload = { concurrency = 10 }\n[tools.t]\nfast_takes = 1.0\n[[arms]]\nname = \"a\"\n";
    let plan = plan(text);
    let settings = Settings { requests: 100, world: World::Virtual, ..Settings::of(&plan) };
    // 100 requests of a second, ten at a time.
    assert_eq!(run::foretell(&plan, settings).unwrap(), Duration::from_secs(10));
}

#[test]
fn what_is_never_answered_is_given_up() {
    let text = "name = \"x\"\npatience = 30.0\n[tools.t]\nfast_takes = 1.0\nrules = [{ every = 4, hang = true }]\n\
                [[arms]]\nname = \"a\"\n";
    let numbers = &measure(&plan(text), 40).arms[0].numbers;
    assert_eq!(numbers.errors, [("unanswered".to_owned(), 10)].into());
    assert_eq!(numbers.failure.unwrap().value, 30.0);
    assert_eq!(numbers.cancelled.value, 0.25);
}

#[test]
fn every_kind_of_failure_has_its_name() {
    let text = "name = \"x\"\n[tools.t]\nfast_takes = 0.1\nrules = [\n\
                { calls = [1, 1], fail = \"reset\" }, { calls = [2, 2], throttle = true },\n\
                { calls = [3, 3], corrupt = 0.1 }, { calls = [4, 4], drop = 0.1 },\n\
                { calls = [5, 5], pass = 9.0 }, { calls = [6, 6], crash = true }]\n\
                [[arms]]\nname = \"a\"\nstack = [{ breaker = { consecutive = 3 } }, { timeout = 1.0 }]\n";
    let numbers = &measure(&plan(text), 12).arms[0].numbers;
    let kinds: Vec<&str> = numbers.errors.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["corrupt", "crashed", "dropped", "failed", "open", "throttled", "timeout"]);
}

#[test]
fn every_kind_of_refusal_has_its_name() {
    for (layer, kind) in [
        ("limit = { most = 1, queue = 0 }", "full"),
        ("quorum = { replicas = 3 }", "no quorum"),
        ("fallback = { tools = [\"t\"] }", "all failed"),
        ("degrade = { required = [\"t\"] }", "too few"),
        // Nothing in it is no answer, though the layer takes it for one.
        ("degrade = { optional = [\"t\"], tolerate = 1 }", "all failed"),
    ] {
        let text = format!(
            "name = \"x\"\nload = {{ rate = 10.0, arrivals = \"fixed\" }}\n[tools.t]\nfail = 1.0\nfail_after = 1.0\n\
             [tools.u]\nfail = 1.0\n[[arms]]\nname = \"a\"\ntool = \"t\"\nstack = [{{ {layer} }}]\n"
        );
        let errors = &measure(&plan(&text), 20).arms[0].numbers.errors;
        assert!(errors.contains_key(kind), "{layer}: {errors:?}");
    }
}

#[test]
fn an_ensemble_is_right_if_nothing_in_it_is_wrong() {
    let text = "name = \"x\"\n[tools.t]\n[tools.u]\nrules = [{ every = 2, corrupt = 0.1 }]\n\
                [[arms]]\nname = \"a\"\ntool = \"t\"\nstack = [{ degrade = { optional = [\"u\"] } }]\n";
    let numbers = &measure(&plan(text), 40).arms[0].numbers;
    assert_eq!((numbers.successes, &numbers.errors), (20, &[("corrupt".to_owned(), 20)].into()));
}

#[test]
fn tiers_are_tried_in_order_and_a_budget_pays_for_each() {
    let arm = |budget| {
        let text = format!(
            "name = \"x\"\n[tools.t]\nfail = 1.0\n[tools.u]\nfail = 1.0\nfail_after = 1.0\n[tools.v]\nfast_takes = 1.0\n\
             [[arms]]\nname = \"a\"\ntool = \"t\"\nstack = [{{ fallback = {{ tools = [\"u\", \"v\"]{budget} }} }}]\n"
        );
        measure(&plan(&text), 100).arms[0].numbers.clone()
    };
    let free = arm("");
    assert_eq!((free.successes, free.latency.unwrap().max), (100, 2.0));
    // Six tokens for two tiers each; a success earns a hundredth, and an hour passes for one.
    let paid = arm(", budget = { share = 0.01, cap = 6, one_every = 3600.0 }");
    assert_eq!(paid.successes, 3);
}

#[test]
fn a_timeout_covers_the_wait_in_line() {
    let text = "name = \"x\"\nload = { rate = 10.0, arrivals = \"fixed\" }\n[tools.t]\nfast_takes = 2.0\n[[arms]]\n\
                name = \"a\"\nstack = [{ timeout = 3.0 }, { limit = { most = 1, queue = 9 } }]\n";
    let numbers = &measure(&plan(text), 5).arms[0].numbers;
    assert_eq!(numbers.errors, [("timeout".to_owned(), 4)].into());
    assert_eq!(numbers.failure.unwrap().value, 3.0);
}

#[test]
fn a_stop_keeps_what_was_measured() {
    struct StopAt(Stop);
    impl Progress for StopAt {
        fn arm(&mut self, _: &str) {}
        fn requests(&mut self, ended: u64) {
            if ended >= 1_000 {
                self.0.request();
            }
        }
    }
    let (plan, stop) = (redundant(), Stop::new());
    let measured = run::run(&plan, Settings::of(&plan), &stop, &mut StopAt(stop.clone())).unwrap();
    assert!(measured.interrupted);
    let [only] = &measured.arms[..] else { panic!("the second arm was begun") };
    assert_eq!((only.name.as_str(), only.numbers.requests), ("baseline", 1_000));
    assert_eq!((measured.unreached.len(), measured.unreached[0].as_str()), (8, "redundant 2"));
    let told = "Interrupted: this is what was measured until then. Not reached: redundant 2,";
    assert!(report::table(&measured).contains(told) && report::html(&measured).contains(told));
    assert!(report::json(&measured).unwrap().contains("\"interrupted\": true"));
}

#[test]
fn over_http_gives_what_is_given_in_process() {
    // Times of a few milliseconds, so that real time is short.
    let text = "name = \"x\"\n[tools.t]\nfail = 0.2\nfast_takes = [0.002, 0.004]\n\
                rules = [{ share = 0.1, throttle = true, retry_after = 0.001 }]\n\
                [[arms]]\nname = \"bare\"\n[[arms]]\nname = \"retry\"\nstack = [{ retry = { attempts = 4, base = 0.001 } }]\n";
    let plan = plan(text);
    let (inside, over) = (measure(&plan, 600), {
        let settings = Settings { requests: 600, world: World::OverHttp, ..Settings::of(&plan) };
        run::run(&plan, settings, &Stop::new(), &mut ()).unwrap()
    });
    // The faults of a call follow from its number, and the bare arm makes one call per request.
    assert_eq!(inside.arms[0].numbers.errors, over.arms[0].numbers.errors);
    for (inside, over) in inside.arms.iter().zip(&over.arms) {
        let far = (inside.numbers.success.value - over.numbers.success.value).abs();
        assert!(far < 0.03, "{}: {far}", inside.name);
    }
}

#[test]
fn tables_are_narrow_and_pages_stand_alone() {
    let text = format!(
        "name = \"<x> & y\"\n[tools.t]\nfail = 0.1\nfast_takes = 0.1\n[[arms]]\nname = \"bare\"\n[[arms]]\nname = \"<b>{}\"\n\
         [[arms]]\nname = \"dead\"\nstack = [{{ timeout = 0.01 }}]\n",
        "long ".repeat(11)
    );
    let measured = measure(&plan(&text), 200);
    let table = report::table(&measured);
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    let page = report::html(&measured);
    assert!(!page.contains("<b>long") && page.contains("&lt;b&gt;long"));
    for outside in ["http", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}

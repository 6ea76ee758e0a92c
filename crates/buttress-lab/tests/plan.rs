//! Plans: what is refused, where, and with which words; what is taken.

use std::{num::NonZeroU32, time::Duration};

use buttress_lab::{
    plan::{
        Agree, Degrade, Failover, Fallback, Launch, LayerPlan, Limit, Members, Mode, Most, Plan,
        Quorum,
    },
    plans,
};
use proptest::prelude::*;

/// A plan with something in its tool, its arm and at its top.
fn plan_with(top: &str, tool: &str, arm: &str) -> String {
    format!("name = \"x\"\n{top}\n[tools.t]\n{tool}\n[[arms]]\nname = \"a\"\n{arm}\n")
}

fn refusal(text: &str) -> String {
    let refusal = Plan::parse("plan.toml", text).expect_err(text).to_string();
    refusal.lines().next().unwrap_or_default().to_owned()
}

/// Top-level faults stand in line 2, those of the tool in line 4, those of the arm in line 7.
#[test]
fn faults_are_told_where_they_stand_and_with_what_would_be_right() {
    let top = |text: &str| plan_with(text, "", "");
    let tool = |text: &str| plan_with("", text, "");
    let arm = |text: &str| plan_with("", "", text);
    let cases = [
        // The whole.
        (
            top("sede = 3"),
            "2:1: unknown key in the plan \"sede\": did you mean \"seed\"? known keys are name, description, requests, duration, seed, after, series, patience, load, tools, arms",
        ),
        (
            top("zzz = 3"),
            "2:1: unknown key in the plan \"zzz\": known keys are name, description, requests, duration, seed, after, series, patience, load, tools, arms",
        ),
        (
            top("requests = 0"),
            "2:12: \"requests\" must be a whole number from 1 to 10000000, not 0",
        ),
        (
            top("requests = 10_000_001"),
            "2:12: \"requests\" must be a whole number from 1 to 10000000, not 10000001",
        ),
        (
            top("requests = 1e3"),
            "2:12: \"requests\" must be a whole number from 1 to 10000000, not 1e3",
        ),
        (
            top("seed = -1"),
            "2:8: \"seed\" must be a whole number from 0 to 9223372036854775807, not -1",
        ),
        (
            top("patience = inf"),
            "2:12: \"patience\" must be a number of seconds from 0.001 to 86400, not inf",
        ),
        (top("load = { rate = 0 }"), "2:17: \"rate\" must be a number from 0.001 to 100000, not 0"),
        (
            top("load = { rate = nan }"),
            "2:17: \"rate\" must be a number from 0.001 to 100000, not nan",
        ),
        (
            top("load = { rate = 1, concurrency = 2 }"),
            "2:8: \"load\" must be either `{ rate = per second }` or `{ concurrency = n }`, not a table",
        ),
        (
            top("load = { concurrency = 2, arrivals = \"fixed\" }"),
            "2:38: \"arrivals\" goes with `rate` only",
        ),
        (
            top("load = { rate = 1, arrivals = \"poison\" }"),
            "2:31: unknown arrivals \"poison\": did you mean \"poisson\"? known words are poisson, fixed",
        ),
        (
            top("description = 7"),
            "2:15: \"description\" must be text of 1 to 2000 printable characters, not 7",
        ),
        (top("seed = "), "2:8: not TOML: string values must be quoted, expected literal string"),
        (
            "name = \"x\"\n".to_owned(),
            "1:1: missing key \"tools\" in the plan: add `tools = { tool = {} }`",
        ),
        (
            "name = \"x\"\n[tools.t]\n".to_owned(),
            "1:1: missing key \"arms\" in the plan: add `arms = [{ name = \"bare\", tool = \"..\" }]`",
        ),
        (
            "name = \"x\"\narms = []\n[tools.t]\n".to_owned(),
            "2:8: \"arms\" must be at least one `[[arms]]`, not an empty array",
        ),
        (
            "tools = 3".to_owned(),
            "1:1: missing key \"name\" in the plan: add `name = \"my experiment\"`",
        ),
        (
            "name = \"x\"\ntools = 3".to_owned(),
            "2:9: \"tools\" must be 1 to 100 tables, each under its name as in `[tools.search]`, not 3",
        ),
        (
            top("series = 0"),
            "2:10: \"series\" must be a number of seconds from 0.001 to 864000, not 0",
        ),
        (
            top("duration = 60\nafter = 60.0"),
            "3:9: \"after\" must be less than \"duration\": nothing is measured then",
        ),
        // A tool.
        (
            tool("fai = 0.2"),
            "4:1: unknown key in a tool \"fai\": did you mean \"fail\"? known keys are fail, fail_kind, fail_after, slow, slow_takes, fast_takes, workers, queue, when_full, rules",
        ),
        (tool("fail = 1.5"), "4:8: \"fail\" must be a number from 0 to 1, not 1.5"),
        (tool("fail = \"often\""), "4:8: \"fail\" must be a number from 0 to 1, not \"often\""),
        (
            tool("fail = 0.6\nslow = 0.5\nslow_takes = 1"),
            "5:8: the shares of failed (0.6) and slow (0.5) calls add up to more than 1",
        ),
        (
            tool("slow = 0.5"),
            "3:1: missing key \"slow_takes\" in a tool: add `slow_takes = [5.0, 7.0]`",
        ),
        (
            tool("fast_takes = [2, 1]"),
            "4:14: \"fast_takes\" must be seconds, or a range `[from, to]` of seconds, 0 <= from <= to <= 86400, not [2, 1]",
        ),
        (
            tool("fast_takes = [1, 2, 3]"),
            "4:14: \"fast_takes\" must be seconds, or a range `[from, to]` of seconds, 0 <= from <= to <= 86400, not [1, 2, 3]",
        ),
        (
            tool("fast_takes = -0.5"),
            "4:14: \"fast_takes\" must be seconds, or a range `[from, to]` of seconds, 0 <= from <= to <= 86400, not -0.5",
        ),
        (
            tool("fail_kind = \"connekt\""),
            "4:13: unknown fail_kind \"connekt\": did you mean \"connect\"? known words are connect, reset, timeout, unavailable, bad_request, quota, mystery",
        ),
        (
            tool("rules = [{ share = 0.1 }]"),
            "4:10: a rule needs exactly one of pass, fail, hang, throttle, corrupt, drop, crash, delay, slowdown",
        ),
        (
            tool("rules = [{ hang = true, drop = 1 }]"),
            "4:32: a rule needs exactly one of pass, fail, hang, throttle, corrupt, drop, crash, delay, slowdown",
        ),
        (tool("rules = [{ hang = false }]"), "4:19: \"hang\" must be true, not false"),
        (
            tool("rules = [{ during = [5, 5], hang = true }]"),
            "4:21: a window must end after it starts, unlike 5s to 5s",
        ),
        (
            tool("rules = [{ calls = [0, 5], hang = true }]"),
            "4:21: \"calls\" must be a whole number from 1 to 1000000000000, not 0",
        ),
        (
            tool("rules = [{ calls = [6, 5], hang = true }]"),
            "4:20: there is no call from 6 to 5; calls are counted from 1",
        ),
        (
            tool("rules = [{ retry_after = 1, hang = true }]"),
            "4:26: \"retry_after\" goes with throttle only, not with hang",
        ),
        (
            tool("rules = [{ share = 0, hang = true }]"),
            "4:20: \"share\" must be a number from 0.000001 to 1, not 0",
        ),
        (tool("workers = 0"), "4:11: \"workers\" must be a whole number from 1 to 1000000, not 0"),
        (tool("queue = 5"), "4:9: \"queue\" goes with `workers` only"),
        (
            tool("workers = 5\nwhen_full = { hang = true }"),
            "5:13: \"when_full\" goes with `queue` only",
        ),
        (
            tool("workers = 5\nqueue = 0\nwhen_full = { delay = 1 }"),
            "6:15: unknown key in when_full \"delay\": known keys are pass, fail, hang, throttle, corrupt, drop, crash, after, retry_after",
        ),
        (
            tool("workers = 5\nqueue = 0\nwhen_full = { fail = \"reset\", hang = true }"),
            "6:38: when_full needs exactly one of pass, fail, hang, throttle, corrupt, drop, crash",
        ),
        (
            tool("rules = [{ slowdown = 0.5 }]"),
            "4:23: \"slowdown\" must be a number from 1 to 10000, not 0.5",
        ),
        (
            tool("rules = [{ slowdown = 2, after = 1 }]"),
            "4:34: \"after\" goes with fail or throttle only, not with slowdown",
        ),
        // An arm.
        (
            arm("stak = []"),
            "7:1: unknown key in an arm \"stak\": did you mean \"stack\"? known keys are name, tool, load, stack",
        ),
        (arm("tool = \"T\""), "7:8: unknown tool \"T\": did you mean \"t\"? known tools are t"),
        (
            arm("stack = [{ retri = {} }]"),
            "7:12: unknown layer \"retri\": did you mean \"retry\"? known layers are breaker, degrade, failover, fallback, hedge, limit, quorum, retry, timeout",
        ),
        (
            arm("stack = [{ blockchain = {} }]"),
            "7:12: unknown layer \"blockchain\": known layers are breaker, degrade, failover, fallback, hedge, limit, quorum, retry, timeout",
        ),
        (
            arm("stack = [{ retry = {}, timeout = 1 }]"),
            "7:24: a layer needs braces of its own: write `{ .. }, { timeout = .. }`",
        ),
        (arm("stack = [{}]"), "7:10: no layer: write one layer, such as `{ timeout = 2.0 }`"),
        (
            arm("stack = [\"retry\"]"),
            "7:10: \"stack\" must be one layer, such as `{ timeout = 2.0 }`, not \"retry\"",
        ),
        (
            arm("stack = [{ timeout = 0 }]"),
            "7:22: \"timeout\" must be a number of seconds from 0.001 to 86400, not 0",
        ),
        (
            arm("stack = [{ retry = { attempt = 3 } }]"),
            "7:22: unknown key in retry \"attempt\": did you mean \"attempts\"? known keys are attempts, base, factor, cap, jitter, budget, retry_unknown, max_retry_after, wait_when_rejected",
        ),
        (
            arm("stack = [{ retry = { attempts = 101 } }]"),
            "7:33: \"attempts\" must be a whole number from 1 to 100, not 101",
        ),
        (
            arm("stack = [{ retry = { attempts = 3.5 } }]"),
            "7:33: \"attempts\" must be a whole number from 1 to 100, not 3.5",
        ),
        (
            arm("stack = [{ retry = { jitter = \"half_to_one_and_half\" } }]"),
            "7:31: unknown jitter \"half_to_one_and_half\": did you mean \"half-to-one-and-half\"? known words are none, full, equal, decorrelated, half-to-one-and-half",
        ),
        (
            arm("stack = [{ retry = { factor = 0.5 } }]"),
            "7:31: \"factor\" must be a number from 1 to 1000, not 0.5",
        ),
        (
            arm("stack = [{ retry = { base = 5, cap = 2 } }]"),
            "7:38: \"base\" must be at most \"cap\" (60 by default), not 5 with a cap of 2",
        ),
        (
            arm("stack = [{ retry = { budget = 2 } }]"),
            "7:31: \"budget\" must be a number from 0.001 to 1, not 2",
        ),
        (
            arm("stack = [{ retry = { budget = { cap = 2 } } }]"),
            "7:31: missing key \"share\" in budget: add `share = 0.1`",
        ),
        (
            arm("stack = [{ hedge = {} }]"),
            "7:20: a hedge needs exactly one of after, immediate, gaps, learned, percentile",
        ),
        (
            arm("stack = [{ hedge = { after = 1, learned = true } }]"),
            "7:43: a hedge needs exactly one of after, immediate, gaps, learned, percentile",
        ),
        (
            arm("stack = [{ hedge = { immediate = 3, attempts = 5 } }]"),
            "7:48: \"attempts\" follows from `immediate` or `gaps`: leave it out",
        ),
        (
            arm("stack = [{ hedge = { percentile = 0.95 } }]"),
            "7:20: missing key \"start\" in hedge: add `start = 1.0`",
        ),
        (
            arm("stack = [{ hedge = { after = 1, start = 2 } }]"),
            "7:41: \"start\" goes with `percentile` only",
        ),
        (
            arm("stack = [{ hedge = { gaps = [] } }]"),
            "7:29: \"gaps\" must be at least one gap, in seconds, not an empty array",
        ),
        (
            arm("stack = [{ breaker = { consecutive = 5, flaky = true } }]"),
            "7:49: a breaker has at most one of consecutive, failure_rate, slow_rate, cusum, flaky",
        ),
        (
            arm("stack = [{ breaker = { failure_rate = 0.5 } }]"),
            "7:22: a rate needs a window: add `over_calls = 100` or `over_seconds = 60.0`",
        ),
        (
            arm("stack = [{ breaker = { over_calls = 5 } }]"),
            "7:37: \"over_calls\" goes with `failure_rate` or `slow_rate` only",
        ),
        (
            arm(
                "stack = [{ breaker = { cusum = { healthy = 0.5, broken = 0.2, false_trip_every = 1000 } } }]",
            ),
            "7:32: the failure rate of the broken must be at least 0.01 above that of the healthy, not 0.2",
        ),
        (
            arm("stack = [{ breaker = { probes = [3, 2] } }]"),
            "7:33: \"probes\" must be how many must succeed of how many, `[2, 3]`, at most 64, not [3, 2]",
        ),
        (
            arm("stack = [{ breaker = { open_for = 10, open_cap = 5 } }]"),
            "7:50: \"open_cap\" must be at least \"open_for\", not 5 after 10",
        ),
        // Layers that call other tools.
        (
            arm("stack = [{ fallback = {} }]"),
            "7:23: missing key \"tools\" in fallback: add `tools = [\"weak\"]`",
        ),
        (
            arm("stack = [{ fallback = { tools = [] } }]"),
            "7:33: \"tools\" must be the name of at least one tool, not an empty array",
        ),
        (
            arm("stack = [{ fallback = { tools = [\"T\"] } }]"),
            "7:34: unknown tool \"T\": did you mean \"t\"? known tools are t",
        ),
        (arm("stack = [{ quorum = {} }]"), "7:21: a quorum needs either `replicas` or `tools`"),
        (
            arm("stack = [{ quorum = { replicas = 3, tools = [\"t\"] } }]"),
            "7:34: a quorum needs either `replicas` or `tools`",
        ),
        (
            arm("stack = [{ quorum = { replicas = 3, needed = 4 } }]"),
            "7:46: \"needed\" must be a whole number from 1 to 3, not 4",
        ),
        (
            arm("stack = [{ quorum = { tools = [\"t\"], needed = 3 } }]"),
            "7:47: \"needed\" must be a whole number from 1 to 2, not 3",
        ),
        (
            arm("stack = [{ quorum = { replicas = 3, lazy = \"yes\" } }]"),
            "7:44: \"lazy\" must be true, or a number of seconds from 0.001 to 86400, not \"yes\"",
        ),
        (
            arm("stack = [{ quorum = { replicas = 3, agree = \"wright\" } }]"),
            "7:45: unknown agree \"wright\": did you mean \"right\"? known words are answer, right, any",
        ),
        (
            arm("stack = [{ degrade = { patience = 1 } }]"),
            "7:22: an ensemble needs other members: add `required` or `optional`",
        ),
        (
            arm("stack = [{ degrade = { optional = \"t\" } }]"),
            "7:35: \"optional\" must be an array of at most 50, not \"t\"",
        ),
        (
            arm("stack = [{ failover = { tools = [\"t\"], mode = \"active\" } }]"),
            "7:47: unknown mode \"active\": known words are active-passive, active-active",
        ),
        (
            arm("stack = [{ failover = { tools = [\"t\"], balance = \"least-load\" } }]"),
            "7:50: \"balance\" goes with `mode = \"active-active\"` only",
        ),
        (
            arm(
                "stack = [{ failover = { tools = [\"t\"], mode = \"active-active\", fail_back = true } }]",
            ),
            "7:76: \"fail_back\" goes with `mode = \"active-passive\"` only",
        ),
        (
            arm("stack = [{ limit = 0 }]"),
            "7:20: \"limit\" must be a whole number from 1 to 1000000, not 0",
        ),
        (
            arm("stack = [{ limit = { queue = 5 } }]"),
            "7:20: a limit needs either `most` or `adaptive`",
        ),
        (
            arm("stack = [{ limit = { most = 5, min = 1 } }]"),
            "7:38: \"min\" goes with `adaptive` only",
        ),
        (
            arm("stack = [{ limit = { adaptive = false } }]"),
            "7:33: \"adaptive\" must be true, not false",
        ),
        (
            arm("stack = [{ limit = { adaptive = true, min = 9, max = 5 } }]"),
            "7:54: \"max\" must be at least \"min\", not 5 after 9",
        ),
        (arm("[[arms]]\nname = \"a\""), "8:8: a second arm named \"a\": the first is in line 6"),
        (
            arm("[[arms]]\ntool = \"t\""),
            "7:1: missing key \"name\" in an arm: add `name = \"what it does\"`",
        ),
        (
            "name = \"x\"\n[tools.a]\n[tools.b]\n[[arms]]\nname = \"a\"".to_owned(),
            "4:1: missing key \"tool\" in an arm: the tools are a, b",
        ),
    ];
    let wrong: Vec<_> = cases
        .iter()
        .map(|(text, expected)| (text, refusal(text), format!("plan.toml:{expected}")))
        .filter(|(_, told, expected)| told != expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_offending_line_is_shown_and_marked() {
    let text = plan_with("", "", "stack = [{ retri = {} }]");
    let refusal = Plan::parse("plan.toml", &text).unwrap_err();
    assert_eq!((refusal.line(), refusal.column()), (Some(7), Some(12)));
    let shown = refusal.to_string();
    let lines: Vec<&str> = shown.lines().skip(1).collect();
    assert_eq!(lines, ["    7 | stack = [{ retri = {} }]", "      |            ^^^^^"]);
}

#[test]
fn built_in_plans_and_the_page_are_understood() {
    for plan in plans::ALL {
        let read = Plan::parse(plan.name, plan.text).unwrap();
        assert_eq!(read.name, plan.name);
    }
    let page = include_str!("../docs/plan.md");
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [whole, tool] = examples[..] else { panic!("two examples") };
    Plan::parse("plan.md", whole).unwrap();
    Plan::parse("plan.md", &format!("name = \"x\"\n{tool}\n[[arms]]\nname = \"a\"\n")).unwrap();
}

#[test]
fn the_page_names_every_key() {
    let page = include_str!("../docs/plan.md");
    // Refusals list what is known.
    for text in [
        plan_with("zzzzzz = 1", "", ""),
        plan_with("", "zzzzzz = 1", ""),
        plan_with("", "rules = [{ zzzzzz = 1 }]", ""),
        plan_with("", "workers = 1\nqueue = 1\nwhen_full = { zzzzzz = 1 }", ""),
        plan_with("", "", "zzzzzz = 1"),
        plan_with("", "", "stack = [{ zzzzzz = {} }]"),
        plan_with("", "", "stack = [{ retry = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ hedge = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ breaker = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ retry = { budget = { zzzzzz = 1 } } }]"),
        plan_with("", "", "stack = [{ limit = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ fallback = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ quorum = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ quorum = { replicas = 3, agree = \"zzzzzz\" } }]"),
        plan_with("", "", "stack = [{ degrade = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ failover = { zzzzzz = 1 } }]"),
        plan_with("", "", "stack = [{ failover = { tools = [\"t\"], mode = \"zzzzzz\" } }]"),
        plan_with("", "fail_kind = \"zzzzzz\"", ""),
        plan_with("", "", "stack = [{ retry = { jitter = \"zzzzzz\" } }]"),
    ] {
        let refusal = refusal(&text);
        let (_, known) = refusal.split_once(" are ").expect("a list of what is known");
        for word in known.split(", ") {
            let named = [
                format!("`{word}`"),
                format!("`{word} ="),
                format!("\"{word}\""),
                format!("{{ {word} ="),
                format!(", {word} ="),
            ];
            assert!(named.iter().any(|name| page.contains(name)), "{word} is not on the page");
        }
    }
}

#[test]
fn layers_that_call_other_tools_are_understood() {
    let text = "name = \"x\"\n[tools.own]\n[tools.b]\n[tools.c]\n[[arms]]\nname = \"a\"\ntool = \"own\"\nstack = [\n\
        { fallback = { tools = [\"c\", \"own\"], patience = 2 } },\n\
        { quorum = { tools = [\"b\", \"b\"], needed = 2, lazy = 1.5, agree = \"right\" } },\n\
        { failover = { tools = [\"b\"], mode = \"active-active\", balance = \"least-load\" } },\n\
        { degrade = { optional = [\"c\"], tolerate = 0 } },\n\
        { quorum = { replicas = 3, lazy = true } },\n\
        { limit = { adaptive = true, start = 5, max = 50, queue = 0 } },\n\
        { limit = 7 },\n]\n";
    let plan = Plan::parse("plan.toml", text).unwrap();
    let [arm] = &plan.arms[..] else { panic!("one arm") };
    assert_eq!(arm.tools(), ["own", "c", "b"]);
    let second = Duration::from_secs(1);
    let of = |count| NonZeroU32::new(count);
    let adaptive =
        Most::Adaptive { start: of(5), min: None, max: of(50), period: None, slow_after: None };
    let expected = [
        LayerPlan::Fallback(Fallback {
            tools: vec!["c".into(), "own".into()],
            patience: Some(2 * second),
            on_permanent: None,
            budget: None,
        }),
        LayerPlan::Quorum(Quorum {
            members: Members::With(vec!["b".into(), "b".into()]),
            needed: Some(2),
            launch: Launch::Lazy(Some(second * 3 / 2)),
            agree: Agree::Right,
        }),
        LayerPlan::Failover(Failover {
            tools: vec!["b".into()],
            mode: Mode::ActiveActive { least_load: true },
            attempts: None,
            patience: None,
            failures: None,
            slow_start: None,
            budget: None,
        }),
        LayerPlan::Degrade(Degrade {
            required: Vec::new(),
            optional: vec!["c".into()],
            tolerate: Some(0.0),
            patience: None,
        }),
        LayerPlan::Quorum(Quorum {
            members: Members::Replicas(3),
            needed: None,
            launch: Launch::Lazy(None),
            agree: Agree::Answer,
        }),
        LayerPlan::Limit(Limit { most: adaptive, queue: Some(0), wait: None }),
        LayerPlan::Limit(Limit { most: Most::Fixed(of(7).unwrap()), queue: None, wait: None }),
    ];
    assert_eq!(arm.stack, expected);
}

#[test]
fn too_large_a_file_is_not_read() {
    let path = std::env::temp_dir().join(format!("buttress-lab-large-{}.toml", std::process::id()));
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let refusal = Plan::read(&path).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(refusal.message(), "a plan may have at most 1048576 bytes, this file has more");
}

proptest! {
    #[test]
    fn damaged_plans_are_read_or_refused(
        which in 0..plans::ALL.len(), at in 0.0_f64..1.0, length in 0_usize..20, by in "\\PC{0,8}",
    ) {
        let text = plans::ALL[which].text;
        let start = (at * text.len() as f64) as usize;
        let end = (start + length).min(text.len());
        let damaged = [&text.as_bytes()[..start], by.as_bytes(), &text.as_bytes()[end..]].concat();
        let damaged = String::from_utf8_lossy(&damaged);
        if let Err(refusal) = Plan::parse("plan.toml", &damaged) {
            let shown = refusal.to_string();
            prop_assert!(shown.starts_with("plan.toml:"), "{shown}");
            prop_assert!(refusal.line().is_some_and(|line| line <= damaged.lines().count() + 1), "{shown}");
        }
    }
}

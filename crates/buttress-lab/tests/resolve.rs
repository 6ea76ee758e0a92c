//! Steps in doubt, settled by the word of whoever looked.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    CallError, CheckpointLayer,
    checkpoint::{Effects, InDoubt, Step},
    store::{
        Begin, Begun, Claim, Digest, Entry, Journal, Life, Payload, Status, Store, StoreError,
        WorkflowId,
    },
};
use buttress_store::{PostgresStore, RedbStore};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};

use super::store::{begin, json as lab_json, lab, payload, run};

const TTL: Duration = Duration::from_millis(400);

/// A tool that ships, and counts; or hangs.
async fn ship(store: Arc<dyn Store>, workflow: &str, calls: &AtomicU32, hangs: bool) -> Value {
    let journal = Journal::new(store).namespace("shop").ttl(TTL);
    let layer = CheckpointLayer::new(journal, Effects::SideEffect(InDoubt::Fail)).schema(3);
    let layer = layer.wait_in_flight();
    let tool = service_fn(async |_: Step<&str>| {
        calls.fetch_add(1, Ordering::Relaxed);
        if hangs {
            std::future::pending::<()>().await;
        }
        Ok::<_, CallError<Infallible>>(json!({"parcel": 7}))
    });
    let call = layer.layer(tool).oneshot(Step::new(workflow, "ship", "17"));
    let answer = tokio::time::timeout(if hangs { TTL / 4 } else { 60 * TTL }, call).await;
    answer.map_or(Value::Null, |answer| answer.unwrap_or_else(|error| error.to_string().into()))
}

struct Scene {
    place: tempfile::TempDir,
    calls: AtomicU32,
    /// The two of them, by address.
    stores: [String; 2],
}

impl Scene {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("state.redb").to_str().unwrap().to_owned();
        let url = std::env::var("BUTTRESS_POSTGRES").unwrap();
        Self { place, calls: AtomicU32::new(0), stores: [file, url] }
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.place.path().join("answer.json");
        fs::write(&path, text).unwrap();
        path
    }

    async fn open(&self, at: &str) -> Arc<dyn Store> {
        if at.starts_with("postgres") {
            return Arc::new(PostgresStore::connect(at).await.unwrap());
        }
        Arc::new(RedbStore::open(Path::new(at)).unwrap())
    }

    fn ship(&self, at: &str, workflow: &str, hangs: bool) -> Value {
        run(async { ship(self.open(at).await, workflow, &self.calls, hangs).await })
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// A name that nobody else uses on the server.
    fn name(what: &str) -> String {
        format!("{what}-{}", std::process::id())
    }
}

/// Settles a step, as soon as whoever began it does not hold the workflow any more.
fn resolve(arguments: &[&str]) -> (Option<i32>, String, String) {
    loop {
        let told = lab(&[&["resolve"], arguments].concat());
        if !told.2.contains("is held by") {
            return told;
        }
        assert!(told.0 == Some(1) && told.2.contains("end it, or wait"), "{told:?}");
    }
}

#[test]
fn what_landed_is_the_answer_from_then_on() {
    let scene = Scene::new();
    let name = Scene::name("landed");
    let workflow = format!("shop/{name}");
    let answer = scene.file("{\"parcel\": 9}\n");
    for at in &scene.stores {
        let before = scene.calls();
        assert_eq!(scene.ship(at, &name, true), Value::Null);
        let doubt = scene.ship(at, &name, false);
        assert!(doubt.as_str().unwrap().contains("in doubt"), "{doubt}");
        let landed = ["--landed", answer.to_str().unwrap(), "--schema", "3", "--json"];
        let (status, out, told) = resolve(&[&[at, &*workflow, "ship"], &landed[..]].concat());
        assert_eq!(status, Some(0), "{told}");
        let record: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&record["status"], &record["attempt"]), (&json!("done"), &json!(2)), "{out}");
        assert_eq!(scene.ship(at, &name, false), json!({"parcel": 9}));
        assert_eq!(scene.calls(), before + 1);
        // It is free at once, and nothing is in doubt.
        let all = lab_json(&["ls", at, "--namespace", "shop"]);
        let one = all.iter().find(|one| one["workflow"] == *name).unwrap();
        assert_eq!((&one["in_doubt"], &one["state"]), (&json!(0), &json!("open")));
        // The first word counts.
        let (status, _, told) = resolve(&[at, &workflow, "ship", "--absent"]);
        assert!(status == Some(1) && told.contains("says `done`, and stays"), "{told}");
    }
}

#[test]
fn the_key_is_told_that_the_tool_was_given_and_nothing_is_written() {
    let scene = Scene::new();
    let workflow = WorkflowId::new("shop", Scene::name("key"));
    for at in &scene.stores {
        let key = run(async {
            let begun = scene.open(at).await.begin(&begin(workflow.clone(), "ship")).await;
            let Begun::Fresh(ticket) = begun.unwrap() else { panic!("new") };
            ticket.key.to_string()
        });
        let name = workflow.to_string();
        let told = lab_json(&["resolve", at, &name, "ship"]);
        assert_eq!((&told[0]["key"], &told[0]["version"]), (&json!(key), &json!(1)));
        let (_, told, _) = lab(&["resolve", at, &name, "ship"]);
        assert!(told.contains(&format!("key        {key}\n")), "{told}");
        assert_eq!(lab_json(&["history", at, &name]).len(), 1);
    }
}

#[test]
fn what_is_absent_is_done_as_if_never_begun() {
    let scene = Scene::new();
    let name = Scene::name("absent");
    let workflow = format!("shop/{name}");
    for at in &scene.stores {
        let before = scene.calls();
        assert_eq!(scene.ship(at, &name, true), Value::Null);
        let (status, out, told) = resolve(&[at, &workflow, "ship", "--absent"]);
        assert!(status == Some(0) && out.contains("withdrawn"), "{out}{told}");
        assert_eq!(scene.ship(at, &name, false), json!({"parcel": 7}));
        assert_eq!(scene.calls(), before + 2);
        let (status, _, told) = lab(&["verify", at, &workflow]);
        assert_eq!(status, Some(0), "{told}");
    }
}

#[test]
fn whoever_was_at_it_and_comes_back_is_fenced() {
    let scene = Scene::new();
    let answer = scene.file("1");
    let workflow = WorkflowId::new("shop", Scene::name("fenced"));
    let url = &scene.stores[1];
    let (owner, minute) = (Arc::from("me"), Duration::from_secs(60));
    let (lease, ticket) = run(async {
        let store = scene.open(url).await;
        let lease = store.acquire(&workflow, &owner, minute).await.unwrap();
        let claim = Claim::Held { epoch: lease.epoch };
        let begin = Begin { claim, ..begin(workflow.clone(), "ship") };
        let Begun::Fresh(ticket) = store.begin(&begin).await.unwrap() else { panic!("new") };
        (lease, ticket)
    });
    let name = workflow.to_string();
    let landed = ["ship", "--landed", answer.to_str().unwrap(), "--schema", "1"];
    let (status, _, told) = lab(&[&["resolve", url, &name], &landed[..]].concat());
    assert!(status == Some(1) && told.contains("is held by `me`"), "{told}");
    // It is stopped, and its lease runs out.
    run(async { scene.open(url).await.renew(&lease, Duration::from_millis(1)).await }).unwrap();
    let (status, _, told) = resolve(&[&[&**url, &name], &landed[..]].concat());
    assert_eq!(status, Some(0), "{told}");
    let late = Entry::done(payload("2"));
    let late = run(async { scene.open(url).await.complete(&ticket, late).await });
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
}

#[test]
fn a_workflow_that_ended_stays_ended() {
    let scene = Scene::new();
    let at = &scene.stores[0];
    let workflow = WorkflowId::new("shop", "ended");
    run(async {
        let store = scene.open(at).await;
        let first = begin(workflow.clone(), "ship");
        let Begun::Fresh(_) = store.begin(&first).await.unwrap() else { panic!("new") };
        store.finish(&workflow, &first.claim).await.unwrap();
    });
    let (status, _, told) = resolve(&[at, "shop/ended", "ship", "--absent"]);
    assert_eq!(status, Some(0), "{told}");
    let summary = run(async { scene.open(at).await.summary(&workflow).await }).unwrap().unwrap();
    assert_eq!((summary.life, summary.pending), (Life::Finished, 0));
}

#[test]
fn a_copy_is_told_what_landed_where_it_came_from() {
    let scene = Scene::new();
    let at = &scene.stores[0];
    let answer = scene.file("{\"parcel\": 9}");
    assert_eq!(scene.ship(at, "lost", true), Value::Null);
    run(async {
        let store = scene.open(at).await;
        let Begun::Fresh(ticket) =
            store.begin(&begin(WorkflowId::new("shop", "lost"), "worker/result")).await.unwrap()
        else {
            panic!("new")
        };
        let failure = Entry { status: Status::Failed, ..Entry::done(payload("{}")) };
        store.complete(&ticket, failure.finish()).await.unwrap();
    });
    // It is given up. The copy of what was before is no work for workers until it is complete.
    assert_eq!(lab(&["fork", at, "shop/lost", "1", "aside/lost"]).0, Some(0));
    let landed = ["--landed", answer.to_str().unwrap(), "--schema", "3"];
    let (status, _, told) = resolve(&[&[at, "aside/lost", "ship"], &landed[..]].concat());
    assert!(status == Some(1) && told.contains("never begun"), "{told}");
    let from = ["--begun-in", "shop/lost"];
    let (status, _, told) = resolve(&[&[at, "aside/lost", "ship"], &landed[..], &from].concat());
    assert_eq!(status, Some(0), "{told}");
    let latest = lab_json(&["show", at, "aside/lost"])[0]["version"].to_string();
    assert_eq!(lab(&["fork", at, "aside/lost", &latest, "shop/found"]).0, Some(0));
    assert_eq!(scene.ship(at, "found", false), json!({"parcel": 9}));
    assert_eq!(scene.calls(), 1);
}

#[test]
fn what_is_not_in_doubt_or_could_not_be_read_is_refused() {
    let scene = Scene::new();
    let at = &scene.stores[0];
    run(async {
        let store = scene.open(at).await;
        for (workflow, step, outcome) in [
            ("a", "charge", Some(payload("1"))),
            ("a", "ship", None),
            ("http", "charge", Some(Payload { codec: Payload::HTTP, ..payload("") })),
            ("http", "ship", None),
            ("two", "charge", Some(payload("1"))),
            ("two", "pack", Some(Payload { schema: 2, ..payload("1") })),
            ("two", "ship", None),
            ("alone", "ship", None),
            ("saga", "saga/end", None),
        ] {
            let begin = begin(WorkflowId::new("shop", workflow), step);
            let Begun::Fresh(ticket) = store.begin(&begin).await.unwrap() else { panic!("new") };
            if let Some(outcome) = outcome {
                store.complete(&ticket, Entry::done(outcome)).await.unwrap();
            }
        }
        let transaction = super::store::begin(WorkflowId::new("shop", "transaction"), "end");
        let mark = Digest::of(b"buttress transaction 1");
        store.begin(&Begin { fingerprint: mark, ..transaction }).await.unwrap();
    });
    let good = scene.file("{\"parcel\": 9}").to_str().unwrap().to_owned();
    let bad = scene.place.path().join("bad.json");
    fs::write(&bad, "{parcel: 9}").unwrap();
    let bad = bad.to_str().unwrap();
    for (workflow, step, word, told) in [
        ("shop/none", "ship", &["--absent"][..], "no workflow"),
        ("none", "ship", &["--absent"], "NAMESPACE/WORKFLOW"),
        ("shop/a", "sihp", &["--absent"], "never begun; in doubt: `ship`"),
        ("shop/a", "ship#2", &["--absent"], "`ship#2` of workflow `shop/a` was never begun"),
        ("shop/a", "charge", &["--absent"], "not in doubt"),
        ("shop/a", "charge", &[], "not in doubt"),
        ("shop/a", "ship", &["--landed", "/no/such/file"], "/no/such/file"),
        ("shop/a", "ship", &["--landed", bad], "not JSON"),
        ("shop/http", "ship", &["--landed", &good], "codec 2"),
        ("shop/two", "ship", &["--landed", &good], "give --schema N"),
        ("shop/alone", "ship", &["--landed", &good], "1 unless your program"),
        ("shop/saga", "saga/end", &["--absent"], "no step in doubt"),
        ("shop/transaction", "end", &["--absent"], "no step in doubt"),
    ] {
        let (status, out, err) = lab(&[&["resolve", at, workflow, step], word].concat());
        assert!(status == Some(1) && err.contains(told), "{workflow} {step}: {out}{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let (status, _, _) = lab(&["resolve", at, "shop/a", "ship", "--absent", "--landed", &good]);
    assert_eq!(status, Some(2), "one or the other");
    assert_eq!(lab_json(&["history", at, "shop/a"]).len(), 3);
}

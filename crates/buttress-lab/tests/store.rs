//! The commands that look into a store.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use buttress::store::{
    Append, Begin, Begun, Claim, Digest, Entry, Payload, StepId, Store, WorkflowId,
};
use buttress_store::RedbStore;
use serde_json::Value;

pub(crate) fn lab(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_buttress-lab"))
        .arg("store")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn json(arguments: &[&str]) -> Vec<Value> {
    let (status, out, err) = lab(&[arguments, &["--json"]].concat());
    assert_eq!(status, Some(0), "{out}{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn payload(text: &str) -> Payload {
    Payload { codec: Payload::JSON, schema: 1, bytes: text.as_bytes().to_vec() }
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn begin(workflow: WorkflowId, step: &str) -> Begin {
    Begin {
        workflow,
        step: StepId::new(step),
        fingerprint: Digest::of(b"17"),
        claim: Claim::Take { owner: Arc::from("me"), ttl: Duration::from_secs(1) },
        intent: true,
        restart: None,
        mark: None,
    }
}

/// An order that is done up to a step in doubt, and an agent with three versions, of these namespaces.
async fn fill(store: &dyn Store, shop: &str, agents: &str) {
    for (name, done) in [("charge", true), ("ship", false)] {
        let begin = begin(WorkflowId::new(shop, "order-17"), name);
        let Begun::Fresh(ticket) = store.begin(&begin).await.unwrap() else { panic!("new") };
        if done {
            store.complete(&ticket, Entry::done(payload(r#"{"cents":1200}"#))).await.unwrap();
        }
    }
    for n in 1..=3 {
        let append = Append {
            workflow: WorkflowId::new(agents, "anna"),
            step: StepId::new("state"),
            claim: Claim::Shared,
            expect: None,
            parent: None,
            fingerprint: Digest::default(),
            entry: Entry::state(payload(&format!("{{\"n\":{n}}}"))),
        };
        store.append(append).await.unwrap();
    }
}

/// A file of that.
fn filled(path: &Path) {
    run(fill(&RedbStore::open(path).unwrap(), "shop", "agents"));
}

#[test]
fn what_is_stored_is_listed_and_shown() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    filled(&path);
    let path = path.to_str().unwrap();

    let all = json(&["ls", path]);
    let names: Vec<_> = all.iter().map(|one| one["workflow"].as_str().unwrap()).collect();
    assert_eq!(names, ["anna", "order-17"]);
    assert_eq!(all[1]["in_doubt"], 1);
    assert_eq!(json(&["ls", path, "--namespace", "shop"]).len(), 1);
    let (_, table, _) = lab(&["ls", path]);
    assert!(table.starts_with("WORKFLOW") && table.contains("shop/order-17  open"), "{table}");

    let shown = json(&["show", path, "agents/anna"]);
    assert_eq!(shown[0]["payload"]["n"], 3);
    assert_eq!(json(&["show", path, "agents/anna", "2"])[0]["payload"]["n"], 2);

    let history = json(&["history", path, "shop/order-17"]);
    let said: Vec<_> =
        history.iter().map(|v| format!("{} {}", v["step"], v["status"]).replace('"', "")).collect();
    assert_eq!(said, ["charge intent", "charge done", "ship intent"]);

    let (status, told, _) = lab(&["verify", path]);
    assert_eq!(status, Some(0));
    assert!(told.contains("6 records of 2 workflows: all as they were written"), "{told}");
}

#[test]
fn a_copy_is_made_and_old_workflows_go() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    filled(&path);
    let path = path.to_str().unwrap();

    let forked = json(&["fork", path, "shop/order-17", "2", "shop/order-17-again"]);
    assert_eq!(forked[0]["forked_from"], "order-17@2");
    assert_eq!(json(&["history", path, "shop/order-17-again"]).len(), 1);
    let (status, _, told) = lab(&["fork", path, "shop/order-17", "2", "shop/order-17-again"]);
    assert_eq!(status, Some(1));
    assert!(told.contains("exists already"), "{told}");

    // Nothing is older than a month; what goes on stays whatever its age unless it is asked for.
    let pruned = json(&["prune", path]);
    assert_eq!(pruned[0]["workflows"], 0);
    let pruned = json(&["prune", path, "--namespace", "agents", "--open", "30"]);
    assert_eq!(pruned[0]["workflows"], 0);
    assert_eq!(json(&["ls", path]).len(), 3);
}

#[test]
fn what_is_intact_is_exported_even_if_the_file_cannot_be_opened() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    filled(&path);
    let (status, out, _) = lab(&["export", path.to_str().unwrap()]);
    assert_eq!(status, Some(0));
    assert_eq!(out.lines().filter(|line| line.contains(r#""kind":"record""#)).count(), 6, "{out}");

    // The beginning of the file says what it is; without it nothing can be looked up.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..4_096].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let (status, _, told) = lab(&["ls", path.to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(told.contains("lab store export"), "{told}");
    let rescued = place.path().join("rescued.jsonl");
    let (status, _, told) =
        lab(&["export", path.to_str().unwrap(), "--out", rescued.to_str().unwrap()]);
    assert_eq!(status, Some(1), "{told}");
    let lines = std::fs::read_to_string(&rescued).unwrap();
    let found = |step: &str, status: &str| {
        lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
            line["step"].as_str().is_some_and(|at| at.starts_with(step)) && line["status"] == status
        })
    };
    assert!(
        found("charge", "done") && found("ship", "intent") && found("state", "state"),
        "{lines}"
    );
}

#[test]
fn a_server_is_exported_as_a_file_is() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    let url = std::env::var("BUTTRESS_POSTGRES").unwrap();
    // Others use the server, too.
    let names = ["shop", "agents"].map(|name| format!("{name}-{}", std::process::id()));
    let [shop, agents] = &names;
    let binary = Payload { codec: 200, schema: 3, bytes: vec![0, 255, 34, 9] };
    run(async {
        let server = buttress_store::PostgresStore::connect(&url).await.unwrap();
        let stores: [&dyn Store; 2] = [&RedbStore::open(&path).unwrap(), &server];
        for store in stores {
            fill(store, shop, agents).await;
            let step = begin(WorkflowId::new(&**agents, "pictures \t\"1\""), "draw");
            let Begun::Fresh(ticket) = store.begin(&step).await.unwrap() else { panic!("new") };
            store.complete(&ticket, Entry::done(binary.clone()).finish()).await.unwrap();
            store.fork(&step.workflow, 2, &WorkflowId::new(&**shop, "copy")).await.unwrap();
        }
    });
    let export = |at: &str| {
        let (status, out, told) = lab(&["export", at]);
        assert_eq!(status, Some(0), "{told}");
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut ours: Vec<Value> =
            lines.filter(|line| names.iter().any(|name| line["namespace"] == **name)).collect();
        for line in &mut ours {
            // These are of the time and the engine, and the last of them only a file has.
            for name in ["created", "touched", "digest", "previous", "epoch", "lineage"] {
                line.as_object_mut().unwrap().remove(name);
            }
        }
        ours.sort_by_key(Value::to_string);
        ours
    };
    let (file, server) = (export(path.to_str().unwrap()), export(&url));
    assert_eq!(file.len(), 13, "{file:?}");
    assert_eq!(file, server);
}

#[test]
fn an_export_overwrites_nothing_and_leaves_nothing_empty() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    filled(&path);
    let out = place.path().join("out.jsonl");
    let arguments = ["export", path.to_str().unwrap(), "--out", out.to_str().unwrap()];
    {
        let _open = RedbStore::open(&path).unwrap();
        let (status, _, told) = lab(&arguments);
        assert!(status == Some(1) && !out.exists(), "{told}");
    }
    assert_eq!(lab(&arguments).0, Some(0));
    let written = std::fs::read(&out).unwrap();
    let (status, _, told) = lab(&arguments);
    assert!(status == Some(1) && told.contains("out.jsonl"), "{told}");
    assert_eq!(std::fs::read(&out).unwrap(), written);
}

#[test]
fn who_reads_no_further_ends_it_in_peace() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    filled(&path);
    for command in ["export", "ls", "verify"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_buttress-lab"))
            .args(["store", command, path.to_str().unwrap()])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command}: {told}");
        assert!(!told.contains("roken pipe"), "{told}");
    }
}

#[test]
fn who_looks_into_a_damaged_file_is_told_that_it_was_replaced() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    filled(&path);
    let mut bytes = std::fs::read(&path).unwrap();
    // Wherever it is: pages that nothing leads to any more have copies.
    let word = b"\"cents\":1200";
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(word)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let (status, out, told) = lab(&["verify", path]);
    assert_eq!(status, Some(1), "{out}{told}");
    assert!(told.contains("state.redb.damaged"), "{told}");
    let (_, _, told) = lab(&["verify", path]);
    assert_eq!(told, "", "once");
}

#[test]
fn wrong_names_and_paths_are_told() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state.redb");
    filled(&path);
    let path = path.to_str().unwrap();
    let empty = place.path().join("nothing");
    std::fs::write(&empty, "").unwrap();
    for (arguments, word) in [
        (&["ls", "/no/such/file.redb"][..], "there is no such file"),
        (&["show", path, "order-17"], "NAMESPACE/WORKFLOW"),
        (&["show", path, "shop/nothing"], "no workflow `shop/nothing`"),
        (&["show", path, "shop/order-17", "99"], "has no version 99"),
        (&["history", path, "shop/nothing"], "no workflow"),
        (&["verify", path, "shop/nothing"], "no workflow"),
        (&["ls", "postgres://nobody:secret@127.0.0.1:1/none?connect_timeout=1"], "127.0.0.1"),
        (&["ls", "Postgres://nobody:secret@127.0.0.1/none"], "postgresql://"),
        (&["ls", "host=127.0.0.1 port=1 user=nobody password=secret"], "127.0.0.1"),
        (&["ls", empty.to_str().unwrap()], "empty"),
    ] {
        let (status, _, told) = lab(arguments);
        assert_eq!(status, Some(1), "{arguments:?}: {told}");
        assert!(told.contains(word) && !told.contains("secret"), "{arguments:?}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    assert!(!Path::new("/no/such/file.redb").exists());
    assert_eq!(std::fs::metadata(&empty).unwrap().len(), 0);
}

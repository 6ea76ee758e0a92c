//! Bits flip anywhere in the file: what is served is what was written, and what cannot be served is told.

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use buttress::{
    Event, Teller,
    store::{
        Append, Begun, Entry, Record, Sealed, Store, StoreError, TroubleKind, Version, WorkflowId,
    },
};
use buttress_store::{RedbStore, redb::Options};

use tempfile::TempDir;

use crate::{
    disk::Disk,
    support::{Dice, begin, effect, id, payload, take, ticket},
};

/// A store as it was when its file was closed.
#[derive(Clone)]
struct Before {
    file: Vec<u8>,
    histories: BTreeMap<WorkflowId, Vec<Sealed>>,
    /// What a second look at each step says.
    steps: Vec<(WorkflowId, &'static str, Option<Sealed>)>,
    deleted: WorkflowId,
}

const PENDING: &str = "begun";

async fn before() -> Before {
    let disk = Disk::default();
    let store = Options::new().open_backend(disk.clone()).expect("an empty disk");
    let mut steps = Vec::new();
    for n in 0..6 {
        let workflow = id(&n.to_string());
        for step in ["plan", "charge", "ship"] {
            let settled = effect(&store, &workflow, step, &"result ".repeat(1 + n * 40)).await;
            steps.push((workflow.clone(), step, Some(settled.expect("done").record)));
        }
        for version in 0..5 {
            save(&store, &workflow, &format!("state {version}")).await.expect("saved");
        }
        ticket(&store, &begin(&workflow, PENDING, take("me"), true)).await;
        steps.push((workflow.clone(), PENDING, None));
    }
    let deleted = id("deleted");
    effect(&store, &deleted, "plan", "gone").await.expect("done");
    store.delete(&deleted).await.expect("it was there");
    let mut histories = BTreeMap::new();
    for n in 0..6 {
        let workflow = id(&n.to_string());
        let history = store.history(&workflow, 0, 100).await.expect("it is there");
        let intact = history.into_iter().map(|version| match version {
            Version::Intact(record) => record,
            Version::Damaged(finding) => panic!("{finding:?}"),
        });
        histories.insert(workflow, intact.collect());
    }
    drop(store);
    Before { file: disk.bytes(), histories, steps, deleted }
}

async fn save(store: &RedbStore, workflow: &WorkflowId, text: &str) -> Result<Sealed, StoreError> {
    let append = Append {
        workflow: workflow.clone(),
        step: "state".into(),
        claim: take("me"),
        expect: None,
        parent: None,
        fingerprint: Default::default(),
        entry: Entry::state(payload(text)),
    };
    store.append(append).await
}

/// What became of one flipped bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Nobody noticed, and nothing was wrong.
    Harmless,
    /// All was served, and the damage was told.
    Repaired,
    /// Something could not be served, and a typed error or a finding said so.
    Told,
    /// The file was not opened, and the error said what to do.
    Refused,
}

fn honest(error: &StoreError) -> bool {
    match error {
        StoreError::Corrupt { .. } => true,
        StoreError::Engine(trouble) => {
            trouble.kind == TroubleKind::Damaged && trouble.message.contains("lab store export")
                || trouble.kind == TroubleKind::Format
        }
        _ => false,
    }
}

/// In memory where there is such a place: there are many files, each for a moment.
fn home() -> TempDir {
    let shared = Path::new("/dev/shm");
    let made = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    made.expect("a directory")
}

/// Looks at all there is; `Err` if anything is wrong and was not told.
async fn look(before: &Before, file: Vec<u8>) -> Result<Outcome, String> {
    let told = Arc::new(AtomicUsize::new(0));
    let heard = told.clone();
    let observe = move |_: Teller<'_>, event: &Event| {
        if matches!(event, Event::Damaged { .. }) {
            heard.fetch_add(1, Ordering::SeqCst);
        }
    };
    let directory = home();
    let path = directory.path().join("store.redb");
    fs::write(&path, file).expect("writable");
    let store = match Options::new().observe(observe).open(&path) {
        Ok(store) => store,
        Err(error) if honest(&error) => return Ok(Outcome::Refused),
        Err(error) => return Err(format!("opening: {error:?}")),
    };
    let mut findings = 0;
    let mut failed = |what: &str, error: StoreError| {
        findings += 1;
        if honest(&error) { Ok(()) } else { Err(format!("{what}: {error:?}")) }
    };
    for (workflow, history) in &before.histories {
        let newest = history.last().expect("not empty");
        match store.latest(workflow, None).await {
            Ok(Some(found)) if found.record == *newest => {}
            Ok(Some(found)) if !found.skipped.is_empty() && history.contains(&found.record) => {
                failed(
                    "latest",
                    StoreError::Corrupt {
                        workflow: workflow.clone(),
                        version: None,
                        damage: found.skipped[0].damage,
                    },
                )?;
            }
            Ok(other) => return Err(format!("latest of {workflow}: {other:?}")),
            Err(error) => failed("latest", error)?,
        }
        let audit = store.verify(workflow).await;
        let clean = audit.as_ref().is_ok_and(|audit| audit.findings.is_empty());
        match store.history(workflow, 0, 100).await {
            Ok(versions) => {
                for version in &versions {
                    match version {
                        Version::Intact(record) if history.contains(record) => {}
                        Version::Intact(record) => return Err(format!("invented: {record:?}")),
                        Version::Damaged(_) => {}
                    }
                }
                if clean && versions.len() != history.len() {
                    return Err(format!("{workflow} has lost versions, and verify is content"));
                }
            }
            Err(error) => failed("history", error)?,
        }
        match audit {
            Ok(audit) => {
                if let Some(finding) = audit.findings.first() {
                    let (workflow, damage) = (workflow.clone(), finding.damage);
                    failed("verify", StoreError::Corrupt { workflow, version: None, damage })?;
                }
            }
            Err(error) => failed("verify", error)?,
        }
    }
    for (workflow, step, outcome) in &before.steps {
        match (store.begin(&begin(workflow, step, take("me"), true)).await, outcome) {
            (Ok(Begun::Completed { record }), Some(outcome)) if record == *outcome => {}
            (Ok(Begun::Pending { .. }), None) => {}
            (Ok(Begun::Damaged { damage, .. }), _) => {
                let (workflow, version) = (workflow.clone(), None);
                failed("begin", StoreError::Corrupt { workflow, version, damage })?;
            }
            (Ok(other), _) => return Err(format!("{workflow} {step}: {other:?}")),
            (Err(error), _) => failed("begin", error)?,
        }
    }
    match store.begin(&begin(&before.deleted, "plan", take("me"), true)).await {
        Err(StoreError::Deleted { .. }) => {}
        Ok(begun) => return Err(format!("back from the dead: {begun:?}")),
        Err(error) => failed("begin", error)?,
    }
    // And it goes on, or says why not.
    for (workflow, history) in &before.histories {
        match save(&store, workflow, "later").await {
            Ok(record) if record.version > history.last().expect("not empty").version => {}
            Ok(record) => return Err(format!("version {} twice", record.version)),
            Err(error) => failed("append", error)?,
        }
    }
    Ok(match (findings, told.load(Ordering::SeqCst)) {
        (0, 0) => Outcome::Harmless,
        (0, _) => Outcome::Repaired,
        _ => Outcome::Told,
    })
}

/// The same on a thread of its own, which must come back.
fn watched(before: &Arc<Before>, at: usize, bit: u8) -> Result<Outcome, String> {
    let (done, outcome) = mpsc::channel();
    let before = before.clone();
    thread::spawn(move || {
        let mut file = before.file.clone();
        file[at] ^= 1 << bit;
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.expect("a runtime").block_on(look(&before, file))
        };
        let outcome = catch_unwind(AssertUnwindSafe(run));
        let _ = done.send(outcome.unwrap_or_else(|_| Err("a panic came through".into())));
    });
    outcome.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| Err("it hangs".into()))
}

/// A number from the environment: `BUTTRESS_FLIPS` for more of them, `BUTTRESS_SEED` for others.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

fn sweep(before: Before, places: &[usize]) -> BTreeMap<Outcome, usize> {
    let (flips, seed) = (number("BUTTRESS_FLIPS", 120), number("BUTTRESS_SEED", 1));
    let dice = Dice::new(seed);
    let before = Arc::new(before);
    let mut outcomes = BTreeMap::new();
    let mut wrong = Vec::new();
    for _ in 0..flips {
        let at = places[dice.below(places.len() as u64) as usize];
        let bit = dice.below(8) as u8;
        match watched(&before, at, bit) {
            Ok(outcome) => *outcomes.entry(outcome).or_insert(0) += 1,
            Err(why) => wrong.push(format!("bit {bit} of byte {at}: {why:.300}")),
        }
    }
    println!("seed {seed}: {outcomes:?}");
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {} wrong:\n{}",
        wrong.len(),
        flips,
        wrong.join("\n")
    );
    outcomes
}

/// Where these bytes are in the file: more than once where old pages were not used again.
fn found(file: &[u8], bytes: &[u8]) -> Vec<usize> {
    let starts = file.windows(bytes.len()).enumerate().filter(|(_, window)| *window == bytes);
    starts.flat_map(|(start, _)| start..start + bytes.len()).collect()
}

#[tokio::test]
async fn no_flipped_bit_of_a_record_passes() {
    let before = before().await;
    let records = before.histories.values().flatten();
    let places: Vec<usize> =
        records.flat_map(|sealed| found(&before.file, &Record::seal(sealed).0)).collect();
    assert!(!places.is_empty());
    let outcomes = sweep(before, &places);
    assert!(outcomes.contains_key(&Outcome::Told), "{outcomes:?}");
}

#[tokio::test]
async fn no_flipped_bit_anywhere_passes() {
    let before = before().await;
    // Pages that were never written to tell nothing.
    let pages = before.file.chunks(4096).enumerate();
    let places: Vec<usize> = pages
        .filter(|(_, page)| page.iter().any(|byte| *byte != 0))
        .flat_map(|(n, page)| n * 4096..n * 4096 + page.len())
        .collect();
    sweep(before, &places);
}

#[tokio::test]
async fn the_damaged_file_is_kept_and_the_new_one_is_sound() {
    let before = before().await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let record = &before.histories[&id("0")][1];
    let mut damaged = before.file.clone();
    let places = found(&damaged, &Record::seal(record).0);
    places.into_iter().step_by(100).for_each(|at| damaged[at] ^= 1);
    fs::write(&path, &damaged).expect("writable");
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let observe = move |teller: Teller<'_>, event: &Event| {
        heard.lock().expect("nobody panics").push((teller.workflow.to_owned(), *event));
    };
    let options = Options::new().observe(observe);
    drop(options.clone().open(&path).expect("the rest is intact"));
    let damage = |workflow: &str, version| (workflow.to_owned(), Event::Damaged { version });
    let expected = [damage("", 0), damage("0", 2)];
    assert_eq!(*told.lock().expect("nobody panics"), expected, "the file, and what is in it");
    assert_eq!(fs::read(directory.path().join("store.redb.damaged")).expect("kept"), damaged);
    assert!(!directory.path().join("store.redb.rescued").exists());
    drop(options.open(&path).expect("it is sound"));
    assert_eq!(told.lock().expect("nobody panics").len(), 2, "told once");
}

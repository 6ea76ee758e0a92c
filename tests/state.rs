//! States that are saved as they change.

mod moody;
mod periodic;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::{
    Event, Teller,
    store::{Damage, Journal, MemoryStore, Retention, Store, StoreError, TroubleKind, WorkflowId},
};
use buttress_flow::{
    state::{Checkpoints, Every, Listed, StateError},
    worker::{Task, Worker, submit, wait},
};
use buttress_store::RedbStore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::BoxError;

use self::moody::{Mood, Moody};
use crate::support::poll_once;

const SECOND: Duration = Duration::from_secs(1);

fn subject() -> WorkflowId {
    WorkflowId::new("default", "agent")
}

fn open<T>(store: &MemoryStore) -> Checkpoints<T> {
    Checkpoints::new(store.clone(), "agent")
}

/// A store with versions 1 to 3, whose states are 10, 20 and 30.
async fn three() -> MemoryStore {
    let store = MemoryStore::new();
    let mut checkpoints = open(&store);
    for step in 1..=3_u32 {
        let version = checkpoints.save(&(step * 10), json!({ "step": step })).await.unwrap();
        assert_eq!(version, u64::from(step));
    }
    store
}

fn rot(store: &MemoryStore, version: u64) {
    assert!(store.tamper(&subject(), version, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    }));
}

fn stale(latest: u64) -> StateError {
    StateError::Store(StoreError::Stale { workflow: subject(), latest })
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_is_found_at_the_next_start() {
    let store = three().await;
    let mut next = open::<u32>(&store);
    let saved = next.recover().await.unwrap().unwrap();
    assert_eq!((saved.state, saved.version, saved.parent), (30, 3, Some(2)));
    assert_eq!(saved.metadata, json!({ "step": 3 }));
    assert!(saved.skipped.is_empty());
    assert_eq!(next.save(&40, Value::Null).await, Ok(4));
    assert_eq!(next.load(4).await.unwrap().parent, Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_lags_behind_overwrites_nothing() {
    let store = three().await;
    let (mut one, mut other) = (open::<u32>(&store), open::<u32>(&store));
    one.recover().await.unwrap();
    other.recover().await.unwrap();
    assert_eq!(one.save(&31, Value::Null).await, Ok(4));
    assert_eq!(other.save(&32, Value::Null).await, Err(stale(4)));
    // Saving it again does not help; knowing what is there does.
    assert_eq!(other.save(&32, Value::Null).await, Err(stale(4)));
    assert_eq!(other.recover().await.unwrap().unwrap().state, 31);
    assert_eq!(other.save(&32, Value::Null).await, Ok(5));
    // Nor does one that never looked.
    assert_eq!(open::<u32>(&store).save(&0, Value::Null).await, Err(stale(5)));
    assert_eq!(open::<u32>(&store).latest().await.unwrap().unwrap().state, 32);
}

#[tokio::test(start_paused = true)]
async fn damaged_versions_are_passed_over_and_told() {
    let store = three().await;
    rot(&store, 3);
    rot(&store, 2);
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let mut next = open::<u32>(&store).observe(move |teller: Teller<'_>, event: &Event| {
        assert_eq!((teller.pattern, teller.name), ("state", "agent"));
        log.lock().unwrap().push(*event);
    });
    let saved = next.recover().await.unwrap().unwrap();
    assert_eq!((saved.state, saved.version), (10, 1));
    assert_eq!(saved.skipped.iter().map(|finding| finding.version).collect::<Vec<_>>(), [3, 2]);
    // The next one goes on from what was found, and follows what is there.
    assert_eq!(next.save(&11, Value::Null).await, Ok(4));
    assert_eq!(next.load(4).await.unwrap().parent, Some(1));
    let damaged = |version| Event::Damaged { version };
    let recorded = Event::Recorded { attempt: 1, version: 4 };
    assert_eq!(*told.lock().unwrap(), [damaged(3), damaged(2), recorded]);
    let audit = next.verify().await.unwrap();
    assert_eq!((audit.records, audit.findings.len()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_intact_that_is_an_error_until_one_starts_over() {
    let store = three().await;
    (1..=3).for_each(|version| rot(&store, version));
    let mut next = open::<u32>(&store);
    let corrupt =
        StoreError::Corrupt { workflow: subject(), version: Some(3), damage: Damage::Digest };
    assert_eq!(next.recover().await, Err(StateError::Store(corrupt)));
    assert_eq!(next.save(&1, Value::Null).await, Err(stale(3)));
    next.start_over().await.unwrap();
    assert_eq!(next.save(&1, Value::Null).await, Ok(4));
    assert_eq!(next.latest().await.unwrap().unwrap().parent, None);
}

#[tokio::test(start_paused = true)]
async fn versions_are_listed_with_what_is_said_about_them() {
    let store = three().await;
    rot(&store, 2);
    let listed = open::<u32>(&store).list().await.unwrap();
    let Listed::Intact { version: 3, parent: Some(2), metadata, created, schema: 1, bytes, .. } =
        &listed[2]
    else {
        panic!("{listed:?}")
    };
    assert_eq!((metadata, *bytes), (&json!({ "step": 3 }), 34));
    assert!(*created > 0);
    assert_eq!(listed[1], Listed::Damaged { version: 2, damage: Damage::Digest });
    assert_eq!(listed.len(), 3);
    // Of nothing there is nothing, which is no error.
    let nothing = open::<u32>(&MemoryStore::new());
    assert_eq!(nothing.list().await, Ok(vec![]));
    assert_eq!(nothing.latest().await, Ok(None));
    assert_eq!(nothing.verify().await.unwrap().records, 0);
}

#[tokio::test(start_paused = true)]
async fn old_versions_go_as_the_store_allows_and_lists_are_of_any_length() {
    let store = MemoryStore::with_retention(Retention {
        versions: 200.try_into().unwrap(),
        ..Retention::default()
    });
    let mut checkpoints = open(&store);
    for step in 1..=300 {
        checkpoints.save(&step, Value::Null).await.unwrap();
    }
    let listed = checkpoints.list().await.unwrap();
    assert_eq!(listed.len(), 200);
    assert!(matches!(listed[0], Listed::Intact { version: 101, .. }));
    let gone = checkpoints.load(100).await.unwrap_err();
    let gone_is = StoreError::NotFound { workflow: subject(), version: Some(100) };
    assert_eq!(gone, StateError::Store(gone_is));
}

#[tokio::test(start_paused = true)]
async fn one_can_look_at_an_old_version_and_go_back_to_it() {
    let store = three().await;
    let mut checkpoints = open::<u32>(&store);
    checkpoints.recover().await.unwrap();
    // To look changes nothing.
    assert_eq!(checkpoints.load(1).await.unwrap().state, 10);
    assert_eq!(checkpoints.save(&31, Value::Null).await, Ok(4));
    assert_eq!(checkpoints.load(4).await.unwrap().parent, Some(3));
    assert_eq!(checkpoints.rewind(2).await.unwrap().state, 20);
    assert_eq!(checkpoints.newest(), 4);
    assert_eq!(checkpoints.save(&21, Value::Null).await, Ok(5));
    assert_eq!(checkpoints.latest().await.unwrap().unwrap().parent, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_state_of_another_type_is_an_error_and_not_a_default() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Agent {
        name: String,
    }
    let store = three().await;
    let mut agents = open::<Agent>(&store);
    let Err(StateError::Unreadable { version: 3, message }) = agents.recover().await else {
        panic!("it is no number")
    };
    assert!(message.contains("Agent"), "{message}");
    let mut next = open::<u32>(&store).schema(2);
    let schema = StateError::Schema { version: 3, found: 1, wanted: 2 };
    assert_eq!(next.recover().await, Err(schema.clone()));
    assert_eq!(next.load(3).await, Err(schema));
    // It is there all the same.
    assert_eq!(next.list().await.unwrap().len(), 3);
    assert_eq!(next.save(&1, Value::Null).await, Err(stale(3)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_changes_nothing() {
    #[derive(Serialize, Deserialize)]
    struct Odd(std::collections::BTreeMap<Vec<u8>, u8>);
    let store = MemoryStore::new();
    let odd = Odd([(vec![1], 1)].into());
    let unwritable = open::<Odd>(&store).save(&odd, Value::Null).await.unwrap_err();
    assert!(matches!(unwritable, StateError::Unwritable { .. }), "{unwritable}");
    assert_eq!(store.summary(&subject()).await.unwrap(), None);

    // JSON takes this, and does not give it back.
    let (mut periodic, saver) = open::<f64>(&store).periodic(Every::steps(1));
    let work = async move {
        let error = periodic.note(&f64::NAN, Value::Null).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state cannot be saved: it cannot be read back: invalid type: null, expected f64 \
             at line 1 column 29"
        );
        periodic.note(&0.5, Value::Null).unwrap();
    };
    assert_eq!(tokio::join!(work, saver).1, Ok(Some(1)));
    assert_eq!(open::<f64>(&store).latest().await.unwrap().unwrap().state, 0.5);
}

#[tokio::test(start_paused = true)]
async fn what_a_task_of_a_worker_remembers_is_fenced_with_it() {
    let store = MemoryStore::new();
    let journal = Journal::new(store.clone());
    submit(&journal, "agent", &3).await.unwrap();
    let worker = Worker::new(journal.clone()).poll(SECOND);
    let handler = async |task: Task| {
        let mut notes = Checkpoints::<u32>::new(task.journal().clone(), task.id());
        let from = notes.recover().await?.map_or(0, |saved| saved.state);
        let until: u32 = task.input()?;
        for note in from + 1..=until {
            notes.save(&note, Value::Null).await?;
            if note == 2 && from == 0 {
                return Err("it was cut off".into());
            }
        }
        Ok::<_, BoxError>(from)
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let work = worker.run(handler, async move { drop(stopped.await) });
    let from = async {
        let from = wait::<u32>(&journal, "agent", SECOND).await;
        stop.send(()).unwrap();
        from
    };
    let (_, from) = tokio::join!(work, from);
    assert_eq!(from.unwrap(), 2);
    assert_eq!(saved(&store).await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_looked_up() {
    let store = Moody::new(Duration::ZERO);
    let open = || Checkpoints::<u32>::new(store.clone(), "agent");
    let mut checkpoints = open();
    store.expect([Mood::Forgets, Mood::Refuses]);
    for state in [1, 2] {
        let error = checkpoints.save(&state, Value::Null).await.unwrap_err();
        assert!(error.to_string().contains("away"), "{error}");
    }
    // Of these the first was saved, and is followed.
    assert_eq!(checkpoints.save(&3, Value::Null).await, Ok(2));
    let saved = checkpoints.latest().await.unwrap().unwrap();
    assert_eq!((saved.state, saved.parent), (3, Some(1)));

    // A save that was dropped, too; but what another wrote is not taken for it.
    let mut slow = Checkpoints::<u32>::new(Moody { takes: SECOND, ..store.clone() }, "agent");
    slow.recover().await.unwrap();
    assert!(poll_once(Box::pin(slow.save(&4, Value::Null)).as_mut()).await.is_pending());
    checkpoints.save(&5, Value::Null).await.unwrap();
    assert_eq!(slow.save(&6, Value::Null).await, Err(stale(3)));
}

#[tokio::test(start_paused = true)]
async fn a_save_that_was_given_up_and_is_made_late_is_followed_as_well() {
    let store = Moody::new(SECOND);
    let mut checkpoints = Checkpoints::<u32>::new(store.clone(), "agent");
    checkpoints.save(&1, Value::Null).await.unwrap();
    // Two are given up, of which the first is made while the third is under way.
    store.expect([Mood::Lingers, Mood::Lingers]);
    for state in [2, 3] {
        assert!(
            poll_once(Box::pin(checkpoints.save(&state, Value::Null)).as_mut()).await.is_pending()
        );
    }
    sleep(SECOND * 3 / 2).await;
    assert_eq!(checkpoints.save(&4, Value::Null).await, Ok(3));
    assert_eq!(saved(&store.inner).await, [1, 2, 4]);
    assert_eq!(checkpoints.latest().await.unwrap().unwrap().parent, Some(2));

    // One that is made late is not taken for another's, nor another's for it.
    store.expect([Mood::Lingers]);
    assert!(poll_once(Box::pin(checkpoints.save(&5, Value::Null)).as_mut()).await.is_pending());
    let mut other = open::<u32>(&store.inner);
    other.recover().await.unwrap();
    other.save(&6, Value::Null).await.unwrap();
    sleep(3 * SECOND).await;
    assert_eq!(checkpoints.save(&7, Value::Null).await, Err(stale(4)));
    assert_eq!(saved(&store.inner).await, [1, 2, 4, 6]);
}

/// Over a file, whose writer goes on with what it has taken.
#[tokio::test]
async fn saves_that_are_given_up_do_not_make_the_next_one_stale() {
    let directory = tempfile::tempdir().unwrap();
    let store = RedbStore::open(directory.path().join("agent.redb")).unwrap();
    let mut checkpoints = Checkpoints::new(store, "agent");
    for state in 1..=30_u32 {
        for _ in 0..state % 4 {
            let _ = poll_once(Box::pin(checkpoints.save(&state, Value::Null)).as_mut()).await;
        }
        checkpoints.save(&state, Value::Null).await.unwrap();
    }
    assert_eq!(checkpoints.latest().await.unwrap().unwrap().state, 30);
}

#[tokio::test(start_paused = true)]
async fn a_save_under_a_lost_lease_is_fenced() {
    let store = three().await;
    let lease = store.claim("default", &"one".into(), SECOND).await.unwrap().unwrap();
    let mut held = Checkpoints::<u32>::new(Journal::new(store.clone()).held(lease), "agent");
    held.recover().await.unwrap();
    held.save(&31, Value::Null).await.unwrap();
    tokio::time::advance(SECOND).await;
    let other = store.claim("default", &"other".into(), SECOND).await.unwrap().unwrap();
    let fenced = held.save(&32, Value::Null).await.unwrap_err();
    assert!(matches!(fenced, StateError::Store(StoreError::Fenced { .. })), "{fenced}");
    let mut other = Checkpoints::<u32>::new(Journal::new(store).held(other), "agent");
    assert_eq!(other.recover().await.unwrap().unwrap().state, 31);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_subject_stays_deleted() {
    let store = three().await;
    let mut late = open::<u32>(&store);
    late.recover().await.unwrap();
    store.delete(&subject()).await.unwrap();
    let deleted = StateError::Store(StoreError::Deleted { workflow: subject() });
    assert_eq!(late.save(&31, Value::Null).await, Err(deleted));
}

async fn saved(store: &MemoryStore) -> Vec<u32> {
    let checkpoints = open::<u32>(store);
    let mut states = Vec::new();
    for listed in checkpoints.list().await.unwrap() {
        let Listed::Intact { version, .. } = listed else { unreachable!("{listed:?}") };
        states.push(checkpoints.load(version).await.unwrap().state);
    }
    states
}

#[tokio::test(start_paused = true)]
async fn errors_say_what_they_mean() {
    use buttress::{Fault, Kind};
    let away = StoreError::engine(TroubleKind::Unreachable, "away", None);
    assert_eq!(StateError::Store(away).verdict().kind, Kind::Transient);
    assert_eq!(stale(4).verdict().kind, Kind::Permanent);
    let schema = StateError::Schema { version: 3, found: 1, wanted: 2 };
    assert_eq!(schema.to_string(), "version 3 has schema 1, schema 2 is wanted");
}

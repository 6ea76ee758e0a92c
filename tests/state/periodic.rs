//! States that are saved every so often, beside the work.

use std::time::Duration;

use buttress::store::MemoryStore;
use buttress_flow::state::{Checkpoints, Every, Periodic, StateError};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    SECOND,
    moody::{Mood, Moody},
    open, saved, stale, three,
};
use crate::support::poll_once;

/// Ten steps of a second each, of which every second is due, and what was saved.
async fn work(mut periodic: Periodic<u32>) -> Duration {
    let start = Instant::now();
    for step in 1..=10 {
        sleep(SECOND).await;
        periodic.note(&step, json!(step)).unwrap();
    }
    let took = start.elapsed();
    periodic.flush(&10, "the end").await.unwrap();
    took
}

#[tokio::test(start_paused = true)]
async fn saves_are_made_every_so_often_and_at_the_end() {
    for (every, expected) in [
        (Every::steps(4), &[4, 8, 10][..]),
        (Every::interval(SECOND * 5 / 2), &[3, 6, 9, 10]),
        (Every::steps(4).or_interval(3 * SECOND), &[3, 6, 9, 10]),
        (Every::steps(99), &[10]),
    ] {
        let store = MemoryStore::new();
        let (periodic, saver) = open(&store).periodic(every);
        let (_, last) = tokio::join!(work(periodic), saver);
        assert_eq!(last, Ok(Some(expected.len() as u64)));
        assert_eq!(saved(&store).await, expected, "{every:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_work_does_not_wait_for_a_slow_store_and_the_newest_state_wins() {
    let store = Moody::new(SECOND * 7 / 2);
    let checkpoints = Checkpoints::new(store.clone(), "agent");
    let (periodic, saver) = checkpoints.periodic(Every::steps(1));
    let (took, last) = tokio::join!(work(periodic), saver);
    assert_eq!(took, 10 * SECOND);
    // Saved in 1..4.5 s, 4.5..8, 8..11.5, and then the last of those that were due.
    assert_eq!(saved(&store.inner).await, [1, 4, 8, 10]);
    assert_eq!(last, Ok(Some(4)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_is_told_once() {
    let store = Moody::new(Duration::ZERO);
    store.expect([Mood::Refuses, Mood::Forgets]);
    let checkpoints = Checkpoints::new(store.clone(), "agent");
    let (mut periodic, saver) = checkpoints.periodic(Every::steps(1));
    let work = async {
        let mut outcomes = Vec::new();
        for step in 1..=4 {
            outcomes.push(periodic.note(&step, Value::Null).is_ok());
            sleep(SECOND).await;
        }
        drop(periodic);
        outcomes
    };
    let (outcomes, last) = tokio::join!(work, saver);
    // Each is heard of at the note that follows.
    assert_eq!(outcomes, [true, false, false, true]);
    assert_eq!(last, Ok(Some(3)));
    assert_eq!(saved(&store.inner).await, [2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_saver_that_is_overtaken_ends_and_every_note_says_so() {
    let store = three().await;
    let mut checkpoints = open(&store);
    checkpoints.recover().await.unwrap();
    let (mut periodic, saver) = checkpoints.periodic(Every::steps(1));
    let mut other = open(&store);
    other.recover().await.unwrap();
    other.save(&99, Value::Null).await.unwrap();
    periodic.note(&31, Value::Null).unwrap();
    assert_eq!(saver.await, Err(stale(4)));
    for _ in 0..3 {
        assert_eq!(periodic.note(&32, Value::Null), Err(stale(4)));
    }
    assert_eq!(periodic.flush(&33, Value::Null).await, Err(stale(4)));
    assert_eq!(open::<u32>(&store).latest().await.unwrap().unwrap().state, 99);
}

#[tokio::test(start_paused = true)]
async fn either_half_may_be_dropped() {
    // The work: what is due is saved, what is not due is not.
    let store = Moody::new(SECOND);
    let checkpoints = Checkpoints::new(store.clone(), "agent");
    let (mut periodic, saver) = checkpoints.periodic(Every::steps(2));
    for step in 1..=5 {
        periodic.note(&step, Value::Null).unwrap();
    }
    drop(periodic);
    assert_eq!(saver.await, Ok(Some(1)));
    assert_eq!(saved(&store.inner).await, [4]);

    // The saver, in the middle of a save.
    let mut checkpoints = Checkpoints::new(store.clone(), "agent");
    checkpoints.recover().await.unwrap();
    let (mut periodic, saver) = checkpoints.periodic(Every::steps(1));
    periodic.note(&6, Value::Null).unwrap();
    {
        let mut saver = Box::pin(saver);
        assert!(poll_once(saver.as_mut()).await.is_pending());
        let mut flush = Box::pin(periodic.flush(&7, Value::Null));
        assert!(poll_once(flush.as_mut()).await.is_pending());
        drop(saver);
        assert_eq!(flush.await, Err(StateError::Gone));
    }
    assert_eq!(periodic.note(&8, Value::Null), Err(StateError::Gone));
    assert_eq!(saved(&store.inner).await, [4]);
}

//! Sagas that are dropped, taken over, and gone on with.

use super::*;
use crate::support::poll_times;

/// Drops the process after every poll, and the next one too; whoever comes then brings it to its end.
#[tokio::test(start_paused = true)]
async fn wherever_it_is_dropped_every_effect_is_accounted_for() {
    for fails in [false, true] {
        let mut seen = [0; 2];
        'polls: for first in 0.. {
            for second in (0..120).step_by(7) {
                let world = World::new();
                if fails {
                    world.post.next([PERMANENT]);
                }
                let mut run = Box::pin(async { world.saga("a", RETRY).run("s1", trip()).await });
                if poll_times(run.as_mut(), first).is_ready() {
                    break 'polls;
                }
                drop(run);
                advance(TTL).await;
                let mut recovery = Box::pin(async { world.saga("b", RETRY).recover().await });
                let _ = poll_times(recovery.as_mut(), second);
                drop(recovery);
                advance(TTL).await;
                let report = world.saga("a", RETRY).run("s1", trip()).await.unwrap();
                // The tool failed once for good: if nobody heard of that, it was asked again.
                let outcome = report.outcome;
                assert!(report.finished(), "{first} {second}: {report}");
                let (flights, hotels) = (world.flights.done(), world.hotels.done());
                if outcome == Outcome::Completed {
                    assert_eq!(
                        (flights, hotels),
                        (vec!["fly Ada".into()], vec!["stay after 100".into()])
                    );
                    assert_eq!(world.post.done().len(), 2);
                } else {
                    assert_eq!(flights, ["fly Ada", "cancel seat 100"], "{first} {second}");
                    assert_eq!(hotels, ["stay after 100", "cancel room 100"], "{first} {second}");
                    assert_eq!(world.post.done(), [""; 0]);
                }
                seen[usize::from(outcome == Outcome::Compensated)] += 1;
                assert_eq!(world.saga("c", RETRY).recover().await.unwrap(), []);
            }
        }
        assert!(seen[usize::from(fails)] > 100, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn once_it_has_turned_back_it_never_goes_forward_again() {
    let world = World::new();
    // Fails in a way that is not recorded, and works ever after.
    world.hotels.next([UNSENT, UNSENT, UNSENT]);
    world.flights.takes(SECOND);
    let saga = world.saga("a", RETRY);
    let mut run = Box::pin(saga.run("s1", trip()));
    let turn = StepId::new("saga/turn");
    let workflow = world.journal("a").workflow("s1");
    while world.store.memory.latest(&workflow, Some(&turn)).await.unwrap().is_none() {
        assert!(poll_once(run.as_mut()).await.is_pending());
        advance(SECOND / 10).await;
    }
    drop(run);
    let report = world.saga("a", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Compensated);
    assert_eq!(world.hotels.done(), [""; 0]);
    assert_eq!(report.step("book-hotel").unwrap().error.as_deref(), Some("the tool fails"));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_keeps_its_lease_and_its_place() {
    let world = World::new();
    // Nor does it lose it by a renewal that nobody answers.
    world.store.silence(1);
    world.hotels.takes(4 * TTL);
    let saga = world.saga("a", RETRY);
    let mut run = pin!(saga.run("s1", trip()));
    let other = world.saga("b", RETRY);
    for _ in 0..(4 * 30) {
        assert!(poll_once(run.as_mut()).await.is_pending());
        advance(SECOND).await;
        assert!(matches!(other.resume("s1").await, Err(Refused::Held { .. } | Refused::Unknown)));
        assert_eq!(other.recover().await.unwrap(), []);
        let here = saga.clone().run("s1", trip()).await.unwrap_err();
        assert_eq!(here, Refused::InFlight);
    }
    assert_eq!(run.await.unwrap().outcome, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_overtaken_stops() {
    let world = World::new();
    let saga = world.saga("a", RETRY);
    let mut run = Box::pin(saga.run("s1", trip()));
    while world.flights.done().is_empty() {
        assert!(poll_times(run.as_mut(), 1).is_pending());
    }
    advance(2 * TTL).await;
    let report = world.saga("b", RETRY).resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    // The first wakes up: nothing that it does counts.
    let late = run.await.unwrap();
    assert!(!late.finished(), "{late}");
    assert_eq!((world.flights.done().len(), world.hotels.done().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_hangs_can_be_left_and_resumed() {
    let world = World::new();
    world.hotels.next([Luck::Hangs]);
    let saga = world.saga("a", RETRY);
    assert!(tokio::time::timeout(SECOND, saga.run("s1", trip())).await.is_err());
    // The same process has the lease still, and need not wait.
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(world.flights.done(), ["fly Ada"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_a_tool_keeps_waiting_does_not_hold_up_the_others() {
    let world = World::new();
    world.flights.always(Luck::Hangs);
    let saga = world.saga("a", RETRY);
    for number in 0..40 {
        assert!(
            tokio::time::timeout(SECOND, saga.run(format!("s{number}"), trip())).await.is_err()
        );
    }
    world.flights.always(None);
    // One of them all the same.
    world.flights.next([Luck::Hangs]);
    assert!(tokio::time::timeout(60 * SECOND, saga.recover()).await.is_err());
    assert_eq!(world.post.done().len(), 2 * 39);
    let recovered = saga.recover().await.unwrap();
    assert!(matches!(&recovered[..], [(_, Ok(report))] if report.outcome == Outcome::Completed));
    assert_eq!(world.flights.done().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_worker_keeps_the_lease_itself() {
    let world = World::new();
    world.hotels.takes(SECOND);
    let journal = world.journal("worker");
    let workflow = journal.workflow("s1");
    let lease = world.store.acquire(&workflow, journal.owner_name(), TTL).await.unwrap();
    let flight = |journal: &Journal| {
        let booking = Action::new("book", FAIL, world.hotels.clone(), |_: &Trip| String::new())
            .undo(RETRY, world.hotels.clone(), |_, _| String::new());
        Saga::new("trip", journal.clone()).step(booking)
    };
    let held = journal.clone().held(lease.clone());
    // Sagas of other workflows are none of its business, those that somebody left neither.
    let left = flight(&journal);
    assert!(poll_times(Box::pin(left.run("s2", trip())).as_mut(), 9).is_pending());
    for refused in [flight(&held).run("s2", trip()).await, flight(&held).resume("s2").await] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("is not that of the workflow whose lease"), "{refused}");
    }
    assert_eq!(flight(&held).recover().await.unwrap(), []);
    world.hotels.asked();
    let saga = flight(&held);
    let mut run = Box::pin(saga.run("s1", trip()));
    for _ in 0..20 {
        assert!(poll_once(run.as_mut()).await.is_pending());
        yield_now().await;
    }
    drop(run);
    // Left in doubt, under the lease that is still the worker's.
    let report = saga.resume("s1").await.unwrap();
    assert_eq!(report.outcome, Outcome::InDoubt);
    let summary = world.store.summary(&workflow).await.unwrap().unwrap();
    assert_eq!((summary.epoch, summary.held.is_some()), (lease.epoch, true));
    // Once it has lost it, nothing more is written.
    advance(2 * TTL).await;
    let other = world.journal("other");
    world.store.acquire(&workflow, other.owner_name(), TTL).await.unwrap();
    let refused = saga.resume("s1").await.unwrap_err();
    assert!(matches!(refused, Refused::Store(StoreError::Fenced { .. })), "{refused}");
}

//! Coordinators that die, are taken over, and race; and a log that fails.

use super::*;
use crate::support::poll_times;

/// Drops the coordinator after every poll, and its first recovery too, then recovers.
#[tokio::test(start_paused = true)]
async fn wherever_the_coordinator_dies_there_is_one_outcome() {
    let mut seen = HashMap::<_, u32>::new();
    for sold_out in [false, true] {
        'polls: for first in 0.. {
            for second in (0..40).step_by(3) {
                let world = World::new();
                world.shops[1].set(|books| books.sold_out = sold_out);
                let mut run =
                    Box::pin(async { world.coordinator("a").run("t1", payloads()).await });
                if poll_times(run.as_mut(), first).is_ready() {
                    break 'polls;
                }
                drop(run);
                // The second process dies, too; then the first is there again.
                advance(TTL).await;
                let mut recovery = Box::pin(async { world.coordinator("b").recover().await });
                let _ = poll_times(recovery.as_mut(), second);
                drop(recovery);
                advance(TTL).await;
                let coordinator = world.coordinator("a");
                let reports = coordinator.recover().await.unwrap();
                assert!(reports.iter().all(|report| report.finished), "{reports:?}");
                let outcome = coordinator.outcome("t1").await.unwrap();
                let standing = world.agree("t1");
                let told = outcome.map(stand);
                assert!(standing.is_none() || standing == told, "{first} {second}");
                assert_ne!(outcome, Some(Outcome::InDoubt));
                assert!(!sold_out || outcome != Some(Outcome::Committed));
                assert_eq!(coordinator.recover().await.unwrap(), []);
                *seen.entry(outcome).or_default() += 1;
            }
        }
    }
    for outcome in [None, Some(Outcome::Committed), Some(Outcome::Aborted)] {
        assert!(seen.contains_key(&outcome), "{outcome:?} never came about: {seen:?}");
    }
}

/// Stops the coordinator at every poll for longer than its lease; meanwhile another recovers.
#[tokio::test(start_paused = true)]
async fn whoever_is_overtaken_learns_what_was_decided() {
    let mut seen = HashMap::<_, u32>::new();
    for polls in 0.. {
        let world = World::new();
        let mut run = Box::pin(async { world.coordinator("a").run("t1", payloads()).await });
        if poll_times(run.as_mut(), polls).is_ready() {
            break;
        }
        advance(TTL + SECOND).await;
        world.coordinator("b").recover().await.unwrap();
        let report = run.await;
        let standing = world.agree("t1");
        let outcome = world.coordinator("b").outcome("t1").await.unwrap();
        match &report {
            Ok(report) if report.outcome != Outcome::InDoubt => {
                assert_eq!(Some(report.outcome), outcome, "{polls}");
            }
            Ok(report) => assert!(report.error.is_some(), "{polls}"),
            // Overtaken before anybody was asked.
            Err(_) => assert_eq!(standing, None),
        }
        world.coordinator("b").recover().await.unwrap();
        let outcome = world.coordinator("b").outcome("t1").await.unwrap();
        assert!(standing.is_none() || standing == outcome.map(stand), "{polls}");
        *seen.entry(report.map(|report| report.outcome).ok()).or_default() += 1;
    }
    for outcome in [None, Some(Outcome::Committed), Some(Outcome::Aborted)] {
        assert!(seen.contains_key(&outcome), "{outcome:?} never came about: {seen:?}");
    }
}

/// Three coordinators whose leases are always over, in turns that look like chance.
#[tokio::test(start_paused = true)]
async fn coordinators_that_race_come_to_one_outcome() {
    let mut committed = 0;
    for seed in 1..300_u64 {
        let world = World::new();
        let (a, b, c) = (world.coordinator("a"), world.coordinator("b"), world.coordinator("c"));
        let mut run = Box::pin(a.run("t1", payloads()));
        let mut recoveries = [Box::pin(b.recover()), Box::pin(c.recover())];
        let mut word = seed;
        let mut report = None;
        while report.is_none() {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            match word >> 60 {
                turn @ 0..=1 => {
                    if poll_times(recoveries[turn as usize].as_mut(), 1).is_ready() {
                        let again = if turn == 0 { &b } else { &c };
                        recoveries[turn as usize] = Box::pin(again.recover());
                    }
                }
                2..=5 => advance(TTL / 2).await,
                _ => {
                    if let Poll::Ready(ended) = poll_times(run.as_mut(), 1) {
                        report = Some(ended);
                    }
                }
            }
        }
        for recovery in recoveries {
            recovery.await.unwrap();
        }
        advance(TTL).await;
        world.coordinator("d").recover().await.unwrap();
        let standing = world.agree("t1");
        if let Some(Ok(report)) = &report
            && report.outcome != Outcome::InDoubt
        {
            assert_eq!(Some(stand(report.outcome)), standing, "seed {seed}");
        }
        committed += u32::from(standing == Some(Standing::Committed));
    }
    assert!((20..280).contains(&committed), "{committed}");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_slow_keeps_its_lease() {
    let world = World::new();
    world.shops[0].set(|books| books.takes = 4 * TTL);
    let coordinator = world.coordinator("a").prepare_within(10 * TTL).answer_within(10 * TTL);
    let mut run = pin!(coordinator.run("t1", payloads()));
    let other = world.coordinator("b");
    for _ in 0..(8 * 30 - 1) {
        assert!(poll_once(run.as_mut()).await.is_pending());
        advance(SECOND).await;
        assert_eq!(other.recover().await.unwrap(), []);
        assert_eq!(coordinator.clone().recover().await.unwrap(), [], "it is at it itself");
    }
    assert_eq!(run.await.unwrap().outcome, Outcome::Committed);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_for_a_moment_is_waited_for() {
    let world = World::new();
    let coordinator = world.coordinator("a");
    let prepared = |world: &World| world.standings("t1") == [Standing::Prepared; 3];
    let mut run = Box::pin(coordinator.run("t1", payloads()));
    while !prepared(&world) {
        assert!(poll_once(run.as_mut()).await.is_pending());
    }
    world.store.refuse(2);
    assert_eq!(run.await.unwrap().outcome, Outcome::Committed);

    // Away for longer: nobody is told anything, and nobody can tell.
    let world = World::new();
    let coordinator = world.coordinator("a");
    let mut run = Box::pin(coordinator.run("t1", payloads()));
    while !prepared(&world) {
        assert!(poll_once(run.as_mut()).await.is_pending());
    }
    world.store.refuse(3);
    let report = run.await.unwrap();
    assert_eq!((report.outcome, report.finished), (Outcome::InDoubt, false));
    assert!(matches!(report.error, Some(StoreError::Engine(_))));
    assert!(prepared(&world));
    let reports = coordinator.recover().await.unwrap();
    assert_eq!((reports[0].outcome, reports[0].finished), (Outcome::Aborted, true));
    assert_eq!(world.agree("t1"), Some(Standing::Aborted));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_decision_is_never_replaced() {
    let world = World::new();
    let coordinator = world.coordinator("a");
    let mut run = Box::pin(coordinator.run("t1", payloads()));
    while world.shops[0].standing("t1") != Standing::Committed {
        assert!(poll_once(run.as_mut()).await.is_pending());
    }
    drop(run);
    let workflow = Journal::new(world.store.clone()).namespace("transactions").workflow("t1");
    let decision = world.store.latest(&workflow, Some(&StepId::new("decision"))).await.unwrap();
    let version = decision.unwrap().record.version;
    assert!(world.store.memory.tamper(&workflow, version, |bytes| bytes[40] ^= 1));
    let reports = coordinator.recover().await.unwrap();
    let report = &reports[0];
    assert_eq!((report.outcome, report.finished), (Outcome::InDoubt, false));
    let damage = Damage::Digest;
    let corrupt = StoreError::Corrupt { workflow, version: Some(version), damage };
    assert_eq!(report.error, Some(corrupt));
    assert!(!world.standings("t1").contains(&Standing::Aborted));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_transaction_is_left_alone() {
    let world = World::new();
    let journal = Journal::new(world.store.clone()).namespace("transactions");
    let other = journal.workflow("another kind");
    world.store.acquire(&other, journal.owner_name(), SECOND).await.unwrap();
    advance(2 * SECOND).await;
    let before = world.store.summary(&other).await.unwrap();
    let coordinator = world.coordinator("a");
    assert_eq!(coordinator.recover().await.unwrap(), []);
    assert_eq!(coordinator.outcome("another kind").await.unwrap(), None);
    assert_eq!(world.store.summary(&other).await.unwrap(), before);
}

//! The way to the server is cut, falls silent, or leads to one that writes nothing.

use buttress::store::{Sealed, Status, TroubleKind, Version};
use buttress_store::PostgresStore;
use tokio::task::JoinSet;

use super::{
    proxy::{Proxy, Way},
    *,
};

fn kind(error: &StoreError) -> TroubleKind {
    match error {
        StoreError::Engine(trouble) => trouble.kind,
        other => unreachable!("not trouble with the server: {other:?}"),
    }
}

/// What somebody was told of a step before the way was cut.
#[derive(Debug)]
enum Heard {
    Nothing,
    Begun(Box<Ticket>),
    Done(Box<Sealed>),
}

async fn hear(store: &PostgresStore, step: &Begin) -> Heard {
    let ticket = match store.begin(step).await {
        Ok(begun) => fresh(begun),
        Err(error) => {
            assert_eq!(kind(&error), TroubleKind::Unreachable, "{error}");
            return Heard::Nothing;
        }
    };
    match store.complete(&ticket, Entry::done(payload("first"))).await {
        Ok(settled) => Heard::Done(settled.record.into()),
        Err(error) => {
            assert_eq!(kind(&error), TroubleKind::Unreachable, "{error}");
            Heard::Begun(ticket.into())
        }
    }
}

/// The same store, which knows of nothing, goes on from what the server has.
async fn go_on(store: &PostgresStore, step: &Begin, heard: Heard) -> Sealed {
    let begun = store.begin(step).await.unwrap();
    let ticket = match (heard, begun) {
        (Heard::Done(record), Begun::Completed { record: kept }) => {
            assert_eq!(kept, *record, "what was acknowledged");
            return kept;
        }
        (Heard::Begun(_), Begun::Completed { record }) => return record,
        (Heard::Begun(ticket), Begun::Pending { .. }) => *ticket,
        (Heard::Nothing, Begun::Fresh(ticket)) => ticket,
        (Heard::Nothing, Begun::Pending { record, .. }) => {
            let restart = Some(record.version);
            fresh(store.begin(&Begin { restart, ..step.clone() }).await.unwrap())
        }
        (heard, begun) => unreachable!("{begun:?} after {heard:?}"),
    };
    store.complete(&ticket, Entry::done(payload("second"))).await.unwrap().record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_is_cut_at_any_byte_loses_nothing_and_doubles_nothing() {
    let scratch = Scratch::new();
    let direct = scratch.store().await;
    let proxy = Proxy::before(&scratch.url);
    let one = std::num::NonZeroUsize::MIN;
    let store = scratch.options().pool_size(one).connect(&proxy.url()).await.unwrap();
    let (mut cuts, mut heard_of) = (0, [0; 3]);
    // Once on connections that know the statements, once on new ones that are told all of them.
    for (way, warm, stride) in [
        (Way::ToServer, true, 61),
        (Way::ToClient, true, 23),
        (Way::ToServer, false, 331),
        (Way::ToClient, false, 67),
    ] {
        for bytes in (0..).step_by(stride) {
            let id = workflow(&format!("{way:?}-{warm}-{bytes}"));
            let step = begin(&id, "pay", take("me"));
            done(&store, &workflow("warm"), &format!("{way:?}-{warm}-{bytes}"), "me").await;
            if !warm {
                store.pool().retain(|_, _| false);
            }
            proxy.cut_after(way, bytes);
            let heard = hear(&store, &step).await;
            let spared = proxy.spare();
            cuts += usize::from(!spared);
            heard_of[match &heard {
                Heard::Nothing => 0,
                Heard::Begun(_) => 1,
                Heard::Done(_) => 2,
            }] += 1;
            let record = go_on(&store, &step, heard).await;
            // One outcome, the same for all, and nothing else amiss.
            let Begun::Completed { record: kept } = direct.begin(&step).await.unwrap() else {
                panic!("it was done")
            };
            assert_eq!(kept, record);
            let history = direct.history(&id, 0, 99).await.unwrap();
            let outcomes = history.iter().filter(
                |at| matches!(at, Version::Intact(record) if record.status == Status::Done),
            );
            assert_eq!(outcomes.count(), 1, "{id}: {history:?}");
            assert_eq!(direct.verify(&id).await.unwrap().findings, []);
            assert_eq!(direct.summary(&id).await.unwrap().unwrap().pending, 0);
            if spared {
                break;
            }
        }
    }
    println!("{cuts} cuts: {heard_of:?} heard nothing, of the beginning, of the end");
    assert!(cuts > 50 && heard_of.iter().all(|heard| *heard > 0), "{cuts} {heard_of:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fell_silent_are_all_given_up_with_the_first() {
    let scratch = Scratch::new();
    drop(scratch.store().await);
    let proxy = Proxy::before(&scratch.url);
    let some = Duration::from_secs(3);
    let store = scratch.options().timeout(some).connect(&proxy.url()).await.unwrap();
    let mut busy = Vec::new();
    for _ in 0..6 {
        busy.push(store.pool().get().await.unwrap());
    }
    drop(busy);
    assert_eq!(store.pool().status().size, 6);
    // As if the machine at the other end had lost its power.
    proxy.silence();
    let id = workflow("a");
    let error = store.begin(&begin(&id, "pay", take("me"))).await.unwrap_err();
    assert_eq!(kind(&error), TroubleKind::Unreachable);
    assert!(error.to_string().contains("did not answer within 3s"), "{error}");
    // Whoever asks next does not wait for each of the others in turn.
    done(&store, &id, "pay", "me").await;
}

#[tokio::test]
async fn a_statement_that_the_server_gives_up_can_be_asked_again() {
    let scratch = Scratch::new();
    drop(scratch.store().await);
    let one = std::num::NonZeroUsize::MIN;
    for setting in ["statement_timeout", "lock_timeout"] {
        let url = format!("{}&options=-c%20{setting}%3D200", scratch.url);
        let store = scratch.options().pool_size(one).connect(&url).await.unwrap();
        let id = workflow(setting);
        let ticket = fresh(store.begin(&begin(&id, "pay", take("me"))).await.unwrap());
        let blocker = scratch.client().await;
        blocker.batch_execute("BEGIN; SELECT FROM workflow FOR UPDATE").await.unwrap();
        let error = store.complete(&ticket, Entry::done(payload("x"))).await.unwrap_err();
        assert_eq!(kind(&error), TroubleKind::Unreachable, "{error}");
        assert!(error.to_string().contains("timeout"), "{error}");
        assert_eq!(store.pool().status().size, 1, "its connection is as good as before");
        blocker.batch_execute("COMMIT").await.unwrap();
        let settled = store.complete(&ticket, Entry::done(payload("x"))).await.unwrap();
        assert!(settled.ours, "nothing was written");
        assert_eq!(settled.record.version, 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_share_a_connection_and_those_who_go_away_leave_it() {
    let scratch = Scratch::new();
    let one = std::num::NonZeroUsize::MIN;
    let store = scratch.options().pool_size(one).connect(&scratch.url).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..60_u64 {
        let store = store.clone();
        tasks.spawn(async move {
            let id = workflow(&n.to_string());
            let work = done(&store, &id, "pay", "me");
            if n % 3 == 0 {
                // Some while they wait, some in the middle of it.
                tokio::time::timeout(Duration::from_millis(n), work).await.is_ok()
            } else {
                work.await;
                true
            }
        });
    }
    let finished = tasks.join_all().await;
    assert!(finished.iter().filter(|finished| **finished).count() >= 40);
    assert!(store.pool().status().size <= 1);
    done(&store, &workflow("after"), "pay", "me").await;
}

#[tokio::test]
async fn a_server_that_turns_read_only_is_told_and_left_for_one_that_writes() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "me").await;
    let ticket = fresh(store.begin(&begin(&id, "ship", take("me"))).await.unwrap());
    let busy = store.pool().get().await.unwrap();
    busy.batch_execute("SET default_transaction_read_only = on").await.unwrap();
    drop(busy);
    let one = store.pool().status().size;
    assert_eq!(one, 1, "all of them");
    let begun = store.begin(&begin(&id, "pay", take("me"))).await.unwrap();
    assert!(matches!(begun, Begun::Completed { .. }), "what was done can be read");
    let error = store.complete(&ticket, Entry::done(payload("x"))).await.unwrap_err();
    assert_eq!(kind(&error), TroubleKind::ReadOnly);
    assert!(error.to_string().contains("connect to the primary"), "{error}");
    // The next is a new connection, which may find another server.
    let settled = store.complete(&ticket, Entry::done(payload("x"))).await.unwrap();
    assert!(settled.ours);
    assert_eq!(store.verify(&id).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_killed_while_it_writes_is_trouble_that_passes() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let admin = client(&scratch.url).await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let store = store.clone();
        writers.spawn(async move {
            let mut heard = Vec::new();
            for n in 0..40 {
                let id = workflow(&format!("{writer}-{n}"));
                let step = begin(&id, "pay", take("me"));
                heard.push((step.clone(), hear(&store, &step).await));
            }
            heard
        });
    }
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE application_name = 'buttress' AND position($1 in query) > 0";
    while !writers.is_empty() {
        admin.query(end, &[&scratch.schema]).await.unwrap();
        if let Ok(Some(heard)) =
            tokio::time::timeout(Duration::from_millis(15), writers.join_next()).await
        {
            for (step, heard) in heard.unwrap() {
                go_on(&store, &step, heard).await;
                assert_eq!(store.verify(&step.workflow).await.unwrap().findings, []);
            }
        }
    }
}

//! Who comes late writes nothing, and who goes away leaves nothing.

use std::{future::poll_fn, pin::pin, task::Poll};

use tokio_postgres::Client;

use super::*;

/// How many sessions of the store wait for a lock of another.
async fn waiting(client: &Client, schema: &str) -> i64 {
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND position($1 in query) > 0";
    client.query_one(waiting, &[&schema]).await.unwrap().get(0)
}

async fn until_waiting(client: &Client, schema: &str, sessions: i64) {
    while waiting(client, schema).await != sessions {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An owner's writes are read and decided, and stand before the lock of the row, behind one who takes the
/// workflow over.
#[tokio::test]
async fn one_who_decided_before_a_takeover_does_not_write_after_it() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.store().await, scratch.store().await);
    let id = workflow("a");
    let short = Claim::Take { owner: "old".into(), ttl: Duration::from_millis(1) };
    let ticket = fresh(old.begin(&begin(&id, "pay", short)).await.unwrap());
    // It is over, and nobody noticed yet: the epoch is still that of `old`.
    tokio::time::sleep(Duration::from_millis(10)).await;

    let (blocker, watcher) = (scratch.client().await, scratch.client().await);
    blocker.batch_execute("BEGIN; SELECT FROM workflow FOR UPDATE").await.unwrap();
    let takeover = {
        let (new, id) = (new.clone(), id.clone());
        tokio::spawn(async move { new.acquire(&id, &"new".into(), MINUTE).await })
    };
    until_waiting(&watcher, &scratch.schema, 1).await;
    let late =
        tokio::spawn(async move { old.complete(&ticket, Entry::done(payload("late"))).await });
    until_waiting(&watcher, &scratch.schema, 2).await;
    blocker.batch_execute("COMMIT").await.unwrap();

    let lease = takeover.await.unwrap().unwrap();
    assert!(matches!(late.await.unwrap(), Err(StoreError::Fenced { .. })));
    let held = Claim::Held { epoch: lease.epoch };
    let begun = new.begin(&begin(&id, "pay", held)).await.unwrap();
    assert!(matches!(begun, Begun::Pending { .. }), "it is in doubt: {begun:?}");
}

#[tokio::test]
async fn one_who_decided_before_a_deletion_does_not_write_after_it() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    let ticket = fresh(store.begin(&begin(&id, "pay", take("me"))).await.unwrap());
    let (blocker, watcher) = (scratch.client().await, scratch.client().await);
    blocker.batch_execute("BEGIN; SELECT FROM workflow FOR UPDATE").await.unwrap();
    let deleted = tokio::spawn({
        let (store, id) = (store.clone(), id.clone());
        async move { store.delete(&id).await }
    });
    until_waiting(&watcher, &scratch.schema, 1).await;
    let late = tokio::spawn({
        let store = store.clone();
        async move { store.complete(&ticket, Entry::done(payload("late"))).await }
    });
    until_waiting(&watcher, &scratch.schema, 2).await;
    blocker.batch_execute("COMMIT").await.unwrap();
    deleted.await.unwrap().unwrap();
    assert!(matches!(late.await.unwrap(), Err(StoreError::Deleted { .. })));
    let left = watcher.query_one("SELECT count(*) FROM record", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn one_who_claims_passes_by_what_another_is_about_to_write() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    for name in ["a", "b"] {
        store.append(state(&workflow(name), "todo", Claim::Shared)).await.unwrap();
    }
    let blocker = scratch.client().await;
    let lock = "BEGIN; SELECT FROM workflow WHERE workflow = 'a' FOR UPDATE";
    blocker.batch_execute(lock).await.unwrap();
    let lease = store.claim("shop", &"me".into(), MINUTE).await.unwrap().unwrap();
    assert_eq!(lease.workflow, workflow("b"));
    blocker.batch_execute("COMMIT").await.unwrap();
    let lease = store.claim("shop", &"me".into(), MINUTE).await.unwrap().unwrap();
    assert_eq!(lease.workflow, workflow("a"));
}

/// Polls an operation so often, and drops it. Says whether it was done by then.
async fn dropped_after<T>(polls: usize, operation: impl Future<Output = T>) -> bool {
    let mut operation = pin!(operation);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        operation.as_mut().poll(cx).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn an_operation_dropped_at_any_poll_leaves_no_transaction_and_no_lock() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let watcher = scratch.client().await;
    let (mut polls, mut all_done) = (0, false);
    while !all_done {
        all_done = true;
        let id = workflow(&polls.to_string());
        let copy = workflow(&format!("copy-{polls}"));
        done(&store, &id, "first", "me").await;
        let ticket = fresh(store.begin(&begin(&id, "second", take("me"))).await.unwrap());
        let lease = store.acquire(&id, &"me".into(), MINUTE).await.unwrap();
        let third = begin(&id, "third", take("me"));
        all_done &= dropped_after(polls, store.begin(&third)).await;
        all_done &= dropped_after(polls, store.complete(&ticket, Entry::done(payload("x")))).await;
        all_done &= dropped_after(polls, store.append(state(&id, "s", take("me")))).await;
        all_done &= dropped_after(polls, store.renew(&lease, MINUTE)).await;
        all_done &= dropped_after(polls, store.fork(&id, 2, &copy)).await;
        all_done &= dropped_after(polls, store.verify(&id)).await;
        all_done &= dropped_after(polls, store.release(&lease)).await;
        all_done &= dropped_after(polls, store.claim("shop", &"you".into(), MINUTE)).await;
        all_done &= dropped_after(polls, store.delete(&copy)).await;
        let open = "SELECT count(*) FROM pg_stat_activity \
                    WHERE state LIKE 'idle in transaction%' AND position($1 in query) > 0";
        let open = watcher.query_one(open, &[&scratch.schema]).await.unwrap();
        assert_eq!(open.get::<_, i64>(0), 0, "after {polls} polls");
        // Whatever was done of it, the workflow is whole, and goes on.
        assert_eq!(store.verify(&id).await.unwrap().findings, []);
        for id in [&id, &copy] {
            let claim = Claim::Take { owner: "me".into(), ttl: Duration::ZERO };
            match store.append(state(id, "after", claim)).await {
                Ok(_) | Err(StoreError::Deleted { .. } | StoreError::Held { .. }) => {}
                Err(error) => panic!("after {polls} polls: {error}"),
            }
        }
        polls += 1;
    }
    assert!(polls > 3, "each takes more than one statement");
}

//! Several connections at once, each as far from the others as another process is.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::*;

async fn stores(scratch: &Scratch, count: usize) -> Vec<buttress_store::PostgresStore> {
    let mut stores = Vec::new();
    for _ in 0..count {
        stores.push(scratch.store().await);
    }
    stores
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_begin_at_once_one_is_first() {
    let scratch = Scratch::new();
    let stores = stores(&scratch, 8).await;
    for round in 0..12 {
        let id = workflow(&round.to_string());
        let mut racing = JoinSet::new();
        for (n, store) in stores.iter().cloned().enumerate() {
            // Half of the rounds: no lease, so that the intent alone decides.
            let claim = if round % 2 == 0 { take(&n.to_string()) } else { Claim::Shared };
            let begin = begin(&id, "pay", claim);
            racing.spawn(async move { store.begin(&begin).await });
        }
        let mut first = 0;
        while let Some(begun) = racing.join_next().await {
            match begun.unwrap() {
                Ok(Begun::Fresh(_)) => first += 1,
                Err(StoreError::Held { .. }) if round % 2 == 0 => {}
                Ok(Begun::Pending { .. }) if round % 2 == 1 => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(first, 1, "round {round}");
        assert_eq!(stores[0].summary(&id).await.unwrap().unwrap().pending, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_outcome_is_the_outcome_for_all() {
    let scratch = Scratch::new();
    let stores = stores(&scratch, 8).await;
    let id = workflow("a");
    let mut tickets = Vec::new();
    for store in &stores {
        let idempotent = Begin { intent: false, ..begin(&id, "ask", Claim::Shared) };
        tickets.push(fresh(store.begin(&idempotent).await.unwrap()));
    }
    let mut racing = JoinSet::new();
    for (n, (store, ticket)) in stores.iter().cloned().zip(tickets).enumerate() {
        racing.spawn(async move {
            store.complete(&ticket, Entry::done(payload(&n.to_string()))).await.unwrap()
        });
    }
    let settled = racing.join_all().await;
    assert_eq!(settled.iter().filter(|settled| settled.ours).count(), 1);
    let records: BTreeSet<_> = settled.iter().map(|settled| settled.record.digest).collect();
    assert_eq!(records.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_of_one_workflow_write_side_by_side() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    let mut branches = JoinSet::new();
    for branch in 0..16 {
        let (store, id) = (store.clone(), id.clone());
        branches.spawn(async move {
            for n in 1..=3 {
                let step = Begin {
                    step: times(&format!("branch-{branch}"), n),
                    ..begin(&id, "branch", take("me"))
                };
                let ticket = fresh(store.begin(&step).await.unwrap());
                store.complete(&ticket, Entry::done(payload("x"))).await.unwrap();
            }
        });
    }
    branches.join_all().await;
    let summary = store.summary(&id).await.unwrap().unwrap();
    assert_eq!((summary.latest, summary.pending), (96, 0));
    assert_eq!(store.verify(&id).await.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_version_is_written_upon_one_that_was_followed() {
    let scratch = Scratch::new();
    let stores = stores(&scratch, 6).await;
    let id = workflow("a");
    let mut adders = JoinSet::new();
    for store in stores.clone() {
        let id = id.clone();
        adders.spawn(async move {
            let mut added = 0;
            while added < 5 {
                let found = store.latest(&id, Some(&"state".into())).await.unwrap();
                let (at, sum) = found.map_or((0, 0), |found| {
                    let text = String::from_utf8(found.record.payload.bytes.clone()).unwrap();
                    (found.newest, text.parse::<u32>().unwrap())
                });
                let next = state(&id, &(sum + 1).to_string(), Claim::Shared);
                match store.append(Append { expect: Some(at), ..next }).await {
                    Ok(_) => added += 1,
                    Err(StoreError::Stale { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    adders.join_all().await;
    let sum = stores[0].latest(&id, None).await.unwrap().unwrap().record;
    assert_eq!(sum.payload, payload("30"));
    assert_eq!(sum.version, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_workflow_is_claimed_by_one() {
    let scratch = Scratch::new();
    let stores = stores(&scratch, 8).await;
    for n in 0..40 {
        let id = workflow(&format!("{n:02}"));
        stores[0].append(state(&id, "todo", Claim::Shared)).await.unwrap();
    }
    let ended = workflow("00");
    stores[0].finish(&ended, &Claim::Shared).await.unwrap();
    let mut workers = JoinSet::new();
    for (n, store) in stores.iter().cloned().enumerate() {
        workers.spawn(async move {
            let owner: Arc<str> = format!("worker-{n}").into();
            let mut taken = Vec::new();
            while let Some(lease) = store.claim("shop", &owner, MINUTE).await.unwrap() {
                taken.push((lease.workflow, lease.epoch));
            }
            taken
        });
    }
    let taken: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let workflows: BTreeSet<_> = taken.iter().map(|(workflow, _)| workflow.clone()).collect();
    let epochs: BTreeSet<_> = taken.iter().map(|(_, epoch)| *epoch).collect();
    assert_eq!((taken.len(), workflows.len(), epochs.len()), (39, 39, 39));
    assert!(!workflows.contains(&ended));
    assert_eq!(stores[0].claim("other", &"me".into(), MINUTE).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epochs_grow_however_they_are_taken() {
    let scratch = Scratch::new();
    let stores = stores(&scratch, 4).await;
    let id = workflow("a");
    let mut owners = JoinSet::new();
    for (n, store) in stores.into_iter().enumerate() {
        let id = id.clone();
        owners.spawn(async move {
            let owner: Arc<str> = n.to_string().into();
            let mut epochs = Vec::new();
            while epochs.len() < 8 {
                match store.acquire(&id, &owner, MINUTE).await {
                    Ok(lease) => {
                        let step = begin(&id, &format!("{n}-{}", epochs.len()), take(&owner));
                        let ticket = fresh(store.begin(&step).await.unwrap());
                        let entry = Entry::done(payload("x"));
                        let record = store.complete(&ticket, entry).await.unwrap().record;
                        epochs.push((record.version, lease.epoch));
                        store.release(&lease).await.unwrap();
                    }
                    Err(StoreError::Held { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
            epochs
        });
    }
    let mut epochs: Vec<_> = owners.join_all().await.into_iter().flatten().collect();
    epochs.sort_unstable();
    assert_eq!(epochs.len(), 32);
    assert!(epochs.is_sorted_by(|(_, before), (_, after)| before < after), "{epochs:?}");
}

//! Many at once.

use std::{collections::BTreeSet, future::poll_fn, pin::Pin, task::Poll};

use buttress::store::{Append, Begun, Claim, Life, Store, StoreError};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, NAMESPACE, Scene, again, attempt, done, intend, owner, state, take, workflow},
};

const MANY: usize = 16;

/// Does all at once, and waits for all.
async fn all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<Pin<Box<_>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut waiting = false;
        for (future, done) in running.iter_mut().zip(&mut done) {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *done = Some(output),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}

pub(super) async fn one_of_many_takes_the_lease<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let owners: Vec<_> = (0..MANY).map(|place| owner(&place.to_string())).collect();
    // Of nothing, then of what was let go.
    for round in 0..2 {
        let mut taken = Vec::new();
        for lease in all(owners.iter().map(|owner| store.acquire(&order, owner, LONG))).await {
            match lease {
                Ok(lease) => taken.push(lease),
                Err(StoreError::Held { .. }) => {}
                Err(error) => return Err(format!("taking a lease: {error}")),
            }
        }
        ensure!(taken.len() == 1, "{} took the lease at once in round {round}", taken.len());
        for lease in &taken {
            let held = scene.summary(&order).await?.held;
            same!(held.map(|(owner, _)| owner), Some(lease.owner.clone()), "who holds it");
            store.release(lease).await.at("giving back")?;
        }
    }
    Ok(())
}

pub(super) async fn one_of_many_begins_a_step<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let mut winners = Vec::new();
    let shared = intend(&order, "shared", Claim::Shared);
    for begun in all((0..MANY).map(|_| store.begin(&shared))).await {
        match begun.at("beginning")? {
            Begun::Fresh(ticket) => winners.push(ticket),
            Begun::Pending { .. } => {}
            other => return Err(format!("one of many was told {other:?}")),
        }
    }
    same!(winners.len(), 1, "how many began the step");
    let begins: Vec<_> =
        (0..MANY).map(|place| intend(&order, "taken", take(&place.to_string()))).collect();
    for begun in all(begins.iter().map(|begin| store.begin(begin))).await {
        match begun {
            Ok(Begun::Fresh(ticket)) => winners.push(ticket),
            Err(StoreError::Held { .. }) => {}
            other => return Err(format!("one of many was told {other:?}")),
        }
    }
    same!(winners.len(), 2, "how many began the two steps");
    same!(scene.summary(&order).await?.pending, 2, "how many steps are begun and not done");
    for ticket in &winners {
        scene.complete(ticket, "done").await?;
    }
    scene.sound(&order, 4).await
}

pub(super) async fn one_of_many_restarts_a_step<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let begin = intend(&order, "pay", Claim::Shared);
    let mut intent = scene.fresh(&begin).await?.intent.at("the intent")?;
    for _ in 0..3 {
        let restart = again(&begin, intent);
        let mut winners = Vec::new();
        for begun in all((0..MANY).map(|_| store.begin(&restart))).await {
            match begun.at("beginning again")? {
                Begun::Fresh(ticket) => winners.push(ticket),
                Begun::Pending { .. } => {}
                other => return Err(format!("one of many was told {other:?}")),
            }
        }
        same!(winners.len(), 1, "how many restarts of one intent won");
        intent = winners.pop().and_then(|ticket| ticket.intent).at("the intent")?;
    }
    same!(scene.summary(&order).await?.pending, 1, "how many steps are begun and not done");
    scene.sound(&order, 4).await
}

pub(super) async fn one_outcome_of_many_counts<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let begin = attempt(&order, "look", Claim::Shared);
    let mut tickets = Vec::new();
    for _ in 0..MANY {
        tickets.push(scene.fresh(&begin).await?);
    }
    let outcomes = tickets
        .iter()
        .enumerate()
        .map(|(place, ticket)| store.complete(ticket, done(&place.to_string())));
    let mut ours = 0;
    let mut told = Vec::new();
    for settled in all(outcomes).await {
        let settled = settled.at("completing")?;
        ours += usize::from(settled.ours);
        told.push(settled.record);
    }
    same!(ours, 1, "how many outcomes count");
    let record = scene.completed(&begin).await?;
    ensure!(told.iter().all(|told| *told == record), "two were told different outcomes: {told:?}");
    scene.sound(&order, 1).await
}

pub(super) async fn one_save_of_many_follows<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    for newest in 0..3 {
        let saves = (0..MANY).map(|place| {
            let append = state(&agent, "memory", &place.to_string());
            scene.store.append(Append { expect: Some(newest), ..append })
        });
        let mut won = 0;
        for saved in all(saves).await {
            match saved {
                Ok(_) => won += 1,
                Err(StoreError::Stale { .. }) => {}
                Err(error) => return Err(format!("saving: {error}")),
            }
        }
        same!(won, 1, "how many saves followed version {newest}");
    }
    scene.sound(&agent, 3).await
}

pub(super) async fn no_save_of_many_is_lost<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    let values: Vec<String> = (0..MANY).map(|place| place.to_string()).collect();
    let saves = values.iter().map(|value| scene.save(&agent, value, value));
    let mut versions = BTreeSet::new();
    for saved in all(saves).await {
        versions.insert(saved?.version);
    }
    same!(versions.len(), MANY, "how many versions were told");
    let kept: BTreeSet<_> = scene
        .history(&agent)
        .await?
        .into_iter()
        .map(|record| record.record.payload.bytes)
        .collect();
    same!(kept, values.into_iter().map(String::into_bytes).collect(), "what is kept");
    scene.sound(&agent, MANY as u64).await
}

pub(super) async fn many_workflows_go_on_at_once<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let orders: Vec<_> = (0..MANY * 2).map(|place| workflow(&place.to_string())).collect();
    let run = async |order| {
        let lease = scene.acquire(order, "a", LONG).await?;
        for step in ["book", "pay", "send"] {
            let begin = intend(order, step, Claim::Held { epoch: lease.epoch });
            scene.step(&begin, &format!("{order} {step}")).await?;
        }
        scene.store.finish(order, &Claim::Held { epoch: lease.epoch }).await.at("ending")?;
        Ok::<_, String>(lease.epoch)
    };
    let mut epochs = BTreeSet::new();
    for epoch in all(orders.iter().map(run)).await {
        epochs.insert(epoch?);
    }
    same!(epochs.len(), orders.len(), "how many epochs were handed out");
    for order in &orders {
        scene.sound(order, 6).await?;
        let record = scene.completed(&intend(order, "pay", Claim::Shared)).await?;
        same!(record.payload, super::scene::text(&format!("{order} pay")), "the outcome");
        same!(scene.summary(order).await?.life, Life::Finished, "an ended workflow");
    }
    Ok(())
}

pub(super) async fn workers_share_out_the_work<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    for place in 0..MANY {
        scene.save(&workflow(&place.to_string()), "state", "1").await?;
    }
    let work = async |worker: usize| {
        let worker = owner(&format!("worker {worker}"));
        let mut mine = Vec::new();
        // Another may have been quicker; there is work as long as not all is taken.
        for _ in 0..MANY * 4 {
            if let Some(lease) = scene.store.claim(NAMESPACE, &worker, LONG).await.at("claiming")? {
                mine.push(lease);
            }
        }
        Ok::<_, String>(mine)
    };
    let mut taken = BTreeSet::new();
    for leases in all((0..4).map(work)).await {
        for lease in leases? {
            ensure!(
                taken.insert(lease.workflow.clone()),
                "{} was given to two workers",
                lease.workflow
            );
            let held = scene.summary(&lease.workflow).await?.held;
            same!(held.map(|(owner, _)| owner), Some(lease.owner), "who holds it");
        }
    }
    same!(taken.len(), MANY, "how many workflows were given out");
    Ok(())
}

pub(super) async fn a_deletion_is_final_for_all<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    scene.save(&order, "state", "1").await?;
    let write = async |place: usize| {
        if place == MANY / 2 {
            return store.delete(&order).await.map(|()| true);
        }
        let append = Append { expect: None, ..state(&order, &place.to_string(), "1") };
        store.append(append).await.map(|_| false)
    };
    let mut deleted = false;
    for written in all((0..MANY).map(write)).await {
        match written {
            Ok(deletion) => deleted |= deletion,
            Err(StoreError::Deleted { .. }) => {}
            Err(error) => return Err(format!("writing while another deletes: {error}")),
        }
    }
    ensure!(deleted, "the deletion was refused");
    same!(scene.summary(&order).await?.life, Life::Deleted, "a deleted workflow");
    same!(scene.history(&order).await?, vec![], "what is kept of it");
    Ok(())
}

pub(super) async fn one_copy_of_many_comes_into_being<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order, copy) = (&scene.store, workflow("order"), workflow("copy"));
    for value in ["1", "2", "3"] {
        scene.save(&order, "state", value).await?;
    }
    let mut copies = 0;
    for forked in all((0..MANY).map(|place| store.fork(&order, place as u64 % 3 + 1, &copy))).await
    {
        match forked {
            Ok(_) => copies += 1,
            Err(StoreError::Exists { .. }) => {}
            Err(error) => return Err(format!("forking: {error}")),
        }
    }
    same!(copies, 1, "how many copies of one name came into being");
    scene.sound(&copy, 1).await
}

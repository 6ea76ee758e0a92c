//! Who may write, and for how long.

use buttress::store::{Begun, Claim, Entry, Life, Retention, Store, StoreError};

use super::{
    Outcome, Subject,
    say::At,
    scene::{
        BRIEF, LONG, NAMESPACE, Scene, attempt, done, held, intend, owner, state, take, workflow,
    },
};

pub(super) async fn a_lease_is_exclusive<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let lease = scene.acquire(&order, "a", LONG).await?;
    same!(lease.workflow, order, "the workflow of the lease");
    same!(lease.owner, owner("a"), "the owner of the lease");
    same!(lease.ttl, LONG, "the time of the lease");
    let refused = store.acquire(&order, &owner("b"), LONG).await;
    expect!(
        &refused,
        Err(StoreError::Held { owner, retry_after, .. })
            if **owner == *"a" && !retry_after.is_zero() && *retry_after <= LONG => {},
        "`b` takes what `a` holds"
    );
    for begin in [intend(&order, "pay", take("b")), attempt(&order, "pay", take("b"))] {
        refused!(store.begin(&begin).await, StoreError::Held { .. }, "`b` begins a step");
    }
    let append = buttress::store::Append { claim: take("b"), ..state(&order, "s", "b") };
    refused!(store.append(append).await, StoreError::Held { .. }, "`b` adds a state");
    let ended = store.finish(&order, &take("b")).await;
    refused!(ended, StoreError::Held { .. }, "`b` ends the workflow");
    let claimed = store.claim(NAMESPACE, &owner("b"), LONG).await.at("`b` claims a workflow")?;
    same!(claimed, None, "what `b` may claim");
    let summary = scene.summary(&order).await?;
    same!(summary.held.as_ref().map(|(owner, _)| &**owner), Some("a"), "who holds the workflow");
    same!(summary.epoch, lease.epoch, "the epoch of the workflow");
    same!((summary.latest, summary.life), (0, Life::Open), "what was written");
    Ok(())
}

pub(super) async fn an_owner_takes_its_lease_again<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let first = scene.acquire(&order, "a", BRIEF).await?;
    let second = scene.acquire(&order, "a", BRIEF).await?;
    same!(second.epoch, first.epoch, "the epoch, taken again");
    scene.outlast().await;
    let third = scene.acquire(&order, "a", LONG).await?;
    same!(third.epoch, first.epoch, "the epoch, taken again when it was over");
    let record = scene.step(&intend(&order, "pay", take("a")), "paid").await?;
    same!(record.epoch, first.epoch, "the epoch of what is written by taking again");
    Ok(())
}

pub(super) async fn a_lease_that_is_over_is_taken_with_a_greater_epoch<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let first = scene.acquire(&order, "a", BRIEF).await?;
    scene.outlast().await;
    same!(scene.summary(&order).await?.held, None, "who holds a workflow whose lease is over");
    let second = scene.acquire(&order, "b", LONG).await?;
    ensure!(second.epoch > first.epoch, "epoch {} was followed by {}", first.epoch, second.epoch);
    let late = scene.store.renew(&first, LONG).await;
    refused!(late, StoreError::Fenced { .. }, "renewing what another took");
    let back = scene.store.acquire(&order, &owner("a"), LONG).await;
    refused!(back, StoreError::Held { .. }, "taking back what another took");
    Ok(())
}

pub(super) async fn a_lease_lasts_as_long_as_it_was_renewed_for<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let lease = scene.acquire(&order, "a", BRIEF).await?;
    scene.outlast().await;
    // Over, but nobody took it.
    let renewed = scene.store.renew(&lease, LONG).await.at("renewing what nobody took")?;
    same!(renewed.epoch, lease.epoch, "the epoch of a renewed lease");
    same!(renewed.ttl, LONG, "the time of a renewed lease");
    scene.outlast().await;
    let refused = scene.store.acquire(&order, &owner("b"), LONG).await;
    refused!(refused, StoreError::Held { .. }, "taking what was renewed");
    let renewed = scene.store.renew(&renewed, BRIEF).await.at("renewing for a shorter time")?;
    scene.outlast().await;
    let taken = scene.acquire(&order, "b", LONG).await?;
    ensure!(taken.epoch > renewed.epoch, "a takeover kept epoch {}", taken.epoch);
    Ok(())
}

pub(super) async fn a_lease_given_back_is_free<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let first = scene.acquire(&order, "a", LONG).await?;
    store.release(&first).await.at("giving a lease back")?;
    same!(scene.summary(&order).await?.held, None, "who holds what was given back");
    let late = store.renew(&first, LONG).await;
    refused!(late, StoreError::Fenced { .. }, "renewing what was given back");
    let second = scene.acquire(&order, "b", LONG).await?;
    ensure!(second.epoch > first.epoch, "epoch {} was handed out twice", second.epoch);
    store.release(&first).await.at("giving back what was lost")?;
    store.renew(&second, LONG).await.at("renewing after another gave back what it had lost")?;
    let nowhere = buttress::store::Lease { workflow: workflow("nowhere"), ..second };
    store.release(&nowhere).await.at("giving back a lease of no workflow")?;
    same!(
        store.summary(&nowhere.workflow).await.at("reading a summary")?,
        None,
        "what a release of no workflow left"
    );
    Ok(())
}

pub(super) async fn epochs_are_never_handed_out_twice<S: Subject>(subject: &S) -> Outcome {
    let retention = Retention { ended: Some(BRIEF), ..Retention::default() };
    let mut scene = Scene::keep(subject, retention).await?;
    let (a, b) = (workflow("a"), workflow("b"));
    let mut last = 0;
    for round in 0..3 {
        for workflow in [&a, &b] {
            for name in ["x", "y", "x"] {
                let lease = scene.acquire(workflow, name, LONG).await?;
                ensure!(
                    lease.epoch > last,
                    "epoch {} came after {last} in round {round}",
                    lease.epoch
                );
                last = lease.epoch;
                scene.store.release(&lease).await.at("giving a lease back")?;
            }
        }
        // Not even for a workflow of which nothing is known any more.
        scene.store.delete(&a).await.at("deleting")?;
        scene.outlast().await;
        let pruned = scene.store.prune(None).await.at("pruning")?;
        same!(pruned.workflows, 1, "how many workflows were pruned");
        scene = scene.reopen(retention).await?;
    }
    Ok(())
}

pub(super) async fn workers_claim_what_is_open_and_free<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, free) = (&scene.store, workflow("free"));
    scene.acquire(&workflow("held"), "x", LONG).await?;
    let ended = scene.acquire(&workflow("ended"), "x", LONG).await?;
    store.finish(&ended.workflow, &held(&ended)).await.at("ending a workflow")?;
    scene.save(&workflow("deleted"), "s", "1").await?;
    store.delete(&workflow("deleted")).await.at("deleting a workflow")?;
    let elsewhere = buttress::store::WorkflowId::new("elsewhere", "free");
    scene.save(&elsewhere, "s", "1").await?;
    let worker = owner("worker");
    same!(store.claim(NAMESPACE, &worker, LONG).await.at("claiming")?, None, "what is free");

    scene.save(&free, "s", "1").await?;
    let lease = store.claim(NAMESPACE, &worker, BRIEF).await.at("claiming")?.at("claiming")?;
    same!(lease.workflow, free, "what is free");
    same!(lease.owner, worker, "who holds what was claimed");
    let claim = Claim::Held { epoch: lease.epoch };
    scene.step(&intend(&free, "pay", claim), "paid").await?;
    scene.outlast().await;
    let next = store.claim(NAMESPACE, &owner("other"), LONG).await.at("claiming")?;
    let next = next.at("claiming what another let go")?;
    same!(next.workflow, free, "what is free again");
    ensure!(next.epoch > lease.epoch, "a takeover by claim kept epoch {}", next.epoch);
    for worker in ["worker", "other"] {
        // Not by its holder either: another task of the same process would hold it twice.
        let again = store.claim(NAMESPACE, &owner(worker), LONG).await.at("claiming")?;
        same!(again, None, "what is left for `{worker}`");
    }
    let lease = store.claim("elsewhere", &owner("other"), LONG).await.at("claiming")?;
    same!(lease.map(|lease| lease.workflow), Some(elsewhere), "what is free elsewhere");
    Ok(())
}

pub(super) async fn what_ran_out_is_taken_over_even_by_its_owner<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order, worker) = (&scene.store, workflow("order"), owner("worker"));
    scene.save(&order, "state", "1").await?;
    let first = store.claim(NAMESPACE, &worker, BRIEF).await.at("claiming")?.at("claiming")?;
    let ticket = scene.fresh(&intend(&order, "pay", held(&first))).await?;
    scene.outlast().await;
    // Another task of the same worker: the first may only be slow.
    let second = store.claim(NAMESPACE, &worker, LONG).await.at("claiming")?.at("claiming")?;
    ensure!(second.epoch > first.epoch, "two tasks have epoch {}", second.epoch);
    let late = store.complete(&ticket, done("late")).await;
    refused!(late, StoreError::Fenced { .. }, "completing under what ran out");
    scene.pending(&intend(&order, "pay", held(&second))).await?;
    Ok(())
}

pub(super) async fn workers_claim_what_waited_longest<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let worker = owner("worker");
    for name in ["c", "a", "b"] {
        scene.save(&workflow(name), "s", "1").await?;
        scene.outlast().await;
    }
    let mut order = Vec::new();
    // One that was claimed and not touched since is behind those that nobody looked at.
    for _ in 0..4 {
        let lease = scene.store.claim(NAMESPACE, &worker, BRIEF).await.at("claiming")?;
        order.push(lease.at("claiming")?.workflow.workflow);
        scene.outlast().await;
    }
    let order: Vec<&str> = order.iter().map(|name| &**name).collect();
    same!(order, ["c", "a", "b", "c"], "the order of the claims");
    Ok(())
}

pub(super) async fn one_without_a_lease_takes_none_away<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let lease = scene.acquire(&order, "a", LONG).await?;
    let ticket = scene.fresh(&attempt(&order, "look", Claim::Shared)).await?;
    let entry = Entry::done(super::scene::text("seen")).finish();
    let settled = store.complete(&ticket, entry).await.at("completing without a lease")?;
    ensure!(settled.ours, "the only outcome does not count");
    store.finish(&order, &Claim::Shared).await.at("ending without a lease")?;
    let mut append = state(&order, "s", "1");
    append.entry = append.entry.finish();
    store.append(append).await.at("adding a last state without a lease")?;
    store.renew(&lease, LONG).await.at("renewing after others wrote without a lease")?;
    scene.step(&intend(&order, "pay", held(&lease)), "paid").await?;
    let taken = store.acquire(&order, &owner("b"), LONG).await;
    refused!(taken, StoreError::Held { .. }, "taking what is held still");
    scene.sound(&order, 4).await
}

pub(super) async fn a_lease_is_not_of_another_workflow<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (a, b) = (workflow("a"), workflow("b"));
    let mine = scene.acquire(&a, "x", LONG).await?;
    scene.acquire(&b, "y", LONG).await?;
    let claim = held(&mine);
    for target in [&b, &workflow("nowhere")] {
        let begun = scene.store.begin(&intend(target, "pay", claim.clone())).await;
        refused!(begun, StoreError::Fenced { .. }, "beginning under the lease of another");
        let append = buttress::store::Append { claim: claim.clone(), ..state(target, "s", "1") };
        let appended = scene.store.append(append).await;
        refused!(appended, StoreError::Fenced { .. }, "adding under the lease of another");
    }
    let begun = scene.store.begin(&intend(&a, "pay", claim)).await.at("beginning")?;
    expect!(begun, Begun::Fresh(_) => {}, "beginning under the own lease");
    same!(scene.summary(&b).await?.latest, 0, "what was written of the other");
    Ok(())
}

//! What is kept of a workflow as a whole rots, and is put together from what else is kept.

use std::collections::BTreeMap;

use buttress::store::{
    Begun, Claim, Damage, Digest, Finding, Life, Status, Store, StoreError, Version,
};

use super::{
    Outcome, Subject,
    say::At,
    scene::{
        LONG, NAMESPACE, Scene, again, done, held, intend, owner, state, take, text, workflow,
    },
};

pub(super) async fn a_head_that_rots_is_put_together<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let paid = scene.step(&intend(&order, "pay", take("a")), "paid").await?;
    let doubt = intend(&order, "send", take("a"));
    let ticket = scene.fresh(&doubt).await?;
    let epoch = scene.summary(&order).await?.epoch;
    let Some(scene) = scene.behead(&order).await? else { return Ok(()) };
    let findings = scene.store.verify(&order).await.at("verifying")?.findings;
    same!(findings, [Finding { version: 0, damage: Damage::Digest }], "what verify found");
    let summary = scene.summary(&order).await?;
    same!((summary.latest, summary.pending, summary.life), (3, 1, Life::Open), "the summary");
    same!(summary.held, None, "who holds it");
    // The next write puts it right.
    let intent = scene.pending(&doubt).await?;
    same!(Some(intent.version), ticket.intent, "what is in doubt");
    let begun = scene.store.begin(&doubt).await.at("beginning what is in doubt")?;
    expect!(begun, Begun::Pending { key, .. } if key == ticket.key => {}, "the key, as it was");
    same!(scene.completed(&intend(&order, "pay", take("a"))).await?, paid, "the outcome");
    let second = scene.fresh(&again(&doubt, intent.version)).await?;
    same!(second.key, ticket.key, "the key of what is done again");
    scene.complete(&second, "sent").await?;
    let summary = scene.summary(&order).await?;
    ensure!(summary.epoch > epoch, "epoch {} came after {epoch}", summary.epoch);
    same!((summary.latest, summary.pending), (5, 0), "the summary after it went on");
    scene.sound(&order, 5).await
}

pub(super) async fn a_head_that_rots_lets_nobody_go_on_who_held_it<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let lease = scene.acquire(&order, "a", LONG).await?;
    let ticket = scene.fresh(&intend(&order, "pay", held(&lease))).await?;
    let Some(scene) = scene.behead(&order).await? else { return Ok(()) };
    let store = &scene.store;
    let late = store.complete(&ticket, done("late")).await;
    refused!(
        late,
        StoreError::Fenced { .. },
        "completing under a lease that is not known any more"
    );
    refused!(store.renew(&lease, LONG).await, StoreError::Fenced { .. }, "renewing it");
    store.release(&lease).await.at("giving it back")?;
    let next = scene.acquire(&order, "b", LONG).await?;
    ensure!(next.epoch > lease.epoch, "epoch {} came after {}", next.epoch, lease.epoch);
    scene.verified(&order).await
}

pub(super) async fn a_head_that_rots_hides_neither_its_records_nor_others<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("b");
    let mut before = BTreeMap::new();
    for name in ["a", "b", "c"] {
        scene.save(&workflow(name), "memory", "1").await?;
        scene.step(&intend(&workflow(name), "pay", take("a")), name).await?;
        before.insert(workflow(name), scene.history(&workflow(name)).await?);
    }
    let Some(scene) = scene.behead(&order).await? else { return Ok(()) };
    let store = &scene.store;
    for namespace in [None, Some(NAMESPACE)] {
        let listed = store.list(namespace, None, 10).await.at("listing")?;
        let listed: Vec<_> = listed.into_iter().map(|summary| summary.workflow).collect();
        same!(listed, before.keys().cloned().collect::<Vec<_>>(), "what is listed");
    }
    let records = before.get(&order).at("the history")?;
    for record in records {
        let got = store.get(&order, record.version).await.at("reading a version")?;
        same!(got, *record, "version {}", record.version);
    }
    same!(scene.history(&order).await?, *records, "the history");
    let page = store.history(&order, 1, 1).await.at("reading a page of the history")?;
    same!(page, [Version::Intact(records.get(1).at("version 2")?.clone())], "a page");
    for (step, version) in [(None, 3), (Some("pay".into()), 3), (Some("memory".into()), 1)] {
        let found = store.latest(&order, step.as_ref()).await.at("reading")?.at("the newest")?;
        same!((found.record.version, found.newest), (version, version), "the newest of {step:?}");
    }
    let copy = store.fork(&order, 3, &workflow("copy")).await.at("copying it")?;
    same!(copy.latest, 2, "the versions of a copy");
    for workflow in before.keys() {
        scene.save(workflow, "memory", "2").await?;
        scene.verified(workflow).await?;
    }
    // And again, this time to be deleted.
    let Some(scene) = scene.behead(&order).await? else { return Ok(()) };
    scene.store.delete(&order).await.at("deleting it")?;
    let late = scene.store.append(state(&order, "memory", "late")).await;
    refused!(late, StoreError::Deleted { .. }, "writing to what was deleted");
    Ok(())
}

pub(super) async fn a_workflow_whose_head_rotted_is_claimed<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    scene.save(&order, "memory", "1").await?;
    scene.fresh(&intend(&order, "pay", Claim::Shared)).await?;
    // Its newest record rots too: it is known all the same that a step is in doubt.
    scene.flip(&order, 2).await?;
    scene.save(&workflow("other"), "memory", "1").await?;
    let Some(scene) = scene.behead(&order).await? else { return Ok(()) };
    let mut claimed = Vec::new();
    while let Some(lease) =
        (scene.store.claim(NAMESPACE, &owner("b"), LONG).await).at("claiming")?
    {
        claimed.push(lease.workflow);
        ensure!(claimed.len() <= 2, "claimed twice: {claimed:?}");
    }
    claimed.sort();
    same!(claimed, [order.clone(), workflow("other")], "what was claimed");
    let summary = scene.summary(&order).await?;
    same!((summary.latest, summary.pending), (2, 1), "what is known of it");
    let found = scene.store.latest(&order, None).await.at("reading")?.at("the newest")?;
    same!((found.record.status, found.newest), (Status::State, 2), "the newest intact record");
    same!(found.record.payload, text("1"), "what it says");
    ensure!(found.record.previous == Digest::default(), "it is the first");
    Ok(())
}

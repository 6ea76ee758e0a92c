//! Copies.

use std::num::NonZeroU64;

use buttress::store::{
    Claim, Damage, Entry, Life, Retention, Status, Store, StoreError, WorkflowId,
};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, Scene, attempt, done, held, intend, take, text, workflow},
};

pub(super) async fn a_copy_has_what_was_done_and_keys_of_its_own<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order, copy) = (&scene.store, workflow("order"), workflow("copy"));
    let lease = scene.acquire(&order, "a", LONG).await?;
    let pay = scene.step(&intend(&order, "pay", held(&lease)), "paid").await?; // 1, 2
    let refused = scene.fresh(&intend(&order, "refused", held(&lease))).await?; // 3
    store.complete(&refused, Entry::failed(text("no"))).await.at("recording a failure")?; // 4
    scene.save(&order, "state", "old").await?; // 5
    scene.save(&order, "state", "then").await?; // 6
    let begun = scene.fresh(&intend(&order, "begun", held(&lease))).await?; // 7
    let withdrawn = scene.fresh(&intend(&order, "withdrawn", held(&lease))).await?; // 8
    store.complete(&withdrawn, Entry::withdrawn()).await.at("withdrawing")?; // 9
    scene.save(&order, "state", "later").await?; // 10
    scene.step(&intend(&order, "later", held(&lease)), "done").await?; // 11, 12
    let source = scene.history(&order).await?;

    let summary = store.fork(&order, 9, &copy).await.at("forking")?;
    same!(summary, scene.summary(&copy).await?, "the summary of the copy");
    same!(summary.forked, Some(("order".into(), 9)), "where it comes from");
    same!((summary.life, summary.held, summary.pending), (Life::Open, None, 0), "the copy");
    same!(summary.latest, 3, "how many versions it has");
    let records = scene.history(&copy).await?;
    let told: Vec<_> = records
        .iter()
        .map(|record| (&*record.step.name, record.status, record.parent, record.epoch))
        .collect();
    same!(
        told,
        [
            ("pay", Status::Done, Some(2), 0),
            ("refused", Status::Failed, Some(4), 0),
            ("state", Status::State, Some(6), 0),
        ],
        "what was copied"
    );
    scene.sound(&copy, 3).await?;
    let answered = scene.completed(&intend(&copy, "pay", take("b"))).await?;
    same!(answered.payload, pay.payload, "what was done");
    let state = store.latest(&copy, Some(&"state".into())).await.at("reading")?;
    same!(state.at("the state")?.record.payload, text("then"), "the state then");
    // What was in doubt is not begun, and what came later was never done.
    for (name, key) in
        [("begun", Some(begun.key)), ("withdrawn", Some(withdrawn.key)), ("later", None)]
    {
        let ticket = scene.fresh(&intend(&copy, name, take("b"))).await?;
        same!(ticket.attempt, 1, "the attempt at {name}");
        ensure!(Some(ticket.key) != key, "{name} has the key of the source");
        scene.complete(&ticket, "done").await?;
    }
    same!(scene.history(&order).await?, source, "the source");
    scene.complete(&begun, "done").await?;
    scene.sound(&order, 13).await?;
    scene.sound(&copy, 9).await
}

pub(super) async fn two_copies_have_different_keys<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    scene.step(&attempt(&order, "look", Claim::Shared), "seen").await?;
    let elsewhere = WorkflowId::new("elsewhere", "order");
    let copies = [workflow("one"), workflow("two"), elsewhere, workflow("of a copy")];
    let mut keys = vec![scene.fresh(&intend(&order, "pay", Claim::Shared)).await?.key];
    let mut source = order;
    for copy in &copies {
        store.fork(&source, 1, copy).await.at(format_args!("forking to {copy}"))?;
        let ticket = scene.fresh(&intend(copy, "pay", Claim::Shared)).await?;
        ensure!(!keys.contains(&ticket.key), "{copy} has the keys of another");
        keys.push(ticket.key);
        scene.complete(&ticket, "paid").await?;
        scene.sound(copy, 3).await?;
        if *copy == workflow("two") {
            source = copy.clone();
        }
    }
    // And are workers' work like any other.
    let claimed = store.claim("elsewhere", &"worker".into(), LONG).await.at("claiming")?;
    same!(claimed.map(|lease| lease.workflow), copies.get(2).cloned(), "what is claimed");
    Ok(())
}

pub(super) async fn a_copy_is_of_something_to_something_new<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order, copy) = (&scene.store, workflow("order"), workflow("copy"));
    scene.step(&attempt(&order, "look", Claim::Shared), "seen").await?;
    for at in [0, 2, u64::MAX] {
        let fork = store.fork(&order, at, &copy).await;
        refused!(fork, StoreError::NotFound { version: Some(_), .. }, "forking at version {at}");
    }
    let taken = workflow("taken");
    scene.acquire(&taken, "a", LONG).await?;
    for target in [&order, &taken] {
        let fork = store.fork(&order, 1, target).await;
        refused!(fork, StoreError::Exists { .. }, "forking to {target}, which exists");
    }
    same!(store.summary(&copy).await.at("reading")?, None, "what refused forks left");
    scene.sound(&order, 1).await
}

pub(super) async fn a_copy_without_what_was_dropped_is_refused<S: Subject>(subject: &S) -> Outcome {
    let versions = NonZeroU64::new(4).unwrap_or(NonZeroU64::MIN);
    let scene = Scene::keep(subject, Retention { versions, ..Retention::default() }).await?;
    let (store, agent, copy) = (&scene.store, workflow("agent"), workflow("copy"));
    scene.step(&intend(&agent, "pay", Claim::Shared), "paid").await?;
    for round in 3..=10 {
        scene.save(&agent, "memory", &round.to_string()).await?;
    }
    // The state of then is gone: a copy would have none, or another.
    let fork = store.fork(&agent, 5, &copy).await;
    refused!(fork, StoreError::NotFound { version: Some(5), .. }, "forking at a dropped version");
    store.fork(&agent, 8, &copy).await.at("forking at a kept version")?;
    let state = store.latest(&copy, Some(&"memory".into())).await.at("reading")?;
    same!(state.at("the state")?.record.payload, text("8"), "the state then");
    scene.completed(&intend(&copy, "pay", Claim::Shared)).await?;
    // Before there was a state, all that counts is kept.
    let early = workflow("early");
    let fork = store.fork(&agent, 2, &early).await;
    refused!(fork, StoreError::NotFound { version: Some(2), .. }, "forking where much is dropped");
    scene.sound(&copy, 2).await
}

pub(super) async fn a_copy_of_a_damaged_version_is_refused<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, agent, copy) = (&scene.store, workflow("agent"), workflow("copy"));
    let ticket = scene.fresh(&intend(&agent, "pay", Claim::Shared)).await?; // 1
    store.complete(&ticket, done("paid")).await.at("completing")?; // 2
    for round in 3..=5 {
        scene.save(&agent, "memory", &round.to_string()).await?;
    }
    scene.flip(&agent, 4).await?;
    let fork = store.fork(&agent, 4, &copy).await;
    refused!(fork, StoreError::Corrupt { version: Some(4), .. }, "forking at a damaged version");
    scene.lose(&agent, 4).await?;
    let fork = store.fork(&agent, 4, &copy).await;
    refused!(
        fork,
        StoreError::Corrupt { version: Some(4), damage: Damage::Missing, .. },
        "forking at a lost version"
    );
    same!(store.summary(&copy).await.at("reading")?, None, "what refused forks left");
    store.fork(&agent, 5, &copy).await.at("forking at an intact version after it")?;
    scene.sound(&copy, 2).await
}

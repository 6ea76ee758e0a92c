//! What is there after a restart.

use buttress::store::{Claim, Life, Retention, Store, StoreError};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, Scene, again, attempt, done, held, intend, owner, take, workflow},
};

pub(super) async fn what_was_acknowledged_is_there_after_a_restart<S: Subject>(
    subject: &S,
) -> Outcome {
    let mut scene = Scene::set(subject).await?;
    let (order, agent) = (workflow("order"), workflow("agent"));
    let (ended, deleted, copy) = (workflow("ended"), workflow("deleted"), workflow("copy"));
    let paid = scene.step(&intend(&order, "pay", Claim::Shared), "paid").await?;
    for round in 0..40 {
        scene.save(&agent, "memory", &round.to_string()).await?;
    }
    scene.step(&attempt(&ended, "look", Claim::Shared), "seen").await?;
    scene.store.finish(&ended, &Claim::Shared).await.at("ending")?;
    scene.save(&deleted, "state", "1").await?;
    scene.store.delete(&deleted).await.at("deleting")?;
    scene.store.fork(&order, 2, &copy).await.at("forking")?;
    let all = [&order, &agent, &ended, &deleted, &copy];
    let mut before = Vec::new();
    for workflow in all {
        before.push((scene.summary(workflow).await?, scene.history(workflow).await?));
    }
    for _ in 0..2 {
        scene = scene.reopen(Retention::default()).await?;
        for (workflow, (summary, history)) in all.into_iter().zip(&before) {
            same!(scene.summary(workflow).await?, *summary, "the summary after a restart");
            same!(scene.history(workflow).await?, *history, "the history after a restart");
            scene.verified(workflow).await?;
        }
        let answer = scene.completed(&intend(&order, "pay", take("b"))).await?;
        same!(answer, paid, "the outcome after a restart");
    }
    same!(scene.store.list(None, None, 10).await.at("listing")?.len(), all.len(), "what is listed");
    scene.save(&agent, "memory", "on").await?;
    same!(scene.summary(&agent).await?.latest, 41, "the version after a restart");
    scene.verified(&agent).await?;
    let late = scene.store.append(super::scene::state(&deleted, "state", "2")).await;
    refused!(late, StoreError::Deleted { .. }, "writing to what was deleted before a restart");
    same!(scene.summary(&ended).await?.life, Life::Finished, "what ended before a restart");
    Ok(())
}

pub(super) async fn what_was_begun_is_in_doubt_after_a_restart<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let begin = intend(&order, "pay", take("a"));
    let ticket = scene.fresh(&begin).await?;
    let scene = scene.reopen(Retention::default()).await?;
    let intent = scene.pending(&begin).await?;
    same!(Some(intent.version), ticket.intent, "what is in doubt");
    let second = scene.fresh(&again(&begin, intent.version)).await?;
    same!((second.attempt, second.key), (2, ticket.key), "the second attempt");
    // One of the life before, wherever it was held up.
    let late = scene.store.complete(&ticket, done("late")).await;
    refused!(late, StoreError::Fenced { .. } | StoreError::Stale { .. }, "completing late");
    scene.complete(&second, "paid").await?;
    same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
    scene.sound(&order, 3).await
}

pub(super) async fn a_lease_does_not_come_back_after_a_restart<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let lost = scene.acquire(&order, "a", LONG).await?;
    scene.store.release(&lost).await.at("giving back")?;
    let lease = scene.acquire(&order, "b", LONG).await?;
    let scene = scene.reopen(Retention::default()).await?;
    let late = scene.store.begin(&intend(&order, "pay", held(&lost))).await;
    refused!(late, StoreError::Fenced { .. }, "writing under what was given back before");
    match scene.store.acquire(&order, &owner("c"), LONG).await {
        // Its clock went on, or it started anew: then nobody can hold anything.
        Err(StoreError::Held { owner, .. }) => same!(owner, lease.owner, "who holds it"),
        Ok(next) => ensure!(next.epoch > lease.epoch, "epoch {} came back", next.epoch),
        Err(error) => return Err(format!("taking a lease after a restart: {error}")),
    }
    Ok(())
}

//! What is dropped, and what never is.

use std::num::NonZeroU64;

use buttress::store::{Claim, Retention, Status, Store, StoreError, WorkflowId};

use super::{
    Outcome, Subject,
    say::At,
    scene::{Scene, again, attempt, intend, take, text, workflow},
};

fn newest(versions: u64) -> Retention {
    let versions = NonZeroU64::new(versions).unwrap_or(NonZeroU64::MIN);
    Retention { versions, ..Retention::default() }
}

/// The versions that are kept of a workflow.
async fn kept<S: Subject>(scene: &Scene<'_, S>, of: &WorkflowId) -> Result<Vec<u64>, String> {
    Ok(scene.history(of).await?.iter().map(|record| record.version).collect())
}

pub(super) async fn the_newest_versions_are_kept<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::keep(subject, newest(4)).await?;
    let (agent, other) = (workflow("agent"), workflow("other"));
    scene.save(&other, "memory", "1").await?;
    for round in 1..=20_u64 {
        let record = scene.save(&agent, "memory", &round.to_string()).await?;
        same!(record.version, round, "the version");
        let oldest = round.saturating_sub(3).max(1);
        same!(kept(&scene, &agent).await?, (oldest..=round).collect::<Vec<_>>(), "what is kept");
        scene.verified(&agent).await?;
    }
    refused!(scene.store.get(&agent, 16).await, StoreError::NotFound { .. }, "a dropped version");
    let found = scene.store.latest(&agent, None).await.at("reading")?.at("the newest")?;
    same!(found.record.payload, text("20"), "the newest");
    same!(kept(&scene, &other).await?, vec![1], "what is kept of another workflow");
    Ok(())
}

pub(super) async fn a_single_version_may_be_kept<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::keep(subject, newest(1)).await?;
    let agent = workflow("agent");
    for round in 1..=3 {
        scene.save(&agent, "memory", "1").await?;
        same!(kept(&scene, &agent).await?, vec![round], "what is kept");
        scene.verified(&agent).await?;
    }
    let ticket = scene.fresh(&intend(&agent, "pay", take("a"))).await?;
    scene.complete(&ticket, "paid").await?;
    same!(kept(&scene, &agent).await?, vec![3, 5], "what is kept");
    scene.verified(&agent).await
}

pub(super) async fn what_was_done_is_never_forgotten<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::keep(subject, newest(3)).await?;
    let agent = workflow("agent");
    let begin = |name| intend(&agent, name, Claim::Shared);
    let (done, failed, begun) = (begin("done"), begin("failed"), begin("begun"));
    let record = scene.step(&done, "done").await?;
    let ticket = scene.fresh(&failed).await?;
    let entry = buttress::store::Entry::failed(text("failed"));
    scene.store.complete(&ticket, entry).await.at("recording a failure")?;
    let ticket = scene.fresh(&begun).await?;
    scene.save(&agent, "rare", "kept").await?;
    for round in 0..20 {
        scene.save(&agent, "memory", &round.to_string()).await?;
    }
    same!(kept(&scene, &agent).await?, vec![2, 4, 5, 6, 24, 25, 26], "what is kept");
    same!(scene.completed(&done).await?, record, "what was done long ago");
    let intent = scene.pending(&begun).await?;
    same!(Some(intent.version), ticket.intent, "what was begun long ago");
    let second = scene.fresh(&again(&begun, intent.version)).await?;
    scene.complete(&second, "late").await?;
    let rare = scene.store.latest(&agent, Some(&"rare".into())).await.at("reading")?;
    same!(rare.at("a state of long ago")?.record.payload, text("kept"), "a state of long ago");
    scene.verified(&agent).await
}

pub(super) async fn what_was_followed_long_after_is_dropped<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::keep(subject, newest(3)).await?;
    let agent = workflow("agent");
    for round in 0..6 {
        // By the time it is saved again, the one before is far below what is kept.
        scene.save(&agent, "rare", &round.to_string()).await?;
        let begin = intend(&agent, "restarted", Claim::Shared);
        let found = scene.store.latest(&agent, Some(&begin.step)).await.at("reading")?;
        match found {
            None => scene.fresh(&begin).await?,
            Some(found) => scene.fresh(&again(&begin, found.newest)).await?,
        };
        for _ in 0..5 {
            scene.save(&agent, "memory", "1").await?;
        }
    }
    let records = scene.history(&agent).await?;
    for (name, status) in [("rare", Status::State), ("restarted", Status::Intent)] {
        let versions = records.iter().filter(|record| *record.step.name == *name);
        let versions: Vec<u64> = versions.map(|record| record.version).collect();
        ensure!(versions.len() == 1, "of {name} ({}) are kept {versions:?}", status.as_str());
    }
    scene.verified(&agent).await
}

pub(super) async fn a_shorter_retention_holds_from_the_next_write<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::keep(subject, newest(20)).await?;
    let agent = workflow("agent");
    scene.step(&attempt(&agent, "step", Claim::Shared), "done").await?;
    for round in 2..=12 {
        scene.save(&agent, "memory", &round.to_string()).await?;
    }
    let scene = scene.reopen(newest(2)).await?;
    scene.save(&agent, "memory", "13").await?;
    let records = kept(&scene, &agent).await?;
    // One that is gone with its process keeps the retention that it has.
    ensure!(
        records == [1, 12, 13] || records == (1..=13).collect::<Vec<_>>(),
        "of 13 versions are kept {records:?}"
    );
    scene.verified(&agent).await?;
    let scene = scene.reopen(newest(20)).await?;
    scene.save(&agent, "memory", "14").await?;
    scene.completed(&attempt(&agent, "step", Claim::Shared)).await?;
    scene.verified(&agent).await
}

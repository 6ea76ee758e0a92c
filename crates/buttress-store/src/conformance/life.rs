//! How a workflow ends, and when it is forgotten.

use buttress::store::{Claim, Life, Retention, Store, StoreError, WorkflowId};

use super::{
    Outcome, Subject,
    say::At,
    scene::{BRIEF, LONG, NAMESPACE, Scene, attempt, intend, state, take, workflow},
};

pub(super) async fn what_is_deleted_is_gone<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order, other) = (&scene.store, workflow("order"), workflow("other"));
    for workflow in [&order, &other] {
        scene.step(&intend(workflow, "pay", take("a")), "paid").await?;
        scene.save(workflow, "state", "1").await?;
    }
    store.delete(&order).await.at("deleting")?;
    let summary = scene.summary(&order).await?;
    same!((summary.life, summary.held, summary.pending), (Life::Deleted, None, 0), "what is left");
    same!(scene.history(&order).await?, vec![], "what is left of the history");
    same!(store.latest(&order, None).await.at("reading")?, None, "the newest");
    let step = "pay".into();
    same!(store.latest(&order, Some(&step)).await.at("reading")?, None, "the newest of a step");
    refused!(store.get(&order, 1).await, StoreError::NotFound { .. }, "reading a version");
    let fork = store.fork(&order, 1, &workflow("copy")).await;
    refused!(fork, StoreError::Deleted { .. }, "forking what was deleted");
    let fork = store.fork(&other, 3, &order).await;
    refused!(fork, StoreError::Exists { .. }, "forking to what was deleted");
    scene.verified(&order).await?;
    let listed = store.list(Some(NAMESPACE), None, 10).await.at("listing")?;
    let lives: Vec<Life> = listed.iter().map(|summary| summary.life).collect();
    same!(lives, [Life::Deleted, Life::Open], "what is listed");
    scene.sound(&other, 3).await
}

pub(super) async fn what_ended_long_ago_is_pruned<S: Subject>(subject: &S) -> Outcome {
    let retention = Retention { ended: Some(BRIEF), open: None, ..Retention::default() };
    let scene = Scene::keep(subject, retention).await?;
    let store = &scene.store;
    for name in ["ended", "deleted", "open", "doubt"] {
        scene.step(&intend(&workflow(name), "pay", Claim::Shared), "paid").await?;
    }
    let elsewhere = WorkflowId::new("elsewhere", "ended");
    scene.step(&attempt(&elsewhere, "look", Claim::Shared), "seen").await?;
    scene.fresh(&intend(&workflow("doubt"), "send", Claim::Shared)).await?;
    for ended in [&workflow("ended"), &workflow("doubt"), &elsewhere] {
        store.finish(ended, &Claim::Shared).await.at("ending")?;
    }
    store.delete(&workflow("deleted")).await.at("deleting")?;
    scene.outlast().await;
    let pruned = store.prune(Some(NAMESPACE)).await.at("pruning")?;
    same!((pruned.workflows, pruned.records), (2, 2), "what was pruned");
    for (name, stays) in [("ended", false), ("deleted", false), ("open", true), ("doubt", true)] {
        let summary = store.summary(&workflow(name)).await.at("reading")?;
        same!(summary.is_some(), stays, "whether `{name}` is still there");
    }
    let pruned = store.prune(Some("none")).await.at("pruning")?;
    same!(pruned.workflows, 0, "what was pruned of no namespace");
    let pruned = store.prune(None).await.at("pruning")?;
    same!((pruned.workflows, pruned.records), (1, 1), "what was pruned of all");
    same!(store.summary(&elsewhere).await.at("reading")?, None, "what was pruned");
    scene.sound(&workflow("open"), 2).await?;
    scene.sound(&workflow("doubt"), 3).await
}

pub(super) async fn what_nobody_goes_on_with_is_pruned<S: Subject>(subject: &S) -> Outcome {
    let retention = Retention { ended: None, open: Some(BRIEF), ..Retention::default() };
    let scene = Scene::keep(subject, retention).await?;
    let store = &scene.store;
    for name in ["idle", "held", "ended", "deleted"] {
        scene.save(&workflow(name), "state", "1").await?;
    }
    scene.acquire(&workflow("held"), "a", LONG).await?;
    let over = scene.acquire(&workflow("over"), "a", BRIEF).await?;
    scene.fresh(&intend(&workflow("doubt"), "pay", Claim::Shared)).await?;
    store.finish(&workflow("ended"), &Claim::Shared).await.at("ending")?;
    store.delete(&workflow("deleted")).await.at("deleting")?;
    scene.outlast().await;
    let pruned = store.prune(None).await.at("pruning")?;
    same!((pruned.workflows, pruned.records), (2, 1), "what was pruned");
    for name in ["idle", "over"] {
        let summary = store.summary(&workflow(name)).await.at("reading")?;
        same!(summary, None, "what is left of `{name}`");
    }
    for name in ["held", "doubt", "ended", "deleted"] {
        scene.summary(&workflow(name)).await?;
    }
    let renewed = store.renew(&over, LONG).await;
    refused!(renewed, StoreError::Fenced { .. }, "renewing the lease of what was pruned");
    Ok(())
}

pub(super) async fn nothing_is_pruned_before_its_time<S: Subject>(subject: &S) -> Outcome {
    for retention in [
        Retention { ended: None, open: None, ..Retention::default() },
        Retention { ended: Some(LONG), open: Some(LONG), ..Retention::default() },
    ] {
        let scene = Scene::keep(subject, retention).await?;
        for name in ["open", "ended", "deleted"] {
            scene.save(&workflow(name), "state", "1").await?;
        }
        scene.store.finish(&workflow("ended"), &Claim::Shared).await.at("ending")?;
        scene.store.delete(&workflow("deleted")).await.at("deleting")?;
        scene.outlast().await;
        let pruned = scene.store.prune(None).await.at("pruning")?;
        same!(pruned, Default::default(), "what was pruned");
    }
    Ok(())
}

pub(super) async fn a_name_is_new_once_it_is_pruned<S: Subject>(subject: &S) -> Outcome {
    let retention = Retention { ended: Some(BRIEF), ..Retention::default() };
    let scene = Scene::keep(subject, retention).await?;
    let order = workflow("order");
    let begin = intend(&order, "pay", take("a"));
    let first = scene.fresh(&begin).await?;
    scene.complete(&first, "paid").await?;
    scene.save(&order, "state", "1").await?;
    scene.store.delete(&order).await.at("deleting")?;
    scene.outlast().await;
    scene.store.prune(None).await.at("pruning")?;
    let second = scene.fresh(&begin).await?;
    same!((second.attempt, second.intent), (1, Some(1)), "a step of a new workflow");
    ensure!(second.key != first.key, "the new workflow has the keys of the old one");
    scene.complete(&second, "paid").await?;
    let append = buttress::store::Append { expect: Some(0), ..state(&order, "state", "new") };
    scene.store.append(append).await.at("the first state of a new workflow")?;
    scene.sound(&order, 3).await
}

//! What can be looked at: versions, histories, workflows.

use buttress::store::{Claim, Life, Store, StoreError, Summary, Version, WorkflowId};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, Scene, attempt, held, intend, owner, workflow},
};

pub(super) async fn of_nothing_there_is_nothing<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, nowhere) = (&scene.store, workflow("nowhere"));
    let step = "step".into();
    same!(store.list(None, None, 10).await.at("listing")?, vec![], "the workflows");
    same!(store.summary(&nowhere).await.at("reading")?, None, "the summary");
    same!(store.latest(&nowhere, None).await.at("reading")?, None, "the newest");
    same!(store.latest(&nowhere, Some(&step)).await.at("reading")?, None, "the newest of a step");
    same!(store.claim("none", &owner("a"), LONG).await.at("claiming")?, None, "what is free");
    same!(store.prune(None).await.at("pruning")?, Default::default(), "what is pruned");
    refused!(store.get(&nowhere, 1).await, StoreError::NotFound { version: Some(1), .. }, "get");
    let history = store.history(&nowhere, 0, 10).await;
    refused!(history, StoreError::NotFound { version: None, .. }, "history");
    refused!(store.verify(&nowhere).await, StoreError::NotFound { version: None, .. }, "verify");
    refused!(store.delete(&nowhere).await, StoreError::NotFound { version: None, .. }, "delete");
    let fork = store.fork(&nowhere, 1, &workflow("copy")).await;
    refused!(fork, StoreError::NotFound { version: None, .. }, "fork");
    same!(store.list(None, None, 10).await.at("listing")?, vec![], "the workflows");

    // Held, and nothing written yet.
    scene.acquire(&nowhere, "a", LONG).await?;
    same!(store.latest(&nowhere, None).await.at("reading")?, None, "the newest");
    same!(scene.history(&nowhere).await?, vec![], "the history");
    scene.verified(&nowhere).await
}

pub(super) async fn a_history_is_read_in_pages<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    for round in 1..=7 {
        scene.save(&agent, "memory", &round.to_string()).await?;
    }
    let whole = scene.history(&agent).await?;
    for most in [1, 2, 3, 6, 7, 8, 1_000] {
        let mut after = 0;
        let mut read = Vec::new();
        loop {
            let page = scene.store.history(&agent, after, most).await.at("reading a page")?;
            ensure!(page.len() <= most, "a page of {most} has {} versions", page.len());
            if page.is_empty() {
                break;
            }
            for version in page {
                let record = expect!(version, Version::Intact(record) => record, "a page");
                ensure!(
                    record.version > after,
                    "version {} comes on the page after {after}",
                    record.version
                );
                after = record.version;
                read.push(record);
            }
        }
        ensure!(read == whole, "pages of {most} are not the history: {read:?}");
    }
    for (after, most) in [(7, 10), (8, 10), (u64::MAX, 10), (0, 0)] {
        let page = scene.store.history(&agent, after, most).await.at("reading a page")?;
        same!(page, vec![], "{most} versions after {after}");
    }
    for version in [0, 8, u64::MAX] {
        let got = scene.store.get(&agent, version).await;
        refused!(got, StoreError::NotFound { .. }, "reading version {version}");
    }
    for record in whole {
        let got = scene.store.get(&agent, record.version).await.at("reading a version")?;
        same!(got, record, "version {}", record.version);
    }
    Ok(())
}

pub(super) async fn the_newest_is_that_of_the_step_or_of_all<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    scene.save(&order, "a", "1").await?;
    scene.save(&order, "b", "2").await?;
    scene.save(&order, "a", "3").await?;
    let ticket = scene.fresh(&intend(&order, "c", Claim::Shared)).await?;
    for (step, version) in [("a", 3), ("b", 2), ("c", 4)] {
        let found = store.latest(&order, Some(&step.into())).await.at("reading the newest")?;
        let found = found.at(format_args!("the newest of {step}"))?;
        same!((found.record.version, found.newest), (version, version), "the newest of {step}");
    }
    scene.complete(&ticket, "5").await?;
    let found = store.latest(&order, None).await.at("reading the newest")?.at("the newest")?;
    same!((found.record.version, found.newest, found.skipped), (5, 5, vec![]), "the newest");
    let none = store.latest(&order, Some(&"d".into())).await.at("reading the newest")?;
    same!(none, None, "the newest of a step that was not begun");
    Ok(())
}

pub(super) async fn workflows_are_listed_in_pages<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    // Byte by byte, whatever the engine holds for the order of letters.
    let mut all: Vec<WorkflowId> = Vec::new();
    for namespace in ["", "A", "a", "a b", "a/b", "b", "é"] {
        for name in ["", "B", "Z", "_", "a", "a-", "aa", "ä", "🦀"] {
            all.push(WorkflowId::new(namespace, name));
        }
    }
    for id in all.iter().rev() {
        scene.step(&attempt(id, "step", Claim::Shared), "done").await?;
    }
    all.sort();
    for namespace in [None, Some("a"), Some("a b"), Some("none")] {
        let expected: Vec<&WorkflowId> =
            all.iter().filter(|id| namespace.is_none_or(|of| &*id.namespace == of)).collect();
        for most in [4, 9, 1_000] {
            let mut read: Vec<WorkflowId> = Vec::new();
            loop {
                let page = scene.store.list(namespace, read.last(), most).await;
                let page = page.at("reading a page")?;
                ensure!(page.len() <= most, "a page of {most} has {} workflows", page.len());
                if page.is_empty() {
                    break;
                }
                for Summary { workflow, .. } in page {
                    let follows = read.last().is_none_or(|last| *last < workflow);
                    ensure!(follows, "{workflow:?} comes on a page after {:?}", read.last());
                    read.push(workflow);
                }
            }
            same!(
                read.iter().collect::<Vec<_>>(),
                expected,
                "the workflows of {namespace:?} in pages of {most}"
            );
        }
    }
    // After what is not there, or is of another namespace.
    let after = WorkflowId::new("a", "aaa");
    let page = scene.store.list(Some("a"), Some(&after), 1).await.at("reading a page")?;
    let names: Vec<&str> = page.iter().map(|summary| &*summary.workflow.workflow).collect();
    same!(names, ["ä"], "what comes after `aaa`");
    let page = scene.store.list(Some("a"), Some(&WorkflowId::new("A", "z")), 2).await;
    let page = page.at("reading a page")?;
    let names: Vec<&str> = page.iter().map(|summary| &*summary.workflow.workflow).collect();
    same!(names, ["", "B"], "what comes after another namespace");
    same!(scene.store.list(None, None, 0).await.at("reading no page")?, vec![], "no workflows");
    Ok(())
}

pub(super) async fn what_goes_on_is_listed_by_itself<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let named = |number: u32| WorkflowId::new("flows", format!("{number:03}"));
    // More that have ended than any page holds.
    for number in 0..300 {
        scene.step(&attempt(&named(number), "step", Claim::Shared), "done").await?;
        if number % 100 != 7 {
            scene.store.finish(&named(number), &Claim::Shared).await.at("ending")?;
        }
    }
    scene.step(&attempt(&WorkflowId::new("flowz", "a"), "step", Claim::Shared), "done").await?;
    scene.store.delete(&named(207)).await.at("deleting")?;
    for (after, most, expected) in [
        (None, 10, vec![named(7), named(107)]),
        (None, 1, vec![named(7)]),
        (Some(named(7)), 10, vec![named(107)]),
        (Some(named(8)), 1, vec![named(107)]),
        (Some(named(107)), 10, vec![]),
        (None, 0, vec![]),
    ] {
        let open = scene.store.unfinished("flows", after.as_ref(), most).await.at("listing")?;
        let open: Vec<WorkflowId> = open.into_iter().map(|summary| summary.workflow).collect();
        same!(open, expected, "at most {most} after {after:?}");
    }
    Ok(())
}

pub(super) async fn a_summary_says_how_things_stand<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let lease = scene.acquire(&order, "a", LONG).await?;
    scene.fresh(&intend(&order, "one", held(&lease))).await?;
    scene.fresh(&intend(&order, "two", held(&lease))).await?;
    let first = scene.summary(&order).await?;
    same!((first.latest, first.epoch, first.pending), (2, lease.epoch, 2), "the summary");
    same!((first.life, &first.forked), (Life::Open, &None), "the summary");
    let (owner, left) = first.held.clone().at("who holds it")?;
    same!(&*owner, "a", "who holds it");
    ensure!(!left.is_zero() && left <= LONG, "held for {left:?}");
    ensure!(first.touched > 0, "it was never written");
    scene.outlast().await;
    scene.save(&order, "state", "1").await?;
    let second = scene.summary(&order).await?;
    ensure!(second.touched > first.touched, "a save left the age as it was");
    let listed = scene.store.list(None, None, 10).await.at("listing")?;
    same!(listed.len(), 1, "how many workflows there are");
    let listed = listed.into_iter().next().at("the only workflow")?;
    same!(
        (listed.workflow, listed.latest, listed.pending),
        (order, second.latest, second.pending),
        "what is listed"
    );
    Ok(())
}

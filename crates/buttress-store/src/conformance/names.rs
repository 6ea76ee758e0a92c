//! Names of every kind.

use std::sync::Arc;

use buttress::store::{Append, Claim, MAX_NAME, StepId, Store, StoreError, WorkflowId};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, NAMESPACE, Scene, attempt, done, intend, owner, state, take, text, workflow},
};

pub(super) async fn unusual_names_are_names<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let names = [
        "",
        " ",
        "a",
        "A",
        "a ",
        "a/b",
        "a/",
        "/",
        "..",
        "a\nb",
        "a\tb",
        "\u{1}",
        "\u{7f}",
        "%",
        "_",
        "*",
        "'",
        "\"",
        "`",
        "\\",
        "\\x00",
        "'; DROP TABLE record; --",
        "$1",
        "${name}",
        "null",
        "é",
        "e\u{301}",
        "日本語",
        "🦀",
        "\u{202e}abc",
        "\u{feff}",
        "\u{10ffff}",
    ];
    for name in names {
        let ids = [WorkflowId::new(NAMESPACE, name), WorkflowId::new(name, "workflow")];
        for id in ids {
            let owner: Arc<str> = name.into();
            let claim = Claim::Take { owner: owner.clone(), ttl: LONG };
            let begin = intend(&id, StepId::new(name), claim);
            scene.step(&begin, name).await.map_err(|error| format!("{name:?}: {error}"))?;
            let held = scene.summary(&id).await?.held.at("who holds it")?;
            same!(held.0, owner, "the owner's name");
        }
    }
    // Each is itself, and no other.
    for name in names {
        for id in [WorkflowId::new(NAMESPACE, name), WorkflowId::new(name, "workflow")] {
            let step = StepId::new(name);
            let found = scene.store.latest(&id, Some(&step)).await.at("reading")?;
            let record = found.at(format_args!("the step {name:?}"))?.record;
            same!((&record.workflow, &record.step), (&id, &step), "whose record it is");
            same!(record.payload, text(name), "the outcome");
            scene.sound(&id, 2).await?;
        }
        let listed = scene.store.list(Some(name), None, 10).await.at("listing")?;
        let ids: Vec<_> = listed.into_iter().map(|summary| summary.workflow).collect();
        same!(ids, vec![WorkflowId::new(name, "workflow")], "the workflows of {name:?}");
    }
    let listed = scene.store.list(Some(NAMESPACE), None, 1_000).await.at("listing")?;
    same!(listed.len(), names.len(), "how many workflows there are");
    Ok(())
}

pub(super) async fn the_longest_names_are_taken<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let letters = |letter: &str| letter.repeat(MAX_NAME / letter.len());
    for (name, other) in [(letters("x"), letters("y")), (letters("é"), letters("è"))] {
        let id = WorkflowId::new(name.as_str(), name.as_str());
        let claim = Claim::Take { owner: name.as_str().into(), ttl: LONG };
        let begin = intend(&id, StepId::new(name.as_str()).occurrence(u32::MAX), claim);
        scene.step(&begin, "done").await?;
        scene.completed(&begin).await?;
        same!(scene.summary(&id).await?.held.at("who holds it")?.0, owner(&name), "the owner");
        let copy = WorkflowId::new(name.as_str(), other);
        let forked = scene.store.fork(&id, 2, &copy).await.at("forking")?.forked;
        same!(forked, Some((id.workflow.clone(), 2)), "where it comes from");
        scene.sound(&copy, 1).await?;
        scene.sound(&id, 2).await?;
    }
    Ok(())
}

pub(super) async fn names_that_no_store_can_take_are_refused<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let store = &scene.store;
    let good = workflow("good");
    scene.step(&attempt(&good, "step", Claim::Shared), "done").await?;
    let long = "x".repeat(MAX_NAME + 1);
    for bad in [long.as_str(), "a\0b", "\0"] {
        let owner: Arc<str> = bad.into();
        let badly = Claim::Take { owner: owner.clone(), ttl: LONG };
        let mut told = vec![
            ("an owner", store.acquire(&good, &owner, LONG).await.err()),
            ("an owner", store.begin(&intend(&good, "new", badly.clone())).await.err()),
            ("an owner", store.finish(&good, &badly).await.err()),
            ("a step", store.begin(&intend(&good, bad, Claim::Shared)).await.err()),
            ("a step", store.append(state(&good, bad, "1")).await.err()),
        ];
        let append = Append { claim: badly, ..state(&good, "s", "1") };
        told.push(("an owner", store.append(append).await.err()));
        for id in [WorkflowId::new(NAMESPACE, bad), WorkflowId::new(bad, "a")] {
            told.push(("a workflow", store.acquire(&id, &"a".into(), LONG).await.err()));
            told.push(("a workflow", store.fork(&good, 1, &id).await.err()));
            told.push(("a workflow", store.append(state(&id, "s", "1")).await.err()));
            for claim in [take("a"), Claim::Shared] {
                told.push(("a workflow", store.finish(&id, &claim).await.err()));
                told.push(("a workflow", store.begin(&intend(&id, "s", claim)).await.err()));
            }
            let mut ticket = scene.fresh(&attempt(&good, "other", Claim::Shared)).await?;
            ticket.workflow = id;
            told.push(("a workflow", store.complete(&ticket, done("1")).await.err()));
        }
        for (what, error) in told {
            let error = error.at(format_args!("{what}'s name {bad:.5?} was not refused"))?;
            ensure!(
                matches!(error, StoreError::TooLarge { .. } | StoreError::Invalid { .. }),
                "{what}'s name {bad:.5?} was refused, but by: {error}"
            );
        }
    }
    same!(store.list(None, None, 10).await.at("listing")?.len(), 1, "how many workflows there are");
    same!(scene.summary(&good).await?.held, None, "who holds the workflow");
    scene.sound(&good, 1).await
}

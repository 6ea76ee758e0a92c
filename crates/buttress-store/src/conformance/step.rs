//! What becomes of a step.

use buttress::store::{
    Begin, Begun, Claim, Digest, Entry, IdempotencyKey, Life, Status, StepId, Store, StoreError,
    WorkflowId,
};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, Scene, again, attempt, done, held, intend, owner, state, take, text, workflow},
};

pub(super) async fn a_step_is_begun_done_and_answered<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let begin = Begin { mark: Some(7), ..intend(&order, "pay", take("a")) };
    let ticket = scene.fresh(&begin).await?;
    same!(ticket.attempt, 1, "the attempt");
    same!(ticket.intent, Some(1), "the version of the intent");
    same!((&ticket.workflow, &ticket.step), (&order, &begin.step), "what the ticket is for");
    let intent = scene.store.get(&order, 1).await.at("reading the intent")?;
    same!(intent.status, Status::Intent, "what is recorded before the call");
    same!(intent.fingerprint, begin.fingerprint, "the request of the intent");
    same!(intent.mark(), begin.mark, "the mark of the intent");
    same!(scene.summary(&order).await?.pending, 1, "how many steps are begun and not done");
    let record = scene.complete(&ticket, "paid").await?;
    same!(
        (record.version, record.parent, record.status, record.attempt),
        (2, Some(1), Status::Done, 1),
        "the outcome"
    );
    same!(record.epoch, scene.summary(&order).await?.epoch, "the epoch of the outcome");
    same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
    // By whoever asks, and whoever holds the workflow.
    for claim in [take("a"), take("b"), Claim::Shared] {
        for begin in [intend(&order, "pay", claim.clone()), attempt(&order, "pay", claim)] {
            same!(scene.completed(&begin).await?, record, "the outcome, asked for again");
        }
    }
    scene.sound(&order, 2).await
}

pub(super) async fn a_step_without_an_effect_is_one_write<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let ticket = scene.fresh(&attempt(&order, "look", Claim::Shared)).await?;
    same!(ticket.intent, None, "the intent of a step without effect");
    same!(
        scene.store.summary(&order).await.at("reading a summary")?,
        None,
        "what is written before a step without effect is done"
    );
    let record = scene.complete(&ticket, "seen").await?;
    same!((record.version, record.epoch, record.parent), (1, 0, None), "the outcome");
    same!(scene.summary(&order).await?.held, None, "who holds a workflow without leases");
    scene.sound(&order, 1).await
}

pub(super) async fn a_failure_is_answered_as_one<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let begin = intend(&order, "pay", take("a"));
    let ticket = scene.fresh(&begin).await?;
    let failed = scene.store.complete(&ticket, Entry::failed(text("no card"))).await;
    let failed = failed.at("recording a failure")?;
    ensure!(failed.ours, "the only outcome does not count");
    for begin in [begin.clone(), again(&begin, 1), again(&begin, 2)] {
        let begun = scene.store.begin(&begin).await.at("beginning what failed")?;
        let record =
            expect!(begun, Begun::Failed { record } => record, "beginning what failed for good");
        same!(record, failed.record, "the failure, asked for again");
    }
    same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
    scene.sound(&order, 2).await
}

pub(super) async fn another_request_is_a_mismatch<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let begin = intend(&order, "pay", take("a"));
    let other = Begin { fingerprint: Digest::of(b"another"), ..begin.clone() };
    let ticket = scene.fresh(&begin).await?;
    for version in 1..=2 {
        for other in
            [other.clone(), again(&other, version), Begin { intent: false, ..other.clone() }]
        {
            let begun = scene.store.begin(&other).await.at("beginning with another request")?;
            let record = expect!(
                begun, Begun::Mismatch { record } => record, "beginning with another request"
            );
            same!(record.version, version, "what was recorded");
        }
        if version == 1 {
            scene.complete(&ticket, "paid").await?;
        }
    }
    scene.save(&order, "state", "1").await?;
    let begun = scene.store.begin(&intend(&order, "state", take("a"))).await;
    let begun = begun.at("beginning a step that is a state")?;
    expect!(begun, Begun::Mismatch { .. } => {}, "beginning a step that is a state");
    scene.sound(&order, 3).await
}

pub(super) async fn the_first_outcome_counts<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let begin = attempt(&order, "look", Claim::Shared);
    let (one, two) = (scene.fresh(&begin).await?, scene.fresh(&begin).await?);
    let record = scene.complete(&one, "one").await?;
    for (ticket, entry) in [
        (&two, done("two")),
        (&two, Entry::failed(text("two"))),
        (&one, done("three")),
        (&two, done("two").finish()),
    ] {
        let settled = scene.store.complete(ticket, entry).await.at("completing what is done")?;
        ensure!(!settled.ours, "a second outcome counts");
        same!(settled.record, record, "the outcome that counts");
    }
    same!(scene.completed(&begin).await?, record, "the outcome");
    same!(scene.summary(&order).await?.life, Life::Open, "whether the workflow goes on");
    scene.sound(&order, 1).await
}

pub(super) async fn a_begun_step_is_pending<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    for (step, claim) in [("pay", take("a")), ("send", Claim::Shared)] {
        let begin = intend(&order, step, claim);
        let ticket = scene.fresh(&begin).await?;
        let begun = scene.store.begin(&begin).await.at("beginning again")?;
        let (record, key) = expect!(
            begun, Begun::Pending { record, key } => (record, key), "beginning what was begun"
        );
        same!(Some(record.version), ticket.intent, "the intent");
        same!(key, ticket.key, "the key of what is in doubt");
        scene.complete(&ticket, "done").await?;
        scene.completed(&begin).await?;
    }
    scene.sound(&order, 4).await
}

pub(super) async fn a_restart_is_a_compare_and_set<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    for (round, claim) in [take("a"), Claim::Shared].into_iter().enumerate() {
        let begin = intend(&order, StepId::new("pay").occurrence(round as u32 + 1), claim);
        let first = scene.fresh(&begin).await?;
        let intent = first.intent.at("the intent")?;
        let wrong = scene.pending(&again(&begin, intent + 1)).await?;
        same!(wrong.version, intent, "what is in doubt");
        let second = scene.fresh(&again(&begin, intent)).await?;
        same!(second.attempt, 2, "the attempt of a restart");
        same!(second.key, first.key, "the key of a restart");
        let newer = second.intent.at("the intent of a restart")?;
        let record = scene.store.get(&order, newer).await.at("reading the intent of a restart")?;
        same!(record.parent, Some(intent), "what was begun again");
        // The same restart, asked for by one who was slower.
        let slower = scene.pending(&again(&begin, intent)).await?;
        same!(slower.version, newer, "what is in doubt after a restart");
        same!(scene.summary(&order).await?.pending, 1, "how many steps are begun and not done");
        let late = scene.store.complete(&first, done("late")).await;
        refused!(late, StoreError::Stale { .. }, "completing an attempt that was followed");
        let record = scene.complete(&second, "paid").await?;
        // What counts is told to whoever was late.
        let late = scene.store.complete(&first, done("late")).await.at("completing late")?;
        same!((late.ours, &late.record), (false, &record), "the outcome, told to a late attempt");
        same!(scene.completed(&again(&begin, newer)).await?, record, "a restart of what is done");
        same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
    }
    scene.sound(&order, 6).await
}

pub(super) async fn an_effect_that_is_no_more_needs_no_restart<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let intent = scene.fresh(&intend(&order, "look", take("a"))).await?;
    let ticket = scene.fresh(&attempt(&order, "look", Claim::Shared)).await?;
    same!((ticket.attempt, ticket.key), (2, intent.key), "the attempt and key");
    let record = scene.complete(&ticket, "seen").await?;
    same!(record.parent, intent.intent, "the intent that it settles");
    same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
    let late = scene.store.complete(&intent, done("late")).await.at("completing the intent")?;
    same!((late.ours, late.record), (false, record), "the outcome, told to the older attempt");
    scene.sound(&order, 2).await
}

pub(super) async fn a_withdrawn_step_is_fresh<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let begin = intend(&order, "pay", take("a"));
    let first = scene.fresh(&begin).await?;
    let shared = scene.fresh(&attempt(&order, "pay", Claim::Shared)).await?;
    let wrong = store.complete(&shared, Entry::withdrawn()).await;
    refused!(wrong, StoreError::Invalid { .. }, "withdrawing the intent of another");
    let settled = store.complete(&first, Entry::withdrawn()).await.at("withdrawing")?;
    ensure!(settled.ours, "a withdrawal does not count");
    let twice = store.complete(&first, Entry::withdrawn()).await.at("withdrawing again")?;
    same!((twice.ours, twice.record), (false, settled.record), "a withdrawal, asked for again");
    same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
    // Nothing was done with the request, so it may be another.
    let other = Begin { fingerprint: Digest::of(b"another"), ..begin };
    let second = scene.fresh(&other).await?;
    same!((second.attempt, second.key), (2, first.key), "the attempt and key after a withdrawal");
    same!(scene.summary(&order).await?.pending, 1, "how many steps are begun and not done");
    let late = store.complete(&first, done("late")).await;
    refused!(late, StoreError::Stale { .. }, "completing what was withdrawn");
    scene.complete(&second, "paid").await?;
    let late = store.complete(&second, Entry::withdrawn()).await.at("withdrawing what is done")?;
    ensure!(!late.ours, "what was done is withdrawn");
    scene.completed(&other).await?;
    scene.sound(&order, 4).await
}

pub(super) async fn steps_and_occurrences_are_apart<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let ids = [
        StepId::new("pay"),
        StepId::new("pay").occurrence(2),
        StepId::new("pay").occurrence(u32::MAX),
        StepId::new("pay#2"),
        StepId::new("Pay"),
        StepId::new("pay "),
    ];
    let workflows = [
        workflow("order"),
        workflow("Order"),
        WorkflowId::new("conformance/order", ""),
        WorkflowId::new("elsewhere", "order"),
    ];
    let mut keys: Vec<IdempotencyKey> = Vec::new();
    for workflow in &workflows {
        for step in &ids {
            let begin = intend(workflow, step.clone(), take("a"));
            let ticket = scene.fresh(&begin).await?;
            ensure!(!keys.contains(&ticket.key), "{workflow} {step} has the key of another step");
            keys.push(ticket.key);
            scene.complete(&ticket, &format!("{workflow} {step}")).await?;
        }
    }
    for workflow in &workflows {
        for step in &ids {
            let record = scene.completed(&intend(workflow, step.clone(), take("a"))).await?;
            same!(record.payload, text(&format!("{workflow} {step}")), "the outcome of {step}");
            let found = scene.store.latest(workflow, Some(step)).await.at("reading the newest")?;
            same!(found.at("the newest")?.record, record, "the newest of {step}");
        }
        scene.sound(workflow, 2 * ids.len() as u64).await?;
    }
    Ok(())
}

pub(super) async fn an_outcome_says_how_it_ended<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let begin = intend(&order, "pay", take("a"));
    let ticket = scene.fresh(&begin).await?;
    for status in [Status::Intent, Status::State] {
        let entry = Entry { status, ..done("paid") };
        let settled = store.complete(&ticket, entry).await;
        refused!(settled, StoreError::Invalid { .. }, "an outcome that is {}", status.as_str());
    }
    for name in ["pay", "free"] {
        for entry in [done("1"), Entry::failed(text("1")), Entry::withdrawn()] {
            let append = buttress::store::Append { entry, ..state(&order, name, "1") };
            let appended = store.append(append).await;
            refused!(appended, StoreError::Invalid { .. }, "a state that is an outcome");
        }
    }
    // A state in the place of a step would make it forgotten.
    let appended = store.append(state(&order, "pay", "1")).await;
    refused!(appended, StoreError::Invalid { .. }, "a state with the name of a begun step");
    scene.complete(&ticket, "paid").await?;
    let appended = store.append(state(&order, "pay", "1")).await;
    refused!(appended, StoreError::Invalid { .. }, "a state with the name of a done step");
    scene.completed(&begin).await?;
    scene.sound(&order, 2).await
}

pub(super) async fn a_workflow_ends_with_an_outcome<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let lease = scene.acquire(&order, "a", LONG).await?;
    let late = scene.fresh(&attempt(&order, "look", Claim::Shared)).await?;
    let ticket = scene.fresh(&intend(&order, "pay", held(&lease))).await?;
    let settled = store.complete(&ticket, done("paid").finish()).await.at("ending")?;
    let summary = scene.summary(&order).await?;
    same!((summary.life, summary.held), (Life::Finished, None), "an ended workflow");
    // By one who did not get the answer.
    let twice = store.complete(&ticket, done("paid").finish()).await.at("ending again")?;
    same!((twice.ours, twice.record), (false, settled.record), "the outcome, asked for again");
    store.finish(&order, &held(&lease)).await.at("ending what ended")?;
    // By one who is late.
    scene.complete(&late, "seen").await?;
    same!(scene.summary(&order).await?.life, Life::Finished, "a workflow that ended before");
    // And by one who takes it up again.
    let lease = scene.acquire(&order, "b", LONG).await?;
    scene.step(&intend(&order, "more", held(&lease)), "done").await?;
    same!(scene.summary(&order).await?.life, Life::Open, "a workflow that was taken up again");
    store.finish(&order, &take("b")).await.at("ending")?;
    store.finish(&order, &Claim::Shared).await.at("ending what ended")?;
    let summary = scene.summary(&order).await?;
    same!((summary.life, summary.held), (Life::Finished, None), "an ended workflow");
    store.acquire(&order, &owner("c"), LONG).await.at("taking up what ended")?;
    scene.sound(&order, 5).await
}

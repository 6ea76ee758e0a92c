//! Late writers, after others took over or the workflow went.

use buttress::store::{
    Begun, Claim, Fence, Lease, Life, Retention, Store, StoreError, Ticket, WorkflowId,
};

use super::{
    Outcome, Subject,
    say::At,
    scene::{
        BRIEF, LONG, Scene, again, attempt, done, held, intend, owner, state, take, text, workflow,
    },
};

/// What somebody had in hand when the workflow was taken from them.
struct Late {
    lease: Lease,
    intended: Ticket,
    attempted: Ticket,
}

impl Late {
    /// Somebody who holds a workflow with one step done and two begun.
    async fn writer<S: Subject>(
        scene: &Scene<'_, S>,
        workflow: &WorkflowId,
    ) -> Result<Self, String> {
        let lease = scene.acquire(workflow, "late", BRIEF).await?;
        scene.step(&intend(workflow, "done", held(&lease)), "done").await?;
        let intended = scene.fresh(&intend(workflow, "intended", held(&lease))).await?;
        let attempted = scene.fresh(&attempt(workflow, "attempted", held(&lease))).await?;
        same!(intended.fence, Fence::Epoch(lease.epoch), "the fence of a step under a lease");
        Ok(Self { lease, intended, attempted })
    }

    /// Every kind of write, each of which must be refused.
    async fn is_refused<S: Subject>(
        &self,
        scene: &Scene<'_, S>,
        refusal: impl Fn(&StoreError) -> bool,
    ) -> Outcome {
        let (store, workflow) = (&scene.store, &self.lease.workflow);
        let claim = held(&self.lease);
        let mut begins = vec![
            intend(workflow, "new", claim.clone()),
            attempt(workflow, "new", claim.clone()),
            // What is done is not read either: this one is to stop.
            intend(workflow, "done", claim.clone()),
        ];
        if let Some(version) = self.intended.intent {
            begins.push(again(&intend(workflow, "intended", claim.clone()), version));
        }
        let mut told = Vec::new();
        for begin in &begins {
            told.push((format!("beginning {}", begin.step), store.begin(begin).await.err()));
        }
        for ticket in [&self.intended, &self.attempted] {
            for entry in [done("late"), done("late").finish()] {
                let settled = store.complete(ticket, entry).await;
                told.push((format!("completing {}", ticket.step), settled.err()));
            }
        }
        let append =
            buttress::store::Append { claim: claim.clone(), ..state(workflow, "state", "late") };
        told.push(("adding a state".into(), store.append(append).await.err()));
        told.push(("renewing".into(), store.renew(&self.lease, LONG).await.err()));
        told.push(("ending".into(), store.finish(workflow, &claim).await.err()));
        for (doing, refused) in told {
            let refused = refused.at(format_args!("{doing} late was not refused"))?;
            ensure!(refusal(&refused), "{doing} late was refused, but by: {refused}");
        }
        store.release(&self.lease).await.at("giving back what was lost")
    }
}

const fn fenced(error: &StoreError) -> bool {
    matches!(error, StoreError::Fenced { .. })
}

const fn deleted(error: &StoreError) -> bool {
    matches!(error, StoreError::Deleted { .. })
}

pub(super) async fn nothing_is_written_after_a_takeover<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let late = Late::writer(&scene, &order).await?;
    scene.outlast().await;
    let lease = scene.acquire(&order, "b", LONG).await?;
    let before = scene.history(&order).await?;
    late.is_refused(&scene, fenced).await?;
    same!(scene.history(&order).await?, before, "the history, after late writes");
    let summary = scene.summary(&order).await?;
    same!(
        (summary.epoch, summary.held.map(|(owner, _)| owner)),
        (lease.epoch, Some(owner("b"))),
        "who holds the workflow, after late writes"
    );
    // The new owner finds what the old one began.
    let begin = intend(&order, "intended", held(&lease));
    let intent = scene.pending(&begin).await?;
    scene.step(&again(&begin, intent.version), "mine").await?;
    late.is_refused(&scene, fenced).await?;
    scene.sound(&order, 5).await
}

pub(super) async fn nothing_is_written_after_a_takeover_by_any_write<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    for kind in ["begin", "attempt", "append", "finish", "claim"] {
        let order = workflow(kind);
        let late = Late::writer(&scene, &order).await?;
        scene.outlast().await;
        let store = &scene.store;
        match kind {
            "begin" => {
                scene.fresh(&intend(&order, "b", take("b"))).await?;
            }
            "attempt" => {
                scene.fresh(&attempt(&order, "b", take("b"))).await?;
            }
            "append" => {
                let append =
                    buttress::store::Append { claim: take("b"), ..state(&order, "b", "b") };
                store.append(append).await.at("adding a state")?;
            }
            "finish" => store.finish(&order, &take("b")).await.at("ending")?,
            _ => {
                let claimed = store.claim(&order.namespace, &owner("b"), LONG).await;
                let claimed = claimed.at("claiming")?.at("claiming")?;
                same!(claimed.workflow, order, "what was claimed");
            }
        }
        let before = scene.history(&order).await?;
        late.is_refused(&scene, fenced).await.map_err(|error| format!("{kind}: {error}"))?;
        same!(scene.history(&order).await?, before, "the history, after late writes");
    }
    Ok(())
}

pub(super) async fn nothing_is_written_after_a_release<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let late = Late::writer(&scene, &order).await?;
    scene.store.release(&late.lease).await.at("giving back")?;
    late.is_refused(&scene, fenced).await?;
    same!(scene.summary(&order).await?.held, None, "who holds the workflow");
    // The same name does not make it the same lease.
    let lease = scene.acquire(&order, "late", LONG).await?;
    ensure!(lease.epoch > late.lease.epoch, "what was given back kept its epoch");
    late.is_refused(&scene, fenced).await?;
    scene.sound(&order, 3).await
}

pub(super) async fn nothing_is_written_after_the_end<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let late = Late::writer(&scene, &order).await?;
    scene.store.finish(&order, &held(&late.lease)).await.at("ending")?;
    let settled = scene.store.complete(&late.intended, done("late")).await;
    refused!(settled, StoreError::Fenced { .. }, "completing after the end");
    let begun = scene.store.begin(&intend(&order, "new", held(&late.lease))).await;
    refused!(begun, StoreError::Fenced { .. }, "beginning after the end");
    let renewed = scene.store.renew(&late.lease, LONG).await;
    refused!(renewed, StoreError::Fenced { .. }, "renewing after the end");
    same!(scene.summary(&order).await?.life, Life::Finished, "an ended workflow");
    scene.sound(&order, 3).await
}

pub(super) async fn nothing_is_written_after_a_deletion<S: Subject>(subject: &S) -> Outcome {
    let retention = Retention { ended: Some(BRIEF), ..Retention::default() };
    let scene = Scene::keep(subject, retention).await?;
    let (store, order, shared) = (&scene.store, workflow("order"), workflow("shared"));
    let late = Late::writer(&scene, &order).await?;
    let nothing = scene.fresh(&attempt(&shared, "nothing", Claim::Shared)).await?;
    let intended = scene.fresh(&intend(&shared, "intended", Claim::Shared)).await?;
    let attempted = scene.fresh(&attempt(&shared, "attempted", Claim::Shared)).await?;
    for workflow in [&order, &shared] {
        store.delete(workflow).await.at("deleting")?;
    }
    late.is_refused(&scene, deleted).await?;
    for ticket in [&nothing, &intended, &attempted] {
        let settled = store.complete(ticket, done("late")).await;
        refused!(settled, StoreError::Deleted { .. }, "completing {} late", ticket.step);
    }
    // Nor does anybody who is not late bring it back.
    for claim in [take("b"), Claim::Shared] {
        let begun = store.begin(&intend(&order, "new", claim.clone())).await;
        refused!(begun, StoreError::Deleted { .. }, "beginning a step");
        let begun = store.begin(&attempt(&order, "done", claim.clone())).await;
        refused!(begun, StoreError::Deleted { .. }, "beginning what was done");
        let append = buttress::store::Append { claim: claim.clone(), ..state(&order, "s", "1") };
        refused!(store.append(append).await, StoreError::Deleted { .. }, "adding a state");
        refused!(store.finish(&order, &claim).await, StoreError::Deleted { .. }, "ending");
    }
    let taken = store.acquire(&order, &owner("b"), LONG).await;
    refused!(taken, StoreError::Deleted { .. }, "taking the lease");
    same!(store.claim(&order.namespace, &owner("b"), LONG).await.at("claiming")?, None, "claimed");
    for workflow in [&order, &shared] {
        let summary = scene.summary(workflow).await?;
        same!((summary.life, summary.held), (Life::Deleted, None), "a deleted workflow");
        same!(scene.history(workflow).await?, vec![], "what is kept of a deleted workflow");
    }

    // Once nobody remembers, a late writer is known by its lease, or by when its workflow was born.
    scene.outlast().await;
    same!(store.prune(None).await.at("pruning")?.workflows, 2, "how many were pruned");
    late.is_refused(&scene, fenced).await?;
    for ticket in [&intended, &attempted] {
        let settled = store.complete(ticket, done("late")).await;
        refused!(settled, StoreError::Fenced { .. }, "completing {} late", ticket.step);
    }
    for workflow in [&order, &shared] {
        same!(
            store.summary(workflow).await.at("reading a summary")?,
            None,
            "what late writers brought back"
        );
    }
    // Nor do they write to what has come into being under the name since.
    scene.step(&intend(&order, "intended", take("late")), "new").await?;
    scene.step(&intend(&shared, "intended", Claim::Shared), "new").await?;
    late.is_refused(&scene, fenced).await?;
    for ticket in [&intended, &attempted] {
        let settled = store.complete(ticket, done("late")).await;
        refused!(settled, StoreError::Fenced { .. }, "completing {} late", ticket.step);
    }
    for workflow in [&order, &shared] {
        scene.sound(workflow, 2).await?;
        let record = store.latest(workflow, None).await.at("reading the newest")?;
        same!(record.at("the newest")?.record.payload, text("new"), "the newest");
    }
    Ok(())
}

pub(super) async fn a_deleted_step_in_doubt_stays_deleted<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let begin = intend(&order, "pay", Claim::Shared);
    let ticket = scene.fresh(&begin).await?;
    ensure!(
        matches!(ticket.fence, Fence::Born(Some(_))),
        "a ticket with an intent does not know its workflow: {:?}",
        ticket.fence
    );
    let begun = scene.store.begin(&begin).await.at("beginning")?;
    expect!(begun, Begun::Pending { .. } => {}, "beginning what was begun");
    scene.store.delete(&order).await.at("deleting")?;
    same!(scene.summary(&order).await?.pending, 0, "how many steps of a deleted one are begun");
    let settled = scene.store.complete(&ticket, done("late")).await;
    refused!(settled, StoreError::Deleted { .. }, "completing late");
    let twice = scene.store.delete(&order).await;
    refused!(twice, StoreError::Deleted { .. }, "deleting twice");
    Ok(())
}

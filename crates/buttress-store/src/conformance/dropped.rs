//! Futures that are dropped before they are ready: done or not done, never half.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use buttress::store::{Append, Claim, Life, Store, StoreError};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, Scene, again, done, held, intend, owner, state, text, workflow},
};

/// How often a future is polled at most before it is dropped.
const POLLS: usize = 6;

/// Polls a future so many times, with a little time in between, and drops it. Says whether it was ready.
async fn drop_after<S: Subject>(scene: &Scene<'_, S>, polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if ready {
            return true;
        }
        scene.pass(Duration::from_millis(1)).await;
    }
    false
}

pub(super) async fn a_dropped_beginning_is_done_or_not_done<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    for polls in 0..POLLS {
        let order = workflow(&polls.to_string());
        let begin = intend(&order, "pay", super::scene::take("a"));
        let ready = drop_after(&scene, polls, scene.store.begin(&begin)).await;
        // Not done: fresh. Done: in doubt, as it is for any caller that went away.
        let begun = scene.store.begin(&begin).await.at("beginning again")?;
        let ticket = match begun {
            buttress::store::Begun::Fresh(ticket) if !ready => ticket,
            buttress::store::Begun::Pending { record, .. } => {
                scene.fresh(&again(&begin, record.version)).await?
            }
            other => return Err(format!("dropped after {polls} polls, begun again: {other:?}")),
        };
        let record = scene.complete(&ticket, "paid").await?;
        same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
        scene.sound(&order, record.version).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_outcome_is_written_once_or_never<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    for polls in 0..POLLS {
        let order = workflow(&polls.to_string());
        let begin = intend(&order, "pay", super::scene::take("a"));
        let ticket = scene.fresh(&begin).await?;
        let ready = drop_after(&scene, polls, scene.store.complete(&ticket, done("one"))).await;
        let settled = scene.store.complete(&ticket, done("two")).await.at("completing again")?;
        let expected = if settled.ours { text("two") } else { text("one") };
        same!(settled.record.payload, expected, "the outcome");
        ensure!(!(ready && settled.ours), "an outcome that was told was written over");
        for _ in 0..3 {
            // Nothing that was dropped is done later over what was told since.
            same!(scene.completed(&begin).await?, settled.record, "the outcome");
            scene.pass(Duration::from_millis(1)).await;
        }
        scene.sound(&order, 2).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_save_leaves_no_gap<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    let mut newest = 0;
    for polls in 0..POLLS * 2 {
        let append =
            |value: &str| Append { expect: Some(newest), ..state(&agent, "memory", value) };
        drop_after(&scene, polls % POLLS, scene.store.append(append("dropped"))).await;
        newest = match scene.store.append(append("kept")).await {
            Ok(record) => record.version,
            Err(StoreError::Stale { latest, .. }) => latest,
            Err(error) => return Err(format!("saving after a dropped save: {error}")),
        };
        same!(newest, polls as u64 + 1, "the newest version");
        scene.sound(&agent, newest).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_takeover_leaves_one_owner<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    for polls in 0..POLLS {
        let order = workflow(&polls.to_string());
        let (one, two) = (owner("one"), owner("two"));
        drop_after(&scene, polls, scene.store.acquire(&order, &one, LONG)).await;
        let lease = match scene.store.acquire(&order, &two, LONG).await {
            Ok(lease) => lease,
            Err(StoreError::Held { .. }) => scene.acquire(&order, "one", LONG).await?,
            Err(error) => return Err(format!("taking a lease: {error}")),
        };
        let summary = scene.summary(&order).await?;
        same!(summary.epoch, lease.epoch, "the epoch");
        same!(summary.held.at("who holds it")?.0, lease.owner, "who holds it");
        drop_after(&scene, polls, scene.store.renew(&lease, LONG)).await;
        scene.step(&intend(&order, "pay", held(&lease)), "paid").await?;
        drop_after(&scene, polls, scene.store.release(&lease)).await;
        scene.store.release(&lease).await.at("giving back")?;
        same!(scene.summary(&order).await?.held, None, "who holds what was given back");
        scene.sound(&order, 2).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_end_is_whole<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let store = &scene.store;
    for polls in 0..POLLS {
        let (order, copy) = (workflow(&polls.to_string()), workflow(&format!("copy {polls}")));
        for value in ["1", "2", "3"] {
            scene.save(&order, value, value).await?;
        }
        drop_after(&scene, polls, store.fork(&order, 3, &copy)).await;
        match store.fork(&order, 3, &copy).await {
            Ok(_) | Err(StoreError::Exists { .. }) => scene.sound(&copy, 3).await?,
            Err(error) => return Err(format!("forking after a dropped fork: {error}")),
        }
        drop_after(&scene, polls, store.finish(&copy, &Claim::Shared)).await;
        store.finish(&copy, &Claim::Shared).await.at("ending")?;
        same!(scene.summary(&copy).await?.life, Life::Finished, "an ended workflow");
        drop_after(&scene, polls, store.delete(&order)).await;
        match store.delete(&order).await {
            Ok(()) | Err(StoreError::Deleted { .. }) => {}
            Err(error) => return Err(format!("deleting after a dropped deletion: {error}")),
        }
        same!(scene.history(&order).await?, vec![], "what is kept of a deleted workflow");
        scene.verified(&order).await?;
    }
    Ok(())
}

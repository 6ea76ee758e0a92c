//! Versions of a state.

use buttress::store::{
    Append, Claim, Digest, Entry, Life, MAX_PAYLOAD, Payload, Status, Store, StoreError,
};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, Scene, attempt, held, state, text, workflow},
};

pub(super) async fn each_save_is_a_version<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    let mut newest = 0;
    for round in 1..=5_u64 {
        let append = Append {
            expect: Some(newest),
            parent: Some(newest).filter(|version| *version > 0),
            fingerprint: Digest::of(&round.to_le_bytes()),
            ..state(&agent, "memory", &round.to_string())
        };
        let record = scene.store.append(append.clone()).await.at("saving")?;
        same!(record.version, round, "the version");
        same!(record.status, Status::State, "what it is");
        same!(record.parent, append.parent, "what it was made from");
        same!(record.fingerprint, append.fingerprint, "its fingerprint");
        same!(record.payload, append.entry.payload, "what it carries");
        let kept = scene.store.get(&agent, round).await.at("reading it back")?;
        same!(kept, record, "what is kept");
        newest = record.version;
    }
    let found = scene.store.latest(&agent, Some(&"memory".into())).await.at("reading")?;
    let found = found.at("the newest state")?;
    same!((found.newest, found.skipped), (5, vec![]), "the newest state");
    same!(found.record.payload, text("5"), "the newest state");
    scene.sound(&agent, 5).await
}

pub(super) async fn a_stale_save_is_refused<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, agent) = (&scene.store, workflow("agent"));
    let expecting =
        |version, value| Append { expect: Some(version), ..state(&agent, "memory", value) };
    let early = store.append(expecting(3, "never")).await;
    refused!(early, StoreError::Stale { latest: 0, .. }, "a save after what never was");
    same!(store.summary(&agent).await.at("reading")?, None, "what a refused save left");
    store.append(expecting(0, "1")).await.at("the first save")?;
    // Another name's versions do not count.
    scene.save(&agent, "other", "1").await?;
    store.append(expecting(1, "2")).await.at("a save that follows the newest")?;
    for stale in [0, 1, 2, 4] {
        let append = store.append(expecting(stale, "stale")).await;
        refused!(append, StoreError::Stale { latest: 3, .. }, "a save that follows {stale}");
    }
    let lease = scene.acquire(&agent, "a", LONG).await?;
    let append = Append { claim: held(&lease), ..expecting(1, "stale") };
    let append = store.append(append).await;
    refused!(append, StoreError::Stale { .. }, "a stale save under a lease");
    scene.save(&agent, "memory", "whatever there is").await?;
    scene.sound(&agent, 4).await
}

pub(super) async fn a_save_may_be_the_last<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    let lease = scene.acquire(&agent, "a", LONG).await?;
    let mut last = Append { claim: held(&lease), ..state(&agent, "memory", "1") };
    last.entry = last.entry.finish();
    let record = scene.store.append(last).await.at("the last save")?;
    same!(record.epoch, lease.epoch, "the epoch of a save");
    let summary = scene.summary(&agent).await?;
    same!((summary.life, summary.held), (Life::Finished, None), "an ended workflow");
    scene.save(&agent, "memory", "2").await?;
    same!(scene.summary(&agent).await?.life, Life::Open, "a workflow that goes on");
    scene.sound(&agent, 2).await
}

pub(super) async fn payloads_of_every_size_are_kept<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    let sizes = [0, 1, 255, 4_096, 8_191, 65_537, 1 << 20];
    for (place, size) in sizes.into_iter().enumerate() {
        // Every byte there is, in no order that compresses well.
        let bytes: Vec<u8> =
            (0..size as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let payload = Payload { codec: 255, schema: u32::MAX, bytes };
        let append = Append { entry: Entry::state(payload.clone()), ..state(&agent, "memory", "") };
        let record = scene.store.append(append).await.at(format_args!("saving {size} bytes"))?;
        same!(record.version, place as u64 + 1, "the version");
        let kept = scene.store.get(&agent, record.version).await;
        let kept = kept.at(format_args!("reading {size} bytes"))?;
        ensure!(kept.payload == payload, "{size} bytes are not what was written");
    }
    scene.sound(&agent, sizes.len() as u64).await
}

pub(super) async fn a_payload_that_is_too_large_is_refused<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = workflow("agent");
    let payload = Payload { bytes: vec![0; MAX_PAYLOAD + 1], ..text("") };
    let append = Append { entry: Entry::state(payload.clone()), ..state(&agent, "memory", "") };
    let appended = scene.store.append(append).await.map(|record| record.version);
    refused!(appended, StoreError::TooLarge { most: MAX_PAYLOAD, .. }, "saving too much");
    same!(scene.store.summary(&agent).await.at("reading")?, None, "what a refused save left");
    let ticket = scene.fresh(&attempt(&agent, "step", Claim::Shared)).await?;
    let settled = scene.store.complete(&ticket, Entry::done(payload)).await;
    let settled = settled.map(|settled| settled.ours);
    refused!(settled, StoreError::TooLarge { .. }, "an outcome that is too large");
    scene.complete(&ticket, "smaller").await?;
    scene.sound(&agent, 1).await
}

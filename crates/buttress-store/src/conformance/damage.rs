//! What rots, and how that is told.

use buttress::store::{
    Append, Begun, Claim, Damage, Digest, Finding, Record, Sealed, Status, Store, StoreError,
    Version, WorkflowId,
};

use super::{
    Outcome, Subject,
    say::At,
    scene::{LONG, Scene, again, attempt, done, held, intend, state, take, text, workflow},
};

/// A workflow with as many versions of a state.
async fn saved<S: Subject>(
    scene: &Scene<'_, S>,
    name: &str,
    versions: u64,
) -> Result<WorkflowId, String> {
    let agent = workflow(name);
    for round in 1..=versions {
        scene.save(&agent, "memory", &round.to_string()).await?;
    }
    Ok(agent)
}

pub(super) async fn no_flipped_bit_is_served<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = saved(&scene, "agent", 2).await?;
    let length = scene.store.get(&agent, 2).await.at("reading")?.record.seal().0.len();
    for place in (0..length).step_by(11).chain([length - 1]) {
        let flip = move |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1_u8 << (place % 8);
            }
            Some(bytes)
        };
        scene.tamper(&agent, 2, &flip).await?;
        let got = scene.store.get(&agent, 2).await;
        refused!(
            got,
            StoreError::Corrupt { version: Some(2), damage: Damage::Digest, .. },
            "reading after bit {} of byte {place} was flipped",
            place % 8
        );
        let found = scene.store.latest(&agent, None).await.at("reading")?.at("the newest")?;
        same!(found.record.version, 1, "the newest intact version");
        scene.tamper(&agent, 2, &flip).await?;
        scene.store.get(&agent, 2).await.at("reading after the bit was flipped back")?;
    }
    for keep in [0, 1, 31, 32, 33, length / 2, length - 1] {
        scene.tamper(&agent, 1, &|bytes| Some(bytes.iter().take(keep).copied().collect())).await?;
        let got = scene.store.get(&agent, 1).await;
        refused!(got, StoreError::Corrupt { .. }, "reading a record cut to {keep} bytes");
    }
    Ok(())
}

pub(super) async fn what_is_damaged_is_skipped_and_told<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, step) = (&scene.store, "memory".into());
    let agent = saved(&scene, "agent", 5).await?;
    scene.flip(&agent, 5).await?;
    scene.flip(&agent, 4).await?;
    let skipped = |versions: &[u64]| -> Vec<Finding> {
        versions.iter().map(|&version| Finding { version, damage: Damage::Digest }).collect()
    };
    for of in [None, Some(&step)] {
        let found = store.latest(&agent, of).await.at("reading")?.at("the newest")?;
        same!(found.record.payload, text("3"), "the newest intact version");
        same!((found.newest, found.skipped), (5, skipped(&[5, 4])), "what was skipped");
    }
    let history = store.history(&agent, 3, 10).await.at("reading the history")?;
    let expected: Vec<Version> = skipped(&[4, 5]).into_iter().map(Version::Damaged).collect();
    same!(history, expected, "the damaged part of the history");
    // One goes on from what is intact, and says what it found.
    let stale = Append { expect: Some(3), ..state(&agent, "memory", "stale") };
    let stale = store.append(stale).await;
    refused!(stale, StoreError::Stale { latest: 5, .. }, "saving after what is not the newest");
    let next = Append { expect: Some(5), parent: Some(3), ..state(&agent, "memory", "recovered") };
    let record = store.append(next).await.at("saving after a damaged version")?;
    same!(record.version, 6, "the version after a damaged one");
    let found = store.latest(&agent, Some(&step)).await.at("reading")?.at("the newest")?;
    same!((found.record, found.skipped), (record, vec![]), "the newest");
    let audit = store.verify(&agent).await.at("verifying")?;
    same!((audit.records, audit.findings), (6, skipped(&[4, 5])), "what verify found");
    Ok(())
}

pub(super) async fn what_is_lost_is_told<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, step) = (&scene.store, "memory".into());
    let agent = saved(&scene, "agent", 4).await?;
    let missing = |version| Finding { version, damage: Damage::Missing };
    scene.lose(&agent, 4).await?;
    for of in [None, Some(&step)] {
        let found = store.latest(&agent, of).await.at("reading")?.at("the newest")?;
        same!((found.record.version, found.newest), (3, 4), "the newest intact version");
        same!(found.skipped, vec![missing(4)], "what was skipped");
    }
    refused!(store.get(&agent, 4).await, StoreError::NotFound { .. }, "reading what is lost");
    scene.save(&agent, "memory", "5").await?;
    scene.lose(&agent, 1).await?;
    let audit = store.verify(&agent).await.at("verifying")?;
    same!((audit.records, audit.findings), (3, vec![missing(1), missing(4)]), "what was found");
    for version in [2, 3, 5] {
        scene.lose(&agent, version).await?;
    }
    for of in [None, Some(&step)] {
        let found = store.latest(&agent, of).await;
        refused!(found, StoreError::Corrupt { .. }, "reading the newest when all is lost");
    }
    let audit = store.verify(&agent).await.at("verifying")?;
    same!(audit.findings, (1..=5).map(missing).collect::<Vec<_>>(), "what was found");
    Ok(())
}

pub(super) async fn each_kind_of_damage_is_found<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let other = saved(&scene, "other", 3).await?;
    let others = scene.store.get(&other, 3).await.at("reading")?;
    let resealed = |change: fn(&mut Record)| {
        move |sealed: &Sealed| {
            let mut record = sealed.record.clone();
            change(&mut record);
            Some(record.seal().0)
        }
    };
    type Tamper = Box<dyn Fn(&Sealed) -> Option<Vec<u8>> + Send + Sync>;
    let kinds: [(&str, Tamper, Damage); 8] = [
        ("lost", Box::new(|_| None), Damage::Missing),
        ("emptied", Box::new(|_| Some(Vec::new())), Damage::Digest),
        ("noise", Box::new(|_| Some(vec![7; 300])), Damage::Digest),
        ("another workflow's", Box::new(move |_| Some(others.record.seal().0)), Damage::Misplaced),
        ("another version", Box::new(resealed(|record| record.version += 1)), Damage::Misplaced),
        (
            "not following",
            Box::new(resealed(|record| record.previous = Digest::of(b"x"))),
            Damage::Chain,
        ),
        (
            "of a later release",
            Box::new(|sealed| {
                let (mut bytes, _) = sealed.record.seal();
                bytes.truncate(bytes.len() - 32);
                if let Some(format) = bytes.get_mut(4) {
                    *format = 200;
                }
                let digest = Digest::of(&bytes);
                bytes.extend_from_slice(&digest.0);
                Some(bytes)
            }),
            Damage::Format(200),
        ),
        (
            "of a step that never was",
            Box::new(resealed(|record| record.step = "x".into())),
            Damage::Misplaced,
        ),
    ];
    for (kind, tamper, damage) in kinds {
        let agent = saved(&scene, kind, 5).await?;
        let sealed = scene.store.get(&agent, 3).await.at("reading")?;
        let bytes = tamper(&sealed);
        scene.tamper(&agent, 3, &|_| bytes.clone()).await?;
        let findings = scene.store.verify(&agent).await.at("verifying")?.findings;
        ensure!(
            findings.contains(&Finding { version: 3, damage }),
            "a version that is {kind} was not found: {findings:?}"
        );
        // One that was sealed anew is also not what the next version follows.
        let near = findings.iter().all(|finding| (3..=4).contains(&finding.version));
        ensure!(near, "a version that is {kind} puts the blame on others: {findings:?}");
    }
    for untouched in [&other] {
        scene.sound(untouched, 3).await?;
    }
    Ok(())
}

pub(super) async fn exchanged_versions_are_found<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = saved(&scene, "agent", 4).await?;
    let (second, third) = (
        scene.store.get(&agent, 2).await.at("reading")?.record.seal().0,
        scene.store.get(&agent, 3).await.at("reading")?.record.seal().0,
    );
    scene.tamper(&agent, 2, &|_| Some(third.clone())).await?;
    scene.tamper(&agent, 3, &|_| Some(second.clone())).await?;
    let misplaced = |version| Finding { version, damage: Damage::Misplaced };
    let findings = scene.store.verify(&agent).await.at("verifying")?.findings;
    same!(findings, vec![misplaced(2), misplaced(3)], "what was found");
    let got = scene.store.get(&agent, 2).await;
    refused!(got, StoreError::Corrupt { damage: Damage::Misplaced, .. }, "reading it");
    Ok(())
}

pub(super) async fn a_newest_version_put_back_is_found<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let agent = saved(&scene, "agent", 3).await?;
    let mut record = scene.store.get(&agent, 3).await.at("reading")?.record;
    record.payload = text("another");
    let bytes = record.seal().0;
    scene.tamper(&agent, 3, &|_| Some(bytes.clone())).await?;
    // Sealed by somebody, and not what was written: only the head knows.
    let findings = scene.store.verify(&agent).await.at("verifying")?.findings;
    same!(findings, vec![Finding { version: 3, damage: Damage::Chain }], "what was found");
    Ok(())
}

pub(super) async fn a_damaged_outcome_is_in_doubt<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    let store = &scene.store;
    for (name, lost) in [("rotten", false), ("lost", true)] {
        let order = workflow(name);
        let lease = scene.acquire(&order, "a", LONG).await?;
        let begin = intend(&order, "pay", held(&lease));
        let ticket = scene.fresh(&begin).await?;
        scene.complete(&ticket, "paid").await?;
        match lost {
            true => scene.lose(&order, 2).await?,
            false => scene.flip(&order, 2).await?,
        }
        for begin in [begin.clone(), again(&begin, 1)] {
            let begun = store.begin(&begin).await.at("beginning what rotted")?;
            let (version, key) = expect!(
                begun, Begun::Damaged { version, key, .. } => (version, key), "beginning"
            );
            same!((version, key), (2, ticket.key), "what is in doubt");
        }
        let elsewhere = store.begin(&intend(&order, "pay", take("b"))).await;
        refused!(elsewhere, StoreError::Held { .. }, "beginning what another holds");
        let restarted = scene.fresh(&again(&begin, 2)).await?;
        same!(restarted.key, ticket.key, "the key of what is done again");
        let record = scene.complete(&restarted, "paid again").await?;
        same!(scene.completed(&begin).await?, record, "the outcome");
        // The first attempt comes late, and is told.
        let late = store.complete(&ticket, done("late")).await.at("completing late")?;
        same!((late.ours, late.record), (false, record), "the outcome, told to a late attempt");
        same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");
    }
    Ok(())
}

pub(super) async fn a_damaged_outcome_without_effect_is_done_again<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let order = workflow("order");
    let begin = attempt(&order, "look", Claim::Shared);
    scene.step(&begin, "seen").await?;
    scene.flip(&order, 1).await?;
    let ticket = scene.fresh(&begin).await?;
    same!(ticket.damaged, Some(1), "the damaged version that is done again");
    let record = scene.complete(&ticket, "seen again").await?;
    same!(record.version, 2, "the version");
    same!(scene.completed(&begin).await?, record, "the outcome");
    Ok(())
}

pub(super) async fn an_intent_that_rots_does_not_hold_up_its_outcome<S: Subject>(
    subject: &S,
) -> Outcome {
    let scene = Scene::set(subject).await?;
    let (store, order) = (&scene.store, workflow("order"));
    let begin = intend(&order, "pay", take("a"));
    let ticket = scene.fresh(&begin).await?;
    scene.flip(&order, 1).await?;
    let begun = store.begin(&begin).await.at("beginning what rotted")?;
    expect!(begun, Begun::Damaged { version: 1, .. } => {}, "beginning what rotted");
    let record = scene.complete(&ticket, "paid").await?;
    same!((record.version, record.parent), (2, Some(1)), "the outcome");
    same!(scene.summary(&order).await?.pending, 0, "how many steps are begun and not done");

    // But an attempt that was followed does not write over what came after, even if that rotted.
    let begin = intend(&order, "send", take("a"));
    let first = scene.fresh(&begin).await?;
    let intent = first.intent.at("the intent")?;
    let second = scene.fresh(&again(&begin, intent)).await?;
    scene.flip(&order, second.intent.at("the intent")?).await?;
    let late = store.complete(&first, done("late")).await;
    refused!(late, StoreError::Stale { .. }, "completing an attempt that was followed");
    let record = scene.complete(&second, "sent").await?;
    scene.flip(&order, record.version).await?;
    let late = store.complete(&second, done("another")).await;
    refused!(late, StoreError::Stale { .. }, "completing what was completed and rotted");
    let found = store.latest(&order, Some(&begin.step)).await.at("reading")?.at("the newest")?;
    same!(found.record.status, Status::Intent, "the newest intact record");
    Ok(())
}

pub(super) async fn what_rots_is_counted_for_what_it_was<S: Subject>(subject: &S) -> Outcome {
    let scene = Scene::set(subject).await?;
    for (name, lost) in [("rotten", false), ("lost", true)] {
        let order = workflow(name);
        let in_doubt = async |expected: u32, when: &str| {
            same!(scene.summary(&order).await?.pending, expected, "the steps in doubt {when}");
            Ok::<_, String>(())
        };
        let rot = async |version| match lost {
            true => scene.lose(&order, version).await,
            false => scene.flip(&order, version).await,
        };
        // An intent that rots, and is begun again in its place, is still one.
        let begin = intend(&order, "pay", take("a"));
        scene.fresh(&begin).await?;
        rot(1).await?;
        let ticket = scene.fresh(&again(&begin, 1)).await?;
        in_doubt(1, "after an intent that rotted was begun again").await?;
        scene.complete(&ticket, "paid").await?;
        in_doubt(0, "after it was done").await?;
        // An outcome that rots was none.
        rot(3).await?;
        let ticket = scene.fresh(&again(&begin, 3)).await?;
        in_doubt(1, "after an outcome that rotted was begun again").await?;
        scene.complete(&ticket, "paid").await?;
        // One that may be done twice takes the place of an intent.
        let begin = intend(&order, "look", take("a"));
        scene.fresh(&begin).await?;
        rot(6).await?;
        scene.step(&attempt(&order, "look", take("a")), "seen").await?;
        in_doubt(0, "after all was done").await?;
    }
    Ok(())
}

//! What is not as it was written is found.

use buttress::store::{Damage, Finding};

use super::*;

const FLIP: &str = "UPDATE record SET sealed = set_byte(sealed, 100, get_byte(sealed, 100) # 4) WHERE version = $1";

#[tokio::test]
async fn a_flipped_bit_of_a_record_is_found() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    for n in 1..=3 {
        store.append(state(&id, &n.to_string(), take("me"))).await.unwrap();
    }
    let client = scratch.client().await;
    assert_eq!(client.execute(FLIP, &[&3_i64]).await.unwrap(), 1);
    let finding = Finding { version: 3, damage: Damage::Digest };
    for step in [None, Some(&StepId::new("state"))] {
        let found = store.latest(&id, step).await.unwrap().unwrap();
        assert_eq!((found.record.version, found.newest), (2, 3));
        assert_eq!(found.skipped, [finding]);
    }
    assert!(matches!(store.get(&id, 3).await, Err(StoreError::Corrupt { version: Some(3), .. })));
    assert_eq!(store.verify(&id).await.unwrap().findings, [finding]);
    // It goes on, and from then on the newest is intact.
    store.append(state(&id, "4", take("me"))).await.unwrap();
    assert_eq!(store.latest(&id, None).await.unwrap().unwrap().record.version, 4);
}

#[tokio::test]
async fn a_damaged_outcome_is_in_doubt_and_not_fresh() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "me").await;
    let client = scratch.client().await;
    let begin = begin(&id, "pay", take("me"));
    for (change, damage) in [
        ("UPDATE record SET sealed = substr(sealed, 1, 90) WHERE version = 2", Damage::Digest),
        (
            "UPDATE record SET sealed = (SELECT sealed FROM record WHERE version = 1) WHERE version = 2",
            Damage::Misplaced,
        ),
        ("DELETE FROM record WHERE version = 2", Damage::Missing),
    ] {
        assert_eq!(client.execute(change, &[]).await.unwrap(), 1);
        match store.begin(&begin).await.unwrap() {
            Begun::Damaged { version: 2, damage: found, .. } => assert_eq!(found, damage),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            store.verify(&id).await.unwrap().findings.first().map(|at| at.damage),
            Some(damage)
        );
    }
}

/// In each way in which a row may be changed.
const CHANGES: [&str; 12] = [
    "epoch = epoch + 1",
    "owner = NULL, until = NULL",
    "owner = NULL",
    "latest = 1",
    "life = 'finished'",
    "life = 'gone'",
    "pending = -1",
    "born = born + 1000000",
    "workflow = 'strange'",
    "lineage = substr(lineage, 2)",
    "digest = set_bit(digest, 7, 1 - get_bit(digest, 7))",
    "seal = ''",
];

#[tokio::test]
async fn a_head_that_was_changed_is_put_together() {
    for change in CHANGES {
        let scratch = Scratch::new();
        // One connection is enough for all of it.
        let one = std::num::NonZeroUsize::MIN;
        let store = scratch.options().pool_size(one).connect(&scratch.url).await.unwrap();
        let (id, other) = (workflow("a"), workflow("b"));
        done(&store, &id, "pay", "me").await;
        store.append(state(&other, "todo", Claim::Shared)).await.unwrap();
        let before = store.summary(&id).await.unwrap().unwrap();
        let client = scratch.client().await;
        let damage = format!("UPDATE workflow SET {change} WHERE workflow = 'a'");
        assert_eq!(client.execute(&damage, &[]).await.unwrap(), 1);

        let found = store.verify(&id).await.unwrap().findings;
        assert_eq!(found, [Finding { version: 0, damage: Damage::Digest }], "{change}");
        let listed = store.list(None, None, 9).await.unwrap();
        assert_eq!(listed.len(), 2, "{change}");
        assert!(listed.iter().any(|summary| summary.workflow == other), "{change}");
        assert_eq!(store.get(&id, 2).await.unwrap().payload, payload("pay"), "{change}");
        assert_eq!(store.history(&id, 0, 9).await.unwrap().len(), 2, "{change}");
        let newest = store.latest(&id, None).await.unwrap().unwrap();
        assert_eq!(newest.record.version, 2, "{change}");
        let begun = store.begin(&begin(&id, "pay", take("me"))).await.unwrap();
        assert!(matches!(begun, Begun::Completed { .. }), "{change}: {begun:?}");
        // That mended it.
        assert_eq!(store.verify(&id).await.unwrap().findings, [], "{change}");
        let after = store.summary(&id).await.unwrap().unwrap();
        assert_eq!((after.latest, after.pending, after.life), (2, 0, Life::Open), "{change}");
        assert!(after.epoch > before.epoch, "{change}");
        done(&store, &id, "ship", "you").await;
        assert_eq!(store.verify(&id).await.unwrap().findings, [], "{change}");
    }
}

#[tokio::test]
async fn a_head_that_is_lost_does_not_make_its_steps_fresh() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "me").await;
    let client = scratch.client().await;
    client.batch_execute("DELETE FROM workflow").await.unwrap();
    assert_eq!(store.summary(&id).await.unwrap().unwrap().latest, 2);
    assert_eq!(store.get(&id, 2).await.unwrap().payload, payload("pay"));
    let refused = store.fork(&id, 2, &id).await;
    assert!(matches!(refused, Err(StoreError::Exists { .. })), "{refused:?}");
    let begun = store.begin(&begin(&id, "pay", take("me"))).await.unwrap();
    assert!(matches!(begun, Begun::Completed { .. }), "{begun:?}");
    assert_eq!(store.verify(&id).await.unwrap().findings, []);
    assert_eq!(store.list(None, None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_workflow_beyond_repair_does_not_keep_others_and_can_be_deleted() {
    let scratch = Scratch::new();
    let one = std::num::NonZeroUsize::MIN;
    let store = scratch.options().pool_size(one).connect(&scratch.url).await.unwrap();
    for n in 0..20 {
        done(&store, &workflow(&format!("{n:02}")), "pay", "me").await;
    }
    let (id, sound) = (workflow("00"), workflow("19"));
    let client = scratch.client().await;
    for table in ["workflow", "birth"] {
        let damage = format!("UPDATE {table} SET lineage = '' WHERE workflow <> '19'");
        assert_eq!(client.execute(&damage, &[]).await.unwrap(), 19);
    }
    client
        .batch_execute("UPDATE workflow SET owner = NULL, until = NULL WHERE workflow <> '19'")
        .await
        .unwrap();
    let corrupt =
        StoreError::Corrupt { workflow: id.clone(), version: None, damage: Damage::Digest };
    let begun = store.begin(&begin(&id, "pay", take("me"))).await;
    assert_eq!(begun, Err(corrupt.clone()), "under which key, nobody knows");
    assert_eq!(store.summary(&id).await, Err(corrupt.clone()));
    assert_eq!(store.verify(&id).await, Err(corrupt));
    assert_eq!(store.list(None, None, 99).await.unwrap().len(), 20);
    store.release(&store.acquire(&sound, &"me".into(), MINUTE).await.unwrap()).await.unwrap();
    let claimed = store.claim("shop", &"me".into(), MINUTE).await.unwrap();
    assert_eq!(claimed.map(|lease| lease.workflow), Some(sound), "behind all the others");
    assert_eq!(store.prune(None).await.unwrap().workflows, 0);
    store.delete(&id).await.unwrap();
    assert_eq!(store.summary(&id).await.unwrap().unwrap().life, Life::Deleted);
    let begun = store.begin(&begin(&id, "pay", take("me"))).await;
    assert!(matches!(begun, Err(StoreError::Deleted { .. })), "{begun:?}");
    let left = client.query_one("SELECT count(*) FROM record", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 19 * 2, "and its records are gone");
}

#[tokio::test]
async fn a_lost_birth_is_found_before_it_is_needed() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "me").await;
    let client = scratch.client().await;
    client.batch_execute("UPDATE birth SET lineage = ''").await.unwrap();
    let found = store.verify(&id).await.unwrap().findings;
    assert_eq!(found, [Finding { version: 0, damage: Damage::Digest }]);
    done(&store, &id, "ship", "me").await;
    store.delete(&id).await.unwrap();
    assert_eq!(store.verify(&id).await.unwrap().findings, [], "a stone has none");
    let left = client.query_one("SELECT count(*) FROM birth", &[]).await.unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn several_at_once_put_a_head_together_once() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "me").await;
    let client = scratch.client().await;
    client.batch_execute("UPDATE workflow SET pending = 7").await.unwrap();
    let mut all = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (store, id) = (store.clone(), id.clone());
        all.spawn(async move {
            store.append(state(&id, &n.to_string(), Claim::Shared)).await.unwrap();
        });
    }
    all.join_all().await;
    let summary = store.summary(&id).await.unwrap().unwrap();
    assert_eq!((summary.latest, summary.pending), (10, 0));
    assert_eq!(store.verify(&id).await.unwrap().findings, []);
}

#[tokio::test]
async fn a_head_that_was_turned_back_is_not_written_upon() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    let client = scratch.client().await;
    store.append(state(&id, "1", take("me"))).await.unwrap();
    client.batch_execute("CREATE TEMP TABLE before AS SELECT * FROM workflow").await.unwrap();
    store.append(state(&id, "2", take("me"))).await.unwrap();
    client
        .batch_execute("DELETE FROM workflow; INSERT INTO workflow SELECT * FROM before")
        .await
        .unwrap();
    let refused = store.append(state(&id, "other", take("me"))).await.unwrap_err();
    assert!(refused.to_string().contains("there is a version already"), "{refused}");
    assert_eq!(store.get(&id, 2).await.unwrap().payload, payload("2"));
    let damage = store.verify(&id).await.unwrap().findings;
    assert_eq!(damage.first().map(|finding| finding.version), Some(2));
}

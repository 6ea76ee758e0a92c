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

#[tokio::test]
async fn a_head_that_was_changed_by_hand_is_found() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let (id, other) = (workflow("a"), workflow("b"));
    done(&store, &id, "pay", "me").await;
    store.append(state(&other, "todo", Claim::Shared)).await.unwrap();
    let client = scratch.client().await;
    for change in [
        "epoch = epoch + 1",
        "owner = NULL, until = NULL",
        "owner = NULL",
        "latest = 1",
        "life = 'finished'",
        "life = 'gone'",
        "pending = -1",
        "lineage = substr(lineage, 2)",
        "digest = set_bit(digest, 7, 1 - get_bit(digest, 7))",
        "seal = ''",
    ] {
        client.batch_execute("CREATE TEMP TABLE before AS SELECT * FROM workflow").await.unwrap();
        let damage = format!("UPDATE workflow SET {change} WHERE workflow = 'a'");
        assert_eq!(client.execute(&damage, &[]).await.unwrap(), 1);
        let found = store.begin(&begin(&id, "ship", take("me"))).await;
        assert!(
            matches!(found, Err(StoreError::Corrupt { version: None, .. })),
            "{change}: {found:?}"
        );
        assert!(matches!(store.verify(&id).await, Err(StoreError::Corrupt { .. })), "{change}");
        // What it did can still be read, and others are not held up.
        assert_eq!(store.get(&id, 2).await.unwrap().payload, payload("pay"));
        let claimed = store.claim("shop", &"me".into(), MINUTE).await.unwrap();
        assert_eq!(claimed.map(|lease| lease.workflow), Some(other.clone()), "{change}");
        client
            .batch_execute(
                "DELETE FROM workflow; INSERT INTO workflow SELECT * FROM before; DROP TABLE before",
            )
            .await
            .unwrap();
    }
    assert!(matches!(
        store.begin(&begin(&id, "pay", take("me"))).await.unwrap(),
        Begun::Completed { .. }
    ));
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

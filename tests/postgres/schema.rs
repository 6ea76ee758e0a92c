//! The schema is made, and brought up to date, by whoever connects.

use tokio::task::JoinSet;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_make_one_schema() {
    let scratch = Scratch::new();
    let mut starting = JoinSet::new();
    for n in 0..8 {
        let (options, url) = (scratch.options(), scratch.url.clone());
        starting.spawn(async move {
            let store = options.connect(&url).await.unwrap();
            done(&store, &workflow(&n.to_string()), "pay", "me").await;
        });
    }
    starting.join_all().await;
    let client = scratch.client().await;
    let versions = client.query("SELECT version FROM format ORDER BY version", &[]).await.unwrap();
    let versions: Vec<i32> = versions.iter().map(|row| row.get(0)).collect();
    assert_eq!(versions, [1, 2, 3], "each step once");
    assert_eq!(scratch.store().await.list(None, None, 99).await.unwrap().len(), 8);
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_and_keeps_what_it_holds() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    done(&store, &id, "pay", "me").await;
    let doubt = fresh(store.begin(&begin(&id, "ship", take("me"))).await.unwrap());
    let client = scratch.client().await;
    // As version 1 left it.
    client
        .batch_execute(
            "DROP VIEW overview; DROP TABLE birth; ALTER TABLE step DROP COLUMN begun; \
             DELETE FROM format WHERE version > 1",
        )
        .await
        .unwrap();
    drop(store);
    let store = scratch.store().await;
    client.query_one("SELECT FROM overview", &[]).await.unwrap();
    assert!(matches!(
        store.begin(&begin(&id, "pay", take("me"))).await.unwrap(),
        Begun::Completed { .. }
    ));
    assert_eq!(store.verify(&id).await.unwrap().findings, []);
    client
        .batch_execute(
            "UPDATE workflow SET digest = ''; UPDATE record SET sealed = '' WHERE version = 3",
        )
        .await
        .unwrap();
    let summary = store.summary(&id).await.unwrap().unwrap();
    assert_eq!((summary.latest, summary.pending), (3, 1));
    let begun = store.begin(&begin(&id, "ship", take("me"))).await.unwrap();
    assert!(
        matches!(begun, Begun::Damaged { version: 3, key, .. } if key == doubt.key),
        "{begun:?}"
    );
}

#[tokio::test]
async fn an_empty_schema_is_filled() {
    let scratch = Scratch::new();
    let client = client(&scratch.url).await;
    client.batch_execute(&format!("CREATE SCHEMA {}", scratch.schema)).await.unwrap();
    done(&scratch.store().await, &workflow("a"), "pay", "me").await;
}

#[tokio::test]
async fn a_step_that_fails_half_way_leaves_the_version_before() {
    let scratch = Scratch::new();
    let client = client(&scratch.url).await;
    let schema = &scratch.schema;
    // In the way of the first step, after its first tables.
    let obstacle = format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.step (mine integer)");
    client.batch_execute(&obstacle).await.unwrap();
    let error = scratch.options().connect(&scratch.url).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1";
    assert_eq!(client.query_one(tables, &[schema]).await.unwrap().get::<_, i64>(0), 1);
    client.batch_execute(&format!("DROP TABLE {schema}.step")).await.unwrap();
    done(&scratch.store().await, &workflow("a"), "pay", "me").await;
}

#[tokio::test]
async fn a_schema_of_a_later_release_is_left_alone() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let client = scratch.client().await;
    client.batch_execute("INSERT INTO format (version) VALUES (7)").await.unwrap();
    let error = scratch.options().connect(&scratch.url).await.unwrap_err();
    let StoreError::Engine(trouble) = &error else { panic!("{error:?}") };
    assert_eq!(trouble.kind, buttress::store::TroubleKind::Format);
    assert!(error.to_string().contains("is of version 7"), "{error}");
    // One that runs already goes on.
    done(&store, &workflow("a"), "pay", "me").await;
}

#[tokio::test]
async fn schemas_do_not_know_of_each_other_whatever_they_are_called() {
    let (one, mut two) = (Scratch::new(), Scratch::new());
    two.schema = format!("{}\"'$$;--", two.schema);
    let store = two.store().await;
    done(&store, &workflow("a"), "pay", "me").await;
    assert_eq!(one.store().await.list(None, None, 9).await.unwrap(), []);
    assert_eq!(store.list(None, None, 9).await.unwrap().len(), 1);
    let client = client(&two.url).await;
    let drop = format!("DROP SCHEMA \"{}\" CASCADE", two.schema.replace('"', "\"\""));
    client.batch_execute(&drop).await.unwrap();
    for name in ["", &"x".repeat(64)] {
        let refused = one.options().schema(name).connect(&one.url).await;
        assert!(matches!(refused, Err(StoreError::Invalid { .. })));
    }
}

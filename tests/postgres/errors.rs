//! One clear message for each thing that can be wrong, and never the password.

use std::error::Error;

use buttress::store::TroubleKind;
use buttress_store::PostgresStore;

use super::*;
use crate::support::postgres::Cluster;

const SECRET: &str = "s3cr3t";

/// What is told in all ways in which an error can be told.
fn told(error: &StoreError) -> String {
    let mut told = format!("{error}\n{error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!("\n{error}\n{error:?}");
        source = error.source();
    }
    told
}

fn assert_told(error: &StoreError, kind: TroubleKind, words: &str) {
    let StoreError::Engine(trouble) = error else { unreachable!("{error:?}") };
    assert_eq!(trouble.kind, kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!error.to_string().contains('\n'), "one line: {error}");
    let told = told(error);
    assert!(!told.contains(SECRET), "{told}");
}

/// A URL of the same server with another name of a role, a database or a setting.
fn with(url: &str, changes: &str) -> String {
    format!("{url}{}{changes}", if url.contains('?') { "&" } else { "?" })
}

#[tokio::test]
async fn a_wrong_connection_string() {
    for url in [
        "",
        "sqlite:agent.db",
        &format!("postgresql://me:{SECRET}@host:port/db"),
        &format!("host=localhost password=a {SECRET} user=me"),
        &format!("postgresql://me:{SECRET}@host/db?{SECRET}=1"),
    ] {
        let error = PostgresStore::connect(url).await.unwrap_err();
        let StoreError::Engine(trouble) = &error else { panic!("{error:?}") };
        assert_eq!(trouble.kind, TroubleKind::Other, "{url}: {error}");
        assert!(!told(&error).contains(SECRET), "{url}: {}", told(&error));
    }
    let error = PostgresStore::connect("host=localhost sslmode=verify").await.unwrap_err();
    assert_told(&error, TroubleKind::Other, "the connection string cannot be read");
}

#[tokio::test]
async fn encryption_that_this_way_does_not_have() {
    let url = format!("postgresql://me:{SECRET}@db.example/app?sslmode=require");
    let error = PostgresStore::connect(&url).await.unwrap_err();
    assert_told(&error, TroubleKind::Other, "PostgresStore::from_pool");
}

#[tokio::test]
async fn a_host_out_of_reach() {
    // Port 1 is nobody's; the password with an @ runs over into the host.
    for (url, named) in [
        (format!("postgresql://me:{SECRET}@127.0.0.1:1/app"), "127.0.0.1:1"),
        (format!("postgresql:///app?host=/nowhere&user=me&password={SECRET}"), "/nowhere"),
        (format!("postgresql://me:a@{SECRET}@host.invalid/app"), "host.invalid"),
    ] {
        let error = PostgresStore::connect(&url).await.unwrap_err();
        assert_told(&error, TroubleKind::Unreachable, named);
        assert!(error.to_string().contains("cannot be reached"), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_says_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgresql://me:{SECRET}@{}/app", silent.local_addr().unwrap());
    let options =
        buttress_store::postgres::Options::new().connect_timeout(Duration::from_millis(200));
    let error = options.connect(&url).await.unwrap_err();
    assert_told(&error, TroubleKind::Unreachable, "did not answer in time");
}

#[tokio::test]
async fn a_password_that_is_wrong_or_missing_and_a_role_that_there_is_not() {
    let cluster = Cluster::start();
    let admin = client(&cluster.url).await;
    admin.batch_execute("CREATE ROLE me LOGIN PASSWORD 'right'").await.unwrap();
    std::fs::write(
        cluster.file("pg_hba.conf"),
        "local all postgres trust\nlocal all all scram-sha-256\n",
    )
    .unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let url = cluster.url.replace("user=postgres", "user=me");
    // The setting is read by another process.
    let error = loop {
        match PostgresStore::connect(&with(&url, &format!("password={SECRET}"))).await {
            Err(error) if error.to_string().contains("password") => break error,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_told(&error, TroubleKind::Denied, "refuses the password of `me`");
    let error = PostgresStore::connect(&url).await.unwrap_err();
    assert_told(&error, TroubleKind::Denied, "asks for a password of `me`, and none was given");
    let url = cluster.url.replace("user=postgres", "user=nobody");
    let error =
        PostgresStore::connect(&with(&url, &format!("password={SECRET}"))).await.unwrap_err();
    assert_told(&error, TroubleKind::Denied, "`nobody`");
}

#[tokio::test]
async fn a_database_that_there_is_not() {
    let url = with(&url(), "dbname=nowhere");
    let error = PostgresStore::connect(&url).await.unwrap_err();
    assert_told(&error, TroubleKind::Other, "has no database `nowhere`");
}

#[tokio::test]
async fn rights_that_do_not_suffice() {
    let scratch = Scratch::new();
    let admin = client(&scratch.url).await;
    let role = format!("{}_role", scratch.schema);
    let (schema, options) = (&scratch.schema, || scratch.options());
    admin.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let url = with(&scratch.url, &format!("user={role}"));
    let id = workflow("a");

    let error = options().connect(&url).await.unwrap_err();
    assert_told(&error, TroubleKind::Denied, "CREATE on the database");

    done(&scratch.store().await, &id, "pay", "me").await;
    let error = options().connect(&url).await.unwrap_err();
    assert_told(&error, TroubleKind::Denied, "USAGE on the schema");

    // Who may only read reads.
    let grant = format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    admin.batch_execute(&grant).await.unwrap();
    let reader = options().connect(&url).await.unwrap();
    assert_eq!(reader.get(&id, 2).await.unwrap().payload, payload("pay"));
    let error = reader.append(state(&id, "s", take("me"))).await.unwrap_err();
    assert_told(&error, TroubleKind::Denied, "SELECT, INSERT, UPDATE and DELETE on its tables");

    let grant = format!(
        "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    );
    admin.batch_execute(&grant).await.unwrap();
    reader.append(state(&id, "s", take("me"))).await.unwrap();
    reader.delete(&id).await.unwrap();
    drop(reader);
    let clean = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    admin.batch_execute(&clean).await.unwrap();
}

#[tokio::test]
async fn a_server_that_only_reads() {
    let scratch = Scratch::new();
    let id = workflow("a");
    let read_only = with(&scratch.url, "options=-c%20default_transaction_read_only%3Don");
    let error = scratch.options().connect(&read_only).await.unwrap_err();
    assert_told(&error, TroubleKind::ReadOnly, "is read-only");
    done(&scratch.store().await, &id, "pay", "me").await;
    let store = scratch.options().connect(&read_only).await.unwrap();
    assert_eq!(store.get(&id, 2).await.unwrap().payload, payload("pay"));
    let error = store.append(state(&id, "s", take("me"))).await.unwrap_err();
    assert_told(&error, TroubleKind::ReadOnly, "connect to the primary");
}

/// As the server says it: a trigger stands for a disk that has no room for a record.
#[tokio::test]
async fn a_disk_that_is_full() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let id = workflow("a");
    let client = scratch.client().await;
    client
        .batch_execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'could not extend file \"base/5/16390\": No space left on device' \
             USING ERRCODE = '53100'; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON record EXECUTE FUNCTION full_disk()",
        )
        .await
        .unwrap();
    let error = store.begin(&begin(&id, "pay", take("me"))).await.unwrap_err();
    assert_told(&error, TroubleKind::Full, "the disk of the server is full");
    // Nothing of it was written, and there is room again.
    assert_eq!(store.summary(&id).await.unwrap(), None);
    client.batch_execute("DROP TRIGGER full_disk ON record").await.unwrap();
    done(&store, &id, "pay", "me").await;
}

#[tokio::test]
async fn a_schema_that_was_dropped() {
    let scratch = Scratch::new();
    let store = scratch.store().await;
    let client = scratch.client().await;
    client.batch_execute(&format!("DROP SCHEMA {} CASCADE", scratch.schema)).await.unwrap();
    let error = store.begin(&begin(&workflow("a"), "pay", take("me"))).await.unwrap_err();
    assert_told(&error, TroubleKind::Damaged, "is not there any more");
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_name() {
    let scratch = Scratch::new();
    let admin = client(&scratch.url).await;
    let name = &scratch.schema;
    let create = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    admin.batch_execute(&create).await.unwrap();
    let refused = PostgresStore::connect(&with(&scratch.url, &format!("dbname={name}"))).await;
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    assert_told(&refused.unwrap_err(), TroubleKind::Other, "is encoded in LATIN1");
}

#[tokio::test]
async fn a_pool_that_is_busy_and_one_that_is_closed() {
    let scratch = Scratch::new();
    let one = std::num::NonZeroUsize::MIN;
    drop(scratch.store().await);
    let quick = Duration::from_secs(3);
    let store =
        scratch.options().pool_size(one).timeout(quick).connect(&scratch.url).await.unwrap();
    let busy = store.pool().get().await.unwrap();
    let error = store.summary(&workflow("a")).await.unwrap_err();
    assert_told(&error, TroubleKind::Unreachable, "all connections of the pool were busy for 3s");
    drop(busy);
    assert_eq!(store.summary(&workflow("a")).await.unwrap(), None);
    store.pool().close();
    let error = store.summary(&workflow("a")).await.unwrap_err();
    assert_told(&error, TroubleKind::Other, "closed");
}

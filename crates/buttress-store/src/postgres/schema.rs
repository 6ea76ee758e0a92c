//! The tables, and how they came to be as they are.

use deadpool_postgres::Object;
use tokio_postgres::{Error, IsolationLevel};

/// Each makes the next version of the schema, which alone is searched for names. What was released is never changed: another is added.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];

/// The version that this release reads and writes.
pub(super) const KNOWN: i32 = MIGRATIONS.len() as i32;

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The version of the schema; 0 if there is none.
pub(super) async fn version(client: &Object, schema: &str) -> Result<i32, Error> {
    let found = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = 'format')";
    if !client.query_one(found, &[&schema]).await?.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let newest = format!("SELECT coalesce(max(version), 0) FROM {}.format", quoted(schema));
    client.query_one(&newest, &[]).await?.try_get(0)
}

/// Makes of the schema what this release knows, and returns the version that it has then.
///
/// Of several processes at once one does it, and the others wait. A newer version is left alone.
pub(super) async fn migrate(client: &mut Object, schema: &str) -> Result<i32, Error> {
    let found = version(client, schema).await?;
    if found >= KNOWN {
        return Ok(found);
    }
    // Whoever waited for the lock must see what was done meanwhile, whatever the server's default.
    let level = IsolationLevel::ReadCommitted;
    let transaction = client.build_transaction().isolation_level(level).start().await?;
    // A lost migration would be told by what was written after it.
    transaction.batch_execute("SET LOCAL synchronous_commit = on").await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('buttress schema ' || $1, 0))";
    transaction.execute(lock, &[&schema]).await?;
    let name = quoted(schema);
    let exists = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    // Even `IF NOT EXISTS` wants the right to create one.
    if !transaction.query_one(exists, &[&schema]).await?.try_get::<_, bool>(0)? {
        transaction.batch_execute(&format!("CREATE SCHEMA {name}")).await?;
    }
    let format = format!(
        "SET LOCAL search_path = {name}; CREATE TABLE IF NOT EXISTS format \
         (version integer PRIMARY KEY, since timestamptz NOT NULL DEFAULT clock_timestamp())"
    );
    transaction.batch_execute(&format).await?;
    let newest = "SELECT coalesce(max(version), 0) FROM format";
    // Another may have been here while we waited.
    let found: i32 = transaction.query_one(newest, &[]).await?.try_get(0)?;
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        transaction.batch_execute(migration).await?;
        transaction.execute("INSERT INTO format (version) VALUES ($1)", &[&version]).await?;
    }
    transaction.commit().await?;
    Ok(found.max(KNOWN))
}

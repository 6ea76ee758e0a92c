//! A connection for the time of one operation.

use deadpool_postgres::Object;
use tokio_postgres::{Error, Row, error::SqlState, types::ToSql};

/// A connection that goes back to the pool only when nothing is under way on it.
///
/// If the operation is dropped while the server works, the connection is closed: the next one would
/// wait behind it, and if the server is not there any more, for long. What the server has begun it
/// ends, or not; there is no transaction that it would leave open.
pub(super) struct Session {
    client: Option<Object>,
    working: bool,
}

impl Session {
    pub(super) const fn new(client: Object) -> Self {
        Self { client: Some(client), working: false }
    }

    /// Sends a statement, and waits for its answer.
    pub(super) async fn query(
        &mut self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let client = self.client.as_ref().expect("only `drop` takes it");
        self.working = true;
        let answer = async {
            let prepared = client.prepare_cached(statement).await?;
            client.query(&prepared, parameters).await
        }
        .await;
        self.working = match &answer {
            Ok(_) => false,
            // An error that the server told is an answer too. One that writes nothing is left: the next
            // connection may find another.
            Err(error) => error
                .as_db_error()
                .is_none_or(|told| *told.code() == SqlState::READ_ONLY_SQL_TRANSACTION),
        };
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.working
            && let Some(client) = self.client.take()
        {
            drop(Object::take(client));
        }
    }
}

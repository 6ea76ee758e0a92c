//! The store on PostgreSQL, under the conformance suite.

use std::error::Error;

use buttress_store::{
    PostgresStore,
    conformance::{Change, Subject},
};

use super::*;

struct Postgres;

impl Subject for Postgres {
    type Store = PostgresStore;
    type Home = Scratch;

    async fn home(&self) -> Result<Scratch, Box<dyn Error + Send + Sync>> {
        Ok(Scratch::new())
    }

    async fn open(
        &self,
        home: &Scratch,
        retention: Retention,
    ) -> Result<PostgresStore, Box<dyn Error + Send + Sync>> {
        Ok(home.options().retention(retention).connect(&home.url).await?)
    }

    async fn tamper(
        &self,
        home: &Scratch,
        _: &PostgresStore,
        id: &WorkflowId,
        version: u64,
        change: Change<'_>,
    ) -> bool {
        let client = home.client().await;
        let born = "SELECT born FROM workflow WHERE namespace = $1 AND workflow = $2";
        let Some(row) = client.query_opt(born, &[&&*id.namespace, &&*id.workflow]).await.unwrap()
        else {
            return false;
        };
        let (born, version): (i64, _) = (row.get(0), version as i64);
        let sealed = "SELECT sealed FROM record WHERE born = $1 AND version = $2";
        let Some(row) = client.query_opt(sealed, &[&born, &version]).await.unwrap() else {
            return false;
        };
        match change(row.get(0)) {
            Some(bytes) => {
                let damage = "UPDATE record SET sealed = $3 WHERE born = $1 AND version = $2";
                client.execute(damage, &[&born, &version, &bytes]).await.unwrap()
            }
            None => {
                let loss = "DELETE FROM record WHERE born = $1 AND version = $2";
                client.execute(loss, &[&born, &version]).await.unwrap()
            }
        };
        true
    }

    async fn behead(&self, home: &Scratch, id: &WorkflowId) -> bool {
        let damage = "UPDATE workflow SET digest = set_bit(digest, 7, 1 - get_bit(digest, 7)) \
                      WHERE namespace = $1 AND workflow = $2";
        home.client().await.execute(damage, &[&&*id.namespace, &&*id.workflow]).await.unwrap() == 1
    }

    async fn pass(&self, time: Duration) {
        // The clock that counts is that of the server.
        let client = client(&url()).await;
        let clock = async || {
            let clock = "SELECT extract(epoch FROM clock_timestamp())::float8";
            client.query_one(clock, &[]).await.unwrap().get::<_, f64>(0)
        };
        let until = clock().await + time.as_secs_f64();
        while clock().await < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

buttress_store::conformance_tests! { #[tokio::test(flavor = "multi_thread", worker_threads = 2)] Postgres }

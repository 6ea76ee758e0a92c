//! A server to test against, and a schema of it for each test.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use buttress_store::{PostgresStore, postgres::Options};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// The server that `scripts/postgres` started for the tests, or that was there before.
pub(crate) fn url() -> String {
    std::env::var("BUTTRESS_POSTGRES").expect(
        "needs PostgreSQL: use ./scripts/test, or ./scripts/postgres run cargo nextest run ..",
    )
}

/// A connection beside the store.
pub(crate) async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A schema that is gone with the test.
pub(crate) struct Scratch {
    pub(crate) url: String,
    pub(crate) schema: String,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self::on(url())
    }

    pub(crate) fn on(url: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Other machines may test on the same server.
        let (process, word) = (std::process::id(), RandomState::new().build_hasher().finish());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self { url, schema: format!("test_{process}_{count}_{word:016x}") }
    }

    pub(crate) fn options(&self) -> Options {
        Options::new().schema(&self.schema)
    }

    pub(crate) async fn store(&self) -> PostgresStore {
        self.options().connect(&self.url).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        let client = client(&self.url).await;
        client.batch_execute(&format!("SET search_path = {}", self.schema)).await.unwrap();
        client
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (url, schema) = (self.url.clone(), self.schema.clone());
        // Not on the runtime of the test, which may be about to end.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                    tokio::spawn(connection);
                    // A test that failed may hold locks yet, on a connection that nobody drives any more.
                    let drop =
                        format!("SET lock_timeout = '3s'; DROP SCHEMA IF EXISTS {schema} CASCADE");
                    client.batch_execute(&drop).await.ok();
                }
            });
        });
        dropped.join().ok();
    }
}

/// A server that a test may stop, and start again.
pub(crate) struct Cluster {
    directory: TempDir,
    pub(crate) url: String,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        // Short, for the name of a socket.
        let directory = tempfile::Builder::new().prefix("bt").tempdir_in("/tmp").unwrap();
        let mut cluster = Self { directory, url: String::new() };
        cluster.url = cluster.restart();
        cluster
    }

    pub(crate) fn restart(&self) -> String {
        let output = self.run("start");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Kills all its processes.
    pub(crate) fn kill(&self) {
        self.run("kill");
    }

    pub(crate) fn stop(&self) {
        self.run("stop");
    }

    /// Starts it again with more settings.
    pub(crate) fn set(&self, settings: &str) {
        self.stop();
        let file = self.file("postgresql.conf");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{before}{settings}\n")).unwrap();
        self.restart();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }

    fn run(&self, command: &str) -> Output {
        let output = self.script(command);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn script(&self, command: &str) -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");
        Command::new(script).arg(command).arg(self.directory.path()).output().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Quicker than to stop it, and it may not run.
        self.script("kill");
    }
}

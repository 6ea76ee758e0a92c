//! A way to the server that may be cut, or fall silent.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split},
    net::{TcpStream, UnixListener, UnixStream},
};
use tokio_postgres::{Config, config::Host};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// Stands before a server; what connects to its URL is passed on.
pub(super) struct Proxy {
    directory: TempDir,
    config: Config,
    rules: Arc<Rules>,
}

#[derive(Default)]
struct Rules {
    /// After so many bytes this way the connection is cut, once.
    cut: Mutex<Option<(Way, usize)>>,
    connections: AtomicU64,
    /// Those before it pass nothing on any more, and are not closed either.
    silent_before: AtomicU64,
}

impl Rules {
    /// How much of so many bytes passes, and whether the connection is cut then.
    fn pass(&self, way: Way, bytes: usize) -> (usize, bool) {
        let mut cut = self.cut.lock().unwrap();
        match &mut *cut {
            Some((armed, left)) if *armed == way => {
                let passed = bytes.min(*left);
                *left -= passed;
                if passed < bytes || *left == 0 {
                    *cut = None;
                    return (passed, true);
                }
                (passed, false)
            }
            _ => (bytes, false),
        }
    }

    async fn carry(
        &self,
        way: Way,
        number: u64,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            if number < self.silent_before.load(Ordering::SeqCst) {
                // It takes what comes, as a network would for a while.
                copy(&mut from, &mut tokio::io::sink()).await.ok();
                std::future::pending::<()>().await;
            }
            let (passed, cut) = self.pass(way, read);
            if to.write_all(&buffer[..passed]).await.is_err() || cut {
                return;
            }
        }
    }
}

impl Proxy {
    pub(super) fn before(url: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("bp").tempdir_in("/tmp").unwrap();
        let config: Config = url.parse().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let proxy = Self { directory, config, rules: Arc::default() };
        let (rules, host) = (proxy.rules.clone(), proxy.config.get_hosts()[0].clone());
        let port = proxy.config.get_ports().first().copied().unwrap_or(5432);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (rules, host) = (rules.clone(), host.clone());
                let number = rules.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    match host {
                        Host::Tcp(host) => {
                            let server = TcpStream::connect((host.as_str(), port)).await;
                            join(&rules, number, client, server.unwrap()).await;
                        }
                        Host::Unix(path) => {
                            let path = path.join(format!(".s.PGSQL.{port}"));
                            // It may be down: then so is this way.
                            if let Ok(server) = UnixStream::connect(path).await {
                                join(&rules, number, client, server).await;
                            }
                        }
                    }
                });
            }
        });
        proxy
    }

    pub(super) fn url(&self) -> String {
        let host = self.directory.path().display();
        let mut url = format!("host={host} port=5432");
        if let Some(user) = self.config.get_user() {
            url += &format!(" user={user}");
        }
        if let Some(database) = self.config.get_dbname() {
            url += &format!(" dbname={database}");
        }
        if let Some(password) = self.config.get_password() {
            url += &format!(" password='{}'", String::from_utf8_lossy(password));
        }
        url
    }

    /// Cuts the connection that has carried so many more bytes.
    pub(super) fn cut_after(&self, way: Way, bytes: usize) {
        *self.rules.cut.lock().unwrap() = Some((way, bytes));
    }

    /// Cuts nothing any more. Says whether it was still to be done.
    pub(super) fn spare(&self) -> bool {
        self.rules.cut.lock().unwrap().take().is_some()
    }

    /// All that are connected hear nothing any more; others do.
    pub(super) fn silence(&self) {
        let connections = self.rules.connections.load(Ordering::SeqCst);
        self.rules.silent_before.store(connections, Ordering::SeqCst);
    }
}

async fn join(
    rules: &Rules,
    number: u64,
    client: UnixStream,
    server: impl AsyncRead + AsyncWrite + Unpin,
) {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    tokio::select! {
        () = rules.carry(Way::ToServer, number, from_client, to_server) => {}
        () = rules.carry(Way::ToClient, number, from_server, to_client) => {}
    }
}

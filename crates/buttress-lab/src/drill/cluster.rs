//! A database server that may be killed.

use std::{
    fmt, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Failure;
use crate::store::At;

/// What knows how to start, kill and stop one.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres");

/// A PostgreSQL server of the drill's own, in a directory of its own: nobody else's is ever killed.
///
/// It is stopped, and its directory removed, when the last clone is dropped.
#[derive(Clone)]
pub struct Cluster {
    home: Arc<Home>,
    url: String,
}

impl Cluster {
    /// Makes one and starts it.
    pub async fn start() -> Result<Self, Failure> {
        // Not where temporary files are by default: that may be too long for a socket, or closed to the
        // server's user.
        let home = tempfile::Builder::new().prefix("buttress-drill").tempdir_in("/tmp");
        let home = home.map_err(|error| Failure(format!("/tmp: {error}")))?;
        let home = Arc::new(Home(home));
        let starting = home.clone();
        let started = spawn_blocking(move || starting.tell("start")).await;
        let url = started.map_err(|error| Failure(error.to_string()))??;
        Ok(Self { home, url })
    }

    /// Where it is.
    pub fn at(&self) -> At {
        At::Postgres(self.url.clone())
    }

    /// Kills all of its processes at once, and starts it again.
    pub(super) fn crash(&self) -> JoinHandle<Result<(), Failure>> {
        // The directory stays until this is over, whoever is dropped meanwhile.
        let home = self.home.clone();
        spawn_blocking(move || {
            home.tell("kill")?;
            home.tell("start").map(drop)
        })
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.home.0.path()).finish()
    }
}

struct Home(TempDir);

impl Home {
    fn tell(&self, what: &str) -> Result<String, Failure> {
        tell(what, self.0.path())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // One that never started is not to be stopped; there is nobody to be told of it.
        let _ = tell("stop", self.0.path());
    }
}

fn tell(what: &str, home: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure(format!("{SCRIPT}: {error}"));
    let mut command = Command::new(SCRIPT);
    // Of its own, so that a Ctrl-C does not leave half of it behind.
    command.arg(what).arg(home).stdin(Stdio::null()).process_group(0);
    let output = command.output().map_err(failed)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Failure(format!(
            "cannot {what} a server in {}: {}",
            home.display(),
            words.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! Stores by their address.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use buttress::store::{Retention, Store, StoreError, TroubleKind};
use buttress_store::redb;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A file.
    File(PathBuf),
    /// A PostgreSQL server, by its URL.
    Postgres(String),
}

impl FromStr for At {
    type Err = std::convert::Infallible;

    /// What could be meant for a server is no file: its name would be printed, with the password in it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = ["host=", "hostaddr=", "user=", "password=", "dbname="];
        let mut told = text.split_whitespace();
        let server = text.contains("://")
            || told.any(|part| words.iter().any(|word| part.starts_with(word)));
        Ok(if server { Self::Postgres(text.to_owned()) } else { Self::File(text.into()) })
    }
}

impl At {
    /// The name of its engine in lower case.
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::File(_) => "redb",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// How long workflows stay when a store is pruned; what is `None` is not pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    /// Ended and deleted ones.
    pub ended: Option<Duration>,
    /// Those that go on.
    pub open: Option<Duration>,
}

/// Opens a store that is there. A file is not made, nor filled: a typing error is no store.
pub async fn open(at: &At, ages: Ages) -> Result<Arc<dyn Store>, StoreError> {
    let retention = Retention { ended: ages.ended, open: ages.open, ..Retention::default() };
    match at {
        At::File(path) if !path.exists() => {
            Err(nothing(format!("{}: there is no such file", path.display())))
        }
        At::File(path) if path.metadata().is_ok_and(|file| file.is_file() && file.len() == 0) => {
            Err(nothing(format!("{}: the file is empty", path.display())))
        }
        At::File(path) => Ok(Arc::new(redb::Options::new().retention(retention).open(path)?)),
        At::Postgres(url) => {
            let options = buttress_store::postgres::Options::new().retention(retention);
            Ok(Arc::new(options.connect(url).await?))
        }
    }
}

fn nothing(message: String) -> StoreError {
    StoreError::engine(TroubleKind::Other, message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_a_password_is_no_file() {
        let file = |text: &str| matches!(text.parse(), Ok(At::File(_)));
        for text in ["state.redb", "./a=b", "/srv/my host/state.redb", "postgres"] {
            assert!(file(text), "{text}");
        }
        for text in [
            "postgresql://u:p@h/d",
            "POSTGRES://u:p@h",
            "pg://u:p@h",
            "host=h password=p",
            "password=p",
        ] {
            assert!(!file(text), "{text}");
        }
    }
}

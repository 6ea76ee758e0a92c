//! What participants are asked, and what they answer.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::protocol::{Decision, Vote};

/// A request to a participant, about one transaction.
///
/// Whatever a participant is asked, it may be asked again, and late: after a crash, by another coordinator, out
/// of order. It answers by the id. It keeps what became of an id, also of one that it was
/// told to abort before it was asked to prepare: [`Standing::after`] is the rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transaction<P> {
    /// The transaction: the same for all its participants, never used for another one.
    pub id: String,
    /// What is asked.
    pub ask: Ask<P>,
}

/// What a participant is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask<P> {
    /// Make durable whatever is needed to do this for certain, or not to do it, as will be said.
    Prepare(P),
    /// Do what was prepared.
    Commit,
    /// Undo what was prepared.
    Abort,
    /// Say how it stands, and change nothing.
    Status,
}

/// How a transaction stands at a participant. It is durable before it is told.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Never heard of it.
    #[default]
    Unknown,
    /// It can be committed, and it can be aborted.
    Prepared,
    /// It is done.
    Committed,
    /// It is not done, and never will be.
    Aborted,
}

impl Standing {
    /// How it stands after something was asked, where [`Ask::Prepare`] says whether that is possible.
    ///
    /// | | prepare | commit | abort | status |
    /// |---|---|---|---|---|
    /// | `Unknown` | `Prepared`, or `Aborted` if it is not possible | – | `Aborted` | – |
    /// | `Prepared` | – | `Committed` | `Aborted` | – |
    /// | `Committed` | – | – | – | – |
    /// | `Aborted` | – | – | – | – |
    ///
    /// ```
    /// use buttress_flow::transaction::{Ask, Standing};
    ///
    /// let standing = Standing::Unknown.after(Ask::Prepare(true));
    /// assert_eq!(standing.after(Ask::Commit), Standing::Committed);
    /// // Told to abort before it was asked to prepare: the request to prepare comes too late.
    /// assert_eq!(Standing::Unknown.after(Ask::Abort).after(Ask::Prepare(true)), Standing::Aborted);
    /// ```
    #[must_use]
    pub const fn after(self, ask: Ask<bool>) -> Self {
        match (self, ask) {
            (Self::Unknown, Ask::Prepare(true)) => Self::Prepared,
            (Self::Unknown, Ask::Prepare(false) | Ask::Abort) => Self::Aborted,
            // What was never prepared cannot be done.
            (Self::Unknown, Ask::Commit) => Self::Unknown,
            (Self::Prepared, Ask::Prepare(_)) => Self::Prepared,
            (Self::Prepared, Ask::Commit) => Self::Committed,
            (Self::Prepared, Ask::Abort) => Self::Aborted,
            (Self::Committed, Ask::Prepare(_) | Ask::Commit | Ask::Abort) => Self::Committed,
            (Self::Aborted, Ask::Prepare(_) | Ask::Commit | Ask::Abort) => Self::Aborted,
            (Self::Unknown | Self::Prepared | Self::Committed | Self::Aborted, Ask::Status) => self,
        }
    }

    /// What it is worth as a vote.
    pub const fn vote(self) -> Vote {
        match self {
            Self::Prepared | Self::Committed => Vote::Yes,
            Self::Unknown | Self::Aborted => Vote::No,
        }
    }

    /// What was done, if it is settled. Who never heard of a transaction has not done it.
    pub const fn settled(self) -> Option<Decision> {
        match self {
            Self::Committed => Some(Decision::Commit),
            Self::Aborted | Self::Unknown => Some(Decision::Abort),
            Self::Prepared => None,
        }
    }

    /// The word for it in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Prepared => "prepared",
            Self::Committed => "committed",
            Self::Aborted => "aborted",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A participant's answer: how the transaction stands now, and why. A [`Standing`] alone is one, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// How it stands.
    pub standing: Standing,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Answer {
    /// It is not possible, and was aborted here.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { standing: Standing::Aborted, why: Some(why.into()) }
    }
}

impl From<Standing> for Answer {
    fn from(standing: Standing) -> Self {
        Self { standing, why: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKS: [Ask<bool>; 5] =
        [Ask::Prepare(true), Ask::Prepare(false), Ask::Commit, Ask::Abort, Ask::Status];
    const ALL: [Standing; 4] =
        [Standing::Unknown, Standing::Prepared, Standing::Committed, Standing::Aborted];

    #[test]
    fn what_is_settled_stays_and_what_is_repeated_changes_nothing() {
        for standing in ALL {
            assert_eq!(standing.after(Ask::Status), standing);
            for ask in ASKS {
                let once = standing.after(ask);
                assert_eq!(once.after(ask), once, "{standing} {ask:?} twice");
                if matches!(standing, Standing::Committed | Standing::Aborted) {
                    assert_eq!(once, standing, "{standing} {ask:?}");
                }
            }
        }
    }

    #[test]
    fn only_what_was_prepared_is_committed() {
        for standing in ALL {
            for ask in ASKS {
                let committed = standing.after(ask) == Standing::Committed;
                let prepared = standing == Standing::Prepared && ask == Ask::Commit;
                assert_eq!(committed, prepared || standing == Standing::Committed);
            }
        }
    }

    #[test]
    fn is_written_in_words() {
        let request = Transaction { id: "t1".into(), ask: Ask::Prepare(3) };
        let json = serde_json::to_value(&request).unwrap();
        assert_eq!(json, serde_json::json!({"id": "t1", "ask": {"prepare": 3}}));
        let answer: Answer = serde_json::from_str(r#"{"standing":"prepared"}"#).unwrap();
        assert_eq!(answer, Standing::Prepared.into());
    }
}

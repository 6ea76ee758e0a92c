//! Two-phase commit as a table, without participants, a log or a clock.
//!
//! Presumed abort, prepared in parallel. The coordinator's [`step`](Protocol::step) takes a state and an event
//! and returns the next state and what is to be done; [`Standing::after`](super::Standing::after) is the
//! participant's side. The same table is run by the [`Coordinator`](super::Coordinator) and walked through by
//! a model checker, under crashes and a network that loses, repeats and reorders.
//!
//! | | `Run` | `Recover` | `Opened` | `Voted` | `Decided` | `Acknowledged` | `Closed` |
//! |---|---|---|---|---|---|---|---|
//! | `Idle` | open: `Opening` | log abort: `Deciding` | – | – | – | – | – |
//! | `Opening` | – | – | fresh: prepare, `Preparing`; else `Refused` | – | – | – | – |
//! | `Preparing` | – | – | – | the last yes: log commit, `Deciding`; a no: log abort, `Deciding` | – | – | – |
//! | `Deciding` | – | – | – | – | tell all: `Telling` | – | – |
//! | `Telling` | – | – | – | – | – | the last: end, `Ending` | – |
//! | `Ending` | – | – | – | – | – | – | `Ended` |
//! | `Ended`, `Refused` | – | – | – | – | – | – | – |
//!
//! `–` changes nothing: such events are late, repeated, or meant for one whose memory was lost.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What becomes of a transaction everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// All that was prepared is done.
    Commit,
    /// Nothing of it is done.
    Abort,
}

/// What a participant said when it was asked to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vote {
    /// It is prepared: it can do either, whatever happens to it meanwhile.
    Yes,
    /// It is not, or was not heard of in time.
    No,
}

/// What the client may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is, or will be, done at every participant.
    Committed,
    /// It is, or will be, done at no participant.
    Aborted,
    /// The decision stands, and at least one participant did otherwise on its own account.
    Mixed(Decision),
    /// Nobody can tell yet: a recovery will.
    InDoubt,
}

impl From<Decision> for Outcome {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Commit => Self::Committed,
            Decision::Abort => Self::Aborted,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Mixed(Decision::Commit) => "committed, not everywhere",
            Self::Mixed(Decision::Abort) => "aborted, not everywhere",
            Self::InDoubt => "in doubt",
        })
    }
}

/// The most participants of a transaction.
pub const MOST: usize = 64;

/// Some of the participants of a transaction, by their places in its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Members(u64);

impl Members {
    /// The first `count` participants, at most [`MOST`].
    pub const fn first(count: usize) -> Self {
        if count >= MOST { Self(u64::MAX) } else { Self((1 << count) - 1) }
    }

    /// The same and one more; a place beyond [`MOST`] is nobody's.
    #[must_use]
    pub const fn with(self, place: usize) -> Self {
        if place >= MOST { self } else { Self(self.0 | 1 << place) }
    }

    /// Whether the participant is among them.
    pub const fn has(self, place: usize) -> bool {
        place < MOST && self.0 >> place & 1 == 1
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn covers(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// Where a coordinator stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nothing was done, or all memory of it was lost.
    Idle,
    /// The transaction is being entered in the log.
    Opening,
    /// The participants were asked to prepare.
    Preparing {
        /// Those that are prepared.
        prepared: Members,
    },
    /// A decision is being written. Nobody was told.
    Deciding,
    /// The decision is durable, and all are being told.
    Telling {
        /// What was decided.
        decision: Decision,
        /// Those that have acknowledged.
        heard: Members,
        /// Those that did otherwise.
        contrary: Members,
    },
    /// All have acknowledged, and the end is being written.
    Ending {
        /// What was decided.
        decision: Decision,
        /// Those that did otherwise.
        contrary: Members,
    },
    /// It is over, and may be forgotten, but for its id.
    Ended {
        /// What was decided.
        decision: Decision,
        /// Those that did otherwise.
        contrary: Members,
    },
    /// The id was used before.
    Refused,
}

impl State {
    /// What the client may be told. Not a word before the decision is durable.
    pub const fn outcome(&self) -> Outcome {
        match *self {
            Self::Idle
            | Self::Opening
            | Self::Preparing { .. }
            | Self::Deciding
            | Self::Refused => Outcome::InDoubt,
            Self::Telling { decision, contrary, .. }
            | Self::Ending { decision, contrary }
            | Self::Ended { decision, contrary } => match decision {
                _ if !contrary.is_empty() => Outcome::Mixed(decision),
                Decision::Commit => Outcome::Committed,
                Decision::Abort => Outcome::Aborted,
            },
        }
    }
}

/// What a coordinator hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// The client wants the transaction.
    Run,
    /// The log has a transaction that is not ended, and nobody knows more.
    Recover,
    /// The log has an entry for the transaction.
    Opened {
        /// Whether it is the one just made, and not an older one of the same id.
        fresh: bool,
    },
    /// A participant is prepared, or not, or was not heard of in time.
    Voted(usize, Vote),
    /// The log has a decision: the first that was written, whoever wrote it.
    Decided(Decision),
    /// A participant was told, and says what it did.
    Acknowledged(usize, Decision),
    /// The log has the end.
    Closed,
}

/// What a coordinator has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Enter the transaction in the log, unless its id is there. Answered by [`Event::Opened`].
    Open,
    /// Ask all participants to prepare, side by side. Answered by [`Event::Voted`] of each.
    Prepare,
    /// Write the decision, unless there is one. Answered by [`Event::Decided`] with the one that counts.
    Log(Decision),
    /// Tell all participants, again and again until each has acknowledged. Answered by
    /// [`Event::Acknowledged`] of each.
    Tell(Decision),
    /// Write the end. Answered by [`Event::Closed`].
    End,
}

/// The rules for a transaction of so many participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    everybody: Members,
}

type Next = (State, Option<Effect>);

impl Protocol {
    /// The rules for `participants`, at most [`MOST`].
    pub const fn new(participants: usize) -> Self {
        Self { everybody: Members::first(participants) }
    }

    /// What follows from an event, and what is to be done.
    pub fn step(&self, state: State, event: Event) -> Next {
        use Event as E;
        use State as S;
        match (state, event) {
            (S::Idle, E::Run) => (S::Opening, Some(Effect::Open)),
            // Whoever recovers does not know the votes. "No record, so abort" would not do: another
            // coordinator may be about to write one.
            (S::Idle, E::Recover) => (S::Deciding, Some(Effect::Log(Decision::Abort))),
            (S::Opening, E::Opened { fresh: true }) => match self.prepared(Members::default()) {
                (S::Preparing { prepared }, _) => {
                    (S::Preparing { prepared }, Some(Effect::Prepare))
                }
                nobody_to_ask => nobody_to_ask,
            },
            (S::Opening, E::Opened { fresh: false }) => (S::Refused, None),
            (S::Preparing { prepared }, E::Voted(place, Vote::Yes)) => {
                self.prepared(prepared.with(place))
            }
            (S::Preparing { .. }, E::Voted(_, Vote::No)) => {
                (S::Deciding, Some(Effect::Log(Decision::Abort)))
            }
            (S::Deciding, E::Decided(decision)) => {
                let none = Members::default();
                match self.told(decision, none, none) {
                    (state @ S::Telling { .. }, _) => (state, Some(Effect::Tell(decision))),
                    nobody_to_tell => nobody_to_tell,
                }
            }
            (S::Telling { decision, heard, contrary }, E::Acknowledged(place, done)) => {
                let contrary = if done == decision { contrary } else { contrary.with(place) };
                self.told(decision, heard.with(place), contrary)
            }
            (S::Ending { decision, contrary }, E::Closed) => {
                (S::Ended { decision, contrary }, None)
            }

            (S::Idle, E::Opened { .. })
            | (S::Preparing { .. }, E::Opened { .. })
            | (S::Deciding, E::Opened { .. })
            | (S::Telling { .. }, E::Opened { .. })
            | (S::Ending { .. }, E::Opened { .. })
            | (S::Idle | S::Opening | S::Deciding, E::Voted(..))
            | (S::Telling { .. } | S::Ending { .. }, E::Voted(..))
            | (S::Idle | S::Opening | S::Preparing { .. }, E::Decided(_))
            | (S::Telling { .. } | S::Ending { .. }, E::Decided(_))
            | (S::Idle | S::Opening | S::Preparing { .. }, E::Acknowledged(..))
            | (S::Deciding | S::Ending { .. }, E::Acknowledged(..))
            | (S::Idle | S::Opening | S::Preparing { .. }, E::Closed)
            | (S::Deciding | S::Telling { .. }, E::Closed)
            | (S::Opening | S::Preparing { .. } | S::Deciding, E::Run | E::Recover)
            | (S::Telling { .. } | S::Ending { .. }, E::Run | E::Recover)
            | (
                S::Ended { .. } | S::Refused,
                E::Run
                | E::Recover
                | E::Opened { .. }
                | E::Voted(..)
                | E::Decided(_)
                | E::Acknowledged(..)
                | E::Closed,
            ) => (state, None),
        }
    }

    fn prepared(&self, prepared: Members) -> Next {
        if prepared.covers(self.everybody) {
            (State::Deciding, Some(Effect::Log(Decision::Commit)))
        } else {
            (State::Preparing { prepared }, None)
        }
    }

    fn told(&self, decision: Decision, heard: Members, contrary: Members) -> Next {
        if heard.covers(self.everybody) {
            (State::Ending { decision, contrary }, Some(Effect::End))
        } else {
            (State::Telling { decision, heard, contrary }, None)
        }
    }
}

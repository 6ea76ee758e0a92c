use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{desk::Desk, roster::Command, seat::Health};
use crate::Name;

/// What a replica does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It gets calls: its share of all, or all of them where only one is active.
    Active,
    /// It stands by.
    Standby,
    /// It came back a little while ago and gets a growing share.
    Ramping,
    /// It looks ill, but is needed: too many others are ejected.
    Suspect,
    /// It looks ill and is left alone for a while.
    Ejected,
    /// It is [drained](FailoverHandle::drain).
    Drained,
    /// A [health check](FailoverHandle::set_health) says that it is ill.
    Ill,
}

impl State {
    /// The name of the state in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Ramping => "ramping",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Drained => "drained",
            Self::Ill => "ill",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A replica as it is at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// Its name. Events carry its place in the list instead, from 1.
    pub name: Name,
    /// What it does.
    pub state: State,
    /// What was last said of it by [`FailoverHandle::set_health`].
    pub health: Health,
    /// The calls that were given to it and have not ended.
    pub in_flight: u32,
    /// How long its answers take of late, since it last changed its stand.
    pub latency: Option<Duration>,
    /// The rest of the time for which it is ejected.
    pub ejected_for: Option<Duration>,
    /// The calls that it answered, be it with a final error.
    pub answered: u64,
    /// The calls that failed there, those included for which it could not be made ready.
    pub failed: u64,
}

/// How a roster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Standing {
    /// The place of the active replica, from 1, where only one is active.
    pub active: Option<u32>,
    /// How many replicas look well.
    pub healthy: u32,
    /// Of how many that are not drained.
    pub of: u32,
    /// Whether so many look ill that all are used.
    pub panicking: bool,
}

/// Looks at a roster, and commands it, from outside.
///
/// Commands take the name of a replica, the first of that name if there are several, and return
/// whether they were obeyed.
///
/// # Clone
/// Clones belong to the same roster. Get one from the finished layer, or from the service: setters
/// make a new roster.
#[derive(Clone)]
pub struct FailoverHandle {
    desk: Arc<Desk>,
}

impl FailoverHandle {
    pub(super) const fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }

    /// Every replica, in the order of the list.
    pub fn snapshot(&self) -> Vec<View> {
        self.desk.snapshot()
    }

    /// One replica.
    pub fn replica(&self, name: &str) -> Option<View> {
        self.snapshot().into_iter().find(|replica| replica.name.as_str() == name)
    }

    /// The name of the active replica, where only one is active.
    pub fn active(&self) -> Option<Name> {
        self.desk.active()
    }

    /// How the roster stands.
    pub fn standing(&self) -> Standing {
        self.desk.standing()
    }

    /// Follows how the roster stands. Changes that follow each other fast may be seen as one.
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.desk.watch()
    }

    /// Tells what a health check found.
    ///
    /// An [ill](Health::Ill) replica gets no calls, also when all look ill. A
    /// [healthy](Health::Healthy) one that was ejected comes back at once, with a slow start;
    /// outcomes may eject it again.
    pub fn set_health(&self, name: &str, health: Health) -> bool {
        self.desk.command(name, Command::Health(health))
    }

    /// Makes a replica the active one at once, and the one that fail-back leads to.
    ///
    /// Refused where all are active, and for a replica that is drained or ill.
    pub fn promote(&self, name: &str) -> bool {
        self.desk.command(name, Command::Promote)
    }

    /// Gives a replica no more calls; those under way go on.
    ///
    /// [`in_flight`](View::in_flight) says when all are answered, bodies that are still being read
    /// aside.
    pub fn drain(&self, name: &str) -> bool {
        self.desk.command(name, Command::Drain)
    }

    /// Gives a drained replica calls again, with a slow start.
    pub fn restore(&self, name: &str) -> bool {
        self.desk.command(name, Command::Restore)
    }
}

impl fmt::Debug for FailoverHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.snapshot()).finish()
    }
}

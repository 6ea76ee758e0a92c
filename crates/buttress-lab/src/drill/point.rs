//! Where a process is killed.

use std::{
    fmt, process,
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

/// A place on the way of a step where the process that does it may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Point {
    /// Before anything is written of the step.
    Start,
    /// The store took a batch of operations in; nothing was written.
    Taken,
    /// The batch is written; its commit has not begun.
    Uncommitted,
    /// The batch is durable; nobody was told.
    Committed,
    /// The intent is durable; the tool was not asked.
    Intended,
    /// The tool has the request.
    Asked,
    /// The tool did it; its answer is on the way.
    Done,
    /// The answer is here; nothing was recorded.
    Answered,
    /// The outcome is durable; the caller was not told.
    Recorded,
    /// The caller was told.
    Told,
    /// At any time.
    Whenever,
    /// It is the database server that dies, with all its processes, and comes back.
    Server,
}

impl Point {
    pub(crate) const IN_A_FILE: [Self; 11] = [
        Self::Start,
        Self::Taken,
        Self::Uncommitted,
        Self::Committed,
        Self::Intended,
        Self::Asked,
        Self::Done,
        Self::Answered,
        Self::Recorded,
        Self::Told,
        Self::Whenever,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Taken => "taken",
            Self::Uncommitted => "uncommitted",
            Self::Committed => "committed",
            Self::Intended => "intended",
            Self::Asked => "asked",
            Self::Done => "done",
            Self::Answered => "answered",
            Self::Recorded => "recorded",
            Self::Told => "told",
            Self::Whenever => "whenever",
            Self::Server => "server",
        }
    }

    /// Whether it is the process itself that comes there and dies.
    pub(crate) const fn in_the_process(self) -> bool {
        !matches!(self, Self::Asked | Self::Done | Self::Whenever | Self::Server)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::IN_A_FILE
            .into_iter()
            .find(|point| point.as_str() == word)
            .ok_or_else(|| format!("no point {word:?}"))
    }
}

/// The end that a process has been told to come to.
#[derive(Debug)]
pub(crate) struct Fate {
    point: Option<Point>,
    /// How many times the point may yet be passed.
    left: AtomicU32,
}

impl Fate {
    /// Dies when it comes to `point` for the `nth` time, counted from 1.
    pub(crate) fn new(point: Option<Point>, nth: u32) -> Self {
        Self { point, left: AtomicU32::new(nth) }
    }

    /// Comes to a point.
    pub(crate) fn pass(&self, point: Point) {
        if self.point == Some(point) && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            die();
        }
    }
}

/// Ends this process as the kernel would: nothing is flushed, nothing is dropped.
pub(crate) fn die() -> ! {
    let me = rustix::process::getpid();
    // The signal is delivered before this returns; the abort is for a kernel that refuses.
    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    process::abort()
}

//! How far an experiment has come, on a terminal.

use buttress_lab::run::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// A bar on the standard error; where that is no terminal, nothing is drawn.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    requests: u64,
    begun: u64,
}

impl Bar {
    pub(crate) fn new(arms: usize, requests: u64) -> Self {
        let bar = ProgressBar::new(requests.saturating_mul(arms as u64));
        let style = "{bar:40} {percent:>3} %  {msg}  about {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, requests, begun: 0 }
    }
}

impl Progress for Bar {
    fn arm(&mut self, name: &str) {
        self.begun += 1;
        self.bar.set_message(name.to_owned());
    }

    fn requests(&mut self, ended: u64) {
        self.bar.set_position(self.begun.saturating_sub(1) * self.requests + ended);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How many there have been, on a terminal.
#[derive(Debug)]
pub(crate) struct Counter(ProgressBar);

impl Counter {
    /// Of an unknown number.
    pub(crate) fn new(what: &'static str) -> Self {
        Self::styled(ProgressBar::no_length(), "{pos} {msg}", what)
    }

    /// Of so many.
    pub(crate) fn of(most: u64, what: &'static str) -> Self {
        Self::styled(
            ProgressBar::new(most),
            "{bar:40} {pos} of {len} {msg}  about {eta} left",
            what,
        )
    }

    fn styled(bar: ProgressBar, style: &str, what: &'static str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self(bar)
    }

    pub(crate) fn at(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

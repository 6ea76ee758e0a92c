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

//! How often something is tried again, and after which wait.

use std::{future::Future, time::Duration};

use buttress::{Backoff, Fault, Kind, Random};
use tokio::time::sleep;

/// Who asks to wait for longer than this is not waited for.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(crate) struct Patience {
    pub(crate) backoff: Backoff,
    pub(crate) attempts: u32,
    pub(crate) random: Random,
}

impl Default for Patience {
    fn default() -> Self {
        Self { backoff: Backoff::default(), attempts: 5, random: Random::default() }
    }
}

impl Patience {
    /// How long to wait before the next attempt, at least as long as was asked for; `None` if there is none.
    pub(crate) fn pause(
        &self,
        failures: u32,
        previous: &mut Duration,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let asked = asked.unwrap_or_default();
        if failures >= self.attempts || asked > LONGEST {
            return None;
        }
        *previous = self.backoff.delay(failures, *previous, self.random.unit());
        Some(asked.max(*previous))
    }

    /// Does something that may be repeated until it is done, or has failed for good or too often.
    pub(crate) async fn persist<T, E: Fault, F: Future<Output = Result<T, E>>>(
        &self,
        mut act: impl FnMut() -> F,
    ) -> Result<T, E> {
        let (mut failures, mut previous) = (0, Duration::ZERO);
        loop {
            let result = act().await;
            failures += 1;
            let verdict = match &result {
                Err(error) => error.verdict(),
                Ok(_) => return result,
            };
            if verdict.kind != Kind::Transient {
                return result;
            }
            match self.pause(failures, &mut previous, verdict.retry_after) {
                Some(pause) => sleep(pause).await,
                None => return result,
            }
        }
    }
}

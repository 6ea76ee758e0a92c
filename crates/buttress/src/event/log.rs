//! The listener that writes to `tracing`.

use std::time::Duration;

use super::{Event, Observe, Teller};

/// Writes events to `tracing`: the default.
///
/// Target `buttress`, fields `pattern`, `name`, `event` and, where they apply, `workflow`, `attempt`, `tier`,
/// `replica`, `kind`, `delay` (seconds), `state`, `from`, `to`, `healthy`, `of` and `why`; of votes
/// `needed`, `agree`, `dissent` and `failed`; of steps and leaders `version`, `epoch` and `resolution`.
/// Circuits that open, levels and rosters that become worse, steps in doubt or stuck, transactions with
/// mixed outcomes, damaged records, fenced writers, leaders that step down, stores that fail and
/// workflows that are given up are told as warnings,
/// their recovery as information, the rest as debug events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

impl Observe for Tracing {
    fn event(&self, Teller { pattern, name, workflow }: Teller<'_>, event: &Event) {
        let workflow = Some(workflow).filter(|workflow| !workflow.is_empty());
        macro_rules! tell {
            ($level:ident, $what:expr $(, $field:ident = $value:expr)*) => {
                tracing::event!(
                    target: "buttress", tracing::Level::$level, pattern, name, workflow, event = $what $(, $field = $value)*
                )
            };
        }
        let seconds = |d: &Duration| d.as_secs_f64();
        match event {
            Event::Failed { attempt, verdict } => tell!(
                DEBUG,
                "failed",
                attempt = attempt,
                kind = verdict.kind.as_str(),
                delay = verdict.retry_after.as_ref().map(seconds)
            ),
            Event::Retrying { attempt, delay } => {
                tell!(DEBUG, "retrying", attempt = attempt, delay = seconds(delay));
            }
            Event::Hedging { attempt, after, why } => {
                tell!(
                    DEBUG,
                    "hedging",
                    attempt = attempt,
                    delay = seconds(after),
                    why = why.as_str()
                );
            }
            Event::FallingBack { tier, why } => {
                tell!(DEBUG, "falling_back", tier = tier, why = why.as_str());
            }
            Event::Suppressed { attempt, why } => {
                tell!(DEBUG, "suppressed", attempt = attempt, why = why.as_str());
            }
            Event::Won { attempt } => tell!(DEBUG, "won", attempt = attempt),
            Event::Cancelled { attempt, after } => {
                tell!(DEBUG, "cancelled", attempt = attempt, delay = seconds(after));
            }
            Event::TimedOut { after } => tell!(DEBUG, "timed_out", delay = seconds(after)),
            Event::Rejected { retry_after } => {
                tell!(DEBUG, "rejected", delay = retry_after.as_ref().map(seconds));
            }
            Event::LimitChanged { from, to, why } => {
                tell!(DEBUG, "limit_changed", from = from, to = to, why = why.as_str());
            }
            Event::Opened { wait, why } => {
                tell!(WARN, "opened", delay = wait.as_ref().map(seconds), why = why.as_str());
            }
            Event::Probing { running } => tell!(DEBUG, "probing", running = running),
            Event::Closed { why } => tell!(INFO, "closed", why = why.as_str()),
            Event::Stale { verdict } => tell!(DEBUG, "stale", kind = verdict.kind.as_str()),
            Event::Abandoned { after, failure } => {
                tell!(DEBUG, "abandoned", delay = seconds(after), failure = failure);
            }
            Event::LevelChanged { from, to, why } => {
                let (state, before, why) = (to.as_str(), from.as_str(), why.as_str());
                if to > from {
                    tell!(WARN, "level_changed", state = state, before = before, why = why);
                } else {
                    tell!(INFO, "level_changed", state = state, before = before, why = why);
                }
            }
            Event::Agreed { votes } | Event::Disagreed { votes } => {
                let what =
                    if matches!(event, Event::Agreed { .. }) { "agreed" } else { "disagreed" };
                let (agree, dissent) = (votes.largest, votes.dissent());
                tell!(
                    DEBUG,
                    what,
                    needed = votes.needed,
                    agree = agree,
                    dissent = dissent,
                    failed = votes.failed
                );
            }
            Event::Ejected { replica, why, wait } => tell!(
                WARN,
                "ejected",
                replica = replica,
                delay = wait.as_ref().map(seconds),
                why = why.as_str()
            ),
            Event::Readmitted { replica } => tell!(INFO, "readmitted", replica = replica),
            Event::Promoted { replica, why } => {
                tell!(WARN, "promoted", replica = replica, why = why.as_str());
            }
            Event::Demoted { replica, why } => {
                tell!(WARN, "demoted", replica = replica, why = why.as_str());
            }
            Event::Panicking { healthy, of } => {
                tell!(WARN, "panicking", healthy = healthy, of = of);
            }
            Event::Calmed { healthy, of } => tell!(INFO, "calmed", healthy = healthy, of = of),
            Event::Diverted { attempt, replica, why } => {
                tell!(DEBUG, "diverted", attempt = attempt, replica = replica, why = why.as_str());
            }
            Event::PassedOver { replica, why } => {
                tell!(DEBUG, "passed_over", replica = replica, why = why.as_str());
            }
            Event::Replayed { version } => tell!(DEBUG, "replayed", version = version),
            Event::Intended { attempt, version } => {
                tell!(DEBUG, "intended", attempt = attempt, version = version);
            }
            Event::Recorded { attempt, version } => {
                tell!(DEBUG, "recorded", attempt = attempt, version = version);
            }
            Event::Withdrawn { attempt, version } => {
                tell!(DEBUG, "withdrawn", attempt = attempt, version = version);
            }
            Event::InDoubt { attempt, resolution } => {
                tell!(WARN, "in_doubt", attempt = attempt, resolution = resolution.as_str());
            }
            Event::Damaged { version } => tell!(WARN, "damaged", version = version),
            Event::Fenced { epoch } => tell!(WARN, "fenced", epoch = epoch),
            Event::Mixed { commit } => {
                let state = if *commit { "commit" } else { "abort" };
                tell!(WARN, "mixed", state = state);
            }
            Event::Stuck { attempts } => tell!(WARN, "stuck", attempt = attempts),
            Event::Elected { epoch } => tell!(INFO, "elected", epoch = epoch),
            Event::Deposed { epoch, why } => {
                tell!(WARN, "deposed", epoch = epoch, why = why.as_str());
            }
            Event::StoreFailed { attempt, verdict } => {
                tell!(WARN, "store_failed", attempt = attempt, kind = verdict.kind.as_str());
            }
            Event::Claimed { attempt, epoch } => {
                tell!(DEBUG, "claimed", attempt = attempt, epoch = epoch);
            }
            Event::GivenUp { attempt, why } => {
                tell!(WARN, "given_up", attempt = attempt, why = why.as_str());
            }
        }
    }
}

//! The table of what is compared.

use crate::{Run, ours, peers};

/// One way to make a call.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What the way is for; subjects of one pattern are compared with each other.
    pub pattern: &'static str,
    /// Whose way it is.
    pub name: &'static str,
    /// What it is to us.
    pub kind: Kind,
    build: fn() -> Run,
}

/// What a subject is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing around the service.
    Bare,
    /// A layer of ours, or several.
    Ours,
    /// Somebody else's.
    Peer,
}

impl Subject {
    /// All subjects, those of a pattern together and the bare service first among them.
    pub const ALL: &[Self] = &[
        Self::bare("timeout"),
        Self::ours("timeout", "buttress", ours::timeout),
        Self::peer("timeout", "tower", peers::tower_timeout),
        Self::peer("timeout", "tower-resilience", peers::resilience_timeout),
        Self::bare("retry"),
        Self::ours("retry", "buttress", ours::retry),
        Self::ours("retry", "buttress once", ours::retry_once),
        Self::ours("retry", "buttress with a budget", ours::retry_with_a_budget),
        Self::peer("retry", "tower", peers::tower_retry),
        Self::peer("retry", "tower-resilience", peers::resilience_retry),
        Self::peer("retry", "backon", peers::backon),
        Self::bare("breaker"),
        Self::ours("breaker", "buttress", ours::breaker),
        Self::ours("breaker", "buttress rate over time", ours::breaker_rate_over_time),
        Self::peer("breaker", "tower-resilience", peers::resilience_breaker),
        Self::peer("breaker", "recloser", peers::recloser),
        Self::peer("breaker", "recloser async", peers::recloser_async),
        Self::bare("breaker-open"),
        Self::ours("breaker-open", "buttress", ours::breaker_open),
        Self::ours("breaker-open", "buttress forced", ours::breaker_forced_open),
        Self::peer("breaker-open", "tower-resilience", peers::resilience_breaker_open),
        Self::peer("breaker-open", "recloser", peers::recloser_open),
        Self::peer("breaker-open", "recloser async", peers::recloser_async_open),
        Self::bare("hedge"),
        Self::ours("hedge", "buttress", ours::hedge),
        Self::ours("hedge", "buttress once", ours::hedge_once),
        Self::ours("hedge", "buttress learned", ours::hedge_learned),
        Self::ours("hedge", "buttress percentile", ours::hedge_percentile),
        Self::peer("hedge", "tower", peers::tower_hedge),
        Self::peer("hedge", "tower-resilience", peers::resilience_hedge),
        Self::bare("checkpoint"),
        Self::ours("checkpoint", "buttress replay", ours::checkpoint_replay),
        Self::ours("checkpoint", "buttress reading", ours::checkpoint_reading),
        Self::ours("checkpoint", "buttress side effect", ours::checkpoint_side_effect),
        Self::bare("degrade"),
        Self::ours("degrade", "buttress", ours::degrade),
        Self::bare("quorum"),
        Self::ours("quorum", "buttress 2 of 3", ours::quorum),
        Self::ours("quorum", "buttress 2 of 3 by key", ours::quorum_by_key),
        Self::ours("quorum", "buttress 2 of 3 lazy", ours::quorum_lazy),
        Self::bare("limit"),
        Self::ours("limit", "buttress", ours::limit),
        Self::ours("limit", "buttress adaptive", ours::limit_adaptive),
        Self::ours("limit", "buttress adaptive used", ours::limit_adaptive_used),
        Self::peer("limit", "tower", peers::tower_limit),
        Self::peer("limit", "tower load-shed", peers::tower_shed_limit),
        Self::peer("limit", "tower-resilience", peers::resilience_limit),
        Self::peer("limit", "tower-resilience adaptive", peers::resilience_limit_adaptive),
        Self::bare("limit-full"),
        Self::ours("limit-full", "buttress", ours::limit_full),
        Self::peer("limit-full", "tower load-shed", peers::tower_limit_full),
        Self::bare("leader"),
        Self::ours("leader", "buttress", ours::leader),
        Self::ours("leader", "buttress elsewhere", ours::leader_elsewhere),
        Self::bare("failover"),
        Self::ours("failover", "buttress 3 active", ours::failover_active),
        Self::ours("failover", "buttress 2, one active", ours::failover_passive),
        Self::peer("failover", "tower balance of 3", peers::tower_balance),
        Self::peer(
            "failover",
            "tower balance over tower-resilience outlier",
            peers::resilience_outlier,
        ),
        Self::bare("fallback"),
        Self::ours("fallback", "buttress", ours::fallback),
        Self::ours("fallback", "buttress last error", ours::fallback_last_error),
        Self::ours("fallback", "buttress to a value", ours::fallback_to_a_value),
        Self::peer("fallback", "tower-resilience", peers::resilience_fallback),
        Self::peer(
            "fallback",
            "tower-resilience to a value",
            peers::resilience_fallback_to_a_value,
        ),
        Self::bare("stack"),
        Self::ours("stack", "buttress", ours::stack),
        Self::ours("stack", "buttress without fallback", ours::stack_without_fallback),
        Self::ours("stack", "buttress preset", ours::stack_preset),
        Self::ours("stack", "buttress without retry", ours::stack_without_retry),
        Self::peer("stack", "tower-resilience", peers::resilience_stack),
    ];

    const fn bare(pattern: &'static str) -> Self {
        Self { pattern, name: "bare", kind: Kind::Bare, build: ours::bare }
    }

    const fn ours(pattern: &'static str, name: &'static str, build: fn() -> Run) -> Self {
        Self { pattern, name, kind: Kind::Ours, build }
    }

    const fn peer(pattern: &'static str, name: &'static str, build: fn() -> Run) -> Self {
        Self { pattern, name, kind: Kind::Peer, build }
    }

    /// Builds it. Needs a [runtime](crate::runtime) to have been entered, as do the calls.
    pub fn build(&self) -> Run {
        (self.build)()
    }

    /// Pattern and name as one word.
    pub fn id(&self) -> String {
        format!("{}/{}", self.pattern, self.name.replace(' ', "-"))
    }
}

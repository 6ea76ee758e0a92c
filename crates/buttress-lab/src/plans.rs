//! The plans that come with the lab.

/// A plan that comes with the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// What it is called.
    pub name: &'static str,
    /// The plan as text.
    pub text: &'static str,
}

/// The experiment of the source documents: the unreliable tool bare and through stacks.
pub const REDUNDANT: BuiltIn =
    BuiltIn { name: "redundant", text: include_str!("../plans/redundant.toml") };

/// A server that an overload keeps busy long after its cause, and what lets it recover.
pub const OVERLOAD: BuiltIn =
    BuiltIn { name: "overload", text: include_str!("../plans/overload.toml") };

/// Outages, and what a breaker and a budget spare the tool.
const OUTAGE: BuiltIn = BuiltIn { name: "outage", text: include_str!("../plans/outage.toml") };

/// A tool that asks for fewer calls, and retries that listen.
const THROTTLED: BuiltIn =
    BuiltIn { name: "throttled", text: include_str!("../plans/throttled.toml") };

/// What a vote costs, and what it is worth where answers are wrong.
pub const QUORUM: BuiltIn = BuiltIn { name: "quorum", text: include_str!("../plans/quorum.toml") };

/// A weaker tool that stands in, and where the timeout belongs then.
pub const FALLBACK: BuiltIn =
    BuiltIn { name: "fallback", text: include_str!("../plans/fallback.toml") };

/// Several tools that make one answer, and what may be missing from it.
pub const DEGRADE: BuiltIn =
    BuiltIn { name: "degrade", text: include_str!("../plans/degrade.toml") };

/// A replica that is away for a while.
pub const FAILOVER: BuiltIn =
    BuiltIn { name: "failover", text: include_str!("../plans/failover.toml") };

/// All layers at once, in the order of the source documents and in ours.
pub const INTEGRATED: BuiltIn =
    BuiltIn { name: "integrated", text: include_str!("../plans/integrated.toml") };

/// Every plan, in the order in which they are listed.
pub const ALL: [BuiltIn; 9] =
    [REDUNDANT, QUORUM, FALLBACK, DEGRADE, FAILOVER, INTEGRATED, OVERLOAD, OUTAGE, THROTTLED];

/// The plan of a name.
pub fn find(name: &str) -> Option<BuiltIn> {
    ALL.into_iter().find(|plan| plan.name == name)
}

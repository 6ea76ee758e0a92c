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

/// Every plan, in the order in which they are listed.
pub const ALL: [BuiltIn; 1] = [REDUNDANT];

/// The plan of a name.
pub fn find(name: &str) -> Option<BuiltIn> {
    ALL.into_iter().find(|plan| plan.name == name)
}

//! What can go wrong in a run.

use std::{error::Error, fmt};

use buttress::{Cause, Causes, Effect, Fault, Name, Rejection, Verdict};

/// Why a run of a graph came to no end.
///
/// It reaches the caller inside of the error type of the nodes, by way of
/// [`Rejection::Other`]: [`RunError::of`] finds it there.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A node failed.
    Node {
        /// The graph.
        graph: Name,
        /// Which visit of the node it was, from 1.
        visit: u32,
        /// The node, its error and what that means.
        cause: Cause,
    },
    /// Branches of a fan-out failed.
    Branches {
        /// Which, and why, in the order in which they stand.
        causes: Causes,
    },
    /// A node was to be visited more often than is allowed.
    TooOften {
        /// The graph.
        graph: Name,
        /// The node.
        node: Name,
        /// How often is allowed.
        most: u32,
    },
    /// More nodes were to be visited than is allowed.
    TooMany {
        /// The graph.
        graph: Name,
        /// The node that was next.
        node: Name,
        /// How many are allowed.
        most: u32,
    },
    /// A function chose a label that none of the edges has.
    NoWay {
        /// The graph.
        graph: Name,
        /// The node that the edges leave.
        node: Name,
        /// The label.
        label: String,
    },
    /// The graph has changed since the run began, and does not come to what was done then any more.
    Changed {
        /// The graph.
        graph: Name,
        /// The node or branch that was recorded, and after `#` at which visit, if not the first.
        step: String,
    },
}

impl RunError {
    /// The first along the chain of an error and its sources, itself included.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        chain(Some(error)).find_map(|error| error.downcast_ref())
    }

    /// The node at which it happened, with `/` before branches and the nodes of graphs within.
    pub fn path(&self) -> String {
        let cause = match self {
            Self::Node { cause, .. } => cause,
            Self::Branches { causes } => match causes.iter().next() {
                Some(cause) => cause,
                None => return String::new(),
            },
            Self::TooOften { node, .. } | Self::TooMany { node, .. } | Self::NoWay { node, .. } => {
                return node.to_string();
            }
            Self::Changed { step, .. } => return step.clone(),
        };
        match Self::of(cause.error()) {
            Some(inner) => format!("{}/{}", cause.who(), inner.path()),
            None => cause.who().to_string(),
        }
    }

    /// The error of the node, or of the first branch that failed, or what caused it, if it is an `E`.
    pub fn cause<E: Error + 'static>(&self) -> Option<&E> {
        chain(self.source()).find_map(|error| error.downcast_ref())
    }
}

/// An error and its sources, as deep as buttress looks for a verdict.
fn chain<'a>(
    error: Option<&'a (dyn Error + 'static)>,
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error, |&error| error.source()).take(32)
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { graph, visit, cause } => {
                write!(f, "node `{}` of graph `{graph}` failed", cause.who())?;
                if *visit > 1 {
                    write!(f, " at visit {visit}")?;
                }
                write!(f, ": {}", cause.error())
            }
            Self::Branches { causes } => {
                for (place, cause) in causes.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "; " })?;
                    write!(f, "branch `{}` failed: {}", cause.who(), cause.error())?;
                }
                Ok(())
            }
            Self::TooOften { graph, node, most } => {
                write!(f, "node `{node}` of graph `{graph}` was visited {most} times already")
            }
            Self::TooMany { graph, node, most } => write!(
                f,
                "node `{node}` of graph `{graph}` would be visited after {most} others already"
            ),
            Self::NoWay { graph, node, label } => {
                write!(f, "no edge out of node `{node}` of graph `{graph}` is labelled `{label}`")
            }
            Self::Changed { graph, step } => write!(
                f,
                "graph `{graph}` has changed since the run began: `{step}` was recorded, and is not \
                 on its way any more"
            ),
        }
    }
}

impl Error for RunError {
    /// The error of the node, or of the first branch that failed.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Node { cause, .. } => Some(cause.error()),
            Self::Branches { causes } => causes.iter().next().map(Cause::error),
            Self::TooOften { .. }
            | Self::TooMany { .. }
            | Self::NoWay { .. }
            | Self::Changed { .. } => None,
        }
    }
}

impl Fault for RunError {
    /// Of a node, what its error means; of several branches, the most hopeful; a bound that was
    /// reached, a label without an edge, or a graph that has changed, would be so again.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Node { cause, .. } => cause.verdict(),
            Self::Branches { causes } => causes.verdict(),
            Self::TooOften { .. }
            | Self::TooMany { .. }
            | Self::NoWay { .. }
            | Self::Changed { .. } => Verdict::permanent().with_effect(Effect::Maybe),
        }
    }
}

impl From<RunError> for Rejection {
    fn from(error: RunError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn node(who: &'static str, error: impl Into<Box<dyn Error + Send + Sync>>) -> RunError {
        let cause = Cause::new(who, Verdict::transient(), error);
        RunError::Node { graph: Name::new("g"), visit: 1, cause }
    }

    #[test]
    fn the_path_leads_through_graphs_and_branches_to_the_cause() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let branch = Cause::new("news", Verdict::transient(), reset);
        let branches = RunError::Branches { causes: [branch].into_iter().collect() };
        let outer = node("sub", Rejection::from(node("ask", Rejection::from(branches))));
        let error: Box<dyn Error> = Rejection::from(outer).into();

        let run = RunError::of(&*error).expect("it is along the chain");
        assert_eq!(run.path(), "sub/ask/news");
        assert_eq!(
            run.cause::<io::Error>().map(io::Error::kind),
            Some(io::ErrorKind::ConnectionReset)
        );
        assert_eq!(
            error.to_string(),
            "node `sub` of graph `g` failed: node `ask` of graph `g` failed: \
             branch `news` failed: connection reset"
        );
        assert_eq!(run.verdict(), Verdict::transient());
    }
}

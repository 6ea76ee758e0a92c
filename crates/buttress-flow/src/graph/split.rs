use std::fmt;

/// The three ways on from a node whose work succeeds, is to be done again, or fails.
///
/// ```
/// use buttress_flow::graph::{END, Graph, Split, Turn};
/// use tower::{BoxError, ServiceExt, service_fn};
///
/// #[derive(Clone, Default)]
/// struct State { tries: u32, answer: Option<u32>, error: Option<String> }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let search = service_fn(async |state: State| match state.tries {
///     0 | 1 => Err(BoxError::from("no luck")),
///     tries => Ok(State { answer: Some(tries), ..state }),
/// });
/// let graph = Graph::new("search")
///     .node("search", search)
///     .catch("search", |state, error| State {
///         tries: state.tries + 1, error: Some(error.to_string()), ..state
///     })
///     .split(
///         "search",
///         |state: &State| match state {
///             State { answer: Some(_), .. } => Turn::Success,
///             State { tries: 0..5, .. } => Turn::Retry,
///             _ => Turn::Fail,
///         },
///         Split { success: "write", retry: "search", fail: "apologise" },
///     )
///     .node("write", service_fn(async |state: State| Ok::<_, BoxError>(state)))
///     .node("apologise", service_fn(async |state: State| Ok::<_, BoxError>(state)))
///     .edge("write", END)
///     .edge("apologise", END)
///     .build()
///     .unwrap();
/// let state = graph.oneshot(State::default()).await.unwrap();
/// assert_eq!((state.tries, state.answer), (2, Some(2)));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// It is done: go on.
    Success,
    /// It may go well another time.
    Retry,
    /// It is not to be had.
    Fail,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Success => "success",
            Self::Retry => "retry",
            Self::Fail => "fail",
        })
    }
}

/// Where the three ways of [`Draft::split`](super::Draft::split) lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<N> {
    /// On [`Turn::Success`].
    pub success: N,
    /// On [`Turn::Retry`].
    pub retry: N,
    /// On [`Turn::Fail`].
    pub fail: N,
}

//! Graphs of any shape, killed any number of times.

use buttress::{
    checkpoint::Effects,
    store::{Journal, MemoryStore, Store},
};
use buttress_flow::graph::{END, Graph, Run, RunError};
use proptest::prelude::*;
use tower::{BoxError, ServiceExt};

use super::{Path, world::*};
use crate::support::poll_once;

/// A node leads on to the next, or by what the path is like to any other; `ways` past the last are ends.
#[derive(Clone, Debug)]
struct Maze(Vec<(Effects, Vec<usize>)>);

const NAMES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];
const MOST: u32 = 12;

impl Maze {
    fn choose(path: &Path, ways: usize) -> usize {
        path.iter().map(|name| name.bytes().map(usize::from).sum::<usize>()).sum::<usize>() % ways
    }

    fn graph(&self, world: &World) -> Graph<Path, BoxError> {
        let mut graph = Graph::new("maze").most_steps(MOST);
        for (place, (effects, ways)) in self.0.iter().enumerate() {
            let name = NAMES[place];
            let count = ways.len();
            let to = |way: &usize| if *way < self.0.len() { NAMES[*way] } else { END };
            let ways: Vec<_> = ways.iter().map(to).enumerate().collect();
            graph = graph.keyed_step(name, *effects, world.node(name)).route(
                name,
                move |path: &Path| Self::choose(path, count),
                ways,
            );
        }
        graph.build().unwrap()
    }

    /// Where a run leads, worked out by hand; `None` if it is too long.
    fn walk(&self) -> Option<Path> {
        let (mut path, mut place) = (Path::new(), 0);
        while let Some((_, ways)) = self.0.get(place) {
            if path.len() == MOST as usize {
                return None;
            }
            path.push(NAMES[place].to_owned());
            place = ways[Self::choose(&path, ways.len())];
        }
        Some(path)
    }
}

fn mazes() -> impl Strategy<Value = Maze> {
    let effects = prop_oneof![Just(RETRY), Just(Effects::ReadOnly), Just(Effects::Idempotent)];
    let node = (effects, prop::collection::vec(0..6_usize, 0..3));
    prop::collection::vec(node, 1..=5).prop_map(|mut nodes| {
        // So that all are reached, and the end is.
        for (place, (_, ways)) in nodes.iter_mut().enumerate() {
            ways.push(place + 1);
        }
        Maze(nodes)
    })
}

proptest! {
    #[test]
    fn however_often_it_is_killed_it_ends_where_it_would_have(
        maze in mazes(),
        kills in prop::collection::vec(1..20_usize, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (store, world) = (MemoryStore::new(), World::default());
            for polls in &kills {
                let journal = Journal::new(store.clone()).ttl(LEASE);
                let graph = maze.graph(&world).durable(journal).unwrap();
                let mut run = Box::pin(graph.oneshot(Run::new("w", Path::new())));
                for _ in 0..*polls {
                    if poll_once(run.as_mut()).await.is_ready() {
                        break;
                    }
                }
                drop(run);
                tokio::time::advance(LEASE).await;
            }
            let graph = maze.graph(&world).durable(store.clone()).unwrap();
            let path = graph.oneshot(Run::new("w", Path::new())).await;
            match (path, maze.walk()) {
                (Ok(path), Some(expected)) => assert_eq!(path, expected),
                (Err(error), None) => {
                    let run = RunError::of(&*error);
                    assert!(matches!(run, Some(RunError::TooMany { .. })), "{error}");
                }
                (path, expected) => panic!("{path:?}, {expected:?} was expected"),
            }
            let keys = world.keys.lock().unwrap().clone();
            assert!(keys.values().all(|keys| keys.len() == 1), "{keys:?}");
            // Each was done once, but for those that were under way at a kill.
            let calls: u32 = NAMES.into_iter().map(|name| world.calls(name)).sum();
            assert!(calls as usize <= keys.len() + kills.len(), "{calls} calls");
            let audit = store.verify(&id("w")).await.unwrap();
            assert_eq!(audit.findings, []);
        });
    }
}

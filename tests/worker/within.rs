//! Sagas and graphs that a handler runs over the journal of its task.

use buttress::checkpoint::{Effects, InDoubt, Step};
use buttress_flow::{
    graph::{END, Graph, Run},
    saga::{self, Action, Saga},
};
use tower::{BoxError, ServiceExt, service_fn};

use super::*;

const RETRY: Effects = Effects::SideEffect(InDoubt::Retry);

#[derive(Clone, Copy, Debug)]
enum Way {
    Saga,
    Graph,
}

/// What a handler does: three steps, each of a second, then as long again and longer of its own.
async fn handle(way: Way, task: Task, done: Arc<AtomicU32>) -> Result<u32, Failure> {
    let tool = service_fn(move |step: Step<u32>| {
        let done = done.clone();
        async move {
            sleep(SECOND).await;
            done.fetch_add(1, Ordering::Relaxed);
            Ok::<_, BoxError>(step.request + 1)
        }
    });
    let journal = task.journal().clone();
    let sum = match way {
        Way::Saga => {
            let step = |name: &str| {
                Action::new(name, RETRY, tool.clone(), |sum: &u32| *sum)
                    .then(|sum, response| *sum = *response)
                    .undo(RETRY, tool.clone(), |_, response| *response)
            };
            let saga = Saga::new("count", journal).step(step("a")).step(step("b")).step(step("c"));
            let report = saga.run(task.id(), 0).await.unwrap();
            assert_eq!(report.outcome, saga::Outcome::Completed, "{report}");
            report.state
        }
        Way::Graph => {
            let graph = Graph::new("count")
                .keyed_step("a", RETRY, tool.clone())
                .keyed_step("b", RETRY, tool.clone())
                .keyed_step("c", RETRY, tool)
                .edge("a", "b")
                .edge("b", "c")
                .edge("c", END);
            let graph = graph.build().unwrap().durable(journal).unwrap();
            graph.oneshot(Run::new(task.id(), 0)).await.unwrap()
        }
    };
    // Beyond a renewal of the lease.
    sleep(TTL / 2).await;
    Ok(sum)
}

#[tokio::test(start_paused = true)]
async fn what_ends_within_a_workflow_does_not_end_it() {
    for way in [Way::Saga, Way::Graph] {
        // Dies before, between and after the steps; last not at all.
        for seconds in 0..9 {
            let (store, done) = (MemoryStore::new(), Arc::<AtomicU32>::default());
            let journal = desk(&store);
            submit(&journal, "a", &7_u64).await.unwrap();
            let handler = |task: Task| handle(way, task, done.clone());
            let (first, second) = (Process::new(&store), Process::new(&store));
            let dies = first.worker.run(handler, std::future::pending());
            let died = timeout(SECOND * seconds + SECOND / 2, dies).await;
            assert!(died.is_err(), "a worker does not end by itself");
            let works = second.worker.run(handler, std::future::pending());
            let waits = timeout(10 * TTL, wait::<u32>(&journal, "a", POLL));
            let ended = tokio::select! {
                () = works => unreachable!("a worker does not end by itself"),
                ended = waits => ended,
            };
            let case = format!("{way:?}, killed after {seconds} s");
            assert_eq!(ended.expect(&case), Ok(3), "{case}");
            assert_eq!(done.load(Ordering::Relaxed), 3, "{case}");
            let stands = status(&journal, "a").await.unwrap().unwrap();
            assert_eq!(stands.state, State::Done, "{case}");
        }
    }
}

//! A run over a file, in processes that are killed at any time.
//!
//! The processes are this test binary, started again for the one test that plays them. They write what they do
//! into a diary, line by line, so that all of it is there up to the kill.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path as File, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use buttress::{
    Random,
    checkpoint::{Effects, Step},
    store::{Journal, Life, Store},
};
use buttress_flow::graph::{END, FanOut, Graph, News, Progress, Run};
use buttress_store::RedbStore;
use tokio::time::{Instant, sleep};
use tower::{BoxError, Service, ServiceExt, service_fn};

use super::{Path, words, world::*};

/// Where the store and the diary are.
const PLACE: &str = "BUTTRESS_TEST_GRAPH";
/// Which run of the test is to be repeated, as far as the times of the kills go.
const SEED: &str = "BUTTRESS_TEST_SEED";
const KILLS: u32 = 20;

fn write(place: &File, line: &str) {
    let mut diary = OpenOptions::new().create(true).append(true).open(place.join("diary")).unwrap();
    // One write a line: a kill leaves no half of one.
    diary.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn store(place: &File) -> RedbStore {
    RedbStore::open(place.join("run.redb")).unwrap()
}

/// A node that fails at its first visit if it is to, and writes down each call.
fn node(
    place: &File,
    fails: bool,
) -> impl Service<Step<Path>, Response = Path, Error = BoxError, Future: Send>
+ Clone
+ Send
+ Sync
+ use<> {
    let place = place.to_owned();
    service_fn(move |step: Step<Path>| {
        let place = place.clone();
        async move {
            let key = step.key.map_or_else(|| "-".into(), |key| key.to_string());
            write(&place, &format!("called {} {key}", step.step));
            sleep(Duration::from_millis(2)).await;
            match fails && step.step.occurrence == 1 {
                true => Err("it went wrong".into()),
                false => Ok([step.request, vec![step.step.to_string()]].concat()),
            }
        }
    })
}

/// Two rounds of a search that fails at first, three at once, and a graph within.
fn graph(place: &File) -> Graph<Path, BoxError> {
    let joins = place.to_owned();
    let ask = FanOut::new(move |path: Path, branches: Vec<Path>| {
        write(&joins, &format!("joined {}", branches.len()));
        path.into_iter().chain(branches.into_iter().filter_map(|mut path| path.pop())).collect()
    });
    let ask = ask
        .keyed_step("x", RETRY, node(place, false))
        .keyed_step("y", Effects::ReadOnly, node(place, false))
        .keyed_step("z", RETRY, node(place, false));
    let inner = Graph::new("inner").keyed_step("i", RETRY, node(place, false)).edge("i", END);
    let told = place.to_owned();
    Graph::new("killed")
        .keyed_step("search", RETRY, node(place, true))
        .catch("search", |path, error| [path, vec![error.to_string()]].concat())
        .route("search", Path::len, [(1, "search"), (2, "ask")])
        .fan_out("ask", ask)
        .nest("n", inner.build().unwrap())
        .edge("ask", "n")
        .route("n", |path: &Path| path.len() < 7, [(true, "n"), (false, END)])
        .follow(move |Progress { node, visit, news, .. }: &Progress<'_>| {
            if let News::Left { .. } = news {
                let number = if *visit > 1 { format!("#{visit}") } else { String::new() };
                write(&told, &format!("acknowledged {node}{number}"));
            }
        })
        .build()
        .unwrap()
}

const ENDS: [&str; 7] = ["it went wrong", "search#2", "ask/x", "ask/y", "ask/z", "n/i", "n#2/i"];

/// Not a test of its own: the part of another process.
#[tokio::test]
async fn plays_its_part() {
    let Some(place) = env::var_os(PLACE).map(PathBuf::from) else { return };
    let graph = graph(&place).durable(Journal::new(store(&place))).unwrap();
    let path = graph.oneshot(Run::new("w", Path::new())).await.unwrap();
    assert_eq!(words(&path), ENDS);
    write(&place, "ended");
}

struct Process(Child);

impl Process {
    fn start(place: &File) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "graph::process::plays_its_part", "--nocapture"])
            .env(PLACE, place)
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What was acknowledged is not done again, nor under another key, and joins see each branch once.
fn check(place: &File) {
    let diary = fs::read_to_string(place.join("diary")).unwrap_or_default();
    let mut keys = BTreeMap::<&str, BTreeSet<&str>>::new();
    let mut acknowledged = BTreeSet::new();
    for line in diary.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["called", step, key] => {
                assert!(!acknowledged.contains(step), "{step} again in {diary}");
                keys.entry(step).or_default().insert(key);
            }
            ["acknowledged", step] => assert!(acknowledged.insert(step), "{step} twice in {diary}"),
            ["joined", branches] => {
                assert_eq!(branches, "3", "{diary}");
                assert!(!acknowledged.contains("ask"), "{diary}");
            }
            ["ended"] => {}
            _ => unreachable!("{line}"),
        }
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "{keys:?}");
}

#[tokio::test]
async fn a_run_that_is_killed_at_any_time_goes_on_where_it_was() {
    let seed = env::var(SEED)
        .map_or_else(|_| (Random::default().unit() * 1e9) as u64, |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let random = Random::seeded(seed);
    let (mut kills, mut runs, mut whole) = (0, 0, Duration::ZERO);
    while kills < KILLS {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        loop {
            let start = Instant::now();
            let mut process = Process::start(place);
            // The first is left alone, to see how long that takes.
            if !whole.is_zero() && kills < KILLS {
                sleep(whole.mul_f64(random.unit())).await;
                if process.0.try_wait().unwrap().is_none() {
                    drop(process);
                    kills += 1;
                    check(place);
                    continue;
                }
            }
            assert!(process.0.wait().unwrap().success());
            if whole.is_zero() {
                whole = start.elapsed();
            }
            break;
        }
        check(place);
        let store = store(place);
        assert_eq!(store.verify(&id("w")).await.unwrap().findings, []);
        assert_eq!(store.summary(&id("w")).await.unwrap().unwrap().life, Life::Finished);
        runs += 1;
    }
    println!("{kills} kills over {runs} runs of {whole:?}");
}

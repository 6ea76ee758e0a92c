//! Sagas and two-phase commit in processes that are killed, over both engines: one outcome at all participants,
//! and no effect twice.
//!
//! The processes are this test binary, started again for the one test that plays them. `BUTTRESS_KILLS` says
//! how many of them are killed in each drill, `BUTTRESS_SEED` when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests too")]

mod books;
mod process;

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use buttress::Random;
use tokio::time::{sleep, timeout};

use self::{
    books::Books,
    process::{Engine, PART, Part, Role},
};
use crate::support::postgres::Scratch;

const TICK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test of its own: the part of another process.
#[tokio::test]
async fn plays_its_part() {
    if let Ok(part) = env::var(PART) {
        process::play(serde_json::from_str(&part).unwrap()).await;
    }
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// When it comes to a place for so many times: before or after it asks the store or a participant.
    Comes(u32),
    /// So long after its first word.
    Whenever(Duration),
    Never,
}

struct Process(Child);

impl Process {
    fn start(part: &Part) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "kills::plays_its_part", "--nocapture"])
            .env(PART, serde_json::to_string(part).unwrap())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    async fn end(&mut self) -> ExitStatus {
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return status,
                None => sleep(TICK).await,
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Chance(Random);

impl Chance {
    fn below(&self, most: u32) -> u32 {
        (self.0.unit() * f64::from(most)) as u32
    }
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|number| number.parse().expect(variable))
}

async fn drill(role: Role, engine: Engine) {
    let kills = number("BUTTRESS_KILLS").unwrap_or(24);
    let seed = number("BUTTRESS_SEED").unwrap_or_else(|| (Random::default().unit() * 1e9) as u64);
    println!("{role:?}: BUTTRESS_SEED={seed} BUTTRESS_KILLS={kills}");
    let chance = Chance(Random::seeded(seed));
    let books = Books::open().await;
    let (mut round, mut killed) = (0, 0);
    while killed < kills {
        let ids = ["good", "full"].map(|kind| format!("{kind}-{round}"));
        let mut lives = 1 + chance.below(3);
        loop {
            // The first of each round dies a few places on from the last, so that in time none is left out.
            let death = match (lives, chance.below(2)) {
                (0, _) => Death::Never,
                (1, 0) => Death::Comes(1 + (round * 7) % 150),
                (_, 0) => Death::Comes(1 + chance.below(100)),
                _ => Death::Whenever(TICK * chance.below(60)),
            };
            lives = lives.saturating_sub(1);
            let lived = timeout(PATIENCE, live(role, &engine, &books, &ids, death)).await;
            let status = lived.unwrap_or_else(|_| panic!("{ids:?} do not end: {}", books.show()));
            if status.signal() == Some(9) {
                killed += 1;
                // One is down through the outage, and returns when another process is at work, or has tried.
                let (desk, time) = (chance.below(6), TICK * chance.below(500));
                books.out_of_order(desk as usize, time);
            } else {
                assert!(status.success(), "{death:?}: {status}, seed {seed}");
                break;
            }
        }
        for id in &ids {
            books.check(role, id);
        }
        round += 1;
    }
    println!("{role:?}: {killed} killed in {round} rounds; {}", books.sum());
}

/// One process, from its start to its end.
async fn live(
    role: Role,
    engine: &Engine,
    books: &Books,
    ids: &[String],
    death: Death,
) -> ExitStatus {
    let dies = match death {
        Death::Comes(times) => Some(times),
        Death::Whenever(_) | Death::Never => None,
    };
    let hellos = books.hellos();
    let (engine, ids) = (engine.clone(), ids.to_vec());
    let mut process = Process::start(&Part { role, engine, address: books.address, ids, dies });
    if let Death::Whenever(time) = death {
        while books.hellos() == hellos {
            sleep(TICK).await;
        }
        sleep(time).await;
        process.0.kill().unwrap();
    }
    process.end().await
}

async fn over_a_file(role: Role) {
    let directory = tempfile::tempdir().unwrap();
    drill(role, Engine::File(directory.path().join("state.redb"))).await;
}

async fn over_a_server(role: Role) {
    let scratch = Scratch::new();
    let (url, schema) = (scratch.url.clone(), scratch.schema.clone());
    drill(role, Engine::Server { url, schema }).await;
}

#[tokio::test]
async fn a_saga_over_a_file_does_and_undoes_everything_once() {
    over_a_file(Role::Saga).await;
}

#[tokio::test]
async fn a_saga_over_a_server_does_and_undoes_everything_once() {
    over_a_server(Role::Saga).await;
}

#[tokio::test]
async fn a_transaction_over_a_file_comes_to_one_outcome() {
    over_a_file(Role::Transaction).await;
}

#[tokio::test]
async fn a_transaction_over_a_server_comes_to_one_outcome() {
    over_a_server(Role::Transaction).await;
}

//! Some workflows that processes do and die over, and the books that are kept of it.

use std::{
    collections::HashMap, error::Error, io, net::SocketAddr, os::unix::process::ExitStatusExt,
    pin::pin, process::Stdio, sync::Arc, time::Duration,
};

use rand::rngs::StdRng;
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

use super::{
    Cluster, Failure, SERVER, STEPS, Tally, WORKFLOWS,
    child::{Trade, at_the_tool, workflow},
    death::{Death, strike},
    engine,
    point::{Fate, Point},
    tool::Tool,
};
use crate::{run::Stop, store::At};

/// How long a process may take: one that stands still breaks a promise, too.
const LONGEST: Duration = Duration::from_secs(120);

/// Some workflows, from their beginning to their end.
pub(super) struct Batch<'a> {
    at: &'a At,
    cluster: Option<&'a Cluster>,
    name: String,
    tool: Tool,
    told: HashMap<String, Told>,
    pub(super) tally: Tally,
}

/// What was acknowledged of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    receipt: u64,
    /// How many requests the tool had by then.
    requests: u64,
}

/// How a process ended.
struct Ended {
    /// All steps are done.
    finished: bool,
    /// What was to be killed was killed.
    killed: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(at: &'a At, cluster: Option<&'a Cluster>, name: String) -> Self {
        let steps = u64::from(WORKFLOWS * STEPS);
        let tally = Tally { steps, ..Tally::default() };
        Self { at, cluster, name, tool: Tool::new(), told: HashMap::new(), tally }
    }

    /// Lets processes work at it, and up to `deaths` of them die.
    pub(super) async fn hold(
        &mut self,
        deaths: u64,
        random: &mut StdRng,
        stop: &Stop,
        mut progress: impl FnMut(u64),
    ) -> Result<(), Box<dyn Error>> {
        let mut points = engine::points(self.at).to_vec();
        points.extend(self.cluster.map(|_| Point::Server));
        loop {
            // Who wants the drill to end wants true books all the same: the rest is done in peace.
            let more = self.tally.kills < deaths && !stop.is_requested();
            let death = more.then(|| Death::draw(&points, random));
            let running = timeout(LONGEST, self.run(death));
            let Ok(ended) = running.await else {
                let at = death.map_or("nowhere".to_owned(), |death| death.point.to_string());
                let name = &self.name;
                let message = format!(
                    "a process of batch {name} that was to die at `{at}` is not done after {LONGEST:?}"
                );
                return Err(Failure(message).into());
            };
            let Ended { finished, killed } = ended?;
            if let Some(death) = death.filter(|_| killed) {
                self.tally.kills += 1;
                *self.tally.points.entry(death.point.to_string()).or_default() += 1;
                progress(self.tally.kills);
            }
            if finished {
                return Ok(());
            }
        }
    }

    /// Lets one process work.
    async fn run(&mut self, death: Option<Death>) -> Result<Ended, Box<dyn Error>> {
        // A tool's server of its own for each process: when it has ended, no request is left on the way.
        let (end, ended) = oneshot::channel();
        let (at, serving) = self.tool.serve(ended).await?;
        let serving = tokio::spawn(serving);
        let mut child = self.spawn(at, death)?;
        let lines =
            child.stdout.take().ok_or_else(|| Failure("no pipe to the child".to_owned()))?;
        let mut lines = BufReader::new(lines).lines();
        let mut striking = pin!(strike(self.tool.clone(), death));
        let mut crash = None;
        let mut struck = false;
        loop {
            tokio::select! {
                biased;
                line = lines.next_line() => match line? {
                    Some(line) => self.hear(&line)?,
                    None => break,
                },
                point = &mut striking, if !struck => {
                    struck = true;
                    match (point, self.cluster) {
                        (Point::Server, Some(cluster)) => crash = Some(cluster.crash()),
                        _ => child.start_kill()?,
                    }
                }
            }
        }
        let status = child.wait().await?;
        let _ = end.send(());
        serving.await??;
        let crashed = crash.is_some();
        if let Some(crash) = crash {
            crash.await??;
        }
        if status.success() {
            return Ok(Ended { finished: true, killed: crashed });
        }
        match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::KILL) if death.is_some_and(|death| death.point != Point::Server) => {
                return Ok(Ended { finished: false, killed: true });
            }
            // Meant for us, and it came before the process was in a group of its own.
            Some(Signal::INT | Signal::TERM | Signal::HUP) => {
                return Ok(Ended { finished: false, killed: false });
            }
            _ => {}
        }
        let mut words = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut words).await?;
        }
        let (name, words) = (&self.name, words.trim());
        let message = format!("a process of batch {name} ended by itself, with {status}: {words}");
        Err(Failure(message).into())
    }

    fn spawn(&self, tool: SocketAddr, death: Option<Death>) -> io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["drill", "child"]);
        match self.at {
            At::File(path) => command.arg("--file").arg(path),
            // Others can read a command line, and a URL may have a password.
            At::Postgres(url) => command.env(SERVER, url),
        };
        command.args(["--tool", &tool.to_string(), "--batch", &self.name]);
        if let Some(Death { point, nth, .. }) = death
            && point.in_the_process()
        {
            command.args(["--die-at", point.as_str(), "--nth", &nth.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Of its own, so that a Ctrl-C is heard by this process only.
        command.process_group(0);
        command.kill_on_drop(true).spawn()
    }

    /// Takes down what the child says.
    fn hear(&mut self, line: &str) -> Result<(), Failure> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["told", workflow, step, receipt] => {
                let (Ok(step), Ok(receipt)) = (step.parse(), receipt.parse()) else {
                    return Err(Failure(format!("a child said {line:?}")));
                };
                let step = at_the_tool(workflow, step);
                let requests = self.tool.asked(&step).requests;
                let told = Told { receipt, requests };
                match self.told.insert(step.clone(), told) {
                    None => self.tally.acknowledged += 1,
                    // Told again, from what was recorded: the same, and the tool was left alone.
                    Some(before) if before == told => {}
                    Some(before) => {
                        self.tally.lost += 1;
                        self.breach(format!("{step}: {before:?}, and later {told:?}"));
                    }
                }
                Ok(())
            }
            ["doubt", _, _] => {
                self.tally.in_doubt += 1;
                Ok(())
            }
            _ => Err(Failure(format!("a child said {line:?}"))),
        }
    }

    fn breach(&mut self, words: String) {
        self.tally.breaches.push(words);
    }

    /// Compares the books when all is done.
    pub(super) async fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        let store = engine::open(self.at, &Arc::new(Fate::new(None, 0))).await?;
        for number in 0..WORKFLOWS {
            let name = workflow(&self.name, number);
            let id = buttress::store::WorkflowId::new("drill", &*name);
            let summary = store.summary(&id).await?;
            let pending = summary.map_or(0, |summary| u64::from(summary.pending));
            if pending > 0 {
                self.tally.unresolved += pending;
                self.breach(format!("{name}: {pending} steps are in doubt at the end"));
            }
            for step in 0..STEPS {
                let step_there = at_the_tool(&name, step);
                let asked = self.tool.asked(&step_there);
                if !self.told.contains_key(&step_there) {
                    self.tally.unresolved += 1;
                    self.breach(format!("{step_there}: nothing was acknowledged"));
                }
                let wanted = u64::from(Trade::of(step) != Trade::Read);
                // One key for a step, whoever does it; and an effect that was told of and never came is lost.
                let more = asked.effects.saturating_sub(wanted)
                    + (asked.keys.len() as u64).saturating_sub(1);
                let fewer = wanted.saturating_sub(asked.effects);
                self.tally.duplicated_effects += more;
                self.tally.lost += fewer;
                if more + fewer > 0 {
                    self.breach(format!("{step_there}: the tool has {asked:?}"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledged_outcome_that_changes_or_is_asked_for_again_is_lost() {
        let at = At::File("unused".into());
        let mut batch = Batch::new(&at, None, "b".to_owned());
        for line in ["told b-0 0 5", "doubt b-0 1", "told b-0 0 5"] {
            batch.hear(line).expect("a child says so");
        }
        assert_eq!((batch.tally.acknowledged, batch.tally.in_doubt, batch.tally.lost), (1, 1, 0));
        batch.hear("told b-0 0 6").expect("a child says so");
        assert_eq!((batch.tally.acknowledged, batch.tally.lost), (1, 1));
        assert!(batch.tally.breaches[0].contains("receipt: 6"), "{:?}", batch.tally.breaches);
        assert!(!batch.tally.is_well());
        for nonsense in ["", "told b-0 0", "told b-0 x 5", "done"] {
            assert!(batch.hear(nonsense).is_err(), "{nonsense}");
        }
    }
}

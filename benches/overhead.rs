//! Compares what the layers cost with what their peers cost, in one run.
//!
//! Time is the median of many short batches, which take turns so that all subjects suffer from
//! the same disturbances. Allocations are counted over a fixed number of calls. Both come after a
//! warm-up.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, Write},
    time::Duration,
};

use buttress_benches::{Kind, Run, Subject, runtime};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use tokio::time::Instant;

/// Measures what each layer costs, beside the bare service and the peers' layers of the same kind.
#[derive(Debug, Parser)]
struct Arguments {
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Measures for a second only.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Long beside the resolution of the clock, short beside a slice of the scheduler.
const BATCH: Duration = Duration::from_micros(100);
const BATCHES: usize = 2_000;
const QUICK_BATCHES: usize = 200;
const WARM_UP: Duration = Duration::from_millis(20);
/// Allocations are counted over so many calls: enough to see those that are made rarely.
const COUNTED: u64 = 10_000;

#[derive(Debug, Serialize)]
struct Row {
    pattern: &'static str,
    subject: &'static str,
    /// Nanoseconds per call: the median over the batches.
    ns: f64,
    /// Allocations per call.
    allocations: f64,
    /// Bytes allocated per call.
    bytes: f64,
    /// A quarter of the batches took less than this.
    ns_q1: f64,
    /// A quarter of the batches took more than this.
    ns_q3: f64,
    /// Times the bare service.
    to_bare: f64,
    /// Times the fastest peer of the pattern.
    to_best_peer: Option<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { format, quick } = Arguments::parse();
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let rows = measure(if quick { QUICK_BATCHES } else { BATCHES });
    let mut out = io::stdout().lock();
    match format {
        Format::Table => print_table(&mut out, &rows)?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &rows)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// A subject that is being measured.
struct Entrant {
    subject: Subject,
    run: Run,
    allocations: f64,
    bytes: f64,
    /// Calls per batch.
    calls: u64,
    /// Nanoseconds per call, of each batch.
    batches: Vec<f64>,
}

impl Entrant {
    fn new(subject: Subject) -> Self {
        let mut run = subject.build();
        let mut calls = 1;
        // Doubles until the warm-up is long enough, and so learns how many calls make a batch.
        let taken = loop {
            let taken = time(&mut run, calls);
            if taken >= WARM_UP {
                break taken;
            }
            calls *= 2;
        };
        let share = BATCH.as_secs_f64() / taken.as_secs_f64();
        let info = allocation_counter::measure(|| run.calls(COUNTED));
        Self {
            subject,
            run,
            allocations: info.count_total as f64 / COUNTED as f64,
            bytes: info.bytes_total as f64 / COUNTED as f64,
            calls: (calls as f64 * share).ceil() as u64,
            batches: Vec::new(),
        }
    }

    fn batch(&mut self) {
        let taken = time(&mut self.run, self.calls);
        self.batches.push(taken.as_secs_f64() * 1e9 / self.calls as f64);
    }
}

fn time(run: &mut Run, calls: u64) -> Duration {
    let start = Instant::now();
    run.calls(calls);
    start.elapsed()
}

fn measure(batches: usize) -> Vec<Row> {
    let mut entrants: Vec<_> = Subject::ALL.iter().copied().map(Entrant::new).collect();
    for round in 0..batches {
        // There and back, so that nobody always comes after the same neighbour.
        if round % 2 == 0 {
            entrants.iter_mut().for_each(Entrant::batch);
        } else {
            entrants.iter_mut().rev().for_each(Entrant::batch);
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut best: HashMap<(&str, Kind), f64> = HashMap::new();
    for Entrant { subject, allocations, bytes, mut batches, .. } in entrants {
        batches.sort_by(f64::total_cmp);
        let quantile = |q: f64| batches[((batches.len() - 1) as f64 * q).round() as usize];
        let ns = quantile(0.5);
        let Subject { pattern, name, kind, .. } = subject;
        let least = best.entry((pattern, kind)).or_insert(ns);
        *least = least.min(ns);
        rows.push(Row {
            pattern,
            subject: name,
            ns,
            allocations,
            bytes,
            ns_q1: quantile(0.25),
            ns_q3: quantile(0.75),
            to_bare: f64::NAN,
            to_best_peer: None,
        });
    }
    for row in &mut rows {
        row.to_bare = row.ns / best[&(row.pattern, Kind::Bare)];
        row.to_best_peer = best.get(&(row.pattern, Kind::Peer)).map(|best| row.ns / best);
    }
    rows
}

fn print_table(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    writeln!(
        out,
        "{:<13} {:<23} {:>9} {:>15} {:>11} {:>8} {:>8} {:>11}",
        "pattern", "subject", "ns", "quartiles", "allocations", "bytes", "x bare", "x best peer"
    )?;
    let mut before = None;
    for row in rows {
        if before.is_some_and(|before| before != row.pattern) {
            writeln!(out)?;
        }
        before = Some(row.pattern);
        let quartiles = format!("{:.1}..{:.1}", row.ns_q1, row.ns_q3);
        let to_best_peer = row.to_best_peer.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        writeln!(
            out,
            "{:<13} {:<23} {:>9.1} {:>15} {:>11.2} {:>8.1} {:>8.1} {:>11}",
            row.pattern,
            row.subject,
            row.ns,
            quartiles,
            row.allocations,
            row.bytes,
            row.to_bare,
            to_best_peer
        )?;
    }
    Ok(())
}

//! The report for a terminal.

use super::{
    headline::Gain,
    number::{change, fixed, grouped, half, interruption, percent, requests},
    text::{cut, width, wrapped},
};
use crate::{
    run::{Measured, MeasuredArm},
    series::Stretch,
    stats::{Estimate, Latency, Summary},
};

/// How wide a line may get.
const WIDTH: usize = 120;
/// What is left of a long name.
const NARROWEST: usize = 24;

/// Draws tables of at most 120 columns: reliability, latency and cost, one arm a line.
pub fn table(measured: &Measured) -> String {
    let settings = &measured.settings;
    let mut text = String::new();
    for line in wrapped(&format!("{}: {}", measured.experiment, measured.description), WIDTH) {
        text += &line;
        text.push('\n');
    }
    text += &format!(
        "{}, seed {}, {}. ± is half of a 99 % interval.\n",
        requests(measured),
        settings.seed,
        settings.world,
    );
    for line in interruption(measured).iter().flat_map(|told| wrapped(told, WIDTH)) {
        text += &line;
        text.push('\n');
    }
    if let Some(gain) = Gain::of(measured) {
        text.push('\n');
        for line in wrapped(&gain.sentence(), WIDTH) {
            text += &line;
            text.push('\n');
        }
    }
    let parts = [later(measured), over_time(measured)].into_iter().flatten();
    for part in parts.chain([reliability(measured), latency(measured), cost(measured)]) {
        text.push('\n');
        text += &part.draw();
    }
    text
}

/// What came of the requests from a certain time on, if the plan asks for it.
fn later(measured: &Measured) -> Option<Grid> {
    let from = measured.after?.as_secs_f64();
    let title = format!("FROM {from} s ON");
    let heads = [
        &title,
        "offered/s",
        "goodput/s",
        "of offered",
        "",
        "p50 s",
        "p99 s",
        "",
        "tool calls per request",
        "",
    ];
    let rows = measured.arms.iter().filter_map(|arm| {
        let later = arm.later.as_ref()?;
        if later.numbers.requests == 0 {
            return Some(vec![arm.name.clone(), "none".to_owned()]);
        }
        let Summary { success, calls, latency, .. } = &later.numbers;
        let latency = |pick: fn(&Latency) -> Estimate| latency.as_ref().map(pick);
        let time = |estimate: Option<Estimate>| estimate.map(|e| fixed(e.value, 2));
        let (p50, p99) = (latency(|l| l.p50), latency(|l| l.p99));
        Some(vec![
            arm.name.clone(),
            fixed(later.offered(), 1),
            fixed(later.goodput(), 1),
            percent(success.value),
            half(*success, 100.0),
            time(p50).unwrap_or_default(),
            time(p99).unwrap_or_default(),
            p99.map_or_else(String::new, |p99| half(p99, 1.0)),
            fixed(calls.value, 3),
            half(*calls, 1.0),
        ])
    });
    Some(Grid::new(&heads, rows, Last::Left))
}

/// How many columns a drawing over time has at most.
const COLUMNS: usize = 60;

/// How much of what is offered is answered over time, if the plan asks for it.
fn over_time(measured: &Measured) -> Option<Grid> {
    let series = |arm: &MeasuredArm| Some(arm.series.clone()?.coarsened(COLUMNS));
    let widths = measured.arms.iter().filter_map(series).map(|series| series.width());
    let width = widths.max()?;
    let each = format!("a column is {} s, its height goodput by load", width.as_secs_f64());
    let rows = measured.arms.iter().filter_map(|arm| {
        let levels = series(arm)?.widened(width).stretches().iter().map(level).collect();
        Some(vec![arm.name.clone(), levels])
    });
    Some(Grid::new(&["OVER TIME", &each], rows, Last::Left))
}

/// How much of the load was answered, drawn as a column.
fn level(stretch: &Stretch) -> char {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let share = stretch.answered as f64 / stretch.offered as f64;
    match (stretch.offered, stretch.answered) {
        (0, 0) => ' ',
        (_, 0) => '.',
        _ => LEVELS[((share * 8.0) as usize).min(7)],
    }
}

fn reliability(measured: &Measured) -> Grid {
    let first = measured.arms.first().map_or(0.0, |arm| arm.numbers.success.value);
    let heads = [
        "RELIABILITY",
        "requests",
        "success rate",
        "",
        "increase",
        "failures",
        "after s",
        "by kind",
    ];
    let rows = measured.arms.iter().zip(0..).map(|(arm, at)| {
        let numbers = &arm.numbers;
        let kinds: Vec<String> =
            numbers.errors.iter().map(|(kind, n)| format!("{kind} {}", grouped(*n))).collect();
        vec![
            arm.name.clone(),
            grouped(numbers.requests),
            percent(numbers.success.value),
            half(numbers.success, 100.0),
            if at == 0 { "–".to_owned() } else { change(numbers.success.value, first) },
            grouped(numbers.requests - numbers.successes),
            numbers.failure.map_or_else(String::new, |after| fixed(after.value, 2)),
            kinds.join(", "),
        ]
    });
    Grid::new(&heads, rows, Last::Left)
}

fn latency(measured: &Measured) -> Grid {
    let heads = [
        "LATENCY of answers, s",
        "mean",
        "",
        "p50",
        "",
        "p90",
        "p95",
        "p99",
        "",
        "p99.9",
        "",
        "max (P100)",
    ];
    let rows = measured.arms.iter().map(|arm| {
        let mut row = vec![arm.name.clone()];
        match &arm.numbers.latency {
            Some(Latency { mean, p50, p90, p95, p99, p999, max }) => row.extend([
                fixed(mean.value, 3),
                half(*mean, 1.0),
                fixed(p50.value, 3),
                half(*p50, 1.0),
                fixed(p90.value, 2),
                fixed(p95.value, 2),
                fixed(p99.value, 2),
                half(*p99, 1.0),
                fixed(p999.value, 2),
                half(*p999, 1.0),
                fixed(*max, 2),
            ]),
            None => row.push("none".to_owned()),
        }
        row
    });
    Grid::new(&heads, rows, Last::Right)
}

fn cost(measured: &Measured) -> Grid {
    let heads = ["COST per request", "tool calls", "", "tool seconds", "", "cancelled calls", ""];
    let rows = measured.arms.iter().map(|MeasuredArm { name, numbers, .. }| {
        let pair = |estimate: Estimate| [fixed(estimate.value, 3), half(estimate, 1.0)];
        let [calls, tool, cancelled] =
            [pair(numbers.calls), pair(numbers.tool_seconds), pair(numbers.cancelled)];
        [vec![name.clone()], calls.into(), tool.into(), cancelled.into()].concat()
    });
    Grid::new(&heads, rows, Last::Left)
}

/// How the last column is aligned; the first is to the left, half-widths too, the rest to the right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Left,
    Right,
}

struct Grid {
    rows: Vec<Vec<String>>,
    last: Last,
}

impl Grid {
    fn new(heads: &[&str], rows: impl Iterator<Item = Vec<String>>, last: Last) -> Self {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self { rows: std::iter::once(heads).chain(rows).collect(), last }
    }

    fn draw(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (at, (cell, room)) in row.iter().zip(&widths).enumerate() {
                let cell = cut(cell, *room);
                let blank = " ".repeat(room - width(&cell));
                line += self.gap(at);
                line += &if self.is_to_the_left(at) { cell + &blank } else { blank + &cell };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// How wide the columns are. Long names give way before numbers do, then the last column.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns())
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        let gaps: usize = (0..widths.len()).map(|at| self.gap(at).len()).sum();
        let mut surplus = (widths.iter().sum::<usize>() + gaps).saturating_sub(WIDTH);
        if let Some(name) = widths.first_mut() {
            let given = surplus.min(name.saturating_sub(NARROWEST));
            (*name, surplus) = (*name - given, surplus - given);
        }
        if let Some(last) = widths.last_mut() {
            *last = last.saturating_sub(surplus);
        }
        widths
    }

    fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// What stands before a column.
    fn gap(&self, at: usize) -> &'static str {
        match at {
            0 => "",
            // A half-width stands by its number.
            _ if self.is_half_width(at) => " ",
            _ => "  ",
        }
    }

    fn is_to_the_left(&self, at: usize) -> bool {
        at == 0 || self.is_half_width(at) || (at + 1 == self.columns() && self.last == Last::Left)
    }

    fn is_half_width(&self, at: usize) -> bool {
        at > 0 && self.rows.first().and_then(|heads| heads.get(at)).is_some_and(String::is_empty)
    }
}

//! What happened when: one small drawing for each arm, all to the same scale.

use std::time::Duration;

use super::{
    axis::{Axis, Scale, tick},
    escape,
    label::colour,
};
use crate::{
    run::MeasuredArm,
    series::{Series, Stretch},
};

const WIDTH: f64 = 1_120.0;
const COLUMNS: usize = 2;
const GAP: f64 = 32.0;
/// What the numbers at the side take.
const LEFT: f64 = 44.0;
const TOP: f64 = 30.0;
const HEIGHT: f64 = 150.0;
/// What the numbers below take, and the space to the next row.
const FOOT: f64 = 44.0;

/// More points than this are not told apart.
const MOST_POINTS: usize = 400;

/// Draws goodput, load and tool calls per second over time; `after` is marked, the first arm and
/// the `best` stand out. Nothing, if nobody wrote down what happened when.
pub(super) fn draw(
    arms: &[MeasuredArm],
    after: Option<Duration>,
    best: Option<&str>,
) -> Option<String> {
    let series = |arm: &MeasuredArm| Some(arm.series.clone()?.coarsened(MOST_POINTS));
    let all: Vec<Series> = arms.iter().filter_map(series).collect();
    let width = all.iter().map(Series::width).max()?;
    // As wide for all: the narrower, the higher the noise.
    let all: Vec<Series> = all.into_iter().map(|series| series.widened(width)).collect();
    let all: Vec<&[Stretch]> = all.iter().map(whole).collect();
    let seconds = width.as_secs_f64();
    let most = all.iter().copied().flatten().map(|stretch| stretch.offered.max(stretch.calls));
    let most = (most.max()? as f64 / seconds * 1.05).max(f64::MIN_POSITIVE);
    let last = all.iter().map(|stretches| stretches.len()).max()? as f64 * seconds;

    let rows = all.len().div_ceil(COLUMNS);
    let row_height = TOP + HEIGHT + FOOT;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Goodput, load and tool calls over time\">",
        rows as f64 * row_height
    );
    let wide = (WIDTH - GAP * (COLUMNS - 1) as f64) / COLUMNS as f64;
    for ((arm, stretches), at) in arms.iter().zip(all).zip(0..) {
        let (left, top) =
            ((at % COLUMNS) as f64 * (wide + GAP) + LEFT, (at / COLUMNS) as f64 * row_height + TOP);
        let panel = Panel {
            arm,
            stretches,
            seconds,
            colour: colour(at),
            is_bold: at == 0 || Some(arm.name.as_str()) == best,
            time: Axis::new(Scale::Linear, (0.0, last), (left, left + wide - LEFT)),
            rate: Axis::new(Scale::Linear, (0.0, most), (top + HEIGHT, top)),
            places: (left, top, left + wide - LEFT, top + HEIGHT),
        };
        svg += &panel.draw(after);
    }
    Some(svg + "</svg>")
}

/// What is drawn: the stretches in which requests were made from beginning to end.
fn whole(series: &Series) -> &[Stretch] {
    let stretches = series.stretches();
    let last = stretches.iter().rposition(|stretch| stretch.offered > 0).unwrap_or(0);
    // All there is, where that is not even one.
    stretches.get(..last).filter(|whole| !whole.is_empty()).unwrap_or(stretches)
}

/// The drawing of one arm.
struct Panel<'a> {
    arm: &'a MeasuredArm,
    stretches: &'a [Stretch],
    /// How long each of them is.
    seconds: f64,
    colour: &'static str,
    is_bold: bool,
    time: Axis,
    rate: Axis,
    /// Left, top, right and bottom.
    places: (f64, f64, f64, f64),
}

impl Panel<'_> {
    fn draw(&self, after: Option<Duration>) -> String {
        let (left, top, right, bottom) = self.places;
        let colour = self.colour;
        let mut svg = format!(
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" rx=\"3\" fill=\"{colour}\"/>\
             <text class=\"{}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            top - 20.0,
            if self.is_bold { "bold" } else { "name" },
            left + 16.0,
            top - 10.5,
            escape(&self.arm.name),
        );
        for at in self.rate.ticks() {
            let y = self.rate.place(at);
            svg += &format!(
                "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                tick(at)
            );
        }
        for at in self.time.ticks() {
            let x = self.time.place(at);
            svg += &format!(
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
                bottom + 18.0,
                tick(at)
            );
        }
        if let Some(after) = after {
            let x = self.time.place(after.as_secs_f64());
            svg += &format!(
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
            );
        }
        if self.stretches.is_empty() {
            return svg;
        }
        let goodput = self.path(|stretch| stretch.answered);
        let (offered, calls) =
            (self.path(|stretch| stretch.offered), self.path(|stretch| stretch.calls));
        let (first, last) = (self.middle(1), self.middle(self.stretches.len()));
        svg += &format!(
            "<path class=\"area\" fill=\"{colour}\" d=\"{goodput}L{last:.1} {bottom:.1}L{first:.1} {bottom:.1}Z\"/>\
             <path class=\"line\" stroke=\"{colour}\" d=\"{goodput}\"/>\
             <path class=\"load\" d=\"{offered}\"/>\
             <path class=\"calls\" d=\"{calls}\"/>"
        );
        svg
    }

    /// A line through the middles of the stretches, per second.
    fn path(&self, pick: fn(&Stretch) -> u64) -> String {
        let mut path = String::new();
        for (stretch, at) in self.stretches.iter().zip(1..) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let y = self.rate.place(pick(stretch) as f64 / self.seconds);
            path += &format!("{command}{:.1} {y:.1}", self.middle(at));
        }
        path
    }

    /// Where the middle of a stretch lies, counted from 1.
    fn middle(&self, at: usize) -> f64 {
        self.time.place((at as f64 - 0.5) * self.seconds)
    }
}

/// What the lines are, for the text above.
pub(super) const LEGEND: &str = "<p class=\"legend\"><i class=\"goodput\"></i>right answers \
    <i class=\"load\"></i>requests <i class=\"calls\"></i>tool calls</p>";

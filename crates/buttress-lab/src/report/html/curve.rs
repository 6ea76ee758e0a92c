//! The share of requests without an answer over time, on logarithmic axes.

use super::{
    axis::{Axis, Scale, tick},
    escape,
    label::{apart, colour, width},
};
use crate::{report::number::small_percent, run::MeasuredArm};

const WIDTH: f64 = 1_120.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 16.0;
const GAP: f64 = 19.0;
/// What stands between the drawing and a name.
const SWATCH: f64 = 44.0;

/// The first arm and the `best` stand out.
pub(super) fn draw(arms: &[MeasuredArm], best: Option<&str>) -> String {
    let ends = arms.iter().flat_map(|arm| {
        let curve = &arm.numbers.waiting;
        [curve.first(), curve.last()].into_iter().flatten().map(|point| point.0)
    });
    let (first, last) =
        ends.fold((f64::INFINITY, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
    if first > last {
        return "<p>No request was answered.</p>".to_owned();
    }
    let bottom = TOP + (arms.len() as f64 * GAP).max(420.0);
    let (first, last) = (first * 0.9, (last * 1.1).max(first * 2.0));
    // The names stand to the right.
    let widest = arms.iter().map(|arm| width(&arm.name) + width(&failed(arm))).fold(0.0, f64::max);
    let right = WIDTH - SWATCH - widest;
    let time = Axis::new(Scale::Logarithmic, (first, last), (LEFT, right));
    let share = Axis::new(Scale::Logarithmic, (least(arms), 1.0), (bottom, TOP));

    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Share of requests without an answer over time\">",
        bottom + 52.0
    );
    for at in share.ticks() {
        let y = share.place(at);
        svg += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
            LEFT - 8.0,
            y + 4.0,
            tick(at * 100.0)
        );
    }
    for at in time.ticks() {
        let x = time.place(at);
        svg += &format!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} s</text>",
            bottom + 18.0,
            tick(at)
        );
    }
    svg += &format!(
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">time since the request</text>",
        (LEFT + right) / 2.0,
        bottom + 40.0
    );
    let levels: Vec<f64> = arms.iter().map(|arm| share.place(level(arm))).collect();
    let names = apart(&levels, GAP, (TOP + 6.0, bottom));
    let mut lines: Vec<Line<'_>> = arms
        .iter()
        .zip(0..)
        .zip(levels.iter().zip(names))
        .map(|((arm, at), (level, name))| {
            let strong = at == 0 || Some(arm.name.as_str()) == best;
            Line { arm, colour: colour(at), strong, level: *level, name, right }
        })
        .collect();
    // Last, so that nothing covers them.
    lines.sort_by_key(|line| line.strong);
    for line in lines {
        svg += &line.curve(&time, &share);
        svg += &line.label();
    }
    svg + "</svg>"
}

/// The share that failed.
fn level(arm: &MeasuredArm) -> f64 {
    arm.numbers.waiting.last().map_or(1.0, |end| end.1)
}

/// The foot of the axis: the power of ten below what one request in the largest arm weighs.
fn least(arms: &[MeasuredArm]) -> f64 {
    let requests = arms.iter().map(|arm| arm.numbers.requests).max().unwrap_or(1).max(10);
    let lowest = arms.iter().map(level).filter(|share| *share > 0.0).fold(0.1, f64::min);
    // No lower than is needed to see where the lowest line levels out, with some room below.
    10_f64.powf(lowest.log10().floor() - 1.0).max(0.5 / requests as f64)
}

/// How the share that failed is written.
fn failed(arm: &MeasuredArm) -> String {
    match level(arm) {
        0.0 => "none fail".to_owned(),
        share => format!("{} fail", small_percent(share)),
    }
}

/// One arm in the drawing.
struct Line<'a> {
    arm: &'a MeasuredArm,
    colour: &'static str,
    strong: bool,
    /// How high it ends.
    level: f64,
    /// How high its name stands.
    name: f64,
    right: f64,
}

impl Line<'_> {
    fn curve(&self, time: &Axis, share: &Axis) -> String {
        let Self { arm, colour, strong, level, right, .. } = self;
        let mut path = String::new();
        for (seconds, waiting) in &arm.numbers.waiting {
            let command = if path.is_empty() { 'M' } else { 'L' };
            path += &format!("{command}{:.1} {:.1}", time.place(*seconds), share.place(*waiting));
        }
        let end = arm.numbers.waiting.last().map_or(LEFT, |end| time.place(end.0));
        let weight = if *strong { " strong" } else { "" };
        format!(
            "<path class=\"line{weight}\" stroke=\"{colour}\" d=\"{path}\"/>\
             <path class=\"line level\" stroke=\"{colour}\" d=\"M{end:.1} {level:.1}L{right:.1} {level:.1}\"/>"
        )
    }

    fn label(&self) -> String {
        let Self { arm, colour, strong, level, name: y, right } = self;
        format!(
            "<path class=\"leader\" d=\"M{right:.1} {level:.1}L{:.1} {y:.1}L{:.1} {y:.1}\"/>\
             <rect x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" rx=\"3\" fill=\"{colour}\"/>\
             <text class=\"{}\" x=\"{:.1}\" y=\"{:.1}\">{} <tspan class=\"tick\">{}</tspan></text>",
            right + 14.0,
            right + 20.0,
            right + 24.0,
            y - 5.0,
            if *strong { "bold" } else { "name" },
            right + 40.0,
            y + 4.5,
            escape(&arm.name),
            failed(arm),
        )
    }
}

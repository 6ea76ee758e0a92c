//! The share of requests without an answer over time, on logarithmic axes.

use super::{
    axis::{Axis, Scale, tick},
    escape,
    label::{apart, colour},
};
use crate::{report::number::small_percent, run::MeasuredArm};

const WIDTH: f64 = 1_120.0;
const LEFT: f64 = 64.0;
/// The names stand to the right of this.
const RIGHT: f64 = 780.0;
const TOP: f64 = 16.0;
const GAP: f64 = 19.0;

/// The first arm and the `best` stand out.
pub(super) fn draw(arms: &[MeasuredArm], best: Option<&str>) -> String {
    let answered: Vec<(usize, &MeasuredArm)> =
        arms.iter().enumerate().filter(|(_, arm)| !arm.numbers.waiting.is_empty()).collect();
    let ends = answered.iter().flat_map(|(_, arm)| {
        let curve = &arm.numbers.waiting;
        [curve.first(), curve.last()].into_iter().flatten().map(|point| point.0)
    });
    let (first, last) =
        ends.fold((f64::INFINITY, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
    if answered.is_empty() {
        return "<p>No request was answered.</p>".to_owned();
    }
    let bottom = TOP + (answered.len() as f64 * GAP).max(420.0);
    let (first, last) = (first * 0.9, (last * 1.1).max(first * 2.0));
    let time = Axis::new(Scale::Logarithmic, (first, last), (LEFT, RIGHT));
    let share = Axis::new(Scale::Logarithmic, (least(arms), 1.0), (bottom, TOP));

    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Share of requests without an answer over time\">",
        bottom + 52.0
    );
    for at in share.ticks() {
        let y = share.place(at);
        svg += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
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
        (LEFT + RIGHT) / 2.0,
        bottom + 40.0
    );
    let levels: Vec<f64> = answered.iter().map(|(_, arm)| share.place(level(arm))).collect();
    let names = apart(&levels, GAP, (TOP + 6.0, bottom));
    let stands_out = |at: usize, arm: &MeasuredArm| at == 0 || Some(arm.name.as_str()) == best;
    let mut lines: Vec<_> = answered.iter().zip(&levels).zip(&names).collect();
    // Last, so that nothing covers them.
    lines.sort_by_key(|(((at, arm), _), _)| stands_out(*at, arm));
    for (((at, arm), level), name) in lines {
        let strong = stands_out(*at, arm);
        svg += &line(*at, arm, (&time, &share), *level, strong);
        svg += &named(*at, arm, *level, *name, strong);
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

fn line(
    at: usize,
    arm: &MeasuredArm,
    (time, share): (&Axis, &Axis),
    level: f64,
    strong: bool,
) -> String {
    let mut path = String::new();
    for (seconds, waiting) in &arm.numbers.waiting {
        let command = if path.is_empty() { 'M' } else { 'L' };
        path += &format!("{command}{:.1} {:.1}", time.place(*seconds), share.place(*waiting));
    }
    let end = arm.numbers.waiting.last().map_or(RIGHT, |end| time.place(end.0));
    let weight = if strong { " strong" } else { "" };
    let colour = colour(at);
    format!(
        "<path class=\"line{weight}\" stroke=\"{colour}\" d=\"{path}\"/>\
         <path class=\"line level\" stroke=\"{colour}\" d=\"M{end:.1} {level:.1}L{RIGHT} {level:.1}\"/>"
    )
}

fn named(at: usize, arm: &MeasuredArm, level: f64, y: f64, strong: bool) -> String {
    let failed = match self::level(arm) {
        0.0 => "none fail".to_owned(),
        share => format!("{} fail", small_percent(share)),
    };
    let weight = if strong { "bold" } else { "name" };
    format!(
        "<path class=\"leader\" d=\"M{RIGHT} {level:.1}L{:.1} {y:.1}L{:.1} {y:.1}\"/>\
         <rect x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" rx=\"3\" fill=\"{}\"/>\
         <text class=\"{weight}\" x=\"{:.1}\" y=\"{:.1}\">{} <tspan class=\"tick\">{failed}</tspan></text>",
        RIGHT + 14.0,
        RIGHT + 20.0,
        RIGHT + 24.0,
        y - 5.0,
        colour(at),
        RIGHT + 40.0,
        y + 4.5,
        escape(&arm.name),
    )
}

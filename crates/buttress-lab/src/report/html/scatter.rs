//! Cost against latency, one point for each arm.

use super::{
    axis::{Axis, Scale, tick},
    escape,
    label::{Area, beside, colour, width},
};
use crate::{report::number::percent, run::MeasuredArm};

const WIDTH: f64 = 1_120.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 1_100.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 440.0;
const RADIUS: f64 = 7.0;

struct Point<'a> {
    at: usize,
    arm: &'a MeasuredArm,
    calls: f64,
    p99: f64,
    stands_out: bool,
}

/// The first arm and the `best` stand out.
pub(super) fn draw(arms: &[MeasuredArm], best: Option<&str>) -> String {
    let points: Vec<Point<'_>> = arms
        .iter()
        .enumerate()
        .filter_map(|(at, arm)| {
            let p99 = arm.numbers.latency.as_ref()?.p99.value;
            let stands_out = at == 0 || Some(arm.name.as_str()) == best;
            Some(Point { at, arm, calls: arm.numbers.calls.value, p99, stands_out })
        })
        .collect();
    if points.is_empty() {
        return "<p>No request was answered.</p>".to_owned();
    }
    let highest = |pick: fn(&Point<'_>) -> f64| points.iter().map(pick).fold(0.0, f64::max);
    let lowest = points.iter().map(|point| point.calls).fold(f64::INFINITY, f64::min);
    let most = highest(|point| point.calls);
    // Zero would waste the width where every arm makes one call or more.
    let room = ((most - lowest) * 0.08).max(0.1);
    let calls = Axis::new(Scale::Linear, ((lowest - room).max(0.0), most + room), (LEFT, RIGHT));
    let top = (highest(|point| point.p99) * 1.12).max(0.001);
    let seconds = Axis::new(Scale::Linear, (0.0, top), (BOTTOM, TOP));

    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"Tool calls per request against p99\">",
        BOTTOM + 52.0
    );
    for at in seconds.ticks() {
        let y = seconds.place(at);
        svg += &format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} s</text>",
            LEFT - 8.0,
            y + 4.0,
            tick(at)
        );
    }
    for at in calls.ticks() {
        let x = calls.place(at);
        svg += &format!(
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 18.0,
            tick(at)
        );
    }
    svg += &format!(
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">tool calls per request</text>",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 40.0
    );
    let whole = Area { left: LEFT + 4.0, top: TOP, right: RIGHT, bottom: BOTTOM - 4.0 };
    let places: Vec<(f64, f64)> =
        points.iter().map(|p| (calls.place(p.calls), seconds.place(p.p99))).collect();
    let mut taken: Vec<Area> =
        places.iter().map(|(x, y)| Area::around(*x, *y, RADIUS + 2.0)).collect();
    for (point, place) in points.iter().zip(&places) {
        svg += &named(point, *place, &whole, &mut taken);
    }
    for (point, (x, y)) in points.iter().zip(&places) {
        svg += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\" fill=\"{}\"/>",
            colour(point.at)
        );
    }
    svg + "</svg>"
}

fn named(point: &Point<'_>, (x, y): (f64, f64), whole: &Area, taken: &mut Vec<Area>) -> String {
    let answered = percent(point.arm.numbers.success.value);
    let text = format!("{} {answered}", point.arm.name);
    let Some(area) = beside((x, y), width(&text), whole, taken) else { return String::new() };
    let weight = if point.stands_out { "bold" } else { "name" };
    // From the point to the nearest place on the name.
    let (to_x, to_y) = (x.clamp(area.left, area.right), y.clamp(area.top + 2.0, area.bottom - 2.0));
    format!(
        "<path class=\"leader\" d=\"M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}\"/>\
         <text class=\"{weight} halo\" x=\"{:.1}\" y=\"{:.1}\">{} <tspan class=\"tick\">{answered}</tspan></text>",
        area.left + 2.0,
        area.bottom - 4.5,
        escape(&point.arm.name),
    )
}

//! The report for a browser: one page that needs nothing else.

mod axis;
mod curve;
mod label;
mod scatter;
mod timeline;

use super::{
    headline::Gain,
    number::{change, fixed, grouped, half, interruption, percent, requests},
};
use crate::{
    run::{Measured, MeasuredArm},
    stats::{Estimate, Latency, Summary},
};

const STYLE: &str = include_str!("html/style.css");

/// Draws a page: what was gained, the curves of waiting, cost against latency, and the numbers.
///
/// It has no scripts and loads nothing.
pub fn html(measured: &Measured) -> String {
    let title = escape(&measured.experiment);
    let gain = Gain::of(measured);
    let best = gain.as_ref().map(|gain| gain.best.name.as_str());
    let (headline, cards) = match &gain {
        Some(gain) => (escape(&gain.claim()), cards(gain)),
        None => ("Nothing was gained over the first arm.".to_owned(), String::new()),
    };
    let interrupted = interruption(measured)
        .map(|told| format!("<p class=\"warning\">{}</p>", escape(&told)))
        .unwrap_or_default();
    let settings = &measured.settings;
    let facts = format!(
        "{}, seed {}, {}. ± is half of a 99 % interval.",
        requests(measured),
        settings.seed,
        settings.world
    );
    let (curve, scatter) = (curve::draw(&measured.arms, best), scatter::draw(&measured.arms, best));
    let (timeline, later) = (timeline(measured, best), later(measured));
    let (reliability, latency, cost) = (reliability(measured), latency(measured), cost(measured));
    format!(
        "<!DOCTYPE html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>{title}</title>
<style>
{STYLE}</style>
<main>
<p class=\"kicker\">{title}</p>
<h1>{headline}</h1>
{interrupted}
{cards}
<p class=\"about\">{description}</p>
<p class=\"facts\">{facts}</p>
{timeline}{later}<h2>How long requests wait</h2>
<p>The share of requests that have no answer yet, over time: lower and further left is better. \
A line that stays level has run out of answers: what is left has failed.</p>
{curve}
<h2>What it costs</h2>
<p>Tool calls per request against the time within which 99 of 100 answers come: \
lower and further left is better. The share of requests answered stands beside the name.</p>
{scatter}
<h2>Reliability</h2>
{reliability}
<h2>Latency of answers, in seconds</h2>
{latency}
<h2>Cost per request</h2>
{cost}
</main>
</html>
",
        description = escape(&measured.description),
    )
}

/// Text as it may stand in HTML.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

fn cards(gain: &Gain<'_>) -> String {
    let (was, is) = gain.numbers();
    let p99 = |numbers: &Summary| numbers.latency.as_ref().map(|latency| latency.p99.value);
    let time = |p99: Option<f64>| p99.map_or("–".to_owned(), |p99| format!("{p99:.2} s"));
    let card = |is_better: bool, what: &str, was: &str, is: &str| {
        let kind = if is_better { "gain" } else { "price" };
        format!(
            "<div class=\"{kind}\"><small>{what}</small><b><s>{was}</s> <span>→</span> {is}</b></div>"
        )
    };
    let (success, calls) =
        ((was.success.value, is.success.value), (was.calls.value, is.calls.value));
    let p99 = (p99(was), p99(is));
    format!(
        "<div class=\"cards\">{}{}{}</div>",
        card(success.1 > success.0, "requests answered", &percent(success.0), &percent(success.1)),
        card(
            p99.1.is_some_and(|is| p99.0.is_none_or(|was| is < was)),
            "99 of 100 answers within",
            &time(p99.0),
            &time(p99.1)
        ),
        card(calls.1 < calls.0, "tool calls per request", &fixed(calls.0, 2), &fixed(calls.1, 2)),
    )
}

fn timeline(measured: &Measured, best: Option<&str>) -> String {
    let mark = match measured.after {
        Some(_) => " From the dashed line on, requests are measured apart.",
        None => "",
    };
    match timeline::draw(&measured.arms, measured.after, best) {
        Some(drawing) => format!(
            "<h2>What happened when</h2>
<p>Counts per second over time, all arms to the same scale. The filled area should reach the line of \
requests; tool calls above it are extra load.{mark}</p>
{}
{drawing}
",
            timeline::LEGEND
        ),
        None => String::new(),
    }
}

fn later(measured: &Measured) -> String {
    let Some(after) = measured.after else { return String::new() };
    let heads =
        ["", "requests/s", "right answers/s", "success rate", "p50 s", "p99 s", "tool calls"];
    let rows = measured.arms.iter().map(|arm| {
        let Some(later) = arm.later.as_ref().filter(|later| later.numbers.requests > 0) else {
            return vec!["none".to_owned()];
        };
        let Summary { success, latency, calls, .. } = &later.numbers;
        let time = |pick: fn(&Latency) -> Estimate| match latency.as_ref().map(pick) {
            Some(estimate) => with_half(fixed(estimate.value, 2), estimate, 1.0),
            None => "–".to_owned(),
        };
        vec![
            fixed(later.offered(), 1),
            fixed(later.goodput(), 1),
            with_half(percent(success.value), *success, 100.0),
            time(|latency| latency.p50),
            time(|latency| latency.p99),
            with_half(fixed(calls.value, 3), *calls, 1.0),
        ]
    });
    let table = grid(&heads, &measured.arms, rows);
    format!("<h2>Requests from {} s on</h2>\n{table}\n", after.as_secs_f64())
}

fn reliability(measured: &Measured) -> String {
    let first = measured.arms.first().map_or(0.0, |arm| arm.numbers.success.value);
    let heads = ["", "requests", "success rate", "increase", "failures", "after s", "by kind"];
    let rows = measured.arms.iter().zip(0..).map(|(arm, at)| {
        let numbers = &arm.numbers;
        let kinds = numbers.errors.iter().map(|(kind, n)| format!("{kind} {}", grouped(*n)));
        vec![
            grouped(numbers.requests),
            with_half(percent(numbers.success.value), numbers.success, 100.0),
            if at == 0 { "–".to_owned() } else { change(numbers.success.value, first) },
            grouped(numbers.requests - numbers.successes),
            numbers.failure.map_or_else(String::new, |after| fixed(after.value, 2)),
            escape(&kinds.collect::<Vec<_>>().join(", ")),
        ]
    });
    grid(&heads, &measured.arms, rows)
}

fn latency(measured: &Measured) -> String {
    let heads = ["", "mean", "p50", "p90", "p95", "p99", "p99.9", "max (P100)"];
    let rows = measured.arms.iter().map(|arm| match &arm.numbers.latency {
        Some(Latency { mean, p50, p90, p95, p99, p999, max }) => vec![
            with_half(fixed(mean.value, 3), *mean, 1.0),
            with_half(fixed(p50.value, 3), *p50, 1.0),
            with_half(fixed(p90.value, 2), *p90, 1.0),
            with_half(fixed(p95.value, 2), *p95, 1.0),
            with_half(fixed(p99.value, 2), *p99, 1.0),
            with_half(fixed(p999.value, 2), *p999, 1.0),
            fixed(*max, 2),
        ],
        None => vec!["none".to_owned()],
    });
    grid(&heads, &measured.arms, rows)
}

fn cost(measured: &Measured) -> String {
    let heads = ["", "tool calls", "tool seconds", "cancelled calls"];
    let rows = measured.arms.iter().map(|MeasuredArm { numbers, .. }| {
        [numbers.calls, numbers.tool_seconds, numbers.cancelled]
            .map(|estimate| with_half(fixed(estimate.value, 3), estimate, 1.0))
            .to_vec()
    });
    grid(&heads, &measured.arms, rows)
}

fn with_half(number: String, estimate: Estimate, scale: f64) -> String {
    format!("{number} <small>{}</small>", half(estimate, scale))
}

/// A table with the arms down the side, in the colours of the drawings.
fn grid(heads: &[&str], arms: &[MeasuredArm], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = "<div class=\"scroll\"><table><thead><tr>".to_owned();
    for head in heads {
        text += &format!("<th>{head}</th>");
    }
    text += "</tr></thead><tbody>";
    for ((arm, row), at) in arms.iter().zip(rows).zip(0..) {
        let colour = label::colour(at);
        let name = escape(&arm.name);
        text += &format!("<tr><th><i style=\"background:{colour}\"></i>{name}</th>");
        for cell in row {
            text += &format!("<td>{cell}</td>");
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>"
}

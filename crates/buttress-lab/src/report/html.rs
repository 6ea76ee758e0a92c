//! The report for a browser: one page that needs nothing else.

mod axis;
mod curve;
mod label;
mod scatter;

use super::{
    headline::Gain,
    number::{change, fixed, grouped, half, percent},
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
    let interrupted = if measured.interrupted {
        "<p class=\"warning\">Interrupted: this is what was measured until then.</p>"
    } else {
        ""
    };
    let settings = &measured.settings;
    let facts = format!(
        "{} requests per arm, seed {}, {}. ± is half of a 99 % interval.",
        grouped(settings.requests),
        settings.seed,
        settings.world
    );
    let (curve, scatter) = (curve::draw(&measured.arms, best), scatter::draw(&measured.arms, best));
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
<h2>How long requests wait</h2>
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
    let (was, is) = (&gain.first.numbers, &gain.best.numbers);
    let p99 = |numbers: &Summary| match &numbers.latency {
        Some(latency) => format!("{:.2} s", latency.p99.value),
        None => "–".to_owned(),
    };
    let calls = |numbers: &Summary| format!("{:.2}", numbers.calls.value);
    let card = |kind: &str, what: &str, was: &str, is: &str| {
        format!(
            "<div class=\"{kind}\"><small>{what}</small><b><s>{was}</s> <span>→</span> {is}</b></div>"
        )
    };
    format!(
        "<div class=\"cards\">{}{}{}</div>",
        card("gain", "requests answered", &percent(was.success.value), &percent(is.success.value)),
        card("gain", "99 of 100 answers within", &p99(was), &p99(is)),
        card("price", "tool calls per request", &calls(was), &calls(is)),
    )
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

//! Numbers as people read them.

use crate::{run::Measured, stats::Estimate};

/// A whole number with its thousands apart: `100 000`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// How many requests each arm made, as far as they all made the same number.
pub(super) fn requests(measured: &Measured) -> String {
    let most = measured.settings.requests;
    let are_all = measured.arms.iter().all(|arm| arm.numbers.requests == most);
    format!("{}{} requests per arm", if are_all { "" } else { "up to " }, grouped(most))
}

/// What a reader must know if a run was ended early.
pub(super) fn interruption(measured: &Measured) -> Option<String> {
    let told = "Interrupted: this is what was measured until then.";
    match measured.unreached.as_slice() {
        _ if !measured.interrupted => None,
        [] => Some(told.to_owned()),
        arms => Some(format!("{told} Not reached: {}.", arms.join(", "))),
    }
}

/// A share in percent. Close to 100 it gets more digits, or all good arms would look alike.
pub(super) fn percent(share: f64) -> String {
    let missing = 1.0 - share;
    let places = if share >= 1.0 || missing >= 0.01 { 2 } else { 3 };
    format!("{:.places$} %", share * 100.0)
}

/// A small share in percent, with two significant digits: `3.9 %`, `0.035 %`.
pub(super) fn small_percent(share: f64) -> String {
    let percent = share * 100.0;
    let places = if percent > 0.0 { (1.0 - percent.log10().floor()).clamp(0.0, 9.0) } else { 0.0 };
    format!("{percent:.places$} %", places = places as usize)
}

/// A number with a fixed number of places.
pub(super) fn fixed(value: f64, places: usize) -> String {
    format!("{value:.places$}")
}

/// `± half-width`, with two significant digits; empty where it is unknown.
pub(super) fn half(estimate: Estimate, scale: f64) -> String {
    match estimate.half_width.map(|half| half * scale) {
        None => String::new(),
        Some(half) if half < 0.000_5 => "±0".to_owned(),
        Some(half) => {
            // .016, .33, 1.2: the place of the second significant digit.
            let places = (1.0 - half.log10().floor()).clamp(0.0, 3.0) as usize;
            format!("±{half:.places$}")
        }
    }
}

/// How much larger, in percent: `+24.0 %`; a dash where there is nothing to compare with.
pub(super) fn change(value: f64, first: f64) -> String {
    if first > 0.0 {
        format!("{:+.1} %", (value - first) / first * 100.0)
    } else {
        "–".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(
            (percent(0.8), percent(0.99968), percent(1.0)),
            ("80.00 %".into(), "99.968 %".into(), "100.00 %".into())
        );
        assert_eq!(
            (small_percent(0.2026), small_percent(0.000_35)),
            ("20 %".into(), "0.035 %".into())
        );
        assert_eq!((small_percent(0.0), small_percent(1.0)), ("0 %".into(), "100 %".into()));
        assert_eq!(change(0.96, 0.8), "+20.0 %");
        assert_eq!(change(0.4, 0.8), "-50.0 %");
        assert_eq!(change(0.4, 0.0), "–");
    }

    #[test]
    fn half_widths_have_two_significant_digits() {
        let of = |half| half_of(half);
        assert_eq!(
            (of(0.0162), of(0.33), of(1.23), of(45.6)),
            ("±0.016".into(), "±0.33".into(), "±1.2".into(), "±46".into())
        );
        assert_eq!(of(0.000_01), "±0");
        assert_eq!(half(Estimate { value: 1.0, half_width: None }, 1.0), "");
    }

    fn half_of(half_width: f64) -> String {
        half(Estimate { value: 1.0, half_width: Some(half_width) }, 1.0)
    }
}

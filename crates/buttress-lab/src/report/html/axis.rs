//! Axes: where numbers lie on the page, and which are written there.

/// How numbers are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// An axis from one number to another, between two places on the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    scale: Scale,
    numbers: (f64, f64),
    places: (f64, f64),
}

impl Axis {
    /// `numbers` are in order and not equal, and above 0 where the scale is logarithmic.
    pub(super) const fn new(scale: Scale, numbers: (f64, f64), places: (f64, f64)) -> Self {
        Self { scale, numbers, places }
    }

    /// Where a number lies; what is off the axis lies at its end.
    pub(super) fn place(&self, number: f64) -> f64 {
        let (low, high) = self.numbers;
        let share = match self.scale {
            Scale::Linear => (number - low) / (high - low),
            Scale::Logarithmic => (number / low).ln() / (high / low).ln(),
        };
        self.places.0 + share.clamp(0.0, 1.0) * (self.places.1 - self.places.0)
    }

    /// Round numbers on the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.numbers;
        let inside = |tick: &f64| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(tick);
        match self.scale {
            Scale::Linear => {
                let step = round_step((high - low) / 6.0);
                let first = (low / step).ceil() as i64;
                (0..20).map(|n| (first + n) as f64 * step).filter(inside).collect()
            }
            Scale::Logarithmic => {
                let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
                // Over many decades 1, 10, 100; over few also 2 and 5 of each.
                let steps: &[f64] = if high / low > 2_000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                decades
                    .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
                    .filter(inside)
                    .collect()
            }
        }
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * decade)
        .find(|round| *round >= step * 0.999)
        .unwrap_or(10.0 * decade)
}

/// A tick as text, without digits that say nothing.
pub(super) fn tick(number: f64) -> String {
    // Ticks are sums of round steps, and may be off by a rounding.
    format!("{}", (number * 1e9).round() / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let linear = Axis::new(Scale::Linear, (0.9, 3.1), (0.0, 100.0));
        assert_eq!(linear.ticks(), [1.0, 1.5, 2.0, 2.5, 3.0]);
        let seconds = Axis::new(Scale::Logarithmic, (0.5, 26.0), (0.0, 100.0));
        assert_eq!(seconds.ticks(), [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        let shares = Axis::new(Scale::Logarithmic, (1e-5, 1.0), (100.0, 0.0));
        assert_eq!(shares.ticks().len(), 6);
    }

    #[test]
    fn ends_of_the_axis_hold_what_is_off_it() {
        let axis = Axis::new(Scale::Logarithmic, (0.01, 1.0), (100.0, 0.0));
        assert_eq!((axis.place(0.1), axis.place(0.0), axis.place(7.0)), (50.0, 100.0, 0.0));
    }
}

//! Names in drawings: their colours, and places where they do not cover each other.

/// Colours that people with any colour vision tell apart, on light and on dark ground: after
/// Paul Tol, *Colour Schemes* (2021), bright and muted. The first is for the bare tool.
const COLOURS: [&str; 10] = [
    "#8a919a", "#4477aa", "#ee6677", "#ccb044", "#228855", "#66bbdd", "#aa3377", "#dd7733",
    "#7766cc", "#44aa99",
];

/// The colour of the arm at a position.
pub(super) fn colour(at: usize) -> &'static str {
    COLOURS.get(at).copied().unwrap_or(COLOURS[1 + at % (COLOURS.len() - 1)])
}

/// About how wide a text is at most, at 13 pixels, bold.
pub(super) fn width(text: &str) -> f64 {
    7.7 * text.chars().count() as f64
}

/// Moves places apart, so that neighbours are at least `gap` from each other, within a range.
///
/// Returns them in the order in which they were given.
pub(super) fn apart(wanted: &[f64], gap: f64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut places = wanted.to_vec();
    let mut least = low;
    for at in &order {
        places[*at] = places[*at].max(least);
        least = places[*at] + gap;
    }
    let mut most = high;
    for at in order.iter().rev() {
        places[*at] = places[*at].min(most);
        most = places[*at] - gap;
    }
    places
}

/// A rectangle that something covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    pub(super) fn around(x: f64, y: f64, reach: f64) -> Self {
        Self { left: x - reach, top: y - reach, right: x + reach, bottom: y + reach }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn is_within(&self, whole: &Self) -> bool {
        self.left >= whole.left
            && self.right <= whole.right
            && self.top >= whole.top
            && self.bottom <= whole.bottom
    }
}

/// How high a line of text is.
const HEIGHT: f64 = 17.0;

/// Finds a free place for the name of a point: beside it, or further away.
///
/// Returns the area of the name, which is then taken too. `None` if all is taken.
pub(super) fn beside(
    (x, y): (f64, f64),
    width: f64,
    whole: &Area,
    taken: &mut Vec<Area>,
) -> Option<Area> {
    let rings = (0..8).map(|ring| 12.0 + 20.0 * f64::from(ring));
    let candidates = rings.flat_map(|reach| {
        // Right first, as one reads; the far corners last.
        let right = x + reach;
        let left = x - reach - width;
        let middle = x - width / 2.0;
        let (level, above, below) = (y - HEIGHT / 2.0, y - reach - HEIGHT, y + reach);
        [
            (right, level),
            (left, level),
            (middle, above),
            (middle, below),
            (right, above),
            (right, below),
            (left, above),
            (left, below),
        ]
    });
    let found = candidates
        .map(|(left, top)| Area { left, top, right: left + width, bottom: top + HEIGHT })
        .find(|area| area.is_within(whole) && !taken.iter().any(|other| area.overlaps(other)))?;
    taken.push(found);
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn places_are_apart_and_within(wanted in prop::collection::vec(0.0_f64..400.0, 0..20)) {
            let mut places = apart(&wanted, 18.0, (0.0, 400.0));
            prop_assert!(places.iter().all(|place| (-1e-9..=400.0).contains(place)));
            places.sort_by(f64::total_cmp);
            prop_assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 18.0 - 1e-9));
        }

        #[test]
        fn names_do_not_cover_each_other(points in prop::collection::vec((0.0_f64..900.0, 0.0_f64..400.0), 1..8)) {
            let whole = Area { left: 0.0, top: 0.0, right: 1_100.0, bottom: 400.0 };
            let mut taken: Vec<Area> = points.iter().map(|(x, y)| Area::around(*x, *y, 6.0)).collect();
            for point in points {
                beside(point, 120.0, &whole, &mut taken);
            }
            let names: Vec<_> = taken.iter().filter(|area| area.right - area.left > 100.0).collect();
            for (at, name) in names.iter().enumerate() {
                prop_assert!(names[at + 1..].iter().all(|other| !name.overlaps(other)));
            }
        }
    }
}

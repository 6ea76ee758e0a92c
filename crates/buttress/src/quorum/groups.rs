//! Answers that agree, counted together.

/// Groups, each with the ballot of its first member, which speaks for it.
#[derive(Debug)]
pub struct Groups<B> {
    /// While all agree, there is no other, and nothing is allocated.
    first: Option<(B, u64)>,
    others: Vec<(B, u64)>,
}

impl<B> Default for Groups<B> {
    fn default() -> Self {
        Self { first: None, others: Vec::new() }
    }
}

impl<B> Groups<B> {
    fn iter(&self) -> impl Iterator<Item = &(B, u64)> {
        self.first.iter().chain(&self.others)
    }

    /// Adds a vote to the first group that it agrees with, and returns what that weighs now.
    pub(super) fn join(&mut self, weight: u64, mut same: impl FnMut(&B) -> bool) -> Option<u64> {
        let mut groups = self.first.iter_mut().chain(&mut self.others);
        let (_, sum) = groups.find(|(ballot, _)| same(ballot))?;
        *sum += weight;
        Some(*sum)
    }

    /// Founds a group.
    pub(super) fn found(&mut self, ballot: B, weight: u64) {
        match &self.first {
            None => self.first = Some((ballot, weight)),
            Some(_) => self.others.push((ballot, weight)),
        }
    }

    /// What the heaviest group weighs.
    pub(super) fn largest(&self) -> u64 {
        self.iter().map(|(_, weight)| *weight).max().unwrap_or(0)
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (B, u64)> {
        self.first.into_iter().chain(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_group_speaks_for_it() {
        let mut groups = Groups::default();
        let near = |one: f64| move |other: &f64| (one - other).abs() <= 1.0;
        let mut cast = |answer: f64, weight| {
            if groups.join(weight, near(answer)).is_none() {
                groups.found(answer, weight);
            }
            groups.largest()
        };
        // Not transitive: 2 is near to 1, and 1 to 0, but 2 is not near to 0.
        assert_eq!([cast(0.0, 1), cast(1.0, 2), cast(2.0, 4), cast(1.0, 8)], [1, 3, 4, 11]);
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), [(0.0, 11), (2.0, 4)]);
    }
}

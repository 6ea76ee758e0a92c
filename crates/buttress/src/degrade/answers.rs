use std::{fmt, iter::FusedIterator, vec};

use super::Level;
use crate::{Causes, Name};

/// What the members of an ensemble answered, and who failed.
#[derive(Clone, Debug)]
pub struct Answers<Res> {
    pub(super) level: Level,
    pub(super) answers: Vec<Answer<Res>>,
    pub(super) failed: Causes,
}

#[derive(Clone, Debug)]
pub(super) struct Answer<Res> {
    pub(super) place: usize,
    pub(super) name: Name,
    pub(super) response: Res,
}

impl<Res> Answers<Res> {
    /// The level of this call, whatever those before it were.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The answer of the member of this name; of the first, if several have it.
    pub fn get(&self, name: &str) -> Option<&Res> {
        self.answers.iter().find(|answer| answer.name.as_str() == name).map(|a| &a.response)
    }

    /// Takes the answer of the member of this name out of them.
    pub fn take(&mut self, name: &str) -> Option<Res> {
        let at = self.answers.iter().position(|answer| answer.name.as_str() == name)?;
        Some(self.answers.remove(at).response)
    }

    /// The answers with the names of their members, in the order in which these were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Name, &Res)> {
        self.answers.iter().map(|answer| (&answer.name, &answer.response))
    }

    /// How many answers there are.
    pub const fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether nobody answered.
    pub const fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Which members failed and why, in the order in which they were added.
    pub const fn failed(&self) -> &Causes {
        &self.failed
    }
}

impl<Res> IntoIterator for Answers<Res> {
    type Item = (Name, Res);
    type IntoIter = IntoIter<Res>;

    fn into_iter(self) -> IntoIter<Res> {
        IntoIter(self.answers.into_iter())
    }
}

/// Gives the answers out, each with the name of its member.
pub struct IntoIter<Res>(vec::IntoIter<Answer<Res>>);

impl<Res> Iterator for IntoIter<Res> {
    type Item = (Name, Res);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|answer| (answer.name, answer.response))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<Res> ExactSizeIterator for IntoIter<Res> {}

impl<Res> FusedIterator for IntoIter<Res> {}

impl<Res> fmt::Debug for IntoIter<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoIter").field("left", &self.len()).finish()
    }
}

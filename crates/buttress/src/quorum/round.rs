//! Members asked one after another, each with its own copy of the request.

use std::fmt;

use tower_service::Service;

use super::{
    future::number,
    service::{Members, Settings},
    tally::Tally,
};
use crate::{Event, Replay, Why, fan::Fan};

/// Who has been asked, and what the others would be asked with.
pub(super) struct Round<S: Service<Req>, Req> {
    pub(super) fan: Fan<S, Req>,
    pub(super) tally: Tally,
    /// How many were asked; the number of the next one.
    asked: usize,
    /// Gone when nobody else can be asked.
    request: Option<Req>,
}

impl<S: Service<Req> + Clone, Req> Round<S, Req> {
    /// A round that begins with a copy of the request.
    pub(super) fn begin<A, C, R>(
        settings: &Settings<A, C, R>,
        members: &Members<S>,
        request: Req,
        copy: Req,
    ) -> Self {
        let tally = Tally::new(&settings.electorate);
        let mut round = Self { fan: Fan::new(), tally, asked: 0, request: Some(request) };
        round.add(settings, members, copy);
        round
    }

    /// A round in which nobody is asked.
    pub(super) fn of_nobody<A, C, R>(settings: &Settings<A, C, R>) -> Self {
        let tally = Tally::new(&settings.electorate);
        let mut round = Self { fan: Fan::new(), tally, asked: 0, request: None };
        round.end();
        round
    }

    /// A round of one, or of nobody, for a request that is not repeated.
    pub(super) fn of_one<A, C, R>(
        settings: &Settings<A, C, R>,
        members: &Members<S>,
        request: Req,
    ) -> Self {
        let mut round = Self::of_nobody(settings);
        // Whoever is asked must be able to decide alone.
        if let Some(sole) = settings.electorate.sole() {
            round.asked = sole;
            round.add(settings, members, request);
        }
        round
    }

    /// Asks the next member, if there is one and the request can still be sent.
    pub(super) fn ask<A, C, R: Replay<Req>>(
        &mut self,
        settings: &Settings<A, C, R>,
        members: &Members<S>,
    ) {
        let last = self.asked + 1 >= settings.electorate.members();
        let copy = match &self.request {
            Some(request) if !last => settings.replay.copy(request),
            _ => None,
        };
        // The last is asked with the request itself, and so is one for whom there is no copy.
        if let Some(request) = copy.or_else(|| self.request.take()) {
            self.add(settings, members, request);
        }
        if self.request.is_none() {
            self.end();
            if !last {
                let attempt = number(self.asked);
                settings.rules.voice.tell(Event::Suppressed { attempt, why: Why::NotRepeatable });
            }
        }
    }

    fn add<A, C, R>(&mut self, settings: &Settings<A, C, R>, members: &Members<S>, request: Req) {
        if let Some(instance) = members.instance(self.asked) {
            self.tally.asked(settings.electorate.weight(self.asked));
            self.fan.add(self.asked, instance, request);
            self.asked += 1;
        }
    }
}

impl<S: Service<Req>, Req> Round<S, Req> {
    /// The number of the next member to be asked, unless nobody else can be.
    pub(super) fn next(&self) -> Option<usize> {
        self.request.as_ref().map(|_| self.asked)
    }

    /// Whether nobody was asked at all.
    pub(super) const fn is_of_nobody(&self) -> bool {
        self.asked == 0
    }

    /// Asks nobody else.
    pub(super) fn end(&mut self) {
        self.request = None;
        self.tally.ask_no_more();
    }
}

impl<S: Service<Req>, Req> fmt::Debug for Round<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Round")
            .field("running", &self.fan)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    Agree, ByEquality, ResponseFuture,
    layer::{Launch, Rules},
    round::Round,
    tally::{Electorate, Next},
};
use crate::{ByClone, ByFault, Classify, Event, FromRejection, IntoCause, Repeat, Replay, Why};

/// The service of [`QuorumLayer`](super::QuorumLayer).
#[derive(Debug)]
pub struct Quorum<S, A = ByEquality, C = ByFault, R = ByClone> {
    pub(super) members: Members<S>,
    pub(super) settings: Arc<Settings<A, C, R>>,
}

/// Those who are asked. Never made ready here: their clones become so in the future.
#[derive(Clone, Debug)]
pub(super) enum Members<S> {
    /// One service, asked so many times.
    Same {
        inner: S,
        count: usize,
    },
    Different(Vec<S>),
}

impl<S> Members<S> {
    pub(super) const fn count(&self) -> usize {
        match self {
            Self::Same { count, .. } => *count,
            Self::Different(members) => members.len(),
        }
    }
}

impl<S: Clone> Members<S> {
    pub(super) fn instance(&self, place: usize) -> Option<S> {
        match self {
            Self::Same { inner, .. } => Some(inner.clone()),
            Self::Different(members) => members.get(place).cloned(),
        }
    }
}

/// What the calls of one service have in common.
#[derive(Debug)]
pub(super) struct Settings<A, C, R> {
    pub(super) agree: A,
    pub(super) classify: C,
    pub(super) replay: R,
    pub(super) electorate: Electorate,
    pub(super) rules: Rules,
}

impl<S: Clone, A, C, R> Clone for Quorum<S, A, C, R> {
    fn clone(&self) -> Self {
        Self { members: self.members.clone(), settings: self.settings.clone() }
    }
}

impl<S, A, C, R, Req> Service<Req> for Quorum<S, A, C, R>
where
    S: Service<Req> + Clone,
    S::Error: FromRejection + IntoCause,
    A: Agree<S::Response>,
    C: Classify<Req, S::Response, S::Error>,
    R: Replay<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Req, A, C, R>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // A member that is never ready must not keep the others from answering.
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        let (settings, members) = (&*self.settings, &self.members);
        let Settings { replay, electorate, rules, .. } = settings;
        let call = settings.classify.begin(&request);
        let several = electorate.members() > 1;
        let copy = match replay.repeat(&request) {
            Repeat::Freely if several => replay.copy(&request),
            _ => None,
        };
        let Some(copy) = copy else {
            if several {
                rules.voice.tell(Event::Suppressed { attempt: 2, why: Why::NotRepeatable });
            }
            let round = Round::of_one(settings, members, request);
            return ResponseFuture::new(round, call, None, self.settings.clone());
        };
        let mut round = Round::begin(settings, members, request, copy);
        while round.next().is_some()
            && (rules.launch == Launch::Eager || round.tally.next() == Next::Ask)
        {
            round.ask(settings, members);
        }
        if round.tally.next() == Next::Impossible {
            // Copies ran out: better to send none than too few.
            round = Round::of_nobody(settings);
        }
        // Only those who may be asked later are needed later.
        let reserve = round.next().map(|_| self.members.clone());
        ResponseFuture::new(round, call, reserve, self.settings.clone())
    }
}

//! One step of a saga: what to ask of whom, what to keep of the answer, how to undo it.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use buttress::{
    Fault,
    checkpoint::{Effects, InDoubt, Landing, Step},
    store::{IdempotencyKey, StepId},
};
use serde::{Serialize, de::DeserializeOwned};
use tower::Service;

use super::bench::{Asked, Bench, Ended, Must};

/// Something to do: a request made of the state of the saga, and the service that answers it.
///
/// The service gets the request as a [`Step`], with the idempotency key in place: send it along. A
/// failure must be an error, and its [`Fault`] says what it means: what is
/// [permanent](buttress::Kind::Permanent) is a failure at once, all else is tried again.
///
/// The request must be the same whenever it is made of the same state: no dates, nothing random.
///
/// Say then how it is undone: [`undo`](Self::undo), or what else it is when it is
/// [added](super::Saga).
pub struct Action<S, V, Req, Res, E> {
    name: Arc<str>,
    effects: Effects,
    service: V,
    request: Arc<dyn Fn(&S) -> Req + Send + Sync>,
    then: Arc<dyn Fn(&mut S, &Res) + Send + Sync>,
    asked: Asked<Req, Res, E>,
}

impl<S, V, Req, Res, E> Action<S, V, Req, Res, E>
where
    V: Service<Step<Req>, Response = Res, Error = E>,
{
    /// An action of this name, which must stay the same while sagas with it are under way.
    ///
    /// `effects` says what it does to the world. An idempotent one is treated as a side effect that is
    /// done again when in doubt: whether it was tried must be known before anything is undone.
    pub fn new(
        name: impl Into<Arc<str>>,
        effects: Effects,
        service: V,
        request: impl Fn(&S) -> Req + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            effects,
            service,
            request: Arc::new(request),
            then: Arc::new(|_, _| ()),
            asked: Asked::nobody(),
        }
    }

    /// Keeps something of the response in the state, for later steps and the report. By default nothing.
    ///
    /// Done again, with the recorded response, when the saga is resumed.
    #[must_use]
    pub fn then(mut self, keep: impl Fn(&mut S, &Res) + Send + Sync + 'static) -> Self {
        self.then = Arc::new(keep);
        self
    }

    /// Asks the world what became of the action if it is in doubt, before the declared rule is applied.
    #[must_use]
    pub fn probe<F, Fut>(mut self, probe: F) -> Self
    where
        F: Fn(&Step<Req>, IdempotencyKey) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Landing<Res>, E>> + Send + 'static,
    {
        self.asked = Asked::somebody(probe);
        self
    }

    /// Says how it is undone: by a request that is made of the state, and of the response that it really got.
    ///
    /// `effects` is what that does to the world. It is tried until it is done, so it must be a service
    /// that gets there in the end, and does nothing the second time: it recognises its idempotency key, or
    /// what is undone already.
    pub fn undo<W, Req2, Res2, E2>(
        self,
        effects: Effects,
        service: W,
        request: impl Fn(&S, &Res) -> Req2 + Send + Sync + 'static,
    ) -> Undoable<S, V, Req, Res, E>
    where
        W: Service<Step<Req2>, Response = Res2, Error = E2> + Clone + Send + Sync + 'static,
        W::Future: Send,
        S: Send + Sync + 'static,
        Req2: Serialize + Send + 'static,
        Res: Send + Sync + 'static,
        Res2: Serialize + DeserializeOwned + Send + 'static,
        E2: Fault + fmt::Display + Send + 'static,
    {
        let request = Arc::new(request);
        let undo = Arc::new(Reverse { effects, service, request, asked: Asked::nobody() });
        Undoable { action: self, undo }
    }
}

/// An action and its compensation.
pub struct Undoable<S, V, Req, Res, E> {
    pub(super) action: Action<S, V, Req, Res, E>,
    undo: Arc<dyn Undo<S, Res>>,
}

impl<S, V, Req, Res, E> fmt::Debug for Action<S, V, Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("name", &self.name)
            .field("effects", &self.effects)
            .finish_non_exhaustive()
    }
}

impl<S, V, Req, Res, E> fmt::Debug for Undoable<S, V, Req, Res, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undoable").field("action", &self.action).finish_non_exhaustive()
    }
}

pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What came of an action: what is done can be kept and undone.
pub(super) type Acted<S> = Ended<Box<dyn Landed<S>>>;

/// An action of whatever types.
pub(super) trait Act<S>: Send + Sync {
    fn name(&self) -> &Arc<str>;

    fn act<'a>(
        &'a self,
        bench: &'a Bench,
        step: StepId,
        state: &'a S,
        must: Must,
    ) -> Boxed<'a, (u32, Acted<S>)>;
}

/// An action that was done.
pub(super) trait Landed<S>: Send + Sync {
    /// Keeps in the state what is to be kept.
    fn keep(&self, state: &mut S);

    /// Undoes it, if there is anything to undo.
    fn undo<'a>(
        &'a self,
        bench: &'a Bench,
        step: StepId,
        state: &'a S,
    ) -> Option<Boxed<'a, (u32, Ended<()>)>>;
}

trait Undo<S, Res>: Send + Sync {
    fn undo<'a>(
        &'a self,
        bench: &'a Bench,
        step: StepId,
        state: &'a S,
        response: &'a Res,
    ) -> Boxed<'a, (u32, Ended<()>)>;
}

struct Reverse<W, F, Req, Res, E> {
    effects: Effects,
    service: W,
    request: Arc<F>,
    asked: Asked<Req, Res, E>,
}

impl<S, Res, W, F, Req2, Res2, E2> Undo<S, Res> for Reverse<W, F, Req2, Res2, E2>
where
    W: Service<Step<Req2>, Response = Res2, Error = E2> + Clone + Send + Sync + 'static,
    W::Future: Send,
    F: Fn(&S, &Res) -> Req2 + Send + Sync,
    S: Sync,
    Req2: Serialize + Send + 'static,
    Res: Sync,
    Res2: Serialize + DeserializeOwned + Send + 'static,
    E2: Fault + fmt::Display + Send + 'static,
{
    fn undo<'a>(
        &'a self,
        bench: &'a Bench,
        step: StepId,
        state: &'a S,
        response: &'a Res,
    ) -> Boxed<'a, (u32, Ended<()>)> {
        let request = move || (self.request)(state, response);
        let (service, asked) = (self.service.clone(), self.asked.clone());
        Box::pin(async move {
            let (attempts, ended) =
                bench.run(step, self.effects, service, asked, request, Must::Succeed).await;
            (attempts, ended.map(drop))
        })
    }
}

/// An action with or without a compensation, whose types are hidden by [`Act`].
pub(super) struct Play<S, V, Req, Res, E> {
    action: Action<S, V, Req, Res, E>,
    undo: Option<Arc<dyn Undo<S, Res>>>,
}

impl<S, V, Req, Res, E> From<Action<S, V, Req, Res, E>> for Play<S, V, Req, Res, E> {
    fn from(action: Action<S, V, Req, Res, E>) -> Self {
        Self { action, undo: None }
    }
}

impl<S, V, Req, Res, E> From<Undoable<S, V, Req, Res, E>> for Play<S, V, Req, Res, E> {
    fn from(Undoable { action, undo }: Undoable<S, V, Req, Res, E>) -> Self {
        Self { action, undo: Some(undo) }
    }
}

impl<S, V, Req, Res, E> Act<S> for Play<S, V, Req, Res, E>
where
    V: Service<Step<Req>, Response = Res, Error = E> + Clone + Send + Sync + 'static,
    V::Future: Send,
    S: Send + Sync + 'static,
    Req: Serialize + Send + 'static,
    Res: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Fault + fmt::Display + Send + 'static,
{
    fn name(&self) -> &Arc<str> {
        &self.action.name
    }

    fn act<'a>(
        &'a self,
        bench: &'a Bench,
        step: StepId,
        state: &'a S,
        must: Must,
    ) -> Boxed<'a, (u32, Acted<S>)> {
        let Action { effects, service, request, then, asked, .. } = &self.action;
        let effects = match effects {
            // Else an attempt that failed would leave no trace, and the next process might
            // turn back although it had worked.
            Effects::Idempotent if must == Must::Decide => Effects::SideEffect(InDoubt::Retry),
            declared => *declared,
        };
        let (service, asked) = (service.clone(), asked.clone());
        let request = move || request(state);
        let (then, undo) = (then.clone(), self.undo.clone());
        Box::pin(async move {
            let (attempts, ended) = bench.run(step, effects, service, asked, request, must).await;
            let landed = |response| Box::new(Reply { response, then, undo }) as Box<dyn Landed<S>>;
            (attempts, ended.map(landed))
        })
    }
}

struct Reply<S, Res> {
    response: Res,
    then: Arc<dyn Fn(&mut S, &Res) + Send + Sync>,
    undo: Option<Arc<dyn Undo<S, Res>>>,
}

impl<S: Send + Sync, Res: Send + Sync> Landed<S> for Reply<S, Res> {
    fn keep(&self, state: &mut S) {
        (self.then)(state, &self.response);
    }

    fn undo<'a>(
        &'a self,
        bench: &'a Bench,
        step: StepId,
        state: &'a S,
    ) -> Option<Boxed<'a, (u32, Ended<()>)>> {
        let undo = self.undo.as_ref()?;
        Some(undo.undo(bench, step, state, &self.response))
    }
}

//! The tool of the drill: it counts what it is asked, and does what it is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    sync::{broadcast, oneshot},
};

/// What was asked for one step, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// How many requests came in.
    pub(crate) requests: u64,
    /// The keys that they carried.
    pub(crate) keys: BTreeSet<String>,
    /// How often the world was changed.
    pub(crate) effects: u64,
}

/// What the tool answers: which change of the world it was, over all steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) number: u64,
}

/// When something happens at the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A request came in; nothing was done yet.
    Asked,
    /// It was done; nothing was answered yet.
    Done,
}

/// A server that keeps books.
///
/// | request | what it does |
/// |---|---|
/// | `POST /keyed/STEP` | one effect for each `Idempotency-Key`; the same answer for the same key |
/// | `POST /blind/STEP` | one effect for each request: it knows nothing of keys |
/// | `GET /landed/STEP` | the last answer to `/blind`, or 404 |
/// | `GET /read/STEP` | no effect; the same answer each time |
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    books: Arc<Mutex<Books>>,
    moments: broadcast::Sender<Moment>,
}

#[derive(Debug, Default)]
struct Books {
    steps: BTreeMap<String, Asked>,
    receipts: BTreeMap<String, Receipt>,
    last: u64,
}

impl Tool {
    pub(crate) fn new() -> Self {
        Self { books: Arc::default(), moments: broadcast::Sender::new(1_024) }
    }

    /// What was asked for a step.
    pub(crate) fn asked(&self, step: &str) -> Asked {
        self.books().steps.get(step).cloned().unwrap_or_default()
    }

    /// Listens for moments.
    pub(crate) fn moments(&self) -> broadcast::Receiver<Moment> {
        self.moments.subscribe()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves on a free port of this machine until told to end and all callers are gone.
    pub(crate) async fn serve(
        &self,
        end: oneshot::Receiver<()>,
    ) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>> + use<>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = listener.local_addr()?;
        let routes = Router::new()
            .route("/keyed/{step}", post(keyed))
            .route("/blind/{step}", post(blind))
            .route("/landed/{step}", get(landed))
            .route("/read/{step}", get(read))
            .with_state(self.clone());
        let ended = async move {
            // Whoever drops the other end is done with the tool as well.
            let _ = end.await;
        };
        Ok((at, axum::serve(listener, routes).with_graceful_shutdown(ended).into_future()))
    }

    /// Does what is asked, in a way that lets the drill strike before and after: once for each `key`, or
    /// each time without.
    async fn answer(&self, step: &str, sent: Option<String>, key: Option<String>) -> Receipt {
        let _ = self.moments.send(Moment::Asked);
        // Whoever listens kills the caller now; the request has arrived all the same.
        tokio::task::yield_now().await;
        let receipt = self.books().change(step, sent, key);
        let _ = self.moments.send(Moment::Done);
        tokio::task::yield_now().await;
        receipt
    }
}

impl Books {
    fn change(&mut self, step: &str, sent: Option<String>, key: Option<String>) -> Receipt {
        let asked = self.steps.entry(step.to_owned()).or_default();
        asked.requests += 1;
        asked.keys.extend(sent);
        let known = key.as_ref().and_then(|key| self.receipts.get(key));
        if let Some(receipt) = known {
            return *receipt;
        }
        asked.effects += 1;
        self.last += 1;
        let receipt = Receipt { number: self.last };
        self.receipts.insert(key.unwrap_or_else(|| step.to_owned()), receipt);
        receipt
    }
}

fn key(headers: &HeaderMap) -> Option<String> {
    headers.get("idempotency-key")?.to_str().ok().map(str::to_owned)
}

async fn keyed(
    State(tool): State<Tool>,
    Path(step): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Receipt>, StatusCode> {
    let key = key(&headers).ok_or(StatusCode::BAD_REQUEST)?;
    Ok(Json(tool.answer(&step, Some(key.clone()), Some(key)).await))
}

async fn blind(
    State(tool): State<Tool>,
    Path(step): Path<String>,
    headers: HeaderMap,
) -> Json<Receipt> {
    Json(tool.answer(&step, key(&headers), None).await)
}

async fn landed(
    State(tool): State<Tool>,
    Path(step): Path<String>,
) -> Result<Json<Receipt>, StatusCode> {
    tool.books().receipts.get(&step).copied().map(Json).ok_or(StatusCode::NOT_FOUND)
}

async fn read(State(tool): State<Tool>, Path(step): Path<String>) -> Json<Receipt> {
    let _ = tool.moments.send(Moment::Asked);
    tool.books().steps.entry(step).or_default().requests += 1;
    Json(Receipt { number: 0 })
}

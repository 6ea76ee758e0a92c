//! What is answered, and what is not.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body::{Frame, SizeHint};
use serde::{Deserialize, Serialize};
use tower_service::Service;

use crate::{FailKind, Stats, Tool, ToolError, ToolReply, ToolRequest};

/// A question to a tool fits in this many times over.
const LARGEST_BODY: usize = 64 * 1024;

pub(super) fn routes(tool: Tool) -> Router {
    Router::new()
        .route("/call", post(call))
        .route("/restart", post(restart))
        .route("/health", get(health))
        .route("/stats", get(stats))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(tool)
}

/// Marks a response that must not be sent: the connection is closed instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sever;

#[derive(Deserialize)]
struct Question {
    query: String,
}

#[derive(Serialize)]
struct Answer {
    instance: u64,
    text: String,
}

#[derive(Serialize)]
struct Problem {
    error: String,
}

async fn call(State(mut tool): State<Tool>, body: Bytes) -> Response {
    let question: Question = match serde_json::from_slice(&body) {
        Ok(question) => question,
        Err(error) => {
            return problem(StatusCode::BAD_REQUEST, format!("not a question: {error}"));
        }
    };
    let query: Arc<str> = question.query.into();
    // A tool is always ready.
    match tool.call(ToolRequest::new(query.clone())).await {
        Ok(reply) => Json(answer(&reply)).into_response(),
        Err(error) => failure(&error, query),
    }
}

fn answer(reply: &ToolReply) -> Answer {
    Answer { instance: reply.instance, text: reply.text() }
}

fn failure(error: &ToolError, query: Arc<str>) -> Response {
    let status = match error {
        ToolError::Failed(FailKind::Connect) | ToolError::Crashed => {
            let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            response.extensions_mut().insert(Sever);
            return response;
        }
        ToolError::Dropped => return half_of(&ToolReply { query, instance: 0, correct: true }),
        ToolError::Failed(FailKind::Reset) => StatusCode::BAD_GATEWAY,
        ToolError::Failed(FailKind::Timeout) => StatusCode::GATEWAY_TIMEOUT,
        ToolError::Failed(FailKind::Unavailable) | ToolError::Rejected(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ToolError::Failed(FailKind::BadRequest) => StatusCode::BAD_REQUEST,
        ToolError::Failed(FailKind::Quota) => StatusCode::PAYMENT_REQUIRED,
        ToolError::Failed(FailKind::Mystery) => StatusCode::INTERNAL_SERVER_ERROR,
        ToolError::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut response = problem(status, error.to_string());
    if let ToolError::Throttled { retry_after: Some(wait) } = error {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        headers.insert("retry-after-ms", HeaderValue::from(millis));
    }
    response
}

fn problem(status: StatusCode, error: String) -> Response {
    (status, Json(Problem { error })).into_response()
}

/// An answer that promises the whole and gives half.
fn half_of(reply: &ToolReply) -> Response {
    let whole = serde_json::to_vec(&answer(reply)).unwrap_or_default();
    let promised = whole.len() as u64;
    let mut half = Bytes::from(whole);
    half.truncate(half.len() / 2);
    let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([json], Body::new(Half { stage: Stage::Giving(half), promised })).into_response()
}

/// A body that breaks off.
#[derive(Debug)]
struct Half {
    stage: Stage,
    promised: u64,
}

#[derive(Debug)]
enum Stage {
    Giving(Bytes),
    /// One poll is spent on nothing, in which hyper sends what it has.
    Sending,
    Broken,
}

impl http_body::Body for Half {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::Giving(half) => {
                self.stage = Stage::Sending;
                Poll::Ready(Some(Ok(Frame::data(half))))
            }
            Stage::Sending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Stage::Broken => Poll::Ready(Some(Err(BrokeOff))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the answer breaks off as planned")]
struct BrokeOff;

async fn restart(State(tool): State<Tool>) -> StatusCode {
    tool.restart();
    StatusCode::NO_CONTENT
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

async fn stats(State(tool): State<Tool>) -> Json<serde_json::Value> {
    Json(as_json(&tool.stats()))
}

fn as_json(stats: &Stats) -> serde_json::Value {
    let failed: serde_json::Map<_, _> = FailKind::ALL
        .iter()
        .map(|kind| (kind.as_str().to_owned(), stats.failed(*kind).into()))
        .collect();
    serde_json::json!({
        "launched": stats.launched,
        "in_flight": stats.in_flight(),
        "answered": stats.answered,
        "corrupt": stats.corrupt,
        "failed": failed,
        "throttled": stats.throttled,
        "dropped": stats.dropped,
        "crashed": stats.crashed,
        "cancelled": stats.cancelled,
        "busy_s": stats.busy.as_secs_f64(),
    })
}

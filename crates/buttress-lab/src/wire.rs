//! Calls a tool over HTTP, and reads its answers back.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use buttress_sim::{FailKind, ToolError, ToolReply, ToolRequest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tower::Service;

/// A tool behind a port. Clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
}

#[derive(Deserialize)]
struct Answer {
    instance: u64,
    text: String,
}

impl Wire {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let uri = Uri::builder()
            .scheme("http")
            .authority(address.to_string())
            .path_and_query("/call")
            .build()
            .unwrap_or_default();
        Self { client, uri }
    }
}

impl Service<ToolRequest> for Wire {
    type Response = ToolReply;
    type Error = ToolError;
    type Future = Pin<Box<dyn Future<Output = Result<ToolReply, ToolError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ToolRequest { query }: ToolRequest) -> Self::Future {
        let body = serde_json::json!({ "query": &*query }).to_string();
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let answer = self.client.request(request);
        Box::pin(async move {
            let (head, body) = match answer.await {
                Ok(response) => response.into_parts(),
                Err(_) => return Err(ToolError::Failed(FailKind::Connect)),
            };
            // Read to the end whatever it says: the connection can then be used again.
            let body = body.collect().await.map_err(|_| ToolError::Dropped)?.to_bytes();
            match head.status {
                StatusCode::OK => read(query, &body),
                status => Err(error_of(status, &head.headers)),
            }
        })
    }
}

fn read(query: Arc<str>, body: &[u8]) -> Result<ToolReply, ToolError> {
    let Ok(Answer { instance, text }) = serde_json::from_slice(body) else {
        return Err(ToolError::Failed(FailKind::Mystery));
    };
    let right = ToolReply { query, instance, correct: true };
    let correct = right.text() == text;
    Ok(ToolReply { correct, ..right })
}

fn error_of(status: StatusCode, headers: &HeaderMap) -> ToolError {
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => {
            return ToolError::Throttled { retry_after: retry_after(headers) };
        }
        StatusCode::BAD_GATEWAY => FailKind::Reset,
        StatusCode::GATEWAY_TIMEOUT => FailKind::Timeout,
        StatusCode::SERVICE_UNAVAILABLE => FailKind::Unavailable,
        StatusCode::PAYMENT_REQUIRED => FailKind::Quota,
        StatusCode::BAD_REQUEST => FailKind::BadRequest,
        _ => FailKind::Mystery,
    };
    ToolError::Failed(kind)
}

/// The finer of the two headers that the tool sends.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    number("retry-after-ms")
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use buttress_sim::{Calls, Fate, Faults, Rule, Takes, Tool, When, http::Server};
    use tower::ServiceExt;

    use super::*;

    /// A tool whose next calls end in these ways, and a wire to it.
    async fn wire(fates: &[Fate<Takes>]) -> Wire {
        let faults = fates.iter().zip(1..).fold(Faults::none(), |faults, (fate, call)| {
            let only = When::Calls(Calls::between(call, call).unwrap());
            faults.rule(Rule::new(only, *fate))
        });
        let server = Server::on_loopback(Tool::new(faults, 7), 0).await.unwrap();
        let address = server.addr().unwrap();
        tokio::spawn(server.run_until(std::future::pending::<()>()));
        Wire::to(address)
    }

    #[tokio::test]
    async fn every_outcome_comes_through() {
        let after = Takes::NOTHING;
        let retry_after = Some(Duration::from_millis(1_500));
        let mut fates: Vec<_> =
            FailKind::ALL.iter().map(|kind| Fate::Fail { kind: *kind, after }).collect();
        fates.push(Fate::Throttle { retry_after, after });
        fates.push(Fate::Throttle { retry_after: None, after });
        fates.push(Fate::DropMidAnswer { after });
        let wire = wire(&fates).await;
        let mut errors = Vec::new();
        for _ in &fates {
            errors.push(wire.clone().oneshot(ToolRequest::new("x")).await.unwrap_err());
        }
        let mut planned: Vec<_> =
            FailKind::ALL.iter().map(|kind| ToolError::Failed(*kind)).collect();
        planned.push(ToolError::Throttled { retry_after });
        planned.push(ToolError::Throttled { retry_after: None });
        planned.push(ToolError::Dropped);
        assert_eq!(errors, planned);
    }

    #[tokio::test]
    async fn wrong_answers_are_told_from_right_ones() {
        let wire = wire(&[Fate::Corrupt { takes: Takes::NOTHING }]).await;
        assert!(!wire.clone().oneshot(ToolRequest::new("x")).await.unwrap().correct);
        assert!(wire.oneshot(ToolRequest::new("x")).await.unwrap().correct);
    }
}

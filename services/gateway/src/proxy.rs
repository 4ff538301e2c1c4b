//! The path of a request through the gateway.
//!
//! ```text
//! client ──▶ body read whole, in time ──▶ place? breaker? ──▶ pooled connection ──▶ upstream
//! client ◀── body relayed as it comes ◀── hop's headers off ◀── head in time? ◀────────┘
//! ```
//!
//! Request bodies are small by contract, so they are read before the upstream is called: a slow
//! client occupies only its own connection, and a request can be retried. Files are the exception:
//! they are forwarded as they arrive, and sent once. Answers are never buffered: each piece is
//! forwarded as it arrives, and event streams last until one end closes.

mod body;
mod headers;
mod trace_context;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, Uri, header};
use chassis::{Problem, RequestId, Shutdown};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use crate::client::Peer;
use crate::upstream::{Failure, Upstream};
pub(crate) use body::Limits as BodyLimits;
use body::Relay;

/// The prefix under which the upstreams' paths are served.
pub(crate) const PREFIX: &str = "/api";
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header that makes a POST safe to repeat: the service stores its answer under this key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The state of the handler of one upstream's routes.
pub(crate) struct Proxy {
    pub(crate) upstream: Arc<Upstream>,
    /// Whether a POST to the collection may be repeated under its key.
    pub(crate) keeps_keys: bool,
    /// Whether cookies are forwarded. Browsers send those of TLS to every path.
    pub(crate) takes_cookies: bool,
    pub(crate) body_limits: BodyLimits,
    /// Time limit of an uploaded file, which is forwarded as it arrives to an upstream that limits
    /// its size; none where bodies are read whole.
    pub(crate) upload_time: Option<Duration>,
    pub(crate) shutdown: Shutdown,
}

/// Sends a request to its upstream and relays the answer.
pub(crate) async fn forward(
    State(proxy): State<Arc<Proxy>>,
    id: RequestId,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> chassis::Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    let may_repeat = proxy.may_repeat(&head);
    headers::prepare_request(&mut head.headers, peer.map(|Extension(peer)| peer));
    if !proxy.takes_cookies {
        head.headers.remove(header::COOKIE);
    }

    trace_context::ensure(&mut head.headers);
    head.headers.insert(X_REQUEST_ID, id.into());
    head.uri = proxy.upstream.uri(without_prefix(&head.uri));

    let take_place = || {
        proxy
            .upstream
            .take_place()
            .map_err(|failure| refusal(&failure))
    };

    let (place, answer) = match proxy.upload_time.filter(|_| head.method == Method::POST) {
        Some(time) => (
            take_place()?,
            proxy
                .upstream
                .stream(Request::from_parts(onward(head), body), time)
                .await,
        ),
        None => {
            let whole = body::read(body, proxy.body_limits).await?;
            (
                take_place()?,
                proxy
                    .upstream
                    .call(Request::from_parts(onward(head), whole), may_repeat)
                    .await,
            )
        }
    };

    proxy.relay(answer.map_err(|failure| refusal(&failure))?, place)
}

/// Returns the part of a request's head that is forwarded.
fn onward(head: Parts) -> Parts {
    let (mut onward, ()) = Request::new(()).into_parts();
    (onward.method, onward.uri, onward.headers) = (head.method, head.uri, head.headers);
    onward
}

impl Proxy {
    /// Returns whether a request may be sent twice: its method is idempotent (RFC 9110, 9.2.2), or it
    /// is a POST with a key to a collection that keeps keys.
    fn may_repeat(&self, head: &Parts) -> bool {
        let is_keyed = || {
            let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
            self.keeps_keys
                && head.method == Method::POST
                && path.strip_prefix('/') == Some(self.upstream.name())
                && head.headers.contains_key(IDEMPOTENCY_KEY)
        };
        head.method.is_idempotent() || is_keyed()
    }

    fn relay(
        &self,
        answer: Response<Incoming>,
        place: OwnedSemaphorePermit,
    ) -> chassis::Result<Response<Body>> {
        let (mut head, body) = answer.into_parts();
        headers::prepare_answer(&mut head.headers);
        let relay = if is_event_stream(&head.headers) {
            let place = self
                .upstream
                .take_stream_place()
                .map_err(|failure| refusal(&failure))?;
            Relay::endless(body, self.shutdown.clone(), place)
        } else {
            Relay::finite(body, self.upstream.idle_timeout, place)
        };

        Ok(Response::from_parts(head, Body::new(relay)))
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

/// Returns the path and query for the upstream: byte for byte as the client sent them, without the
/// prefix.
fn without_prefix(uri: &Uri) -> PathAndQuery {
    let whole = uri.path_and_query().map_or(PREFIX, PathAndQuery::as_str);
    let rest = whole.strip_prefix(PREFIX).unwrap_or(whole);
    PathAndQuery::try_from(rest).expect("what follows a segment of a valid path is a valid path")
}

/// Returns the reply to the client for a call that got no answer.
fn refusal(failure: &Failure) -> Problem {
    let status = match failure {
        Failure::Unreachable(_) | Failure::Broken(_) => StatusCode::BAD_GATEWAY,
        Failure::BodyBrokeOff => return Problem::bad_request(failure.to_string()),
        Failure::TooSlow(_) => StatusCode::GATEWAY_TIMEOUT,
        Failure::Busy(_) | Failure::CircuitOpen(_) => {
            return Problem::unavailable(failure.to_string());
        }
    };
    Problem::new(status, failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstream_sees_the_path_without_the_prefix_byte_for_byte() {
        for (asked, seen) in [
            ("/api/users", "/users"),
            ("/api/users/7?a=b%20c&a=d", "/users/7?a=b%20c&a=d"),
            ("/api/users/..%2fmetrics", "/users/..%2fmetrics"),
            ("http://shop.example/api/products/x", "/products/x"),
        ] {
            assert_eq!(without_prefix(&asked.parse().unwrap()), seen, "{asked}");
        }
    }
}

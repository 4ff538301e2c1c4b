//! What all services share around their routers: request ids, spans, counts, time limits, and problem documents for what
//! no handler answered.

use std::any::Any;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::trace::REQUEST_ID;
use crate::{Health, Metrics, Problem, RequestId, span};

/// How large a body an extractor takes, unless a route says otherwise.
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// The service's router with everything that all services share around it: what [`crate::serve`] serves, and what tests
/// call by `oneshot`. A handler that takes longer than `reply_limit` to begin its reply is given up with a 503.
pub fn application(router: Router, health: &Health, metrics: &Metrics, reply_limit: Duration) -> Router {
    router
        .layer(middleware::from_fn_with_state(reply_limit, limit_time))
        .layer(middleware::from_fn_with_state(health.clone(), wait_for_start))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .merge(health.routes())
        .merge(metrics.routes())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(metrics.clone(), observe))
}

/// Answers 503 while something is not there yet that every handler relies on.
async fn wait_for_start(State(health): State<Health>, request: Request, next: Next) -> Response {
    if health.is_held() {
        return Problem::unavailable("the service is still starting").into_response();
    }
    next.run(request).await
}

async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let reply = tokio::time::timeout(limit, next.run(request)).await;
    reply.unwrap_or_else(|_| Problem::unavailable("the reply took too long").into_response())
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over like this")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Problem::internal(text.as_deref().unwrap_or("a handler panicked")).into_response()
}

/// Gives the request its id and span, counts it, and explains what the router itself refused.
async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Result<Response, Infallible> {
    let _under_way = metrics.begin();
    let began = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let id = RequestId::of(request.headers());
    let span = span::of_request(metrics.service(), &method, route, &id, request.headers_mut());
    request.extensions_mut().insert(id.clone());
    let mut response = explain(next.run(request).instrument(span.clone()).await);
    metrics.observe(&method, route, response.status(), began.elapsed());
    span::note_status(&span, response.status());
    span.in_scope(|| {
        tracing::debug!(status = response.status().as_u16(), took_us = began.elapsed().as_micros(), "answered");
    });
    let id = HeaderValue::from_str(id.as_str()).expect("request ids are letters, digits and -_.");
    response.headers_mut().insert(REQUEST_ID, id);
    // A body is what its content type says, and nothing that a browser makes of it.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Turns the router's bare 404 and 405 into problem documents, keeping their headers.
fn explain(mut response: Response) -> Response {
    let bare = response.body().size_hint().exact() == Some(0) && !response.headers().contains_key(header::CONTENT_TYPE);
    let detail = match response.status() {
        StatusCode::NOT_FOUND => "there is nothing at this path",
        StatusCode::METHOD_NOT_ALLOWED => "the method is not allowed here; see the Allow header",
        _ => return response,
    };
    if !bare {
        return response;
    }
    let (head, body): (_, Body) = Problem::new(response.status(), detail).into_response().into_parts();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().extend(head.headers);
    *response.body_mut() = body;
    response
}

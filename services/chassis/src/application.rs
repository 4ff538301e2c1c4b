//! The layer that all services put around their routers: request ids, spans, metrics, time limits,
//! and problem documents for requests that no handler answered.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use tower::layer::layer_fn;
use tower::{Layer, Service};
use tracing::{Instrument, Span};

use crate::metrics::InFlight;
use crate::problem::Reason;
use crate::trace::REQUEST_ID;
use crate::{Health, Metrics, Problem, RequestId, accept, span};

/// Largest body that an extractor accepts, unless a route sets another limit.
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// Returns the service's router with the shared layer around it. [`crate::serve`] serves it, and
/// tests call it by `oneshot`. A handler that takes longer than `reply_limit` to begin its reply is
/// cancelled, and the client receives a 503.
pub fn application(
    router: Router,
    health: &Health,
    metrics: &Metrics,
    reply_limit: Duration,
) -> Router {
    let rules = |reply_limit| {
        Arc::new(Rules {
            health: health.clone(),
            metrics: metrics.clone(),
            reply_limit,
        })
    };
    let probes = health.routes().layer(around(rules(None)));

    router
        .layer((
            around(rules(Some(reply_limit))),
            DefaultBodyLimit::max(BODY_LIMIT_BYTES),
        ))
        .merge(probes)
}

/// Returns the routes for operators only: health and metrics.
pub fn operator(health: &Health, metrics: &Metrics) -> Router {
    let rules = Rules {
        health: health.clone(),
        metrics: metrics.clone(),
        reply_limit: None,
    };

    let routes = health.routes().merge(metrics.routes());
    routes.layer(around(Arc::new(rules)))
}

fn around<R>(rules: Arc<Rules>) -> impl Layer<R, Service = Around<R>> + Clone {
    layer_fn(move |routes| Around {
        routes,
        rules: Arc::clone(&rules),
    })
}

/// Routes with the shared layer around them. A single layer does everything, because each layer of
/// a router copies the routes below it for each request.
#[derive(Clone)]
struct Around<R> {
    routes: R,
    rules: Arc<Rules>,
}

/// The shared state with which requests are answered.
struct Rules {
    health: Health,
    metrics: Metrics,
    /// None for probes: they are answered while the service is still starting, and each check has a
    /// time limit.
    reply_limit: Option<Duration>,
}

impl<R> Service<Request> for Around<R>
where
    R: Service<Request, Response = Response, Error = Infallible>,
    R::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let rules = Arc::clone(&self.rules);
        let observed = Observed::begin(&rules.metrics, &mut request);
        let reply = self.routes.call(request);

        Box::pin(async move {
            let reply = rules.reply(reply).instrument(observed.span.clone()).await;
            Ok(observed.end(&rules.metrics, reply))
        })
    }
}

impl Rules {
    /// Returns the handler's reply, or a 500 if the handler panics.
    async fn reply(&self, reply: impl Future<Output = Result<Response, Infallible>>) -> Response {
        let reply = AssertUnwindSafe(self.reply_in_time(reply))
            .catch_unwind()
            .await;
        reply.unwrap_or_else(|panic| panicked(&*panic))
    }

    /// Returns the handler's reply, or a 503 when it takes too long. The reply is also a 503 while
    /// a dependency of all handlers is not ready.
    async fn reply_in_time(
        &self,
        reply: impl Future<Output = Result<Response, Infallible>>,
    ) -> Response {
        let Some(limit) = self.reply_limit else {
            return reply.await.unwrap_or_else(|never| match never {});
        };
        if self.health.is_held() {
            return Problem::unavailable("the service is still starting").into_response();
        }

        match tokio::time::timeout(limit, reply).await {
            Ok(Ok(reply)) => reply,
            Err(_) => Problem::unavailable("the reply took too long").into_response(),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Problem::internal(text.unwrap_or("a handler panicked").to_owned()).into_response()
}

/// A request with its id and span. It is counted when its reply is ready.
struct Observed {
    began: Instant,
    method: Method,
    route: Option<MatchedPath>,
    id: RequestId,
    span: Span,
    /// The request only reads, and its client accepts no JSON. A request that changes something has a reply in any case.
    wants_no_json: bool,
    _under_way: InFlight,
}

impl Observed {
    fn begin(metrics: &Metrics, request: &mut Request) -> Self {
        let began = Instant::now();
        let under_way = metrics.begin();
        let method = request.method().clone();
        let route = request.extensions().get::<MatchedPath>().cloned();
        let id = RequestId::of(request.headers());

        let span = span::of_request(
            metrics.service(),
            &method,
            name_of(route.as_ref()),
            &id,
            request.headers_mut(),
        );

        let wants_no_json = method == Method::GET && accept::excludes_json(request.headers());
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(metrics.security().clone());
        Self {
            began,
            method,
            route,
            id,
            span,
            wants_no_json,
            _under_way: under_way,
        }
    }

    /// Counts the request, and turns the router's own refusals into problem documents.
    fn end(self, metrics: &Metrics, reply: Response) -> Response {
        let mut reply = match self.wants_no_json {
            false => explain(reply),
            true => accept::without_json(explain(reply)),
        };
        let took = self.began.elapsed();
        metrics.observe(
            &self.method,
            name_of(self.route.as_ref()),
            reply.status(),
            took,
        );

        span::note_status(&self.span, reply.status());
        self.span.in_scope(|| {
            note_refusal(metrics.service(), &reply);
            tracing::debug!(
                status = reply.status().as_u16(),
                took_us = took.as_micros(),
                "answered"
            );
        });

        reply.headers_mut().insert(REQUEST_ID, self.id.into());
        // Browsers must not guess another content type from the body.
        reply.headers_mut().insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        // Most replies contain personal data. A handler whose reply may be cached sets the header itself.
        let caching = reply.headers_mut().entry(header::CACHE_CONTROL);
        caching.or_insert(HeaderValue::from_static("no-store"));

        reply
    }
}

/// Writes to the security log that a caller was refused, with the reason. The span identifies the
/// request.
fn note_refusal(service: &str, reply: &Response) {
    let is_refusal = matches!(
        reply.status(),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
    );

    if is_refusal {
        let reason = reply.extensions().get::<Reason>();
        tracing::info!(
            target: "security",
            event = "request_refused",
            service,
            status = reply.status().as_u16(),
            reason = reason.map(|Reason(text)| text.as_ref()),
        );
    }
}

fn name_of(route: Option<&MatchedPath>) -> &str {
    route.map_or("unmatched", MatchedPath::as_str)
}

/// Turns the router's bare 404 and 405 into problem documents, keeping their headers.
fn explain(mut response: Response) -> Response {
    let bare = response.body().size_hint().exact() == Some(0)
        && !response.headers().contains_key(header::CONTENT_TYPE);
    let detail = match response.status() {
        StatusCode::NOT_FOUND => "there is nothing at this path",
        StatusCode::METHOD_NOT_ALLOWED => "the method is not allowed here; see the Allow header",
        _ => return response,
    };

    if !bare {
        return response;
    }

    let (head, body): (_, Body) = Problem::new(response.status(), detail)
        .into_response()
        .into_parts();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().extend(head.headers);
    *response.body_mut() = body;

    response
}

//! The server: connections in, the service's router behind what all services share, an orderly end.
//!
//! Connections are driven by hyper directly, for axum's own server has neither a limit on how long a client may take to
//! send its headers nor a deadline for its shutdown. A shutdown goes in three steps: not ready and no new connections;
//! requests under way are finished and idle connections closed; what is left after [`DRAIN_LIMIT`] is cut off.

use std::any::Any;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::trace::REQUEST_ID;
use crate::{Health, Metrics, Problem, RequestId, Shutdown, TraceParent};

/// How long requests under way may take to finish once a shutdown was requested.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long a client may take to send the head of a request, or keep an idle connection.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long a handler may take to begin its reply.
const REPLY_LIMIT: Duration = Duration::from_secs(30);
/// How many connections are held at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 4096;
/// How large a body an extractor takes, unless a route says otherwise.
const BODY_LIMIT_BYTES: usize = 1 << 20;
/// How long to leave the listener alone when it cannot accept, which mostly means that no descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why serving ended otherwise than by a shutdown.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Connections could not be accepted.
    #[error("{service} cannot accept connections: {source}")]
    Accept {
        /// The service.
        service: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Serves `router` on `listener` until a shutdown is requested and everything under way is finished or out of time.
///
/// # Errors
/// [`ServeError::Accept`] when the listener is broken.
pub async fn serve(
    service: &str,
    listener: TcpListener,
    router: Router,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let app = application(router, &health, &metrics);
    let server = Server { app, shutdown: shutdown.clone(), cut_off: CancellationToken::new() };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener, service) => accepted?,
            () = shutdown.requested() => break,
        };
        connections.spawn(server.clone().connection(stream, peer, slot));
    }
    drop(listener);
    health.drain();
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        tracing::warn!(service, connections = connections.len(), "cut off what did not finish in time");
        server.cut_off.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// The service's router with everything that all services share around it: what [`serve`] serves, for tests by
/// `oneshot`.
pub fn application(router: Router, health: &Health, metrics: &Metrics) -> Router {
    router
        .layer(middleware::from_fn(limit_time))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .merge(health.routes())
        .merge(metrics.routes())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(metrics.clone(), observe))
}

/// Accepts the next connection; what ails one connection, or passes, is no reason to end.
async fn accept(listener: &TcpListener, service: &str) -> Result<(TcpStream, SocketAddr), ServeError> {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    loop {
        match listener.accept().await {
            Ok(accepted) => return Ok(accepted),
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
            Err(source) if source.kind() == InvalidInput => {
                return Err(ServeError::Accept { service: service.to_owned(), source });
            }
            Err(error) => {
                tracing::warn!(service, %error, "cannot accept a connection now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[derive(Clone)]
struct Server {
    app: Router,
    shutdown: Shutdown,
    /// Cancelled when the time for an orderly end is over.
    cut_off: CancellationToken,
}

impl Server {
    async fn connection(self, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection is gone already");
        }
        let app = self.app;
        let respond = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            app.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), respond);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.requested() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.cut_off.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "the connection broke");
        }
    }
}

/// Answers 503 in place of a handler that takes too long to begin its reply.
async fn limit_time(request: Request, next: Next) -> Response {
    let reply = tokio::time::timeout(REPLY_LIMIT, next.run(request)).await;
    reply.unwrap_or_else(|_| Problem::unavailable("the reply took too long").into_response())
}

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
    let trace = TraceParent::of(request.headers());
    let span = tracing::info_span!("request", %method, route, request_id = id.as_str(), traceparent = trace.as_ref().map(TraceParent::as_str));
    request.extensions_mut().insert(id.clone());
    let mut response = explain(next.run(request).instrument(span.clone()).await);
    metrics.observe(&method, route, response.status(), began.elapsed());
    span.in_scope(|| {
        tracing::debug!(status = response.status().as_u16(), took_us = began.elapsed().as_micros(), "answered");
    });
    let id = HeaderValue::from_str(id.as_str()).expect("request ids are letters, digits and -_.");
    response.headers_mut().insert(REQUEST_ID, id);
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

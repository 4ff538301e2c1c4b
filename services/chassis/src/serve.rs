//! The HTTP server: accepts connections, limits them and shuts down in order.
//!
//! A service listens at two addresses. The public one serves its own routes; the operator's one
//! serves health and metrics, with a connection limit of its own. Health is at both, because load
//! balancers probe the address that they send requests to.
//!
//! Connections are driven by hyper directly, because axum's own server has no time limit on reading
//! headers and no deadline for its shutdown. A shutdown has three steps: the service becomes not
//! ready and accepts no new connections; requests under way are finished and idle connections
//! closed; connections that are left after [`Limits::drain`] are closed.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};
use axum::response::IntoResponse;
use futures::future::{Either, ready};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::application::{application, operator};
use crate::connections::{Connections, Held};
use crate::leftover::Leftover;
use crate::workers::Workers;
use crate::{Health, Metrics, Problem, Shutdown};

/// Pause after a failed accept; such a failure mostly means that no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Size limit of a request's head, and of a connection's read and write buffers.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// Connection limit of the operator's address.
const OPERATOR_CONNECTIONS: usize = 256;

/// The limits that a server sets its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once; more are answered with a 503 and closed.
    pub connections: usize,
    /// Connections open at once from one address; more are answered with a 429 and closed.
    pub connections_of_address: usize,
    /// Networks of proxies, which are exempt from the limit for one address: their connections
    /// carry many clients' requests.
    pub proxies: Vec<IpNet>,
    /// Time limit for a client to send the head of a request, and for an idle connection.
    pub head: Duration,
    /// Time limit for a client to read the next part of a reply.
    pub taking: Duration,
    /// Time limit for a handler to begin its reply.
    pub reply: Duration,
    /// Time limit for requests under way to finish after a shutdown is requested.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let half_a_minute = Duration::from_secs(30);
        let drain = Duration::from_secs(5);
        Self {
            connections: 4096,
            connections_of_address: 4096,
            proxies: Vec::new(),
            head: half_a_minute,
            taking: half_a_minute,
            reply: half_a_minute,
            drain,
        }
    }
}

/// The reason why serving ended without a shutdown.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Connections could not be accepted.
    #[error("{service} cannot accept connections: {source}")]
    Accept {
        /// The service.
        service: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Threads for the connections could not be started.
    #[error("{service} cannot start its threads: {source}")]
    Threads {
        /// The service.
        service: String,
        /// The system's error.
        source: std::io::Error,
    },
}

/// The sockets that a service listens on.
pub struct Listeners {
    /// The socket for clients.
    pub public: TcpListener,
    /// The socket for operators. Without it there are no metrics.
    pub operator: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(public: TcpListener) -> Self {
        Self {
            public,
            operator: None,
        }
    }
}

/// Serves `router` on `listeners` until a shutdown is requested and all requests are finished or
/// the drain limit has passed.
///
/// # Errors
/// [`ServeError::Accept`] when the listener is broken.
pub async fn serve(
    service: &str,
    listeners: impl Into<Listeners>,
    router: Router,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    Server {
        service: service.to_owned(),
        router,
        health,
        metrics,
        limits: Limits::default(),
    }
    .run(listeners, shutdown)
    .await
}

/// A service about to be served: [`serve`] with limits of its own.
pub struct Server {
    /// Its name, for the logs.
    pub service: String,
    /// Its own routes.
    pub router: Router,
    /// Its checks.
    pub health: Health,
    /// Its metrics.
    pub metrics: Metrics,
    /// The limits for its clients.
    pub limits: Limits,
}

impl Server {
    /// See [`serve`].
    ///
    /// # Errors
    /// [`ServeError::Accept`] when the listener is broken.
    pub async fn run(
        self,
        listeners: impl Into<Listeners>,
        shutdown: Shutdown,
    ) -> Result<(), ServeError> {
        self.run_by(Workers::here(), listeners.into(), shutdown)
            .await
    }

    /// Serves on threads of its own, one for each core. A connection and the tasks that its
    /// handlers spawn stay on one thread. Requests are cheaper this way if their handlers mostly
    /// wait for other services.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn run_on_own_threads(
        self,
        listeners: impl Into<Listeners>,
        shutdown: Shutdown,
    ) -> Result<(), ServeError> {
        let workers = Workers::of_their_own();
        let workers = workers.map_err(|source| ServeError::Threads {
            service: self.service.clone(),
            source,
        })?;
        self.run_by(workers, listeners.into(), shutdown).await
    }

    async fn run_by(
        self,
        workers: Workers,
        listeners: Listeners,
        shutdown: Shutdown,
    ) -> Result<(), ServeError> {
        let Self {
            service,
            router,
            health,
            metrics,
            limits,
        } = self;

        let operator = Door {
            service: service.clone(),
            app: operator(&health, &metrics),
            metrics: metrics.clone(),
            limits: Limits {
                connections: OPERATOR_CONNECTIONS,
                connections_of_address: OPERATOR_CONNECTIONS,
                ..Limits::default()
            },
        };

        let public = Door {
            service,
            app: application(router, &health, &metrics, limits.reply),
            metrics,
            limits,
        };

        // The operator's address is closed after the public one, so that it can report that the
        // service is draining.
        let closed = Shutdown::new();
        let serve_public = async {
            let closing = || health.drain();
            let served = public.open(workers, listeners.public, &shutdown, closing);
            let served = served.await;
            closed.request();
            served
        };

        let serve_operator = async {
            match listeners.operator {
                Some(listener) => {
                    operator
                        .open(Workers::here(), listener, &closed, || ())
                        .await
                }
                None => Ok(()),
            }
        };
        tokio::try_join!(serve_public, serve_operator)?;

        Ok(())
    }
}

/// One listening address and the routes served there.
struct Door {
    service: String,
    app: Router,
    metrics: Metrics,
    limits: Limits,
}

impl Door {
    /// Serves until a shutdown is requested; calls `closing` when it stops accepting connections.
    async fn open(
        self,
        workers: Workers,
        listener: TcpListener,
        shutdown: &Shutdown,
        closing: impl FnOnce(),
    ) -> Result<(), ServeError> {
        let Limits {
            connections,
            connections_of_address,
            ref proxies,
            ..
        } = self.limits;
        let connections = Connections::new(connections, connections_of_address, proxies.clone());
        let connections = Arc::new(connections);

        let connection = Connection {
            app: self.app.clone(),
            head_limit: self.limits.head,
            taking_limit: self.limits.taking,
            shutdown: shutdown.clone(),
            cut_off: CancellationToken::new(),
        };

        loop {
            let (stream, peer) = tokio::select! {
                accepted = accept(&listener, &self.service) => accepted?,
                () = shutdown.requested() => break,
            };

            let held = match connections.hold(peer.ip()) {
                Ok(held) => held,
                Err(full) => {
                    self.metrics.turned_away(full.name());
                    connections.turn_away(stream, full);
                    continue;
                }
            };

            let connection = connection.clone();
            if let Err(error) =
                workers.drive(stream, move |stream| connection.drive(stream, peer, held))
            {
                tracing::warn!(service = self.service, %error, "cannot take a connection");
            }
        }

        drop(listener);
        closing();
        self.drain(&workers, &connection.cut_off).await;

        Ok(())
    }

    /// Waits until all connections have ended, and closes those that do not end in time.
    async fn drain(&self, workers: &Workers, cut_off: &CancellationToken) {
        let idle = tokio::time::timeout(self.limits.drain, workers.idle());
        if idle.await.is_err() {
            tracing::warn!(
                service = self.service,
                connections = workers.connections(),
                "cut off requests that did not finish in time"
            );

            cut_off.cancel();
            workers.idle().await;
        }
    }
}

/// Accepts the next connection. It tries again after an error that is transient or concerns a
/// single connection.
async fn accept(
    listener: &TcpListener,
    service: &str,
) -> Result<(TcpStream, SocketAddr), ServeError> {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};

    loop {
        match listener.accept().await {
            Ok(accepted) => return Ok(accepted),
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            Err(source) if source.kind() == InvalidInput => {
                return Err(ServeError::Accept {
                    service: service.to_owned(),
                    source,
                });
            }
            Err(error) => {
                tracing::warn!(service, %error, "cannot accept a connection now");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The state that each connection is driven with.
#[derive(Clone)]
struct Connection {
    app: Router,
    head_limit: Duration,
    taking_limit: Duration,
    shutdown: Shutdown,
    /// Cancelled when the drain limit has passed.
    cut_off: CancellationToken,
}

impl Connection {
    async fn drive(self, stream: TcpStream, peer: SocketAddr, _held: Held) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection is closed already");
        }

        let app = self.app;
        let respond = service_fn(move |mut request: hyper::Request<Incoming>| {
            if let Err(refused) = check_head(request.version(), request.headers()) {
                return Either::Left(ready(Ok::<_, Infallible>(refused.into_response())));
            }
            request.extensions_mut().insert(ConnectInfo(peer));
            Either::Right(app.clone().oneshot(request.map(Leftover::of)))
        });

        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.taking_limit));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_limit)
            .max_buf_size(HEAD_LIMIT_BYTES)
            .serve_connection(TokioIo::new(Box::pin(stream)), respond);
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

/// Rejects a head that two servers could read differently.
fn check_head(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    if !names_one_host(version, headers) {
        let detail = "the request must have exactly one Host header, with a valid host";
        return Err(Problem::bad_request(detail));
    }
    if !is_plainly_chunked(headers) {
        let detail = "Transfer-Encoding must be `chunked` and nothing else";
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

/// Returns whether a request names its host exactly once and in a valid form (RFC 9112, 3.2).
/// HTTP/1.0 may omit it.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let host = host.as_bytes();
            host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
        }
        (None, None) => version == Version::HTTP_10,
        _ => false,
    }
}

/// Returns whether the request has no Transfer-Encoding or `chunked` alone (RFC 9112, 6.1): no other
/// coding would be decoded. hyper itself drops Content-Length beside Transfer-Encoding.
fn is_plainly_chunked(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

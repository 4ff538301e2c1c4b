//! The server: connections in, an orderly end.
//!
//! A service listens at two addresses: its own routes are at the public one, health and metrics at the operator's, which
//! has connections of its own. Health is at both, for balancers ask where the requests go.
//!
//! Connections are driven by hyper directly, for axum's own server has neither a limit on how long a client may take to
//! send its headers nor a deadline for its shutdown. A shutdown goes in three steps: not ready and no new connections;
//! requests under way are finished and idle connections closed; what is left after [`Limits::drain`] is cut off.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version, header};
use axum::response::{IntoResponse, Response};
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

/// How long to leave the listener alone when it cannot accept, which mostly means that no descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The most bytes of a request's head, and of a buffer for what comes and goes on a connection.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// Connections that the operator's address holds.
const OPERATOR_CONNECTIONS: usize = 256;

/// What a server grants its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many connections are held at once; more are answered with a 503 and closed.
    pub connections: usize,
    /// How many of them one address may have; more are answered with a 429 and closed.
    pub connections_of_address: usize,
    /// Networks of proxies, which may have any number: their connections are those of many clients.
    pub proxies: Vec<IpNet>,
    /// How long a client may take to send the head of a request, or keep an idle connection.
    pub head: Duration,
    /// How long a client may take nothing of a reply that is being sent.
    pub taking: Duration,
    /// How long a handler may take to begin its reply.
    pub reply: Duration,
    /// How long requests under way may take to finish once a shutdown was requested.
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
    /// The system has no threads to drive connections with.
    #[error("{service} cannot start its threads: {source}")]
    Threads {
        /// The service.
        service: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Where a service listens.
pub struct Listeners {
    /// Its clients come here.
    pub public: TcpListener,
    /// Those who run it come here. Without it there are no metrics.
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

/// Serves `router` on `listeners` until a shutdown is requested and everything under way is finished or out of time.
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
    /// What it grants its clients.
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

    /// Serves by threads of its own, one for each core. A connection stays with one of them, and so does what its handlers
    /// spawn: this makes a request cheaper whose handler does little else than wait for others.
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

        // The operator's address outlives the public one: it says that the service drains.
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

/// One address, and what is served there.
struct Door {
    service: String,
    app: Router,
    metrics: Metrics,
    limits: Limits,
}

impl Door {
    /// Serves until a shutdown is requested; calls `closing` when no more connections are taken.
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

    /// Waits until all connections have ended, and cuts off those that do not end in time.
    async fn drain(&self, workers: &Workers, cut_off: &CancellationToken) {
        let idle = tokio::time::timeout(self.limits.drain, workers.idle());
        if idle.await.is_err() {
            tracing::warn!(
                service = self.service,
                connections = workers.connections(),
                "cut off what did not finish in time"
            );

            cut_off.cancel();
            workers.idle().await;
        }
    }
}

/// Accepts the next connection; what ails one connection, or passes, is no reason to end.
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

/// What each connection is driven with.
#[derive(Clone)]
struct Connection {
    app: Router,
    head_limit: Duration,
    taking_limit: Duration,
    shutdown: Shutdown,
    /// Cancelled when the time for an orderly end is over.
    cut_off: CancellationToken,
}

impl Connection {
    async fn drive(self, stream: TcpStream, peer: SocketAddr, _held: Held) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection is gone already");
        }

        let app = self.app;
        let respond = service_fn(move |mut request: hyper::Request<Incoming>| {
            if !names_one_host(request.version(), request.headers()) {
                return Either::Left(ready(Ok::<_, Infallible>(no_host())));
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

/// Whether a request says for which host it is, once and in the form of one (RFC 9112, 3.2). HTTP/1.0 need not say it.
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

fn no_host() -> Response {
    Problem::bad_request("the request must have one Host header, with a host").into_response()
}

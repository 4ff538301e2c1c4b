//! The server: connections in, an orderly end.
//!
//! Connections are driven by hyper directly, for axum's own server has neither a limit on how long a client may take to
//! send its headers nor a deadline for its shutdown. A shutdown goes in three steps: not ready and no new connections;
//! requests under way are finished and idle connections closed; what is left after [`Limits::drain`] is cut off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::application::application;
use crate::leftover::Leftover;
use crate::workers::Workers;
use crate::{Health, Metrics, Shutdown};

/// How long to leave the listener alone when it cannot accept, which mostly means that no descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a server grants its clients.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections are held at once; more wait in the listener's queue.
    pub connections: usize,
    /// How long a client may take to send the head of a request, or keep an idle connection.
    pub head: Duration,
    /// How long a handler may take to begin its reply.
    pub reply: Duration,
    /// How long requests under way may take to finish once a shutdown was requested.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (half_a_minute, drain) = (Duration::from_secs(30), Duration::from_secs(5));
        Self {
            connections: 4096,
            head: half_a_minute,
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
    Server {
        service: service.to_owned(),
        router,
        health,
        metrics,
        limits: Limits::default(),
    }
    .run(listener, shutdown)
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
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), ServeError> {
        self.run_by(Workers::here(), listener, shutdown).await
    }

    /// Serves by threads of its own, one for each core. A connection stays with one of them, and so does what its handlers
    /// spawn: this makes a request cheaper whose handler does little else than wait for others.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn run_on_own_threads(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> Result<(), ServeError> {
        let workers = Workers::of_their_own();
        let workers = workers.map_err(|source| ServeError::Threads {
            service: self.service.clone(),
            source,
        })?;
        self.run_by(workers, listener, shutdown).await
    }

    async fn run_by(
        self,
        workers: Workers,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> Result<(), ServeError> {
        let Self {
            service,
            router,
            health,
            metrics,
            limits,
        } = self;
        let app = application(router, &health, &metrics, limits.reply);
        let connection = Connection {
            app,
            head_limit: limits.head,
            shutdown: shutdown.clone(),
            cut_off: CancellationToken::new(),
        };
        let slots = Arc::new(Semaphore::new(limits.connections));
        loop {
            let (slot, (stream, peer)) = tokio::select! {
                accepted = accept(&slots, &listener, &service) => accepted?,
                () = shutdown.requested() => break,
            };
            let connection = connection.clone();
            if let Err(error) =
                workers.drive(stream, move |stream| connection.drive(stream, peer, slot))
            {
                tracing::warn!(service, %error, "cannot take a connection");
            }
        }
        drop(listener);
        health.drain();
        if tokio::time::timeout(limits.drain, workers.idle())
            .await
            .is_err()
        {
            tracing::warn!(
                service,
                connections = workers.connections(),
                "cut off what did not finish in time"
            );
            connection.cut_off.cancel();
            workers.idle().await;
        }
        Ok(())
    }
}

type Accepted = (OwnedSemaphorePermit, (TcpStream, SocketAddr));

/// Accepts the next connection; what ails one connection, or passes, is no reason to end.
async fn accept(
    slots: &Arc<Semaphore>,
    listener: &TcpListener,
    service: &str,
) -> Result<Accepted, ServeError> {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok(accepted) => return Ok((slot, accepted)),
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
    shutdown: Shutdown,
    /// Cancelled when the time for an orderly end is over.
    cut_off: CancellationToken,
}

impl Connection {
    async fn drive(self, stream: TcpStream, peer: SocketAddr, _slot: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection is gone already");
        }
        let app = self.app;
        let respond = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            app.clone().oneshot(request.map(Leftover::of))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_limit)
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

//! A service behind the gateway: its address, its pooled connections, its limits of time and
//! concurrency.
//!
//! Each upstream has its own slots and its own circuit breaker: one that hangs or fails cannot use
//! up the resources of the others.

mod breaker;
mod counts;
mod pass;
mod pools;

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{Request, Response, Uri};
use chassis::span::Call;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tower::retry::budget::{Budget, TpsBudget};

use crate::config::{Address, Config};
use breaker::Breaker;
pub(crate) use counts::Counts;
use pass::Pass;
pub(crate) use pools::Pools;

/// The retry budget: a fifth of the calls of the last ten seconds, and at least ten a second.
const RETRY_SHARE: f32 = 0.2;
const RETRY_WINDOW: Duration = Duration::from_secs(10);
const RETRIES_PER_SECOND: u32 = 10;

/// The state that all upstreams share.
pub(crate) struct Shared {
    /// The connections to all of them.
    pub(crate) pools: Arc<Pools>,
    pub(crate) counts: Counts,
}

/// One upstream service.
pub(crate) struct Upstream {
    name: &'static str,
    authority: Authority,
    pools: Arc<Pools>,
    response_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    retries: TpsBudget,
    counts: Counts,
}

/// The reason why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection: nothing was sent.
    #[error("the {0} service cannot be reached")]
    Unreachable(&'static str),
    /// The connection broke before the answer; the upstream may have acted.
    #[error("the connection to the {0} service broke before the answer")]
    Broken(&'static str),
    /// The client did not finish sending the body; the upstream may have acted.
    #[error("the body ended early")]
    BodyBrokeOff,
    /// No answer in time; the upstream may have acted.
    #[error("the {0} service did not answer in time")]
    TooSlow(&'static str),
    /// All slots are taken: nothing was sent.
    #[error("the {0} service is busy")]
    Busy(&'static str),
    /// The circuit breaker is open after repeated failures: nothing was sent.
    #[error("the {0} service failed repeatedly and is not called: circuit breaker open")]
    CircuitOpen(&'static str),
}

impl Upstream {
    pub(crate) fn new(
        name: &'static str,
        address: &Address,
        config: &Config,
        shared: &Shared,
    ) -> Self {
        Self {
            name,
            authority: address.authority().clone(),
            pools: Arc::clone(&shared.pools),
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
            calls: Arc::new(Semaphore::new(config.concurrency)),
            streams: Arc::new(Semaphore::new(config.streams)),
            breaker: Mutex::new(Breaker::new()),
            retries: TpsBudget::new(RETRY_WINDOW, RETRIES_PER_SECOND, RETRY_SHARE),
            counts: shared.counts.clone(),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the address of `path` at this upstream.
    pub(crate) fn uri(&self, path: PathAndQuery) -> Uri {
        let builder = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone());
        builder
            .path_and_query(path)
            .build()
            .expect("scheme, authority and path make an address")
    }

    /// Takes a slot for a call.
    pub(crate) fn take_place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.calls)
            .try_acquire_owned()
            .map_err(|_| self.noted(Failure::Busy(self.name)))
    }

    /// Takes a slot for an event stream.
    pub(crate) fn take_stream_place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| self.noted(Failure::Busy(self.name)))
    }

    /// Sends a request and waits for the head of the answer. A repeatable request is sent a second
    /// time if the first attempt had no connection or lost it, and the retry budget allows it. An
    /// attempt that timed out is not repeated.
    pub(crate) async fn call(
        &self,
        request: Request<Bytes>,
        may_repeat: bool,
    ) -> Result<Response<Incoming>, Failure> {
        self.retries.deposit();
        let spare = may_repeat.then(|| request.clone());
        match (
            self.try_once(request.map(Body::from), self.response_timeout)
                .await,
            spare,
        ) {
            (Err(Failure::Unreachable(_) | Failure::Broken(_)), Some(again))
                if self.retries.withdraw() =>
            {
                self.counts.retried(self.name);
                self.try_once(again.map(Body::from), self.response_timeout)
                    .await
            }
            (outcome, _) => outcome,
        }
    }

    /// Sends a request whose body is still arriving, once, and waits for the head of the answer
    /// within `limit`.
    pub(crate) async fn stream(
        &self,
        request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        self.retries.deposit();
        self.try_once(request, limit).await
    }

    /// Sends a request without the circuit breaker and without any limit.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, legacy::Error> {
        self.pools.here().request(request).await
    }

    async fn try_once(
        &self,
        mut request: Request<Body>,
        limit: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        let pass = self.admit()?;
        let method = request.method().clone();
        let call = Call::begin(self.authority.as_str(), &method, request.headers_mut());

        let answer = async {
            match timeout(limit, self.send(request)).await {
                Ok(answer) => answer.map_err(|error| self.noted(self.explain(&error))),
                Err(_) => Err(self.noted(Failure::TooSlow(self.name))),
            }
        };
        let outcome = call.answered(answer, Response::status).await;

        match &outcome {
            Ok(_) | Err(Failure::BodyBrokeOff) => pass.succeeded(),
            Err(_) => pass.failed(),
        }

        outcome
    }

    fn admit(&self) -> Result<Pass<'_>, Failure> {
        let verdict = self
            .breaker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .admit(Instant::now());
        verdict
            .map(|()| Pass::new(&self.breaker))
            .map_err(|_| self.noted(Failure::CircuitOpen(self.name)))
    }

    fn noted(&self, failure: Failure) -> Failure {
        tracing::debug!(upstream = self.name, %failure, "no answer");
        self.counts.failed(self.name, &failure);
        failure
    }

    fn explain(&self, error: &legacy::Error) -> Failure {
        let causes = || std::iter::successors(error.source(), |&cause| cause.source());
        if causes()
            .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
            .any(hyper::Error::is_user)
        {
            return Failure::BodyBrokeOff;
        }

        if !error.is_connect() {
            return Failure::Broken(self.name);
        }

        let timed_out = causes()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .any(|cause| cause.kind() == io::ErrorKind::TimedOut);

        if timed_out {
            Failure::TooSlow(self.name)
        } else {
            Failure::Unreachable(self.name)
        }
    }
}

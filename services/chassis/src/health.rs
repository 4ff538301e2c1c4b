//! Liveness and readiness of a service: named checks of its dependencies.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::join_all;
use serde::Serialize;

use crate::Json;

/// The time after a process's start during which its dependencies may still be starting.
const STARTING: Duration = Duration::from_secs(10);
/// A check that takes longer counts as failed.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

type Outcome = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Check = Arc<dyn Fn() -> Outcome + Send + Sync>;

/// The service's checks. Clones share them.
///
/// `/health/live` succeeds while the process serves; `/health/ready` succeeds while every check
/// passes and no shutdown is requested; `/health` is the same for people.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    concern: Concern,
    checks: Mutex<BTreeMap<String, Check>>,
    failing: Mutex<BTreeMap<String, String>>,
    since: Instant,
    draining: AtomicBool,
    holds: AtomicUsize,
}

/// The subject of the checks.
#[derive(Clone, Copy)]
enum Concern {
    /// The service's own dependencies: without them, it is not ready.
    Own,
    /// Services behind this one, and the name under which the body lists them. This service is
    /// ready without them, but reports their failures.
    Behind(&'static str),
}

/// Keeps the service in its starting state while it lives: see [`Health::hold`].
pub struct Hold {
    health: Health,
    name: &'static str,
}

impl Default for Health {
    fn default() -> Self {
        Self::concerning(Concern::Own)
    }
}

impl Health {
    /// Returns a health without checks; a service without dependencies is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the health of a service in front of others. Each of those has a check: `/health`
    /// lists the checks under `group`, and reports `degraded` when one fails. `/health/ready` does
    /// not run them: otherwise, one failing service would cut clients off from all.
    pub fn of_services_behind(group: &'static str) -> Self {
        Self::concerning(Concern::Behind(group))
    }

    fn concerning(concern: Concern) -> Self {
        Self(Arc::new(Inner {
            concern,
            checks: Mutex::default(),
            failing: Mutex::default(),
            since: Instant::now(),
            draining: AtomicBool::new(false),
            holds: AtomicUsize::new(0),
        }))
    }

    /// Adds a check, or replaces the one of this name. The reason for a failure is logged when it
    /// changes and is not shown to clients. It is logged as a warning only after the process's
    /// starting time.
    pub fn register<F, R, E>(&self, name: &str, check: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let check: Check = Arc::new(move || {
            let outcome = check();
            Box::pin(async move { outcome.await.map_err(|error| error.to_string()) })
        });

        self.0
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), check);
    }

    /// Marks the service as not ready until the hold is dropped, lists it under `name`, and answers
    /// its own routes with a 503: for prerequisites like tables.
    #[must_use]
    pub fn hold(&self, name: &'static str) -> Hold {
        self.0.holds.fetch_add(1, Ordering::AcqRel);
        self.register(name, async || Err("not ready yet"));
        Hold {
            health: self.clone(),
            name,
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.holds.load(Ordering::Acquire) > 0
    }

    /// Makes the service not ready from now on; its checks no longer count.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Runs all checks concurrently.
    async fn check_all(&self) -> BTreeMap<String, bool> {
        let checks = self
            .0
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();

        join_all(checks.into_iter().map(|(name, check)| async move {
            let outcome = tokio::time::timeout(CHECK_LIMIT, check()).await;
            let outcome = outcome.unwrap_or_else(|_| Err("the check took too long".to_owned()));
            self.note(&name, outcome.as_ref().err());
            (name, outcome.is_ok())
        }))
        .await
        .into_iter()
        .collect()
    }

    fn report(&self, checks: BTreeMap<String, bool>) -> Response {
        let (group, failing) = match self.0.concern {
            Concern::Own => ("checks", "unavailable"),
            Concern::Behind(group) => (group, "degraded"),
        };

        let draining = self.0.draining.load(Ordering::Relaxed);
        let (code, status) = match (draining, checks.values().all(|passed| *passed)) {
            (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            (false, true) => (StatusCode::OK, "ok"),
            (false, false) => (StatusCode::SERVICE_UNAVAILABLE, failing),
        };

        let word = |passed| if passed { "ok" } else { "unavailable" };
        let checks = checks
            .into_iter()
            .map(|(name, passed)| (name, word(passed)))
            .collect();

        (
            code,
            Json(Body {
                status,
                checks: BTreeMap::from([(group, checks)]),
            }),
        )
            .into_response()
    }

    fn note(&self, name: &str, failure: Option<&String>) {
        let mut failing = self
            .0
            .failing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);

        match failure {
            Some(reason) if self.0.since.elapsed() < STARTING => {
                tracing::debug!(check = name, %reason, "not ready yet");
            }
            Some(reason) if failing.get(name) != Some(reason) => {
                tracing::warn!(check = name, %reason, "not ready");
                failing.insert(name.to_owned(), reason.clone());
            }
            None if failing.remove(name).is_some() => tracing::info!(check = name, "ready again"),
            _ => {}
        }
    }

    pub(crate) fn routes(&self) -> Router {
        Router::new()
            .route("/health", get(summary))
            .route("/health/ready", get(ready))
            .route("/health/live", get(live))
            .with_state(self.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.health
            .0
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.name);
        self.health.0.holds.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Serialize)]
struct Body {
    status: &'static str,
    #[serde(flatten)]
    checks: BTreeMap<&'static str, BTreeMap<String, &'static str>>,
}

async fn summary(State(health): State<Health>) -> Response {
    health.report(health.check_all().await)
}

async fn ready(State(health): State<Health>) -> Response {
    match health.0.concern {
        Concern::Own => health.report(health.check_all().await),
        Concern::Behind(_) => health.report(BTreeMap::new()),
    }
}

async fn live() -> Response {
    Json(Body {
        status: "ok",
        checks: BTreeMap::new(),
    })
    .into_response()
}

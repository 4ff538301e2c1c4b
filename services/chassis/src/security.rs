//! Counts of events of the security log, for alerts. The log has each event with its account and network; the counts have
//! the kind alone.
//!
//! The shared layer gives each request the counters of its service. Every kind is exported from the start, as 0:
//! Prometheus sees no increase in a series that begins with 1.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use prometheus::{IntCounterVec, Opts};

/// A kind of event that is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecurityEvent {
    /// An admin's request that may change something.
    AdminAct,
    /// A log-in with a wrong password.
    LogInFailed,
    /// A wrong code after the right password.
    SecondFactorRefused,
    /// A refresh token that was used before.
    RefreshTokenReused,
}

/// The counters of a service. Clones share them. A request outside the shared layer has none, and counts nothing.
#[derive(Clone, Debug)]
pub struct SecurityEvents(Option<IntCounterVec>);

impl SecurityEvent {
    const ALL: [Self; 4] = [
        Self::AdminAct,
        Self::LogInFailed,
        Self::SecondFactorRefused,
        Self::RefreshTokenReused,
    ];

    /// Returns the name of the event in the security log.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdminAct => "admin_act",
            Self::LogInFailed => "log_in_failed",
            Self::SecondFactorRefused => "second_factor_refused",
            Self::RefreshTokenReused => "refresh_token_reused",
        }
    }
}

impl SecurityEvents {
    /// Returns the counters of the request.
    pub(crate) fn of(parts: &Parts) -> Self {
        let counters = parts.extensions.get::<Self>();
        counters.cloned().unwrap_or(Self(None))
    }

    /// Counts an event.
    pub fn count(&self, event: SecurityEvent) {
        if let Some(counters) = &self.0 {
            counters.with_label_values(&[event.name()]).inc();
        }
    }

    /// Returns counters at 0.
    pub(crate) fn new(counters: IntCounterVec) -> Self {
        for event in SecurityEvent::ALL {
            counters.with_label_values(&[event.name()]);
        }
        Self(Some(counters))
    }

    /// Returns the collector of a service's counters.
    pub(crate) fn collector() -> IntCounterVec {
        let options = Opts::new("security_events_total", "Events of the security log.");
        IntCounterVec::new(options, &["event"]).expect("constant names")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SecurityEvents {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

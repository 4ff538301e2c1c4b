//! The metrics of a service. Each service has its own registry, because several run in one process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::{Problem, SecurityEvents};

/// Upper bounds of the duration's buckets, in seconds.
const BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// A service's metrics: requests by method, matched route and status, and those that the service
/// registers. Clones share them. Every series carries the label `service`.
#[derive(Clone)]
pub struct Metrics {
    service: Arc<str>,
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    turned_away: IntCounterVec,
    security: SecurityEvents,
}

/// A request under way; it is counted as such until this is dropped.
pub(crate) struct InFlight(IntGauge);

impl Metrics {
    /// Returns the metrics of `service`.
    pub fn new(service: &str) -> Self {
        let labels = HashMap::from([("service".to_owned(), service.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels)).expect("a label and no prefix");
        let requests = Opts::new("http_requests_total", "Requests answered.");

        let durations = HistogramOpts::new(
            "http_request_duration_seconds",
            "Time from the head of a request to the head of its reply.",
        );

        let turned_away = Opts::new(
            "http_connections_turned_away_total",
            "Connections rejected because the server or the client's address had reached its limit.",
        );

        let security = SecurityEvents::collector();
        let metrics = Self {
            service: service.into(),
            registry,
            requests: IntCounterVec::new(requests, &["method", "route", "status"])
                .expect("constant names"),
            durations: HistogramVec::new(durations.buckets(BUCKETS.to_vec()), &["method", "route"])
                .expect("constant names"),
            in_flight: IntGauge::new(
                "http_requests_in_flight",
                "Requests that are not answered yet.",
            )
            .expect("constant names"),
            turned_away: IntCounterVec::new(turned_away, &["full"]).expect("constant names"),
            security: SecurityEvents::new(security.clone()),
        };
        metrics.register(security);
        metrics.register(metrics.turned_away.clone());
        metrics.register(metrics.requests.clone());
        metrics.register(metrics.durations.clone());
        metrics.register(metrics.in_flight.clone());

        metrics
    }

    /// Adds a collector of the service's own.
    ///
    /// # Panics
    /// When a collector of the same name was added before: a mistake in the code, found by its
    /// first test.
    pub fn register<C: Collector + Clone + 'static>(&self, collector: C) -> C {
        self.registry
            .register(Box::new(collector.clone()))
            .expect("each metric is registered once");
        collector
    }

    /// Returns the name of the service.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn security(&self) -> &SecurityEvents {
        &self.security
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn turned_away(&self, full: &str) {
        self.turned_away.with_label_values(&[full]).inc();
    }

    pub(crate) fn observe(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = known(method);
        self.requests
            .with_label_values(&[method, route, status.as_str()])
            .inc();
        self.durations
            .with_label_values(&[method, route])
            .observe(took.as_secs_f64());
    }

    pub(crate) fn routes(&self) -> Router {
        let registry = self.registry.clone();
        Router::new().route("/metrics", get(async move || encode(&registry)))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Returns a fixed label for a method: clients can invent methods, which would create unbounded
/// labels.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn encode(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => Problem::internal(error).into_response(),
    }
}

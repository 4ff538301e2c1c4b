//! Metrics of failures and retries at the upstreams.

use chassis::Metrics;
use prometheus::{IntCounterVec, Opts};

use super::Failure;

/// Counters by upstream. Clones share them.
#[derive(Clone)]
pub(crate) struct Counts {
    failures: IntCounterVec,
    retries: IntCounterVec,
}

impl Counts {
    /// Adds the counters to the gateway's metrics.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let failures = Opts::new(
            "gateway_upstream_failures_total",
            "Calls to an upstream that got no answer, by kind.",
        );

        let retries = Opts::new(
            "gateway_upstream_retries_total",
            "Calls to an upstream that were sent again.",
        );

        let counter = |opts, labels| {
            metrics.register(IntCounterVec::new(opts, labels).expect("constant names"))
        };

        Self {
            failures: counter(failures, &["upstream", "kind"]),
            retries: counter(retries, &["upstream"]),
        }
    }

    pub(super) fn failed(&self, upstream: &str, failure: &Failure) {
        let kind = match failure {
            Failure::Unreachable(_) => "unreachable",
            Failure::Broken(_) => "broken",
            Failure::BodyBrokeOff => "body_broke_off",
            Failure::TooSlow(_) => "too_slow",
            Failure::Busy(_) => "busy",
            Failure::CircuitOpen(_) => "circuit_open",
        };
        self.failures.with_label_values(&[upstream, kind]).inc();
    }

    pub(super) fn retried(&self, upstream: &str) {
        self.retries.with_label_values(&[upstream]).inc();
    }
}

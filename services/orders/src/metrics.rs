//! The relay's metrics.

use chassis::Metrics;
use prometheus::{IntCounter, IntGauge};

/// The metrics of the relay of this process.
#[derive(Clone)]
pub struct RelayMetrics {
    /// Number of events published.
    pub published: IntCounter,
    /// Number of batches published.
    pub batches: IntCounter,
    /// Number of actions that failed and were tried again.
    pub failures: IntCounter,
    /// 1 if this process leads, else 0.
    pub leads: IntGauge,
}

impl RelayMetrics {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let counter =
            |name, help| metrics.register(IntCounter::new(name, help).expect("constant names"));
        let leads = IntGauge::new("relay_leads", "Whether this process relays the outbox.")
            .expect("constant names");

        Self {
            published: counter(
                "relay_events_published_total",
                "Events of the outbox published to the record log.",
            ),
            batches: counter(
                "relay_batches_published_total",
                "Batches of events published to the record log.",
            ),
            failures: counter(
                "relay_failures_total",
                "Steps of the relay that failed and were tried again.",
            ),
            leads: metrics.register(leads),
        }
    }
}

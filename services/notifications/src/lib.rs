//! The notifications service: who ordered is told so, once.
//!
//! It consumes the topic `orders` (`consume`) and owns the DynamoDB table `notifications` (`store`), the mailbox behind
//! `GET /notifications`. It publishes what it cannot understand to `orders-dead-letter` (`dead_letter`), and goes on.
//!
//! What always holds: an event has at most one notification, for the event's id is its key; and none is missed, for its
//! position on the topic is remembered only when the notification is kept.

mod config;
mod consume;
mod dead_letter;
mod http;
mod notification;
mod store;
mod template;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use axum::Router;
use chassis::{Health, Metrics, ServeError, Shutdown, dynamodb, retry};
pub use config::Config;
use consume::Orders;
use dead_letter::DeadLetters;
use events::ORDERS;
use follower::{Follower, Lag};
use prometheus::{IntCounter, PullingGauge};
use record_log::RecordLog;
pub use store::NOTIFICATIONS;
use store::Store;
use tokio::net::TcpListener;

/// Under which name the positions on the topic are remembered.
const GROUP: &str = "notifications";
/// How many orders are looked at together at most.
const BATCH: usize = 200;

/// What the service works with.
#[derive(Clone)]
pub struct Parts {
    /// Where the table is.
    pub dynamodb: Client,
    /// Where orders come from, and dead letters go.
    pub log: Arc<dyn RecordLog>,
}

/// The service, put together and not yet begun.
pub struct Service {
    store: Store,
    parts: Parts,
    lag: Lag,
    sent: IntCounter,
    dead: IntCounter,
    shutdown: Shutdown,
}

impl Service {
    /// Puts the service together; it counts what it does in `metrics`, and ends with `shutdown`.
    pub fn new(config: &Config, parts: Parts, metrics: &Metrics, shutdown: Shutdown) -> Self {
        let lag = Lag::default();
        let behind = lag.clone();
        let gauge = PullingGauge::new(
            "notifications_lag_records",
            "Orders that wait to be notified.",
            Box::new(move || behind.records().map_or(f64::NAN, |records| records as f64)),
        );
        metrics.register(gauge.expect("a constant name"));
        let counter = |name, help| metrics.register(IntCounter::new(name, help).expect("a constant name"));
        Self {
            store: Store::new(parts.dynamodb.clone(), config.notifications_retention),
            parts,
            lag,
            sent: counter("notifications_sent_total", "Notifications sent."),
            dead: counter("notifications_dead_letters_total", "Orders that went to the dead letters."),
            shutdown,
        }
    }

    /// Its routes, over a table that exists.
    pub fn router(&self) -> Router {
        http::router(self.store.clone())
    }

    /// Creates the table if it is missing; tries until it succeeds or a shutdown is requested.
    pub async fn prepare(&self) {
        retry(&self.shutdown, "notifications: table", || self.store.ensure_tables()).await;
    }

    /// Consumes the orders until a shutdown is requested.
    ///
    /// # Panics
    /// When the consumer does.
    pub async fn consume(&self) {
        let (log, lag) = (Arc::clone(&self.parts.log), self.lag.clone());
        let orders = Orders {
            store: self.store.clone(),
            dead_letters: DeadLetters::new(Arc::clone(&log)),
            sent: self.sent.clone(),
            dead: self.dead.clone(),
        };
        let follower = Follower { log, topic: ORDERS, group: GROUP, batch: BATCH, lag };
        follower.start(orders, self.shutdown.clone()).await.expect("following does not panic");
    }
}

/// Serves and consumes until shut down. It listens at once and is ready when its table is.
///
/// # Errors
/// [`ServeError`] when the listener is broken.
pub async fn run(config: Config, parts: Parts, listener: TcpListener, shutdown: Shutdown) -> Result<(), ServeError> {
    let (health, metrics) = (Health::new(), Metrics::new("notifications"));
    let client = parts.dynamodb.clone();
    health.register("dynamodb", move || {
        let client = client.clone();
        async move { dynamodb::ping(&client, NOTIFICATIONS).await }
    });
    let hold = health.hold("table");
    let service = Service::new(&config, parts, &metrics, shutdown.clone());
    let work = async {
        service.prepare().await;
        drop(hold);
        service.consume().await;
    };
    let serving = chassis::serve("notifications", listener, service.router(), health, metrics, shutdown);
    tokio::join!(work, serving).1
}

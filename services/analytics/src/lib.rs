//! The analytics service: counts of orders per user and minute, computed by the stream job.
//!
//! It consumes the topics `analytics-results` and `analytics-summaries` (`consume`). It owns the
//! DynamoDB tables `analytics-counts` and `analytics-windows` (`store`), which its replies are
//! read from, and merges the counts of past hours (`merging`). It publishes to no topic, but sends a live feed to listeners (`feed`). It reads the
//! stored orders from the orders service and compares them with the counts (`audit`). On request it
//! reads the orders behind a count from the log (`explain`).
//!
//! ```text
//! analytics-results ──┬─▶ follower: own share ──▶ write chunks ──▶ positions ──┐
//!                     │                           DynamoDB ─▶ summary, recent  ┆ (and all replicas')
//!                     └─▶ follower: all of it, behind the positions ◀╌╌╌╌╌╌╌╌╌╌┘
//!                                 └─▶ feed ─▶ stream          (analytics-summaries likewise)
//! ```
//!
//! The replicas share the partitions, so each row is written by one of them. Every replica feeds its
//! own listeners with all of them.
//!
//! Invariants: a record is written before its position is stored, so none is missed. Of the counts of
//! a user and window the highest revision is read, so no record counts twice, however often it is delivered.
//! A record is sent to listeners after its position is stored. So a listener that then reads the lists
//! finds the record there, on any replica.

mod config;
mod consume;
mod feed;
mod http;
mod merging;
mod sales;
mod series;
mod store;
mod summary;

mod audit;
mod explain;
mod orders;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use axum::Router;
use chassis::auth::Auth;
use chassis::{Health, Listeners, Metrics, ServeError, Shutdown, dynamodb, retry};
pub use config::Config;
use consume::{FeedsCounts, FeedsSummaries, WritesCounts, WritesSummaries, Writing};
use events::{ANALYTICS_RESULTS, ANALYTICS_SUMMARIES, Timestamp};
use feed::Feed;
use follower::{Follower, Lag, REFUSED_WAIT, Refused, Scope};
use http::Analytics;
use orders::Orders;
use prometheus::{Counter, IntCounter, PullingGauge};
use record_log::RecordLog;
use store::Store;
pub use store::{COUNTS, RESULTS, StoreError, WINDOWS};
use tokio::sync::Semaphore;

/// The consumer group, under which the positions on the topics are stored.
const GROUP: &str = "analytics";
/// Maximum number of records in a batch.
const BATCH: usize = 1_000;
/// Maximum number of counts that are written together. The more, the fewer items they are.
const COUNTS_BATCH: usize = 16_384;
/// Number of series that are computed at a time.
const SERIES_AT_ONCE: usize = 2;

/// The parts the service is built from.
#[derive(Clone)]
pub struct Parts {
    /// The client of the tables.
    pub dynamodb: Client,
    /// The log that the results are read from.
    pub log: Arc<dyn RecordLog>,
    /// Authenticates callers, and supplies the credentials for calls to the orders service.
    pub auth: Auth,
}

/// The reason the service ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The HTTP server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The HTTP client could not be created.
    #[error("no HTTP client can be created: {0}")]
    Client(#[from] reqwest::Error),
}

/// The assembled service, before it runs.
pub struct Service {
    analytics: Analytics,
    writing: Writing,
    log: Arc<dyn RecordLog>,
    auth: Auth,
    refused: Refusals,
    shutdown: Shutdown,
}

/// The refusals that stop the consumers.
#[derive(Default)]
struct Refusals {
    counts: Refused,
    summaries: Refused,
    fed_counts: Refused,
    fed_summaries: Refused,
}

impl Service {
    /// Assembles the service. It registers its metrics in `metrics` and ends when `shutdown` is
    /// requested.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be created.
    pub fn new(
        config: &Config,
        parts: Parts,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Result<Self, reqwest::Error> {
        let units = Counter::new(
            "analytics_write_units_total",
            "Write units that DynamoDB has counted for results and summaries.",
        );
        let units = metrics.register(units.expect("a constant name"));
        let store = Store::new(parts.dynamodb, config.analytics_retention, units);
        let feed = Feed::default();
        let lag = Lag::default();

        let writing = Writing {
            store: store.clone(),
            written: metrics.register(counter(
                "analytics_records_written_total",
                "Results and summaries written.",
            )),
            malformed: metrics.register(counter(
                "analytics_records_malformed_total",
                "Records that could not be decoded and were skipped.",
            )),
        };

        let behind = lag.clone();
        let gauge = PullingGauge::new(
            "analytics_lag_records",
            "Results that are not yet written, by any replica.",
            Box::new(move || behind.records().map_or(f64::NAN, |records| records as f64)),
        );
        metrics.register(gauge.expect("a constant name"));

        let analytics = Analytics {
            store,
            feed,
            lag,
            orders: Orders::new(&config.orders_url, parts.auth.clone())?,
            audit_patience: config.analytics_audit_patience,
            shutdown: shutdown.clone(),
            summary: Arc::default(),
            latest_board: Arc::default(),
            turns: Arc::new(Semaphore::new(SERIES_AT_ONCE)),
            log: Arc::clone(&parts.log),
            explaining: Arc::new(Semaphore::new(1)),
        };

        Ok(Self {
            analytics,
            writing,
            log: parts.log,
            auth: parts.auth,
            refused: Refusals::default(),
            shutdown,
        })
    }

    /// Returns the routes. The tables must exist.
    pub fn router(&self) -> Router {
        self.auth.protect(http::router(self.analytics.clone()))
    }

    /// Creates the missing tables. Retries until it succeeds or a shutdown is requested.
    pub async fn prepare(&self) {
        retry(&self.shutdown, "analytics: tables", || {
            self.analytics.store.ensure_tables()
        })
        .await;
    }

    /// Consumes both topics and merges past hours until a shutdown is requested.
    ///
    /// # Panics
    /// Panics if a consumer panics.
    pub async fn consume(&self) {
        let shutdown = || self.shutdown.clone();
        let refused = &self.refused;
        let feed = || self.analytics.feed.clone();

        let counts = Follower {
            lag: self.analytics.lag.clone(),
            batch: COUNTS_BATCH,
            ..self.follower(ANALYTICS_RESULTS, Scope::Share, &refused.counts)
        };
        let summaries = self.follower(ANALYTICS_SUMMARIES, Scope::Share, &refused.summaries);
        let fed_counts = self.follower(ANALYTICS_RESULTS, Scope::Behind, &refused.fed_counts);
        let fed_summaries =
            self.follower(ANALYTICS_SUMMARIES, Scope::Behind, &refused.fed_summaries);

        let merging = merging::regularly(&self.analytics.store, &self.shutdown);
        let following = async {
            tokio::try_join!(
                counts.start(WritesCounts(self.writing.clone()), shutdown()),
                summaries.start(WritesSummaries(self.writing.clone()), shutdown()),
                fed_counts.start(FeedsCounts(feed()), shutdown()),
                fed_summaries.start(FeedsSummaries(feed()), shutdown()),
            )
            .expect("following does not panic")
        };
        tokio::join!(following, merging);
    }

    /// Merges the hours that are long over at `now`, and returns their number.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read. What is merged stays merged.
    pub async fn merge_past_hours(&self, now: Timestamp) -> Result<u64, StoreError> {
        merging::past_hours(&self.analytics.store, now).await
    }

    /// Returns the number of results and summaries that this process has written.
    pub fn written(&self) -> u64 {
        self.writing.written.get()
    }

    fn follower(&self, topic: &'static str, scope: Scope, refused: &Refused) -> Follower {
        Follower {
            log: Arc::clone(&self.log),
            topic,
            group: GROUP,
            scope,
            batch: BATCH,
            lag: Lag::default(),
            refused: refused.clone(),
            refused_wait: REFUSED_WAIT,
        }
    }
}

/// Serves and consumes until a shutdown is requested. The service listens at once and is ready when
/// its tables exist.
///
/// # Errors
/// Returns [`RunError`] if a part of the service cannot be created or fails.
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let health = Health::new();
    let metrics = Metrics::new("analytics");
    let client = parts.dynamodb.clone();

    health.register("dynamodb", move || {
        let client = client.clone();
        async move { dynamodb::ping(&client, COUNTS).await }
    });

    let hold = health.hold("tables");
    let service = Service::new(&config, parts, &metrics, shutdown.clone())?;
    let consumers = [
        ("topic analytics-results", &service.refused.counts),
        ("topic analytics-summaries", &service.refused.summaries),
        ("feed of analytics-results", &service.refused.fed_counts),
        (
            "feed of analytics-summaries",
            &service.refused.fed_summaries,
        ),
    ];
    for (name, refused) in consumers {
        let refused = refused.clone();
        health.register(name, move || std::future::ready(refused.check()));
    }

    let work = async {
        service.prepare().await;
        drop(hold);
        service.consume().await;
    };

    let serving = chassis::serve(
        "analytics",
        listeners,
        service.router(),
        health,
        metrics,
        shutdown,
    );

    Ok(tokio::join!(work, serving).1?)
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect("a constant name")
}

//! Tests of the contract of the analytics service, on the embedded DynamoDB and on DynamoDB Local. The results come
//! from the simulated record log.

#![allow(clippy::unwrap_used)]

mod audit;
mod consuming;
mod earlier;
mod enforced;
mod explaining;
mod hours;
mod openapi;
mod packing;
mod reading;
mod sales;
mod session_sums;
mod sharing;
mod streaming;
mod tables;
mod throttled;

use std::sync::Arc;
use std::time::Duration;

use analytics::{Config, Parts, Service};
use aws_sdk_dynamodb::Client;
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use events::{
    ANALYTICS_RESULTS, ANALYTICS_SUMMARIES, Amount, Amounts, Timestamp, TopUser, WindowCount,
    WindowSummary,
};
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use serde_json::Value;
use testbed::TestClient;
use tokio::task::JoinHandle;

/// 2026-11-22T10:00:00Z: windows of the tests begin here.
const EPOCH_MS: u64 = 1_795_341_600_000;

/// A running service on a log and a DynamoDB of its own.
struct Running {
    log: SimulatedLog,
    client: TestClient,
    shutdown: Ending,
    work: JoinHandle<()>,
}

/// Stops the service when a test ends, even by a failed assertion, because the runtime waits for the consumers.
struct Ending(Shutdown);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Running {
    async fn start(dynamodb: &Client, log: &SimulatedLog) -> Self {
        Self::start_process(dynamodb, log, log.clone()).await
    }

    /// Starts a service whose calls of the log go through `process`.
    async fn start_process(dynamodb: &Client, log: &SimulatedLog, process: SimulatedLog) -> Self {
        Self::start_with(dynamodb, log, process, Config::default()).await
    }

    async fn start_with(
        dynamodb: &Client,
        log: &SimulatedLog,
        process: SimulatedLog,
        config: Config,
    ) -> Self {
        let shutdown = Shutdown::new();
        let parts = Parts {
            dynamodb: dynamodb.clone(),
            log: Arc::new(process),
            auth: Auth::open(),
        };
        let service =
            Service::new(&config, parts, &Metrics::new("analytics"), shutdown.clone()).unwrap();
        service.prepare().await;

        let client = TestClient::new(service.router());
        let work = tokio::spawn(async move { service.consume().await });
        Self {
            log: log.clone(),
            client,
            shutdown: Ending(shutdown),
            work,
        }
    }

    async fn stop(self) {
        self.shutdown.0.request();
        self.work.await.unwrap();
    }

    /// Waits until everything published was consumed.
    async fn caught_up(&self) {
        for topic in [ANALYTICS_RESULTS, ANALYTICS_SUMMARIES] {
            let caught_up = tokio::time::timeout(Duration::from_secs(30), async {
                while !testbed::is_consumed(&self.log, "analytics", topic) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
            if caught_up.await.is_err() {
                self.shutdown.0.request();
                panic!("{topic} was not consumed in time");
            }
        }
    }

    async fn get(&self, path: &str) -> Value {
        let reply = self.client.get(path).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// Returns the items on all pages of a list.
    async fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = self
                .get(&format!("{path}{separator}limit={limit}{cursor}"))
                .await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

/// Returns a log with the topics of the stream job.
fn log() -> SimulatedLog {
    log_of(SimulatedLog::default())
}

/// Creates the topics of the stream job in the log, and returns it.
fn log_of(log: SimulatedLog) -> SimulatedLog {
    let spec = |name: &str, partitions| TopicSpec {
        name: name.to_owned(),
        partitions,
        cleanup: Cleanup::CompactAndDelete,
        retention: Duration::from_secs(3600),
    };
    log.ensure_topics(&[spec(ANALYTICS_RESULTS, 3), spec(ANALYTICS_SUMMARIES, 1)])
        .unwrap();

    log
}

fn publish(log: &SimulatedLog, records: &[(&str, String, Vec<u8>)]) {
    let mut publisher = log.publisher("job", Delivery::AtLeastOnce).unwrap();
    for (topic, key, value) in records {
        let key = Some(key.as_bytes());
        let value = Some(value.as_slice());
        publisher
            .send(NewRecord {
                topic,
                partition: None,
                key,
                value,
                headers: &[],
            })
            .unwrap();
    }
    publisher.commit(&[]).unwrap();
}

fn publish_counts(log: &SimulatedLog, counts: &[WindowCount]) {
    let record = |count: &WindowCount| {
        (
            ANALYTICS_RESULTS,
            count.user_id.to_string(),
            serde_json::to_vec(count).unwrap(),
        )
    };
    publish(log, &counts.iter().map(record).collect::<Vec<_>>());
}

fn publish_summaries(log: &SimulatedLog, summaries: &[WindowSummary]) {
    let record = |summary: &WindowSummary| {
        (
            ANALYTICS_SUMMARIES,
            summary.window_start.to_string(),
            serde_json::to_vec(summary).unwrap(),
        )
    };
    publish(log, &summaries.iter().map(record).collect::<Vec<_>>());
}

/// Returns the start of this minute after [`EPOCH_MS`].
fn minute(minute: u64) -> Timestamp {
    Timestamp::from_ms(EPOCH_MS + minute * 60_000).unwrap()
}

fn amounts(of: &[(&str, u64)]) -> Amounts {
    let amount = |(code, minor_units): &(&str, u64)| Amount {
        currency: code.parse().unwrap(),
        minor_units: *minor_units,
    };
    of.iter().map(amount).collect()
}

/// Returns a count of orders of one dollar each.
fn count(user_id: u64, window: u64, order_count: u64, revision: u32) -> WindowCount {
    WindowCount {
        user_id,
        window_start: minute(window),
        window_end: minute(window + 1),
        order_count,
        amounts: amounts(&[("USD", order_count * 100)]),
        revision,
    }
}

/// Returns the summary of a window that ended this long ago.
fn summary(ended_ms_ago: u64, users: &[(u64, u64)], revision: u32) -> WindowSummary {
    let end = (Timestamp::now().as_ms() - ended_ms_ago) / 60_000 * 60_000;
    let order_count = users.iter().map(|(_, orders)| orders).sum();
    let top = |(user_id, orders): &(u64, u64)| TopUser {
        user_id: *user_id,
        order_count: *orders,
        amounts: amounts(&[("USD", orders * 100)]),
    };

    WindowSummary {
        window_start: Timestamp::from_ms(end - 60_000).unwrap(),
        window_end: Timestamp::from_ms(end).unwrap(),
        order_count,
        user_count: users.len() as u64,
        amounts: amounts(&[("USD", order_count * 100)]),
        top_users: users.iter().map(top).collect(),
        revision,
    }
}

/// Returns (user, window start, orders, revision) of each item.
fn essence(items: &[Value]) -> Vec<(u64, String, u64, u64)> {
    let number = |item: &Value, field: &str| item[field].as_u64().unwrap();
    items
        .iter()
        .map(|item| {
            let start = item["window_start"].as_str().unwrap().to_owned();
            (
                number(item, "user_id"),
                start,
                number(item, "order_count"),
                number(item, "revision"),
            )
        })
        .collect()
}

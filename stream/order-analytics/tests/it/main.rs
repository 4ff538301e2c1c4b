//! The whole job on a simulated log: orders in, counts and summaries out. [`kafka`] runs it on a real Kafka whose
//! progress was deleted, whose topics lose records, or whose topics were recreated.
//! [`changed`] changes topics under a job that [lives](living).
//! [`replicas`] takes brokers away under it, [`reports`] and [`bad_records`] have logs as users have them, [`parts`] looks at
//! checkpoints, [`own_jobs`] defines jobs of its own, and [`files`] reads from files. [`doctor`] looks for faults on a secured
//! Kafka of its own. [`settings`] tests the command line, and [`terminal`] signals and output. [`too_large`] tests side outputs that are larger than their
//! topic allows, with records of other producers ([`raw`]).

#![allow(clippy::unwrap_used)]

mod bad_records;
#[allow(dead_code, reason = "the record log's tests use all of it")]
#[path = "../../../record-log/tests/it/broker.rs"]
mod broker;
#[allow(dead_code, reason = "the record log's tests use all of it")]
#[path = "../../../record-log/tests/it/certificates.rs"]
mod certificates;
mod changed;
#[allow(dead_code, reason = "the record log's tests use all of it")]
#[path = "../../../record-log/tests/it/cluster.rs"]
mod cluster;
mod currencies;
mod doctor;
mod files;
mod google;
mod kafka;
mod kubernetes;
mod lines;
#[allow(dead_code, reason = "the record log's tests use all of it")]
#[path = "../../../record-log/tests/it/listeners.rs"]
mod listeners;
mod living;
mod logs;
mod markers;
mod own_jobs;
mod pages;
mod parts;
mod progress;
mod raw;
mod replicas;
mod reports;
mod settings;
mod store;
mod submit;
mod terminal;
mod too_large;
mod topics;
mod upgrade;
mod yarn;

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use events::{ORDERS, OrderCreated, OrderItem, Timestamp, WindowCount, WindowSummary};
use order_analytics::OrderAnalytics;
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use serde::de::DeserializeOwned;
use stream::Stop;
use uuid::Uuid;

/// 2026-11-22T10:00:00Z: the minutes of the tests begin here.
const TEN_MS: u64 = 1_795_341_600_000;

/// A log with orders, and the checkpoints of a job.
struct World {
    log: SimulatedLog,
    checkpoints: tempfile::TempDir,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    job: OrderAnalytics,
}

impl World {
    fn new() -> Self {
        let log = SimulatedLog::new(|| TEN_MS + 600_000);
        let topic = TopicSpec {
            name: ORDERS.to_owned(),
            partitions: 2,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3600),
        };
        log.ensure_topics(&[topic]).unwrap();

        let checkpoints = tempfile::tempdir().unwrap();
        Self { log, checkpoints }
    }

    /// The address of the checkpoints.
    fn address(&self) -> String {
        format!("file://{}", self.checkpoints.path().display())
    }

    /// Publishes orders of a user, `second` seconds after ten. Each of `totals` is an order's total and its currency.
    fn order(&self, user_id: u64, second: u64, totals: &[(u64, &str)]) {
        let mut publisher = self.log.publisher("shop", Delivery::Transactional).unwrap();
        for (total_cents, currency) in totals {
            let order = order(user_id, second, *total_cents, currency);
            let value = serde_json::to_vec(&order).unwrap();
            let record = NewRecord {
                topic: ORDERS,
                partition: Some(u32::from(user_id % 2 == 1)),
                key: Some(b"user"),
                value: Some(&value),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }
        publisher.commit(&[]).unwrap();
    }

    /// Runs the job until everything published is counted.
    fn count(&self, arguments: &[&str]) {
        let address = self.address();
        let fixed = ["job", "--until-end", "--checkpoints", &address];
        let arguments = Arguments::parse_from(fixed.iter().chain(arguments));
        let run = arguments.job.on(Arc::new(self.log.clone())).unwrap();
        run.run(&Stop::default()).unwrap();
    }

    fn read<T: DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        let records = self.log.records(topic).into_iter();
        let values = records.map(|record| record.value.unwrap());
        values
            .map(|value| serde_json::from_slice(&value).unwrap())
            .collect()
    }

    /// The counts of a user: start in seconds after ten, revision, orders, and totals.
    fn counts(&self, user_id: u64) -> Vec<(u64, u32, u64, String)> {
        let mut counts: Vec<WindowCount> = self.read(events::ANALYTICS_RESULTS);
        counts.retain(|count| count.user_id == user_id);
        counts.sort_by_key(|count| (count.window_start, count.revision));

        let shown = |count: &WindowCount| {
            let second = (count.window_start.as_ms() - TEN_MS) / 1000;
            let totals = shown(&count.amounts);
            (second, count.revision, count.order_count, totals)
        };
        counts.iter().map(shown).collect()
    }

    /// The newest revision of the summary of the window that begins at this second after ten.
    fn summary(&self, second: u64) -> WindowSummary {
        let mut summaries: Vec<WindowSummary> = self.read(events::ANALYTICS_SUMMARIES);
        summaries.retain(|summary| summary.window_start.as_ms() == TEN_MS + second * 1000);
        let newest = summaries.into_iter().max_by_key(|summary| summary.revision);
        newest.unwrap()
    }
}

fn order(user_id: u64, second: u64, total_cents: u64, currency: &str) -> OrderCreated {
    OrderCreated {
        event_id: Uuid::new_v4(),
        event_type: events::ORDER_CREATED.to_owned(),
        order_id: 7,
        user_id,
        total_cents,
        currency: currency.to_owned(),
        items: vec![OrderItem {
            product_id: Uuid::nil(),
            quantity: 1,
            unit_price_cents: total_cents,
            name: None,
        }],
        created_at: Timestamp::from_ms(TEN_MS + second * 1000).unwrap(),
    }
}

/// Totals in words: `150000 JPY, 1999 USD`.
fn shown(amounts: &events::Amounts) -> String {
    let amounts = amounts.as_slice().iter();
    let shown: Vec<_> = amounts
        .map(|amount| format!("{} {}", amount.minor_units, amount.currency))
        .collect();
    shown.join(", ")
}

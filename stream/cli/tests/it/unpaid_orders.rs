//! The example `unpaid_orders`, a process function on two topics, on a Kafka of this test's own: its topics have the names
//! that every shop has.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use record_log::{Delivery, NewRecord, Publisher, RecordLog};
use serde_json::json;
use tempfile::TempDir;

use crate::broker::{Broker, Client, NEWEST, create_when_ready, spec};

/// A time limit that no correct step reaches.
const PATIENCE: Duration = Duration::from_secs(120);
/// The time of the first order: 2026-11-22T10:00:00Z.
const BEGIN_MS: u64 = 1_795_341_600_000;
/// The time between two orders.
const STEP_MS: u64 = 10_000;

/// A shop's Kafka, and the folder of the job's checkpoints.
struct Shop {
    broker: Broker,
    log: std::sync::Arc<dyn RecordLog>,
    checkpoints: TempDir,
}

/// The job in a process of its own, which is killed with this value.
struct Living(Child);

impl Drop for Living {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the example, which Cargo builds beside the tests of its package.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples/unpaid_orders");
    assert!(
        built.is_file(),
        "cargo build -p stream-cli --examples builds {}",
        built.display()
    );
    built
}

impl Shop {
    fn open() -> Option<Self> {
        let mut broker = Broker::open(NEWEST, &[])?;
        broker.await_listener();
        let log = Client::Native.open(&broker.address(), &[]);
        create_when_ready(&*log, &["orders"]);

        Some(Self {
            broker,
            log,
            checkpoints: TempDir::new().unwrap(),
        })
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(example());
        command
            .args(verb)
            .args(["--brokers", &self.broker.address()]);
        command.arg("--checkpoints");
        command.arg(format!("file://{}", self.checkpoints.path().display()));
        command
    }

    fn doctor(&self) -> (Option<i32>, String) {
        let Output { status, stdout, .. } = self.command(&["doctor"]).output().unwrap();
        (status.code(), String::from_utf8(stdout).unwrap())
    }

    fn start(&self) -> Living {
        Living(
            self.command(&[])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Publishes these orders, and payments five seconds after two of three.
    fn publish(&self, orders: Range<u64>) {
        let mut publisher = self.log.publisher("shop", Delivery::Transactional).unwrap();
        for order_id in orders {
            let ordered_ms = BEGIN_MS + order_id * STEP_MS;
            let created_at =
                jiff::Timestamp::from_millisecond(i64::try_from(ordered_ms).unwrap()).unwrap();
            let order = json!({
                "order_id": order_id, "user_id": order_id % 7, "total_cents": 1999, "items": [],
                "created_at": created_at.to_string(),
            });
            send(publisher.as_mut(), "orders", order_id, &order);

            if order_id % 3 > 0 {
                let payment = json!({ "order_id": order_id, "cents": 1999, "paid_at_ms": ordered_ms + 5_000 });
                send(publisher.as_mut(), "payments", order_id, &payment);
            }
        }
        publisher.commit(b"").unwrap();
    }

    /// Returns the values of a topic, by key, with those of all partitions.
    fn values(&self, topic: &str) -> BTreeMap<String, Vec<String>> {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let Ok(ranges) = self.log.offsets(topic) else {
            // The job has not created it yet.
            return values;
        };

        for (partition, range) in (0..).zip(ranges) {
            let mut reader = self.log.reader(topic, &[(partition, range.start)]).unwrap();
            let text = |bytes: Option<&[u8]>| {
                String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
            };
            loop {
                let polled = reader.poll(partition, 1_000, &mut |record| {
                    values
                        .entry(text(record.key))
                        .or_default()
                        .push(text(record.value));
                });
                if polled.unwrap().is_at_end() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        values
    }

    /// Waits for the alerts of these orders, and returns all alerts. Workers publish by themselves, so the alert of a
    /// later order may come first.
    fn await_alerts(&self, orders: &[u64]) -> BTreeMap<String, Vec<String>> {
        let begun = Instant::now();
        loop {
            let alerts = self.values("unpaid-orders");
            let is_there = |order_id: &u64| alerts.contains_key(&order_id.to_string());
            if orders.iter().all(is_there) {
                return alerts;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "not all of {orders:?} have an alert: {alerts:?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn send(publisher: &mut dyn Publisher, topic: &str, order_id: u64, value: &serde_json::Value) {
    let key = order_id.to_string();
    let value = value.to_string();
    let record = NewRecord {
        topic,
        partition: None,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    };
    publisher.send(record).unwrap();
}

#[test]
fn each_unpaid_order_has_one_alert_although_the_job_is_killed() {
    let Some(shop) = Shop::open() else {
        return;
    };

    let (code, found) = shop.doctor();
    assert_eq!(code, Some(17), "{found}");
    assert!(
        found.contains("topic \"payments\", which the job reads, does not exist"),
        "{found}"
    );
    assert!(!found.contains("topic \"orders\", which"), "{found}");

    shop.log.ensure_topics(&[spec("payments", 2)]).unwrap();
    let (code, found) = shop.doctor();
    assert_eq!(code, Some(0), "{found}");
    for detail in [
        "orders has ",
        "payments has 2 partitions",
        "orders-late can be created",
        "payments-dead-letter can be created",
    ] {
        assert!(found.contains(detail), "{detail}: {found}");
    }

    // Two attempts are killed after they published some alerts and before they published the
    // others.
    for (orders, alerted) in [(0..40, 18), (40..80, 57)] {
        shop.publish(orders);
        let living = shop.start();
        shop.await_alerts(&[alerted]);
        drop(living);
    }

    // The last orders are far later, in each partition, so the time to pay has passed for all
    // orders before them.
    shop.publish(80..120);
    shop.publish(1_000..1_060);
    let living = shop.start();
    let unpaid: Vec<u64> = (0..120).step_by(3).collect();
    let alerts = shop.await_alerts(&unpaid);
    drop(living);

    for order_id in 0..120_u64 {
        let alerts = alerts.get(&order_id.to_string()).map_or(0, Vec::len);
        assert_eq!(alerts, usize::from(order_id % 3 == 0), "order {order_id}");
    }
    for topic in [
        "orders-late",
        "payments-late",
        "orders-dead-letter",
        "payments-dead-letter",
    ] {
        assert!(shop.values(topic).is_empty(), "{topic}");
    }
}

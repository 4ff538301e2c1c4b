//! The contract of the notifications service, on the embedded DynamoDB and on DynamoDB Local; orders come from the simulated
//! record log.

#![allow(clippy::unwrap_used)]

mod mailbox;
mod once;
mod openapi;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use chassis::{Metrics, Shutdown};
use events::{ORDER_CREATED, ORDERS, OrderCreated, OrderItem, Timestamp};
use notifications::{Config, Parts, Service};
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use serde_json::Value;
use testbed::TestClient;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A running service on a log and a DynamoDB of its own.
struct Running {
    log: SimulatedLog,
    client: TestClient,
    shutdown: Shutdown,
    work: JoinHandle<()>,
}

impl Running {
    async fn start(dynamodb: &Client, log: &SimulatedLog) -> Self {
        Self::start_process(dynamodb, log, log.clone()).await
    }

    /// Starts a service whose calls of the log go through `process`.
    async fn start_process(dynamodb: &Client, log: &SimulatedLog, process: SimulatedLog) -> Self {
        let shutdown = Shutdown::new();
        let parts = Parts { dynamodb: dynamodb.clone(), log: Arc::new(process) };
        let service = Service::new(&Config::default(), parts, &Metrics::new("notifications"), shutdown.clone());
        service.prepare().await;
        let client = TestClient::new(service.router());
        let work = tokio::spawn(async move { service.consume().await });
        Self { log: log.clone(), client, shutdown, work }
    }

    async fn stop(self) {
        self.shutdown.request();
        self.work.await.unwrap();
    }

    /// Waits until everything published was consumed.
    async fn caught_up(&self) {
        let caught_up = tokio::time::timeout(Duration::from_secs(30), async {
            while !is_consumed(&self.log) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        if caught_up.await.is_err() {
            self.shutdown.request();
            panic!("the orders were not consumed in time");
        }
    }

    /// All pages of the mailbox.
    async fn mailbox(&self, query: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.client.get(&format!("/notifications?{query}{cursor}")).await;
            assert_eq!(page.status, 200, "{}", page.body);
            items.extend(page.body["items"].as_array().unwrap().iter().cloned());
            match page.body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

fn is_consumed(log: &SimulatedLog) -> bool {
    let committed = log.committed("notifications", ORDERS).unwrap();
    let next = |partition: u32| committed.iter().find(|(number, _)| *number == partition).map_or(0, |(_, next)| *next);
    (0..).zip(log.offsets(ORDERS).unwrap()).all(|(partition, range)| next(partition) >= range.end)
}

/// A log with the topic of the orders service.
fn log() -> SimulatedLog {
    let log = SimulatedLog::default();
    let retention = Duration::from_secs(3600);
    let spec = TopicSpec { name: ORDERS.to_owned(), partitions: 2, cleanup: Cleanup::Delete, retention };
    log.ensure_topics(&[spec]).unwrap();
    log
}

fn publish(log: &SimulatedLog, values: &[Option<Vec<u8>>]) {
    let mut publisher = log.publisher("orders", Delivery::AtLeastOnce).unwrap();
    for (number, value) in values.iter().enumerate() {
        let key = number.to_string();
        let (key, value) = (Some(key.as_bytes()), value.as_deref());
        let headers: &[(&str, &[u8])] = &[("ce_type", b"order.created")];
        publisher.send(NewRecord { topic: ORDERS, partition: None, key, value, headers }).unwrap();
    }
    publisher.commit(1).unwrap();
}

fn publish_orders(log: &SimulatedLog, orders: &[OrderCreated]) {
    publish(log, &orders.iter().map(|order| Some(serde_json::to_vec(order).unwrap())).collect::<Vec<_>>());
}

/// An order of so many minutes ago.
fn order(order_id: u64, user_id: u64, minutes_ago: u64) -> OrderCreated {
    let created_ms = Timestamp::now().as_ms() - minutes_ago * 60_000;
    OrderCreated {
        event_id: Uuid::now_v7(),
        event_type: ORDER_CREATED.to_owned(),
        order_id,
        user_id,
        total_cents: 3_998,
        currency: "USD".to_owned(),
        items: vec![OrderItem { product_id: Uuid::now_v7(), quantity: 2, unit_price_cents: 1_999 }],
        created_at: Timestamp::from_ms(created_ms).unwrap(),
    }
}

fn order_ids(items: &[Value]) -> Vec<u64> {
    items.iter().map(|item| item["order_id"].as_u64().unwrap()).collect()
}

//! Tests of the notifications service's contract, on the embedded DynamoDB and on DynamoDB Local. Orders come from the
//! simulated record log. Messages go to a mail server and an SMS gateway of the tests. The tests set the clock.

#![allow(clippy::unwrap_used)]

mod account_mail;
mod accounts;
mod claims;
mod email;
mod enforced;
mod mail_server;
mod mailbox;
mod once;
mod openapi;
mod replay;
mod sharing;
mod sms;
mod sms_gateway;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use events::{
    ORDER_CHANGED_VERSION, ORDER_CREATED, ORDERS, OrderChanged, OrderCreated, OrderItem, Timestamp,
};
use notifications::{Clock, Config, Parts, Service};
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use serde_json::Value;
use testbed::TestClient;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A running service. It consumes by itself, and sends when the test calls `send`.
struct Running {
    log: SimulatedLog,
    service: Arc<Service>,
    client: TestClient,
    shutdown: EndsWithTest,
    work: JoinHandle<()>,
}

/// Requests a shutdown when it is dropped, also if the test fails: otherwise the test would wait for ever.
struct EndsWithTest(Shutdown);

impl Drop for EndsWithTest {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// A clock that the test sets.
#[derive(Clone)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn begin() -> Self {
        Self(Arc::new(AtomicU64::new(Timestamp::now().as_ms())))
    }

    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let this = self.clone();
        Clock::new(move || Timestamp::from_ms(this.0.load(Ordering::SeqCst)).unwrap())
    }
}

impl Running {
    async fn start(dynamodb: &Client, log: &SimulatedLog) -> Self {
        Self::start_process(dynamodb, log, log.clone()).await
    }

    /// Starts a service whose calls of the log go through `process`.
    async fn start_process(dynamodb: &Client, log: &SimulatedLog, process: SimulatedLog) -> Self {
        Self::start_with(dynamodb, log, process, &Config::default(), Clock::default()).await
    }

    /// Starts a service with these settings and this clock.
    async fn start_with(
        dynamodb: &Client,
        log: &SimulatedLog,
        process: impl RecordLog + 'static,
        config: &Config,
        clock: Clock,
    ) -> Self {
        let shutdown = Shutdown::new();
        let parts = Parts {
            dynamodb: dynamodb.clone(),
            log: Arc::new(process),
            auth: Auth::open(),
        };

        let service = Service::new(
            config,
            parts,
            &Metrics::new("notifications"),
            shutdown.clone(),
        )
        .unwrap();
        let service = Arc::new(service.with_clock(clock));
        service.prepare().await;

        let client = TestClient::new(service.router());
        let consuming = Arc::clone(&service);
        let work = tokio::spawn(async move { consuming.consume().await });

        Self {
            log: log.clone(),
            service,
            client,
            shutdown: EndsWithTest(shutdown),
            work,
        }
    }

    /// Publishes the orders, and waits until they are consumed.
    async fn receive(&self, orders: &[OrderCreated]) {
        publish_orders(&self.log, orders);
        self.caught_up().await;
    }

    /// Sends due notifications.
    async fn send(&self) {
        self.service.send_due().await.unwrap();
    }

    /// Returns the only notification.
    async fn only(&self) -> Value {
        let mut mailbox = self.mailbox("").await;
        assert_eq!(mailbox.len(), 1, "{mailbox:?}");
        mailbox.remove(0)
    }

    async fn stop(self) {
        self.shutdown.0.request();
        self.work.await.unwrap();
    }

    /// Waits until all published orders are consumed.
    async fn caught_up(&self) {
        let caught_up = tokio::time::timeout(Duration::from_secs(30), async {
            while !testbed::is_consumed(&self.log, "notifications", ORDERS) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });

        if caught_up.await.is_err() {
            self.shutdown.0.request();
            panic!("the orders were not consumed in time");
        }
    }

    /// Returns the notifications of all pages of the mailbox.
    async fn mailbox(&self, query: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self
                .client
                .get(&format!("/notifications?{query}{cursor}"))
                .await;
            assert_eq!(page.status, 200, "{}", page.body);
            items.extend(page.body["items"].as_array().unwrap().iter().cloned());

            match page.body["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

/// Returns a log with the topic of the orders service.
fn log() -> SimulatedLog {
    let log = SimulatedLog::default();
    let retention = Duration::from_secs(3600);
    let spec = TopicSpec {
        name: ORDERS.to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention,
    };
    log.ensure_topics(&[spec]).unwrap();

    log
}

fn publish(log: &SimulatedLog, values: &[Option<Vec<u8>>]) {
    let mut publisher = log.publisher("orders", Delivery::AtLeastOnce).unwrap();
    for (number, value) in values.iter().enumerate() {
        let key = number.to_string();
        let key = Some(key.as_bytes());
        let value = value.as_deref();
        let headers: &[(&str, &[u8])] = &[("ce_type", b"order.created")];

        publisher
            .send(NewRecord {
                topic: ORDERS,
                partition: None,
                key,
                value,
                headers,
            })
            .unwrap();
    }
    publisher.commit(&[]).unwrap();
}

fn publish_orders(log: &SimulatedLog, orders: &[OrderCreated]) {
    publish(
        log,
        &orders
            .iter()
            .map(|order| Some(serde_json::to_vec(order).unwrap()))
            .collect::<Vec<_>>(),
    );
}

/// Returns an order that was placed `minutes_ago`.
fn order(order_id: u64, user_id: u64, minutes_ago: u64) -> OrderCreated {
    let created_ms = Timestamp::now().as_ms() - minutes_ago * 60_000;
    OrderCreated {
        event_id: Uuid::now_v7(),
        event_type: ORDER_CREATED.to_owned(),
        order_id,
        user_id,
        total_cents: 3_998,
        currency: "USD".to_owned(),
        items: vec![OrderItem {
            product_id: Uuid::now_v7(),
            quantity: 2,
            unit_price_cents: 1_999,
            name: None,
        }],
        created_at: Timestamp::from_ms(created_ms).unwrap(),
    }
}

/// Returns a change of an order of user 1.
fn changed(order_id: u64, event_type: &str) -> OrderChanged {
    OrderChanged {
        event_id: Uuid::now_v7(),
        event_type: event_type.to_owned(),
        version: ORDER_CHANGED_VERSION,
        order_id,
        user_id: 1,
        total_cents: 3_998,
        currency: "USD".to_owned(),
        changed_at: Timestamp::now(),
    }
}

fn order_ids(items: &[Value]) -> Vec<u64> {
    items
        .iter()
        .map(|item| item["order_id"].as_u64().unwrap())
        .collect()
}

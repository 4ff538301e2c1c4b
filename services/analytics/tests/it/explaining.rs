//! The orders behind a count, read from the log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use analytics::{Config, Parts, Service};
use aws_sdk_dynamodb::Client;
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use events::{
    ANALYTICS_RESULTS, ANALYTICS_SUMMARIES, ORDERS, ORDERS_DEAD_LETTER, ORDERS_LATE, WindowCount,
};
use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{Cleanup, Delivery, LogSettings, NewRecord, RecordLog, TopicSpec};
use serde_json::{Value, json};
use testbed::{OwnTopics, TestClient};
use uuid::Uuid;

use crate::{EPOCH_MS, Ending, Running, count};

testbed::on_both_dynamodbs!(
    the_orders_behind_a_count_are_listed_with_those_left_out,
    an_instant_without_a_window_is_a_422_and_no_count_is_a_404,
    what_the_log_no_longer_holds_is_named,
);

/// The longest wait for a count, even on a Kafka that other tests use.
const PATIENCE: Duration = Duration::from_secs(60);
const WINDOW: &str = "2026-11-22T10:01:00.000Z";
const PATH: &str = "/analytics/explain?user=7&window=2026-11-22T10:01:00Z";

/// A log with the topics of orders, of results, and of late and rejected orders.
struct Shop {
    log: Arc<dyn RecordLog>,
    topics: OwnTopics,
    _ending: Ending,
    client: TestClient,
}

impl Shop {
    /// Starts a service on a log that other tests may use, too.
    async fn open(log: Arc<dyn RecordLog>, dynamodb: &Client) -> Self {
        let topics = OwnTopics::new(Arc::clone(&log), &format!("-{}", Uuid::new_v4().simple()));
        let specs = [
            (ORDERS, 3),
            (ORDERS_LATE, 2),
            (ORDERS_DEAD_LETTER, 1),
            (ANALYTICS_RESULTS, 1),
            (ANALYTICS_SUMMARIES, 1),
        ];
        let specs = specs.map(|(name, partitions)| TopicSpec {
            name: name.to_owned(),
            partitions,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3600),
        });
        let own = topics.clone();
        tokio::task::spawn_blocking(move || own.ensure_topics(&specs).unwrap())
            .await
            .unwrap();

        let parts = Parts {
            dynamodb: dynamodb.clone(),
            log: Arc::new(topics.clone()),
            auth: Auth::open(),
        };
        let shutdown = Shutdown::new();
        let metrics = Metrics::new("analytics");
        let service = Service::new(&Config::default(), parts, &metrics, shutdown.clone()).unwrap();
        service.prepare().await;

        let client = TestClient::new(service.router());
        tokio::spawn(async move { service.consume().await });
        Self {
            log,
            topics,
            _ending: Ending(shutdown),
            client,
        }
    }

    /// Publishes a record, with headers.
    fn publish(&self, topic: &str, partition: u32, value: &[u8], headers: &[(&str, &[u8])]) {
        let id = format!("test-{partition}");
        let mut publisher = self.log.publisher(&id, Delivery::AtLeastOnce).unwrap();
        let topic = self.topics.name(topic);
        let record = NewRecord {
            topic: &topic,
            partition: Some(partition),
            key: Some(b"7"),
            value: Some(value),
            headers,
        };
        publisher.send(record).unwrap();
        publisher.commit(&[]).unwrap();
    }

    /// Publishes an order.
    fn order(&self, partition: u32, order: &Value) {
        self.publish(ORDERS, partition, order.to_string().as_bytes(), &[]);
    }

    /// Publishes an order to a side topic.
    fn aside(&self, topic: &str, place: (&str, &str), reason: &str, order: &Value) {
        let headers: [(&str, &[u8]); 3] = [
            ("source_partition", place.0.as_bytes()),
            ("source_offset", place.1.as_bytes()),
            ("reason", reason.as_bytes()),
        ];
        self.publish(topic, 0, order.to_string().as_bytes(), &headers);
    }

    fn published(&self, count: &WindowCount) {
        let value = serde_json::to_vec(count).unwrap();
        self.publish(ANALYTICS_RESULTS, 0, &value, &[]);
    }

    /// Returns the explanation, after waiting for the count.
    async fn explained(&self) -> Value {
        let explained = tokio::time::timeout(PATIENCE, async {
            loop {
                let reply = self.client.get(PATH).await;
                if reply.status != 404 {
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    return reply.body;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        explained.await.expect("the count is consumed in time")
    }
}

/// Returns an order of the user at this number of milliseconds after the start of the window.
fn order(number: u64, user: u64, after_ms: i64) -> Value {
    let ms = (EPOCH_MS + 60_000).checked_add_signed(after_ms).unwrap();
    json!({
        "event_id": Uuid::from_u128(number.into()),
        "event_type": "order.created",
        "order_id": number,
        "user_id": user,
        "total_cents": 100,
        "currency": "USD",
        "items": [],
        "created_at": events::Timestamp::from_ms(ms).unwrap(),
    })
}

/// Returns (partition, offset, order, decision) of each order.
fn essence(explanation: &Value) -> Vec<(u64, u64, u64, &str)> {
    let items = explanation["items"].as_array().unwrap();
    let essence = |item: &'_ Value| {
        let number = |field: &str| item[field].as_u64().unwrap();
        (number("partition"), number("offset"), number("order_id"))
    };
    items
        .iter()
        .map(|item| {
            let (partition, offset, order) = essence(item);
            let decision = item["decision"].as_str().unwrap();
            (partition, offset, order, decision)
        })
        .collect()
}

async fn the_orders_behind_a_count_are_listed_with_those_left_out(dynamodb: Client) {
    explain_a_count(Arc::new(SimulatedLog::default()), &dynamodb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_explained_by_the_embedded_log() {
    let folder = tempfile::tempdir().unwrap();
    let settings = LogSettings::Embedded {
        folder: folder.path().to_owned(),
    };
    let log = record_log::open(&settings).unwrap();
    explain_a_count(log, &testbed::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_explained_by_kafka() {
    if let Some(log) = testbed::brokers("a_count_is_explained_by_kafka") {
        explain_a_count(log, &testbed::embedded().await).await;
    }
}

async fn explain_a_count(log: Arc<dyn RecordLog>, dynamodb: &Client) {
    let shop = Shop::open(log, dynamodb).await;
    // Orders of the window, from its first instant to its last; then a duplicate, a late and a rejected one.
    shop.order(1, &order(1, 7, 0));
    shop.order(1, &order(2, 7, 59_999));
    shop.order(1, &order(1, 7, 0));
    shop.order(1, &order(3, 7, 10));
    shop.order(1, &order(4, 7, 20));
    // The same event in another partition is another order for the stream job.
    shop.order(2, &order(1, 7, 0));

    // An order of another user, orders of other windows, a record that is no order, and a later event of an order.
    shop.order(1, &order(5, 8, 0));
    shop.order(1, &order(6, 7, -1));
    shop.order(1, &order(7, 7, 60_000));
    shop.publish(ORDERS, 1, b"no order", &[]);
    let mut paid = order(1, 7, 0);
    paid["event_type"] = json!("order.paid");
    shop.order(1, &paid);

    shop.aside(ORDERS_LATE, ("1", "3"), "late", &order(3, 7, 10));
    // A record of another place with the same offset.
    shop.aside(ORDERS_LATE, ("2", "1"), "late", &order(9, 7, 10));
    shop.aside(
        ORDERS_DEAD_LETTER,
        ("1", "4"),
        "the clock is wrong",
        &order(4, 7, 20),
    );
    shop.published(&count(7, 1, 3, 2));

    let explained = shop.explained().await;
    assert_eq!(
        essence(&explained),
        [
            (1, 0, 1, "counted"),
            (1, 1, 2, "counted"),
            (1, 2, 1, "copy"),
            (1, 3, 3, "late"),
            (1, 4, 4, "rejected"),
            (2, 0, 1, "counted"),
        ]
    );
    assert_eq!(explained["agrees"], true, "{explained}");
    assert_eq!(explained["gaps"], json!([]));
    assert_eq!(explained["counted"]["order_count"], 3);
    assert_eq!(explained["counted"]["total_cents"], 300);
    assert_eq!(explained["published"]["revision"], 2);
    assert_eq!(explained["items"][4]["reason"], "the clock is wrong");
    assert_eq!(explained["items"][0]["event_id"], json!(Uuid::from_u128(1)));

    // An order that the stream job has not counted yet.
    shop.order(0, &order(10, 7, 5));
    let explained = shop.explained().await;
    assert_eq!(explained["agrees"], false);
    assert_eq!(explained["counted"]["order_count"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_numbers_of_other_totals_do_not_agree() {
    let log = Arc::new(SimulatedLog::default());
    let shop = Shop::open(log, &testbed::embedded().await).await;
    let mut dear = order(1, 7, 0);
    dear["total_cents"] = json!(101);
    shop.order(0, &dear);
    shop.published(&count(7, 1, 1, 0));

    let explained = shop.explained().await;
    assert_eq!(explained["counted"]["order_count"], 1);
    assert_eq!(explained["agrees"], false);
}

async fn an_instant_without_a_window_is_a_422_and_no_count_is_a_404(dynamodb: Client) {
    let running = Running::start(&dynamodb, &crate::log()).await;
    let summary = crate::summary(60_000, &[(1, 1)], 0);
    crate::publish_summaries(&running.log, std::slice::from_ref(&summary));
    running.caught_up().await;

    let start = summary.window_start;
    let within = events::Timestamp::from_ms(start.as_ms() + 1).unwrap();
    for (query, status, field) in [
        (format!("user=1&window={within}"), 422, Some("window")),
        (format!("user=1&window={start}"), 404, None),
        (format!("user=1&window={WINDOW}"), 404, None),
        (format!("user=me&window={WINDOW}"), 400, Some("user")),
        (format!("user=-1&window={WINDOW}"), 400, Some("user")),
        (
            format!("user={}&window={WINDOW}", u64::MAX),
            400,
            Some("user"),
        ),
        (format!("user={}&window={WINDOW}", i64::MAX), 404, None),
        (format!("user=0&window={WINDOW}"), 404, None),
        // The first and the last valid instant, and instants beyond them.
        ("user=1&window=1970-01-01T00:00:00Z".to_owned(), 404, None),
        ("user=1&window=9999-12-30T22:00:00Z".to_owned(), 404, None),
        (
            "user=1&window=1969-12-31T23:59:59.999Z".to_owned(),
            400,
            Some("window"),
        ),
        (
            "user=1&window=9999-12-31T00:00:00Z".to_owned(),
            400,
            Some("window"),
        ),
        ("user=1&window=now".to_owned(), 400, Some("window")),
        ("user=1".to_owned(), 400, Some("window")),
        (
            format!("user=1&window={WINDOW}&to={WINDOW}"),
            400,
            Some("to"),
        ),
    ] {
        let refused = running
            .client
            .get(&format!("/analytics/explain?{query}"))
            .await;
        assert_eq!(refused.status, status, "{query}: {}", refused.body);
        assert_eq!(refused.body["field"].as_str(), field, "{query}");
    }

    let refused = running
        .client
        .get(&format!("/analytics/explain?user=1&window={within}"))
        .await;
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.ends_with(&format!("begins at {start}")), "{detail}");
    running.stop().await;
}

async fn what_the_log_no_longer_holds_is_named(dynamodb: Client) {
    let log = SimulatedLog::default();
    let shop = Shop::open(Arc::new(log.clone()), &dynamodb).await;
    shop.order(1, &order(1, 7, 0));
    shop.order(1, &order(2, 7, 1));
    shop.order(2, &order(3, 7, 2));
    shop.published(&count(7, 1, 3, 0));
    assert_eq!(shop.explained().await["agrees"], true);

    let orders = shop.topics.name(ORDERS);
    log.expire(&orders, 1, 1);
    log.expire(&orders, 2, 1);
    let explained = shop.explained().await;
    assert_eq!(essence(&explained), [(1, 1, 2, "counted")]);
    assert_eq!(explained["agrees"], false);

    let mut gaps: Vec<_> = explained["gaps"].as_array().unwrap().clone();
    gaps.sort_by_key(Value::to_string);
    assert_eq!(
        gaps,
        [
            "the log no longer holds partition 1 of orders before offset 1",
            "the log no longer holds partition 2 of orders before offset 1",
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_there_is_a_gap() {
    let running = Running::start(&testbed::embedded().await, &crate::log()).await;
    crate::publish_counts(&running.log, &[count(7, 1, 1, 0)]);
    running.caught_up().await;

    let explained = running.get(PATH).await;
    assert_eq!(explained["agrees"], false);
    assert_eq!(explained["gaps"].as_array().unwrap().len(), 3);
    assert_eq!(explained["gaps"][0], "the log has no topic orders");
    running.stop().await;
}

/// The records from the window on are found by bisection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_appended_since_the_window_is_read() {
    let clock = Arc::new(AtomicU64::new(EPOCH_MS - 24 * 3_600_000));
    let now = Arc::clone(&clock);
    let log = SimulatedLog::new(move || now.load(Ordering::SeqCst));
    let shop = Shop::open(Arc::new(log), &testbed::embedded().await).await;

    let topic = shop.topics.name(ORDERS);
    let other = order(1, 8, 0).to_string();
    let mut publisher = shop.log.publisher("load", Delivery::AtLeastOnce).unwrap();
    for number in 0..60_000 {
        let record = NewRecord {
            topic: &topic,
            partition: Some(number % 2),
            key: None,
            value: Some(other.as_bytes()),
            headers: &[],
        };
        publisher.send(record).unwrap();
        if number % 1000 == 999 {
            publisher.commit(&[]).unwrap();
            clock.fetch_add(60_000, Ordering::SeqCst);
        }
    }

    clock.store(EPOCH_MS + 70_000, Ordering::SeqCst);
    shop.order(0, &order(2, 7, 0));
    shop.order(1, &order(3, 7, 0));
    shop.published(&count(7, 1, 2, 0));

    let explained = shop.explained().await;
    assert_eq!(explained["agrees"], true, "{explained}");
    let read = explained["records_read"].as_u64().unwrap();
    assert!((2..12_000).contains(&read), "{read}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_count_is_explained_at_a_time() {
    let log = SimulatedLog::default();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let begun = Mutex::new(begun);
    let may_go_on = Mutex::new(may_go_on);
    let holds = Arc::new(AtomicBool::new(true));
    let held = Arc::clone(&holds);
    let process = log.process(move |call| {
        if let Call::Offsets { topic } = call
            && topic.starts_with(ORDERS)
            && held.swap(false, Ordering::SeqCst)
        {
            begun.lock().unwrap().send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        }
        Fault::None
    });

    let dynamodb = testbed::embedded().await;
    let running = Running::start_process(&dynamodb, &crate::log_of(log), process).await;
    crate::publish_counts(&running.log, &[count(7, 1, 1, 0)]);
    running.caught_up().await;

    let client = running.client.clone();
    let first = tokio::spawn(async move { client.get(PATH).await.status.as_u16() });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
        .await
        .unwrap();

    let second = running.client.get(PATH).await;
    assert_eq!(second.status, 429, "{}", second.body);
    assert_eq!(second.header("retry-after"), "5");

    go_on.send(()).unwrap();
    assert_eq!(first.await.unwrap(), 200);
    assert_eq!(running.client.get(PATH).await.status, 200);
    running.stop().await;
}

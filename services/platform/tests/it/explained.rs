//! The explanation of a count agrees with the job, for every reason why the job leaves an order out.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use analytics::{Config, Parts, Service};
use chassis::auth::Auth;
use chassis::{Metrics, Shutdown};
use clap::Parser;
use events::{ORDERS, ORDERS_LATE, Timestamp};
use order_analytics::OrderAnalytics;
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use serde_json::{Value, json};
use stream::Stop;
use testbed::TestClient;
use uuid::Uuid;

/// 2026-11-22T10:00:00Z, the start of a window.
const TEN_MS: u64 = 1_795_341_600_000;
const PATH: &str = "/analytics/explain?user=7&window=2026-11-22T10:00:00Z";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    job: OrderAnalytics,
}

fn log() -> SimulatedLog {
    let log = SimulatedLog::new(|| TEN_MS + 600_000);
    let topic = TopicSpec {
        name: ORDERS.to_owned(),
        partitions: 2,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3600),
    };
    log.ensure_topics(&[topic]).unwrap();
    log
}

/// Returns an order of user 7, `second` seconds after ten.
fn order(number: u64, second: u64) -> Value {
    json!({
        "event_id": Uuid::from_u128(number.into()),
        "event_type": "order.created",
        "order_id": number,
        "user_id": 7,
        "total_cents": 100 + number,
        "currency": "EUR",
        "items": [],
        "created_at": Timestamp::from_ms(TEN_MS + second * 1000).unwrap(),
    })
}

/// Publishes orders, or other values.
fn publish<V: Display>(log: &SimulatedLog, partition: u32, orders: &[V]) {
    let mut publisher = log.publisher("shop", Delivery::Transactional).unwrap();
    for order in orders {
        let value = order.to_string();
        let record = NewRecord {
            topic: ORDERS,
            partition: Some(partition),
            key: Some(b"7"),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }
    publisher.commit(&[]).unwrap();
}

/// Runs the job until everything published is counted, or left out.
fn run_job(log: &SimulatedLog, checkpoints: &str) {
    let line = ["job", "--until-end", "--allowed-lateness", "30s"];
    let arguments = Arguments::parse_from(line.iter().chain(&["--checkpoints", checkpoints]));
    let run = arguments.job.on(Arc::new(log.clone())).unwrap();
    run.run(&Stop::default()).unwrap();
}

/// Returns the decision about each order, by number; 0 if it has none.
fn decisions(explanation: &Value) -> Vec<(u64, String)> {
    let items = explanation["items"].as_array().unwrap().iter();
    let decision = |item: &Value| {
        let decision = item["decision"].as_str().unwrap();
        let number = item["order_id"].as_u64().unwrap_or_default();
        (number, decision.to_owned())
    };
    items.map(decision).collect()
}

/// Publishes orders that the job counts, and one for each reason why it leaves out an order. Runs the job twice.
fn publish_and_count(log: &SimulatedLog) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = format!("file://{}", folder.path().display());

    // More levels than the job reads.
    let mut deep = order(3, 30);
    deep["items"] = (0..130).fold(json!([]), |inner, _| json!([inner]));
    publish(log, 0, &[order(1, 10), order(2, 20), deep, order(1, 10)]);
    publish(log, 1, &[order(1, 10), json!("no order"), order(4, 70)]);
    // The job does not decode the order's id.
    let odd = order(7, 40).to_string();
    let odd = odd.replace("\"order_id\":7", "\"order_id\":1e999");
    publish(log, 1, &[odd]);
    run_job(log, &checkpoints);

    // These orders close the window and end its allowed lateness.
    publish(log, 0, &[order(5, 59), order(2, 20)]);
    // The topic's limit is smaller than this late order.
    log.limit_records(ORDERS_LATE, 1_000);
    let mut long = order(8, 50);
    long["note"] = json!("x".repeat(2_000));
    publish(log, 0, &[long]);
    publish(log, 0, &[order(6, 200)]);
    run_job(log, &checkpoints);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_agrees_with_the_job_about_uncounted_orders() {
    let log = log();
    let published = log.clone();
    let counted = tokio::task::spawn_blocking(move || publish_and_count(&published));
    counted.await.unwrap();

    let parts = Parts {
        dynamodb: testbed::embedded().await,
        log: Arc::new(log),
        auth: Auth::open(),
    };
    let shutdown = Shutdown::new();
    let metrics = Metrics::new("analytics");
    let service = Service::new(&Config::default(), parts, &metrics, shutdown.clone()).unwrap();
    service.prepare().await;
    let client = TestClient::new(service.router());
    let work = tokio::spawn(async move { service.consume().await });

    let explained = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let reply = client.get(PATH).await;
            if reply.status == 200 {
                return reply.body;
            }
            assert_eq!(reply.status, 404, "{}", reply.body);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let explained = explained.await.unwrap();
    shutdown.request();
    work.await.unwrap();

    let expected = [
        (1, "counted"),
        (2, "counted"),
        (3, "rejected"),
        (1, "copy"),
        (5, "late"),
        (2, "late"),
        (8, "late"),
        (1, "counted"),
        (0, "counted"),
    ];
    let expected = expected.map(|(number, decision)| (number, decision.to_owned()));
    assert_eq!(decisions(&explained), expected, "{explained}");
    assert_eq!(explained["agrees"], true, "{explained}");
    assert_eq!(explained["gaps"], json!([]));
}

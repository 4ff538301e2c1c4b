//! Tests that published records are read back complete, and that results on a log get the right
//! verdict.

use std::sync::Arc;

use bench::compare::compare;
use bench::generate::{Target, publish};
use bench::oracle;
use bench::orders::OrderSettings;
use bench::read::{self, ReadError};
use events::{OrderCreated, Timestamp, WindowCount};
use record_log::{Cleanup, Delivery, LogSettings, NewRecord, RecordLog, TopicSpec};

use crate::{dollars, settings};

const MINUTE_MS: u64 = 60_000;
const TARGET: Target<'_> = Target {
    topic: "orders",
    partitions: 3,
    rate: None,
};

fn log() -> (Arc<dyn RecordLog>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = LogSettings::Embedded {
        folder: folder.path().to_owned(),
    };
    (record_log::open(&settings).unwrap(), folder)
}

#[test]
fn every_published_order_is_read_back_once() {
    let (log, _folder) = log();
    let settings = settings(5_000);
    publish(&*log, TARGET, settings.records()).unwrap();
    let mut read: Vec<OrderCreated> = read::all_json(&*log, "orders").unwrap();
    read.sort_unstable_by_key(|order| order.order_id);
    assert!(settings.good().eq(read));
}

#[test]
fn a_record_that_is_not_an_order_is_named_by_its_place() {
    let (log, _folder) = log();
    publish(
        &*log,
        TARGET,
        OrderSettings {
            malformed: 1.0,
            ..settings(10)
        }
        .records(),
    )
    .unwrap();

    let read = read::all_json::<OrderCreated>(&*log, "orders");
    assert!(matches!(read, Err(ReadError::Value { offset: 0, .. })));
}

#[test]
fn a_rate_is_kept() {
    let (log, _folder) = log();
    let started = std::time::Instant::now();
    publish(
        &*log,
        Target {
            rate: Some(100),
            ..TARGET
        },
        settings(21).records(),
    )
    .unwrap();

    assert!(started.elapsed() >= std::time::Duration::from_millis(200));
}

#[test]
fn results_on_a_log_are_exact_until_one_is_there_twice() {
    let (log, _folder) = log();
    let topic = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: 2,
        cleanup: Cleanup::CompactAndDelete,
        retention: std::time::Duration::from_secs(3_600),
    };
    log.ensure_topics(&[topic("results")]).unwrap();

    let expected = oracle::counts(settings(1_000).good(), MINUTE_MS);
    let results: Vec<_> = expected.iter().map(result).collect();
    let verdict = |results: &[WindowCount]| {
        send(&*log, results);
        compare(
            &expected,
            read::all_json(&*log, "results").unwrap(),
            MINUTE_MS,
        )
    };
    let first = verdict(&results);
    assert!(first.is_exact(), "{first}");

    let second = verdict(&results[..1]);
    assert_eq!((second.duplicated, second.is_exact()), (1, false));
}

fn result(expected: &oracle::Expected) -> WindowCount {
    WindowCount {
        user_id: expected.user_id,
        window_start: Timestamp::from_ms(expected.window_start_ms).unwrap(),
        window_end: Timestamp::from_ms(expected.window_start_ms + MINUTE_MS).unwrap(),
        order_count: expected.order_count,
        amounts: dollars(expected.total_cents),
        revision: 0,
    }
}

fn send(log: &dyn RecordLog, results: &[WindowCount]) {
    let mut publisher = log.publisher("test", Delivery::Transactional).unwrap();
    for result in results {
        let key = result.user_id.to_string();
        let value = serde_json::to_vec(result).unwrap();
        let record = NewRecord {
            topic: "results",
            partition: None,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }
    publisher.commit(&[]).unwrap();
}

//! The suite on the versions of Kafka that users have, and on the older protocol of transactions, with both clients.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::broker::{Broker, Client, NEWEST, create_when_ready};
use crate::conformance::CHECKS;

/// The number of checks at a time: each mostly waits for the broker.
const AT_A_TIME: usize = 6;

#[test]
fn kafka_3_7_keeps_every_promise() {
    assert_conforms("3.7.2", &[]);
}

#[test]
fn kafka_3_9_keeps_every_promise() {
    assert_conforms("3.9.1", &[]);
}

#[test]
fn kafka_4_1_with_the_first_protocol_conforms() {
    assert_conforms(NEWEST, &["--feature", "transaction.version=1"]);
}

/// Runs each check with each client, and names those that failed.
fn assert_conforms(version: &str, format: &[&str]) {
    let Some(broker) = Broker::open(version, format) else {
        return;
    };

    let logs = Client::ALL.map(|client| (client, client.open(&broker.address(), &[])));
    create_when_ready(&*logs[0].1, &["ready"]);
    let runs: Vec<_> = CHECKS
        .iter()
        .flat_map(|check| logs.iter().map(move |log| (check, log)))
        .collect();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());

    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(((name, check), (client, log))) =
                    runs.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if catch_unwind(AssertUnwindSafe(|| check(&**log))).is_err() {
                        failed.lock().unwrap().push(format!("{name} by {client:?}"));
                    }
                }
            });
        }
    });

    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "on Kafka {version}: {failed:#?}");
}

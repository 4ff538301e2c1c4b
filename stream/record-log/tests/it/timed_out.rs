//! A publisher whose transaction is older than its time-out when its process goes on. The brokers have aborted it, and
//! refuse the publisher. Under some protocols the error is that for a newer holder. The refusal is not permanent: after
//! it is opened again, the publisher continues from its progress.

use std::time::{Duration, Instant};

use record_log::{Delivery, NewRecord, PublishError, Publisher, RecordLog};

use crate::broker::{Broker, Client, NEWEST, create_when_ready};

/// A transaction may live for 15 s, and the broker looks for older ones every 10 s.
const PATIENCE: Duration = Duration::from_secs(120);
/// The number of records: more than a publisher holds back.
const RECORDS: u64 = 40;
const RECORD_BYTES: usize = 200_000;

#[test]
fn a_time_out_of_a_transaction_is_not_fencing() {
    assert_goes_on(&[]);
}

#[test]
fn a_time_out_is_not_fencing_under_the_first_protocol() {
    assert_goes_on(&["--feature", "transaction.version=1"]);
}

/// Opens a publisher of each client, lets its transaction time out, and commits.
fn assert_goes_on(format: &[&str]) {
    let Some(broker) = Broker::open(NEWEST, format) else {
        return;
    };
    let logs = Client::ALL.map(|client| (client, client.open(&broker.address(), &[])));
    let topics = logs.each_ref().map(|(client, _)| format!("{client:?}"));
    create_when_ready(&*logs[0].1, &topics.each_ref().map(String::as_str));

    std::thread::scope(|scope| {
        for ((client, log), topic) in logs.iter().zip(&topics) {
            scope.spawn(|| goes_on(*client, &**log, topic));
        }
    });
}

fn goes_on(client: Client, log: &dyn RecordLog, topic: &str) {
    let open = || log.publisher(topic, Delivery::Transactional).unwrap();
    let mut publisher = open();
    publisher.commit(b"before").unwrap();

    send(&mut *publisher, topic);
    // Readers pass the transaction when it has been aborted.
    let begun = Instant::now();
    while log.offsets(topic).unwrap()[0].end == 0 {
        assert!(begun.elapsed() < PATIENCE, "{client:?}");
        std::thread::sleep(Duration::from_millis(50));
    }

    // A client that has not detected this yet may first fail with another error.
    let ended = loop {
        match publisher.commit(b"after") {
            Err(PublishError::NotPublished(_)) => assert!(begun.elapsed() < PATIENCE),
            ended => break ended,
        }
    };
    if let Err(error) = ended {
        assert!(error.may_have_happened(), "{client:?}: {error}");
        publisher = open();
        assert_eq!(publisher.progress(), Some(&b"before"[..]), "{client:?}");
        publisher.commit(b"after").unwrap();
    }
    assert_eq!(open().progress(), Some(&b"after"[..]), "{client:?}");
}

/// Sends records that no codec makes smaller, so that some of them leave before the commit.
fn send(publisher: &mut dyn Publisher, topic: &str) {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56).to_le_bytes()[0]
    };
    for _ in 0..RECORDS {
        let value: Vec<u8> = (0..RECORD_BYTES).map(|_| next()).collect();
        let record = NewRecord {
            topic,
            partition: Some(0),
            key: None,
            value: Some(&value),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }
}

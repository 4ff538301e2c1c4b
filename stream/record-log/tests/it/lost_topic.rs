//! A topic that is deleted while a publisher writes to it: the error names that topic, and no other of the transaction.

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use record_log::RecordLog;

use crate::subject::{record, topic, transactional, unique};

/// librdkafka fails either with the request that adds the topics to the transaction, or with the time-out of the first
/// record, whatever its topic. Four publishers are likely to meet both.
#[test]
fn a_lost_topic_is_named_whichever_record_waits_for_it() {
    let Some(subject) = crate::subject::kafka() else {
        return;
    };
    let log = &*subject.log;

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| lose_a_topic(log));
        }
    });
}

fn lose_a_topic(log: &dyn RecordLog) {
    let kept = topic(log, 1);
    let lost = topic(log, 1);
    let mut publisher = transactional(log, &unique("lost"));
    let mut send = |value| {
        publisher.send(record(&kept, 0, value)).unwrap();
        publisher.send(record(&lost, 0, value)).unwrap();
        publisher.commit(value)
    };
    send(b"before").unwrap();

    delete(&lost);
    let error = send(b"after").unwrap_err().to_string();
    let named = format!("topic {lost:?} does not exist");
    assert!(error.contains(&named), "{error}");
    let wrong = format!("{kept:?} does not exist");
    assert!(!error.contains(&wrong), "{error}");
}

fn delete(topic: &str) {
    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();
    block_on(admin.delete_topics(&[topic], &AdminOptions::new())).unwrap();
}

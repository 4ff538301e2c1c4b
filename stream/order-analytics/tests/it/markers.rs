//! Waits for the marks that brokers write at the ends of transactions.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use record_log::{LogError, RecordLog};

/// A time limit that is longer than any broker takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until no transaction is open on these topics, those left out that do not exist: brokers mark the end of a
/// transaction a moment after its commit, and nothing of it is readable before.
pub fn await_markers(log: &dyn RecordLog, brokers: &str, topics: &[String]) {
    let uncommitted: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("isolation.level", "read_uncommitted")
        .create()
        .unwrap();
    let is_marked = |topic: &str| match log.offsets(topic) {
        Err(LogError::UnknownTopic(_)) => true,
        ranges => (0..).zip(ranges.unwrap()).all(|(partition, range)| {
            let written = uncommitted.fetch_watermarks(topic, partition, PATIENCE);
            written.unwrap().1.cast_unsigned() <= range.end
        }),
    };

    let begun = Instant::now();
    for topic in topics {
        while !is_marked(topic) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{topic} has an open transaction"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

//! The logs under test, and operations on them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use record_log::progress::of_number;
use record_log::simulated::SimulatedLog;
use record_log::{
    Cleanup, Delivery, LogError, LogSettings, LogTimeType, NewRecord, Offset, Polled, Publisher,
    Reader, RecordLog, Signal, TopicSpec, open,
};
use tempfile::TempDir;

/// A time limit that is longer than any working operation.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before another poll for an end: its confirmation wakes no reader.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A log, and the values that must live as long.
pub struct Subject {
    pub log: Arc<dyn RecordLog>,
    _folder: Option<TempDir>,
}

/// A record as tests compare it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Read {
    pub partition: u32,
    pub offset: Offset,
    pub log_time_ms: u64,
    pub log_time_type: LogTimeType,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

pub fn simulated() -> Option<Subject> {
    Some(Subject {
        log: Arc::new(SimulatedLog::default()),
        _folder: None,
    })
}

pub fn embedded() -> Option<Subject> {
    let folder = TempDir::new().unwrap();
    Some(Subject {
        log: open_embedded(folder.path()).unwrap(),
        _folder: Some(folder),
    })
}

pub fn open_embedded(folder: &Path) -> Result<Arc<dyn RecordLog>, LogError> {
    open(&LogSettings::Embedded {
        folder: folder.to_owned(),
    })
}

/// Returns none, and prints a line, when no brokers are named.
pub fn kafka() -> Option<Subject> {
    on_kafka(|brokers| LogSettings::Kafka {
        brokers,
        properties: Vec::new(),
    })
}

/// As [`kafka`], with the native client.
pub fn native() -> Option<Subject> {
    on_kafka(|brokers| LogSettings::NativeKafka {
        brokers,
        properties: Vec::new(),
    })
}

fn on_kafka(settings: impl FnOnce(String) -> LogSettings) -> Option<Subject> {
    let Ok(brokers) = std::env::var("TIDEMARK_TEST_BROKERS") else {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        // Written past the capture of the test harness: a skipped test must not look like one that passed.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("SKIPPED: {test} (set TIDEMARK_TEST_BROKERS)\n").as_bytes(),
        );
        return None;
    };

    let log = open(&settings(brokers)).unwrap();
    Some(Subject { log, _folder: None })
}

/// A name that no other test and no earlier run uses.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let run = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();

    format!(
        "{name}-{run}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Creates a topic of its own for the test.
pub fn topic(log: &dyn RecordLog, partitions: u32) -> String {
    let name = unique("conformance");
    let retention = Duration::from_secs(7 * 24 * 3600);
    log.ensure_topics(&[TopicSpec {
        name: name.clone(),
        partitions,
        cleanup: Cleanup::Delete,
        retention,
    }])
    .unwrap();

    name
}

pub fn transactional(log: &dyn RecordLog, id: &str) -> Box<dyn Publisher> {
    log.publisher(id, Delivery::Transactional).unwrap()
}

/// Returns a record of `topic` with only a value.
pub fn record<'a>(topic: &'a str, partition: u32, value: &'a [u8]) -> NewRecord<'a> {
    NewRecord {
        topic,
        partition: Some(partition),
        key: None,
        value: Some(value),
        headers: &[],
    }
}

/// Publishes the values to a partition in one commit.
pub fn publish(log: &dyn RecordLog, topic: &str, partition: u32, values: &[&[u8]]) {
    let mut publisher = transactional(log, &unique("publisher"));
    for value in values {
        publisher.send(record(topic, partition, value)).unwrap();
    }
    publisher.commit(&of_number(1)).unwrap();
}

/// Reads the partition until the log confirms its end.
pub fn read_to_end(reader: &mut dyn Reader, partition: u32) -> (Vec<Read>, Polled) {
    let mut records = Vec::new();
    let polled = poll_until(reader, partition, &mut records, |polled, _| {
        polled.is_at_end()
    });
    (records, polled)
}

/// Polls, when the reader wakes it or after a pause, until `is_enough`.
pub fn poll_until(
    reader: &mut dyn Reader,
    partition: u32,
    records: &mut Vec<Read>,
    is_enough: impl Fn(&Polled, &[Read]) -> bool,
) -> Polled {
    let signal = Signal::default();
    reader.on_readable(signal.wake());
    let deadline = Instant::now() + PATIENCE;

    loop {
        let polled = reader
            .poll(partition, 1_000, &mut |record| {
                records.push(Read::of(&record));
            })
            .unwrap();

        if is_enough(&polled, records) {
            return polled;
        }

        assert!(
            Instant::now() < deadline,
            "nothing more after {} records, {polled:?}",
            records.len()
        );

        if polled.records == 0 {
            signal.wait(LOOK_AGAIN);
        }
    }
}

/// Returns all records of a partition, once there are at least `at_least`: brokers mark the end of a transaction a
/// moment after its commit has returned.
pub fn all(log: &dyn RecordLog, topic: &str, partition: u32, at_least: usize) -> Vec<Read> {
    let start = log.offsets(topic).unwrap()[partition as usize].start;
    let mut records = Vec::new();
    let mut reader = log.reader(topic, &[(partition, start)]).unwrap();
    poll_until(&mut *reader, partition, &mut records, |polled, records| {
        polled.is_at_end() && records.len() >= at_least
    });

    records
}

/// Checks the values of everything that a partition holds.
#[track_caller]
pub fn assert_values(log: &dyn RecordLog, topic: &str, partition: u32, expected: &[&str]) {
    let records = all(log, topic, partition, expected.len());
    let values: Vec<String> = records
        .into_iter()
        .map(|read| String::from_utf8(read.value.unwrap()).unwrap())
        .collect();
    assert_eq!(values, expected);
}

impl Read {
    fn of(record: &record_log::Record<'_>) -> Self {
        let mut headers = Vec::new();
        record
            .headers
            .for_each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));

        Self {
            partition: record.partition,
            offset: record.offset,
            log_time_ms: record.log_time_ms,
            log_time_type: record.log_time_type,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        }
    }
}

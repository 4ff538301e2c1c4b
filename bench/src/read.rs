//! Reads all committed records of a topic: for `bench read`, and for every other command.

use std::time::{Duration, Instant};

use record_log::{LogError, OffsetRange, Reader, Record, RecordLog, Signal};
use serde::de::DeserializeOwned;
use stream_cli::Client;

/// The time without a record after which reading fails.
const STALL_LIMIT: Duration = Duration::from_secs(60);
const RECORDS_PER_POLL: usize = 10_000;

/// Reads a topic to its end and ignores the records: the lower bound of any consumer's cost.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Kafka's brokers as `host:port`, comma separated.
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: String,
    /// The topic.
    #[arg(long, default_value = events::ORDERS)]
    topic: String,
    /// Client of Kafka that reads
    #[arg(long, value_enum, default_value_t = Client::Rdkafka)]
    client: Client,
    /// Expected number of records; another number is an error
    #[arg(long)]
    expect: Option<u64>,
}

/// The reason why a topic was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log failed or could not be reached.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A value does not have the expected form.
    #[error("the record at offset {offset} of partition {partition} cannot be read: {source}")]
    Value {
        /// Its partition.
        partition: u32,
        /// Its offset.
        offset: u64,
        /// The cause.
        source: serde_json::Error,
    },
    /// There were more or fewer records than expected.
    #[error("expected {expected} records, read {records}")]
    Count {
        /// The expected number.
        expected: u64,
        /// The number read.
        records: u64,
    },
    /// The topic stopped giving records before its end.
    #[error("partition {0} gave no record for {limit} s before its end", limit = STALL_LIMIT.as_secs())]
    Stalled(u32),
}

impl Args {
    /// Reads the topic and prints the number of records.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn run(self) -> Result<(), ReadError> {
        let mut bytes = 0;
        let mut weigh = |record: Record<'_>| bytes += record.value.unwrap_or_default().len();
        let settings = self.client.settings(self.brokers, Vec::new());
        let log = record_log::open(&settings)?;
        let records = all(&*log, &self.topic, &mut weigh)?;
        println!("{records} records, {bytes} bytes");

        match self.expect {
            Some(expected) if expected != records => Err(ReadError::Count { expected, records }),
            _ => Ok(()),
        }
    }
}

/// Passes every committed record of the topic to `each`, and returns their number. Partitions are
/// polled in turn, as in a job: records of a partition come in their order, mixed with those of
/// others.
///
/// # Errors
/// [`ReadError`].
pub fn all(
    log: &dyn RecordLog,
    topic: &str,
    each: &mut dyn FnMut(Record<'_>),
) -> Result<u64, ReadError> {
    let ranges = log.offsets(topic)?;
    let from: Vec<_> = (0..)
        .zip(&ranges)
        .map(|(partition, range)| (partition, range.start))
        .collect();
    let mut reader = log.reader(topic, &from)?;
    let signal = Signal::default();
    reader.on_readable(signal.wake());

    let unread = |(partition, range): (u32, OffsetRange)| Unread { partition, range };
    let mut unread: Vec<Unread> = (0..).zip(ranges).map(unread).collect();
    let mut count = 0;
    let mut newest = Instant::now();

    loop {
        unread.retain(|part| part.range.start < part.range.end);
        let Some(first) = unread.first() else {
            return Ok(count);
        };
        if newest.elapsed() > STALL_LIMIT {
            return Err(ReadError::Stalled(first.partition));
        }

        let mut records = 0;
        for part in &mut unread {
            records += part.poll(&mut *reader, each)?;
        }
        match records {
            0 => signal.wait(Duration::from_millis(20)),
            _ => newest = Instant::now(),
        }
        count += records;
    }
}

/// A partition, and the range of offsets that is not read yet.
struct Unread {
    partition: u32,
    range: OffsetRange,
}

impl Unread {
    fn poll(
        &mut self,
        reader: &mut dyn Reader,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<u64, ReadError> {
        let polled = reader.poll(self.partition, RECORDS_PER_POLL, each)?;
        // Offsets before the end may have no record: that of a transaction's marker, or a gap left
        // by compaction.
        self.range.start = match polled.is_at_end() {
            true => self.range.end,
            false => polled.next_offset,
        };
        Ok(polled.records as u64)
    }
}

/// Returns the number of the topic's records; none if the topic does not exist.
///
/// # Errors
/// [`ReadError`].
pub fn count(log: &dyn RecordLog, topic: &str) -> Result<u64, ReadError> {
    match all(log, topic, &mut |_| ()) {
        Err(ReadError::Log(LogError::UnknownTopic(_))) => Ok(0),
        counted => counted,
    }
}

/// Returns the values of all committed records of the topic, decoded from JSON.
///
/// # Errors
/// [`ReadError::Value`] at the first value that is not a `T`. A tombstone is not.
pub fn all_json<T: DeserializeOwned>(
    log: &dyn RecordLog,
    topic: &str,
) -> Result<Vec<T>, ReadError> {
    let values = all_json_with_times(log, topic)?;
    Ok(values.into_iter().map(|(value, _)| value).collect())
}

/// Returns the value of every committed record of the topic, decoded from JSON, with its time in
/// the log.
///
/// # Errors
/// As [`all_json`].
pub fn all_json_with_times<T: DeserializeOwned>(
    log: &dyn RecordLog,
    topic: &str,
) -> Result<Vec<(T, u64)>, ReadError> {
    let mut values = Vec::new();
    let mut bad = None;
    all(
        log,
        topic,
        &mut |record| match serde_json::from_slice(record.value.unwrap_or_default()) {
            Ok(value) => values.push((value, record.log_time_ms)),
            Err(source) => {
                bad.get_or_insert(ReadError::Value {
                    partition: record.partition,
                    offset: record.offset,
                    source,
                });
            }
        },
    )?;

    bad.map_or(Ok(values), Err)
}

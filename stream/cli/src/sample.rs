//! Runs a job on sample records in memory: a program to try without Kafka.

use std::sync::Arc;
use std::time::Duration;

use record_log::simulated::SimulatedLog;
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Record, RecordLog, TopicSpec,
};
use stream::{AnyPipeline, JobError, Settings, Stop};

use crate::error::CommandError;

/// A record to try a job with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SampleRecord {
    /// Its key: records with the same key go to the same partition.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// Number of partitions of the sample topic.
const PARTITIONS: u32 = 2;

/// The most records of one poll.
const BATCH: usize = 1000;

/// Runs the job over the records to their end, and returns the values of its results in order.
pub fn run(
    pipeline: AnyPipeline,
    settings: Settings,
    records: &[SampleRecord],
    stop: &Stop,
) -> Result<Vec<String>, CommandError> {
    let log = SimulatedLog::default();
    publish(&log, pipeline.source_topic(), records)?;

    let results = pipeline.results_topic().to_owned();
    let settings = Settings {
        until_end: true,
        ..settings
    };
    let run = pipeline.on(settings, Arc::new(log.clone()))?;
    run.run(stop).map_err(CommandError::Ended)?;

    Ok(read(&log, &results)?)
}

fn publish(log: &dyn RecordLog, topic: &str, records: &[SampleRecord]) -> Result<(), CommandError> {
    log.ensure_topics(&[TopicSpec {
        name: topic.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3600),
    }])?;

    let failed = |error: PublishError| JobError::from(error);
    let mut publisher = log.publisher("sample", Delivery::Transactional)?;

    for SampleRecord { key, value } in records {
        let record = NewRecord {
            topic,
            partition: None,
            key: Some(key),
            value: Some(value),
            headers: &[],
        };
        publisher.send(record).map_err(failed)?;
    }
    publisher.commit(&[]).map_err(failed)?;

    Ok(())
}

fn read(log: &dyn RecordLog, topic: &str) -> Result<Vec<String>, LogError> {
    let from: Vec<(u32, u64)> = (0..log.partitions(topic)?)
        .map(|partition| (partition, 0))
        .collect();
    let mut reader = log.reader(topic, &from)?;
    let mut lines = Vec::new();

    for (partition, _) in from {
        let mut keep = |record: Record<'_>| {
            lines.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
        };
        while !reader.poll(partition, BATCH, &mut keep)?.is_at_end() {}
    }

    lines.sort();
    Ok(lines)
}

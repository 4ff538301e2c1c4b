//! Runs a job without Kafka, on sample records or on files. Its results are kept in memory.

use std::sync::Arc;
use std::time::Duration;

use record_log::files::{FilesLog, FilesSettings};
use record_log::simulated::SimulatedLog;
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Record, RecordLog, TopicSpec,
};
use stream::{AnyPipeline, JobError, Settings, Stop, system_clock};

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

/// The number of characters of a record that a warning shows.
const SHOWN_CHARACTERS: usize = 100;

/// The most records of one poll.
const BATCH: usize = 1000;

/// The published records of a job.
#[derive(Debug, Eq, PartialEq)]
pub struct Published {
    /// The values of its results in order, then those of its summaries and rankings.
    pub results: Vec<String>,
    /// A sentence for each topic of records that were not counted, if there are any.
    pub warnings: Vec<String>,
}

/// Runs the job over the records to their end.
pub fn run(
    pipeline: AnyPipeline,
    settings: Settings,
    records: &[SampleRecord],
    stop: &Stop,
) -> Result<Published, CommandError> {
    let memory = SimulatedLog::default();
    publish(&memory, pipeline.source_topic(), records)?;
    run_on(Arc::new(memory.clone()), &memory, pipeline, settings, stop)
}

/// Runs the job over the files to their end.
pub fn run_files(
    pipeline: AnyPipeline,
    settings: Settings,
    files: &FilesSettings,
    stop: &Stop,
) -> Result<Published, CommandError> {
    // A later run could not go on from them: the results of this one are gone with its process.
    if !settings.checkpoints.starts_with("memory:") {
        let reason = "without --brokers, --input prints the results of all records and keeps no checkpoints: \
                      leave out --checkpoints, or name the Kafka to publish to";
        return Err(CommandError::Other(reason.into()));
    }

    let memory = SimulatedLog::default();
    let log = FilesLog::open(files, pipeline.source_topic(), Arc::new(memory.clone()))?;
    run_on(Arc::new(log), &memory, pipeline, settings, stop)
}

/// Runs the job on a log whose published topics are in memory.
fn run_on(
    log: Arc<dyn RecordLog>,
    memory: &SimulatedLog,
    pipeline: AnyPipeline,
    settings: Settings,
    stop: &Stop,
) -> Result<Published, CommandError> {
    let results = pipeline.results_topic().to_owned();
    let views = pipeline.view_topics();
    let settings = Settings {
        until_end: true,
        ..settings
    };
    let run = pipeline.on(settings, log)?;
    run.run(stop).map_err(CommandError::Ended)?;

    let topics = run.metrics.status(system_clock()()).topics;
    let uncounted = [("late", topics.late), ("rejected", topics.dead_letters)];
    let warnings = uncounted.into_iter().filter_map(|(kind, topic)| {
        let records = memory.records(&topic);
        let first = records.first()?;
        let count = records.len();
        let value = String::from_utf8_lossy(first.value.as_deref().unwrap_or_default());
        let shown: String = value.chars().take(SHOWN_CHARACTERS).collect();
        let reason = reason_of(&first.headers);
        Some(format!(
            "{count} {kind} records were not counted; the first: {reason}: {shown}"
        ))
    });

    let mut lines = read(memory, &results)?;
    for view in views {
        lines.extend(read(memory, &view)?);
    }

    Ok(Published {
        results: lines,
        warnings: warnings.collect(),
    })
}

/// Returns the reason that the engine has written to the headers of a side output.
fn reason_of(headers: &[(String, Vec<u8>)]) -> String {
    let reason = headers.iter().rfind(|(name, _)| name == "reason");
    reason.map_or_else(String::new, |(_, reason)| {
        String::from_utf8_lossy(reason).into_owned()
    })
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
            // A tombstone takes back a result that was printed; nothing is late in files.
            lines.extend(
                record
                    .value
                    .map(|value| String::from_utf8_lossy(value).into_owned()),
            );
        };
        while !reader.poll(partition, BATCH, &mut keep)?.is_at_end() {}
    }

    lines.sort();
    Ok(lines)
}

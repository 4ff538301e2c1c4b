//! Runs a job without Kafka, on sample records or on files. Its results are kept in memory.

use std::sync::Arc;
use std::time::Duration;

use record_log::simulated::SimulatedLog;
use record_log::{
    Cleanup, Delivery, LogError, NewRecord, PublishError, Record, RecordLog, TopicSpec,
};
use stream::{AnyPipeline, JobError, Settings, Stop};

use crate::error::CommandError;
use crate::flags::LogFlags;
use crate::generator::Generator;

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

/// Records to try a job with.
pub struct Sample {
    /// The topic; none for the first source topic.
    pub topic: Option<&'static str>,
    /// The records.
    pub records: Vec<SampleRecord>,
}

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
    samples: &[Sample],
    stop: &Stop,
) -> Result<Published, CommandError> {
    let memory = SimulatedLog::default();
    let sources = pipeline.source_topics();
    let create = |topic: &String| TopicSpec {
        name: topic.clone(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3600),
    };

    memory.ensure_topics(&sources.iter().map(create).collect::<Vec<_>>())?;
    for topic in &sources {
        publish(&memory, topic, sample_of(topic, &sources, samples))?;
    }

    run_on(Arc::new(memory.clone()), &memory, pipeline, settings, stop)
}

/// Returns the records for a topic: those that name it, or else, for the first source topic, those that
/// name none.
fn sample_of<'a>(topic: &str, sources: &[String], samples: &'a [Sample]) -> &'a [SampleRecord] {
    let of = |topic: Option<&str>| samples.iter().find(|sample| sample.topic == topic);
    let unnamed = || of(None).filter(|_| sources.first().is_some_and(|first| first == topic));
    let found = of(Some(topic)).or_else(unnamed);
    found.map_or(&[], |sample| &sample.records)
}

/// Runs the job over the files or the generated records that the flags name, to their end.
pub fn run_own_records(
    pipeline: AnyPipeline,
    settings: Settings,
    records: &LogFlags,
    generator: Option<&Generator>,
    stop: &Stop,
) -> Result<Published, CommandError> {
    if !records.ends() {
        let reason = "results of endless records cannot be printed: name the Kafka to publish to (--brokers), or --output";
        return Err(CommandError::Other(reason.into()));
    }

    // A later run could not go on from the checkpoints: the results of this run are lost with its process.
    if !settings.checkpoints.starts_with("memory:") {
        let reason = "without --brokers or --output, the results of all records are printed and no checkpoints are kept: \
                      leave out --checkpoints, or name the place to publish to";
        return Err(CommandError::Other(reason.into()));
    }

    let memory = SimulatedLog::default();
    let sources = pipeline.source_topics();
    let log = records.open_own_records(&sources, generator, Arc::new(memory.clone()))?;
    run_on(log, &memory, pipeline, settings, stop)
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
    let late = pipeline.late_topics().into_iter();
    let late = late.map(|topic| ("late", topic));
    let rejected = pipeline.dead_letter_topics().into_iter();
    let sides = late.chain(rejected.map(|topic| ("rejected", topic)));
    let settings = Settings {
        until_end: true,
        ..settings
    };

    let run = pipeline.on(settings, log)?;
    run.run(stop).map_err(CommandError::Ended)?;

    let warnings = sides.filter_map(|(kind, topic)| {
        let records = memory.records(&topic);
        let first = records.first()?;
        let count = records.len();
        let value = String::from_utf8_lossy(first.value.as_deref().unwrap_or_default());
        let shown: String = value.chars().take(SHOWN_CHARACTERS).collect();
        let reason = reason_of(&first.headers);
        let uncounted = uncounted(count, kind);
        Some(format!("{uncounted}; the first: {reason}: {shown}"))
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

/// Returns the beginning of a warning: "2 late records were not counted".
fn uncounted(count: usize, kind: &str) -> String {
    match count {
        1 => format!("1 {kind} record was not counted"),
        _ => format!("{count} {kind} records were not counted"),
    }
}

/// Returns the reason that the engine has written to the headers of a side output.
fn reason_of(headers: &[(String, Vec<u8>)]) -> String {
    let reason = headers.iter().rfind(|(name, _)| name == "reason");
    reason.map_or_else(String::new, |(_, reason)| {
        String::from_utf8_lossy(reason).into_owned()
    })
}

fn publish(log: &dyn RecordLog, topic: &str, records: &[SampleRecord]) -> Result<(), CommandError> {
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
            // A tombstone has no value to print.
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

//! The topics of a job: creates those that it publishes to, waits for those that it reads, and
//! checks all of them.
//!
//! A compacted topic keeps one record of each key. That is right for summaries, rankings and stages, whose keys name
//! their window, rank or row. It loses data in every other topic: the keys of results, late records, dead letters and
//! source records are shared by many records.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use record_log::{Cleanup, LogError, RecordLog, TopicDescription, TopicSpec};

use crate::attempt::Stop;
use crate::checkpoint::manifest::Fingerprint;
use crate::error::JobError;
use crate::inputs::Inputs;
use crate::job::Pipeline;
use crate::pane::Windows;
use crate::settings::Settings;

/// The number of partitions of the topics that a job creates.
const PARTITIONS: u32 = 4;
/// The interval at which the job checks whether the source topic exists.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The time after which a missing source topic is reported. A program that starts the job may create the topic at the same
/// time.
const REPORT_AFTER: Duration = Duration::from_millis(500);

/// Creates the topics that the job publishes to, if they do not exist.
///
/// # Errors
/// [`LogError::Unavailable`].
pub fn ensure<K, A>(
    log: &dyn RecordLog,
    pipeline: &Pipeline<K, A>,
    settings: &Settings,
) -> Result<(), LogError> {
    log.ensure_topics(&published(pipeline, settings))
}

/// Returns the topics that the job publishes to, as it creates them.
pub fn published<K, A>(pipeline: &Pipeline<K, A>, settings: &Settings) -> Vec<TopicSpec> {
    let spec = |name: &str, cleanup| TopicSpec {
        name: name.to_owned(),
        partitions: PARTITIONS,
        cleanup,
        retention: settings.results_retention,
    };

    let deleted = results(pipeline).chain(pipeline.inputs.side_topics());
    // A log refuses to create a topic twice.
    let deleted: BTreeSet<&str> = deleted.collect();
    let mut specs: Vec<TopicSpec> = deleted
        .into_iter()
        .map(|topic| spec(topic, Cleanup::Delete))
        .collect();
    let views = pipeline.views();
    specs.extend(views.map(|topic| spec(topic, Cleanup::CompactAndDelete)));

    specs
}

/// Returns the topics that must keep every record: those of source records, results and side
/// outputs.
pub fn kept<K, A>(pipeline: &Pipeline<K, A>) -> Vec<String> {
    let inputs = &pipeline.inputs;
    let sides = inputs.side_topics();
    let all = inputs.names().chain(results(pipeline)).chain(sides);
    all.map(str::to_owned).collect()
}

/// Returns the topics of results.
fn results<K, A>(pipeline: &Pipeline<K, A>) -> impl Iterator<Item = &str> {
    let branches = pipeline.branches().iter().map(String::as_str);
    std::iter::once(&*pipeline.results.topic).chain(branches)
}

/// Checks that the job publishes to no topic that it reads, and that results, side outputs and views have topics of
/// their own. Late and rejected records may share one: their headers distinguish them.
///
/// # Errors
/// [`JobError::Settings`] with the topic.
pub fn validate<K, A>(pipeline: &Pipeline<K, A>) -> Result<(), JobError> {
    let job = &pipeline.name;
    let inputs = &pipeline.inputs;
    let results: BTreeSet<&str> = results(pipeline).collect();
    let published = results.into_iter().chain(inputs.side_topics());

    let mut taken = BTreeSet::new();
    for topic in published.chain(pipeline.views()) {
        if inputs.names().any(|source| source == topic) {
            return Err(JobError::Settings(format!(
                "job {job:?} reads topic {topic:?} and publishes to it, so it would read its own records without end: \
                 name another topic"
            )));
        }
        if !taken.insert(topic) {
            return Err(JobError::Settings(format!(
                "job {job:?} publishes records of several kinds to topic {topic:?}: give results, summaries and side \
                 outputs topics of their own"
            )));
        }
    }
    Ok(())
}

/// Rejects topics that lose records by compaction, and logs the properties of the source topic.
///
/// # Errors
/// [`JobError::Settings`] with the command that repairs the topic; [`JobError::Log`].
pub fn check<K, A>(
    log: &dyn RecordLog,
    pipeline: &Pipeline<K, A>,
    settings: &Settings,
) -> Result<(), JobError> {
    let inputs = &pipeline.inputs;
    for topic in &kept(pipeline) {
        let described = match log.describe(topic) {
            Err(error @ LogError::Refused(_)) => {
                tracing::warn!(topic, %error, "the topic's cleanup.policy cannot be checked");
                continue;
            }
            described => described?,
        };

        if inputs.names().any(|source| source == topic) {
            show(topic, &described);
        }

        let Some(loss) = loss(topic, &described) else {
            continue;
        };
        if !settings.allow_compaction {
            return Err(JobError::Settings(loss));
        }

        tracing::warn!(topic, "{loss}");
    }
    Ok(())
}

/// Logs in one line the settings of the source topic on which results depend.
fn show(topic: &str, described: &TopicDescription) {
    tracing::info!(
        topic,
        log_time_type = described.log_time_type.setting(),
        record_limit_bytes = described.record_limit.bytes,
        cleanup_policy = described.cleanup.policy(),
        retention_ms = described.retention.map(|retention| retention.as_millis()),
        "the source topic's settings"
    );
}

/// Returns whether the topic may lose single records, as compacted topics do. A topic that the log does not describe
/// counts as one of them.
///
/// # Errors
/// [`LogError::Unavailable`], [`LogError::UnknownTopic`].
pub fn may_lose_records(log: &dyn RecordLog, topic: &str) -> Result<bool, LogError> {
    match log.describe(topic) {
        // `check` has logged that the topic cannot be described.
        Err(LogError::Refused(_)) => Ok(true),
        described => Ok(described?.cleanup != Cleanup::Delete),
    }
}

/// Returns a sentence about the records that the topic loses by compaction from now on, with the
/// remedy; none if it loses none, or if the log does not describe it now.
pub fn loss_now(log: &dyn RecordLog, topic: &str) -> Option<String> {
    loss(topic, &log.describe(topic).ok()?)
}

/// Returns a sentence about the progress of publishers that the log's topic loses from now on, with the remedy; none if it
/// loses none, or if the log does not describe it now.
pub fn progress_loss_now(log: &dyn RecordLog, topic: &str) -> Option<String> {
    let described = log.describe(topic).ok()?;
    if described.cleanup == Cleanup::Compact {
        return None;
    }

    let policy = described.cleanup.policy();
    Some(format!(
        "topic {topic:?} has cleanup.policy={policy}, which loses the progress of publishers in time, so that the next start \
         replaces results: run kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name {topic} \
         --add-config cleanup.policy=compact"
    ))
}

/// Returns a sentence about the records that the topic loses, with the remedy; none if it loses none.
fn loss(topic: &str, described: &TopicDescription) -> Option<String> {
    if described.cleanup == Cleanup::Delete {
        return None;
    }

    let policy = described.cleanup.policy();
    Some(format!(
        "topic {topic:?} has cleanup.policy={policy}, which keeps one record of each key and loses the others: run \
         kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name {topic} \
         --add-config cleanup.policy=delete, or go on with --allow-compaction"
    ))
}

/// Returns the fingerprint of a job that reads these topics, without types, reach and skew.
pub fn fingerprint(inputs: &Inputs, windows: &Windows) -> Fingerprint {
    let mut names = inputs.names();
    let first = names.next().unwrap_or_default();
    let more = names.map(str::to_owned).collect();

    Fingerprint::new(first, windows).reading(more)
}

/// Returns the numbers of partitions of the source topics. A job that runs without end waits until
/// all topics exist; none if it is stopped while it waits.
///
/// # Errors
/// [`LogError::UnknownTopic`] if the job is to read to the topics' ends and one does not exist;
/// [`LogError::Unavailable`].
pub fn await_all_partitions(
    log: &dyn RecordLog,
    inputs: &Inputs,
    is_to_end: bool,
    stop: &Stop,
) -> Result<Option<Vec<u32>>, LogError> {
    let counts = inputs
        .names()
        .map(|topic| await_partitions(log, topic, is_to_end, stop));
    counts.collect()
}

/// Returns the number of partitions of a topic, once it exists.
fn await_partitions(
    log: &dyn RecordLog,
    topic: &str,
    is_to_end: bool,
    stop: &Stop,
) -> Result<Option<u32>, LogError> {
    let begun = Instant::now();
    let mut is_logged = false;

    while !stop.is_requested() {
        match log.partitions(topic) {
            Err(LogError::UnknownTopic(_)) if !is_to_end => {
                let is_due = begun.elapsed() >= REPORT_AFTER;
                if is_due && !std::mem::replace(&mut is_logged, true) {
                    tracing::warn!(
                        topic,
                        "the source topic does not exist; waiting for it to be created"
                    );
                }
                std::thread::sleep(LOOK_EVERY);
            }
            answer => return answer.map(Some),
        }
    }

    Ok(None)
}

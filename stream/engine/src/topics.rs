//! The topics of a job: those that it publishes to are made, the one that it reads is waited for.

use std::time::Duration;

use record_log::{Cleanup, LogError, RecordLog, TopicSpec};

use crate::attempt::Stop;
use crate::job::Pipeline;

/// Partitions of the topics that a job makes.
const PARTITIONS: u32 = 4;
/// How long results, late records and dead letters are kept.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often it is looked whether the topic to be read has come to be.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Makes the topics that the job publishes to, where they do not exist.
///
/// # Errors
/// [`LogError::Unavailable`].
pub fn ensure<K, A>(log: &dyn RecordLog, pipeline: &Pipeline<K, A>) -> Result<(), LogError> {
    let spec = |name: &str, cleanup| TopicSpec {
        name: name.to_owned(),
        partitions: PARTITIONS,
        cleanup,
        retention: RETENTION,
    };
    let mut specs = vec![
        spec(&pipeline.results.topic, Cleanup::CompactAndDelete),
        spec(&pipeline.late_topic, Cleanup::Delete),
        spec(&pipeline.dead_letter_topic, Cleanup::Delete),
    ];
    specs.extend(
        pipeline
            .summary
            .iter()
            .map(|summary| spec(&summary.destination.topic, Cleanup::CompactAndDelete)),
    );
    log.ensure_topics(&specs)
}

/// How many partitions the topic has. A job that reads on and on waits for it to come to be; none when stopped.
///
/// # Errors
/// [`LogError::UnknownTopic`] when the job is to end with the topic; [`LogError::Unavailable`].
pub fn await_partitions(
    log: &dyn RecordLog,
    topic: &str,
    is_to_end: bool,
    stop: &Stop,
) -> Result<Option<u32>, LogError> {
    let mut has_told = false;
    while !stop.is_requested() {
        match log.partitions(topic) {
            Err(LogError::UnknownTopic(_)) if !is_to_end => {
                if !std::mem::replace(&mut has_told, true) {
                    tracing::info!(topic, "waiting for the topic to be created");
                }
                std::thread::sleep(LOOK_EVERY);
            }
            answer => return answer.map(Some),
        }
    }
    Ok(None)
}

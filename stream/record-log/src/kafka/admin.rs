//! Operations other than reading and publishing, through the safe clients of the `rdkafka` crate.

mod groups;
mod ranges;
mod waiting;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use self::waiting::Waiting;
use super::errors::{self, About};
use super::progress;
use super::settings::{BUFFER_BYTES, Settings};
use super::{CALL_LIMIT, to_kafka_partition};
use crate::created::await_listed;
use crate::refusal::ASSUMED_LIMIT;
use crate::runtime::System;
use crate::{Cleanup, LogError, LogTimeType, RecordLimit, Refusal, TopicDescription, TopicSpec};

/// The time limit for the event with the reason why a connection was closed.
const EVENT_WAIT: Duration = Duration::from_millis(200);
/// The pause between requests about a topic's leader or a group's coordinator until the brokers have it.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// The size of the segments of a compacted topic: 4 MiB.
pub(crate) const COMPACTED_SEGMENT_BYTES: &str = "4194304";
/// The age at which a segment of a compacted topic is closed: a day.
pub(crate) const COMPACTED_SEGMENT_MS: &str = "86400000";

pub(super) struct Admin {
    settings: Settings,
    client: BaseConsumer,
    waiting: Waiting,
    /// A client that sees uncommitted records; it is created when it is needed.
    uncommitted: Mutex<Option<Arc<BaseConsumer>>>,
    /// The topics that this process created or found because it publishes to them.
    written: Mutex<BTreeSet<String>>,
    /// A client for each group whose positions were read or stored; it is kept for the next call.
    /// None of these clients joins its group.
    groups: Mutex<HashMap<String, Arc<BaseConsumer>>>,
    /// `true` if the brokers rejected the client's login and no call has succeeded since.
    is_stranger: AtomicBool,
}

impl Admin {
    pub(super) fn new(settings: Settings) -> Result<Self, LogError> {
        let client = settings.admin().create().map_err(refused)?;
        Ok(Self {
            settings,
            client,
            waiting: Waiting::default(),
            uncommitted: Mutex::default(),
            written: Mutex::default(),
            groups: Mutex::default(),
            is_stranger: AtomicBool::new(false),
        })
    }

    pub(super) fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let names = topics.iter().map(|spec| spec.name.clone());
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(names);

        let mut missing = Vec::new();
        for spec in topics {
            match self.partitions(&spec.name) {
                Ok(_) => {}
                Err(LogError::UnknownTopic(_)) => missing.push(spec),
                Err(error) => return Err(error),
            }
        }

        if missing.is_empty() {
            return Ok(());
        }

        self.create_topics(&missing)?;
        missing
            .iter()
            .try_for_each(|spec| await_listed(&System, &spec.name, |topic| self.partitions(topic)))
    }

    fn create_topics(&self, specs: &[&TopicSpec]) -> Result<(), LogError> {
        let admin: AdminClient<DefaultClientContext> =
            self.settings.admin().create().map_err(refused)?;
        let retentions: Vec<String> = specs
            .iter()
            .map(|spec| spec.retention.as_millis().to_string())
            .collect();

        let topics: Vec<NewTopic<'_>> = specs
            .iter()
            .zip(&retentions)
            .map(|(spec, retention_ms)| new_topic(spec, retention_ms))
            .collect();

        let options = AdminOptions::new()
            .request_timeout(Some(CALL_LIMIT))
            .operation_timeout(Some(CALL_LIMIT));

        for result in block_on(admin.create_topics(&topics, &options)).map_err(unavailable)? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, RDKafkaErrorCode::InvalidTopic)) => {
                    return Err(LogError::Settings(
                        format!("{name:?} is not a valid name of a Kafka topic").into(),
                    ));
                }
                Err((name, code)) => {
                    let about = About::Topic {
                        right: "CREATE",
                        topic: &name,
                    };
                    return Err(errors::log_error(
                        Some(code),
                        about,
                        KafkaError::AdminOp(code),
                    ));
                }
            }
        }

        Ok(())
    }

    /// Waits until the brokers list a topic that was just created, and the leaders of its
    /// partitions.
    pub(super) fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let _in_progress = self.waiting.begin();
        let partitions = patiently(|| self.led_partitions(topic));
        if partitions.is_ok() {
            self.is_stranger.store(false, Ordering::Relaxed);
        }

        partitions.map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic) => {
                LogError::UnknownTopic(topic.to_owned())
            }
            _ => self.failed(error, described(topic)),
        })
    }

    /// Returns why a call waits for brokers; none if none takes long.
    pub(super) fn obstacle(&self) -> Option<String> {
        let seconds = self.waiting.longest()?.as_secs();
        let brokers = self.settings.brokers();
        Some(format!(
            "no broker of {brokers} has answered for {seconds} s"
        ))
    }

    /// Returns the error of a call of the client that has no group.
    fn failed(&self, error: KafkaError, about: About<'_>) -> LogError {
        failed(&self.client, &self.is_stranger, error, about)
    }

    pub(super) fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        // Brokers return settings for topics that do not exist, too.
        self.partitions(topic)?;
        let mut described = self.describe_all(&[topic])?;
        described
            .remove(topic)
            .ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))
    }

    /// Returns the settings of these topics; those that do not exist are absent.
    fn describe_all(&self, topics: &[&str]) -> Result<HashMap<String, TopicDescription>, LogError> {
        let admin: AdminClient<DefaultClientContext> =
            self.settings.admin().create().map_err(refused)?;
        let resources: Vec<_> = topics
            .iter()
            .map(|topic| ResourceSpecifier::Topic(topic))
            .collect();

        let options = AdminOptions::new().request_timeout(Some(CALL_LIMIT));
        let answers = block_on(admin.describe_configs(&resources, &options))
            .map_err(|error| self.failed(error, described(&topics.join(", "))))?;
        let mut found = HashMap::new();

        for (topic, answer) in topics.iter().zip(answers) {
            match answer {
                // The client drops the error of a topic. A topic without settings may not be
                // described.
                Ok(settings) if settings.entries.is_empty() => {
                    let denied = Refusal::denied("DESCRIBE_CONFIGS", "topic", topic);
                    return Err(LogError::Refused(denied));
                }
                Ok(settings) => {
                    let all = settings.entry_map();
                    let value = |name: &str| all.get(name)?.value.as_deref();
                    found.insert((*topic).to_owned(), description(value));
                }
                Err(RDKafkaErrorCode::UnknownTopicOrPartition) => {}
                Err(code) => {
                    let about = About::Topic {
                        right: "DESCRIBE_CONFIGS",
                        topic,
                    };
                    let error = KafkaError::AdminOp(code);
                    return Err(errors::log_error(Some(code), about, error));
                }
            }
        }

        Ok(found)
    }

    /// Returns the limits of the topics that this process publishes to, as far as it may read them.
    ///
    /// # Errors
    /// [`LogError::Refused`] if the progress topic exists with settings that lose records.
    pub(super) fn limits(&self) -> Result<Limits, LogError> {
        let written = self
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();

        let mut limits = HashMap::new();
        for topic in &written {
            match self.describe(topic) {
                Ok(described) => {
                    progress::check_topic(topic, &described)?;
                    limits.insert(topic.clone(), described.record_limit);
                }
                Err(error) => {
                    let assumed_bytes = ASSUMED_LIMIT.bytes;
                    tracing::warn!(topic, %error, assumed_bytes, "a topic's limit cannot be read and is assumed");
                }
            }
        }

        Ok(Limits(Arc::new(limits)))
    }

    /// Returns the number of the topic's partitions, once each has a leader.
    fn led_partitions(&self, topic: &str) -> Result<u32, KafkaError> {
        let metadata = self.client.fetch_metadata(Some(topic), CALL_LIMIT)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.ok_or(KafkaError::MetadataFetch(
            RDKafkaErrorCode::UnknownTopicOrPartition,
        ))?;

        if let Some(code) = found.error() {
            return Err(KafkaError::MetadataFetch(code.into()));
        }

        if found.partitions().is_empty()
            || found
                .partitions()
                .iter()
                .any(|partition| partition.leader() < 0)
        {
            return Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::LeaderNotAvailable,
            ));
        }

        Ok(u32::try_from(found.partitions().len()).unwrap_or(u32::MAX))
    }
}

/// Returns a topic whose records are stamped by the broker, with the brokers' default number of
/// replicas.
fn new_topic<'a>(spec: &'a TopicSpec, retention_ms: &'a str) -> NewTopic<'a> {
    let cleanup = spec.cleanup.policy();
    let topic = NewTopic::new(
        &spec.name,
        to_kafka_partition(spec.partitions),
        TopicReplication::Fixed(-1),
    )
    .set("cleanup.policy", cleanup)
    .set("message.timestamp.type", "LogAppendTime");

    if spec.cleanup != Cleanup::Compact {
        return topic.set("retention.ms", retention_ms);
    }

    // Only closed segments are compacted. Small ones keep the topic small and quick to read from
    // its start.
    topic
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1")
        .set("segment.bytes", COMPACTED_SEGMENT_BYTES)
        .set("segment.ms", COMPACTED_SEGMENT_MS)
        .set("min.cleanable.dirty.ratio", "0.1")
}

/// Repeats the call within the time limit, as long as its error is transient.
fn patiently<T>(call: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let deadline = Instant::now() + CALL_LIMIT;
    loop {
        match call() {
            Err(error) if is_passing(&error) && Instant::now() < deadline => {
                std::thread::sleep(ASK_INTERVAL);
            }
            outcome => return outcome,
        }
    }
}

/// Returns the error of a call in the log's terms. A rejected login, or a group that does not admit the client,
/// shows only in its events.
fn failed(
    client: &BaseConsumer,
    is_stranger: &AtomicBool,
    error: KafkaError,
    about: About<'_>,
) -> LogError {
    let mut code = error.rdkafka_error_code();
    let is_lost = is_lost(code);
    // A connection that the brokers closed fails the call a moment before the event with the reason.
    let mut wait = if is_lost { EVENT_WAIT } else { Duration::ZERO };

    while let Some(Err(event)) = client.poll(wait) {
        let found = event.rdkafka_error_code();
        match found {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                is_stranger.store(true, Ordering::Relaxed);
                code = found;
                wait = Duration::ZERO;
            }
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => code = found,
            _ => {}
        }
    }

    // The event comes once, and every later call fails without it.
    if is_lost && is_stranger.load(Ordering::Relaxed) {
        code = Some(RDKafkaErrorCode::Authentication);
    }

    errors::log_error(code, about, error)
}

/// Returns `true` if a call failed because no broker could be reached.
fn is_lost(code: Option<RDKafkaErrorCode>) -> bool {
    matches!(
        code,
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
        )
    )
}

/// Returns the subject of a request that describes a topic.
fn described(topic: &str) -> About<'_> {
    About::Topic {
        right: "DESCRIBE",
        topic,
    }
}

/// The limits of topics that a publisher writes to.
#[derive(Clone)]
pub(super) struct Limits(Arc<HashMap<String, RecordLimit>>);

impl Limits {
    /// The limit of a topic.
    pub(super) fn of(&self, topic: &str) -> RecordLimit {
        self.0.get(topic).copied().unwrap_or(ASSUMED_LIMIT)
    }

    /// The smallest limit that is known.
    pub(super) fn smallest(&self) -> Option<usize> {
        self.0.values().map(|limit| limit.bytes).min()
    }
}

/// Describes a topic by its settings, given by name.
pub(crate) fn description<'a>(value: impl Fn(&str) -> Option<&'a str>) -> TopicDescription {
    let policy = value("cleanup.policy").unwrap_or("delete");
    let cleanup = match (policy.contains("compact"), policy.contains("delete")) {
        (true, true) => Cleanup::CompactAndDelete,
        (true, false) => Cleanup::Compact,
        (false, _) => Cleanup::Delete,
    };

    let retention_ms = value("retention.ms").and_then(|text| text.parse().ok());
    let limit_bytes = value("max.message.bytes").and_then(|text| text.parse().ok());
    TopicDescription {
        log_time_type: match value("message.timestamp.type") {
            Some("LogAppendTime") => LogTimeType::Append,
            _ => LogTimeType::Create,
        },
        record_limit: limit_bytes.map_or(ASSUMED_LIMIT, limited),
        cleanup,
        retention: retention_ms
            .filter(|_| cleanup != Cleanup::Compact)
            .map(Duration::from_millis),
    }
}

/// The limit of a topic with this `max.message.bytes`. No record is larger than the publisher's
/// buffer.
fn limited(topic_bytes: usize) -> RecordLimit {
    if topic_bytes > BUFFER_BYTES {
        return RecordLimit {
            bytes: BUFFER_BYTES,
            setting: "nothing (a publisher accepts no larger record)",
        };
    }

    RecordLimit {
        bytes: topic_bytes,
        setting: "max.message.bytes",
    }
}

fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::NotLeaderForPartition
        )
    )
}

fn unavailable(error: KafkaError) -> LogError {
    LogError::Unavailable(Box::new(error))
}

fn refused(error: KafkaError) -> LogError {
    LogError::Settings(Box::new(error))
}

//! Administration: topics, offsets, and the positions of groups (`groups`).

#[cfg(test)]
mod decoders;
mod groups;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::api::{Api, CREATE_TOPICS, Code, DESCRIBE_CONFIGS, LIST_OFFSETS};
use super::cluster::{CALL_LIMIT, Cluster, Topic};
use super::codec::{Input, Malformed, Output};
use super::errors::log_error;
use super::to_kafka_partition;
use super::wire::{Connection, WireError};
use crate::created::await_listed;
use crate::kafka::admin::description;
use crate::kafka::{COMPACTED_SEGMENT_BYTES, COMPACTED_SEGMENT_MS};
use crate::{Cleanup, LogError, Offset, OffsetRange, TopicDescription, TopicSpec};

/// The quota of creations, in partitions a second.
const CREATION_QUOTA: &str = "controller_mutation_rate";
/// The timestamps that request the two ends of a partition.
const OLDEST: i64 = -2;
const NEWEST: i64 = -1;

/// The end that is requested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Isolation {
    ReadCommitted,
    ReadUncommitted,
}

/// The effect of a request: topics are created, or brokers only check that they could be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Creating {
    Done,
    Tried,
}

pub(super) struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Returns the topic, once each partition has a leader.
    pub fn topic(&self, name: &str) -> Result<Topic, LogError> {
        self.cluster
            .patiently(|| self.cluster.led_topic(name))
            .map_err(log_error)?
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    pub fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(u32::try_from(self.topic(topic)?.leaders.len()).unwrap_or(u32::MAX))
    }

    pub fn describe(&self, topic: &str) -> Result<TopicDescription, LogError> {
        // Brokers answer for topics that do not exist, too.
        self.topic(topic)?;
        let read = |connection: &mut Connection| {
            let ask = |output: &mut Output<'_>| ask_describe(output, topic);
            let (code, settings) = connection.call(
                DESCRIBE_CONFIGS,
                self.cluster.request_limit(),
                ask,
                read_described,
            )?;
            code.check().map_err(|code| {
                connection.refused(DESCRIBE_CONFIGS, format!("topic {topic:?}"), code)
            })?;

            Ok(settings)
        };

        let settings = self
            .cluster
            .patiently(|| self.cluster.at_any(read))
            .map_err(log_error)?;
        Ok(description(|name| settings.get(name).map(String::as_str)))
    }

    pub fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
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

        self.create(&missing, Creating::Done)?;
        let runtime = self.cluster.runtime();
        missing.iter().try_for_each(|spec| {
            await_listed(&**runtime, &spec.name, |topic| self.partitions(topic))
        })
    }

    /// Checks that the topic could be created, without creating it.
    pub fn try_create(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.create(&[spec], Creating::Tried)
    }

    fn create(&self, specs: &[&TopicSpec], creating: Creating) -> Result<(), LogError> {
        let create = |connection: &mut Connection| {
            let (throttled, created) = connection.call(
                CREATE_TOPICS,
                self.cluster.request_limit(),
                |output| ask_create(output, specs, creating),
                read_created,
            )?;

            for (name, code) in created {
                match code {
                    Code::NONE | Code::TOPIC_ALREADY_EXISTS => {}
                    Code::THROTTLING_QUOTA_EXCEEDED => {
                        return Err(WireError::Throttled {
                            broker: connection.broker().clone(),
                            request: CREATE_TOPICS.name,
                            throttled,
                            quota: CREATION_QUOTA,
                        });
                    }
                    code => {
                        let subject = format!("topic {name:?}");
                        return Err(connection.refused(CREATE_TOPICS, subject, code));
                    }
                }
            }

            Ok(())
        };
        self.cluster
            .patiently(|| self.cluster.at_controller(create))
            .map_err(log_error)
    }

    /// Waits until the brokers list a topic that was just created, and the leaders of its partitions.
    /// Returns the ranges of offsets. The ends are the last stable offsets.
    pub fn offsets(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        self.ranges(topic, Isolation::ReadCommitted)
    }

    /// Returns the ranges of offsets. The ends are those of all written records, committed or not.
    pub fn written(&self, topic: &str) -> Result<Vec<OffsetRange>, LogError> {
        self.ranges(topic, Isolation::ReadUncommitted)
    }

    fn ranges(&self, topic: &str, isolation: Isolation) -> Result<Vec<OffsetRange>, LogError> {
        self.topic(topic)?;
        let ranges = self.cluster.patiently(|| {
            let found = self.cluster.led_topic(topic)?;
            let found = found.ok_or_else(|| WireError::NoLeader(format!("topic {topic:?}")))?;
            let starts = self.list(topic, &found, OLDEST, isolation)?;
            let ends = self.list(topic, &found, NEWEST, isolation)?;
            Ok(starts.into_iter().zip(ends).collect::<Vec<_>>())
        });
        let ranges = ranges.map_err(log_error)?.into_iter();

        Ok(ranges
            .map(|(start, end)| OffsetRange { start, end })
            .collect())
    }

    /// Requests one end of each partition, with one request to each leader.
    fn list(
        &self,
        name: &str,
        topic: &Topic,
        which: i64,
        isolation: Isolation,
    ) -> Result<Vec<Offset>, WireError> {
        let mut by_node: BTreeMap<i32, Vec<(i32, i32)>> = BTreeMap::new();
        for (partition, leader) in (0..).zip(&topic.leaders) {
            by_node
                .entry(leader.node)
                .or_default()
                .push((partition, leader.epoch));
        }

        let mut offsets = vec![0; topic.leaders.len()];
        for (node, asked) in by_node {
            let listed = self.cluster.at_node(node, |connection| {
                let ask = |output: &mut Output<'_>| {
                    ask_list(output, isolation);
                    ask_listed(output, name, &asked, which);
                };
                let listed = connection.call(
                    LIST_OFFSETS,
                    self.cluster.request_limit(),
                    ask,
                    read_partitions,
                )?;
                all_found(connection, LIST_OFFSETS, name, &listed)?;
                Ok(listed)
            })?;
            for found in listed {
                let at = usize::try_from(found.partition).ok();
                if let Some(offset) = at.and_then(|at| offsets.get_mut(at)) {
                    *offset = found.offset.max(0).cast_unsigned();
                }
            }
        }

        Ok(offsets)
    }
}

/// A broker's answer for a partition.
pub(super) struct Found {
    pub partition: i32,
    pub offset: i64,
    pub code: Code,
}

fn all_found(
    connection: &Connection,
    api: Api,
    topic: &str,
    found: &[Found],
) -> Result<(), WireError> {
    match found.iter().find(|found| found.code != Code::NONE) {
        Some(Found {
            partition, code, ..
        }) => {
            let subject = match code.is_denial() {
                true => format!("topic {topic:?}"),
                false => format!("partition {partition} of topic {topic:?}"),
            };
            Err(connection.refused(api, subject, *code))
        }
        None => Ok(()),
    }
}

fn ask_describe(output: &mut Output<'_>, topic: &str) {
    const TOPIC: i8 = 2;

    output.length(1);
    output.i8(TOPIC);
    output.string(topic);
    // All settings: null.
    output.unsigned(0);
    output.no_tags();

    // Neither synonyms nor documentation.
    output.bool(false);
    output.bool(false);
    output.no_tags();
}

fn read_described(input: &mut Input<'_>) -> Result<(Code, HashMap<String, String>), Malformed> {
    input.i32()?;
    let mut described = input.array(|topic| {
        let code = Code(topic.i16()?);
        topic.nullable_string()?;
        topic.i8()?;
        topic.string()?;

        let settings = topic.array(read_setting)?;
        topic.skip_tags()?;
        Ok((code, settings))
    })?;
    input.skip_tags()?;

    let (code, settings) = described.pop().ok_or(Malformed("the topic is missing"))?;
    Ok((code, settings.into_iter().flatten().collect()))
}

/// Reads a setting. Returns its name and value, if brokers show the value.
fn read_setting(input: &mut Input<'_>) -> Result<Option<(String, String)>, Malformed> {
    let name = input.string()?.to_owned();
    let value = input.nullable_string()?.map(str::to_owned);
    // Three bytes: is read-only, source, is sensitive.
    input.take(3)?;

    input.array(|synonym| {
        synonym.string()?;
        synonym.nullable_string()?;
        synonym.i8()?;
        synonym.skip_tags()
    })?;

    input.i8()?;
    input.nullable_string()?;
    input.skip_tags()?;
    Ok(value.map(|value| (name, value)))
}

/// Writes a request for topics whose records are stamped by the broker, with the brokers' default number of replicas.
fn ask_create(output: &mut Output<'_>, specs: &[&TopicSpec], creating: Creating) {
    output.array(specs.iter(), |output, spec| {
        output.string(&spec.name);
        output.i32(to_kafka_partition(spec.partitions));
        output.i16(-1);
        output.length(0);

        output.array(topic_settings(spec).into_iter(), |output, (name, value)| {
            output.string(name);
            output.string(&value);
            output.no_tags();
        });
        output.no_tags();
    });

    output.i32(i32::try_from(CALL_LIMIT.as_millis()).unwrap_or(i32::MAX));
    output.bool(creating == Creating::Tried);
    output.no_tags();
}

/// Returns the settings of a topic. A topic that is only compacted is never deleted from, by any default of the
/// brokers.
fn topic_settings(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let (cleanup, retention_ms) = match spec.cleanup {
        Cleanup::Delete => ("delete", spec.retention.as_millis().to_string()),
        Cleanup::CompactAndDelete => ("compact,delete", spec.retention.as_millis().to_string()),
        Cleanup::Compact => ("compact", "-1".to_owned()),
    };

    let mut settings = vec![
        ("cleanup.policy", cleanup.to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("retention.ms", retention_ms),
    ];

    if spec.cleanup == Cleanup::Compact {
        // Only closed segments are compacted, so small ones keep the topic small, and quick to read from its beginning.
        let compacted = [
            ("retention.bytes", "-1"),
            ("segment.bytes", COMPACTED_SEGMENT_BYTES),
            ("segment.ms", COMPACTED_SEGMENT_MS),
            ("min.cleanable.dirty.ratio", "0.1"),
        ];
        settings.extend(compacted.map(|(name, value)| (name, value.to_owned())));
    }

    settings
}

/// The time for which the broker throttles the client, and the outcome for each topic.
fn read_created(input: &mut Input<'_>) -> Result<(Duration, Vec<(String, Code)>), Malformed> {
    let throttled_ms = u64::try_from(input.i32()?).unwrap_or(0);
    let created = input.array(|topic| {
        let name = topic.string()?.to_owned();
        let code = Code(topic.i16()?);
        topic.nullable_string()?;
        topic.i32()?;
        topic.i16()?;

        topic.array(|setting| {
            setting.string()?;
            setting.nullable_string()?;
            setting.take(3)?;
            setting.skip_tags()
        })?;

        topic.skip_tags()?;
        Ok((name, code))
    })?;

    input.skip_tags()?;
    Ok((Duration::from_millis(throttled_ms), created))
}

/// Writes a request for the ends of all written records, committed or not, of partitions with the epochs of their
/// leaders.
pub(super) fn ask_written_ends(output: &mut Output<'_>, topic: &str, partitions: &[(i32, i32)]) {
    ask_list(output, Isolation::ReadUncommitted);
    ask_listed(output, topic, partitions, NEWEST);
}

fn ask_list(output: &mut Output<'_>, isolation: Isolation) {
    output.i32(-1);
    output.i8(i8::from(isolation == Isolation::ReadCommitted));
}

fn ask_listed(output: &mut Output<'_>, topic: &str, partitions: &[(i32, i32)], which: i64) {
    one_topic(output, topic, partitions, |output, (partition, epoch)| {
        output.i32(*partition);
        output.i32(*epoch);
        output.i64(which);
        output.no_tags();
    });
    output.no_tags();
}

/// Writes an array of one topic with an array of its partitions.
fn one_topic<T>(
    output: &mut Output<'_>,
    topic: &str,
    partitions: &[T],
    mut partition: impl FnMut(&mut Output<'_>, &T),
) {
    output.length(1);
    output.string(topic);
    output.length(partitions.len());
    partitions.iter().for_each(|item| partition(output, item));
    output.no_tags();
}

/// Reads the partitions in an answer. They are of one topic, because each request is for one topic.
fn read_topics(
    input: &mut Input<'_>,
    mut partition: impl FnMut(&mut Input<'_>) -> Result<Found, Malformed>,
) -> Result<Vec<Found>, Malformed> {
    let topics = input.array(|topic| {
        topic.string()?;
        let found = topic.array(&mut partition)?;
        topic.skip_tags()?;
        Ok(found)
    })?;
    Ok(topics.into_iter().flatten().collect())
}

pub(super) fn read_partitions(input: &mut Input<'_>) -> Result<Vec<Found>, Malformed> {
    input.i32()?;
    let found = read_topics(input, |listed| {
        let partition = listed.i32()?;
        let code = Code(listed.i16()?);
        listed.i64()?;

        let offset = listed.i64()?;
        listed.i32()?;
        listed.skip_tags()?;

        Ok(Found {
            partition,
            offset,
            code,
        })
    })?;

    input.skip_tags()?;
    Ok(found)
}

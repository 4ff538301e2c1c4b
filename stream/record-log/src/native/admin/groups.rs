//! Positions of groups, which the groups' coordinators keep.

use super::{Admin, Found, all_found, one_topic, read_topics};
use crate::native::api::{Api, Code, OFFSET_COMMIT, OFFSET_FETCH};
use crate::native::cluster::Coordinates;
use crate::native::codec::{Input, Malformed, Output};
use crate::native::errors::log_error;
use crate::native::wire::{Connection, WireError};
use crate::native::{to_kafka, to_kafka_partition};
use crate::{LogError, Offset};

impl Admin {
    pub fn committed(&self, group: &str, topic: &str) -> Result<Vec<(u32, Offset)>, LogError> {
        let partitions = match self.partitions(topic) {
            Err(LogError::UnknownTopic(_)) => return Ok(Vec::new()),
            partitions => partitions?,
        };

        let fetched = self.at_coordinator(group, |connection| {
            let ask = |output: &mut Output<'_>| ask_committed(output, group, topic, partitions);
            let (found, code) = connection.call(
                OFFSET_FETCH,
                self.cluster.request_limit(),
                ask,
                read_committed,
            )?;
            code.check().map_err(|code| {
                connection.refused(OFFSET_FETCH, format!("group {group:?}"), code)
            })?;
            all_taken(connection, OFFSET_FETCH, (group, topic), &found)?;

            Ok(found)
        })?;

        // An offset of -1 means that there is no position.
        let positions = fetched.into_iter().filter(|found| found.offset >= 0);
        let position = |found: Found| {
            (
                found.partition.cast_unsigned(),
                found.offset.cast_unsigned(),
            )
        };
        Ok(positions.map(position).collect())
    }

    pub fn commit(&self, group: &str, topic: &str, next: &[(u32, Offset)]) -> Result<(), LogError> {
        if next.is_empty() {
            return Ok(());
        }
        self.at_coordinator(group, |connection| {
            let ask = |output: &mut Output<'_>| ask_commit(output, group, topic, next);
            let answered = connection.call(
                OFFSET_COMMIT,
                self.cluster.request_limit(),
                ask,
                read_commit,
            )?;
            all_taken(connection, OFFSET_COMMIT, (group, topic), &answered)
        })
    }

    fn at_coordinator<T>(
        &self,
        group: &str,
        call: impl Fn(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, LogError> {
        let found = self.cluster.patiently(|| {
            let address = self.cluster.coordinator(Coordinates::Group, group)?;
            self.cluster.at(&address, &call)
        });
        found.map_err(log_error)
    }
}

/// Fails if a position was refused. The refusal may be for the group or for the topic.
fn all_taken(
    connection: &Connection,
    api: Api,
    (group, topic): (&str, &str),
    found: &[Found],
) -> Result<(), WireError> {
    let of_group = found.iter().find_map(|found| {
        let subject = match found.code {
            Code::GROUP_AUTHORIZATION_FAILED => format!("group {group:?}"),
            // A group that has members accepts positions only from these.
            Code::UNKNOWN_MEMBER_ID => {
                format!(
                    "group {group:?} (another application is a member of it: rename one of the two)"
                )
            }
            _ => return None,
        };
        Some(connection.refused(api, subject, found.code))
    });

    match of_group {
        Some(refused) => Err(refused),
        None => all_found(connection, api, topic, found),
    }
}

fn ask_committed(output: &mut Output<'_>, group: &str, topic: &str, partitions: u32) {
    output.string(group);
    output.length(1);
    output.string(topic);

    let partitions: Vec<u32> = (0..partitions).collect();
    output.array(partitions.iter(), |output, partition| {
        output.i32(to_kafka_partition(*partition));
    });
    output.no_tags();

    // Wait for positions that a transaction is about to commit.
    output.bool(true);
    output.no_tags();
}

pub(super) fn read_committed(input: &mut Input<'_>) -> Result<(Vec<Found>, Code), Malformed> {
    input.i32()?;
    let found = read_topics(input, |fetched| {
        let partition = fetched.i32()?;
        let offset = fetched.i64()?;
        fetched.i32()?;
        fetched.nullable_string()?;

        let code = Code(fetched.i16()?);
        fetched.skip_tags()?;
        Ok(Found {
            partition,
            offset,
            code,
        })
    })?;

    let code = Code(input.i16()?);
    input.skip_tags()?;
    Ok((found, code))
}

fn ask_commit(output: &mut Output<'_>, group: &str, topic: &str, next: &[(u32, Offset)]) {
    output.string(group);
    // The group has no members.
    output.i32(-1);
    output.string("");
    output.nullable_string(None);

    one_topic(output, topic, next, |output, (partition, offset)| {
        output.i32(to_kafka_partition(*partition));
        output.i64(to_kafka(*offset));
        output.i32(-1);
        output.nullable_string(None);
        output.no_tags();
    });
    output.no_tags();
}

pub(super) fn read_commit(input: &mut Input<'_>) -> Result<Vec<Found>, Malformed> {
    input.i32()?;
    let found = read_topics(input, |committed| {
        let partition = committed.i32()?;
        let code = Code(committed.i16()?);
        committed.skip_tags()?;

        Ok(Found {
            partition,
            offset: -1,
            code,
        })
    })?;

    input.skip_tags()?;
    Ok(found)
}

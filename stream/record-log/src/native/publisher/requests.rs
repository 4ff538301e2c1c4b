//! The requests of a publisher: InitProducerId, AddPartitionsToTxn, Produce and EndTxn.

use std::time::Duration;

use super::identity::{Identity, Outcome};
use crate::native::api::Code;
use crate::native::codec::{Input, Malformed, Output};
use crate::native::to_kafka_partition;

/// A batch in a Produce request.
pub(super) struct Produced<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub batch: &'a [u8],
}

/// A broker's answer for a partition.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Answered {
    pub topic: String,
    pub partition: u32,
    pub code: Code,
    /// The broker's message with the code.
    pub message: Option<String>,
}

/// The answer to a Produce request.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Acknowledged {
    pub answered: Vec<Answered>,
    /// The time for which the broker reads nothing from this client, because it sent too much.
    pub throttled: Duration,
}

/// Writes a request for a producer id. A publisher that has an id names it, so that it does not fence a newer holder by
/// mistake.
pub(super) fn ask_identity(
    output: &mut Output<'_>,
    id: Option<&str>,
    timeout_ms: i32,
    known: Identity,
) {
    output.nullable_string(id);
    output.i32(timeout_ms);
    output.i64(known.id);
    output.i16(known.epoch);
    output.no_tags();
}

pub(super) fn read_identity(input: &mut Input<'_>) -> Result<(Code, Identity), Malformed> {
    input.i32()?;
    let code = Code(input.i16()?);
    let identity = Identity::read(input)?;
    input.skip_tags()?;
    Ok((code, identity))
}

impl Identity {
    fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: input.i64()?,
            epoch: input.i16()?,
        })
    }

    fn write(self, output: &mut Output<'_>) {
        output.i64(self.id);
        output.i16(self.epoch);
    }
}

pub(super) fn ask_add(
    output: &mut Output<'_>,
    id: &str,
    identity: Identity,
    partitions: &[(&str, u32)],
) {
    output.string(id);
    identity.write(output);
    // The protocol allows a topic to be named several times.
    output.array(partitions.iter(), |output, (topic, partition)| {
        output.string(topic);
        output.length(1);
        output.i32(to_kafka_partition(*partition));
        output.no_tags();
    });
    output.no_tags();
}

pub(super) fn read_added(input: &mut Input<'_>) -> Result<Vec<Answered>, Malformed> {
    input.i32()?;
    let added = read_topics(input, |partition| {
        let index = partition.i32()?;
        let code = Code(partition.i16()?);
        partition.skip_tags()?;
        Ok((index, code, None))
    })?;
    input.skip_tags()?;
    Ok(added)
}

/// Writes a Produce request. The batches must be sorted by topic.
pub(super) fn ask_produce(
    output: &mut Output<'_>,
    id: Option<&str>,
    timeout_ms: i32,
    batches: &[Produced<'_>],
) {
    output.nullable_string(id);
    // acks = -1: all replicas in sync must have the batch.
    output.i16(-1);
    output.i32(timeout_ms);
    let topics: Vec<&[Produced<'_>]> = batches
        .chunk_by(|left, right| left.topic == right.topic)
        .collect();
    output.array(topics.into_iter(), |output, batches| {
        output.string(batches[0].topic);
        output.array(batches.iter(), |output, produced| {
            output.i32(to_kafka_partition(produced.partition));
            output.bytes(produced.batch);
            output.no_tags();
        });
        output.no_tags();
    });
    output.no_tags();
}

pub(super) fn read_produced(input: &mut Input<'_>) -> Result<Acknowledged, Malformed> {
    let answered = read_topics(input, |partition| {
        let index = partition.i32()?;
        let code = Code(partition.i16()?);
        partition.take(3 * 8)?;
        partition.array(|error| {
            error.i32()?;
            error.nullable_string()?;
            error.skip_tags()
        })?;
        let message = partition.nullable_string()?.map(str::to_owned);
        partition.skip_tags()?;
        Ok((index, code, message))
    })?;
    let throttled_ms = u64::try_from(input.i32()?).unwrap_or(0);
    input.skip_tags()?;
    Ok(Acknowledged {
        answered,
        throttled: Duration::from_millis(throttled_ms),
    })
}

pub(super) fn ask_end(output: &mut Output<'_>, id: &str, identity: Identity, outcome: Outcome) {
    output.string(id);
    identity.write(output);
    output.bool(outcome == Outcome::Commit);
    output.no_tags();
}

/// Reads the answer to EndTxn. Under the second protocol it contains the new epoch that the end of the transaction
/// begins.
pub(super) fn read_ended(
    input: &mut Input<'_>,
    begins_epoch: bool,
) -> Result<(Code, Option<Identity>), Malformed> {
    input.i32()?;
    let code = Code(input.i16()?);
    let identity = begins_epoch.then(|| Identity::read(input)).transpose()?;
    input.skip_tags()?;
    Ok((code, identity))
}

type OfPartition = (i32, Code, Option<String>);

fn read_topics(
    input: &mut Input<'_>,
    mut partition: impl FnMut(&mut Input<'_>) -> Result<OfPartition, Malformed>,
) -> Result<Vec<Answered>, Malformed> {
    let topics = input.array(|topic| {
        let name = topic.string()?.to_owned();
        let partitions = topic.array(&mut partition)?;
        topic.skip_tags()?;
        Ok((name, partitions))
    })?;

    let mut answered = Vec::new();
    for (topic, partitions) in topics {
        for (partition, code, message) in partitions {
            let partition = u32::try_from(partition)
                .map_err(|_| Malformed("the number of a partition is negative"))?;
            answered.push(Answered {
                topic: topic.clone(),
                partition,
                code,
                message,
            });
        }
    }

    Ok(answered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::native::mutations::{assert_survived, written};

    /// Returns an answer to a Produce request with one partition.
    fn produced(code: i16, partition: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut output = Output(&mut bytes);
        output.length(1);
        output.string("results");
        output.length(1);
        output.i32(partition);
        output.i16(code);
        [7, -1, 0].into_iter().for_each(|number| output.i64(number));

        output.length(1);
        output.i32(3);
        output.nullable_string(Some("record 3"));
        output.no_tags();
        output.nullable_string(Some("too large"));
        output.no_tags();
        output.no_tags();
        output.i32(250);
        output.no_tags();

        bytes
    }

    #[test]
    fn answers_to_produce_name_topic_partition_and_reason() {
        let bytes = produced(10, 4);
        let mut input = Input::new(&bytes);
        let expected = Answered {
            topic: "results".to_owned(),
            partition: 4,
            code: Code::MESSAGE_TOO_LARGE,
            message: Some("too large".to_owned()),
        };
        let expected = Acknowledged {
            answered: vec![expected],
            throttled: Duration::from_millis(250),
        };
        assert_eq!(read_produced(&mut input), Ok(expected));
        assert!(input.is_empty());

        let negative = produced(0, -4);
        assert!(read_produced(&mut Input::new(&negative)).is_err());
    }

    /// Those to Produce also meet the random bytes of the test below.
    #[test]
    fn mutated_answers_of_each_request_are_read_or_refused() {
        assert_survived(&produced(0, 1), read_produced);

        let identity = Identity { id: 77, epoch: 3 };
        let identified = written(|output| {
            output.i32(0);
            output.i16(0);
            identity.write(output);
            output.no_tags();
        });
        assert_survived(&identified, read_identity);

        let added = written(|output| {
            output.i32(0);
            output.length(1);
            output.string("results");
            output.array(0..2, |output, partition| {
                output.i32(partition);
                output.i16(51);
                output.no_tags();
            });
            output.no_tags();
            output.no_tags();
        });
        assert_survived(&added, read_added);

        for begins_epoch in [false, true] {
            let ended = written(|output| {
                output.i32(0);
                output.i16(0);
                if begins_epoch {
                    identity.write(output);
                }
                output.no_tags();
            });
            assert_survived(&ended, |input| read_ended(input, begins_epoch));
        }
    }

    proptest! {
        #[test]
        fn mutated_answers_are_read_or_refused(
            mut bytes in prop_oneof![
                Just(produced(0, 1)),
                proptest::collection::vec(any::<u8>(), 0..200),
            ],
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        ) {
            for (at, value) in flips {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= value;
                }
            }
            let most = bytes.len();
            if let Ok(acknowledged) = read_produced(&mut Input::new(&bytes)) {
                prop_assert!(acknowledged.answered.len() <= most);
            }
            if let Ok(answered) = read_added(&mut Input::new(&bytes)) {
                prop_assert!(answered.len() <= most);
            }
            let _ = read_identity(&mut Input::new(&bytes));
            let _ = read_ended(&mut Input::new(&bytes), true);
        }
    }
}

//! The Fetch request and its answer, with a session (KIP-227).
//!
//! The first request of a session names all partitions. Each later one names only those whose position changed, and
//! those that are no longer fetched. The broker leaves unchanged partitions out of its answers; this confirms that
//! their end has not moved.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use crate::native::api::Code;
use crate::native::batch::walk::Aborted;
use crate::native::codec::{Input, Malformed, Output};

/// A partition to be fetched, with the parameters of its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wanted {
    pub partition: i32,
    pub offset: i64,
    /// The epoch of the expected leader: a leader with another epoch refuses the request (KIP-320).
    pub leader_epoch: i32,
    /// The leader's epoch of the record before the offset; -1 if unknown. A leader whose log differs there reports it.
    pub fetched_epoch: i32,
    pub max_bytes: i32,
}

/// The broker's memory of earlier requests on the connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    sent: HashMap<i32, Wanted>,
}

/// The time and the bytes after which the broker answers, and the client's rack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gather<'a> {
    pub wait: Duration,
    pub least_bytes: i32,
    pub max_bytes: i32,
    /// The rack in which a leader looks for a follower to name; empty if the leader must answer itself (KIP-392).
    pub rack: &'a str,
}

/// An answer to Fetch, without the records, which stay in its frame.
#[derive(Debug)]
pub(super) struct Answer {
    pub throttle: Duration,
    pub code: Code,
    pub session_id: i32,
    pub partitions: Vec<Fetched>,
}

/// The broker's answer for a partition.
#[derive(Debug)]
pub(super) struct Fetched {
    pub partition: i32,
    pub code: Code,
    /// The end of the replicated records, committed or not; -1 if unknown.
    pub high_watermark: i64,
    /// The last stable offset: the end of the readable records, before the first open transaction; -1 if unknown.
    pub stable_end: i64,
    pub aborted: Vec<Aborted>,
    /// The place of the records in the body of the answer.
    pub records: Range<usize>,
    /// The offset from which the leader's log differs from the records read before.
    pub diverged_at: Option<i64>,
    /// The follower that the leader names for reading the partition. The leader sends no records then.
    pub follower: Option<i32>,
}

impl Session {
    /// Writes the request that changes the session so that it fetches `wanted`.
    pub fn ask(
        &mut self,
        output: &mut Output<'_>,
        topic: &[u8; 16],
        wanted: &[Wanted],
        gather: Gather<'_>,
    ) {
        let changed: Vec<&Wanted> = wanted
            .iter()
            .filter(|wanted| self.sent.get(&wanted.partition) != Some(wanted))
            .collect();

        let kept: HashSet<i32> = wanted.iter().map(|wanted| wanted.partition).collect();
        let mut forgotten: Vec<i32> = self
            .sent
            .keys()
            .copied()
            .filter(|partition| !kept.contains(partition))
            .collect();
        forgotten.sort_unstable();

        output.i32(-1);
        output.i32(i32::try_from(gather.wait.as_millis()).unwrap_or(i32::MAX));
        output.i32(gather.least_bytes);
        output.i32(gather.max_bytes);

        // Committed records only.
        output.i8(1);
        output.i32(self.id);
        output.i32(self.epoch);

        let groups = usize::from(!changed.is_empty());
        output.array(std::iter::repeat_n((), groups), |output, ()| {
            output.raw(topic);
            output.array(changed.iter(), |output, wanted| wanted.write(output));
            output.no_tags();
        });

        let groups = usize::from(!forgotten.is_empty());
        output.array(std::iter::repeat_n((), groups), |output, ()| {
            output.raw(topic);
            output.array(forgotten.iter(), |output, partition| output.i32(*partition));
            output.no_tags();
        });

        output.string(gather.rack);
        output.no_tags();
        self.sent = wanted
            .iter()
            .map(|wanted| (wanted.partition, *wanted))
            .collect();
    }

    /// Moves the session on after an answer. A broker without room for the session gives it no id; then each request
    /// names all partitions.
    pub fn advance(&mut self, session_id: i32) {
        if session_id == 0 {
            *self = Self::default();
        } else {
            self.id = session_id;
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
    }
}

impl Wanted {
    fn write(&self, output: &mut Output<'_>) {
        output.i32(self.partition);
        output.i32(self.leader_epoch);
        output.i64(self.offset);
        output.i32(self.fetched_epoch);

        // The start of a follower's log. A reader is not a follower.
        output.i64(-1);
        output.i32(self.max_bytes);
        output.no_tags();
    }
}

impl Answer {
    pub fn read(body: &[u8], topic: &[u8; 16]) -> Result<Self, Malformed> {
        let mut input = Input::new(body);
        let throttle_ms = input.i32()?;
        let code = Code(input.i16()?);
        let session_id = input.i32()?;

        let topics = input.array(|answered| {
            if answered.uuid()? != *topic {
                return Err(Malformed("it is about a topic that was not requested"));
            }
            let partitions = answered.array(|partition| Fetched::read(partition, body.len()))?;
            answered.skip_tags()?;
            Ok(partitions)
        })?;

        input.skip_tags()?;
        if !input.is_empty() {
            return Err(Malformed("there are bytes after its end"));
        }

        Ok(Self {
            throttle: Duration::from_millis(u64::try_from(throttle_ms).unwrap_or(0)),
            code,
            session_id,
            partitions: topics.into_iter().flatten().collect(),
        })
    }
}

impl Fetched {
    /// Reads an answer for a partition. `whole` is the length of the body; the input is its rest.
    fn read(input: &mut Input<'_>, whole: usize) -> Result<Self, Malformed> {
        let partition = input.i32()?;
        let code = Code(input.i16()?);
        let high_watermark = input.i64()?;
        let stable_end = input.i64()?;
        let _log_start_offset = input.i64()?;

        let aborted = input.array(|transaction| {
            let producer_id = transaction.i64()?;
            let first_offset = transaction.i64()?;
            transaction.skip_tags()?;

            Ok(Aborted {
                producer_id,
                first_offset,
            })
        })?;

        let preferred = input.i32()?;
        let length = input.nullable_bytes()?.map_or(0, <[u8]>::len);
        let end = whole - input.rest().len();
        let mut diverged_at = None;

        input.tags(|tag, mut field| {
            if tag == 0 {
                field.i32()?;
                diverged_at = Some(field.i64()?);
            }
            Ok(())
        })?;

        Ok(Self {
            partition,
            code,
            high_watermark,
            stable_end,
            aborted,
            records: end - length..end,
            diverged_at,
            follower: (preferred >= 0).then_some(preferred),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Answer, Gather, Session, Wanted};
    use crate::native::codec::{Input, Output};

    const TOPIC: [u8; 16] = [9; 16];
    const GATHER: Gather<'_> = Gather {
        wait: Duration::from_millis(50),
        least_bytes: 1,
        max_bytes: 1 << 20,
        rack: "rack-a",
    };

    fn wanted(partition: i32, offset: i64) -> Wanted {
        Wanted {
            partition,
            offset,
            leader_epoch: 3,
            fetched_epoch: -1,
            max_bytes: 1 << 16,
        }
    }

    /// Returns the session id and epoch of a request, the partitions that it names, and those that it removes.
    fn asked(session: &mut Session, partitions: &[Wanted]) -> (i32, i32, Vec<i32>, Vec<i32>) {
        let mut bytes = Vec::new();
        session.ask(&mut Output(&mut bytes), &TOPIC, partitions, GATHER);
        let mut input = Input::new(&bytes);
        input.take(4 + 4 + 4 + 4 + 1).unwrap();

        let id = input.i32().unwrap();
        let epoch = input.i32().unwrap();
        let mut named = input
            .array(|topic| {
                topic.uuid()?;
                let named = topic.array(|partition| {
                    let index = partition.i32()?;
                    partition.take(4 + 8 + 4 + 8 + 4)?;
                    partition.skip_tags()?;
                    Ok(index)
                })?;

                topic.skip_tags()?;
                Ok(named)
            })
            .unwrap()
            .concat();

        let mut forgotten = input
            .array(|topic| {
                topic.uuid()?;
                let forgotten = topic.array(Input::i32)?;
                topic.skip_tags()?;
                Ok(forgotten)
            })
            .unwrap()
            .concat();

        assert_eq!(input.string().unwrap(), GATHER.rack);
        named.sort_unstable();
        forgotten.sort_unstable();
        (id, epoch, named, forgotten)
    }

    #[test]
    fn a_session_names_only_changed_partitions() {
        let mut session = Session::default();
        let first = [wanted(0, 10), wanted(1, 20), wanted(2, 30)];
        assert_eq!(asked(&mut session, &first), (0, 0, vec![0, 1, 2], vec![]));
        session.advance(77);

        let second = [wanted(0, 10), wanted(1, 25)];
        assert_eq!(asked(&mut session, &second), (77, 1, vec![1], vec![2]));
        session.advance(77);

        assert_eq!(asked(&mut session, &second), (77, 2, vec![], vec![]));
        session.advance(77);
        let back = [wanted(0, 10), wanted(1, 25), wanted(2, 30)];
        assert_eq!(asked(&mut session, &back), (77, 3, vec![2], vec![]));
    }

    #[test]
    fn without_a_session_all_is_sent_each_time() {
        let mut session = Session::default();
        let all = [wanted(0, 10), wanted(1, 20)];
        for _ in 0..3 {
            assert_eq!(asked(&mut session, &all), (0, 0, vec![0, 1], vec![]));
            session.advance(0);
        }
    }

    /// Returns an answer with one partition's records and an aborted transaction.
    fn answer() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut output = Output(&mut bytes);
        output.i32(0);
        output.i16(0);
        output.i32(77);
        output.length(1);
        output.raw(&TOPIC);
        output.length(1);
        output.i32(4);
        output.i16(0);
        [100, 90, 0]
            .into_iter()
            .for_each(|offset| output.i64(offset));
        output.length(1);
        output.i64(8);
        output.i64(50);
        output.no_tags();
        output.i32(6);
        output.bytes(b"records");

        // The leader's log differs from the records read before: tag 0, of 13 bytes.
        output.raw(&[1, 0, 13]);
        output.i32(2);
        output.i64(42);
        output.no_tags();
        output.no_tags();
        output.no_tags();

        bytes
    }

    #[test]
    fn an_answer_is_read_with_the_place_of_its_records() {
        let body = answer();
        let read = Answer::read(&body, &TOPIC).unwrap();
        let [partition] = &read.partitions[..] else {
            panic!("one partition is answered")
        };

        assert_eq!(&body[partition.records.clone()], b"records");
        assert_eq!((partition.partition, partition.high_watermark), (4, 100));
        assert_eq!(partition.aborted[0].first_offset, 50);
        assert_eq!(partition.diverged_at, Some(42));
        assert_eq!(partition.follower, Some(6));
        assert!(Answer::read(&body, &[8; 16]).is_err(), "another topic");
    }

    proptest! {
        #[test]
        fn mutated_answers_are_read_or_refused(
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut body = answer();
            for (at, value) in &flips {
                let at = at.index(body.len());
                body[at] ^= value;
            }
            body.truncate(cut.index(body.len()) + 1);
            if let Ok(read) = Answer::read(&body, &TOPIC) {
                for partition in read.partitions {
                    prop_assert!(body.get(partition.records).is_some());
                }
            }
        }
    }
}

//! The sessions of clients that fetch, as a broker remembers them.

use std::collections::BTreeMap;

use super::event::Request;
use super::machine::Machine;
use crate::native::api::Code;
use crate::native::codec::Input;

/// At one request in this number, the session is forgotten.
const FORGOTTEN_ONE_IN: u64 = 60;

/// A partition that a client fetches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub leader_epoch: i32,
    pub offset: i64,
    pub max_bytes: usize,
}

/// The session of a client that fetches.
pub(super) struct Session {
    pub node: usize,
    epoch: i32,
    pub topic: [u8; 16],
    pub wanted: BTreeMap<i32, Wanted>,
    /// The ends in its last answers.
    pub sent_ends: BTreeMap<i32, i64>,
}

#[derive(Default)]
pub(super) struct Sessions {
    pub all: BTreeMap<i32, Session>,
    last: i32,
    pub fetches: u64,
}

/// A Fetch that is not answered yet.
pub(super) struct Waiting {
    pub request: Request,
    pub number: u64,
    pub session: i32,
    pub least_bytes: usize,
    pub is_lasting: bool,
}

/// The fields of a request that are used here.
pub(super) struct Asked {
    pub wait_ms: i32,
    pub least_bytes: i32,
    session: i32,
    pub epoch: i32,
    wanted: Vec<OfTopic>,
    forgotten: Vec<i32>,
}

impl Asked {
    pub fn read(input: &mut Input<'_>) -> Self {
        input.i32().unwrap();
        let wait_ms = input.i32().unwrap();
        let least_bytes = input.i32().unwrap();
        input.i32().unwrap();
        assert_eq!(input.i8(), Ok(1), "committed records only");

        Self {
            wait_ms,
            least_bytes,
            session: input.i32().unwrap(),
            epoch: input.i32().unwrap(),
            wanted: Self::read_wanted(input),
            forgotten: Self::read_forgotten(input),
        }
    }

    fn read_wanted(input: &mut Input<'_>) -> Vec<OfTopic> {
        let topics = input.array(|topic| {
            let id = topic.uuid()?;
            let partitions = topic.array(|partition| {
                let number = partition.i32()?;
                let leader_epoch = partition.i32()?;
                let offset = partition.i64()?;
                partition.take(4 + 8)?;
                let max_bytes = usize::try_from(partition.i32()?).unwrap();
                partition.skip_tags()?;
                let wanted = Wanted {
                    leader_epoch,
                    offset,
                    max_bytes,
                };
                Ok((number, wanted))
            })?;
            topic.skip_tags()?;
            Ok((id, partitions))
        });
        topics.unwrap()
    }

    fn read_forgotten(input: &mut Input<'_>) -> Vec<i32> {
        let topics = input.array(|topic| {
            topic.uuid()?;
            let partitions = topic.array(Input::i32)?;
            topic.skip_tags()?;
            Ok(partitions)
        });
        topics.unwrap().concat()
    }
}

impl Sessions {
    /// Drops the sessions of a broker that stops.
    pub fn forget(&mut self, node: usize) {
        self.all.retain(|_, session| session.node != node);
    }

    /// Finds the session of a request, or opens one, and updates its partitions.
    pub fn take(&mut self, asked: Asked, node: usize, machine: &mut Machine) -> Result<i32, Code> {
        if machine.is_one_in(FORGOTTEN_ONE_IN) {
            self.all.remove(&asked.session);
        }

        let number = match asked.epoch {
            0 | -1 => {
                let topic = asked.wanted.first().map_or([0; 16], |wanted| wanted.0);
                self.open(node, topic)
            }
            epoch => {
                let known = self.all.get_mut(&asked.session);
                let known = known.filter(|known| known.node == node);
                let session = known.ok_or(Code::FETCH_SESSION_ID_NOT_FOUND)?;
                if session.epoch + 1 != epoch {
                    return Err(Code::INVALID_FETCH_SESSION_EPOCH);
                }
                session.epoch = epoch;
                asked.session
            }
        };

        let session = self.all.get_mut(&number).unwrap();
        for partition in asked.forgotten {
            session.wanted.remove(&partition);
            session.sent_ends.remove(&partition);
        }
        for (topic, wanted) in asked.wanted {
            session.topic = topic;
            session.wanted.extend(wanted);
        }
        Ok(number)
    }

    fn open(&mut self, node: usize, topic: [u8; 16]) -> i32 {
        self.last += 1;
        let session = Session {
            node,
            epoch: 0,
            topic,
            wanted: BTreeMap::new(),
            sent_ends: BTreeMap::new(),
        };
        self.all.insert(self.last, session);
        self.last
    }
}

/// The partitions of a topic in a request.
type OfTopic = ([u8; 16], Vec<(i32, Wanted)>);

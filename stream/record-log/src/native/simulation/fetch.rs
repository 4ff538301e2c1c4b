//! Fetch, with sessions and aborted transactions: a broker answers when it has records, or when the client's wait is over.

use super::answers::body_with;
use super::event::{Event, Request};
use super::kafka::Kafka;
use super::machine::Machine;
use super::partition::{AbortedRange, Partition};
use super::sessions::{Asked, Waiting, Wanted};
use crate::native::api::Code;
use crate::native::codec::{Input, Output};

/// One request for a session in this number gets none.
const WITHOUT_ONE_IN: u64 = 10;

/// The answer for a partition.
struct Found {
    code: Code,
    high_watermark: i64,
    stable_end: i64,
    aborted: Vec<AbortedRange>,
    records: Vec<u8>,
}

impl Kafka {
    pub fn fetch(&mut self, request: Request, machine: &mut Machine) {
        let asked = Asked::read(&mut Input::new(request.body()));
        let wait_us = u64::try_from(asked.wait_ms).unwrap() * 1_000;
        let least_bytes = usize::try_from(asked.least_bytes).unwrap();
        let is_first = asked.epoch <= 0;
        let session = match self.sessions.take(asked, request.node, machine) {
            Ok(session) => session,
            Err(code) => {
                let body = answer(&request, code, 0, [0; 16], &[]);
                return self.links.answer(&request, &body, 0, machine);
            }
        };

        self.sessions.fetches += 1;
        let number = self.sessions.fetches;
        machine.after(wait_us, Event::FetchOver(number));
        self.waiting.push(Waiting {
            request,
            number,
            session,
            least_bytes,
            is_lasting: !is_first || !machine.is_one_in(WITHOUT_ONE_IN),
        });
        self.answer_waiting(machine);
    }

    /// Answers the requests that need not wait any longer.
    pub fn answer_waiting(&mut self, machine: &mut Machine) {
        for waiting in std::mem::take(&mut self.waiting) {
            let found = self.find(waiting.session);
            let bytes: usize = found.iter().map(|(_, found)| found.records.len()).sum();
            let is_refused = found.iter().any(|(_, found)| found.code != Code::NONE);
            if is_refused || bytes >= waiting.least_bytes {
                self.answer_fetch(&waiting, found, machine);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    /// Answers a Fetch whose wait is over, with the records that there are.
    pub fn fetch_over(&mut self, number: u64, machine: &mut Machine) {
        let position = self
            .waiting
            .iter()
            .position(|waiting| waiting.number == number);
        if let Some(position) = position {
            let waiting = self.waiting.remove(position);
            let found = self.find(waiting.session);
            self.answer_fetch(&waiting, found, machine);
        }
    }

    fn find(&mut self, number: i32) -> Vec<(i32, Found)> {
        let Some(session) = self.sessions.all.get(&number) else {
            return Vec::new();
        };
        let topic = self.topics.iter().find(|topic| topic.id == session.topic);
        let Some(topic) = topic else {
            return Vec::new();
        };
        session
            .wanted
            .iter()
            .map(|(partition, wanted)| {
                let found = topic.partitions[*partition as usize].read(session.node, *wanted);
                (*partition, found)
            })
            .collect()
    }

    fn answer_fetch(
        &mut self,
        waiting: &Waiting,
        mut found: Vec<(i32, Found)>,
        machine: &mut Machine,
    ) {
        let mut topic = [0; 16];
        if let Some(session) = self.sessions.all.get_mut(&waiting.session) {
            topic = session.topic;
            found.retain(|(partition, found)| {
                let end = found.high_watermark;
                let is_new = session.sent_ends.insert(*partition, end) != Some(end);
                is_new || found.code != Code::NONE || !found.records.is_empty()
            });
        }

        // A broker without room for the session gives it no number.
        let number = if waiting.is_lasting {
            waiting.session
        } else {
            self.sessions.all.remove(&waiting.session);
            0
        };
        let body = answer(&waiting.request, Code::NONE, number, topic, &found);
        self.links.answer(&waiting.request, &body, 0, machine);
    }
}

fn answer(
    request: &Request,
    code: Code,
    session: i32,
    topic: [u8; 16],
    found: &[(i32, Found)],
) -> Vec<u8> {
    body_with(request, |output: &mut Output<'_>| {
        output.i32(0);
        output.i16(code.0);
        output.i32(session);
        let topics = usize::from(!found.is_empty());
        output.array(std::iter::repeat_n(topic, topics), |output, topic| {
            output.raw(&topic);
            output.array(found.iter(), |output, (partition, found)| {
                output.i32(*partition);
                found.write(output);
            });
            output.no_tags();
        });
        output.no_tags();
    })
}

impl Found {
    fn refused(code: Code) -> Self {
        Self {
            code,
            high_watermark: -1,
            stable_end: -1,
            aborted: Vec::new(),
            records: Vec::new(),
        }
    }

    fn write(&self, output: &mut Output<'_>) {
        output.i16(self.code.0);
        [self.high_watermark, self.stable_end, 0]
            .into_iter()
            .for_each(|offset| output.i64(offset));
        output.array(self.aborted.iter(), |output, aborted| {
            output.i64(aborted.producer_id);
            output.i64(aborted.first);
            output.no_tags();
        });
        output.i32(-1);
        output.bytes(&self.records);
        output.no_tags();
    }
}

impl Partition {
    /// Checks that this broker leads the partition in this epoch.
    pub fn check_leader(&self, node: usize, epoch: i32) -> Result<(), Code> {
        if self.leader != Some(node) {
            return Err(Code::NOT_LEADER_OR_FOLLOWER);
        }
        match epoch {
            -1 => Ok(()),
            epoch if epoch < self.epoch => Err(Code::FENCED_LEADER_EPOCH),
            epoch if epoch > self.epoch => Err(Code::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    fn read(&self, node: usize, wanted: Wanted) -> Found {
        if let Err(code) = self.check_leader(node, wanted.leader_epoch) {
            return Found::refused(code);
        }
        if wanted.offset > self.end() {
            return Found::refused(Code::OFFSET_OUT_OF_RANGE);
        }

        let stable_end = self.stable_end();
        let mut records = Vec::new();
        let mut upper = wanted.offset;
        for stored in &self.log {
            let is_readable = stored.next > wanted.offset && stored.base < stable_end;
            if is_readable && (records.is_empty() || records.len() < wanted.max_bytes) {
                records.extend_from_slice(&stored.bytes);
                upper = stored.next;
            }
        }

        // Brokers cut the bytes that they send at the limit, except within the first batch.
        let first = self.log.iter().find(|stored| stored.next > wanted.offset);
        let least = first.map_or(0, |stored| stored.bytes.len());
        records.truncate(wanted.max_bytes.max(least));

        let overlaps =
            |aborted: &&AbortedRange| aborted.last >= wanted.offset && aborted.first < upper;
        Found {
            code: Code::NONE,
            high_watermark: self.high_watermark,
            stable_end,
            aborted: self.aborted.iter().filter(overlaps).copied().collect(),
            records,
        }
    }
}

//! The sending of records: into a builder by partition, as sealed batches into requests, until each is acknowledged.
//!
//! ```text
//! record ──▶ builder of its partition ──seal──▶ queue ──▶ request to the leader, five on the way at most ──▶ acknowledged
//!                                                 ▲                                                            │
//!                                                 └── refused for the moment, or not answered: sent again ◀────┘
//! ```
//!
//! Invariants:
//! - Batches of a partition are numbered without a gap and sent in that order; a broker appends each once, however
//!   often it is sent ([KIP-98]). A request has at most one batch of a partition, so brokers remember all batches in
//!   flight: they remember five of a partition.
//! - The first batch of a partition is acknowledged before the next is sent, because until then the leader accepts any
//!   sequence number.
//! - Before a batch is sent again, the answers to all requests in flight are read. Every batch of its partition behind
//!   it is sent again, too.
//! - Memory is bounded: records wait unpacked up to [`PLAIN_BYTES`], and packed up to [`REQUEST_BYTES`] for each of
//!   five requests a broker. Builders and batches use their memory again.
//!
//! [KIP-98]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-98

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deadline::{Deadline, TimeLimit};
use super::identity::{Identity, Protocol};
use super::lines::{Batch, Lines, produce};
use super::refusals::{About, stop};
use super::requests::Answered;
use super::session::{Session, is_unanswered};
use super::topics::Topics;
use super::{Patience, Stop};
use crate::NewRecord;
use crate::native::api::Code;
use crate::native::batch::build::{Parts, Producer};
use crate::native::batch::lz4::Packer;
use crate::native::cluster::Cluster;
use crate::native::wire::WireError;

/// The size up to which records of a partition become one batch. A larger record is a batch of its own.
pub(super) const BATCH_BYTES: usize = 256 << 10;
/// The most bytes of records that wait unpacked, in all partitions together.
const PLAIN_BYTES: usize = 4 << 20;
/// The packed size from which a request is sent.
const REQUEST_BYTES: usize = 512 << 10;
/// The pauses before batches are sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(200);
pub(super) struct Sending {
    topics: Topics,
    lines: Lines,
    identity: Identity,
    plain_bytes: usize,
    /// Sealed batches that are not in flight, in their order.
    queue: VecDeque<Batch>,
    queued_bytes: usize,
    sealed: u64,
    /// The time at which the first batch of the transaction was sent.
    begun_at: Option<Instant>,
    /// Partitions of the open transaction that were added at its coordinator.
    added: Vec<(usize, u32)>,
    spare: Vec<Vec<u8>>,
    packer: Packer,
    /// The last reason why batches had to be sent again.
    failure: Option<Stop>,
}

impl Sending {
    pub fn new(cluster: &Arc<Cluster>, topics: Topics, patience: Patience) -> Self {
        Self {
            topics,
            lines: Lines::new(cluster, patience),
            identity: Identity::NONE,
            plain_bytes: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            sealed: 0,
            begun_at: None,
            added: Vec::new(),
            spare: Vec::new(),
            packer: Packer::default(),
            failure: None,
        }
    }

    /// Begins a new epoch, in which the records of each partition are numbered from 0 on.
    pub fn begin_epoch(&mut self, identity: Identity) {
        if self.identity.id != identity.id {
            self.topics.begin_anew();
        }
        if self.identity != identity {
            self.identity = identity;
            self.topics.restart_sequences();
        }
    }

    /// Prepares for a transaction.
    pub fn begin_transaction(&mut self) {
        self.added.clear();
        self.sealed = 0;
        self.begun_at = None;
        self.failure = None;
        self.lines.close_stale();
        self.topics.refresh_old();
    }

    /// Returns `true` if a record of the transaction was numbered, and so may have been sent.
    pub fn has_sealed(&self) -> bool {
        self.sealed > 0
    }

    /// Returns the earliest time at which the coordinator may have the transaction.
    pub fn begun_at(&self) -> Option<Instant> {
        self.begun_at
    }

    /// Drops all records that are not acknowledged, and the connections on which answers are due.
    pub fn discard(&mut self) {
        self.topics.clear();
        self.plain_bytes = 0;
        self.queue.clear();
        self.queued_bytes = 0;
        self.lines.close_waiting();
    }

    /// Adds a record, and sends full batches. All records of a batch have the time of the first one: reading the clock
    /// for each would cost as much as encoding it.
    pub fn push(
        &mut self,
        record: &NewRecord<'_>,
        session: &mut Session,
        limit: &TimeLimit,
    ) -> Result<(), Stop> {
        let begun_at = self.begun_at;
        let topic = self.topics.find(record.topic, || limit.begin(begun_at))?;
        let size = record.size_bytes();
        let largest = self.topics[topic].limit;
        largest.check(record)?;

        let partition = self.topics.choose(topic, record)?;
        let bound = largest.bytes.min(BATCH_BYTES);
        let found = &mut self.topics[topic].partitions[partition as usize];
        if !found.builder.is_empty() && found.builder.len() + size > bound {
            self.seal(topic, partition, session);
        }

        let found = &mut self.topics[topic].partitions[partition as usize];
        let before = found.builder.len();
        let parts = Parts {
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        let now_ms = || limit.runtime.now_ms().cast_signed();
        let time_ms = found.builder.base_time_ms().unwrap_or_else(now_ms);
        found.builder.push(&parts, time_ms);
        self.plain_bytes += found.builder.len() - before;

        if self.plain_bytes >= PLAIN_BYTES {
            self.seal_all(session);
        }

        if self.queued_bytes >= REQUEST_BYTES {
            self.dispatch(session, &limit.begin(self.begun_at))?;
        }

        Ok(())
    }

    /// Sends all records, and waits until they are acknowledged.
    pub fn flush(&mut self, session: &mut Session, deadline: &Deadline) -> Result<(), Stop> {
        self.seal_all(session);
        loop {
            self.dispatch(session, deadline)?;
            self.settle(session, deadline, Vec::new())?;
            if self.queue.is_empty() {
                return Ok(());
            }
        }
    }

    /// Passes the sealed batches to `each` instead of sending them.
    pub fn hand_over(&mut self, each: &mut dyn FnMut(&[u8])) {
        for batch in self.queue.drain(..) {
            each(&batch.bytes);
            self.spare.push(batch.bytes);
        }
        self.queued_bytes = 0;
    }

    pub fn seal_all(&mut self, session: &Session) {
        for (topic, partition) in self.topics.filled() {
            self.seal(topic, partition, session);
        }
    }

    /// Makes a batch of the records that wait for a partition. It is not inlined, because that would slow down the work
    /// for each record.
    #[inline(never)]
    fn seal(&mut self, topic: usize, partition: u32, session: &Session) {
        let found = &mut self.topics[topic].partitions[partition as usize];
        let records = found.builder.count();
        let producer = Producer {
            id: self.identity.id,
            epoch: self.identity.epoch,
            sequence: found.next_sequence(records),
            is_transactional: session.is_transactional(),
        };

        self.plain_bytes -= found.builder.len();
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        found.builder.seal(producer, &mut self.packer, &mut bytes);

        self.sealed += 1;
        self.queued_bytes += bytes.len();
        self.queue.push_back(Batch {
            number: self.sealed,
            topic,
            partition,
            records,
            bytes,
        });
    }

    /// Sends the sealed batches to their leaders, and waits for answers only where five requests are in flight.
    #[inline(never)]
    fn dispatch(&mut self, session: &mut Session, deadline: &Deadline) -> Result<(), Stop> {
        self.begun_at.get_or_insert_with(|| deadline.runtime.now());
        self.add_partitions(session, deadline)?;

        while !self.queue.is_empty() {
            let failed = self.send_round(session, deadline)?;
            if !failed.is_empty() {
                self.settle(session, deadline, failed)?;
            }
        }

        Ok(())
    }

    /// Under the first protocol, adds partitions at the coordinator before anything is sent to them.
    fn add_partitions(&mut self, session: &mut Session, deadline: &Deadline) -> Result<(), Stop> {
        if !session.is_transactional() || session.protocol() == Protocol::Second {
            return Ok(());
        }

        let mut missing: Vec<(usize, u32)> = self
            .queue
            .iter()
            .map(|batch| (batch.topic, batch.partition))
            .filter(|partition| !self.added.contains(partition))
            .collect();
        missing.sort_unstable();
        missing.dedup();

        if missing.is_empty() {
            return Ok(());
        }

        let named: Vec<(&str, u32)> = missing
            .iter()
            .map(|(topic, partition)| (self.topics[*topic].name.as_str(), *partition))
            .collect();
        session.add(&named, deadline)?;
        self.added.extend(missing);

        Ok(())
    }

    /// Waits for all answers that are due, and sends `failed` and all refused batches again until none is refused.
    fn settle(
        &mut self,
        session: &Session,
        deadline: &Deadline,
        mut failed: Vec<Batch>,
    ) -> Result<(), Stop> {
        let mut pause = FIRST_PAUSE;
        loop {
            for leader in self.lines.leaders() {
                while self.lines.in_flight(leader) > 0 {
                    self.receive(leader, session, deadline, &mut failed)?;
                }
            }

            if failed.is_empty() {
                return Ok(());
            }

            deadline.pause(pause);
            if deadline.is_over() {
                return Err(self
                    .failure
                    .take()
                    .unwrap_or(Stop::Failed("the time limit has passed".into())));
            }

            pause = (pause * 2).min(LAST_PAUSE);
            self.requeue(failed);
            failed = self.send_round(session, deadline)?;
        }
    }

    /// Puts batches back in front of the others, in their order, and looks up the current leaders of their partitions.
    fn requeue(&mut self, mut batches: Vec<Batch>) {
        let topics: BTreeSet<usize> = batches.iter().map(|batch| batch.topic).collect();
        topics
            .into_iter()
            .for_each(|topic| self.topics.refresh(topic));

        batches.extend(self.queue.drain(..));
        batches.sort_by_key(|batch| batch.number);
        self.queue = batches.into();
    }

    /// Sends one request to each leader. Returns the batches that must be sent again.
    fn send_round(&mut self, session: &Session, deadline: &Deadline) -> Result<Vec<Batch>, Stop> {
        let mut failed = Vec::new();
        for (leader, batches) in self.next_requests() {
            self.send(leader, batches, session, deadline, &mut failed)?;
        }
        Ok(failed)
    }

    /// Takes one request for each leader from the queue: the next batch of each partition.
    fn next_requests(&mut self) -> BTreeMap<i32, Vec<Batch>> {
        let mut requests: BTreeMap<i32, Vec<Batch>> = BTreeMap::new();
        let mut rest = VecDeque::new();

        for batch in self.queue.drain(..) {
            let leader = self.topics[batch.topic].partitions[batch.partition as usize].leader;
            let request = requests.entry(leader).or_default();
            if request.iter().any(|other| other.is_beside(&batch)) {
                rest.push_back(batch);
            } else {
                request.push(batch);
            }
        }

        self.queue = rest;
        self.queued_bytes = self.queue.iter().map(|batch| batch.bytes.len()).sum();
        requests
    }

    /// Sends a request. Nothing is sent behind a batch that failed.
    fn send(
        &mut self,
        leader: i32,
        mut batches: Vec<Batch>,
        session: &Session,
        deadline: &Deadline,
        failed: &mut Vec<Batch>,
    ) -> Result<(), Stop> {
        while self.lines.is_full(leader) || self.is_behind_a_first(leader, &batches) {
            self.receive(leader, session, deadline, failed)?;
        }

        if !failed.is_empty() {
            failed.append(&mut batches);
            return Ok(());
        }

        self.await_throttled(leader, deadline)?;
        // A request names each topic once.
        batches.sort_by_key(|batch| (batch.topic, batch.partition));
        match self
            .lines
            .send(leader, &batches, &self.topics, session, deadline)
        {
            Ok(()) => {
                self.lines.keep(leader, batches);
                Ok(())
            }
            Err(error) => {
                failed.append(&mut batches);
                self.lose(leader, error, session, deadline, failed)
            }
        }
    }

    /// Returns `true` if the first batch of a partition is still in flight. A leader without a batch of the producer
    /// accepts any sequence number. So if a broker refuses the first batch because it does not lead yet, it could
    /// accept the next one before it.
    fn is_behind_a_first(&self, leader: i32, batches: &[Batch]) -> bool {
        batches.iter().any(|batch| {
            let partition = &self.topics[batch.topic].partitions[batch.partition as usize];
            !partition.is_begun && self.lines.is_on_the_way(leader, batch)
        })
    }

    /// Waits until a broker that throttles this client reads again. Another connection would be throttled, too.
    fn await_throttled(&self, leader: i32, deadline: &Deadline) -> Result<(), Stop> {
        let throttled = self.lines.throttled(leader);
        if throttled.is_zero() {
            return Ok(());
        }

        deadline.pause(throttled);
        if self.lines.throttled(leader).is_zero() {
            return Ok(());
        }
        let reason = format!(
            "broker {leader} throttles this client for {} ms: raise its quota producer_byte_rate",
            throttled.as_millis()
        );
        Err(Stop::Failed(reason.into()))
    }

    /// Reads the oldest due answer of a leader.
    fn receive(
        &mut self,
        leader: i32,
        session: &Session,
        deadline: &Deadline,
        failed: &mut Vec<Batch>,
    ) -> Result<(), Stop> {
        match self.lines.receive(leader, session, deadline) {
            Ok((flight, acknowledged)) => self.judge(flight, &acknowledged.answered, failed),
            Err(error) => self.lose(leader, error, session, deadline, failed),
        }
    }

    /// Takes back the batches in flight on a connection that failed. Under the first protocol the transaction must then
    /// end, because the request may arrive after another transaction has begun.
    fn lose(
        &mut self,
        leader: i32,
        error: WireError,
        session: &Session,
        deadline: &Deadline,
        failed: &mut Vec<Batch>,
    ) -> Result<(), Stop> {
        let on_the_way = self.lines.close(leader, &error);
        let is_of_an_epoch_that_lasts =
            session.is_transactional() && session.protocol() == Protocol::First;
        let is_torn = is_of_an_epoch_that_lasts && is_unanswered(&error, produce(session));

        if is_torn || !error.is_passing() {
            return Err(error.into());
        }

        failed.extend(on_the_way);
        // An earlier refusal explains more than an answer that did not come before the deadline.
        if self.failure.is_none() || !deadline.is_over() {
            self.failure = Some(error.into());
        }
        Ok(())
    }

    /// Sorts the batches of an answered request into those that are done and those that must be sent again.
    fn judge(
        &mut self,
        flight: Vec<Batch>,
        answered: &[Answered],
        failed: &mut Vec<Batch>,
    ) -> Result<(), Stop> {
        for batch in flight {
            let topic = &self.topics[batch.topic].name;
            let found = answered
                .iter()
                .find(|found| found.partition == batch.partition && found.topic == *topic);
            let Some(Answered { code, message, .. }) = found else {
                let unanswered = format!("a broker's answer left out {}", batch.named());
                return Err(Stop::Unknown(unanswered.into()));
            };

            // An earlier batch of the partition must be sent again, so this one came too early.
            let is_early = *code == Code::OUT_OF_ORDER_SEQUENCE_NUMBER
                && failed.iter().any(|earlier| earlier.is_beside(&batch));

            match *code {
                Code::NONE | Code::DUPLICATE_SEQUENCE_NUMBER => {
                    let partitions = &mut self.topics[batch.topic].partitions;
                    partitions[batch.partition as usize].is_begun = true;
                    self.spare.push(batch.bytes);
                }
                // The refusal of the earlier one explains more.
                _ if is_early => failed.push(batch),
                code => {
                    let named = batch.named();
                    let about = About::Batch {
                        topic,
                        named: &named,
                    };
                    let reason = stop(code, about, message.as_deref());
                    if !code.is_passing() {
                        return Err(reason);
                    }
                    self.failure = Some(reason);
                    failed.push(batch);
                }
            }
        }

        Ok(())
    }
}

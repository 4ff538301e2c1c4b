//! Connections to the leaders of partitions, and the requests in flight on them.
//!
//! Each leader has one connection, on which up to five requests wait for their answers. A broker that throttles this
//! client stops reading from the connection for a time that it names. Meanwhile no request is sent to it, and the time
//! limits of open answers are longer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Patience;
use super::deadline::Deadline;
use super::identity::Protocol;
use super::requests::{Acknowledged, Produced, ask_produce, read_produced};
use super::session::Session;
use super::topics::Topics;
use crate::native::api::{Api, PRODUCE_1, PRODUCE_2};
use crate::native::cluster::Cluster;
use crate::native::codec::{Input, Malformed};
use crate::native::wire::{Connection, Frame, WireError};

/// The most requests in flight to a broker: brokers remember this many batches of a producer.
const FLIGHTS: usize = 5;
/// The idle time after which a connection may have been closed by its broker, or by a device on the way.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// A sealed batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// The batch's number in the order of sealing.
    pub number: u64,
    pub topic: usize,
    pub partition: u32,
    pub records: i32,
    pub bytes: Vec<u8>,
}

impl Batch {
    /// Returns `true` if both batches are of one partition.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.topic, self.partition) == (other.topic, other.partition)
    }

    /// Returns the batch's description for messages.
    pub fn named(&self) -> String {
        let Self {
            records, partition, ..
        } = self;
        let bytes = self.bytes.len();
        format!("a batch of {records} records ({bytes} bytes) for partition {partition}")
    }
}

/// The connection to a leader, and the requests in flight on it.
struct Line {
    connection: Connection,
    used_at: Instant,
    throttled_until: Instant,
    flights: VecDeque<Vec<Batch>>,
}

/// The lines by the brokers' ids.
pub(super) struct Lines {
    cluster: Arc<Cluster>,
    patience: Patience,
    open: BTreeMap<i32, Line>,
    frame: Frame,
}

impl Lines {
    pub fn new(cluster: &Arc<Cluster>, patience: Patience) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            patience,
            open: BTreeMap::new(),
            frame: Frame::default(),
        }
    }

    /// Closes connections that were not used for long.
    pub fn close_stale(&mut self) {
        let runtime = self.cluster.runtime();
        self.open
            .retain(|_, line| runtime.since(line.used_at) < STALE_AFTER);
    }

    /// Closes the connections on which answers are due.
    pub fn close_waiting(&mut self) {
        self.open.retain(|_, line| line.flights.is_empty());
    }

    pub fn leaders(&self) -> Vec<i32> {
        self.open.keys().copied().collect()
    }

    pub fn in_flight(&self, leader: i32) -> usize {
        self.open.get(&leader).map_or(0, |line| line.flights.len())
    }

    /// Returns `true` if another request must wait for an answer. A request before which the session is renewed waits
    /// for all answers.
    pub fn is_full(&self, leader: i32) -> bool {
        let line = self.open.get(&leader);
        let most = match line.is_some_and(|line| line.connection.must_renew()) {
            true => 1,
            false => FLIGHTS,
        };
        self.in_flight(leader) >= most
    }

    /// Returns `true` if another batch of the same partition is in flight to the leader.
    pub fn is_on_the_way(&self, leader: i32, batch: &Batch) -> bool {
        let line = self.open.get(&leader);
        let flights = line.into_iter().flat_map(|line| &line.flights);
        flights.flatten().any(|other| other.is_beside(batch))
    }

    /// Returns the time for which the leader reads nothing from this client.
    pub fn throttled(&self, leader: i32) -> Duration {
        let until = self.open.get(&leader).map(|line| line.throttled_until);
        until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(self.cluster.runtime().now())
        })
    }

    /// Sends batches, which are sorted by topic, in one request.
    pub fn send(
        &mut self,
        leader: i32,
        batches: &[Batch],
        topics: &Topics,
        session: &Session,
        deadline: &Deadline,
    ) -> Result<(), WireError> {
        let limit = deadline.limit(self.patience.request);
        let produced: Vec<Produced<'_>> = batches
            .iter()
            .map(|batch| Produced {
                topic: &topics[batch.topic].name,
                partition: batch.partition,
                batch: &batch.bytes,
            })
            .collect();

        let line = match self.open.entry(leader) {
            Entry::Occupied(line) => line.into_mut(),
            Entry::Vacant(place) => {
                let unknown = || WireError::NoLeader(batches[0].named());
                let address = self.cluster.address(leader).ok_or_else(unknown)?;
                place.insert(Line {
                    connection: self.cluster.connect(&address)?,
                    used_at: self.cluster.runtime().now(),
                    throttled_until: self.cluster.runtime().now(),
                    flights: VecDeque::new(),
                })
            }
        };

        line.used_at = self.cluster.runtime().now();
        let timeout_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        line.connection.send(produce(session), limit, |output| {
            ask_produce(output, session.transactional_id(), timeout_ms, &produced);
        })
    }

    /// Keeps batches that were just sent, until their answer comes.
    pub fn keep(&mut self, leader: i32, batches: Vec<Batch>) {
        if let Some(line) = self.open.get_mut(&leader) {
            line.flights.push_back(batches);
        }
    }

    /// Reads the oldest due answer of a leader, and returns it with the batches of its request.
    pub fn receive(
        &mut self,
        leader: i32,
        session: &Session,
        deadline: &Deadline,
    ) -> Result<(Vec<Batch>, Acknowledged), WireError> {
        // Requests in flight wait until the broker reads again.
        let limit = deadline.limit(self.patience.request + self.throttled(leader));
        let unknown = || WireError::NoLeader(format!("what broker {leader} was sent"));
        let line = self.open.get_mut(&leader).ok_or_else(unknown)?;
        let answered = read(
            &mut line.connection,
            produce(session),
            limit,
            &mut self.frame,
        )?;

        line.used_at = self.cluster.runtime().now();
        line.throttled_until = line.used_at + answered.throttled;
        Ok((line.flights.pop_front().unwrap_or_default(), answered))
    }

    /// Closes the connection after this error, and returns the batches in flight, in their order.
    pub fn close(&mut self, leader: i32, error: &WireError) -> impl Iterator<Item = Batch> + use<> {
        self.cluster.note_failed(error);
        let line = self.open.remove(&leader);
        line.into_iter().flat_map(|line| line.flights).flatten()
    }
}

/// Returns Produce in the version for the session's protocol of transactions.
pub(super) fn produce(session: &Session) -> Api {
    match session.protocol() {
        Protocol::First => PRODUCE_1,
        Protocol::Second => PRODUCE_2,
    }
}

fn read(
    connection: &mut Connection,
    api: Api,
    limit: Duration,
    frame: &mut Frame,
) -> Result<Acknowledged, WireError> {
    let start = connection.receive(limit, frame)?;
    let mut input = Input::new(&frame.bytes()[start..]);
    let answered = read_produced(&mut input).map_err(|source| connection.malformed(api, source))?;

    if input.is_empty() {
        Ok(answered)
    } else {
        Err(connection.malformed(api, Malformed("there are bytes after its end")))
    }
}

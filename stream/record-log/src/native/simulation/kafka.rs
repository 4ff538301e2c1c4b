//! The simulated brokers: their state, and the events that change it.
//!
//! All brokers share one memory. Each answers only for the partitions and ids that it leads or coordinates, so clients
//! cannot detect this. `produce`, `fetch` and `answers` handle the requests, `trouble` all other events.

use super::coordinator::Coordinator;
use super::event::{Event, Place, Request};
use super::links::Links;
use super::machine::Machine;
use super::partition::Partition;
use super::sessions::{Sessions, Waiting};
use crate::kafka::progress::PROGRESS_TOPIC;

pub(super) const PORT: u16 = 9092;
pub(super) const NODES: usize = 3;
pub(super) const ROWS: &str = "rows";
pub(super) const ROW_PARTITIONS: usize = 3;
/// The places of the topic of rows and of the topic of progress.
pub(super) const ROWS_AT: usize = 0;
pub(super) const PROGRESS_AT: usize = 1;
const PROGRESS_PARTITIONS: usize = 16;
#[derive(Default)]
pub(super) struct Node {
    pub is_up: bool,
    /// The number of its starts.
    pub incarnation: u64,
    /// The time until which its coordinator is loading.
    pub loads_until_us: u64,
}

pub(super) struct Topic {
    pub name: &'static str,
    pub id: [u8; 16],
    pub partitions: Vec<Partition>,
}

/// Brokers, topics and transactions.
pub(super) struct Kafka {
    pub links: Links,
    pub nodes: Vec<Node>,
    pub topics: Vec<Topic>,
    pub coordinator: Coordinator,
    /// The broker that coordinates all transactional ids.
    pub coordinated_by: usize,
    pub sessions: Sessions,
    pub waiting: Vec<Waiting>,
    /// `true` while brokers stop, and leaders and coordinators move.
    pub is_troubled: bool,
    /// The number of troubles so far.
    pub troubles: u64,
    /// One Produce in this number is throttled; none while it is 0.
    pub throttled_one_in: u64,
}

impl Kafka {
    pub fn new(is_second_protocol: bool, machine: &mut Machine) -> Self {
        let partitions = |count: usize| {
            let led_by = |number: usize| Partition::led_by(number % NODES);
            (0..count).map(led_by).collect()
        };
        let topic = |name, id, count| Topic {
            name,
            id: [id; 16],
            partitions: partitions(count),
        };
        let node = |_| Node {
            is_up: true,
            ..Node::default()
        };
        machine.after(0, Event::Trouble);

        let mut kafka = Self {
            links: Links::new(is_second_protocol),
            nodes: (0..NODES).map(node).collect(),
            topics: vec![
                topic(ROWS, 1, ROW_PARTITIONS),
                topic(PROGRESS_TOPIC, 2, PROGRESS_PARTITIONS),
            ],
            coordinator: Coordinator::new(is_second_protocol),
            coordinated_by: 0,
            sessions: Sessions::default(),
            waiting: Vec::new(),
            is_troubled: false,
            troubles: 0,
            throttled_one_in: 0,
        };
        for place in kafka.places() {
            kafka.begin_to_lead(place, machine);
        }
        kafka
    }

    pub fn partition(&mut self, place: Place) -> &mut Partition {
        &mut self.topics[place.0].partitions[place.1]
    }

    /// Returns the place of the topic with this name.
    pub fn topic(&self, name: &str) -> Option<usize> {
        self.topics.iter().position(|topic| topic.name == name)
    }

    /// Returns `true` if the broker of a request has been running since the request was sent.
    pub fn is_there(&self, request: &Request) -> bool {
        let node = &self.nodes[request.node];
        node.is_up && node.incarnation == request.incarnation
    }

    /// Returns the number of starts of a broker; none while it is down.
    pub fn incarnation(&self, node: usize) -> Option<u64> {
        let node = &self.nodes[node];
        node.is_up.then_some(node.incarnation)
    }
}

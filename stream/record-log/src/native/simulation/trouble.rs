//! The events at the brokers: requests arrive, markers are written, brokers stop and come back.

use super::event::{Event, Marker, Place, Request};
use super::kafka::{Kafka, NODES};
use super::machine::Machine;
use crate::native::api::{FETCH, PRODUCE_1};

/// The pauses between two troubles.
const LEAST_PEACE_US: u64 = 20_000;
const MOST_PEACE_US: u64 = 1_500_000;
/// The times within which a broker learns that it leads. In a short one, requests that follow each other get different
/// answers.
const LEARNING_US: [u64; 3] = [1, 8_000, 100_000];

/// Carries out an event.
pub(super) fn happen(kafka: &mut Kafka, event: Event, machine: &mut Machine) {
    match event {
        Event::Arrive(request) => {
            if let Some(request) = kafka.links.arrive(request) {
                kafka.handle(request, machine);
            }
        }
        Event::Again(request) => kafka.handle(request, machine),
        Event::ReadOn(link) => {
            if let Some(request) = kafka.links.read_on(link) {
                kafka.handle(request, machine);
            }
        }
        Event::Deliver {
            link,
            bytes,
            is_last,
        } => {
            kafka.links.deliver(link, &bytes, machine);
            if is_last {
                kafka.links.end(link, machine);
            }
        }
        Event::Replicated(appended) => kafka.replicated(appended, machine),
        Event::Release => kafka.links.release(machine),
        Event::FetchOver(number) => kafka.fetch_over(number, machine),
        Event::Marker(marker) => kafka.mark(marker, machine),
        Event::TimeOut { id, begun_us } => kafka.coordinator.time_out(&id, begun_us, machine),
        Event::Trouble => kafka.trouble(machine),
        Event::NodeBack(node) => kafka.nodes[node].is_up = true,
        Event::LeaderLost(place) => {
            kafka.lose_leader(place, machine);
            kafka.answer_waiting(machine);
        }
    }
}

impl Kafka {
    fn handle(&mut self, request: Request, machine: &mut Machine) {
        if self.is_there(&request) {
            match request.key() {
                key if key == PRODUCE_1.key => self.produce(request, machine),
                key if key == FETCH.key => self.fetch(request, machine),
                _ => self.answer(&request, machine),
            }
        }
    }

    fn mark(&mut self, marker: Marker, machine: &mut Machine) {
        let time_ms = machine.now_ms();
        let partition = self.partition(marker.place);
        if partition.leader.is_none() {
            machine.after(20_000, Event::Marker(marker));
            return;
        }

        partition.mark(marker.producer, marker.epoch, marker.ending, time_ms);
        self.coordinator.marked(&marker);
        self.answer_waiting(machine);
    }

    /// Draws a trouble of the brokers, and the time of the next one.
    fn trouble(&mut self, machine: &mut Machine) {
        let peace_us = machine.draw(MOST_PEACE_US);
        machine.after(LEAST_PEACE_US + peace_us, Event::Trouble);
        if !self.is_troubled {
            return;
        }

        self.troubles += 1;
        match machine.draw(4) {
            0 => self.move_coordinator(machine),
            1 => self.restart(machine),
            _ => {
                let topic = machine.draw(2) as usize;
                let partitions = self.topics[topic].partitions.len() as u64;
                let place = (topic, machine.draw(partitions) as usize);
                self.move_leader(place, machine);
            }
        }
        self.answer_waiting(machine);
    }

    fn move_coordinator(&mut self, machine: &mut Machine) {
        self.coordinated_by = self.drawn(machine);
        let loads_us = machine.draw(300_000);
        self.nodes[self.coordinated_by].loads_until_us = machine.now_us() + loads_us;
    }

    fn move_leader(&mut self, place: Place, machine: &mut Machine) {
        if machine.is_one_in(2) {
            return self.lose_leader(place, machine);
        }
        let leader = self.drawn(machine);
        self.partition(place).move_to(Some(leader), false);
        self.begin_to_lead(place, machine);
    }

    /// Lets a broker lead a partition, which is new or has moved, after the moment in which it learns this.
    pub fn begin_to_lead(&mut self, place: Place, machine: &mut Machine) {
        let within_us = LEARNING_US[machine.draw(3) as usize];
        self.partition(place).led_from_us = machine.now_us() + machine.draw(within_us);
    }

    /// Returns all partitions.
    pub fn places(&self) -> Vec<Place> {
        let of_topic = |topic: usize| {
            let partitions = 0..self.topics[topic].partitions.len();
            partitions.map(move |partition| (topic, partition))
        };
        (0..self.topics.len()).flat_map(of_topic).collect()
    }

    fn lose_leader(&mut self, place: Place, machine: &mut Machine) {
        let leader = self.drawn(machine);
        self.partition(place).move_to(Some(leader), true);
        self.begin_to_lead(place, machine);
    }

    /// Draws a broker that is up.
    fn drawn(&self, machine: &mut Machine) -> usize {
        let up = self.up();
        up[machine.draw(up.len() as u64) as usize]
    }

    /// Stops a broker. Others lead in its place, and it comes back later.
    fn restart(&mut self, machine: &mut Machine) {
        if self.up().len() < NODES {
            return;
        }

        let node = machine.draw(NODES as u64) as usize;
        self.nodes[node].is_up = false;
        self.nodes[node].incarnation += 1;
        self.links.end_all_of(node, machine);
        self.sessions.forget(node);
        self.waiting.retain(|waiting| waiting.request.node != node);
        let away_us = machine.draw(3_000_000);
        machine.after(away_us, Event::NodeBack(node));

        for place in self.places() {
            if self.partition(place).leader == Some(node) {
                self.move_leader(place, machine);
            }
        }
        if self.coordinated_by == node {
            self.move_coordinator(machine);
        }
    }

    fn up(&self) -> Vec<usize> {
        (0..NODES).filter(|node| self.nodes[*node].is_up).collect()
    }
}

//! The streams between clients and brokers, and the faults on them.
//!
//! A broker handles the requests of a stream one after another, each after it has answered the previous one. Requests
//! on different streams overtake each other. A request that left its client arrives although the client has closed the
//! stream, unless it is lost.

use std::collections::VecDeque;

use super::event::{Event, FAULTS, Fault, Request};
use super::machine::Machine;
use crate::native::api::{ADD_PARTITIONS, END_TXN_1, INIT_PRODUCER_ID, PRODUCE_1};

/// The longest time for which a request is late, or held back until another one has come.
const LATE_US: u64 = 400_000;
const HELD_BACK_US: u64 = 4_000_000;
/// The longest time for which an answer is slow: longer than any client waits.
const SLOW_US: u64 = 4_000_000;

/// A stream between a client and a broker.
pub(super) struct Link {
    node: usize,
    incarnation: u64,
    pub bell: usize,
    /// Bytes that have arrived at the client.
    pub arrived: VecDeque<u8>,
    pub is_ended: bool,
    pub is_closed: bool,
    /// The times of the last arrival at the broker and at the client.
    last_request_us: u64,
    last_answer_us: u64,
    queue: VecDeque<Request>,
    is_busy: bool,
}

/// All streams, and the faults on them.
#[derive(Default)]
pub(super) struct Links {
    pub all: Vec<Link>,
    held_back: Vec<Request>,
    /// One request in this number meets a fault; none while it is 0.
    pub one_in: u64,
    is_second_protocol: bool,
    pub met: Vec<(i16, Fault)>,
}

impl Links {
    pub fn new(is_second_protocol: bool) -> Self {
        Self {
            is_second_protocol,
            ..Self::default()
        }
    }

    pub fn open(&mut self, node: usize, incarnation: u64, machine: &mut Machine) -> usize {
        self.all.push(Link {
            node,
            incarnation,
            bell: machine.new_bell(),
            arrived: VecDeque::new(),
            is_ended: false,
            is_closed: false,
            last_request_us: 0,
            last_answer_us: 0,
            queue: VecDeque::new(),
            is_busy: false,
        });
        self.all.len() - 1
    }

    /// Draws the fault of a request of this kind.
    fn fault(&mut self, key: i16, machine: &mut Machine) -> Option<Fault> {
        if self.one_in == 0 || !machine.is_one_in(self.one_in) {
            return None;
        }

        let fault = FAULTS[machine.draw(FAULTS.len() as u64) as usize];
        let is_end = key == END_TXN_1.key;
        let keys = [PRODUCE_1, ADD_PARTITIONS, END_TXN_1].map(|api| api.key);
        let is_drawn = match fault {
            // A late InitProducerId fences the publisher that holds the id by then, as it should.
            Fault::Late => key != INIT_PRODUCER_ID.key,
            Fault::HeldBack => keys.contains(&key),
            // No network repeats a request that was answered, and only the second protocol tolerates it.
            Fault::Repeated => key == PRODUCE_1.key || self.is_second_protocol && is_end,
            Fault::Doubtful => is_end || key == PRODUCE_1.key,
            _ => true,
        };
        if is_drawn {
            self.met.push((key, fault));
        }
        is_drawn.then_some(fault)
    }

    /// Sends a request.
    pub fn send(&mut self, link: usize, frame: Vec<u8>, machine: &mut Machine) {
        let key = i16::from_be_bytes([frame[4], frame[5]]);
        let fault = self.fault(key, machine);
        let at = &mut self.all[link];
        machine.note(&[link as u64, at.node as u64], &frame);

        let request = Request {
            link: Some(link),
            node: at.node,
            incarnation: at.incarnation,
            frame,
            fault,
            waits: 0,
        };
        let delay_us = latency_us(machine);
        let arrival_us = at.last_request_us.max(machine.now_us() + delay_us);
        at.last_request_us = arrival_us;

        let unheard = Request {
            link: None,
            ..request.clone()
        };
        match fault {
            Some(Fault::Lost) => self.end(link, machine),
            Some(Fault::Late) => {
                self.end(link, machine);
                let late_us = machine.draw(LATE_US);
                machine.after(late_us, Event::Arrive(unheard));
            }
            Some(Fault::HeldBack) => {
                self.end(link, machine);
                self.held_back.push(unheard);
                machine.after(HELD_BACK_US, Event::Release);
            }
            Some(Fault::Repeated) => {
                machine.at(arrival_us, Event::Arrive(request));
                let late_us = machine.draw(LATE_US);
                machine.at(arrival_us + late_us, Event::Arrive(unheard));
            }
            _ => machine.at(arrival_us, Event::Arrive(request)),
        }
    }

    /// Lets requests arrive that were held back until now.
    pub fn release(&mut self, machine: &mut Machine) {
        for request in std::mem::take(&mut self.held_back) {
            let delay_us = machine.draw(2_000);
            machine.after(delay_us, Event::Arrive(request));
        }
    }

    /// Receives a request. Returns it if the broker handles it now.
    pub fn arrive(&mut self, request: Request) -> Option<Request> {
        let Some(link) = request.link else {
            return Some(request);
        };
        let at = &mut self.all[link];
        if at.is_busy {
            at.queue.push_back(request);
            return None;
        }
        at.is_busy = true;
        Some(request)
    }

    /// Notes that the broker has finished a request. Returns the next one of the stream.
    pub fn read_on(&mut self, link: usize) -> Option<Request> {
        let at = &mut self.all[link];
        let next = at.queue.pop_front();
        at.is_busy = next.is_some();
        next
    }

    /// Sends an answer, and lets the broker read on after `muted_us`.
    pub fn answer(&mut self, request: &Request, body: &[u8], muted_us: u64, machine: &mut Machine) {
        let Some(link) = request.link else {
            return;
        };
        machine.after(muted_us, Event::ReadOn(link));

        let length = i32::try_from(body.len()).unwrap();
        let mut bytes = [&length.to_be_bytes(), body].concat();
        let is_last = match request.fault {
            Some(Fault::Silent) => return,
            Some(Fault::Unanswered) => {
                bytes.clear();
                true
            }
            Some(Fault::Cut) => {
                bytes.truncate(machine.draw(bytes.len() as u64) as usize);
                true
            }
            _ => false,
        };

        let delay_us = match request.fault {
            Some(Fault::Slow) => machine.draw(SLOW_US),
            _ => latency_us(machine),
        };
        let at = &mut self.all[link];
        at.last_answer_us = at.last_answer_us.max(machine.now_us() + delay_us);
        let deliver = Event::Deliver {
            link,
            bytes,
            is_last,
        };
        machine.at(at.last_answer_us, deliver);
    }

    pub fn deliver(&mut self, link: usize, bytes: &[u8], machine: &mut Machine) {
        let at = &mut self.all[link];
        if !at.is_ended && !at.is_closed {
            at.arrived.extend(bytes);
            machine.ring(at.bell);
        }
    }

    /// Ends a stream for its client.
    pub fn end(&mut self, link: usize, machine: &mut Machine) {
        self.all[link].is_ended = true;
        machine.ring(self.all[link].bell);
    }

    /// Ends all streams of a broker that stops. The requests that wait there are lost.
    pub fn end_all_of(&mut self, node: usize, machine: &mut Machine) {
        for link in 0..self.all.len() {
            if self.all[link].node == node && !self.all[link].is_ended {
                self.all[link].queue.clear();
                self.end(link, machine);
            }
        }
    }
}

/// Draws the latency of a message: mostly short, sometimes so long that others overtake it.
fn latency_us(machine: &mut Machine) -> u64 {
    match machine.draw(40) {
        0 => 50_000 + machine.draw(300_000),
        1..4 => 1_000 + machine.draw(20_000),
        _ => 100 + machine.draw(900),
    }
}

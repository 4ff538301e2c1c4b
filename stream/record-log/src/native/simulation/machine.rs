//! The clock, the random numbers and the bells of a run, and its planned events.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::event::Event;

/// The time of day when a run begins.
const BEGUN_AT_MS: u64 = 1_700_000_000_000;

/// The clock, the random numbers, the bells, and the planned events.
pub(super) struct Machine {
    now_us: u64,
    random: SmallRng,
    events: BTreeMap<(u64, u64), Event>,
    numbered: u64,
    bells: Vec<u64>,
    /// A checksum of all requests with their times, which differs between different runs.
    pub trace: u64,
    pub requests: u64,
}

impl Machine {
    pub fn new(seed: u64) -> Self {
        Self {
            now_us: 0,
            random: SmallRng::seed_from_u64(seed),
            events: BTreeMap::new(),
            numbered: 0,
            bells: vec![0],
            trace: 0xcbf2_9ce4_8422_2325,
            requests: 0,
        }
    }

    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    pub fn now_ms(&self) -> u64 {
        BEGUN_AT_MS + self.now_us / 1_000
    }

    /// Draws a number below `below`.
    pub fn draw(&mut self, below: u64) -> u64 {
        self.random.random_range(0..below)
    }

    pub fn is_one_in(&mut self, number: u64) -> bool {
        self.draw(number) == 0
    }

    pub fn after(&mut self, delay_us: u64, event: Event) {
        self.at(self.now_us + delay_us, event);
    }

    pub fn at(&mut self, time_us: u64, event: Event) {
        self.numbered += 1;
        self.events.insert((time_us, self.numbered), event);
    }

    pub fn new_bell(&mut self) -> usize {
        self.bells.push(0);
        self.bells.len() - 1
    }

    pub fn ring(&mut self, bell: usize) {
        self.bells[bell] += 1;
    }

    pub fn rings(&self, bell: usize) -> u64 {
        self.bells[bell]
    }

    /// Adds a request to the trace.
    pub fn note(&mut self, about: &[u64], bytes: &[u8]) {
        self.requests += 1;
        let numbers = [&[self.now_us], about].concat();
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        for byte in numbers.chain(bytes.iter().copied()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Returns the time of the next event.
    pub fn next_event_us(&self) -> Option<u64> {
        self.events.first_key_value().map(|(key, _)| key.0)
    }

    /// Moves the clock. Returns an event that is due by then.
    pub fn move_to(&mut self, time_us: u64) -> Option<Event> {
        self.now_us = self.now_us.max(time_us);
        let is_due = self.next_event_us().is_some_and(|at| at <= self.now_us);
        let event = if is_due {
            self.events.pop_first()
        } else {
            None
        };
        event.map(|(_, event)| event)
    }
}

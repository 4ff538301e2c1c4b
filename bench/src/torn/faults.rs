//! The faults of one schedule: those that were met, the requests that are on their way behind a closed connection, and
//! the ends of transactions that wait for the next transaction.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::fate::Fate;
use super::frame::{self, PRODUCE, Request};

/// The longest time for which a connection waits until an end that was held back is answered.
const ATTACK_LIMIT: Duration = Duration::from_secs(3);
/// The time limit of the answer to a request that arrives late.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

pub struct Faults {
    seed: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_on: bool,
    /// A publisher is being opened.
    is_opening: bool,
    /// The number of requests that fenced the publisher's id although none was being opened.
    fencing: u64,
    /// Every transaction has ended.
    is_over: bool,
    /// The number of requests so far, by key.
    numbers: BTreeMap<i16, u64>,
    met: Vec<(i16, u64, Fate)>,
    /// Ends that wait for the first Produce of the next transaction.
    held: usize,
    /// Ends that a Produce has released and that the broker has not answered.
    attacking: usize,
    /// The number of times at which held ends were released.
    releases: u64,
    late: Vec<JoinHandle<()>>,
    ends: Ends,
}

/// The ends that were held back.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// The answers to those that arrived inside a later transaction, by error code; 0 is an end that the coordinator
    /// accepted.
    pub by_code: BTreeMap<i16, u64>,
    /// Those without an answer.
    pub unanswered: u64,
    /// Those that arrived after the last transaction of the schedule.
    pub after_all: u64,
}

/// A Produce that releases the ends that are held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attack(u64);

impl Faults {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            seed,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Begins or ends drawing faults.
    pub fn set(&self, is_on: bool) {
        self.state().is_on = is_on;
    }

    /// Begins or ends the opening of a publisher, which may fence its id.
    pub fn set_opening(&self, is_opening: bool) {
        self.state().is_opening = is_opening;
    }

    /// Returns the number of requests that fenced the publisher's id although none was being opened.
    pub fn fencing(&self) -> u64 {
        self.state().fencing
    }

    /// Draws the fate of a request.
    pub fn of(&self, request: &Request) -> Fate {
        let mut state = self.state();
        state.fencing += u64::from(!state.is_opening && request.is_fencing());
        if !state.is_on {
            return Fate::Passes;
        }

        let number = state.numbers.entry(request.key).or_default();
        *number += 1;
        let number = *number;
        let fate = Fate::draw(self.seed, request.key, number);
        if fate != Fate::Passes {
            state.met.push((request.key, number, fate));
        }
        fate
    }

    /// Returns the faults that were met: the key of the request, its number, its fate.
    pub fn met(&self) -> Vec<(i16, u64, Fate)> {
        self.state().met.clone()
    }

    /// Returns an attack if ends are held and this request is the next transaction's first Produce.
    pub fn attack(&self, request: &Request) -> Option<Attack> {
        let state = self.state();
        (request.key == PRODUCE && state.held > 0).then_some(Attack(state.releases))
    }

    /// Lets the held ends arrive, unless another Produce has done so.
    pub fn release(&self, attack: Attack) {
        let mut state = self.state();
        if state.releases == attack.0 {
            state.attacking += state.held;
            state.held = 0;
            state.releases += 1;
            self.changed.notify_all();
        }
    }

    /// Waits until the ends that the attack releases have been answered.
    pub fn await_answers(&self, attack: Attack) {
        let deadline = Instant::now() + ATTACK_LIMIT;
        let mut state = self.state();
        while state.releases == attack.0 || state.attacking > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.wait(state, left);
        }
    }

    /// Sends a request to the broker after this time.
    pub fn deliver_late(self: &Arc<Self>, broker: u16, request: Request, after: Duration) {
        let late = thread::spawn(move || {
            thread::sleep(after);
            // A broker may close a connection on a request that it finds outdated.
            let _ = deliver(broker, &request);
        });
        self.state().late.push(late);
    }

    /// Holds an end back until the next transaction's first Produce was answered, or the schedule is over.
    pub fn hold(self: &Arc<Self>, broker: u16, request: Request) {
        let mut state = self.state();
        state.held += 1;
        let before = state.releases;
        let faults = Arc::clone(self);
        let held = thread::spawn(move || faults.deliver_held(broker, &request, before));
        state.late.push(held);
    }

    fn deliver_held(&self, broker: u16, request: &Request, before: u64) {
        let mut state = self.state();
        while state.releases == before {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);

        let answer = deliver(broker, request);
        let code = answer.and_then(|answer| frame::end_code(&answer, request.version));
        let mut state = self.state();
        state.attacking -= 1;
        match code {
            _ if state.is_over => state.ends.after_all += 1,
            Some(code) => *state.ends.by_code.entry(code).or_default() += 1,
            None => state.ends.unanswered += 1,
        }
        self.changed.notify_all();
    }

    /// Releases what is held, waits until every late request has arrived, and returns the answers to ends.
    pub fn finish(&self) -> Ends {
        let mut state = self.state();
        state.is_on = false;
        state.is_over = true;
        let last = Attack(state.releases);
        drop(state);

        self.release(last);
        let late: Vec<JoinHandle<()>> = self.state().late.drain(..).collect();
        for late in late {
            late.join().expect("a late request does not panic");
        }
        self.state().ends.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let (state, _) = self
            .changed
            .wait_timeout(state, limit)
            .unwrap_or_else(PoisonError::into_inner);
        state
    }
}

/// Sends a request on a connection of its own, and returns its answer if there is one.
fn deliver(broker: u16, request: &Request) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)).ok()?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    stream.write_all(&request.bytes).ok()?;
    frame::read(&mut stream).ok()?
}

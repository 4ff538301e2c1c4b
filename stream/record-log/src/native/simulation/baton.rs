//! One thread at a time, under a clock that moves only when all threads wait.
//!
//! ```text
//! task ──waits: for a bell, for a time──▶ a task that can go on, drawn from the seed
//!                                           │ none
//!                                           ▼
//!                              the next event or the end of a wait: the clock moves there
//! ```
//!
//! Each task of a run has a thread, and goes on only while it has the baton. It passes the baton on when it waits, and
//! when it has sent something. So the seed alone decides a run, although the client is that of production. In simulated
//! time only waits take time; work takes none.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::kafka::Kafka;
use super::machine::Machine;
use super::trouble::happen;
use crate::native::cluster::lock;
use crate::runtime::{Bell, Runtime};

/// The longest simulated time of a run. A longer run does not end.
const LONGEST: Duration = Duration::from_secs(3600);

thread_local! {
    static TASK: Cell<usize> = const { Cell::new(0) };
}

/// A run: its tasks, its clock, and the brokers.
#[derive(Clone)]
pub(super) struct Baton(Arc<Held>);

struct Held {
    begun_at: Instant,
    run: Mutex<Run>,
}

/// The state under the lock.
pub(super) struct Run {
    pub machine: Machine,
    pub kafka: Kafka,
    tasks: Vec<Task>,
    has_baton: usize,
    failure: Option<String>,
}

struct Task {
    turn: Arc<Condvar>,
    waits: Waits,
}

#[derive(Clone, Copy, Debug)]
enum Waits {
    Not,
    Until {
        time_us: Option<u64>,
        bell: Option<(usize, u64)>,
    },
    Over,
}

impl Run {
    /// Passes the baton to a task that can go on. The clock moves until there is one.
    fn pass_on(&mut self) {
        loop {
            let ready: Vec<usize> = (0..self.tasks.len())
                .filter(|task| self.is_ready(*task))
                .collect();
            if !ready.is_empty() {
                let drawn = self.machine.draw(ready.len() as u64) as usize;
                self.has_baton = ready[drawn];
                self.tasks[self.has_baton].waits = Waits::Not;
                self.tasks[self.has_baton].turn.notify_all();
                return;
            }
            self.move_clock();
        }
    }

    fn is_ready(&self, task: usize) -> bool {
        match self.tasks[task].waits {
            Waits::Not => true,
            Waits::Over => false,
            Waits::Until { time_us, bell } => {
                let is_rung = bell.is_some_and(|(bell, heard)| self.machine.rings(bell) > heard);
                is_rung || time_us.is_some_and(|time_us| time_us <= self.machine.now_us())
            }
        }
    }

    /// Moves the clock to the next event, or to the end of a wait.
    fn move_clock(&mut self) {
        let ends = self.tasks.iter().filter_map(|task| match task.waits {
            Waits::Until { time_us, .. } => time_us,
            Waits::Not | Waits::Over => None,
        });
        let end = ends.min();
        let next = end.into_iter().chain(self.machine.next_event_us()).min();
        let Some(next) = next else {
            panic!("all tasks wait, and no event is planned");
        };

        assert!(next < LONGEST.as_micros() as u64, "the run does not end");
        if let Some(event) = self.machine.move_to(next) {
            happen(&mut self.kafka, event, &mut self.machine);
        }
    }
}

impl Baton {
    /// Returns a run whose first task is the calling thread.
    pub fn new(seed: u64, kafka: impl FnOnce(&mut Machine) -> Kafka) -> Self {
        let mut machine = Machine::new(seed);
        let kafka = kafka(&mut machine);

        TASK.set(0);
        Self(Arc::new(Held {
            begun_at: Instant::now(),
            run: Mutex::new(Run {
                machine,
                kafka,
                tasks: vec![Task::new()],
                has_baton: 0,
                failure: None,
            }),
        }))
    }

    pub fn run(&self) -> MutexGuard<'_, Run> {
        lock(&self.0.run)
    }

    pub fn draw(&self, below: u64) -> u64 {
        self.run().machine.draw(below)
    }

    pub fn is_one_in(&self, number: u64) -> bool {
        self.draw(number) == 0
    }

    /// Waits for a ring after those heard, or for a time. Other tasks go on meanwhile.
    pub fn wait(&self, bell: Option<(usize, u64)>, limit: Option<Duration>) {
        let task = TASK.get();
        let mut run = self.run();
        let micros = |limit: Duration| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let time_us = limit.map(|limit| run.machine.now_us().saturating_add(micros(limit)));
        run.tasks[task].waits = Waits::Until { time_us, bell };
        run.pass_on();

        let turn = Arc::clone(&run.tasks[task].turn);
        while run.has_baton != task {
            run = turn
                .wait(run)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if let Some(failure) = &run.failure
            && !std::thread::panicking()
        {
            let failure = failure.clone();
            drop(run);
            panic!("{failure}");
        }
    }

    /// Lets any task go on.
    pub fn give_way(&self) {
        self.wait(None, Some(Duration::ZERO));
    }

    /// Runs a task beside the others.
    pub fn begin(&self, task: impl FnOnce() + Send + 'static) {
        let number = {
            let mut run = self.run();
            run.tasks.push(Task::new());
            run.tasks.len() - 1
        };

        let baton = self.clone();
        std::thread::spawn(move || {
            TASK.set(number);
            baton.await_first_turn(number);
            let ended = catch_unwind(AssertUnwindSafe(task));
            baton.end(number, ended.err().map(|panic| said(&*panic)));
        });
    }

    fn await_first_turn(&self, task: usize) {
        let mut run = self.run();
        let turn = Arc::clone(&run.tasks[task].turn);
        while run.has_baton != task {
            run = turn
                .wait(run)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    fn end(&self, task: usize, failure: Option<String>) {
        let mut run = self.run();
        run.tasks[task].waits = Waits::Over;
        if run.failure.is_none() {
            run.failure = failure;
        }
        if run.failure.is_some() {
            // The first task reports the failure.
            run.tasks[0].waits = Waits::Not;
        }
        run.machine.ring(0);
        run.pass_on();
    }

    /// Waits until all other tasks have ended.
    pub fn join(&self) {
        loop {
            let heard = {
                let run = self.run();
                let others = run.tasks.iter().skip(1);
                if others
                    .into_iter()
                    .all(|task| matches!(task.waits, Waits::Over))
                {
                    return;
                }
                run.machine.rings(0)
            };
            self.wait(Some((0, heard)), None);
        }
    }
}

impl Task {
    fn new() -> Self {
        Self {
            turn: Arc::default(),
            waits: Waits::Not,
        }
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a task failed".to_owned())
}

impl Runtime for Baton {
    fn now(&self) -> Instant {
        self.0.begun_at + Duration::from_micros(self.run().machine.now_us())
    }

    fn now_ms(&self) -> u64 {
        self.run().machine.now_ms()
    }

    fn sleep(&self, pause: Duration) {
        self.wait(None, Some(pause));
    }

    fn spawn(&self, _: String, task: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        self.begin(task);
        Ok(())
    }

    fn bell(&self) -> Arc<dyn Bell> {
        let number = self.run().machine.new_bell();
        Arc::new(OfRun {
            baton: self.clone(),
            number,
        })
    }
}

/// A bell for tasks of a run.
struct OfRun {
    baton: Baton,
    number: usize,
}

impl Bell for OfRun {
    fn ring(&self) {
        self.baton.run().machine.ring(self.number);
    }

    fn rings(&self) -> u64 {
        self.baton.run().machine.rings(self.number)
    }

    fn wait(&self, heard: u64, limit: Option<Duration>) {
        self.baton.wait(Some((self.number, heard)), limit);
    }
}

//! Runs the relay's decisions and the simulated log through thousands of schedules, in which relays compete, pause, are
//! killed and lose replies. Every order must reach the log exactly once, and the orders of each user in the order in
//! which they were placed. A second test leaves out each rule in turn, and finds a schedule that fails without it.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{
    Cleanup, Delivery, NewRecord, PublishError, Publisher, RecordLog, TopicSpec, progress,
};

use super::{Action, Outcome, Relay, Rest};

const USERS: u64 = 3;
/// Maximum number of steps of the last relay. A relay without competitors needs a few steps for each batch; one that
/// needs more steps than this will never finish.
const PATIENCE: usize = 100_000;

/// A rule that the simulation breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LeftOut {
    Nothing,
    /// Rows are stamped without a check of the lease.
    LeaseAtStamping,
    /// The lease is not confirmed after the publisher was opened, and a relay rests if the rows of
    /// its batch were deleted by another relay.
    LeaseAfterOpening,
    /// The log does not fence earlier holders of the publisher.
    Fence,
    /// The log's progress is not read when a publisher is opened.
    Progress,
    /// A commit without a reply counts as done.
    Doubt,
    /// Batches stamped by predecessors are not published.
    Leftovers,
}

/// The tables. Each method is one transaction.
#[derive(Default)]
struct Sql {
    /// The batch of each row, if it is stamped.
    rows: BTreeMap<u64, Option<u64>>,
    epoch: u64,
    placed: u64,
}

impl Sql {
    fn place_order(&mut self) {
        self.placed += 1;
        self.rows.insert(self.placed, None);
    }

    fn take_lease(&mut self) -> Outcome {
        self.epoch += 1;
        Outcome::LeaseTaken { epoch: self.epoch }
    }

    fn confirm(&self, epoch: u64) -> Outcome {
        if self.epoch == epoch {
            Outcome::Confirmed
        } else {
            Outcome::NotHolder
        }
    }

    fn stamp(&mut self, batch: u64, limit: usize) -> Outcome {
        let waiting = self
            .rows
            .values_mut()
            .filter(|stamped| stamped.is_none())
            .take(limit);
        Outcome::Stamped {
            rows: waiting.map(|row| *row = Some(batch)).count() as u64,
        }
    }

    fn of_batch(&self, batch: u64) -> Vec<u64> {
        self.rows
            .iter()
            .filter(|(_, stamped)| **stamped == Some(batch))
            .map(|(row, _)| *row)
            .collect()
    }

    fn clean(&mut self, up_to: u64) -> Outcome {
        self.rows
            .retain(|_, stamped| stamped.is_none_or(|batch| batch > up_to));
        Outcome::Cleaned
    }
}

/// One relay, from its start until it is killed.
struct Life {
    relay: Relay,
    log: SimulatedLog,
    publisher: Option<Box<dyn Publisher>>,
    loaded: Vec<u64>,
    left_out: LeftOut,
}

impl Life {
    fn new(log: &SimulatedLog, left_out: LeftOut, seed: u64) -> Self {
        let random = std::sync::Mutex::new(SmallRng::seed_from_u64(seed));
        let log = log.process(move |call| {
            let dice = random.lock().unwrap().random_range(0..100);
            match (call, dice) {
                (Call::Commit { .. }, 0..8) => Fault::LoseReply,
                (_, 0..3) => Fault::Unavailable,
                _ => Fault::None,
            }
        });

        Self {
            relay: Relay::new(),
            log,
            publisher: None,
            loaded: Vec::new(),
            left_out,
        }
    }

    /// Performs one action. In two of a hundred cases the action is reported as failed: either it
    /// did not happen, or it did.
    fn step(&mut self, sql: &mut Sql, random: &mut SmallRng) {
        let outcome = match random.random_range(0..100) {
            0 => Outcome::Failed,
            1 => {
                self.perform(sql, random);
                Outcome::Failed
            }
            _ => self.perform(sql, random),
        };

        let vanished = matches!(self.relay.next, Action::Load { .. })
            && outcome == Outcome::Loaded { rows: 0 };
        self.relay.observe(outcome);

        if vanished && self.left_out == LeftOut::LeaseAfterOpening {
            self.relay.next = Action::Rest(Rest::Idle);
        }
    }

    fn perform(&mut self, sql: &mut Sql, random: &mut SmallRng) -> Outcome {
        match self.relay.next() {
            Action::TakeLease => sql.take_lease(),
            Action::OpenPublisher => self.open(),
            Action::ConfirmLease { .. } if self.left_out == LeftOut::LeaseAfterOpening => {
                Outcome::Confirmed
            }
            Action::ConfirmLease { epoch } => sql.confirm(epoch),
            Action::Clean { up_to } => sql.clean(up_to),
            Action::FindStamped if self.left_out == LeftOut::Leftovers => Outcome::Found(None),
            Action::FindStamped => Outcome::Found(sql.rows.values().flatten().min().copied()),
            Action::Stamp { epoch, .. }
                if sql.epoch != epoch && self.left_out != LeftOut::LeaseAtStamping =>
            {
                Outcome::NotHolder
            }
            Action::Stamp { batch, .. } => sql.stamp(batch, random.random_range(1..=4)),
            Action::Load { batch } => {
                self.loaded = sql.of_batch(batch);
                Outcome::Loaded {
                    rows: self.loaded.len() as u64,
                }
            }
            Action::Publish { batch } => self.publish(batch),
            Action::Rest(_) => Outcome::Rested,
        }
    }

    fn open(&mut self) -> Outcome {
        let delivery = if self.left_out == LeftOut::Fence {
            Delivery::AtLeastOnce
        } else {
            Delivery::Transactional
        };

        let Ok(publisher) = self.log.publisher("orders-relay", delivery) else {
            return Outcome::Failed;
        };

        let in_log = publisher.progress().map_or(Ok(0), progress::number_of);
        self.publisher = Some(publisher);

        Outcome::Opened {
            progress: if self.left_out == LeftOut::Progress {
                self.relay.done
            } else {
                in_log.unwrap()
            },
        }
    }

    fn publish(&mut self, batch: u64) -> Outcome {
        let publisher = self.publisher.as_deref_mut().unwrap();
        match send_all(publisher, &self.loaded, batch) {
            Ok(()) => Outcome::Published,
            Err(PublishError::Fenced { .. }) => Outcome::Fenced,
            Err(PublishError::MayHaveHappened(_) | PublishError::NotPublished(_))
                if self.left_out == LeftOut::Doubt =>
            {
                Outcome::Published
            }
            Err(_) => Outcome::Failed,
        }
    }
}

fn send_all(publisher: &mut dyn Publisher, rows: &[u64], batch: u64) -> Result<(), PublishError> {
    for row in rows {
        let key = (row % USERS).to_string();
        let value = row.to_string();
        publisher.send(NewRecord {
            topic: events::ORDERS,
            partition: None,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        })?;
    }
    publisher.commit(&progress::of_number(batch))
}

fn empty_log() -> SimulatedLog {
    let log = SimulatedLog::new(|| 0);
    let retention = std::time::Duration::from_secs(1);
    let topic = TopicSpec {
        name: events::ORDERS.to_owned(),
        partitions: 4,
        cleanup: Cleanup::Delete,
        retention,
    };
    log.ensure_topics(&[topic]).unwrap();

    log
}

/// Runs one schedule. Returns a description of the first violation.
fn play(seed: u64, left_out: LeftOut) -> Result<(), String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let log = empty_log();
    let mut sql = Sql::default();
    let mut lives = Vec::new();

    for _ in 0..random.random_range(20..400) {
        if random.random_bool(0.4) {
            sql.place_order();
        }
        if lives.is_empty() || random.random_bool(0.03) {
            lives.push(Life::new(&log, left_out, random.random()));
        }

        for life in &mut lives {
            // A lease expires when its holder pauses. In the simulation a relay that competes takes
            // the lease at any moment, as if the holder had paused.
            let competes = life.relay.next() == Action::TakeLease;
            if random.random_bool(if competes { 0.1 } else { 0.6 }) {
                life.step(&mut sql, &mut random);
            }
        }

        if random.random_bool(0.03) {
            lives.swap_remove(random.random_range(0..lives.len()));
        }
    }

    finish(&log, &mut sql, lives, &mut random, left_out)?;
    verify(&log, sql.placed)
}

/// Lets one last relay, whose lease is no longer contested, publish the remaining rows while the
/// others finish their current work.
fn finish(
    log: &SimulatedLog,
    sql: &mut Sql,
    mut others: Vec<Life>,
    random: &mut SmallRng,
    left_out: LeftOut,
) -> Result<(), String> {
    let mut last = Life::new(log, left_out, random.random());
    let index: Vec<usize> = (0..others.len()).collect();
    for _ in 0..PATIENCE {
        if sql.rows.is_empty() {
            return Ok(());
        }

        last.step(sql, random);
        if let Some(other) = index.choose(random).map(|index| &mut others[*index])
            && other.relay.next() != Action::TakeLease
        {
            other.step(sql, random);
        }
    }

    Err(format!("{} rows were never published", sql.rows.len()))
}

fn verify(log: &SimulatedLog, placed: u64) -> Result<(), String> {
    let values = log.records(events::ORDERS).into_iter().map(|record| {
        let value = record.value.expect("orders have values");
        String::from_utf8_lossy(&value)
            .parse::<u64>()
            .expect("rows are numbers")
    });

    let mut by_user = vec![Vec::new(); USERS as usize];
    values.for_each(|row| by_user[(row % USERS) as usize].push(row));
    for (user, published) in (0..).zip(by_user) {
        let expected: Vec<u64> = (1..=placed).filter(|row| row % USERS == user).collect();
        if published != expected {
            return Err(format!(
                "user {user}: published {published:?}, not {expected:?}"
            ));
        }
    }

    Ok(())
}

#[test]
fn each_schedule_publishes_every_order_once_and_in_order() {
    for seed in 0..5000 {
        play(seed, LeftOut::Nothing).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
    }
}

#[test]
fn a_schedule_fails_without_each_of_the_rules() {
    use LeftOut::{Doubt, Fence, LeaseAfterOpening, LeaseAtStamping, Leftovers, Progress};

    for rule in [
        LeaseAtStamping,
        LeaseAfterOpening,
        Fence,
        Progress,
        Doubt,
        Leftovers,
    ] {
        let caught = (0..20_000).find_map(|seed| play(seed, rule).err().map(|wrong| (seed, wrong)));
        let (seed, wrong) = caught.unwrap_or_else(|| panic!("no schedule fails without {rule:?}"));
        println!("without {rule:?}, seed {seed}: {wrong}");
    }
}

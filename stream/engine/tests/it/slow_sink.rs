//! A sink that is too slow for the rows of a window in one transaction: brokers abort each transaction at its time limit,
//! and so would abort the same transaction again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use record_log::simulated::{Call, Fault, SimulatedLog};
use stream::{Settings, Stop, Windows};

use crate::oracle::World;

/// The number of records that the log takes within the time limit of a transaction.
const TIME_LIMIT: usize = 64;
/// The users of the window.
const USERS: u64 = 3_000;
const WINDOW: Duration = Duration::from_millis(10);

/// The transactions of a job. Time is counted in records that were sent.
#[derive(Default)]
struct Sent {
    /// The age of the open transaction of each publisher.
    ages: BTreeMap<String, usize>,
    /// The ages of the committed transactions.
    committed: Vec<usize>,
    aborted: usize,
    /// The number of the commit behind which the process dies.
    dies_after: Option<usize>,
}

impl Sent {
    fn fault(&mut self, call: &Call<'_>) -> Fault {
        match call {
            Call::Send { id, .. } => self.send(id),
            Call::Commit { id, .. } => self.commit(id),
            _ => Fault::None,
        }
    }

    /// Aborts the transaction at its time limit. The publisher forgets its records.
    fn send(&mut self, id: &str) -> Fault {
        let age = self.ages.entry(id.to_owned()).or_default();
        *age += 1;
        if *age <= TIME_LIMIT {
            return Fault::None;
        }

        *age = 0;
        self.aborted += 1;
        Fault::Unavailable
    }

    fn commit(&mut self, id: &str) -> Fault {
        self.committed.push(self.ages.remove(id).unwrap_or(0));
        if self.dies_after == Some(self.committed.len()) {
            return Fault::CrashAfter;
        }
        Fault::None
    }
}

/// Returns a handle to the log whose transactions take as long as they have records.
fn slow(log: &SimulatedLog, dies_after: Option<usize>) -> (SimulatedLog, Arc<Mutex<Sent>>) {
    let sent = Arc::new(Mutex::new(Sent {
        dies_after,
        ..Sent::default()
    }));
    let shared = Arc::clone(&sent);
    let log = log.process(move |call| shared.lock().unwrap().fault(call));
    (log, sent)
}

/// A world with one window, in which each user has one event; then one event that ends the window.
fn world() -> World {
    let mut world = World::new(Windows::tumbling(WINDOW).unwrap(), 1);
    let events: Vec<(u64, u64)> = (0..USERS).map(|user| (user, 5)).collect();
    world.put(0, &events);
    world.put(0, &[(1, 100)]);
    world
}

fn settings() -> Settings {
    Settings {
        workers: 1,
        max_transaction_rows: 1_000,
        ..Settings::default()
    }
}

#[test]
fn a_window_that_no_transaction_takes_in_time_is_committed_by_several() {
    let world = world();
    let (log, sent) = slow(&world.log, None);
    world.job(log, &settings()).run(&Stop::default()).unwrap();
    world.check();
    assert_eq!(world.committed().len() as u64, USERS + 1);

    let sent = sent.lock().unwrap();
    let records: usize = sent.committed.iter().sum();
    assert!(sent.committed.iter().all(|age| *age <= TIME_LIMIT));
    assert!(records as u64 >= USERS, "{records}");
    // Once the limit is found, few transactions exceed it.
    let wasted = sent.aborted * TIME_LIMIT;
    assert!(wasted * 3 < records, "{wasted} of {records}");
    assert_eq!(world.objects_in("attempts").len(), 1, "no attempt ended");
}

#[test]
fn a_death_between_the_transactions_of_a_window_repeats_none_of_its_rows() {
    for dies_after in [2, 3, 20, 40] {
        let world = world();
        let (log, sent) = slow(&world.log, Some(dies_after));
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.job(log.clone(), &settings()).run(&Stop::default())
        }));
        assert!(log.is_dead(), "{died:?}");
        assert_eq!(sent.lock().unwrap().committed.len(), dies_after);
        let before = world.committed().len();
        assert!((before as u64) < USERS, "{dies_after}: {before}");

        let (log, sent) = slow(&world.log, None);
        world.job(log, &settings()).run(&Stop::default()).unwrap();
        world.check();
        assert_eq!(world.committed().len() as u64, USERS + 1);

        let sent = sent.lock().unwrap();
        assert!(sent.committed.iter().all(|age| *age <= TIME_LIMIT));
    }
}

//! The whole client on simulated brokers and a simulated network, under schedules that are drawn from a seed.
//!
//! ```text
//! publications, a reader ──▶ the client of production ──▶ network ──▶ kafka: produce, fetch, coordinator, partition
//!          │                         threads, time                                   │
//!          │                               └──────── baton ────────┐                 │
//!          └── their results ──────────────────▶ oracle ◀─────────┴──── the logs ───┘
//! ```
//!
//! - `baton`: one thread at a time, and a clock that moves only when all wait; `network`: streams and their faults.
//! - `kafka`: brokers that stop, leaders and coordinators that move; `produce`, `fetch`, `answers`: their answers;
//!   `partition`, `coordinator`: the rules of Kafka for producers and transactions, under both protocols.
//! - `network` also checks each InitProducerId as it leaves the client: only an opening publisher may fence.
//! - `publications`: lives of publishers with kills, and a reader beside them; `oracle`: the comparison with the logs.
//!
//! A seed decides a run: the task that goes on, each delay, each fault. TLS, logins and the fencing of several ids at
//! once are left out; they use the same requests.
//!
//! `TIDEMARK_TEST_SEED` sets the first seed, and `TIDEMARK_TEST_SCHEDULES` the number of schedules. A schedule that fails
//! prints how to repeat it.

#![allow(clippy::print_stdout, reason = "a test that fails shows its schedule")]

mod answers;
mod attempt;
mod baton;
mod coordinator;
mod event;
mod fetch;
mod kafka;
mod links;
mod machine;
mod network;
mod oracle;
mod partition;
mod produce;
mod publications;
mod sessions;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::attempt::Told;
use self::event::{FAULTS, Fault};
use self::publications::{Happened, schedule};
use crate::native::cluster::lock;

/// The number of schedules without `TIDEMARK_TEST_SCHEDULES`.
const SCHEDULES: u64 = 300;
/// The number of runs at a time. A run mostly waits for its own threads.
const AT_A_TIME: usize = 8;

/// Prints how to repeat a schedule that fails.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            println!(
                "repeat with TIDEMARK_TEST_SEED={seed} TIDEMARK_TEST_SCHEDULES=1 cargo test -p record-log --lib \
                 on_any_simulated_schedule"
            );
        }
    }
}

fn run(seed: u64) -> Happened {
    let _repeat = Repeat(seed);
    schedule(seed)
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// The counts of all schedules together.
#[derive(Debug, Default)]
struct Met {
    schedules: u64,
    told: BTreeMap<Told, u64>,
    faults: BTreeMap<Fault, u64>,
    troubles: u64,
}

impl Met {
    fn add(&mut self, happened: &Happened) {
        self.schedules += 1;
        self.troubles += happened.troubles;
        for told in &happened.told {
            *self.told.entry(*told).or_default() += 1;
        }
        for (_, fault) in &happened.faults {
            *self.faults.entry(*fault).or_default() += 1;
        }
        if self.schedules.is_multiple_of(1_000) {
            println!("{self:?}");
        }
    }
}

#[test]
fn no_row_is_lost_doubled_or_torn_on_any_simulated_schedule() {
    let first = number("TIDEMARK_TEST_SEED", 1);
    let count = number("TIDEMARK_TEST_SCHEDULES", SCHEDULES);
    let next = AtomicU64::new(first);
    let met: Mutex<Met> = Mutex::default();

    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let happened = run(seed);
                    lock(&met).add(&happened);
                }
            });
        }
    });

    // Brokers and a network without faults would test nothing.
    let met = lock(&met);
    if count >= SCHEDULES {
        for fault in FAULTS {
            assert!(met.faults.contains_key(&fault), "{fault:?} is drawn");
        }
        for told in [
            Told::Killed,
            Told::Committed,
            Told::Not,
            Told::InDoubt,
            Told::Fenced,
        ] {
            assert!(met.told.contains_key(&told), "{told:?} is met");
        }
        assert!(met.troubles > count, "{met:?}");
    }
}

#[test]
fn a_seed_repeats_a_schedule_request_by_request() {
    let runs: Vec<Happened> = [7, 7, 8].into_iter().map(run).collect();
    let traces: Vec<_> = runs
        .iter()
        .map(|run| (run.requests, run.lasted_us, run.trace))
        .collect();
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
    assert!(traces[0].0 > 100, "{traces:?}");
}

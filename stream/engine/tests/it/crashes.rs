//! The job dies at every call on the log, before and after the call's effect, and replies get lost.
//! In every case the committed results equal those of a plain recount, each once.

#![allow(clippy::print_stdout, reason = "a test that fails shows its lives")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use object_store::path::Path;
use rand::RngExt;
use rand::rngs::SmallRng;
use record_log::simulated::{Call, Fault, SimulatedLog};
use stream::{Aggregate, CheckpointStore, JobError, Key, Run, Settings, Stop};

use crate::damage::wait;
use crate::oracle::{World, random, settings, windows};

/// The end of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Life {
    Finished,
    Died,
}

/// Runs a job in a process whose call number `at` on `log` meets `fault`.
pub fn live<K: Key, A: Aggregate>(
    log: &SimulatedLog,
    (at, fault): (u64, Fault),
    job: impl FnOnce(SimulatedLog) -> Run<K, A>,
) -> Life {
    let calls = Arc::new(AtomicU64::new(0));
    let process: SimulatedLog = log.process(move |call: &Call<'_>| {
        // Readers poll all the time, so only calls that open, send or commit something are counted.
        let matters = !matches!(call, Call::Poll { .. } | Call::Offsets { .. });
        let number = if matters {
            calls.fetch_add(1, Ordering::SeqCst)
        } else {
            u64::MAX
        };
        if number == at { fault } else { Fault::None }
    });
    let job = job(process.clone());
    let stop = Stop::default();

    match std::thread::scope(|scope| scope.spawn(|| job.run(&stop)).join()) {
        Ok(Ok(())) if !process.is_dead() => Life::Finished,
        Ok(Err(JobError::Worker(_) | JobError::Publish(_))) | Err(_) => Life::Died,
        Ok(other) => {
            assert!(
                process.is_dead(),
                "a job that did not die ended with {other:?}"
            );
            Life::Died
        }
    }
}

/// Draws a fault and the number of the call that meets it.
pub fn any_fault(random: &mut SmallRng) -> (u64, Fault) {
    let faults = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::LoseReply,
        Fault::Unavailable,
    ];

    (
        random.random_range(0..60),
        faults[random.random_range(0..4)],
    )
}

/// Runs a job in several lives with any number of workers, each of which meets a drawn fault. Returns the number of deaths.
fn meet_faults<K: Key, A: Aggregate>(
    world: &mut World,
    first: &Settings,
    random: &mut SmallRng,
    job: impl Fn(&World, SimulatedLog, &Settings) -> Run<K, A>,
) -> u64 {
    let mut deaths = 0;
    for _ in 0..random.random_range(2..=5) {
        world.publish(random.random_range(0..80), random);
        let settings = Settings {
            workers: random.random_range(1..=3),
            ..first.clone()
        };

        let fault = any_fault(random);
        println!("{} records, {fault:?}, {settings:?}", world.records.len());

        let life = live(&world.log, fault, |log| job(world, log, &settings));
        deaths += u64::from(life == Life::Died);
    }

    deaths
}

/// Creates the job of a world, on a log.
pub type MakeJob<K, A> = fn(&World, SimulatedLog, &Settings) -> Run<K, A>;

/// Runs drawn worlds with a fault at any call, and compares the results of each.
///
/// # Panics
/// If hardly any process died.
pub fn meet_deaths<K: Key, A: Aggregate>(
    draw: impl Fn(&mut SmallRng) -> World,
    job: MakeJob<K, A>,
) {
    let mut deaths = 0;
    for seed in 1..=40 {
        let mut random = random(seed);
        let mut world = draw(&mut random);
        let first = settings(&mut random);

        println!("seed {seed}");
        deaths += meet_faults(&mut world, &first, &mut random, job);
        world.run(&first).unwrap();
        world.check();
    }

    assert!(deaths > 20, "jobs die in this test: {deaths}");
}

#[test]
fn whatever_call_a_job_dies_at_everything_is_counted_once() {
    let draw = |random: &mut SmallRng| World::new(windows(random), random.random_range(1..=4));
    meet_deaths(draw, World::job);
}

#[test]
fn a_commit_in_doubt_ends_a_job_for_good_if_a_later_attempt_was_claimed() {
    for is_claimed in [false, true] {
        let mut random = random(7);
        let mut world = World::new(windows(&mut random), 2);
        world.publish(80, &mut random);
        let settings = Settings::default();
        world.run(&settings).unwrap();
        world.publish(80, &mut random);

        // The commits of the attempt's start are past when its first results are committed.
        let is_met = Arc::new(AtomicBool::new(false));
        let met = Arc::clone(&is_met);
        let objects = world.objects.clone();
        let log = world.log.process(move |call: &Call<'_>| {
            let is_first = matches!(call, Call::Commit { .. }) && !met.swap(true, Ordering::SeqCst);
            if is_first && is_claimed {
                let store = CheckpointStore::new(objects.clone(), Path::default(), "counts");
                wait(store.claim_attempt()).unwrap();
            }
            if is_first {
                Fault::LoseReply
            } else {
                Fault::None
            }
        });

        let ended = world.job(log, &settings).run(&Stop::default());
        assert!(is_met.load(Ordering::SeqCst));
        match ended {
            Ok(()) => assert!(!is_claimed),
            Err(error) => assert!(is_claimed && error.is_superseded(), "{error}"),
        }
        world.run(&settings).unwrap();
        world.check();
    }
}

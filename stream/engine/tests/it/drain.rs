//! A job that is to stop commits closed windows, and ends. On a second request, or after its
//! stop timeout, it ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::RngExt;
use record_log::simulated::{Call, Fault, SimulatedLog};
use stream::{Settings, Stop, Windows};

use crate::lives::beside;
use crate::oracle::{World, random, settings, windows};
use crate::side_outputs::wait_until;

/// A log whose commits take a while, so that a stop finds panes that are closed and not committed.
fn slow(log: &SimulatedLog) -> SimulatedLog {
    let plan = |call: &Call<'_>| {
        if matches!(call, Call::Commit { .. }) {
            thread::sleep(Duration::from_millis(20));
        }
        Fault::None
    };
    log.process(plan).in_batches_of(4)
}

#[test]
fn windows_closed_at_a_stop_are_committed_when_the_job_ends() {
    for seed in 1..=12 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=4));
        world.behind = 0.0;
        world.malformed = 0.1;
        let first = settings(&mut random);
        for life in 0..3 {
            world.publish(150, &mut random);
            let settings = Settings {
                workers: random.random_range(1..=6),
                ..first.clone()
            };
            world.prepare(&settings);
            let before = world.log.records("counts").len();
            let job = world.running(slow(&world.log), &settings);
            let stop = Stop::default();
            let run = || job.run(&stop).unwrap();
            beside(&stop, run, |_| {
                wait_until("a result", || world.log.records("counts").len() > before);
                stop.request();
            });

            let newest = world.objects_in("manifests").pop().unwrap();
            let boundary = world.manifest(&newest).boundary;
            let owed = world.rows_ending_by(boundary);
            let committed = world.committed();
            for (row, count) in &owed {
                let found = committed.get(row);
                assert_eq!(
                    found,
                    Some(count),
                    "seed {seed}, life {life}: {row:?}, {boundary}"
                );
            }
            assert!(!owed.is_empty());
        }
        world.run(&first).unwrap();
        world.check();
    }
}

#[test]
fn a_job_that_cannot_commit_ends_at_its_timeout_or_second_stop() {
    let hour = Duration::from_secs(3600);
    for (stop_timeout, requests) in [(Duration::from_millis(200), 1), (hour, 2)] {
        let mut random = random(7);
        let ms = Duration::from_millis;
        let mut world = World::new(Windows::tumbling(ms(10)).unwrap(), 2);
        world.publish(200, &mut random);
        let settings = Settings {
            stop_timeout,
            disorder: Duration::ZERO,
            ..Settings::default()
        };
        let has_failed = Arc::new(AtomicBool::new(false));
        let failed = Arc::clone(&has_failed);
        let log = world.log.process(move |call| match call {
            Call::Send {
                topic: "counts", ..
            } => {
                failed.store(true, Ordering::SeqCst);
                Fault::Unavailable
            }
            _ => Fault::None,
        });
        let job = world.running(log, &settings);
        let stop = Stop::default();
        let run = || job.run(&stop).unwrap();
        beside(&stop, run, |running| {
            wait_until("a result", || has_failed.load(Ordering::SeqCst));
            (0..requests).for_each(|_| stop.request());
            wait_until("the end", || running.is_finished());
        });
        assert!(world.log.records("counts").is_empty());
        world.run(&settings).unwrap();
        world.check();
    }
}

#[test]
fn a_start_after_a_drained_stop_repeats_nothing() {
    let mut random = random(11);
    let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 2);

    world.publish(300, &mut random);
    let settings = Settings::default();

    for _ in 0..4 {
        let job = world.running(slow(&world.log), &settings);
        let stop = Stop::default();
        let before = world.log.records("counts").len();
        let run = || job.run(&stop).unwrap();
        beside(&stop, run, |_| {
            wait_until("everything read", || {
                job.metrics.status(0).records >= 50 || world.log.records("counts").len() > before
            });
            stop.request();
        });
    }

    world.run(&settings).unwrap();
    world.check();
}

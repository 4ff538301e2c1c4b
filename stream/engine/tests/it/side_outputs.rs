//! Side outputs wait neither for event time nor for a checkpoint, and their memory is bounded.

use std::thread;
use std::time::{Duration, Instant};

use stream::{ByteSize, Settings, Stop, Windows};

use crate::lives::beside;
use crate::oracle::{World, random};

/// A time limit that no correct step reaches.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `has_come` returns true.
pub fn wait_until(what: &str, mut has_come: impl FnMut() -> bool) {
    let since = Instant::now();
    while !has_come() {
        assert!(since.elapsed() < PATIENCE, "{what} does not come about");
        thread::sleep(Duration::from_millis(2));
    }
}

fn world() -> World {
    World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 3)
}

#[test]
fn dead_letters_are_published_although_no_event_time_passes() {
    let mut world = world();
    world.malformed = 1.0;
    world.publish(200, &mut random(1));

    // There is room for one record at a time: reading goes on as they are published.
    let settings = Settings {
        side_output_memory: ByteSize::bytes(1),
        ..Settings::default()
    };
    let job = world.running(world.log.clone(), &settings);
    let stop = Stop::default();

    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        wait_until("every dead letter", || {
            world.log.records("events-dead-letter").len() >= 200
        });
        stop.request();
    });

    world.run(&settings).unwrap();
    world.check();
}

#[test]
fn records_that_are_too_late_are_published_while_no_time_passes() {
    let mut world = world();
    let settings = Settings {
        allowed_lateness: Duration::ZERO,
        disorder: Duration::ZERO,
        side_output_memory: ByteSize::bytes(1_000),
        ..Settings::default()
    };

    let job = world.running(world.log.clone(), &settings);
    let stop = Stop::default();

    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        for partition in 0..3 {
            world.put(partition, &[(7, 5_000)]);
        }
        // A checkpoint at a boundary: the capabilities of all workers have passed it.
        wait_until("a checkpoint", || {
            let checkpoint = job.metrics.status(0).checkpoint;
            checkpoint.is_some_and(|checkpoint| checkpoint.boundary_ms >= 4_000)
        });
        for partition in 0..3 {
            world.put(partition, &[(7, 1_000); 100]);
        }
        wait_until("every late record", || {
            world.log.records("events-late").len() >= 300
        });
        stop.request();
    });

    world.run(&settings).unwrap();
    world.check();
}

#[test]
fn what_a_checkpoint_holds_does_not_grow_with_bad_records() {
    let entries = [0, 200].map(|malformed| {
        let mut random = random(3);
        let mut world = world();
        let settings = Settings::default();
        world.publish(300, &mut random);
        (0..3).for_each(|partition| world.put_malformed(partition, malformed));
        world.run(&settings).unwrap();
        world.check();
        let manifest = world.manifest(world.objects_in("manifests").last().unwrap());
        manifest.parts.iter().map(|part| part.entries).sum::<u64>()
    });
    assert_eq!(entries[0], entries[1]);
}

#[test]
fn side_outputs_from_before_a_checkpoint_are_not_repeated() {
    for seed in 1..=10 {
        let mut random = random(seed);
        let mut world = world();
        world.malformed = 0.4;
        world.publish(100, &mut random);
        let settings = Settings::default();
        for _ in 0..3 {
            let job = world.running(world.log.clone(), &settings);
            let stop = Stop::default();
            let bad = world.malformed_records();
            let run = || job.run(&stop).unwrap();
            beside(&stop, run, |_| {
                wait_until("every dead letter", || {
                    world.log.records("events-dead-letter").len() >= bad
                });
                // Twice: it ends at once, with all that it holds.
                stop.request();
                stop.request();
            });
            world.publish(20, &mut random);
        }
        world.run(&settings).unwrap();
        world.check();
    }
}

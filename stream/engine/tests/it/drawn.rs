//! Drawn worlds for a job: read by any workers, and by several processes of which one dies. The world's own check
//! compares the results each time.

#![allow(clippy::print_stdout, reason = "a test that fails shows its worlds")]

use rand::RngExt;
use rand::rngs::SmallRng;
use stream::{Aggregate, Key, Settings};

use crate::cluster::Processes;
use crate::crashes::{MakeJob, any_fault};
use crate::oracle::{World, random, settings};

/// Runs worlds several times, each time with more records, other workers and other settings.
pub fn meet_any_workers(draw: impl Fn(&mut SmallRng) -> World) {
    for seed in 1..=30 {
        let mut random = random(seed);
        let mut world = draw(&mut random);

        for _ in 0..random.random_range(1..=4) {
            world.publish(random.random_range(0..300), &mut random);
            let settings = settings(&mut random);
            println!("seed {seed}: {} records, {settings:?}", world.records.len());
            world.run(&settings).unwrap();
            world.check();
        }
    }
}

/// Runs worlds in several processes, of which one meets a fault.
///
/// # Panics
/// If hardly any process was started again.
pub fn meet_lost_processes<K: Key, A: Aggregate>(
    draw: impl Fn(&mut SmallRng) -> World,
    job: MakeJob<K, A>,
) {
    let mut again = 0;
    for seed in 1..=10 {
        let mut random = random(seed);
        let mut world = draw(&mut random);
        let first = settings(&mut random);

        for _ in 0..2 {
            world.publish(random.random_range(30..100), &mut random);
            let settings = Settings {
                workers: random.random_range(1..=2),
                ..first.clone()
            };
            let processes = random.random_range(2..=3);
            let (at, fault) = any_fault(&mut random);
            let death = Some((random.random_range(0..processes), at % 25, fault));
            println!("seed {seed}: {death:?} of {processes}, {settings:?}");

            let job = |_, log| job(&world, log, &settings);
            again += Processes::new(processes).run_jobs(&world.log, job, death) - processes as u64;
            world.check();
        }
    }

    assert!(
        again > 10,
        "processes are started again in this test: {again}"
    );
}

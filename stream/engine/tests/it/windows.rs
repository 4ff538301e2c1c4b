//! The same input gives the same windows, for any number of workers, partitions and restarts.

use std::time::Duration;

use rand::RngExt;
use stream::{Settings, Windows};

use crate::lives::live_to_the_end;
use crate::oracle::{World, random, settings, windows};

#[test]
fn counts_equal_a_plain_recount_for_any_settings() {
    for seed in 1..=60 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=5));
        world.publish(random.random_range(0..400), &mut random);

        let settings = settings(&mut random);
        println!(
            "seed {seed}: {} records, {:?}, {settings:?}",
            world.records.len(),
            world.windows
        );

        world.run(&settings).unwrap();
        world.check();
    }
}

#[test]
fn a_job_with_other_workers_corrects_rows_and_repeats_none() {
    let mut corrected = 0;
    for seed in 1..=40 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=4));
        world.is_filtered = random.random_bool(0.5);
        let first = settings(&mut random);

        println!("seed {seed}");
        live_to_the_end(&mut world, &first, &mut random);
        corrected += u64::from(world.highest_revision() > 0);
    }

    assert!(
        corrected > 10,
        "late records are among the inputs: {corrected} of 40 runs corrected a window"
    );
}

#[test]
fn copies_are_one_event_in_a_partition_and_two_in_two_partitions() {
    let event = || vec!["7 105 55".to_owned(); 2];
    for workers in 1..=3 {
        let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
        let mut world = World::new(windows, 2);
        let settings = Settings {
            workers,
            ..Settings::default()
        };

        // The second life reads the ids of the first one again.
        for _ in 0..2 {
            for partition in [0, 1] {
                world.put_values(partition, event());
            }
            world.run(&settings).unwrap();
            let counts: Vec<_> = world.committed().into_iter().collect();
            assert_eq!(counts, [((100, 7), 2)], "{workers} workers");
        }
    }
}

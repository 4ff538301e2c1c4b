//! Settings that change between starts: a change that results depend on is rejected by name, and
//! the allowed lateness may change in both directions.

use std::time::Duration;

use rand::RngExt;
use stream::{Aggregate, Count, Job, JobError, Max, Settings, Stop, Sum, Windows};

use crate::oracle::{World, decode, random, settings, windows};

#[test]
fn a_lateness_that_changes_between_starts_corrupts_no_window() {
    let mut corrected = 0;
    let mut late = 0;
    for seed in 1..=60 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=4));
        world.has_copies = true;

        let first = settings(&mut random);
        for _ in 0..random.random_range(2..=5) {
            world.publish(random.random_range(1..100), &mut random);
            let allowed_ms = [0, 20, 40, 200, 1000][random.random_range(0..5)];
            let settings = Settings {
                workers: random.random_range(1..=3),
                allowed_lateness: Duration::from_millis(allowed_ms),
                ..first.clone()
            };
            println!("seed {seed}: {} records, {settings:?}", world.records.len());
            world.run(&settings).unwrap();
            world.check();
        }

        corrected += world.highest_revision();
        late += world.log.records("events-late").len();
    }

    assert!(corrected > 60 && late > 60, "{corrected} and {late}");
}

/// Returns the message with which a job that keeps `A` is rejected where another kept `Max`.
fn refused<A: Aggregate>(aggregate: fn(u64) -> A) -> Option<String> {
    let world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 1);
    let run = |job: Result<(), JobError>| job.map_err(|error| error.to_string());
    let settings = Settings::default();
    let first = pipeline(&world, Max);

    run(world
        .run_of(first, world.log.clone(), &settings)
        .run(&Stop::default()))
    .unwrap();

    let second = pipeline(&world, aggregate);
    run(world
        .run_of(second, world.log.clone(), &settings)
        .run(&Stop::default()))
    .err()
}

fn pipeline<A: Aggregate>(world: &World, aggregate: fn(u64) -> A) -> stream::Pipeline<u64, A> {
    Job::new("counts")
        .source("events", decode)
        .window(world.windows)
        .aggregate(move |key: u64| [(key, aggregate(key))])
        .sink("counts", |_, _| {})
}

#[test]
fn another_kind_of_aggregate_is_refused_by_name() {
    let sentence = refused(Sum).unwrap();
    assert!(
        sentence.contains("the aggregate type was \"max u64\" and is now \"sum\""),
        "{sentence}"
    );

    assert!(sentence.contains("start-over"), "{sentence}");
    assert!(refused(|_| Count(1)).is_some_and(|sentence| sentence.contains("now \"count\"")));
    assert_eq!(refused(Max), None);
}

#[test]
fn another_limit_of_the_future_is_refused_by_name() {
    let mut random = random(1);
    let mut world = World::new(windows(&mut random), 1);
    world.publish(50, &mut random);

    let settings = Settings::default();
    world.run(&settings).unwrap();
    let max_future_skew = Duration::from_secs(1);

    let refused = world
        .run(&Settings {
            max_future_skew,
            ..settings
        })
        .unwrap_err();
    let sentence = refused.to_string();

    assert!(
        sentence.contains("the max future skew was \"1m\" and is now \"1s\""),
        "{sentence}"
    );
}

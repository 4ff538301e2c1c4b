//! Settings that change between starts: a change that results depend on is rejected by name, and
//! the allowed lateness may change in both directions.

use std::time::Duration;

use rand::RngExt;
use stream::{Settings, Windows};

use crate::oracle::{Form, World, random, settings, windows};

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

#[test]
fn another_kind_of_aggregate_is_refused_by_name() {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let of_two = |form| {
        let mut world = World::new(windows, 1).and(1);
        world.form = form;
        world
    };
    let settings = Settings::default();

    for (form, other, named) in [
        (
            Form::Joined,
            Form::Counting,
            "was \"joined (count, count)\" and is now \"count\"",
        ),
        (
            Form::Counting,
            Form::Joined,
            "was \"count\" and is now \"joined (count, count)\"",
        ),
    ] {
        let mut world = of_two(form);
        world.put(0, &[(1, 5)]);
        world.run(&settings).unwrap();

        world.form = other;
        let sentence = world.run(&settings).unwrap_err().to_string();
        assert!(sentence.contains("the aggregate type"), "{sentence}");
        assert!(sentence.contains(named), "{sentence}");
        assert!(sentence.contains("start-over"), "{sentence}");

        world.form = form;
        world.run(&settings).unwrap();
        world.check();
    }
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

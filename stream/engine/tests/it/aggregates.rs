//! Every aggregate is a commutative monoid, survives its encoding, and gives the same results in
//! the engine as in a plain recount.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::path::Path;
use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use record_log::Record;
use stream::{
    Aggregate, CheckpointStore, Count, Distinct, DistinctExact, Job, Max, Min, Output, Pipeline,
    Run, Session, Sessions, Settings, Stop, Sum, Tally, Top,
};

use crate::oracle::{World, decode, random, settings, windows};

/// Merges the parts two at a time, in a random order and grouping.
fn merged_at_random<A: Aggregate>(mut parts: Vec<A>, random: &mut SmallRng) -> A {
    parts.shuffle(random);
    while parts.len() > 1 {
        let part = parts.swap_remove(random.random_range(0..parts.len()));
        let into = random.random_range(0..parts.len());
        parts[into].merge(&part);
    }

    parts.pop().unwrap()
}

/// Encodes and decodes the aggregate as in a part of a checkpoint.
fn through_a_part<A: Aggregate>(aggregate: &A) -> A {
    postcard::from_bytes(&postcard::to_stdvec(aggregate).unwrap()).unwrap()
}

fn obeys_the_laws<A: Aggregate>(of: impl Fn(u64) -> A) {
    for (seed, (count, distinct)) in [(1, 5), (3, 5), (50, 10), (300, 280), (700, 5000)]
        .into_iter()
        .enumerate()
    {
        let mut random = random(seed as u64 + 1);
        let parts: Vec<A> = (0..count)
            .map(|_| of(random.random_range(0..distinct)))
            .collect();

        let in_order = parts[1..].iter().fold(parts[0].clone(), |mut all, part| {
            all.merge(part);
            all
        });

        for _ in 0..20 {
            assert_eq!(
                merged_at_random(parts.clone(), &mut random),
                in_order,
                "{count} parts"
            );
        }

        let decoded = parts.iter().map(through_a_part).collect();
        assert_eq!(
            through_a_part(&merged_at_random(decoded, &mut random)),
            in_order,
            "{count} decoded parts"
        );
    }
}

#[test]
fn aggregates_merge_alike_in_any_order_and_over_checkpoints() {
    obeys_the_laws(Count);
    obeys_the_laws(Sum);
    obeys_the_laws(Min);
    obeys_the_laws(Max);
    obeys_the_laws(|value| Distinct::of(&value));
    obeys_the_laws(DistinctExact::of);
    obeys_the_laws(Top::<u64, 1>::of);
    obeys_the_laws(|value| Top::<(u64, String), 4>::of((value, value.to_string())));
    obeys_the_laws(|value| Tally::of(value, value % 3));
    obeys_the_laws(|value| Session::of(value, Count(1)));
    obeys_the_laws(|value| Sessions::<Count, 7>::of(value, Count(1)));
    obeys_the_laws(|value| {
        Sessions::<(Max<u64>, Sum), 0>::of(value / 10 * 3, (Max(value), Sum(1)))
    });

    obeys_the_laws(|value| {
        (
            Distinct::of(&value),
            (Top::<u64, 3>::of(value), Sum(value)),
            Tally::of(value % 7, 1),
        )
    });
}

type Kept = (
    Distinct,
    (Top<u64, 3>, DistinctExact<u64>),
    (Tally<u64>, Sessions<Count, GAP_MS>),
);

/// The gap that ends a session.
const GAP_MS: u64 = 2;

/// The emitted results of a window and key: distinct values by both methods, the three greatest,
/// the two most frequent, and the sessions with their counts.
type Emitted = (u64, u64, Vec<u64>, Vec<(u64, u64)>, Vec<(u64, u64, u64)>);

/// Returns the value of a record. The oracle and the job compute it in the same way.
fn value_of(partition: u32, offset: u64, of_so_many: u64) -> u64 {
    (u64::from(partition) * 5 + offset * offset) % of_so_many
}

fn job(world: &World, of_so_many: u64) -> Pipeline<u64, Kept> {
    Job::new("kept")
        .source("events", move |record: &Record<'_>| {
            let (time, key) = decode(record)?;
            Ok((
                time,
                (
                    key,
                    time,
                    value_of(record.partition, record.offset, of_so_many),
                ),
            ))
        })
        .window(world.windows)
        .aggregate(|(key, time, value): (u64, u64, u64)| {
            let top = Top::of(value);
            let exact = DistinctExact::of(value);
            let tally = Tally::of(value, 1);
            let sessions = Sessions::of(time, Count(1));
            [(key, (Distinct::of(&value), (top, exact), (tally, sessions)))]
        })
        .sink("kept", |row, output: &mut Output| {
            let (distinct, (top, exact), (tally, sessions)) = &row.aggregate;
            let sessions: Vec<_> = sessions
                .all()
                .iter()
                .map(|one| (one.first_ms, one.last_ms, one.aggregate.0))
                .collect();

            let emitted = (
                distinct.estimate(),
                exact.0.len(),
                top.values(),
                tally.most_frequent(2),
                sessions,
            );

            serde_json::to_writer(
                &mut output.value,
                &(row.window_start, row.key, row.revision, emitted),
            )
            .unwrap();
        })
}

fn run(world: &World, of_so_many: u64, settings: Settings) {
    let settings = Settings {
        until_end: true,
        ..settings
    };

    let mut run = Run::new(
        job(world, of_so_many),
        settings,
        Arc::new(world.log.clone()),
    )
    .unwrap();
    run.store = CheckpointStore::new(world.objects.clone(), Path::default(), "kept");
    run.run(&Stop::default()).unwrap();
}

/// Returns the committed results, each row at its highest revision.
fn emitted(world: &World) -> BTreeMap<(u64, u64), Emitted> {
    let rows = world.log.records("kept").into_iter();
    let mut rows: Vec<(u64, u64, u32, Emitted)> = rows
        .map(|record| serde_json::from_slice(&record.value.unwrap()).unwrap())
        .collect();
    rows.sort();

    rows.into_iter()
        .map(|(window, key, _, emitted)| ((window, key), emitted))
        .collect()
}

fn recounted(world: &World, of_so_many: u64) -> BTreeMap<(u64, u64), Emitted> {
    let late = world.side_outputs("late");
    let mut values: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
    for (position, event) in &world.records {
        let Some((key, time)) = event.filter(|_| !late.contains(position)) else {
            continue;
        };
        for window in world.windows_of(time) {
            values
                .entry((window, key))
                .or_default()
                .push((time, value_of(position.0, position.1, of_so_many)));
        }
    }

    values
        .into_iter()
        .map(|(row, events)| (row, aggregated(events)))
        .collect()
}

fn aggregated(mut events: Vec<(u64, u64)>) -> Emitted {
    events.sort_unstable();
    let together = |one: &(u64, u64), next: &(u64, u64)| next.0 - one.0 <= GAP_MS;
    let sessions = events
        .chunk_by(together)
        .map(|run| (run[0].0, run[run.len() - 1].0, run.len() as u64))
        .collect();

    let values: Vec<u64> = events.iter().map(|(_, value)| *value).collect();
    let distinct: BTreeSet<u64> = values.iter().copied().collect();
    let greatest = distinct.iter().rev().take(3).copied().collect();
    let times = |value: &u64| values.iter().filter(|other| *other == value).count() as u64;

    let mut frequent: Vec<(u64, u64)> = distinct
        .iter()
        .map(|value| (*value, times(value)))
        .collect();
    frequent.sort_by_key(|(value, times)| (std::cmp::Reverse(*times), *value));
    frequent.truncate(2);

    (
        distinct.len() as u64,
        distinct.len() as u64,
        greatest,
        frequent,
        sessions,
    )
}

#[test]
fn aggregates_equal_a_plain_recount_for_any_settings() {
    for seed in 1..=30 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=4));
        let of_so_many = random.random_range(1..40);
        let first = settings(&mut random);

        for _ in 0..random.random_range(1..=3) {
            world.publish(random.random_range(0..200), &mut random);
            let settings = Settings {
                workers: random.random_range(1..=3),
                ..first.clone()
            };

            println!(
                "seed {seed}: {} records of {of_so_many} values, {settings:?}",
                world.records.len()
            );

            run(&world, of_so_many, settings);
            assert_eq!(emitted(&world), recounted(&world, of_so_many));
        }
    }
}

#[test]
fn estimates_of_distinct_values_do_not_depend_on_workers() {
    let estimates = |workers| {
        let mut random = random(7);
        let hour = stream::Windows::tumbling(std::time::Duration::from_secs(3600)).unwrap();
        let mut world = World::new(hour, 4);
        world.publish(20_000, &mut random);

        run(
            &world,
            1 << 40,
            Settings {
                workers,
                ..Settings::default()
            },
        );

        emitted(&world)
    };
    let alone = estimates(1);
    assert_eq!(alone, estimates(3));

    for ((_, key), (estimate, exact, ..)) in alone {
        let error = estimate as f64 / exact as f64 - 1.0;
        assert!(
            exact > 2_000 && error.abs() < 0.06,
            "key {key}: {exact} values are estimated as {estimate}"
        );
    }
}

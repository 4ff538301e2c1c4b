//! Jobs without a window: whatever happens, each record that is published is there once and in
//! order.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use record_log::Record;
use record_log::simulated::SimulatedLog;
use stream::{
    Emitted, Job, JobError, Passing, Pipeline, Run, Settings, SourcePartition, Sourced, Stop,
    Windows,
};

use crate::crashes::meet_deaths;
use crate::drawn::{meet_any_workers, meet_lost_processes};
use crate::oracle::{Form, SECOND, World, decode, random, write};

/// A value of the job: the record's partition, offset and key, and the number of its copy.
type Copy = (u32, u64, u64, u64);

/// Defines what is read of one topic or two. Values have the ids of partitions.
fn sourced(has_two_topics: bool) -> Passing<Copy> {
    let decoded = |first_id: u32| {
        move |record: &Record<'_>| {
            let (time, key) = decode(record)?;
            Ok((time, (first_id + record.partition, record.offset, key)))
        }
    };
    let interval = Duration::from_millis(10);
    let mut source = Job::new("counts").source("events", decoded(0));
    if has_two_topics {
        source = source.and(Sourced::of("more-events", decoded(SECOND)));
    }

    let passing = source
        .filter(|(_, _, key)| *key != 3)
        .map(|(partition, offset, key)| (partition, offset, 10 * key))
        .without_window(interval);

    passing.unwrap().flat_map(|(partition, offset, key)| {
        (0..copies(key / 10)).map(move |copy| (partition, offset, key, copy))
    })
}

/// The number of records that the job publishes for a record with this key.
fn copies(key: u64) -> u64 {
    if key == 3 { 0 } else { key % 3 }
}

/// Defines a job that publishes some records of this world twice and some not at all, and the second
/// copies to another topic as well.
pub fn pipeline(has_two_topics: bool) -> Pipeline<SourcePartition, Emitted> {
    let encode = |(partition, offset, key, copy): &Copy, output: &mut stream::Output| {
        output.key.extend(partition.to_string().bytes());
        write(&[(*partition).into(), *offset, *copy, *key], output);
    };

    sourced(has_two_topics)
        .branch("second-copies", move |value, output| {
            encode(value, output);
            if value.3 != 1 {
                output.skip();
            }
        })
        .sink("counts", encode)
}

/// Compares everything that is published with a plain program.
///
/// # Panics
/// If they differ.
pub fn check(world: &World, may_repeat: bool) {
    let mut expected: BTreeMap<u64, Vec<Vec<u64>>> = BTreeMap::new();
    for ((partition, offset), event) in &world.records {
        let Some((key, _)) = event else { continue };
        let rows = (0..copies(*key)).map(|copy| vec![(*partition).into(), *offset, copy, 10 * key]);
        expected
            .entry((*partition).into())
            .or_default()
            .extend(rows);
    }
    expected.retain(|_, rows| !rows.is_empty());

    let second = |rows: &BTreeMap<u64, Vec<Vec<u64>>>| -> Vec<Vec<u64>> {
        let rows = rows.values().flatten();
        rows.filter(|row| row[2] == 1).cloned().collect()
    };
    assert_eq!(published(world, "counts", may_repeat), expected);
    let branch = published(world, "second-copies", may_repeat);
    assert_eq!(
        branch.into_values().flatten().collect::<Vec<_>>(),
        second(&expected)
    );

    let dead = world.side_outputs("dead-letter");
    assert!(may_repeat || dead.len() == world.side_records("dead-letter").len());
    for (position, event) in &world.records {
        assert_eq!(event.is_none(), dead.contains(position), "{position:?}");
    }
    assert!(world.side_records("late").is_empty(), "nothing is late");
}

/// Returns the rows of a topic by source partition, in the order in which they were published; each
/// once and in the order of offsets, if they may be repeated.
fn published(world: &World, topic: &str, may_repeat: bool) -> BTreeMap<u64, Vec<Vec<u64>>> {
    let mut rows: BTreeMap<u64, Vec<Vec<u64>>> = BTreeMap::new();
    for row in world.numbers(topic) {
        rows.entry(row[0]).or_default().push(row);
    }
    if may_repeat {
        for rows in rows.values_mut() {
            rows.sort();
            rows.dedup();
        }
    }
    rows
}

fn world(random: &mut SmallRng) -> World {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut world = World::new(windows, random.random_range(1..=4));
    if random.random_bool(0.5) {
        world = world.and(random.random_range(1..=3));
    }
    world.form = Form::Passing;
    world
}

fn job(world: &World, log: SimulatedLog, settings: &Settings) -> Run<SourcePartition, Emitted> {
    world.run_of(pipeline(world.topics().len() > 1), log, settings)
}

#[test]
fn each_record_is_published_once_and_in_order_by_any_workers() {
    meet_any_workers(world);
}

#[test]
fn each_record_is_there_once_if_a_job_without_a_window_dies() {
    meet_deaths(world, job);
}

#[test]
fn each_record_is_there_once_whichever_process_dies() {
    meet_lost_processes(world, job);
}

#[test]
fn what_has_no_window_is_named_where_one_is_needed() {
    let world = world(&mut random(1));
    let refused = |pipeline| {
        let run = world.run_of(pipeline, world.log.clone(), &Settings::default());
        let Err(JobError::Settings(sentence)) = run.run(&Stop::default()) else {
            panic!("the job runs");
        };
        sentence
    };

    let ranked = pipeline(false).top("tops", 1, |one, other| one.cmp(&other), |_, _| {});
    assert!(refused(ranked).contains("no window, so it has no totals, ranking or stage"));

    let identified = Job::new("counts")
        .source("events", decode)
        .identified_by(|key| Some((*key).into()))
        .map(|key| key + 1)
        .without_window(Duration::from_millis(10));
    let identified = identified.unwrap().sink("counts", |_, _| {});
    assert!(refused(identified).contains("cannot hold the ids of events"));

    let none = Job::new("counts").source("events", decode);
    assert!(none.without_window(Duration::ZERO).is_err());
}

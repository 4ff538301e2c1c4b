//! Joins of two topics by key and window: rows equal those of a plain program, after any late record, any
//! restart and any death.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use stream::internals::part;
use stream::{Count, Job, JobError, Joined, Pipeline, Settings, Sourced, Stop, Windows};

use crate::crashes::meet_deaths;
use crate::lives::live_to_the_end;
use crate::oracle::{Form, SECOND, World, identified, random, settings, windows, write};

type Counts = BTreeMap<(u64, u64), u64>;

/// Defines a job that counts the events of two topics by key and window, and joins the counts. It also
/// totals each window.
pub fn pipeline(windows: Windows, is_left: bool) -> Pipeline<u64, Joined<Count, Count>> {
    joining(windows, is_left, source("more-events"))
}

/// A key, and the id of an event.
type Identified = (u64, Option<u64>);

fn source(topic: &str) -> Sourced<Identified> {
    Sourced::of(topic, identified).identified_by(|(_, id)| id.map(Into::into))
}

fn joining(
    windows: Windows,
    is_left: bool,
    right: Sourced<Identified>,
) -> Pipeline<u64, Joined<Count, Count>> {
    let windowed = Job::new("counts")
        .source("events", identified)
        .identified_by(|(_, id)| id.map(Into::into))
        .with(right)
        .window(windows);

    let count = |(key, _): Identified| [(key, Count(1))];
    let joined = if is_left {
        windowed.left_join(count, count)
    } else {
        windowed.join(count, count)
    };

    joined
        .sink("counts", |row, output| {
            output.key.extend(row.key.to_string().bytes());
            let [left, right] = counts_of(&row.aggregate);
            let revision = row.revision.into();
            write(&[row.window_start, row.key, revision, left, right], output);
        })
        .summarize(
            "totals",
            0,
            |one, other| one.cmp(&other),
            |totals, output| {
                let [left, right] = counts_of(&totals.aggregate);
                let revision = totals.revision().into();
                let numbers = [totals.window_start, revision, totals.keys, left, right];
                write(&numbers, output);
            },
        )
}

fn counts_of(joined: &Joined<Count, Count>) -> [u64; 2] {
    [&joined.left, &joined.right].map(|count| count.as_ref().map_or(0, |count| count.0))
}

/// Returns the pane, key and count of each entry of a part's panes before `until`, of both topics
/// together.
pub fn counts_of_part(bytes: &[u8], until: u64) -> Vec<(u64, u64, u64)> {
    let panes = part::read::<u64, Joined<Count, Count>>(bytes, until).unwrap();
    let entries = panes.into_iter().flat_map(|pane| pane.entries);
    let count = |joined| counts_of(&joined).into_iter().sum();
    entries
        .map(|entry| (entry.pane, entry.key, count(entry.aggregate)))
        .collect()
}

/// Compares the published rows with the counts of both topics by window and key.
///
/// # Panics
/// If they differ.
pub fn check(world: &World, left: &Counts, right: &Counts) {
    let mut expected: BTreeMap<(u64, u64), [u64; 2]> = BTreeMap::new();
    for (place, count) in left {
        expected.insert(*place, [*count, 0]);
    }
    for (place, count) in right {
        expected.entry(*place).or_insert([0, 0])[1] = *count;
    }
    let is_left = world.form == Form::LeftJoined;
    expected.retain(|_, [left, right]| *left > 0 && (is_left || *right > 0));

    let found = newest(
        world,
        "counts",
        |numbers| (numbers[0], numbers[1]),
        |numbers| numbers[2],
    );
    let found = found
        .into_iter()
        .map(|(place, row)| (place, [row[3], row[4]]));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);

    let mut totals: BTreeMap<u64, [u64; 3]> = BTreeMap::new();
    for ((window, _), [left, right]) in expected {
        let total = totals.entry(window).or_default();
        *total = [total[0] + 1, total[1] + left, total[2] + right];
    }
    let found = newest(world, "totals", |numbers| numbers[0], |numbers| numbers[1]);
    let found = found
        .into_iter()
        .map(|(window, row)| (window, [row[2], row[3], row[4]]));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), totals);
}

/// Returns the record of each place in a topic that has the highest revision.
///
/// # Panics
/// If a revision was committed twice, unless that may have happened with the same content.
fn newest<P: Ord + Copy>(
    world: &World,
    topic: &str,
    place: impl Fn(&[u64]) -> P,
    revision: impl Fn(&[u64]) -> u64,
) -> BTreeMap<P, Vec<u64>> {
    let mut of_places: BTreeMap<P, BTreeMap<u64, Vec<u64>>> = BTreeMap::new();
    for row in world.numbers(topic) {
        let revisions = of_places.entry(place(&row)).or_default();
        let former = revisions.insert(revision(&row), row.clone());
        let is_repeated = world.may_repeat && former.as_ref() == Some(&row);
        assert!(
            former.is_none() || is_repeated,
            "{row:?} follows {former:?} in {topic}"
        );
    }

    let newest = |revisions: BTreeMap<u64, Vec<u64>>| revisions.into_values().next_back();
    of_places
        .into_iter()
        .filter_map(|(place, revisions)| Some((place, newest(revisions)?)))
        .collect()
}

fn world(random: &mut SmallRng) -> World {
    let windows = windows(random);
    let mut world = World::new(windows, random.random_range(1..=3)).and(random.random_range(1..=3));
    world.form = [Form::Joined, Form::LeftJoined][random.random_range(0..2)];
    world
}

#[test]
fn joins_are_those_of_a_plain_program_for_any_windows_and_restarts() {
    let mut corrected = 0;
    for seed in 1..=30 {
        let mut random = random(seed);
        let mut world = world(&mut random);
        let first = settings(&mut random);

        println!("seed {seed}");
        live_to_the_end(&mut world, &first, &mut random);
        corrected += usize::from(world.highest_revision() > 0);
    }

    assert!(
        corrected > 5,
        "rows are corrected in this test: {corrected}"
    );
}

#[test]
fn revisions_of_totals_do_not_depend_on_who_owns_an_absent_key() {
    let ms = Duration::from_millis;
    for other in 2..=8 {
        let mut world = World::new(Windows::tumbling(ms(10)).unwrap(), 1).and(1);
        world.form = Form::LeftJoined;
        let with_workers = |workers| Settings {
            allowed_lateness: ms(1000),
            workers,
            ..Settings::default()
        };

        world.put(0, &[(1, 5), (1, 50)]);
        world.put(SECOND, &[(1, 50)]);
        world.run(&with_workers(4)).unwrap();

        // A late event of a key without a row is a correction, as far as the same worker owns both keys.
        world.put(SECOND, &[(other, 6), (1, 100)]);
        world.put(0, &[(1, 100)]);
        world.run(&with_workers(1)).unwrap();

        // With other owners the next correction must not have the revision of the last one.
        world.put(0, &[(1, 7), (1, 150)]);
        world.put(SECOND, &[(1, 150)]);
        world.run(&with_workers(4)).unwrap();
        let totals = world.numbers("totals");
        let of_window = totals.iter().filter(|row| row[0] == 0);
        let revisions: Vec<u64> = of_window.map(|row| row[1]).collect();
        assert_eq!(revisions, [0, 1, 2], "key {other}");
        world.check();
    }
}

#[test]
fn a_key_has_a_row_as_soon_as_a_late_event_completes_it() {
    let ms = Duration::from_millis;
    let mut world = World::new(Windows::tumbling(ms(10)).unwrap(), 1).and(1);
    world.form = Form::Joined;
    let settings = Settings {
        allowed_lateness: ms(1000),
        ..Settings::default()
    };
    let rows = |world: &World| world.numbers("counts");

    world.put(0, &[(1, 5), (2, 5), (1, 50)]);
    world.put(SECOND, &[(2, 6), (7, 50)]);
    world.run(&settings).unwrap();
    assert_eq!(
        rows(&world),
        [[0, 2, 0, 1, 1]],
        "a key that one side lacks has no row"
    );

    world.put(SECOND, &[(1, 7)]);
    world.run(&settings).unwrap();
    assert_eq!(rows(&world)[1..], [[0, 1, 1, 1, 1]]);
    world.check();
}

#[test]
fn a_source_behind_the_others_holds_their_windows_open() {
    let ms = Duration::from_millis;
    let mut world = World::new(Windows::tumbling(ms(10)).unwrap(), 1).and(1);
    world.form = Form::LeftJoined;
    let times: Vec<(u64, u64)> = (0..200).map(|time| (1, time * 10)).collect();
    world.put(0, &times);
    world.put(SECOND, &times);

    // Records of each partition are read one at a time.
    let log = world.log.clone().in_batches_of(1);
    let mut job = world.run_of(pipeline(world.windows, true), log, &Settings::default());
    job.settings.workers = 2;
    job.run(&Stop::default()).unwrap();

    assert!(world.side_records("late").is_empty());
    assert_eq!(world.highest_revision(), 0, "no row had to be corrected");
    world.check();
}

#[test]
fn a_source_has_the_disorder_of_its_own_also_after_a_restart() {
    let ms = Duration::from_millis;
    for (disorder, has_late) in [(Some(ms(100)), false), (None, true)] {
        let mut world = World::new(Windows::tumbling(ms(10)).unwrap(), 1).and(1);
        world.form = Form::LeftJoined;
        let settings = Settings {
            disorder: Duration::ZERO,
            allowed_lateness: Duration::ZERO,
            ..Settings::default()
        };
        let run = |world: &World| {
            let own = source("more-events");
            let right = match disorder {
                Some(disorder) => own.disorder(disorder),
                None => own,
            };
            let log = world.log.clone().in_batches_of(1);
            let job = world.run_of(joining(world.windows, true, right), log, &settings);
            job.run(&Stop::default()).unwrap();
        };

        for begin in [1000, 2000] {
            world.put(0, &[(1, begin)]);
            let times = [150, 100, 250, 170, 260].map(|after| (1, begin + after));
            world.put(SECOND, &times);
            run(&world);
            world.check();
        }
        assert_eq!(
            !world.side_records("late").is_empty(),
            has_late,
            "{disorder:?}"
        );
    }
}

#[test]
fn whatever_call_a_join_dies_at_its_rows_are_right() {
    meet_deaths(world, |world, log, settings| {
        let is_left = world.form == Form::LeftJoined;
        world.run_of(pipeline(world.windows, is_left), log, settings)
    });
}

#[test]
fn a_source_that_is_added_last_is_read_and_others_are_refused_by_name() {
    let ms = Duration::from_millis;
    let settings = Settings {
        allowed_lateness: ms(40),
        ..Settings::default()
    };
    let mut random = random(7);
    let mut world = World::new(Windows::tumbling(ms(10)).unwrap(), 2);
    world.publish(200, &mut random);
    world.run(&settings).unwrap();
    world.check();

    // Its events begin long before those of the first topic: some are late.
    let mut world = world.and(2);
    world.publish(200, &mut random);
    world.run(&settings).unwrap();
    world.check();
    let late = world.side_outputs("late");
    assert!(
        late.iter().any(|(id, _)| *id >= SECOND),
        "some come too late"
    );

    let refused = |topics: &[&'static str]| {
        let source = |topic| Sourced::of(topic, identified);
        let mut sourced = Job::new("counts").source(topics[0], identified);
        for topic in &topics[1..] {
            sourced = sourced.and(source(topic));
        }
        let job = sourced
            .window(world.windows)
            .aggregate(|(key, _)| [(key, Count(1))]);
        let run = world.run_of(job.sink("counts", |_, _| {}), world.log.clone(), &settings);
        let Err(JobError::Recover(error)) = run.run(&Stop::default()) else {
            panic!("the job starts with {topics:?}");
        };
        error.to_string()
    };
    for (topics, now) in [
        (&["events"][..], "events"),
        (&["more-events", "events"], "more-events, events"),
    ] {
        let sentence = refused(topics);
        let named = format!("the source topics was \"events, more-events\" and is now {now:?}");
        assert!(sentence.contains(&named), "{sentence}");
    }
}

#[test]
fn a_source_topic_that_is_missing_is_named() {
    let world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 1);
    let run = world.run_of(
        pipeline(world.windows, false),
        world.log.clone(),
        &Settings::default(),
    );
    let refused = run.run(&Stop::default()).unwrap_err().to_string();
    assert!(
        refused.contains("there is no topic \"more-events\""),
        "{refused}"
    );

    let twice = Job::new("counts")
        .source("events", identified)
        .and(Sourced::of("events", identified))
        .window(world.windows)
        .aggregate(|(key, _)| [(key, Count(1))])
        .sink("counts", |_, _| {});
    let run = world.run_of(twice, world.log.clone(), &Settings::default());
    let refused = run.run(&Stop::default()).unwrap_err().to_string();
    assert!(
        refused.contains("\"events\" as a source twice"),
        "{refused}"
    );
}

//! Stages behind a window: the derived rows equal those that a plain program derives from all records, after any late
//! record and any death.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use stream::internals::Manifest;
use stream::{Count, JobError, Max, Pipeline, Rows, Settings, Stop, WindowRow, Windows};

use crate::damage::Damage;
use crate::fallback::lenient;
use crate::lives::{beside, live_to_the_end};
use crate::oracle::{Form, World, random, settings, windows, write};
use crate::side_outputs::wait_until;

type Counted = WindowRow<u64, Count>;
/// The topics of the stages, and whether a key that has a row always keeps one. Such a row replaces one that an
/// abandoned line of history published.
const TOPICS: [(&str, bool); 6] = [
    ("odd", false),
    ("spans", true),
    ("hottest", false),
    ("counts-of-window", false),
    ("ranked", true),
    ("with-odd", true),
];

const SPAN_MS: u64 = 60;
const SLIDE_MS: u64 = 30;

fn spans() -> Windows {
    Windows::tumbling(Duration::from_millis(SPAN_MS)).unwrap()
}

fn sliding() -> Windows {
    let ms = Duration::from_millis;
    Windows::sliding(ms(SPAN_MS), ms(SLIDE_MS)).unwrap()
}

/// Writes a record whose key are the first numbers.
fn row(numbers: &[u64], of_key: usize, output: &mut stream::Output) {
    let key: Vec<String> = numbers[..of_key].iter().map(u64::to_string).collect();
    output.key.extend(key.join(" ").bytes());
    write(numbers, output);
}

/// Adds stages to a job that counts.
pub fn stages(job: Pipeline<u64, Count>) -> Pipeline<u64, Count> {
    job.stage("odd", odd, |numbers, output| row(numbers, 2, output))
        .stage(
            "spans",
            |rows| rows.window(spans(), |row| [(row.key % 3, (row.aggregate, Count(1)))]),
            |span, output| {
                let (Count(sum), Count(rows)) = span.aggregate;
                row(&[span.window_start, span.key, sum, rows], 2, output);
            },
        )
        .stage("hottest", hottest, |hot, output| {
            row(&[hot.window_start, hot.key, hot.aggregate.0], 2, output);
        })
        .stage(
            "counts-of-window",
            |rows| {
                rows.map(|row| [row.window_start, row.aggregate.0])
                    .distinct()
            },
            |numbers, output| row(numbers, 2, output),
        )
        .stage(
            "ranked",
            |rows| {
                let summed = rows.window(sliding(), |row| [(row.key, row.aggregate)]);
                summed.top(2, |one, other| {
                    (Reverse(one.aggregate), one.key).cmp(&(Reverse(other.aggregate), other.key))
                })
            },
            |(rank, span), output| {
                let rank = u64::from(*rank);
                row(
                    &[span.window_start, rank, span.key, span.aggregate.0],
                    2,
                    output,
                );
            },
        )
        .stage(
            "with-odd",
            |rows| {
                rows.clone()
                    .left_join(odd(rows), |row| row.key, |numbers| numbers[1])
            },
            |(counted, odd), output| {
                let has_odd = u64::from(odd.is_some());
                row(&[counted.window_start, counted.key, has_odd], 2, output);
            },
        )
}

fn odd(rows: Rows<Counted, Counted>) -> Rows<Counted, Vec<u64>> {
    let odd = rows.filter(|row| row.aggregate.0 % 2 == 1);
    odd.map(|row| vec![row.window_start, row.key, row.aggregate.0])
}

/// Keeps the rows with the greatest count of their window: Nexmark's fifth query.
fn hottest(rows: Rows<Counted, Counted>) -> Rows<Counted, Counted> {
    let greatest = rows.clone().aggregate(|row| [((), Max(row.aggregate))]);
    let with_greatest = rows.join(greatest, |_| (), |_| ());
    let hot = with_greatest.filter(|(row, greatest)| row.aggregate == greatest.aggregate.0);
    hot.map(|(row, _)| row)
}

/// Returns the rows of all stages as a plain program derives them from the counts by window and key.
fn derived(counts: &BTreeMap<(u64, u64), u64>) -> BTreeMap<&'static str, BTreeSet<Vec<u64>>> {
    let mut derived: BTreeMap<&str, BTreeSet<Vec<u64>>> = BTreeMap::new();
    let mut spans: BTreeMap<(u64, u64), (u64, u64)> = BTreeMap::new();
    let mut sums: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();

    for ((window, key), count) in counts {
        let of_window = counts.iter().filter(|((other, _), _)| other == window);
        if of_window.map(|(_, count)| *count).max() == Some(*count) {
            derived
                .entry("hottest")
                .or_default()
                .insert(vec![*window, *key, *count]);
        }
        if count % 2 == 1 {
            derived
                .entry("odd")
                .or_default()
                .insert(vec![*window, *key, *count]);
        }
        derived
            .entry("counts-of-window")
            .or_default()
            .insert(vec![*window, *count]);
        derived
            .entry("with-odd")
            .or_default()
            .insert(vec![*window, *key, count % 2]);

        let span = spans
            .entry((window / SPAN_MS * SPAN_MS, key % 3))
            .or_default();
        *span = (span.0 + count, span.1 + 1);
        for start in (0..=*window).step_by(usize::try_from(SLIDE_MS).unwrap()) {
            if window - start < SPAN_MS {
                *sums.entry(start).or_default().entry(*key).or_default() += count;
            }
        }
    }

    let spans = spans
        .into_iter()
        .map(|((start, key), (sum, rows))| vec![start, key, sum, rows]);
    derived.entry("spans").or_default().extend(spans);
    for (start, sums) in sums {
        let mut sums: Vec<(u64, u64)> = sums.into_iter().collect();
        sums.sort_by_key(|(key, sum)| (Reverse(*sum), *key));
        let top = (1..3)
            .zip(sums)
            .map(|(rank, (key, sum))| vec![start, rank, key, sum]);
        derived.entry("ranked").or_default().extend(top);
    }
    derived
}

/// Compares the newest records in the topics of the stages with a plain program. With `may_fall_back`, only the topics
/// whose rows are always replaced are compared: rows of an abandoned line of history may remain in the others.
///
/// # Panics
/// If they differ.
pub fn check(world: &World, counts: &BTreeMap<(u64, u64), u64>, may_fall_back: bool) {
    let mut derived = derived(counts);
    for (topic, is_replaced) in TOPICS {
        let expected = derived.remove(topic).unwrap_or_default();
        if !may_fall_back || is_replaced {
            let found: BTreeSet<Vec<u64>> = world.newest(topic).into_values().collect();
            assert_eq!(found, expected, "{topic}");
        }
    }
}

fn world(random: &mut rand::rngs::SmallRng) -> World {
    let windows = windows(random);
    let mut world = World::new(windows, random.random_range(1..=4));
    world.form = Form::Staged;
    world
}

#[test]
fn stages_equal_a_plain_program_for_any_settings() {
    let mut corrected = 0;
    for seed in 1..=20 {
        let mut random = random(seed);
        let mut world = world(&mut random);
        let first = settings(&mut random);

        println!("seed {seed}");
        live_to_the_end(&mut world, &first, &mut random);

        let records = world.log.records("odd");
        corrected += records
            .iter()
            .filter(|record| record.value.is_none())
            .count();
    }

    assert!(corrected > 10, "rows disappear in this test: {corrected}");
}

#[test]
fn a_row_that_only_a_left_line_of_history_changed_is_published_again() {
    let mut random = random(1);
    let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 1);
    world.form = Form::Staged;
    let settings = lenient(Settings::default());
    let has_odd = |world: &World| world.newest("with-odd")[&b"0 1"[..]][2];

    // A count of one is odd, and is committed by a checkpoint that is kept. Another key's row has
    // vanished by then.
    world.put(0, &[(3, 5), (2, 100)]);
    world.run(&settings).unwrap();
    assert!(world.newest("odd").contains_key(&b"0 3"[..]));
    world.put(0, &[(1, 5), (3, 6), (2, 200)]);
    world.run(&settings).unwrap();
    let kept = world.objects_in("manifests");
    assert_eq!(has_odd(&world), 1);

    // A late record makes it even, and every checkpoint since is damaged.
    world.put(0, &[(1, 6), (2, 400)]);
    world.run(&settings).unwrap();
    assert_eq!(has_odd(&world), 0);
    for path in world.objects_in("manifests") {
        if !kept.contains(&path) {
            Damage::ALL[0].to(&world.objects, &path, &mut random);
        }
    }

    // With another late record the count is odd again. The new line reads both at once, so the row that
    // it had at the checkpoint never changes.
    world.put(0, &[(1, 7), (2, 600)]);
    world.run(&settings).unwrap();
    assert!(world.highest_revision() >= 1_000_000, "a line was left");
    assert_eq!(has_odd(&world), 1);
    assert!(!world.newest("odd").contains_key(&b"0 3"[..]), "it is gone");
    world.check_but_for_repeated_side_outputs();
}

#[test]
fn a_row_of_which_panes_are_dropped_stands_when_more_lateness_is_allowed() {
    let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 1);
    world.form = Form::Staged;
    let allowing = |lateness_ms| Settings {
        disorder: Duration::ZERO,
        allowed_lateness: Duration::from_millis(lateness_ms),
        ..Settings::default()
    };

    // The panes of the span at 0 close one after the other, until the checkpoint has dropped the first of them.
    let pipeline = stages(world.pipeline());
    let mut job = world.run_of(pipeline, world.log.clone(), &allowing(0));
    job.settings.until_end = false;
    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        let mut time = 5;
        while first_pane(&world) == 0 {
            world.put(0, &[(1, time)]);
            let closed = (time - 5).saturating_sub(10);
            wait_until("pane in a checkpoint", || boundary(&world) >= closed);
            time += 10;
        }
        stop.request();
    });

    let span = world.newest("spans")[&b"0 1"[..]].clone();
    assert_eq!(span, [0, 1, 6, 6]);
    assert!(first_pane(&world) < 60, "some of its panes are left");

    world.log.lose_progress(|_| true);
    world.run(&allowing(1_000)).unwrap();
    assert!(world.highest_revision() >= 1_000_000, "a line begins");
    assert_eq!(world.newest("spans")[&b"0 1"[..]], span);
}

/// Returns the boundary of the newest checkpoint.
fn boundary(world: &World) -> u64 {
    newest_manifest(world).map_or(0, |manifest| manifest.boundary)
}

/// Returns the first pane that the newest checkpoint has, or zero if it has none.
fn first_pane(world: &World) -> u64 {
    let manifest = newest_manifest(world);
    let parts = manifest.map_or(Vec::new(), |manifest| manifest.parts);
    parts.iter().map(|part| part.first).min().unwrap_or(0)
}

fn newest_manifest(world: &World) -> Option<Manifest> {
    let newest = world.objects_in("manifests").pop()?;
    Some(world.manifest(&newest))
}

#[test]
fn a_second_window_is_published_once_when_it_is_complete() {
    let mut random = random(3);
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut world = World::new(windows, 1);
    world.form = Form::Staged;
    world.behind = 0.0;
    world.publish(300, &mut random);
    world.run(&Settings::default()).unwrap();
    world.check();

    let records = world.log.records("spans").len();
    assert_eq!(
        records,
        world.newest("spans").len(),
        "no row of a part of a span"
    );
}

#[test]
fn a_stage_that_reaches_further_than_the_checkpoint_is_named() {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut world = World::new(windows, 1);
    world.put(0, &[(1, 5), (2, 50), (1, 200)]);
    world.run(&Settings::default()).unwrap();

    let hourly = |job: Pipeline<u64, Count>| {
        let hour = Windows::tumbling(Duration::from_secs(3600)).unwrap();
        job.stage(
            "hours",
            move |rows| rows.window(hour, |row| [(row.key, row.aggregate)]),
            |_, _| {},
        )
    };
    let run = |pipeline| {
        let run = world.run_of(pipeline, world.log.clone(), &Settings::default());
        run.run(&Stop::default())
    };
    let refused = run(hourly(world.pipeline()));
    let Err(JobError::Recover(error)) = refused else {
        panic!("the job starts: {refused:?}");
    };
    assert!(error.to_string().contains("reach of stages"), "{error}");

    // A stage of the same windows reaches no further.
    run(world
        .pipeline()
        .stage("odd", odd, |_, output| output.skip()))
    .unwrap();
}

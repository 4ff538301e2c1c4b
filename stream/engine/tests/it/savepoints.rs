//! `checkpoints copy` and `read`: another job begins from a checkpoint, at whatever call the copy dies.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use serde_json::Value;
use stream::internals::Manifest;
use stream::{
    AnyPipeline, CheckpointStore, CheckpointsCommand, Count, InspectError, Job, Metrics, Pipeline,
    Report, Run, Settings, Stop, Windows, system_clock,
};

use crate::damage::{Damage, wait};
use crate::fate::{Blow, Doom, Fate};
use crate::mortal::MortalStore;
use crate::oracle::{World, identified, random, write};

/// The rows of a topic by window, key and revision, with the number of times that each is there.
type Rows = BTreeMap<(u64, u64, u64), Vec<u64>>;

fn windows() -> Windows {
    Windows::tumbling(Duration::from_millis(20))
        .unwrap()
        .in_panes_of(Duration::from_millis(10))
        .unwrap()
}

fn settings(workers: u16) -> Settings {
    Settings {
        workers,
        // Nothing is late, so that all jobs count the same records.
        allowed_lateness: Duration::from_secs(10),
        ..Settings::default()
    }
}

/// Defines a counting job of this name, with topics of its own.
fn counting(name: &str) -> Pipeline<u64, Count> {
    Job::new(name)
        .source("events", identified)
        .window(windows())
        .aggregate(|(key, _): (u64, Option<u64>)| [(key, Count(1))])
        .sink(&format!("counts-of-{name}"), |row, output| {
            let Count(count) = row.aggregate;
            let revision = row.revision.into();
            write(&[row.window_start, row.key, revision, count], output);
        })
        .side_outputs(&format!("late-of-{name}"), &format!("dead-of-{name}"))
}

fn store(world: &World, job: &str) -> CheckpointStore {
    CheckpointStore::new(world.objects.clone(), Path::default(), job)
}

fn run(world: &World, job: &str, settings: &Settings) {
    let pipeline = counting(job);
    run_at(world, pipeline, store(world, job), settings);
}

fn run_at(
    world: &World,
    pipeline: Pipeline<u64, Count>,
    store: CheckpointStore,
    settings: &Settings,
) {
    let run = Run {
        metrics: Metrics::new(pipeline.name()),
        pipeline,
        settings: Settings {
            until_end: true,
            ..settings.clone()
        },
        log: Arc::new(world.log.clone()),
        store,
        clock: system_clock(),
        members: None,
    };
    run.run(&Stop::default()).unwrap();
}

fn copy(from: &CheckpointStore, to: CheckpointStore) -> Result<Report, InspectError> {
    let copy = CheckpointsCommand::Copy {
        checkpoint: None,
        to,
        json: true,
    };
    copy.run(from, 0)
}

fn rows(world: &World, job: &str) -> Rows {
    let mut rows = Rows::new();
    for row in world.numbers(&format!("counts-of-{job}")) {
        rows.entry((row[0], row[1], row[2]))
            .or_default()
            .push(row[3]);
    }
    rows
}

fn newest_manifest(world: &World, job: &str) -> Manifest {
    let paths = objects(world, job, "manifests");
    let bytes = world.bytes(paths.last().unwrap());
    Manifest::from_bytes(&bytes, job).unwrap()
}

fn objects(world: &World, job: &str, folder: &str) -> Vec<Path> {
    let prefix = Path::from(job).join(folder);
    let listed: Vec<_> = wait(world.objects.list(Some(&prefix)).try_collect()).unwrap();
    let mut paths: Vec<Path> = listed.into_iter().map(|object| object.location).collect();
    paths.sort();
    paths
}

/// Returns the newest value of each row.
fn newest(rows: &Rows) -> BTreeMap<(u64, u64), u64> {
    let rows = rows.iter();
    rows.map(|((window, key, _), counts)| ((*window, *key), counts[0]))
        .collect()
}

/// Returns a world whose job `blue` has read a first part of the records, and the boundary of its checkpoint.
fn world(seed: u64) -> (World, u64) {
    let mut world = World::new(windows(), 2);
    world.publish(150, &mut random(seed));
    run(&world, "blue", &settings(2));
    let boundary = newest_manifest(&world, "blue").boundary;
    (world, boundary)
}

#[test]
fn a_copied_job_publishes_each_row_from_the_boundary_on_once() {
    for seed in 1..=8 {
        let (mut world, boundary) = world(seed);
        let before = rows(&world, "blue");
        copy(&store(&world, "blue"), store(&world, "green")).unwrap();

        // Both go on side by side, green with another number of workers and in two lives.
        world.publish(100, &mut random(seed + 100));
        run(&world, "green", &settings(1));
        run(&world, "blue", &settings(2));
        world.publish(80, &mut random(seed + 200));
        run(&world, "blue", &settings(2));
        run(&world, "green", &settings(3));

        let of_blue = rows(&world, "blue");
        let of_green = rows(&world, "green");
        assert!(of_green.len() > 20, "seed {seed}: {of_green:?}");
        assert!(
            of_green.values().all(|counts| counts.len() == 1),
            "seed {seed}"
        );

        // A row that closes from the boundary on is in both; a window that blue closed before that is in green
        // only if it was corrected since.
        let mut expected = newest(&of_blue);
        expected.retain(|(window, key), _| {
            let closes_later = window + 20 > boundary;
            let was_corrected = of_blue
                .keys()
                .any(|row| (row.0, row.1) == (*window, *key) && !before.contains_key(row));
            closes_later || was_corrected
        });
        assert_eq!(
            newest(&of_green),
            expected,
            "seed {seed}, boundary {boundary}"
        );
        assert_eq!(
            rows(&world, "blue")
                .values()
                .filter(|it| it.len() > 1)
                .count(),
            0
        );

        let manifest = newest_manifest(&world, "green");
        let shown = serde_json::to_value(&manifest).unwrap();
        assert!(
            shown.get("lineage").is_none(),
            "no progress was taken for lost"
        );
        let origin = manifest.copied_from.unwrap();
        assert_eq!((&*origin.job, origin.boundary), ("blue", boundary));
    }
}

#[test]
fn side_outputs_below_the_cut_are_those_of_the_first_job() {
    let (mut world, _) = world(3);
    copy(&store(&world, "blue"), store(&world, "green")).unwrap();
    let cuts = newest_manifest(&world, "green").partitions;

    world.publish(100, &mut random(30));
    run(&world, "green", &settings(2));
    let dead = world.log.records("dead-of-green");
    assert!(!dead.is_empty());
    for record in dead {
        let number = |name: &str| -> u64 {
            let header = record.headers.iter().find(|(header, _)| header == name);
            let text = String::from_utf8(header.unwrap().1.clone()).unwrap();
            text.parse().unwrap()
        };
        let cut = cuts
            .iter()
            .find(|cut| u64::from(cut.partition) == number("source_partition"));
        assert!(number("source_offset") >= cut.unwrap().cut);
    }
}

#[test]
fn the_same_job_elsewhere_repeats_and_loses_nothing() {
    let (mut world, _) = world(5);
    let elsewhere = Arc::new(InMemory::new());
    let moved = || CheckpointStore::new(elsewhere.clone(), Path::default(), "blue");
    copy(&store(&world, "blue"), moved()).unwrap();

    world.publish(100, &mut random(50));
    run_at(&world, counting("blue"), moved(), &settings(1));
    let moved = rows(&world, "blue");
    assert!(moved.values().all(|counts| counts.len() == 1));

    run(&world, "witness", &settings(1));
    assert_eq!(newest(&moved), newest(&rows(&world, "witness")));
}

#[test]
fn a_target_with_checkpoints_is_refused_by_name_and_left_alone() {
    let (world, _) = world(1);
    run(&world, "green", &settings(1));
    let before = objects(&world, "green", "parts");
    let of_green = newest_manifest(&world, "green");

    let refused = copy(&store(&world, "blue"), store(&world, "green")).unwrap_err();
    let newest = format!("{}-{}", of_green.attempt, of_green.boundary);
    assert!(matches!(&refused, InspectError::Exists { .. }), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains("\"green\"") && text.contains(&newest),
        "{text}"
    );
    assert_eq!(objects(&world, "green", "parts"), before);

    let itself = copy(&store(&world, "blue"), store(&world, "blue")).unwrap_err();
    assert!(matches!(itself, InspectError::Exists { .. }), "{itself}");
    let nothing = copy(&store(&world, "red"), store(&world, "pink")).unwrap_err();
    assert!(matches!(nothing, InspectError::Empty(_)), "{nothing}");
}

/// The calls of a copy.
const CALLS: [&str; 8] = [
    "list manifests",
    "read manifests",
    "read parts",
    "create parts",
    "create merged parts",
    "list attempts",
    "create attempts",
    "create manifests",
];

/// Copies to a job in a process that dies at a call. Returns false if there is no such call.
fn die_copying(world: &World, to: &str, doom: Doom) -> bool {
    let fate = Fate::new(Some(doom), None);
    let mortal = Arc::new(MortalStore::new(&world.objects, &fate));
    let of = |job: &str| CheckpointStore::new(mortal.clone(), Path::default(), job);
    let copied = catch_unwind(AssertUnwindSafe(|| copy(&of("blue"), of(to))));
    assert_eq!(copied.is_err(), fate.is_dead());
    fate.is_met()
}

#[test]
fn a_copy_that_dies_at_any_call_is_no_checkpoint_and_goes_on_when_repeated() {
    let (world, _) = world(2);
    copy(&store(&world, "blue"), store(&world, "whole")).unwrap();
    let whole = newest_manifest(&world, "whole");

    let mut copies = 0;
    let mut met = BTreeSet::new();
    for (call, blow) in CALLS
        .iter()
        .flat_map(|call| Blow::DEATHS.map(|blow| (call, blow)))
    {
        for number in 0.. {
            copies += 1;
            let job = format!("green-{copies}");
            let doom = Doom { call, number, blow };
            if !die_copying(&world, &job, doom) {
                break;
            }
            met.insert(*call);

            let verify = CheckpointsCommand::Verify { json: false };
            let verified = verify.run(&store(&world, &job), 0);
            if objects(&world, &job, "manifests").is_empty() {
                assert!(matches!(verified, Err(InspectError::Empty(_))), "{doom:?}");
                copy(&store(&world, "blue"), store(&world, &job)).unwrap();
            } else {
                assert!(verified.unwrap().is_sound, "{doom:?}");
            }
            let repeated = newest_manifest(&world, &job);
            let repeated = Manifest {
                job: "whole".to_owned(),
                ..repeated
            };
            assert_eq!(repeated, whole, "{doom:?}");
            for part in &whole.parts {
                let path = |job: &str| Path::from(job).join("parts").join(&*part.name);
                assert_eq!(world.bytes(&path(&job)), world.bytes(&path("blue")));
            }
        }
    }
    let unmet: Vec<_> = CALLS.iter().filter(|call| !met.contains(*call)).collect();
    assert_eq!(unmet, [&"create merged parts"], "no part is merged here");
}

#[test]
fn a_damaged_part_ends_the_copy_and_is_named() {
    let (world, _) = world(4);
    let manifest = newest_manifest(&world, "blue");
    let name = &manifest.parts[0].name;
    let path = Path::from(format!("blue/parts/{name}"));
    Damage::FlippedBit.to(&world.objects, &path, &mut random(1));

    let error = copy(&store(&world, "blue"), store(&world, "green")).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    assert!(objects(&world, "green", "manifests").is_empty());
}

/// Reads the content of the newest checkpoint of a job.
fn content(world: &World, job: &str, pipeline: &AnyPipeline) -> Result<Vec<Value>, InspectError> {
    let mut output = Vec::new();
    pipeline.read_checkpoint(&store(world, job), None, &mut output)?;
    let text = String::from_utf8(output).unwrap();
    Ok(text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect())
}

#[test]
fn a_checkpoint_s_content_is_a_line_for_each_entry() {
    let (world, boundary) = world(6);
    let lines = content(&world, "blue", &counting("blue").into()).unwrap();
    let [head, entries @ .., counts] = &lines[..] else {
        panic!("{lines:?}");
    };

    assert_eq!(
        (&head["job"], &head["boundary_ms"]),
        (&Value::from("blue"), &Value::from(boundary))
    );
    assert_eq!(counts["entries"], entries.len());

    let manifest = newest_manifest(&world, "blue");
    let from = manifest.complete_from();
    let mut found: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for entry in entries {
        let number = |name: &str| entry[name].as_u64().unwrap();
        let pane = number("pane_ms");
        assert_eq!(number("window_start_ms"), pane / 20 * 20);
        if pane >= from {
            *found.entry((pane, number("key"))).or_default() += number("aggregate");
        }
    }

    let mut expected: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (key, time) in world.records.values().flatten() {
        let pane = time / 10 * 10;
        if pane >= from {
            *expected.entry((pane, *key)).or_default() += 1;
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_checkpoint_of_other_types_is_refused_by_their_names() {
    let (world, _) = world(7);
    let sums = Job::new("blue")
        .source("events", identified)
        .window(windows())
        .aggregate(|(key, _): (u64, Option<u64>)| [(key, stream::Sum(1))])
        .sink("counts-of-blue", |_, _| {});
    let error = content(&world, "blue", &sums.into()).unwrap_err();
    assert!(error.to_string().contains("aggregate type"), "{error}");
    assert!(error.to_string().contains("sum"), "{error}");
}

#[test]
fn a_copy_in_a_folder_is_taken_up() {
    let (mut world, _) = world(9);
    let folder = std::env::temp_dir().join(format!("tidemark-savepoint-{}", std::process::id()));
    let url = format!("file://{}", folder.display());
    let moved = || CheckpointStore::open(&url, "blue").unwrap();
    copy(&store(&world, "blue"), moved()).unwrap();
    let verify = CheckpointsCommand::Verify { json: false };
    assert!(verify.run(&moved(), 0).unwrap().is_sound);

    let again = copy(&store(&world, "blue"), moved()).unwrap_err();
    assert!(matches!(again, InspectError::Exists { .. }), "{again}");
    world.publish(40, &mut random(90));
    run_at(&world, counting("blue"), moved(), &settings(2));
    assert!(
        rows(&world, "blue")
            .values()
            .all(|counts| counts.len() == 1)
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_copy_of_a_second_line_keeps_its_revisions() {
    let mut world = World::new(windows(), 1);
    world.put(0, &[(1, 5), (2, 100)]);
    run(&world, "blue", &settings(1));
    let kept = objects(&world, "blue", "manifests");

    // The checkpoints since are damaged, so the next life begins a line of history.
    world.put(0, &[(1, 6), (2, 200)]);
    run(&world, "blue", &settings(1));
    for path in objects(&world, "blue", "manifests") {
        if !kept.contains(&path) {
            Damage::ALL[0].to(&world.objects, &path, &mut random(1));
        }
    }
    world.put(0, &[(1, 7), (2, 300)]);
    run(&world, "blue", &settings(1));

    let first = newest_manifest(&world, "blue");
    copy(&store(&world, "blue"), store(&world, "green")).unwrap();
    let copied = newest_manifest(&world, "green");
    assert_eq!(first.lineage.branches().len(), 1);
    assert_eq!(copied.lineage, first.lineage);
    assert!(!first.furthest.is_empty());
    assert!(copied.furthest.is_empty(), "{:?}", copied.furthest);

    world.put(0, &[(1, 8), (2, 400)]);
    run(&world, "green", &settings(1));
    let revisions = |job: &str| -> Vec<u64> {
        let rows = rows(&world, job).into_keys();
        rows.filter(|row| (row.0, row.1) == (0, 1))
            .map(|row| row.2)
            .collect()
    };
    let of_blue = revisions("blue");
    let of_green = revisions("green");
    assert!(of_blue.last() > Some(&999_999), "{of_blue:?}");
    assert_eq!(of_green.len(), 1, "{of_green:?}");
    assert!(of_green[0] > of_blue[of_blue.len() - 1], "{of_green:?}");
}

//! The newest checkpoint is damaged or gone, or the log has gone back to an older progress: the job
//! replaces the results that it cannot repeat.

use std::time::{Duration, Instant};

use object_store::path::Path;
use rand::RngExt;
use rand::rngs::SmallRng;
use record_log::{Delivery, RecordLog};
use stream::internals::{Fingerprint, recover};
use stream::{CheckpointStore, JobError, RecoverError, Settings, Stop, Windows};

use crate::damage::{Damage, wait};
use crate::lives::beside;
use crate::oracle::{World, random, settings, windows};

/// A time limit that no correct step reaches.
const PATIENCE: Duration = Duration::from_secs(60);

/// Allows so much lateness that no record is counted on one line of history and too late on
/// another.
pub fn lenient(settings: Settings) -> Settings {
    Settings {
        allowed_lateness: Duration::from_secs(10),
        ..settings
    }
}

/// Damages some of the newest checkpoints, but keeps one that the last attempt made. Returns the
/// number of damaged ones.
pub fn damage_newest(world: &World, random: &mut SmallRng) -> usize {
    let manifests = world.objects_in("manifests");
    let of_attempt = world.manifest(manifests.last().unwrap()).attempt;
    let is_fresh = |path: &&Path| {
        path.filename()
            .unwrap()
            .starts_with(&format!("{of_attempt:010}"))
    };

    let made = manifests
        .iter()
        .rev()
        .take_while(is_fresh)
        .filter(|path| world.manifest(path).boundary > 0)
        .count();
    let damaged = random.random_range(0..made.max(1));

    for path in manifests.iter().rev().take(damaged) {
        Damage::ALL[random.random_range(0..3)].to(&world.objects, path, random);
    }

    damaged
}

#[test]
fn every_window_is_right_despite_damage_to_new_checkpoints() {
    let mut damaged = 0;
    let mut replaced = 0;
    for seed in 1..=60 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=4));
        let first = lenient(settings(&mut random));

        for _ in 0..random.random_range(2..=5) {
            world.publish(random.random_range(0..150), &mut random);
            let settings = Settings {
                workers: random.random_range(1..=3),
                ..first.clone()
            };
            println!("seed {seed}: {} records, {settings:?}", world.records.len());
            world.run(&settings).unwrap();
            world.check_but_for_repeated_side_outputs();
            damaged += damage_newest(&world, &mut random);
        }
        replaced += u64::from(world.highest_revision() >= 1_000_000);
    }

    assert!(
        damaged > 60 && replaced > 20,
        "{damaged} checkpoints were damaged, {replaced} jobs replaced results"
    );
}

#[test]
fn a_damaged_part_spoils_only_the_checkpoints_that_name_it() {
    for (seed, damage) in (1..=15).zip(Damage::ALL.into_iter().cycle()) {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), 2);
        let settings = lenient(settings(&mut random));

        for _ in 0..2 {
            world.publish(150, &mut random);
            world.run(&settings).unwrap();
        }

        let manifests = world
            .objects_in("manifests")
            .into_iter()
            .map(|path| world.manifest(&path));
        let manifests: Vec<_> = manifests.filter(|manifest| manifest.boundary > 0).collect();

        let oldest: Vec<&str> = manifests[0]
            .parts
            .iter()
            .map(|part| part.name.as_str())
            .collect();

        let newest = manifests
            .last()
            .unwrap()
            .parts
            .iter()
            .find(|part| !oldest.contains(&part.name.as_str()));
        let Some(part) = newest else { continue };
        println!("seed {seed}: {damage:?} to {}", part.name);
        damage.to(&world.objects, &world.part(&part.name), &mut random);
        world.publish(100, &mut random);
        world.run(&settings).unwrap();
        world.check_but_for_repeated_side_outputs();
    }
}

#[test]
fn a_job_with_only_its_first_checkpoint_does_not_restart() {
    for damage in Damage::ALL {
        let mut random = random(4);
        let mut world = World::new(Windows::tumbling(Duration::from_millis(100)).unwrap(), 1);
        let settings = lenient(Settings::default());
        world.publish(20, &mut random);
        world.run(&settings).unwrap();

        let manifests = world.objects_in("manifests");
        assert_eq!(world.manifest(&manifests[0]).boundary, 0);
        manifests[1..]
            .iter()
            .for_each(|path| damage.to(&world.objects, path, &mut random));

        let refused = world.run(&settings).unwrap_err().to_string();
        assert!(refused.contains("start-over"), "{damage:?}: {refused}");
    }
}

#[test]
fn a_job_that_lost_its_checkpoints_starts_only_to_start_over() {
    let mut random = random(3);
    let mut world = World::new(windows(&mut random), 3);
    let settings = lenient(settings(&mut random));
    world.publish(200, &mut random);
    world.run(&settings).unwrap();
    world.check();

    for folder in ["manifests", "parts", "attempts"] {
        for path in world.objects_in(folder) {
            Damage::Deleted.to(&world.objects, &path, &mut random);
        }
    }

    world.publish(100, &mut random);
    let refused = world.run(&settings).unwrap_err();
    assert!(
        matches!(
            refused,
            JobError::Recover(RecoverError::CheckpointsLost { .. })
        ),
        "{refused}"
    );

    assert!(refused.to_string().contains("start-over"), "{refused}");
    start_over(&world, &world.windows);
    for _ in 0..2 {
        world.run(&settings).unwrap();
        world.check_but_for_repeated_side_outputs();
        world.publish(50, &mut random);
    }
}

#[test]
fn starting_over_replaces_rows_and_allows_other_settings() {
    let ms = Duration::from_millis;
    let mut random = random(5);
    let mut world = World::new(Windows::tumbling(ms(30)).unwrap(), 3);
    let settings = lenient(settings(&mut random));
    world.publish(200, &mut random);
    world.run(&settings).unwrap();

    let former = world.windows;
    world.windows = Windows::tumbling(ms(30))
        .unwrap()
        .in_panes_of(ms(10))
        .unwrap();

    let refused = world.run(&settings).unwrap_err();
    assert!(
        matches!(refused, JobError::Recover(RecoverError::SettingsChanged(_))),
        "{refused}"
    );

    // The settings of the next start count, not those with which the command was called.
    start_over(&world, &former);
    for _ in 0..3 {
        world.publish(50, &mut random);
        world.run(&settings).unwrap();
        world.check_but_for_repeated_side_outputs();
    }

    assert!(world.highest_revision() >= 1_000_000);
}

fn start_over(world: &World, windows: &Windows) {
    let store = CheckpointStore::new(world.objects.clone(), Path::default(), "counts");
    wait(recover::start_over(
        &store,
        &Fingerprint::new("events", windows),
    ))
    .unwrap();
}

/// Returns the progress that the publishers of two workers carry, by their ids.
fn carried(world: &World) -> Vec<(String, Vec<u8>)> {
    let of_worker = |worker| {
        let id = format!("counts-sink-{worker}");
        let publisher = world.log.publisher(&id, Delivery::Transactional).unwrap();
        let progress = publisher.progress().unwrap().to_vec();
        (id, progress)
    };
    [0, 1].map(of_worker).into()
}

#[test]
fn progress_that_is_older_than_a_checkpoint_knows_repeats_no_row() {
    let mut replaced = 0;
    for seed in 1..=20 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), 2);
        let settings = Settings {
            workers: 2,
            ..lenient(settings(&mut random))
        };
        world.publish(100, &mut random);
        world.run(&settings).unwrap();
        let older = carried(&world);
        for _ in 0..2 {
            world.publish(100, &mut random);
            world.run(&settings).unwrap();
        }

        // The topic of progress, or one partition of it, comes back from a copy.
        let untouched = random.random_range(0..2);
        println!("seed {seed}: {untouched} publishers keep their progress, {settings:?}");
        for (id, progress) in &older[untouched..] {
            let mut publisher = world.log.publisher(id, Delivery::Transactional).unwrap();
            publisher.commit(progress).unwrap();
        }

        world.publish(50, &mut random);
        for _ in 0..2 {
            world.run(&settings).unwrap();
            world.check_but_for_repeated_side_outputs();
        }
        let line = world.highest_revision() / 1_000_000;
        assert!(line <= 1, "once is enough");
        replaced += line;
    }
    assert!(replaced > 10, "{replaced} jobs replaced results");
}

#[test]
fn a_manifest_notes_what_each_worker_has_committed_in_this_life() {
    let mut random = random(1);
    let mut world = World::new(windows(&mut random), 2);
    let settings = Settings {
        workers: 2,
        disorder: Duration::ZERO,
        ..Settings::default()
    };
    let job = world.running(world.log.clone(), &settings);
    let stop = Stop::default();

    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        let noted = |world: &World| {
            let newest = world.objects_in("manifests").pop();
            let manifest = newest.and_then(|path| world.readable_manifest(&path));
            let noted = manifest.map(|manifest| manifest.furthest);
            noted.is_some_and(|noted| noted.len() == 2 && noted.values().all(|it| *it > 0))
        };

        // Each round closes windows, and the manifest of a round follows the results of those before.
        let begun = Instant::now();
        while !noted(&world) && begun.elapsed() < PATIENCE {
            world.publish(50, &mut random);
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.request();
        assert!(noted(&world), "no manifest notes both workers");
    });
}

//! `checkpoints list | show | verify | prune`, over a store with planted damage.

use std::num::NonZeroU16;
use std::time::Duration;

use object_store::path::Path;
use serde_json::Value;
use stream::internals::Manifest;
use stream::{CheckpointStore, CheckpointsCommand, InspectError, Report, Settings, Windows};

use crate::damage::{Damage, write};
use crate::oracle::{World, random};

/// Returns the world of a job that ran twice.
fn world() -> World {
    let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 2);
    let settings = settings();
    for seed in [1, 2] {
        world.publish(150, &mut random(seed));
        world.run(&settings).unwrap();
    }

    world
}

fn settings() -> Settings {
    Settings {
        workers: 2,
        allowed_lateness: Duration::from_secs(10),
        ..Settings::default()
    }
}

fn ask(world: &World, command: &CheckpointsCommand) -> Result<Report, InspectError> {
    let store = CheckpointStore::new(world.objects.clone(), Path::default(), "counts");
    command.run(&store, 4_000_000_000_000)
}

fn ask_json(world: &World, command: &CheckpointsCommand) -> Value {
    serde_json::from_str(&ask(world, command).unwrap().text).unwrap()
}

fn verify(world: &World) -> Report {
    ask(world, &CheckpointsCommand::Verify { json: false }).unwrap()
}

fn prune(keep: u16, dry_run: bool) -> CheckpointsCommand {
    CheckpointsCommand::Prune {
        keep: NonZeroU16::new(keep).unwrap(),
        dry_run,
        json: true,
    }
}

fn newest_manifest(world: &World) -> Path {
    world.objects_in("manifests").pop().unwrap()
}

#[test]
fn the_list_has_each_checkpoint_and_its_content_newest_first() {
    let world = world();
    let list = ask_json(&world, &CheckpointsCommand::List { json: true });
    let paths = world.objects_in("manifests");
    assert_eq!(list.as_array().unwrap().len(), paths.len());

    let newest = world.manifest(paths.last().unwrap());
    assert_eq!(
        list[0]["id"],
        format!("{}-{}", newest.attempt, newest.boundary)
    );

    assert_eq!(
        (&list[0]["partitions"], &list[0]["flaw"]),
        (&Value::from(2), &Value::Null)
    );

    let entries: u64 = newest.parts.iter().map(|part| part.entries).sum();
    assert_eq!(list[0]["entries"], entries);
    let text = ask(&world, &CheckpointsCommand::List { json: false })
        .unwrap()
        .text;

    assert!(
        text.starts_with("ID ") && text.lines().count() == paths.len() + 1,
        "{text}"
    );

    assert!(
        text.lines()
            .skip(1)
            .all(|line| line.ends_with("yes") && line.contains("1970-01-01T")),
        "{text}"
    );
}

#[test]
fn the_list_shows_the_damage_that_a_listing_can_show() {
    let world = world();
    let part = world
        .manifest(&newest_manifest(&world))
        .parts
        .pop()
        .unwrap()
        .name;
    Damage::Deleted.to(&world.objects, &world.part(&part), &mut random(1));

    let text = ask(&world, &CheckpointsCommand::List { json: false })
        .unwrap()
        .text;

    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .ends_with(&format!("no: part {part} is missing")),
        "{text}"
    );
}

#[test]
fn one_checkpoint_is_shown_in_full() {
    let world = world();
    let manifest = world.manifest(&newest_manifest(&world));
    let shown = ask_json(
        &world,
        &CheckpointsCommand::Show {
            checkpoint: None,
            json: true,
        },
    );

    assert_eq!(
        serde_json::from_value::<Manifest>(shown["manifest"].clone()).unwrap(),
        manifest
    );

    let id = shown["id"].as_str().unwrap().parse().unwrap();
    let text = ask(
        &world,
        &CheckpointsCommand::Show {
            checkpoint: Some(id),
            json: false,
        },
    )
    .unwrap()
    .text;

    for part in &manifest.parts {
        assert!(text.contains(&part.name), "{text}");
    }

    assert!(
        text.contains("10ms, one every 10ms, in panes of 10ms") && text.contains("RESUME"),
        "{text}"
    );

    let unknown = CheckpointsCommand::Show {
        checkpoint: Some("9-9".parse().unwrap()),
        json: false,
    };

    assert!(matches!(
        ask(&world, &unknown),
        Err(InspectError::Unknown(_))
    ));
}

#[test]
fn verifying_reads_every_object_and_says_exactly_what_is_damaged() {
    for seed in 1..=12 {
        let world = world();
        let mut random = random(seed);
        assert!(verify(&world).is_sound, "{}", verify(&world).text);

        let damage = Damage::ALL[seed as usize % 3];
        let newest = newest_manifest(&world);
        let manifest = world.manifest(&newest);
        let id = format!("{}-{}", manifest.attempt, manifest.boundary);

        if seed % 2 == 0 {
            let part = &manifest.parts[seed as usize % manifest.parts.len()].name;
            damage.to(&world.objects, &world.part(part), &mut random);
            let report = verify(&world);

            let is_named = report
                .text
                .lines()
                .any(|line| line.starts_with(&id) && line.contains(part.as_str()));

            assert!(
                !report.is_sound && is_named,
                "{damage:?} to {part}: {}",
                report.text
            );
        } else if !matches!(damage, Damage::Deleted) {
            damage.to(&world.objects, &newest, &mut random);
            let report = verify(&world);
            assert!(
                !report.is_sound
                    && report
                        .text
                        .starts_with(&format!("{id}: the manifest is damaged")),
                "{damage:?}"
            );
        }
    }
}

#[test]
fn verifying_names_later_versions_other_jobs_and_wrong_sizes() {
    let report = |change: &dyn Fn(&mut Manifest)| {
        let world = world();
        let newest = newest_manifest(&world);
        let mut manifest = world.manifest(&newest);
        change(&mut manifest);
        write(&world.objects, &newest, manifest.to_bytes().into());

        let report = verify(&world);
        assert!(!report.is_sound);
        report.text
    };
    assert!(report(&|manifest| manifest.version = 2).contains("format version 2"));
    assert!(report(&|manifest| manifest.job = "sums".to_owned()).contains("of job \"sums\""));
    assert!(report(&|manifest| manifest.parts[0].size_bytes += 1).contains("bytes, not"));
}

#[test]
fn pruning_keeps_whole_checkpoints_and_all_their_objects() {
    let mut world = world();
    let planned = ask_json(&world, &prune(1, true));
    let before = (
        world.objects_in("manifests"),
        world.objects_in("parts"),
        world.objects_in("attempts"),
    );
    assert!(before.0.len() > 1 && before.2.len() == 2);

    assert_eq!(
        ask_json(&world, &prune(1, false)),
        planned,
        "a dry run says what the real one does"
    );

    assert_eq!(
        world.objects_in("manifests"),
        before.0[before.0.len() - 1..]
    );

    assert_eq!(world.objects_in("attempts"), before.2[1..]);
    let report = verify(&world);
    assert!(
        report.is_sound && !report.text.contains("named by no checkpoint"),
        "{}",
        report.text
    );

    assert_eq!(
        planned["checkpoints"].as_array().unwrap().len(),
        before.0.len() - 1
    );

    world.publish(100, &mut random(3));
    world.run(&settings()).unwrap();
    world.check();
}

#[test]
fn pruning_never_deletes_the_newest_whole_checkpoint_nor_what_came_after_it() {
    let world = world();
    let manifests = world.objects_in("manifests");
    Damage::FlippedBit.to(&world.objects, manifests.last().unwrap(), &mut random(1));

    let whole = &manifests[manifests.len() - 2];
    let damaged = &manifests[manifests.len() - 1];
    let done = ask_json(&world, &prune(1, false));

    assert_eq!(
        (
            done["kept"].as_array().unwrap().len(),
            done["left"].as_array().unwrap().len()
        ),
        (1, 1)
    );

    assert_eq!(
        world.objects_in("manifests"),
        [whole.clone(), damaged.clone()]
    );

    world.run(&settings()).unwrap();
    world.check_but_for_repeated_side_outputs();
}

#[test]
fn pruning_deletes_nothing_where_it_cannot_know_what_is_needed() {
    let world = world();
    let path = newest_manifest(&world);
    let manifest = Manifest {
        version: 2,
        ..world.manifest(&path)
    };
    write(&world.objects, &path, manifest.to_bytes().into());

    assert!(matches!(
        ask(&world, &prune(1, false)),
        Err(InspectError::Newer(_))
    ));

    for path in world.objects_in("manifests") {
        write(&world.objects, &path, "{}".into());
    }

    let before = world.objects_in("parts");
    assert!(matches!(
        ask(&world, &prune(1, false)),
        Err(InspectError::NoneWhole(_))
    ));
    assert_eq!(world.objects_in("parts"), before);
}

#[test]
fn a_job_without_checkpoints_is_an_error_of_every_command() {
    let world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 1);
    for command in [
        CheckpointsCommand::List { json: false },
        CheckpointsCommand::List { json: true },
        CheckpointsCommand::Verify { json: false },
        prune(1, true),
    ] {
        let error = ask(&world, &command).unwrap_err();
        assert!(matches!(error, InspectError::Empty(job) if job == "counts"));
    }
}

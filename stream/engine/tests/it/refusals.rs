//! Checkpoints that do not fit the job: each is rejected with a message that names the remedy.

use std::time::Duration;

use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, RecordLog, TopicSpec};
use stream::internals::Manifest;
use stream::{JobError, Settings, Windows};

use crate::damage::write;
use crate::oracle::{World, random};

fn world_that_ran() -> (World, Settings) {
    let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 2);
    let settings = Settings {
        workers: 1,
        allowed_lateness: Duration::from_millis(20),
        ..Settings::default()
    };

    world.publish(300, &mut random(1));
    world.run(&settings).unwrap();
    (world, settings)
}

/// Replaces the newest manifest by a changed one.
fn put_newest(world: &World, change: impl FnOnce(&mut Manifest)) {
    let path = world.objects_in("manifests").pop().unwrap();
    let mut manifest = world.manifest(&path);
    change(&mut manifest);
    write(&world.objects, &path, manifest.to_bytes().into());
}

fn refusal(world: &World, settings: &Settings) -> String {
    world.run(settings).unwrap_err().to_string()
}

#[test]
fn a_checkpoint_of_a_future_version_is_not_passed_over() {
    let (world, settings) = world_that_ran();
    put_newest(&world, |manifest| manifest.version = 7);
    let said = refusal(&world, &settings);

    assert!(
        said.contains("format version 7") && said.contains("use the program that wrote it"),
        "{said}"
    );
}

#[test]
fn a_part_of_a_future_version_is_not_passed_over() {
    let (world, settings) = world_that_ran();
    let manifest = world.manifest(world.objects_in("manifests").last().unwrap());
    let mut part = b"TIDEPART".to_vec();
    part.extend([9, 1, 2, 3]);
    part.extend(crc32fast::hash(&part).to_le_bytes());

    write(
        &world.objects,
        &world.part(&manifest.parts[0].name),
        part.into(),
    );

    let said = refusal(&world, &settings);
    assert!(
        said.contains("format version 9") && said.contains("use the program that wrote it"),
        "{said}"
    );
}

#[test]
fn checkpoints_of_another_job_are_named_as_such() {
    let (world, settings) = world_that_ran();
    for path in world.objects_in("manifests") {
        let manifest = Manifest {
            job: "sums".to_owned(),
            ..world.manifest(&path)
        };
        write(&world.objects, &path, manifest.to_bytes().into());
    }

    let said = refusal(&world, &settings);
    assert!(
        said.contains("of job \"sums\"") && said.contains("start-over"),
        "{said}"
    );
}

#[test]
fn a_job_without_a_whole_checkpoint_does_not_start() {
    let (world, settings) = world_that_ran();
    for path in world.objects_in("manifests") {
        write(&world.objects, &path, "{}".into());
    }

    let said = refusal(&world, &settings);
    assert!(
        said.contains("damaged")
            && said.contains("Restore its objects, or start over by the command `start-over`"),
        "{said}"
    );
}

#[test]
fn settings_that_changed_under_a_checkpoint_are_named() {
    let (mut world, settings) = world_that_ran();
    world.windows = Windows::tumbling(Duration::from_millis(20)).unwrap();
    let said = refusal(&world, &settings);
    assert!(
        said.contains("the window was \"10ms\" and is now \"20ms\""),
        "{said}"
    );
}

#[test]
fn a_checkpoint_whose_offsets_expired_is_refused() {
    let (mut world, settings) = world_that_ran();
    world.publish(300, &mut random(2));
    let end = world
        .records
        .keys()
        .rfind(|(partition, _)| *partition == 1)
        .unwrap()
        .1;
    world.log.expire("events", 1, end);

    let said = refusal(&world, &settings);
    assert!(
        said.contains("partition 1 of topic \"events\"") && said.contains("expired"),
        "{said}"
    );
    assert!(said.contains("Restore it, or start over"), "{said}");
}

#[test]
fn a_checkpoint_whose_topic_was_recreated_is_refused() {
    let (world, settings) = world_that_ran();
    for partitions in [2, 1] {
        let mut recreated = World::new(world.windows, partitions);
        recreated.objects = world.objects.clone();
        let said = refusal(&recreated, &settings);

        assert!(
            said.contains("recreated") && said.contains("Restore it, or start over"),
            "{said}"
        );
    }
}

#[test]
fn a_longer_recreated_topic_is_recognized_by_its_records() {
    for seed in 1..=20 {
        let (world, settings) = world_that_ran();
        let mut recreated = World::new(world.windows, 2);
        recreated.log = SimulatedLog::new(|| 2_000_000);

        let retention = Duration::from_secs(3600);
        let topic = TopicSpec {
            name: "events".to_owned(),
            partitions: 2,
            cleanup: Cleanup::Delete,
            retention,
        };
        recreated.log.ensure_topics(&[topic]).unwrap();
        recreated.objects = world.objects.clone();
        recreated.publish(900, &mut random(seed));

        let Err(refused) = recreated.run(&settings) else {
            panic!("seed {seed}: the job read on")
        };

        assert!(
            refused.to_string().contains("deleted and recreated"),
            "{refused}"
        );

        assert_eq!(
            recreated.log.records("counts").len(),
            0,
            "nothing was published"
        );
    }
}

#[test]
fn a_job_that_is_refused_has_published_nothing() {
    let (world, settings) = world_that_ran();
    let before = world.log.records("counts").len();
    put_newest(&world, |manifest| manifest.version = 7);
    assert!(matches!(world.run(&settings), Err(JobError::Recover(_))));
    assert_eq!(world.log.records("counts").len(), before);
}

//! A job continues from the state that earlier versions of the program left: progress by slot, and
//! side outputs in parts.

use std::time::Duration;

use record_log::{Delivery, NewRecord, RecordLog};
use stream::internals::{ClosedPane, Entry, Manifest, PartBuilder, Reason, SideOutput, group_of};
use stream::{CheckpointStore, Count, Settings, Slots, Windows, hash_bytes};

use crate::damage::wait;
use crate::oracle::{World, random};

/// The versions whose state is continued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    /// Slots carry a number, as an offset that brokers forget.
    Numbers,
    /// Slots carry a progress with its format, where nothing expires; manifests count them.
    Kept,
}

impl Version {
    /// Returns the progress of a slot that has committed all arrivals before a time.
    fn progress(self, before: u64) -> Vec<u8> {
        let number = before.to_be_bytes();
        match self {
            Self::Numbers => number.to_vec(),
            Self::Kept => [&[1][..], &number].concat(),
        }
    }

    /// Returns the manifest of a job with two slots at the boundary 30, as the version wrote it.
    fn manifest(self, size_bytes: u64) -> Vec<u8> {
        let (of_types, kept) = match self {
            Self::Numbers => ("", ""),
            Self::Kept => (
                r#","key":"u64","aggregate":"count","max_future_skew_ms":60000"#,
                r#","slots_kept":2,"memory":{"complete_from":0,"eras":[{"from":0,"lateness_ms":3600000}]}"#,
            ),
        };
        let json = format!(
            r#"{{"version":1,"job":"counts","attempt":1,"boundary":30,"fingerprint":{{"topic":"events","window_ms":10,"slide_ms":10,"pane_ms":10,"slots":2{of_types}}}{kept},"partitions":[{{"partition":0,"cut":5,"resume":5,"newest":null}},{{"partition":1,"cut":5,"resume":5,"newest":null}}],"parts":[{{"name":"a","first":10,"last":20,"entries":7,"size_bytes":{size_bytes}}}]}}"#
        );
        let checksum = crc32fast::hash(json.as_bytes());
        format!("{json}\n{checksum:08x}\n").into_bytes()
    }
}

fn side_output(partition: u32, offset: u64) -> SideOutput {
    SideOutput {
        partition,
        offset,
        reason: Reason::Rejected("two numbers are expected".to_owned()),
        key: None,
        value: Some(b"?".to_vec()),
        headers: vec![("trace".to_owned(), b"7".to_vec())],
    }
}

/// A world whose last attempt, of an earlier version with two slots, had closed the panes 10 and
/// 20, both in one part. Slot 0 has committed pane 10, slot 1 nothing.
fn former_world(version: Version) -> World {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut world = World::new(windows, 2);
    for partition in 0..2 {
        let mut publisher = world
            .log
            .publisher("generator", Delivery::Transactional)
            .unwrap();
        for value in ["?", "1 10", "2 11", "3 22", "?", "1 45"] {
            let record = NewRecord {
                topic: "events",
                partition: Some(partition),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }
        publisher.commit(&[]).unwrap();
    }
    world.publish(0, &mut random(1));

    let mut builder = PartBuilder::default();
    let entry = |pane, key| Entry {
        pane,
        key,
        aggregate: Count(2),
    };
    builder.push(&ClosedPane {
        arrival: 10,
        entries: vec![entry(10, 1_u64), entry(10, 2)],
        side_outputs: vec![side_output(0, 0), side_output(1, 0)],
    });
    builder.push(&ClosedPane {
        arrival: 20,
        entries: vec![entry(20, 3_u64)],
        side_outputs: vec![side_output(0, 4), side_output(1, 4)],
    });
    let store = CheckpointStore::new(
        world.objects.clone(),
        object_store::path::Path::default(),
        "counts",
    );
    let bytes = builder.finish();
    let size_bytes = bytes.len() as u64;
    wait(store.claim_attempt()).unwrap();
    wait(store.create_part("a", bytes)).unwrap();
    let manifest = Manifest::from_bytes(&version.manifest(size_bytes), "counts").unwrap();
    wait(store.create_manifest(&manifest)).unwrap();
    commit_of_slots(&world, version);
    world
}

/// Commits slot 0's part of pane 10: the rows of its keys, and the side outputs of
/// partition 0. Slot 1 has committed nothing yet.
fn commit_of_slots(world: &World, version: Version) {
    world.prepare(&Settings::default());
    let mut slot = world
        .log
        .publisher("counts-sink-0", Delivery::Transactional)
        .unwrap();
    let slots = Slots::new(2).unwrap();
    for key in [1_u64, 2].into_iter().filter(|key| slots.of_key(key) == 0) {
        let value = format!("10 {key} 0 2");
        let value = Some(value.as_bytes());
        let record = NewRecord {
            topic: "counts",
            partition: None,
            key: None,
            value,
            headers: &[],
        };
        slot.send(record).unwrap();
    }
    if slots.of_group(group_of(hash_bytes(&10_u64.to_le_bytes()))) == 0 {
        let value = Some(&b"10 0 2 4 1 2 2 2"[..]);
        let record = NewRecord {
            topic: "totals",
            partition: None,
            key: None,
            value,
            headers: &[],
        };
        slot.send(record).unwrap();

        for rank in [1, 2] {
            let place = format!("10 {rank}");
            let value = format!("{place} 0 {rank} 2");
            let record = NewRecord {
                topic: "tops",
                partition: None,
                key: Some(place.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            slot.send(record).unwrap();
        }
    }
    let headers: [(&str, &[u8]); 3] = [
        ("source_partition", b"0"),
        ("source_offset", b"0"),
        ("reason", b"?"),
    ];
    let record = NewRecord {
        topic: "events-dead-letter",
        partition: None,
        key: None,
        value: Some(b"?"),
        headers: &headers,
    };
    slot.send(record).unwrap();
    slot.commit(&version.progress(11)).unwrap();

    if version == Version::Kept {
        let mut slot = world
            .log
            .publisher("counts-sink-1", Delivery::Transactional)
            .unwrap();
        slot.commit(&version.progress(0)).unwrap();
    }
}

/// Runs the job with a number of workers to the end of the input.
fn run(world: &World, workers: u16) {
    let settings = Settings {
        workers,
        ..Settings::default()
    };
    world.run(&settings).unwrap();
}

#[test]
fn what_an_earlier_version_owes_is_published_once() {
    for version in [Version::Numbers, Version::Kept] {
        for workers in [1, 3, 6] {
            let world = former_world(version);
            run(&world, workers);
            world.check();

            let rows = world.numbers("counts").len();
            let dead_letters = world.log.records("events-dead-letter").len();
            run(&world, 2);
            world.check();

            assert_eq!(world.numbers("counts").len(), rows, "nothing is owed");
            let now = world.log.records("events-dead-letter").len();
            assert_eq!(now, dead_letters, "nothing is owed");
        }
    }
}

#[test]
fn progress_of_a_former_slot_that_is_lost_is_noticed() {
    for lost in ["counts-sink-0", "counts-sink-1", ""] {
        let world = former_world(Version::Kept);
        world.log.lose_progress(|id| id == lost || lost.is_empty());
        run(&world, 3);
        assert!(
            world.highest_revision() >= 1_000_000,
            "rows are replaced, not repeated: {lost:?}"
        );
        world.check_but_for_repeated_side_outputs();

        let rows = world.numbers("counts").len();
        run(&world, 2);
        assert_eq!(world.numbers("counts").len(), rows, "once is enough");
    }
}

#[test]
fn an_earlier_version_that_would_start_again_refuses_the_new_progress() {
    // The earlier version reads a progress of eight or nine bytes and refuses every other.
    let world = former_world(Version::Kept);
    run(&world, 2);
    let slot = world
        .log
        .publisher("counts-sink-0", Delivery::Transactional)
        .unwrap();
    let size_bytes = slot.progress().unwrap().len();
    assert!(size_bytes > 9, "{size_bytes} bytes");
}

#[test]
fn former_slots_of_earlier_attempts_are_fenced() {
    for version in [Version::Numbers, Version::Kept] {
        let world = former_world(version);
        let mut former = world
            .log
            .publisher("counts-sink-1", Delivery::Transactional)
            .unwrap();
        run(&world, 1);
        assert!(former.commit(&version.progress(99)).is_err());
    }
}

#[test]
fn publishers_of_workers_that_are_no_more_are_fenced() {
    let mut world = World::new(Windows::tumbling(Duration::from_millis(10)).unwrap(), 2);
    world.publish(50, &mut random(1));
    world
        .run(&Settings {
            workers: 6,
            ..Settings::default()
        })
        .unwrap();

    let mut former = world
        .log
        .publisher("counts-sink-5", Delivery::Transactional)
        .unwrap();

    world
        .run(&Settings {
            workers: 2,
            ..Settings::default()
        })
        .unwrap();

    assert!(former.commit(&record_log::progress::of_number(99)).is_err());
    world.check();
}

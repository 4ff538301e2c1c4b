//! A job is started again with a decoder that accepts other records. A record below the cut that the former decoder
//! accepted, and whose window is still open, is in no checkpoint: it must not vanish.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use stream::internals::PartitionCut;
use stream::{Count, Job, Pipeline, Rejected, Settings, Stop, Windows};

use crate::lives::beside;
use crate::oracle::{World, decode, write};

/// The key of the events that one decoder rejects.
const ODD: u64 = 6;
/// A time limit that no correct step reaches.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job whose decoder has this version and may reject the odd events.
fn pipeline(windows: Windows, version: u32, rejects_odd: bool) -> Pipeline<u64, Count> {
    Job::new("counts")
        .source("events", move |record| {
            let (time, key) = decode(record)?;
            if rejects_odd && key == ODD {
                return Err(Rejected::because("an odd key"));
            }
            Ok((time, key))
        })
        .window(windows)
        .aggregate(|key: u64| [(key, Count(1))])
        .sink("counts", |row, output| {
            let revision = row.revision.into();
            write(
                &[row.window_start, row.key, revision, row.aggregate.0],
                output,
            );
        })
        .decoded_by(version)
}

/// Counts events of a whole and of an open window by the first decoder, stops, and goes on to the end by the second one.
/// Returns the world and the offsets of the odd events.
fn upgraded(first: (u32, bool), second: (u32, bool)) -> (World, BTreeSet<(u32, u64)>) {
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut world = World::new(windows, 1);
    let settings = Settings {
        workers: 1,
        disorder: Duration::ZERO,
        allowed_lateness: Duration::ZERO,
        ..Settings::default()
    };
    world.prepare(&settings);
    world.put(0, &[(1, 5), (ODD, 7), (1, 101), (ODD, 105), (1, 106)]);

    let mut job = world.run_of(
        pipeline(windows, first.0, first.1),
        world.log.clone(),
        &settings,
    );
    job.settings.until_end = false;
    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    let ((), cut) = beside(&stop, run, |_| {
        let cut = await_open_window(&world);
        stop.request();
        cut
    });
    assert!(cut.resume <= 2 && cut.cut >= 5, "{cut:?}");

    world.put(0, &[(1, 201)]);
    let job = world.run_of(
        pipeline(windows, second.0, second.1),
        world.log.clone(),
        &settings,
    );
    job.run(&Stop::default()).unwrap();

    let odd = world.records.iter();
    let odd = odd.filter(|(_, event)| event.is_some_and(|(key, _)| key == ODD));
    let odd = odd.map(|(position, _)| *position).collect();
    (world, odd)
}

/// Waits for a checkpoint that counts all events but those of the open window.
fn await_open_window(world: &World) -> PartitionCut {
    let begun = Instant::now();
    loop {
        let newest = world.objects_in("manifests").pop();
        let cuts = newest.map(|path| world.manifest(&path).partitions);
        if let Some(cut) = cuts.and_then(|cuts| cuts.into_iter().find(|cut| cut.cut > 0)) {
            return cut;
        }
        assert!(begun.elapsed() < PATIENCE, "there is no checkpoint");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the count of the odd events of the second window, and the offsets of the dead letters in order.
fn outcome(world: &World) -> (u64, Vec<u64>) {
    let counted = world.committed().get(&(100, ODD)).copied().unwrap_or(0);
    let mut dead: Vec<u64> = world
        .log
        .records("events-dead-letter")
        .iter()
        .map(|record| {
            let offset = record
                .headers
                .iter()
                .find(|(name, _)| name == "source_offset");
            String::from_utf8(offset.unwrap().1.clone())
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    dead.sort_unstable();
    (counted, dead)
}

#[test]
fn records_that_a_new_decoder_rejects_become_dead_letters() {
    let (world, odd) = upgraded((0, false), (1, true));
    assert_eq!(odd.len(), 2);

    // The first window was counted; the second one was open.
    assert_eq!(world.committed().get(&(0, ODD)), Some(&1));
    assert_eq!(outcome(&world), (0, vec![3]));
    assert_eq!(world.committed().get(&(100, 1)), Some(&2));
}

#[test]
fn dead_letters_that_a_new_decoder_accepts_are_counted() {
    let (world, _) = upgraded((1, true), (2, false));
    assert_eq!(outcome(&world), (1, vec![1, 3]));
}

#[test]
fn the_same_decoder_publishes_a_dead_letter_once() {
    let (world, _) = upgraded((3, true), (3, true));
    assert_eq!(outcome(&world), (0, vec![1, 3]));
}

#[test]
fn a_version_that_changes_nothing_may_publish_a_dead_letter_twice() {
    let (world, _) = upgraded((3, true), (4, true));
    let (counted, mut dead) = outcome(&world);
    assert_eq!(counted, 0);
    assert!(
        dead.len() > 2,
        "what is read again is published again: {dead:?}"
    );

    dead.dedup();
    assert_eq!(dead, [1, 3]);
}

//! Several processes read a checkpoint together. Each part is read by one of them, and damage that
//! any of them finds makes all of them begin from the same older checkpoint.

use std::sync::{Arc, Mutex};

use object_store::memory::InMemory;
use object_store::path::Path;
use rand::RngExt;
use stream::internals::{Manifest, PartInfo};
use stream::{CheckpointStore, ClusterError, JobError, RecoverError, Run, Settings, Stop};

use crate::cluster::Processes;
use crate::damage::Damage;
use crate::fallback::lenient;
use crate::fate::Fate;
use crate::lives::beside;
use crate::mortal::MortalStore;
use crate::oracle::{World, random, settings, windows};

/// Runs `count` processes of the world's job to the end of the input. Returns the names of the parts
/// that each of them read at its first start.
fn run(world: &World, settings: &Settings, count: usize) -> Vec<Vec<String>> {
    let stores: Mutex<Vec<Option<MortalStore>>> = Mutex::new(vec![None; count]);
    let fate = Fate::new(None, None);

    let job = |process: usize, log| {
        let store = MortalStore::new(&world.objects, &fate);
        stores.lock().unwrap()[process].get_or_insert_with(|| store.clone());
        Run {
            store: CheckpointStore::new(Arc::new(store), Path::default(), "counts"),
            ..world.job(log, settings)
        }
    };
    Processes::new(count).run_jobs(&world.log, job, None);

    let stores = stores.into_inner().unwrap();
    stores
        .iter()
        .map(|store| read_at_start(store.as_ref().unwrap()))
        .collect()
}

/// Returns the names of the parts that a process read before it created anything but its attempt.
/// Later, process 0 reads parts to merge them.
fn read_at_start(store: &MortalStore) -> Vec<String> {
    let calls = store.calls.lock().unwrap();
    let at_start = calls
        .iter()
        .take_while(|(call, _)| call == "create attempts" || !call.starts_with("create"));
    let reads = at_start.filter(|(call, _)| call == "read parts");
    reads
        .map(|(_, path)| path.filename().unwrap().to_owned())
        .collect()
}

/// Returns the newest manifest, if there is one.
fn newest(world: &World) -> Option<Manifest> {
    manifests(world).last()
}

#[test]
fn each_part_is_read_by_one_process_whatever_their_number() {
    let mut merged = 0;
    let mut divided = 0;
    let mut seed = 0;
    // Whether parts are merged between two starts depends on the machine's speed.
    while seed < 30 || merged <= 10 || divided <= 20 {
        seed += 1;
        assert!(
            seed <= 300,
            "{merged} merged parts, {divided} starts of several processes"
        );

        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=4));
        let first = lenient(settings(&mut random));

        for _ in 0..3 {
            world.publish(random.random_range(50..150), &mut random);
            let settings = Settings {
                workers: random.random_range(1..=3),
                ..first.clone()
            };
            let count = random.random_range(1..=3);
            println!("seed {seed}: {count} processes, {settings:?}");

            let parts = newest(&world).map_or(Vec::new(), |manifest| manifest.parts);
            let read = run(&world, &settings, count);
            world.check();
            check_shares(&parts, &read);
            merged += parts.iter().filter(|part| part.name.contains("-m")).count();
            divided += usize::from(read.iter().filter(|own| !own.is_empty()).count() > 1);
        }
    }
}

/// Checks that the processes read all parts, each once, and about as many bytes.
fn check_shares(parts: &[PartInfo], read: &[Vec<String>]) {
    let mut names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let mut all: Vec<&str> = read.iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    all.sort_unstable();
    assert_eq!(all, names);

    let is_named = |part: &&PartInfo, own: &[String]| own.contains(&part.name);
    let size = |parts: &mut dyn Iterator<Item = &PartInfo>| -> u64 {
        parts.map(|part| part.size_bytes).sum()
    };
    let mean = size(&mut parts.iter()) / read.len() as u64;
    let largest = parts.iter().map(|part| part.size_bytes).max().unwrap_or(0);
    for own in read {
        let bytes = size(&mut parts.iter().filter(|part| is_named(part, own)));
        // A process has at most three workers, each of which may exceed the mean by one part.
        assert!(bytes <= mean + 3 * largest, "{bytes} bytes of {mean}");
    }
}

#[test]
fn damage_that_one_process_finds_makes_all_begin_from_an_older_one() {
    let mut found_by = [0; 3];
    for (seed, damage) in (1..=40).zip(Damage::ALL.into_iter().cycle()) {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), 3);
        let first = lenient(settings(&mut random));
        for _ in 0..2 {
            world.publish(120, &mut random);
            world.run(&first).unwrap();
        }

        let Some(part) = only_in_the_newest(&world, random.random_range(0..1000)) else {
            continue;
        };
        damage.to(&world.objects, &world.part(&part), &mut random);
        world.publish(60, &mut random);
        let settings = Settings {
            workers: random.random_range(1..=2),
            ..first
        };
        println!("seed {seed}: {damage:?} to {part}, {settings:?}");

        let naming = manifests(&world)
            .filter(|manifest| names(manifest, &part))
            .count();
        let read = run(&world, &settings, 3);
        world.check_but_for_repeated_side_outputs();

        let reads = |own: &Vec<String>| own.iter().filter(|name| **name == part).count();
        let readers: Vec<usize> = read.iter().map(reads).collect();
        let all: usize = readers.iter().sum();
        assert_eq!(all, naming, "seed {seed}: once for each checkpoint");
        (0..3).for_each(|process| found_by[process] += readers[process].min(1));

        let attempt = newest(&world).unwrap().attempt;
        let mut own = manifests(&world).filter(|manifest| manifest.attempt == attempt);
        assert!(own.all(|manifest| !names(&manifest, &part)), "seed {seed}");
    }

    assert!(found_by.iter().all(|count| *count >= 4), "{found_by:?}");
}

fn manifests(world: &World) -> impl Iterator<Item = Manifest> {
    let paths = world.objects_in("manifests").into_iter();
    paths.map(|path| world.manifest(&path))
}

fn names(manifest: &Manifest, part: &str) -> bool {
    manifest.parts.iter().any(|named| named.name == part)
}

/// Returns the name of a part of the newest checkpoint that the oldest one does not need.
fn only_in_the_newest(world: &World, choice: usize) -> Option<String> {
    let manifests = world.objects_in("manifests").into_iter();
    let manifests = manifests.map(|path| world.manifest(&path));
    let manifests: Vec<Manifest> = manifests.filter(|manifest| manifest.boundary > 0).collect();

    let oldest: Vec<&String> = manifests[0].parts.iter().map(|part| &part.name).collect();
    let newest = manifests.last().unwrap().parts.iter();
    let fresh: Vec<_> = newest
        .filter(|part| !oldest.contains(&&part.name))
        .collect();
    let part = fresh.get(choice.checked_rem(fresh.len())?)?;
    Some(part.name.clone())
}

#[test]
fn a_process_with_another_store_ends_the_attempt() {
    let mut random = random(7);
    let mut world = World::new(windows(&mut random), 2);
    let settings = lenient(settings(&mut random));
    world.publish(100, &mut random);
    world.run(&settings).unwrap();
    let newest_before = newest(&world).unwrap();

    let processes = Processes::new(2);
    let job = |process, objects: Arc<InMemory>| Run {
        members: processes.members(process),
        store: CheckpointStore::new(objects, Path::default(), "counts"),
        ..world.job(world.log.clone(), &settings)
    };

    let stop = Stop::default();
    let lead = || job(0, world.objects.clone()).run(&stop);
    let (lead, follower) = beside(&stop, lead, |_| {
        job(1, Arc::default()).run(&Stop::default())
    });

    let follower = follower.unwrap_err();
    assert!(
        matches!(&follower, JobError::Recover(RecoverError::Unreadable(_))),
        "{follower}"
    );
    let lead = lead.unwrap_err();
    assert!(
        matches!(
            &lead,
            JobError::Cluster(ClusterError::Unreadable { process: 1, .. })
        ),
        "{lead}"
    );
    assert!(lead.to_string().contains("is missing") && lead.is_for_a_new_start());
    assert_eq!(newest(&world).unwrap(), newest_before);
}

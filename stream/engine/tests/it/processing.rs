//! Process functions emit the records that a plain program emits for the sorted events, after any fault.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use record_log::Record;
use record_log::simulated::SimulatedLog;
use serde_json::Value;
use stream::{
    AnyPipeline, CheckpointStore, Job, JobError, Pipeline, ProcessContext, ProcessFunction,
    Processed, Processing, Run, Settings, Sourced, Stop, Windows,
};

use crate::crashes::meet_deaths;
use crate::drawn::{meet_any_workers, meet_lost_processes};
use crate::oracle::{Form, SECOND, World, identified, random, write};

/// The time after a key's last event at which its timer fires.
const WAIT_MS: u64 = 23;
/// The length of steps.
const STEP_MS: u64 = 10;
/// The least number in a record that a timer emits.
const OF_TIMER: u64 = 1_000_000;

/// The partition and the offset of an event, and its key.
type Place = (u32, u64, u64);
/// The number of a key's events since its last timer, a digest of their places in order, and the time of the timer.
type State = (u64, u64, u64);
/// Key, time, number of events, and digest.
type Out = (u64, u64, u64, u64);

/// Emits every third event of a key, and the number of events when the key has been quiet for a while.
struct Quiet;

impl ProcessFunction for Quiet {
    type Key = u64;
    type Event = Place;
    type State = State;
    type Out = Out;

    fn on_event(&self, event: Place, context: &mut ProcessContext<'_, u64, State, Out>) {
        let (count, digest, until) = context.state().unwrap_or_default();
        let count = count + 1;
        let digest = digest_of(digest, event);
        context.delete_timer(until);
        let until = context.time_ms() + WAIT_MS;
        context.set_timer(until);
        *context.state() = Some((count, digest, until));
        if count.is_multiple_of(3) {
            context.emit((*context.key(), context.time_ms(), count, digest));
        }
    }

    fn on_timer(&self, context: &mut ProcessContext<'_, u64, State, Out>) {
        if let Some((count, digest, _)) = context.state().take() {
            context.emit((*context.key(), context.time_ms(), OF_TIMER + count, digest));
        }
    }
}

/// Adds an event to the digest of those before it.
fn digest_of(digest: u64, (partition, offset, _): Place) -> u64 {
    (digest * 31 + u64::from(partition) * 7 + offset + 1) % 1_000_003
}

/// Defines the job of this world, without its sink.
fn processing(has_two_topics: bool) -> Processing<Quiet> {
    let placed = |first_id: u32| {
        move |record: &Record<'_>| {
            let (time, (key, id)) = identified(record)?;
            let place = (first_id + record.partition, record.offset, key);
            Ok((time, (place, id)))
        }
    };
    let mut source = Job::new("counts").source("events", placed(0));
    if has_two_topics {
        source = source.and(Sourced::of("more-events", placed(SECOND)));
    }

    source
        .identified_by(|(_, id)| id.map(Into::into))
        .map(|(place, _): (Place, Option<u64>)| place)
        .key_by(|(_, _, key)| *key)
        .process(Duration::from_millis(STEP_MS), Quiet)
        .unwrap()
        .state_refresh(Duration::from_millis(6 * STEP_MS))
}

/// Defines the job of this world.
pub fn pipeline(has_two_topics: bool) -> Pipeline<u64, Processed<Place, State>> {
    processing(has_two_topics).sink("counts", |(key, time, count, digest), output| {
        output.key.extend(key.to_string().bytes());
        write(&[*key, *time, *count, *digest], output);
    })
}

/// Compares everything that is published with a plain program over the sorted events that were counted.
///
/// # Panics
/// If they differ.
pub fn check(world: &World, may_repeat: bool) {
    let boundary = world
        .objects_in("manifests")
        .pop()
        .map_or(0, |path| world.manifest(&path).boundary);
    let mut expected = Vec::new();
    for (key, events) in events_by_key(world) {
        let mut count = 0;
        let mut digest = 0;
        for (at, (time, partition, offset)) in events.iter().enumerate() {
            count += 1;
            digest = digest_of(digest, (*partition, *offset, key));
            if count % 3 == 0 {
                expected.push(vec![key, *time, count, digest]);
            }
            let next = events.get(at + 1).map_or(boundary, |next| next.0);
            if time + WAIT_MS < next {
                expected.push(vec![key, time + WAIT_MS, OF_TIMER + count, digest]);
                count = 0;
                digest = 0;
            }
        }
    }
    expected.sort();

    let mut published = world.numbers("counts");
    if !may_repeat {
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for row in &published {
            let before = newest.insert(row[0], row[1]);
            assert!(before.is_none_or(|time| time <= row[1]), "a key's order");
        }
    }
    published.sort();
    if may_repeat {
        published.dedup();
    }
    assert_eq!(published, expected, "timers before {boundary}");
}

/// Returns the events of each key that were counted, in their order: time, partition and offset.
fn events_by_key(world: &World) -> BTreeMap<u64, Vec<(u64, u32, u64)>> {
    let mut keys: BTreeMap<u64, Vec<(u64, u32, u64)>> = BTreeMap::new();
    for ((partition, offset), key, time) in world.counted() {
        let events = keys.entry(key).or_default();
        events.push((time, partition, offset));
    }
    keys.values_mut().for_each(|events| events.sort_unstable());
    keys
}

fn world(random: &mut SmallRng) -> World {
    let windows = Windows::tumbling(Duration::from_millis(STEP_MS)).unwrap();
    let mut world = World::new(windows, random.random_range(1..=4));
    if random.random_bool(0.5) {
        world = world.and(random.random_range(1..=3));
    }
    world.form = Form::Processing;
    world
}

fn job(world: &World, log: SimulatedLog, settings: &Settings) -> Run<u64, Processed<Place, State>> {
    world.run_of(pipeline(world.topics().len() > 1), log, settings)
}

#[test]
fn each_key_is_handled_in_order_by_any_workers() {
    meet_any_workers(|random| {
        let mut world = world(random);
        world.has_copies = random.random_bool(0.3);
        world
    });
}

#[test]
fn each_key_is_handled_once_if_a_process_function_dies() {
    meet_deaths(world, job);
}

#[test]
fn whichever_of_several_processes_dies_each_key_is_handled_once() {
    meet_lost_processes(world, job);
}

/// Runs a pipeline over a world and returns the sentence by which it is refused.
fn refusal(world: &World, pipeline: Pipeline<u64, Processed<Place, State>>) -> String {
    let run = world.run_of(pipeline, world.log.clone(), &Settings::default());
    run.run(&Stop::default()).unwrap_err().to_string()
}

#[test]
fn a_state_that_a_checkpoint_does_not_fit_is_refused_by_name() {
    let mut random = random(1);
    let mut world = world(&mut random);
    world.publish(100, &mut random);
    world.run(&Settings::default()).unwrap();
    let has_two = world.topics().len() > 1;

    let other = processing(has_two)
        .state_version(1)
        .sink("counts", |_, _| {});
    let said = refusal(&world, other);
    assert!(
        said.contains("the state version was \"0\" and is now \"1\""),
        "{said}"
    );

    let other = processing(has_two).state_refresh(Duration::from_millis(70));
    let said = refusal(&world, other.sink("counts", |_, _| {}));
    assert!(
        said.contains("the state refresh was \"60ms\" and is now \"70ms\""),
        "{said}"
    );

    // A job of the same name whose keys have counts in the place of a state.
    let counting = world.pipeline();
    let run = world.run_of(counting, world.log.clone(), &Settings::default());
    let said = run.run(&Stop::default()).unwrap_err().to_string();
    assert!(
        said.contains("aggregate type was \"process function"),
        "{said}"
    );

    world.publish(50, &mut random);
    world.run(&Settings::default()).unwrap();
    world.check();
}

#[test]
fn what_needs_rows_is_refused_by_name() {
    let world = world(&mut random(1));
    let ranked = pipeline(false).top("tops", 1, |one, other| one.cmp(&other), |_, _| {});
    let run = world.run_of(ranked, world.log.clone(), &Settings::default());
    let Err(JobError::Settings(said)) = run.run(&Stop::default()) else {
        panic!("the job runs");
    };
    assert!(said.contains("has a process function"), "{said}");
}

#[test]
fn the_states_of_a_checkpoint_are_read_as_json() {
    let mut random = random(2);
    let mut world = world(&mut random);
    world.publish(200, &mut random);
    world.run(&Settings::default()).unwrap();

    let store = CheckpointStore::new(
        world.objects.clone(),
        object_store::path::Path::default(),
        "counts",
    );
    let mut output = Vec::new();
    let job = AnyPipeline::from(pipeline(world.topics().len() > 1));
    job.read_checkpoint(&store, None, &mut output).unwrap();

    let text = String::from_utf8(output).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let newest: BTreeMap<u64, &Value> = lines
        .iter()
        .filter_map(|line| Some((line["key"].as_u64()?, &line["aggregate"]["Written"])))
        .collect();
    let states = newest
        .values()
        .filter(|written| !written["state"].is_null());
    assert!(states.count() > 0, "{text}");
}

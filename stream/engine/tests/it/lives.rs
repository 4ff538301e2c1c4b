//! Lives of the job's process: one under a simulated store, log and fate, one beside the steps of a test, or several
//! without faults.

#![allow(clippy::print_stdout, reason = "a test that fails shows its lives")]

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use stream::{CheckpointStore, Settings, Stop};

use crate::fate::Fate;
use crate::mortal::MortalStore;
use crate::oracle::World;

/// The end of a life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Finished,
    Died,
    /// The store refused a call for longer than the limit: the job reports it, and ends.
    Refused,
}

/// Runs the job in a process with that fate, and returns how it ended.
pub fn live(world: &World, settings: &Settings, fate: &Arc<Fate>) -> End {
    let objects = Arc::new(MortalStore::new(&world.objects, fate));
    let limited = |store: CheckpointStore| store.with_refusal_limit(Duration::from_millis(20));

    let log = fate.log(&world.log);
    let life = || world.run_on(log, objects, settings, limited);
    match thread::scope(|scope| scope.spawn(life).join()) {
        _ if fate.is_dead() => End::Died,
        Ok(Ok(())) => End::Finished,
        Ok(Err(error)) if fate.is_forbidden() => {
            let refused = error.to_string();
            let refused = refused
                .strip_prefix("cannot commit results: ")
                .unwrap_or(&refused);
            assert!(refused.starts_with("the object store refuses"), "{error}");
            End::Refused
        }
        other => panic!("a process that did not die ended with {other:?}"),
    }
}

/// Ends a job at once if the test that runs it fails. The scope of its thread would wait for it without end.
struct EndedByPanic<'a>(&'a Stop);

impl Drop for EndedByPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.request();
            self.0.request();
        }
    }
}

/// Runs `life` on a thread of its own while `meanwhile` runs, and returns what both return. A life that ends by a stop
/// only ends with this one: `meanwhile` requests it, and its panic does, too.
pub fn beside<R: Send, T>(
    stop: &Stop,
    life: impl FnOnce() -> R + Send,
    meanwhile: impl FnOnce(&ScopedJoinHandle<'_, R>) -> T,
) -> (R, T) {
    thread::scope(|scope| {
        let ended_by_panic = EndedByPanic(stop);
        let running = scope.spawn(life);
        let done = meanwhile(&running);
        drop(ended_by_panic);

        let ended = running.join().unwrap_or_else(|panic| resume_unwind(panic));
        (ended, done)
    })
}

/// Runs the job several times to the end of its topics, each time with more records and another number of workers, and
/// compares its results each time.
pub fn live_to_the_end(world: &mut World, first: &Settings, random: &mut SmallRng) {
    for _ in 0..random.random_range(2..=4) {
        world.publish(random.random_range(0..200), random);
        let settings = Settings {
            workers: random.random_range(1..=4),
            ..first.clone()
        };
        println!(
            "{} records, {:?}, {:?}, {settings:?}",
            world.records.len(),
            world.form,
            world.windows
        );

        world.run(&settings).unwrap();
        world.check();
        world.check_checkpoint();
    }
}

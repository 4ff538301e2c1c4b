//! One life of the job's process, under a simulated store, log and fate.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use stream::{CheckpointStore, JobError, Settings};

use crate::fate::Fate;
use crate::mortal::MortalStore;
use crate::oracle::World;

/// How a life ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Finished,
    Died,
    /// The store refused a call for longer than the limit: the job reports it, and ends.
    Refused,
}

/// Runs the job in a process with that fate, and returns how it ended.
pub fn live(world: &World, settings: &Settings, fate: &Arc<Fate>) -> End {
    let objects = MortalStore::new(&world.objects, fate);
    let store = CheckpointStore::new(Arc::new(objects), Path::default(), "counts")
        .with_refusal_limit(Duration::from_millis(20));

    let log = fate.log(&world.log);
    let life = || world.run_on(log, store, settings);
    match std::thread::scope(|scope| scope.spawn(life).join()) {
        _ if fate.is_dead() => End::Died,
        Ok(Ok(())) => End::Finished,
        Ok(Err(error @ (JobError::Store(_) | JobError::Recover(_)))) if fate.is_forbidden() => {
            assert!(
                error.to_string().starts_with("the object store refuses"),
                "{error}"
            );
            End::Refused
        }
        other => panic!("a process that did not die ended with {other:?}"),
    }
}

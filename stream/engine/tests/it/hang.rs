//! A worker that hangs inside a living process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use record_log::simulated::{Call, Fault, SimulatedLog};
use stream::{JobError, Settings, Stop, Windows};

use crate::oracle::{World, random};

/// The number of polls after which the log's client does not return any more.
const HANGS_AFTER: u64 = 5;

/// Lets the call that hangs return when the test is over.
struct Release(Arc<AtomicBool>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Returns a handle to the log of which one poll does not return before the release.
fn hanging(log: &SimulatedLog) -> (SimulatedLog, Release) {
    let is_released = Arc::new(AtomicBool::new(false));
    let release = Release(Arc::clone(&is_released));
    let polls = AtomicU64::new(0);
    let log = log.process(move |call| {
        let is_poll = matches!(call, Call::Poll { .. });
        if is_poll && polls.fetch_add(1, Ordering::SeqCst) == HANGS_AFTER {
            while !is_released.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Fault::None
    });

    (log, release)
}

#[test]
fn a_hung_worker_ends_the_process_and_a_restart_counts_once() {
    let window = Duration::from_millis(10);
    let mut world = World::new(Windows::tumbling(window).unwrap(), 3);
    let settings = Settings {
        workers: 3,
        step_limit: Duration::from_secs(1),
        ..Settings::default()
    };
    world.publish(200, &mut random(1));

    let (log, _release) = hanging(&world.log);
    let job = world.job(log.in_batches_of(4), &settings);
    let error = job.run(&Stop::default()).unwrap_err();
    assert!(matches!(error, JobError::Hung { .. }), "{error}");
    assert!(error.is_for_a_new_start() && !error.is_passing(), "{error}");
    assert!(error.to_string().contains("--step-limit"), "{error}");

    world.publish(50, &mut random(2));
    world.run(&settings).unwrap();
    world.check();
}

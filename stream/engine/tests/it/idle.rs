//! A source that has nothing to read: it runs by itself, and no more often than event time needs.

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use record_log::simulated::{Call, Fault};
use stream::{Settings, Stop, Windows};

use crate::lives::beside;
use crate::oracle::World;

/// The window is so long that each run comes 40 ms after the one that scheduled it. Every run polls the partition. A
/// slow machine only adds to the time, and a few runs come earlier, woken by another thread.
#[test]
fn an_idle_source_runs_no_more_often_after_many_records() {
    const RECORDS: u64 = 50;
    const RUNS: u32 = 20;
    let patience = Duration::from_secs(60);
    let mut world = World::new(Windows::tumbling(Duration::from_secs(10)).unwrap(), 1);
    let (polled, polls) = mpsc::channel();
    let polled = Mutex::new(polled);
    let log = world.log.process(move |call| {
        if matches!(call, Call::Poll { .. }) {
            // The test does not listen to the end.
            let _ = polled.lock().unwrap().send(Instant::now());
        }
        Fault::None
    });

    let mut job = world.job(log, &Settings::default());
    job.settings.until_end = false;
    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    let (_, took) = beside(&stop, run, |_| {
        let next = || polls.recv_timeout(patience).expect("the source runs");
        // Each record wakes the source once more.
        for time in 0..RECORDS {
            world.put(0, &[(1, time)]);
            next();
            next();
        }
        while polls.try_recv().is_ok() {}

        let first = next();
        let last = (0..RUNS).fold(first, |_, _| next());
        stop.request();
        last - first
    });

    let least = Duration::from_millis(40) * RUNS / 2;
    assert!(took >= least, "{RUNS} runs took {took:?}");
}

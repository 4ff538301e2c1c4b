//! Partitions whose broker does not answer, or whose readers are held back by an open transaction. Event time waits for
//! them, the job reports it, and no record is late when they answer again. A log that takes no results is reported in
//! the same way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use record_log::simulated::{Call, Fault, SimulatedLog};
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use stream::{Count, Metrics, Run, Settings, Stop, Windows, system_clock};

use crate::lives::beside;
use crate::oracle::World;

/// A time limit that no correct step reaches.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time by which each step advances the clock.
const STEP_MS: u64 = 100;

/// A job that reads two partitions by a clock that the test controls.
struct Live {
    world: World,
    clock_ms: Arc<AtomicU64>,
    metrics: Metrics,
    steps: u64,
}

impl Live {
    fn new() -> (Self, Run<u64, Count>) {
        let clock_ms = Arc::new(AtomicU64::new(system_clock()()));
        let of_log = Arc::clone(&clock_ms);
        let of_job = Arc::clone(&clock_ms);
        let log = SimulatedLog::new(move || of_log.load(Ordering::SeqCst));

        let topic = TopicSpec {
            name: "events".to_owned(),
            partitions: 2,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(3600),
        };
        log.ensure_topics(&[topic]).unwrap();

        let windows = Windows::tumbling(Duration::from_secs(1)).unwrap();
        let mut world = World::new(windows, 2);
        world.log = log.clone();

        let settings = Settings {
            disorder: Duration::from_secs(1),
            allowed_lateness: Duration::ZERO,
            ..Settings::default()
        };
        let mut job = world.job(log, &settings);
        job.settings.until_end = false;
        job.clock = Arc::new(move || of_job.load(Ordering::SeqCst));

        let live = Self {
            world,
            clock_ms,
            metrics: job.metrics.clone(),
            steps: 0,
        };
        (live, job)
    }

    fn now_ms(&self) -> u64 {
        self.clock_ms.load(Ordering::SeqCst)
    }

    /// Advances the clock and publishes an event to each partition, up to 900 ms old.
    fn step(&mut self) {
        let now_ms = self.clock_ms.fetch_add(STEP_MS, Ordering::SeqCst) + STEP_MS;
        self.steps += 1;
        let value = format!("1 {}", now_ms - self.steps * 37 % 900);
        let log = &self.world.log;
        let mut publisher = log.publisher("generator", Delivery::Transactional).unwrap();

        for partition in [0, 1] {
            let record = NewRecord {
                topic: "events",
                partition: Some(partition),
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }
        publisher.commit(&self.steps.to_be_bytes()).unwrap();
    }

    fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.step();
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits in real time until the condition holds; the job's clock stands still.
    fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?}",
                self.metrics.status(self.now_ms())
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn unanswered(&self) -> Option<String> {
        self.metrics.status(self.now_ms()).unanswered
    }

    fn records(&self) -> u64 {
        self.metrics.status(self.now_ms()).records
    }
}

/// Makes partition 0 silent for 30 s of a minute by the job's clock.
fn partition_goes_silent(silence: impl Fn(&SimulatedLog), end: impl Fn(&SimulatedLog)) {
    let (mut live, job) = Live::new();
    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        live.steps(150);
        live.wait_until(|live| live.records() == 300 && live.unanswered().is_none());

        silence(&live.world.log);
        live.steps(300);
        live.wait_until(|live| live.unanswered().is_some());

        let sentence = live.unanswered().unwrap();
        assert!(
            sentence.starts_with("partition 0 of topic \"events\""),
            "{sentence}"
        );

        let before_ms = live.metrics.status(live.now_ms()).watermark_ms.unwrap();
        assert!(before_ms < live.now_ms() - 25_000, "event time waits");

        end(&live.world.log);
        live.steps(150);
        live.wait_until(|live| live.records() == 1_200 && live.unanswered().is_none());

        let status = live.metrics.status(live.now_ms());
        assert_eq!((status.too_late, status.corrections), (0, 0));
        live.wait_until(|live| {
            let status = live.metrics.status(live.now_ms());
            status.watermark_ms.unwrap() > live.now_ms() - 5_000
        });
        stop.request();
    });
}

#[test]
fn a_broker_that_is_cut_off_makes_nothing_late_and_is_named() {
    partition_goes_silent(
        |log| log.silence("events", 0, u32::MAX),
        |log| log.silence("events", 0, 0),
    );
}

#[test]
fn an_open_transaction_makes_nothing_late_and_is_named() {
    partition_goes_silent(
        |log| {
            let end = log.offsets("events").unwrap()[0].end;
            log.hold_back("events", 0, Some(end));
        },
        |log| log.hold_back("events", 0, None),
    );
}

#[test]
fn a_log_that_takes_no_results_makes_the_job_not_ready() {
    let (mut live, mut job) = Live::new();
    let is_full = Arc::new(AtomicBool::new(false));
    let full = Arc::clone(&is_full);
    job.log = Arc::new(live.world.log.process(move |call| match call {
        Call::Commit { .. } if full.load(Ordering::SeqCst) => Fault::Unavailable,
        _ => Fault::None,
    }));

    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        live.steps(50);
        live.wait_until(|live| live.records() == 100 && live.unanswered().is_none());

        is_full.store(true, Ordering::SeqCst);
        live.steps(150);
        live.wait_until(|live| live.unanswered().is_some());
        let sentence = live.unanswered().unwrap();
        let expected = "the log has not taken the output of the job since";
        assert!(sentence.starts_with(expected), "{sentence}");

        is_full.store(false, Ordering::SeqCst);
        live.wait_until(|live| live.unanswered().is_none());
        stop.request();
    });
}

/// A client waits for a frozen broker until a time limit of its own, and only then returns an error.
#[test]
fn a_commit_without_an_answer_makes_the_job_not_ready() {
    let (mut live, mut job) = Live::new();
    let is_frozen = Arc::new(AtomicBool::new(false));
    let frozen = Arc::clone(&is_frozen);
    job.log = Arc::new(live.world.log.process(move |call| {
        while matches!(call, Call::Commit { .. }) && frozen.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        Fault::None
    }));

    let stop = Stop::default();
    let run = || job.run(&stop).unwrap();
    beside(&stop, run, |_| {
        live.steps(50);
        live.wait_until(|live| live.records() == 100 && live.unanswered().is_none());

        is_frozen.store(true, Ordering::SeqCst);
        live.steps(150);
        let thawed = Thawed(&is_frozen);
        live.wait_until(|live| live.unanswered().is_some());
        let sentence = live.unanswered().unwrap();
        for named in [
            "the log has not taken the output of the job since",
            "not answered",
        ] {
            assert!(sentence.contains(named), "{named} in {sentence}");
        }

        drop(thawed);
        live.wait_until(|live| live.unanswered().is_none());
        stop.request();
    });
}

/// Lets commits go on, also where a check fails.
struct Thawed<'a>(&'a AtomicBool);

impl Drop for Thawed<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

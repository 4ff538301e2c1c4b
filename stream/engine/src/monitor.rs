//! Watches over an attempt for events that no worker sees: stop requests, the lag of reading, added
//! partitions, and partitions that no longer answer.
//!
//! It also commits the job's positions to the log, under a consumer group with the job's name. They
//! are for tools that show consumer groups and their lag. A job continues from its checkpoint, and
//! never reads these positions back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use record_log::{Offset, RecordLog, Signal};

use crate::attempt::{Attempt, Stop};
use crate::clock::now_ms;

/// The interval at which the monitor checks whether the attempt is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The interval at which the monitor reads the log's offsets.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The stop of a job, and its time limit for committing closed windows.
#[derive(Clone)]
pub struct Stopping {
    /// The stop.
    pub stop: Stop,
    /// The time limit.
    pub within: Duration,
}

/// A handle to the threads that watch over one attempt.
pub struct Watch {
    over: [Signal; 2],
    is_over: Arc<AtomicBool>,
    were_added: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// The state of the thread that notices stops and silence. It never waits for the log.
struct Watched {
    attempt: Arc<Attempt>,
    /// Whether some partition did not answer at the last check.
    is_unanswered: bool,
}

/// The state of the thread that reads the log's offsets, for as long as the log takes to answer.
struct Survey {
    log: Arc<dyn RecordLog>,
    topic: String,
    partitions: u32,
    attempt: Arc<Attempt>,
    /// The positions that were committed to the log last.
    committed: Vec<(u32, Offset)>,
}

/// Starts the watch.
///
/// # Panics
/// If the system cannot start a thread.
pub fn watch(
    log: Arc<dyn RecordLog>,
    topic: String,
    partitions: u32,
    attempt: Arc<Attempt>,
    stopping: Stopping,
) -> Watch {
    let watched = Watched {
        attempt: Arc::clone(&attempt),
        is_unanswered: false,
    };
    let survey = Survey {
        log,
        topic,
        partitions,
        attempt,
        committed: Vec::new(),
    };

    start(watched, survey, stopping, ASK_EVERY)
}

fn start(watched: Watched, survey: Survey, stopping: Stopping, ask_every: Duration) -> Watch {
    let over = [(); 2].map(|()| Signal::default());
    let is_over = Arc::new(AtomicBool::new(false));
    let were_added = Arc::new(AtomicBool::new(false));

    let look = {
        let signal = over[0].clone();
        let ended = Arc::clone(&is_over);
        move || watched.look(&signal, &ended, &stopping)
    };
    let thread = thread::Builder::new()
        .name("monitor".to_owned())
        .spawn(look)
        .expect("the system can start a thread");

    let ask = {
        let signal = over[1].clone();
        let ended = Arc::clone(&is_over);
        let added = Arc::clone(&were_added);
        move || survey.run(&signal, &ended, &added, ask_every)
    };
    // Nothing waits for this thread: a log that is away may keep it for a while.
    let _unjoined = thread::Builder::new()
        .name("survey".to_owned())
        .spawn(ask)
        .expect("the system can start a thread");

    Watch {
        over,
        is_over,
        were_added,
        thread,
    }
}

impl Watched {
    fn look(mut self, signal: &Signal, ended: &AtomicBool, stopping: &Stopping) {
        let attempt = Arc::clone(&self.attempt);
        let _guard = attempt.guard("the monitor");
        let mut draining = None;

        while !ended.load(Ordering::Acquire) {
            signal.wait(LOOK_EVERY);
            if stopping.stop.is_requested() {
                let since = *draining.get_or_insert_with(Instant::now);
                self.drain(stopping, since);
            }
            self.note_silence(now_ms());
        }
    }

    /// Logs once when partitions stop answering, and once when all answer again.
    fn note_silence(&mut self, now_ms: u64) {
        let unanswered = self.attempt.metrics.status(now_ms).unanswered;
        let was_unanswered = std::mem::replace(&mut self.is_unanswered, unanswered.is_some());
        match unanswered {
            Some(sentence) if !was_unanswered => {
                tracing::warn!("not ready: {sentence}");
                self.attempt.metrics.trouble(sentence);
            }
            None if was_unanswered => tracing::info!("ready: all partitions answer again"),
            _ => {}
        }
    }

    /// Lets the attempt commit closed windows, within the stop timeout.
    fn drain(&self, stopping: &Stopping, since: Instant) {
        self.attempt.drain();
        let is_late = since.elapsed() >= stopping.within;
        if is_late && !self.attempt.is_over() {
            tracing::warn!(
                within_ms = stopping.within.as_millis(),
                "results were not committed within the stop timeout: the next start repeats them"
            );
        }

        if is_late || stopping.stop.is_immediate() {
            self.attempt.end();
        }
    }
}

impl Survey {
    /// Reads the log's offsets again and again, until the attempt is over or partitions were added.
    fn run(
        mut self,
        signal: &Signal,
        ended: &AtomicBool,
        were_added: &AtomicBool,
        ask_every: Duration,
    ) {
        let attempt = Arc::clone(&self.attempt);
        let _guard = attempt.guard("the survey of the log");
        loop {
            signal.wait(ask_every);
            if ended.load(Ordering::Acquire) {
                return;
            }
            if self.ask() {
                were_added.store(true, Ordering::Release);
                return attempt.end();
            }
        }
    }

    /// Reads the log's offsets to measure the lag. Returns whether partitions were added.
    fn ask(&mut self) -> bool {
        // Readers and publishers report a log that does not answer.
        let Ok(ranges) = self.log.offsets(&self.topic) else {
            return false;
        };

        self.attempt.metrics.ends(&ranges);
        self.commit_positions();
        ranges.len() > self.partitions as usize
    }

    fn commit_positions(&mut self) {
        let group = self.attempt.metrics.job();
        let positions = self.attempt.metrics.positions();
        if positions == self.committed {
            return;
        }

        match self.log.commit(&group, &self.topic, &positions) {
            Ok(()) => self.committed = positions,
            Err(error) => tracing::debug!(%error, "the log does not take the job's positions"),
        }
    }
}

impl Watch {
    /// Ends the watch, and returns whether partitions were added.
    ///
    /// # Panics
    /// If the watch itself panicked.
    pub fn end(self) -> bool {
        self.is_over.store(true, Ordering::Release);
        self.over.iter().for_each(Signal::raise);
        self.thread.join().expect("the monitor does not panic");
        self.were_added.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use record_log::simulated::{Call, Fault, SimulatedLog};
    use record_log::{Cleanup, TopicSpec};

    use super::*;
    use crate::metrics::Metrics;
    use crate::source::position::Position;

    fn attempt() -> Arc<Attempt> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();

        let attempt = Attempt::new(
            1,
            runtime.handle().clone(),
            Metrics::new("counts"),
            Stop::default(),
        );

        Arc::new(attempt)
    }

    fn watched() -> Watched {
        Watched {
            attempt: attempt(),
            is_unanswered: false,
        }
    }

    fn survey(log: SimulatedLog) -> Survey {
        Survey {
            log: Arc::new(log),
            topic: "events".to_owned(),
            partitions: 2,
            attempt: attempt(),
            committed: Vec::new(),
        }
    }

    fn position(partition: u32, next_offset: Offset) -> Position {
        Position {
            partition,
            next_offset,
            newest_event_ms: None,
            heard_at_ms: Some(1_000),
            end_as_of_ms: None,
        }
    }

    #[test]
    fn silence_is_told_once_and_again_after_an_answer() {
        let mut watched = watched();
        let metrics = watched.attempt.metrics.clone();
        metrics.attempt_began(1);
        metrics.expect_answers_within(Duration::from_secs(10));
        metrics.position(position(1, 7));

        let now_ms = now_ms();
        let troubles = || metrics.status(now_ms).troubles.len();
        watched.note_silence(now_ms);

        assert_eq!((troubles(), watched.is_unanswered), (0, false));
        for later_ms in [20_000, 21_000] {
            watched.note_silence(now_ms + later_ms);
            assert_eq!((troubles(), watched.is_unanswered), (1, true));
        }

        metrics.position(Position {
            heard_at_ms: Some(now_ms + 21_500),
            ..position(1, 8)
        });

        watched.note_silence(now_ms + 22_000);
        assert!(!watched.is_unanswered);
        watched.note_silence(now_ms + 40_000);

        assert_eq!((troubles(), watched.is_unanswered), (2, true));
    }

    fn log() -> SimulatedLog {
        let log = SimulatedLog::default();
        let retention = Duration::from_secs(60);
        let topic = TopicSpec {
            name: "events".to_owned(),
            partitions: 2,
            cleanup: Cleanup::Delete,
            retention,
        };
        log.ensure_topics(&[topic]).unwrap();

        log
    }

    #[test]
    fn positions_are_told_under_the_job_s_name() {
        let log = log();
        let mut survey = survey(log.clone());
        assert!(!survey.ask());

        assert_eq!(
            log.committed("counts", "events").unwrap(),
            [],
            "nothing was read yet"
        );

        survey.attempt.metrics.position(position(1, 7));
        assert!(!survey.ask());
        assert_eq!(log.committed("counts", "events").unwrap(), [(1, 7)]);
        log.commit("counts", "events", &[(1, 5)]).unwrap();

        assert!(!survey.ask());
        assert_eq!(
            log.committed("counts", "events").unwrap(),
            [(1, 5)],
            "nothing was read since, so nothing is committed"
        );
    }

    #[test]
    fn a_log_that_takes_no_positions_stops_nothing() {
        let refuses = |call: &Call<'_>| match call {
            Call::CommitPositions { .. } => Fault::Unavailable,
            _ => Fault::None,
        };

        let log = log();
        let mut survey = survey(log.process(refuses));
        survey.attempt.metrics.position(position(0, 3));

        assert!(!survey.ask() && !survey.attempt.is_over());
        log.grow("events", 3);
        assert!(survey.ask(), "partitions were added");
    }

    #[test]
    fn a_log_that_does_not_answer_delays_neither_silence_nor_a_stop() {
        let is_asked = Arc::new(AtomicBool::new(false));
        let is_released = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_asked);
        let released = Arc::clone(&is_released);
        let silent = log().process(move |call| {
            if matches!(call, Call::Offsets { .. }) {
                asked.store(true, Ordering::SeqCst);
                while !released.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Fault::None
        });

        let survey = survey(silent);
        let attempt = Arc::clone(&survey.attempt);
        let watched = Watched {
            attempt: Arc::clone(&attempt),
            is_unanswered: false,
        };
        let stop = Stop::default();
        let stopping = Stopping {
            stop: stop.clone(),
            within: Duration::ZERO,
        };

        let until = |is_so: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !is_so() {
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "it waits for the log"
                );
                thread::sleep(Duration::from_millis(1));
            }
        };

        let watch = start(watched, survey, stopping, Duration::from_millis(1));
        until(&|| is_asked.load(Ordering::SeqCst));

        attempt.metrics.attempt_began(1);
        attempt.metrics.expect_answers_within(Duration::ZERO);
        attempt.metrics.position(position(1, 7));
        let troubles = || attempt.metrics.status(now_ms()).troubles;
        until(&|| troubles().len() == 1);

        stop.request();
        until(&|| attempt.is_over());
        assert!(!watch.end(), "no partition was added");
        is_released.store(true, Ordering::SeqCst);
    }
}

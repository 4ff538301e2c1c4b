//! Watches over an attempt for events that no worker sees: stop requests, the lag of reading, added
//! partitions, partitions that no longer answer, and topics whose policy begins to lose records.
//!
//! It also commits the job's positions to the log, under a consumer group with the job's name. They
//! are for tools that show consumer groups and their lag. A job continues from its checkpoint, and
//! never reads these positions back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use record_log::{LogError, Offset, RecordLog, Signal};

use crate::attempt::{Attempt, Stop};
use crate::clock::now_ms;
use crate::inputs::Inputs;
use crate::topics;

/// The interval at which the monitor checks whether the attempt is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The interval at which the monitor reads the log's offsets.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The number of looks at the offsets after which the monitor looks at the topics' policies.
const LOOKS: u32 = 12;

/// The topics of a job.
pub struct Topics {
    /// Those that the job reads.
    pub inputs: Inputs,
    /// The number of their partitions when the attempt began.
    pub partitions: usize,
    /// The topics that must keep every record; none if compaction is allowed.
    pub kept: Vec<String>,
}

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
    /// True if the log did not answer at the last check.
    is_unanswered: bool,
}

/// A change between a log that answers and one that does not.
#[derive(Debug, Eq, PartialEq)]
enum Turn {
    /// The log stopped answering; with the sentence that names the partitions or the reason.
    Silent(String),
    Answered,
}

/// The state of the thread that reads the log's offsets. It waits for as long as the log takes to answer.
struct Survey {
    log: Arc<dyn RecordLog>,
    topics: Topics,
    attempt: Arc<Attempt>,
    /// The positions that were committed to the log last.
    committed: Vec<(u32, Offset)>,
    /// True if the log rejected the positions at the last try.
    is_refused: bool,
    /// The number of looks at the offsets.
    looks: u32,
    /// The topics whose loss of records was logged.
    losing: BTreeSet<String>,
}

/// Starts the watch.
///
/// # Panics
/// If the system cannot start a thread.
pub fn watch(
    log: Arc<dyn RecordLog>,
    topics: Topics,
    attempt: Arc<Attempt>,
    stopping: Stopping,
) -> Watch {
    let watched = Watched {
        attempt: Arc::clone(&attempt),
        is_unanswered: false,
    };
    let survey = Survey {
        log,
        topics,
        attempt,
        committed: Vec::new(),
        is_refused: false,
        looks: 0,
        losing: BTreeSet::new(),
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
    // Nothing waits for this thread: a log that does not answer may hold it for a while.
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
                let since = *draining.get_or_insert_with(|| {
                    tracing::info!(
                        "stopping once closed windows are committed; another signal ends the job at once"
                    );
                    Instant::now()
                });
                self.drain(stopping, since);
            }
            self.note_silence(now_ms());
        }
    }

    /// Logs once when the log stops answering, and once when it answers again.
    fn note_silence(&mut self, now_ms: u64) {
        match self.turn(now_ms) {
            Some(Turn::Silent(sentence)) => {
                tracing::warn!("not ready: {sentence}");
                self.attempt.metrics.trouble(sentence);
            }
            Some(Turn::Answered) => tracing::info!("ready: the log answers again"),
            None => {}
        }
    }

    /// Returns the changes since the last call.
    fn turn(&mut self, now_ms: u64) -> Option<Turn> {
        let unanswered = self.attempt.metrics.status(now_ms).unanswered;
        let was_unanswered = std::mem::replace(&mut self.is_unanswered, unanswered.is_some());
        match unanswered {
            Some(sentence) if !was_unanswered => Some(Turn::Silent(sentence)),
            None if was_unanswered => Some(Turn::Answered),
            _ => None,
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
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS) {
            self.note_losses();
        }

        // Readers and publishers report a log that does not answer.
        let Ok(ranges) = self.topics.inputs.offsets(self.log.as_ref()) else {
            return false;
        };

        self.attempt.metrics.ends(&ranges);
        self.note_positions();
        ranges.len() > self.topics.partitions
    }

    /// Names the topics that lose records by compaction since the attempt began: their policy was
    /// checked then. Each is logged once, and stays a trouble for as long as it loses records.
    fn note_losses(&mut self) {
        for loss in self.new_losses() {
            tracing::error!("{loss}");
        }
    }

    /// Looks at the topics' policies. Returns a sentence about each topic that has begun to lose records since the last look.
    fn new_losses(&mut self) -> Vec<String> {
        let log = self.log.as_ref();
        let kept = self.topics.kept.iter().map(String::as_str);
        let kept = kept.map(|topic| (topic, topics::loss_now(log, topic)));
        let progress = log.progress_topic();
        let progress = progress.map(|topic| (topic, topics::progress_loss_now(log, topic)));

        let mut new = Vec::new();
        for (topic, loss) in kept.chain(progress) {
            let Some(loss) = loss else {
                self.losing.remove(topic);
                continue;
            };

            self.attempt.metrics.trouble(&loss);
            if self.losing.insert(topic.to_owned()) {
                new.push(loss);
            }
        }
        new
    }

    /// Logs once when the log begins to refuse the positions. Results do not depend on them.
    fn note_positions(&mut self) {
        if let Some(error) = self.commit_positions() {
            tracing::warn!(
                %error, group = self.attempt.metrics.job(),
                "tools that show consumer groups do not show this job's positions, because the log rejects them; \
                 if another application uses the group with the job's name, rename one of them"
            );
        }
    }

    /// Commits the positions. Returns the error if the log took them the time before and does not now.
    fn commit_positions(&mut self) -> Option<LogError> {
        let group = self.attempt.metrics.job();
        let positions = self.attempt.metrics.positions();
        if positions == self.committed {
            return None;
        }

        let inputs = &self.topics.inputs;
        let outcome = inputs.commit(self.log.as_ref(), &group, &positions);
        let was_refused = std::mem::replace(&mut self.is_refused, outcome.is_err());
        match outcome {
            Ok(()) => {
                self.committed = positions;
                None
            }
            Err(error) => (!was_refused).then_some(error),
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
mod tests;

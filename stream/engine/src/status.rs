//! The state of a job in one process: facts, recorded as they become known, and the [`Status`]
//! computed from them.

mod unpublished;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use record_log::{LogTimeType, Offset, OffsetRange};
use serde::Serialize;

use crate::inputs;
use crate::metrics::counts::BatchCounts;
use crate::pane::EventTimeMs;
use crate::source::position::Position;
use crate::units::instant;
use unpublished::Unpublished;

/// The number of recent problems that are kept.
const TROUBLES: usize = 10;
/// The possible reasons for a silent partition, if the log names none.
const UNNAMED_OBSTACLE: &str = "its broker is away, frozen or not its leader, an open transaction holds readers back, or a quota \
     throttles this client";

/// The status of a job at a moment, from the view of one of its processes. Times are milliseconds
/// since the epoch.
///
/// ```
/// use stream::{CheckpointStatus, Metrics, PartitionStatus, Status, TopicsStatus, Trouble, WorkerStatus};
///
/// /// Returns a line for a terminal.
/// fn line(status: &Status) -> String {
///     let lag: u64 = status.partitions.iter().filter_map(|partition: &PartitionStatus| partition.lag_records).sum();
///     let keys: usize = status.workers.iter().map(|worker: &WorkerStatus| worker.state_entries).sum();
///     let size = status.checkpoint.map_or(0, |checkpoint: CheckpointStatus| checkpoint.size_bytes);
///     let TopicsStatus { input, .. } = &status.topics;
///     let trouble = status.troubles.first().map_or("none", |trouble: &Trouble| &trouble.message);
///     format!("{input:?}: {lag} records behind, {keys} keys, {size} bytes, trouble: {trouble}")
/// }
///
/// let metrics = Metrics::new("visits"); // a run has them: `run.metrics`
/// assert_eq!(line(&metrics.status(0)), "\"\": 0 records behind, 0 keys, 0 bytes, trouble: none");
/// assert!(metrics.to_text().contains("tidemark_job_records_total{job_name=\"visits\"} 0"));
/// ```
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The moment.
    pub now_ms: u64,
    /// The job's name.
    pub job: String,
    /// The attempt that is running or ran last; none before the first.
    pub attempt: Option<u64>,
    /// True if it is running.
    pub is_running: bool,
    /// The time at which it began.
    pub began_at_ms: Option<u64>,
    /// The number of attempts that this process began after its first.
    pub restarts: u64,
    /// The topics.
    pub topics: TopicsStatus,
    /// The number of records read.
    pub records: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// The number of records sent to the dead-letter topic.
    pub rejected: u64,
    /// The number of late records that corrected a window.
    pub corrections: u64,
    /// The number of late records sent to the late topic.
    pub too_late: u64,
    /// The number of records that were left out as copies of events that were counted.
    pub copies: u64,
    /// The number of records that the decoder or a filter left out.
    pub left_out: u64,
    /// The number of rows of windows, new and corrected.
    pub rows: u64,
    /// The rate of records between the last two checks of the log's offsets.
    pub records_per_second: Option<u64>,
    /// The rate of bytes between the last two checks.
    pub bytes_per_second: Option<u64>,
    /// The number of records still to be read, as of the last check.
    pub lag_records: Option<u64>,
    /// The lowest watermark of the workers.
    pub watermark_ms: Option<EventTimeMs>,
    /// Its distance behind the clock.
    pub watermark_delay_ms: Option<u64>,
    /// The partitions of this process.
    pub partitions: Vec<PartitionStatus>,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
    /// The newest checkpoint, if this process writes them and has written one.
    pub checkpoint: Option<CheckpointStatus>,
    /// The duration of the last commit of results.
    pub commit_took_ms: Option<u128>,
    /// The reasons why the job is not ready although it is running: partitions that give neither records nor
    /// confirmed ends, or a log that takes no results.
    pub unanswered: Option<String>,
    /// The last problems, the newest first.
    pub troubles: Vec<Trouble>,
}

impl Status {
    /// Returns the status of a job that has not begun.
    pub fn of(job: &str) -> Self {
        Self {
            job: job.to_owned(),
            ..Self::default()
        }
    }
}

/// The topics of a job.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct TopicsStatus {
    /// The source topics, separated by commas.
    pub input: String,
    /// The origin of the times of their records, once known: LogAppendTime or CreateTime. If it differs between topics,
    /// one for each in their order.
    pub input_log_time: String,
    /// The topic of rows.
    pub results: String,
    /// The topics of summaries, rankings, stages and branches, separated by commas, if there are any.
    pub summaries: Option<String>,
    /// The topics of records that came too late, separated by commas.
    pub late: String,
    /// The topics of records that were rejected, separated by commas.
    pub dead_letters: String,
}

/// A partition.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct PartitionStatus {
    /// The place of its topic among the source topics, from 0 on.
    pub source: usize,
    /// Its number in its topic.
    pub partition: u32,
    /// The offset to be read next.
    pub next_offset: Offset,
    /// Its end, as of the last check.
    pub end_offset: Option<Offset>,
    /// The number of records between the two.
    pub lag_records: Option<u64>,
    /// The time of the newest event read.
    pub newest_event_ms: Option<EventTimeMs>,
    /// The time at which it last returned a record or a confirmed end, or at which the job last chose not to read it.
    pub heard_at_ms: Option<u64>,
    /// The time since then.
    pub silence_ms: Option<u64>,
    /// The time as of which its end was last confirmed.
    pub end_as_of_ms: Option<u64>,
    /// The reason why it gives neither records nor a later end, if the log has named one: a quota.
    pub obstacle: Option<String>,
}

impl PartitionStatus {
    /// Returns the partition's id.
    pub(crate) fn id(&self) -> u32 {
        inputs::id_of(self.source, self.partition)
    }
}

/// A worker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// Its index among the workers of all processes.
    pub worker: usize,
    /// The boundary that its sources have passed.
    pub watermark_ms: Option<EventTimeMs>,
    /// The number of keys in open panes of its sources.
    pub open_entries: usize,
    /// The number of entries that it keeps for windows.
    pub state_entries: usize,
    /// The number of panes that it keeps for windows.
    pub open_panes: usize,
}

/// The newest checkpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct CheckpointStatus {
    /// Its boundary.
    pub boundary_ms: EventTimeMs,
    /// The time at which its manifest became durable.
    pub written_at_ms: u64,
    /// The time since then.
    pub age_ms: u64,
    /// The duration of writing its manifest.
    pub took_ms: u128,
    /// The number of parts that it names.
    pub parts: usize,
    /// The number of entries in those parts.
    pub entries: u64,
    /// The total size of those parts.
    pub size_bytes: u64,
    /// The line of the job's history; greater than 0 if a checkpoint was lost.
    pub line: u32,
}

/// A problem that occurred.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Trouble {
    /// The time at which it occurred last.
    pub at_ms: u64,
    /// The error's message.
    pub message: String,
}

/// The facts that are known so far.
pub struct Facts {
    pub(crate) job: String,
    pub(crate) is_running: bool,
    pub(crate) topics: TopicsStatus,
    /// The source topics.
    pub(crate) sources: Vec<String>,
    pub(crate) checkpoint: Option<CheckpointStatus>,
    pub(crate) commit_took_ms: Option<u128>,
    pub(crate) answer_limit_ms: u64,
    log_time_types: BTreeMap<usize, LogTimeType>,
    attempt: Option<u64>,
    began_at_ms: Option<u64>,
    restarts: u64,
    partitions: BTreeMap<u32, PartitionStatus>,
    workers: BTreeMap<usize, WorkerStatus>,
    /// The workers whose output is on its way, or was not taken.
    unpublished: BTreeMap<usize, Unpublished>,
    /// The time at which the offsets were checked last, and the records and bytes read until then.
    looked: Option<(Instant, u64, u64)>,
    rates: Option<(u64, u64)>,
    troubles: VecDeque<Trouble>,
}

impl Facts {
    /// Creates facts that contain only the job's name.
    pub fn new(job: &str) -> Self {
        Self {
            job: job.to_owned(),
            is_running: false,
            topics: TopicsStatus::default(),
            sources: Vec::new(),
            checkpoint: None,
            commit_took_ms: None,
            answer_limit_ms: u64::MAX,
            log_time_types: BTreeMap::new(),
            attempt: None,
            began_at_ms: None,
            restarts: 0,
            partitions: BTreeMap::new(),
            workers: BTreeMap::new(),
            unpublished: BTreeMap::new(),
            looked: None,
            rates: None,
            troubles: VecDeque::new(),
        }
    }

    /// Records that an attempt began. Returns whether it is not the first.
    pub fn attempt_began(&mut self, number: u64, at_ms: u64) -> bool {
        let is_restart = self.attempt.replace(number).is_some();
        self.restarts += u64::from(is_restart);
        (self.began_at_ms, self.is_running) = (Some(at_ms), true);

        // Partitions may be distributed in another way.
        self.partitions.clear();
        self.workers.clear();
        self.unpublished.clear();
        is_restart
    }

    /// Records the position of a partition.
    pub fn position(&mut self, position: Position) {
        let status = self.partitions.entry(position.partition).or_default();
        *status = PartitionStatus {
            source: inputs::source_of(position.partition),
            partition: inputs::partition_of(position.partition),
            next_offset: position.next_offset,
            newest_event_ms: position.newest_event_ms,
            heard_at_ms: position.heard_at_ms,
            end_as_of_ms: position.end_as_of_ms,
            obstacle: position.obstacle.map(|it| it.to_string()),
            ..*status
        };
    }

    /// Returns how long a partition has given neither a record nor a confirmed end.
    fn silence_ms(&self, partition: &PartitionStatus, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms(partition))
    }

    fn heard_ms(&self, partition: &PartitionStatus) -> u64 {
        let began_at_ms = self.began_at_ms.unwrap_or(0);
        partition.heard_at_ms.unwrap_or(0).max(began_at_ms)
    }

    /// Returns a sentence about the partitions that have been silent for too long, if there are
    /// any.
    fn unanswered(&self, now_ms: u64) -> Option<String> {
        let silent: Vec<_> = self
            .partitions
            .values()
            .filter(|partition| self.silence_ms(partition, now_ms) > self.answer_limit_ms)
            .collect();
        let first = silent.iter().min_by_key(|it| self.heard_ms(it))?;

        let others: Vec<_> = silent
            .iter()
            .filter(|it| it.id() != first.id())
            .map(|it| self.label_of(it.id()))
            .collect();

        let others = match others.len() {
            0 => String::new(),
            1 => format!(", nor has partition {}", others[0]),
            _ => format!(", nor have partitions {}", others.join(", ")),
        };

        let end = match (first.end_as_of_ms, first.end_offset) {
            (_, Some(end)) if end > first.next_offset => {
                format!("the log ended at offset {end} when it was last read")
            }
            (Some(as_of_ms), _) => format!("its end was confirmed as of {}", instant(as_of_ms)),
            (None, _) => "its end was never confirmed".to_owned(),
        };

        Some(format!(
            "partition {} of topic {:?} has given neither a record nor a confirmed end since {}{others}: it is read up to \
             offset {}, and {end}; {}",
            first.partition,
            self.sources.get(first.source).map_or("", String::as_str),
            instant(self.heard_ms(first)),
            first.next_offset,
            first.obstacle.as_deref().unwrap_or(UNNAMED_OBSTACLE),
        ))
    }

    /// Records that a worker begins to publish at `at_ms`. After a failed attempt to publish, the time of the first one
    /// stays.
    pub fn publishes(&mut self, worker: usize, at_ms: u64) {
        let begun = || Unpublished::since(at_ms);
        self.unpublished.entry(worker).or_insert_with(begun);
    }

    /// Records that a worker that [publishes](Self::publishes) failed to. A failure lasts until the worker
    /// has [published](Self::published).
    pub fn not_published(&mut self, worker: usize, reason: String) {
        if let Some(unpublished) = self.unpublished.get_mut(&worker) {
            unpublished.fails(reason);
        }
    }

    /// Records that a worker has published.
    pub fn published(&mut self, worker: usize) {
        self.unpublished.remove(&worker);
    }

    /// Returns a sentence about the worker whose output the log has not taken for the longest time, if
    /// that is too long.
    fn unpublished(&self, now_ms: u64) -> Option<String> {
        let longest = self.unpublished.values().min_by_key(|it| it.since_ms())?;
        let unpublished_ms = now_ms.saturating_sub(longest.since_ms());
        (unpublished_ms > self.answer_limit_ms).then(|| longest.to_string())
    }

    /// Records the origin of the times of a source's records, and returns whether it is new. From the first record with
    /// a producer's time on, the origin is the producers.
    pub fn learns_log_time_type(&mut self, source: usize, log_time_type: LogTimeType) -> bool {
        let known = self.log_time_types.get(&source).copied();
        let is_new = known.is_none()
            || known == Some(LogTimeType::Append) && log_time_type == LogTimeType::Create;
        if is_new {
            self.log_time_types.insert(source, log_time_type);
        }
        is_new
    }

    /// Returns the origin of the times of the records: one for all topics, or one for each.
    fn log_time(&self) -> String {
        let types = self.log_time_types.values();
        let mut names: Vec<_> = types.map(|it| it.setting()).collect();
        if names.windows(2).all(|two| two[0] == two[1]) {
            names.truncate(1);
        }
        names.join(", ")
    }

    /// Returns the positions of all partitions.
    pub fn positions(&self) -> impl Iterator<Item = (u32, Offset)> {
        let partitions = self.partitions.iter();
        partitions.map(|(id, status)| (*id, status.next_offset))
    }

    /// Records the ends of the partitions, and computes the rates since the last check.
    pub fn ends(&mut self, ranges: &BTreeMap<u32, OffsetRange>, records: u64, bytes: u64) {
        for (id, range) in ranges {
            if let Some(status) = self.partitions.get_mut(id) {
                status.end_offset = Some(range.end);
                status.lag_records = Some(range.end.saturating_sub(status.next_offset));
            }
        }

        let now = Instant::now();
        if let Some((then, records_then, bytes_then)) = self.looked.replace((now, records, bytes)) {
            let seconds = (now - then).as_secs_f64().max(0.001);
            let rate = |amount: u64| (amount as f64 / seconds).round() as u64;
            self.rates = Some((rate(records - records_then), rate(bytes - bytes_then)));
        }
    }

    /// Returns the known lags of the partitions.
    pub fn lags(&self) -> impl Iterator<Item = (u32, u64)> {
        let partitions = self.partitions.iter();
        partitions.filter_map(|(id, status)| Some((*id, status.lag_records?)))
    }

    /// Returns a partition's label: its number, and its topic before it if there are several.
    pub fn label_of(&self, id: u32) -> String {
        let partition = inputs::partition_of(id);
        match self.sources.get(inputs::source_of(id)) {
            Some(topic) if self.sources.len() > 1 => format!("{topic}/{partition}"),
            _ => partition.to_string(),
        }
    }

    /// Returns the entry of a worker.
    pub fn worker(&mut self, worker: usize) -> &mut WorkerStatus {
        let status = self.workers.entry(worker).or_default();
        status.worker = worker;
        status
    }

    /// Records a problem. One that recurs is kept once, with its last time.
    pub fn trouble(&mut self, at_ms: u64, message: String) {
        self.troubles.retain(|trouble| trouble.message != message);
        self.troubles.push_front(Trouble { at_ms, message });
        self.troubles.truncate(TROUBLES);
    }

    /// Computes the status from the facts.
    pub fn status(&self, totals: BatchCounts, now_ms: u64) -> Status {
        let watermarks = self
            .workers
            .values()
            .filter_map(|worker| worker.watermark_ms);
        let watermark_ms = watermarks.min();

        let aged = |checkpoint| {
            let CheckpointStatus { written_at_ms, .. } = checkpoint;
            CheckpointStatus {
                age_ms: now_ms.saturating_sub(written_at_ms),
                ..checkpoint
            }
        };

        Status {
            now_ms,
            job: self.job.clone(),
            attempt: self.attempt,
            is_running: self.is_running,
            began_at_ms: self.began_at_ms,
            restarts: self.restarts,
            topics: TopicsStatus {
                input_log_time: self.log_time(),
                ..self.topics.clone()
            },
            records: totals.records,
            bytes: totals.bytes,
            rejected: totals.rejected,
            corrections: totals.corrections,
            too_late: totals.too_late,
            copies: totals.copies,
            left_out: totals.left_out,
            rows: 0,
            records_per_second: self.rates.map(|(records, _)| records),
            bytes_per_second: self.rates.map(|(_, bytes)| bytes),
            lag_records: self
                .lags()
                .map(|(_, lag)| lag)
                .reduce(|one, other| one + other),
            watermark_ms,
            watermark_delay_ms: watermark_ms.map(|watermark| now_ms.saturating_sub(watermark)),
            partitions: self
                .partitions
                .values()
                .map(|partition| PartitionStatus {
                    silence_ms: Some(self.silence_ms(partition, now_ms)),
                    ..partition.clone()
                })
                .collect(),
            workers: self.workers.values().copied().collect(),
            checkpoint: self.checkpoint.map(aged),
            commit_took_ms: self.commit_took_ms,
            unanswered: self
                .unanswered(now_ms)
                .or_else(|| self.unpublished(now_ms))
                .filter(|_| self.is_running),
            troubles: self.troubles.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;

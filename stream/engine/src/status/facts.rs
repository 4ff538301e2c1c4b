//! The facts about a job in one process, recorded as they become known.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use record_log::{LogTimeType, Offset, OffsetRange};

use super::unpublished::Unpublished;
use super::{
    CheckpointStatus, PartitionStatus, SideOutputStatus, Status, TopicsStatus, Trouble,
    WorkerStatus,
};
use crate::inputs;
use crate::metrics::counts::BatchCounts;
use crate::source::position::Position;
use crate::units::instant;

/// The number of recent side outputs that are kept.
pub const SIDE_OUTPUTS: usize = 10;
/// The number of recent problems that are kept.
const TROUBLES: usize = 10;
/// The possible reasons for a silent partition, if the log names none.
const UNNAMED_OBSTACLE: &str = "its broker is away, frozen or not its leader, an open transaction holds readers back, or a quota \
     throttles this client";

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
    side_outputs: VecDeque<SideOutputStatus>,
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
            side_outputs: VecDeque::new(),
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
            watermark_ms: position.claim.reached(),
            is_idle: position.claim.is_idle(),
            holds_back: position.holds_back,
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

    /// Records a side output that was published.
    pub fn side_output(&mut self, side_output: SideOutputStatus) {
        self.side_outputs.push_front(side_output);
        self.side_outputs.truncate(SIDE_OUTPUTS);
    }

    /// Records a problem. One that recurs is kept once, with its last time.
    pub fn trouble(&mut self, at_ms: u64, message: String) {
        self.troubles.retain(|trouble| trouble.message != message);
        self.troubles.push_front(Trouble { at_ms, message });
        self.troubles.truncate(TROUBLES);
    }

    /// Computes the status from the facts, without the shares of operators.
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
            operators: Vec::new(),
            checkpoint: self.checkpoint.map(aged),
            commit_took_ms: self.commit_took_ms,
            unanswered: self
                .unanswered(now_ms)
                .or_else(|| self.unpublished(now_ms))
                .filter(|_| self.is_running),
            side_outputs: self.side_outputs.iter().cloned().collect(),
            troubles: self.troubles.iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;

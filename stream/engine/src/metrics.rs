//! The metrics of a job: in Prometheus format, and as the [`Status`] for people.
//!
//! One value serves all workers of a process, and covers only that process: its partitions and its
//! workers. Nothing is measured per record: sources add up a batch and count it once.

pub mod counts;
pub mod families;
pub mod operators;
mod process;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use prometheus::{Encoder, IntCounter, Registry, TextEncoder};
use record_log::{LogTimeType, Offset, OffsetRange};

use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::CheckpointStore;
use crate::clock::now_ms;
use crate::flow::SideOutput;
use crate::job::Pipeline;
use crate::source::position::Position;
use crate::status::{CheckpointStatus, Facts, SideOutputStatus, Status, TopicsStatus};
use counts::BatchCounts;
use families::{
    AttemptMetrics, CheckpointMetrics, PartitionMetrics, RecordMetrics, Register, Retried,
    WorkerMetrics,
};
use operators::{OperatorName, OperatorTimes, Timer};

/// The metrics of a job's process.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    records: RecordMetrics,
    partitions: PartitionMetrics,
    workers: WorkerMetrics,
    checkpoints: CheckpointMetrics,
    attempts: AttemptMetrics,
    operators: OperatorTimes,
    facts: Arc<Mutex<Facts>>,
    /// The store whose retries are counted, once an attempt has begun.
    store: Arc<Mutex<Option<CheckpointStore>>>,
    /// Is used when copies are named as suspicious.
    suspicion: Arc<Once>,
}

/// Fewer copies than this are no reason for a suspicion: a producer repeats some records.
const SUSPICIOUS_COPIES: u64 = 10;

impl Metrics {
    /// Creates the metrics of a job, all zero.
    ///
    /// # Panics
    /// Never: names are valid and registered once.
    pub fn new(job: &str) -> Self {
        let labels = [("job_name".to_owned(), job.to_owned())].into();
        let registry = Registry::new_custom(Some("tidemark_job".to_owned()), Some(labels))
            .expect("a valid prefix");
        let register = Register(&registry);

        Self {
            records: RecordMetrics::of(&register),
            partitions: PartitionMetrics::of(&register),
            workers: WorkerMetrics::of(&register),
            checkpoints: CheckpointMetrics::of(&register),
            attempts: AttemptMetrics::of(&register),
            operators: OperatorTimes::new(),
            facts: Arc::new(Mutex::new(Facts::new(job))),
            store: Arc::default(),
            suspicion: Arc::new(Once::new()),
            registry,
        }
    }

    /// Formats the metrics in the text format of Prometheus.
    ///
    /// # Panics
    /// Never: the metrics are well formed.
    pub fn to_text(&self) -> String {
        let status = self.status(now_ms());
        self.refresh(&status);

        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("metrics are well formed");

        String::from_utf8(text).expect("metrics are text") + &process::to_text()
    }

    /// Computes the values that depend on the clock, and those that are totals elsewhere.
    fn refresh(&self, status: &Status) {
        let age_ms = status.checkpoint.map_or(0, |checkpoint| checkpoint.age_ms);
        let delay_ms = status.watermark_delay_ms.unwrap_or(0);
        self.checkpoints.age.set(seconds(age_ms));
        self.workers.watermark_delay.set(seconds(delay_ms));

        for partition in &status.partitions {
            let label = self.facts().label_of(partition.id());
            let label = [label.as_str()];
            let silence_ms = partition.silence_ms.unwrap_or(0);
            let metrics = &self.partitions;
            metrics
                .silence
                .with_label_values(&label)
                .set(seconds(silence_ms));
            let holds_back = i64::from(partition.holds_back);
            metrics.holds_back.with_label_values(&label).set(holds_back);
            if let Some(watermark_ms) = partition.watermark_ms {
                metrics
                    .watermark
                    .with_label_values(&label)
                    .set(seconds(watermark_ms));
            }
        }

        // Two readers at once must not add the same time twice.
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        for ((operator, worker), activities) in self.operators.totals() {
            let worker = worker.to_string();
            for (activity, total) in activities {
                let labels = [operator.name(), activity.name(), &worker];
                let counter = self.workers.operator_seconds.with_label_values(&labels);
                counter.inc_by((total.as_secs_f64() - counter.get()).max(0.0));
            }
        }

        let of_store = self.retries_of(Retried::Store);
        let repeated = store.as_ref().map_or(0, CheckpointStore::retries);
        of_store.inc_by(repeated.saturating_sub(of_store.get()));
    }

    /// Returns the job's status as of `now_ms`, in milliseconds since the epoch.
    pub fn status(&self, now_ms: u64) -> Status {
        let totals = BatchCounts {
            records: self.records.read.get(),
            bytes: self.records.bytes.get(),
            rejected: self.records.rejected.get(),
            corrections: self.records.late.with_label_values(&["corrected"]).get(),
            too_late: self.records.late.with_label_values(&["too_late"]).get(),
            copies: self.records.copies.get(),
            left_out: self.records.left_out.get(),
        };
        let mut status = self.facts().status(totals, now_ms);
        status.rows = self.records.rows.get();
        status.operators = self.operators.shares();

        status
    }

    /// Returns the job's name.
    pub fn job(&self) -> String {
        self.facts().job.clone()
    }

    /// Returns the process's partitions, each with the offset to be read next.
    pub(crate) fn positions(&self) -> Vec<(u32, Offset)> {
        self.facts().positions().collect()
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the topics that the job reads and publishes to.
    pub(crate) fn describe<K, A>(&self, pipeline: &Pipeline<K, A>) {
        let branches = pipeline.branches().iter().map(String::as_str);
        let views: Vec<&str> = pipeline.views().chain(branches).collect();
        let mut facts = self.facts();
        facts.sources = pipeline.inputs.names().map(str::to_owned).collect();
        facts.topics = TopicsStatus {
            input: joined(pipeline.inputs.names()),
            input_log_time: String::new(),
            results: pipeline.results.topic.clone(),
            summaries: (!views.is_empty()).then(|| views.join(", ")),
            late: joined(pipeline.inputs.late_topics()),
            dead_letters: joined(pipeline.inputs.dead_letter_topics()),
        };
    }

    /// Returns the timer of an operator on a worker.
    pub(crate) fn timer(&self, operator: OperatorName, worker: usize) -> Timer {
        self.operators.timer(operator, worker)
    }

    /// Counts the retries of this store.
    pub(crate) fn count_retries_of(&self, store: &CheckpointStore) {
        let mut counted = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        *counted = Some(store.clone());
    }

    /// Counts an operation that failed and is repeated.
    pub(crate) fn retries(&self, kind: Retried) {
        self.retries_of(kind).inc();
    }

    fn retries_of(&self, kind: Retried) -> IntCounter {
        self.attempts.retries.with_label_values(&[kind.label()])
    }

    /// Records a side output that was published.
    pub(crate) fn side_output(&self, at_ms: u64, topic: String, output: &SideOutput) {
        let mut facts = self.facts();
        let partition = facts.label_of(output.partition);
        facts.side_output(SideOutputStatus {
            at_ms,
            topic,
            partition,
            offset: output.offset,
            reason: output.reason.text().to_owned(),
        });
    }

    /// Records a problem for the status page.
    pub(crate) fn trouble(&self, error: impl Display) {
        self.facts().trouble(now_ms(), error.to_string());
    }

    /// Counts a batch that a source has read.
    pub(crate) fn read(&self, batch: BatchCounts) {
        self.records.read.inc_by(batch.records);
        self.records.bytes.inc_by(batch.bytes);
        self.records.rejected.inc_by(batch.rejected);
        self.records
            .late
            .with_label_values(&["corrected"])
            .inc_by(batch.corrections);
        self.records
            .late
            .with_label_values(&["too_late"])
            .inc_by(batch.too_late);
        self.records.copies.inc_by(batch.copies);
        self.records.left_out.inc_by(batch.left_out);

        if batch.copies > 0 {
            self.suspect_copies();
        }
    }

    /// Names a producer that may give the same id to different events, once.
    #[cold]
    fn suspect_copies(&self) {
        let copies = self.records.copies.get();
        let records = self.records.read.get();
        if copies < SUSPICIOUS_COPIES || copies * 2 <= records {
            return;
        }

        self.suspicion.call_once(|| {
            let sentence = format!(
                "{copies} of {records} records have the event id of an event that was counted, and are left out as its copies; if they are other events, their producer must give each an id of its own"
            );
            tracing::warn!(copies, records, "{sentence}");
            self.trouble(sentence);
        });
    }

    /// Records the position of a source in a partition.
    pub(crate) fn position(&self, position: Position) {
        let mut facts = self.facts();
        let partition = facts.label_of(position.partition);
        let next_offset = position.next_offset;
        let newest_event_ms = position.newest_event_ms;
        facts.position(position);
        drop(facts);

        self.partitions
            .position
            .with_label_values(&[&partition])
            .set(as_gauge(next_offset));

        if let Some(newest_event_ms) = newest_event_ms {
            self.partitions
                .newest_event
                .with_label_values(&[&partition])
                .set(seconds(newest_event_ms));
        }
    }

    /// Sets the answer limit: the job is not ready while a partition has given neither a record nor
    /// a confirmed end for longer.
    pub(crate) fn expect_answers_within(&self, limit: Duration) {
        self.facts().answer_limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    }

    /// Records whether the log or producers set the times of a source's records. The first finding is
    /// logged, and each one that differs from those before.
    pub(crate) fn log_time_type(&self, source: usize, log_time_type: LogTimeType) {
        let mut facts = self.facts();
        if facts.learns_log_time_type(source, log_time_type) {
            let topic = facts.sources.get(source).map_or("", String::as_str);
            let log_time = log_time_type.setting();
            tracing::info!(topic, log_time, "times of the records");
        }
    }

    /// Records the ends of the partitions.
    pub(crate) fn ends(&self, ranges: &BTreeMap<u32, OffsetRange>) {
        let mut facts = self.facts();
        facts.ends(ranges, self.records.read.get(), self.records.bytes.get());
        for (id, lag) in facts.lags() {
            self.partitions
                .lag
                .with_label_values(&[&facts.label_of(id)])
                .set(as_gauge(lag));
        }
    }

    /// Records that a worker's sources crossed a boundary, with `open_entries` keys still open.
    pub(crate) fn crossed(&self, worker: usize, boundary_ms: u64, open_entries: usize) {
        let mut facts = self.facts();
        let status = facts.worker(worker);
        (status.watermark_ms, status.open_entries) = (Some(boundary_ms), open_entries);

        let worker = worker.to_string();
        self.workers
            .boundary
            .with_label_values(&[&worker])
            .set(seconds(boundary_ms));
        self.workers
            .open_entries
            .with_label_values(&[&worker])
            .set(as_gauge(open_entries as u64));
    }

    /// Records the rows that a worker's windows emitted, and the state that they keep.
    pub(crate) fn windows(&self, worker: usize, rows: usize, entries: usize, panes: usize) {
        let mut facts = self.facts();
        let status = facts.worker(worker);
        (status.state_entries, status.open_panes) = (entries, panes);

        let worker = worker.to_string();
        self.records.rows.inc_by(rows as u64);
        self.workers
            .window_entries
            .with_label_values(&[&worker])
            .set(as_gauge(entries as u64));
        self.workers
            .window_panes
            .with_label_values(&[&worker])
            .set(as_gauge(panes as u64));
    }

    /// Records that a part was written.
    pub(crate) fn part(&self, size_bytes: u64) {
        self.checkpoints.bytes.inc_by(size_bytes);
    }

    /// Records that a manifest was written.
    pub(crate) fn checkpoint(&self, manifest: &Manifest, took: Duration) {
        let size_bytes = manifest.parts.iter().map(|part| part.size_bytes).sum();
        self.checkpoints.boundary.set(seconds(manifest.boundary));
        self.checkpoints.size.set(as_gauge(size_bytes));
        self.checkpoints
            .parts
            .set(as_gauge(manifest.parts.len() as u64));
        self.checkpoints.seconds.observe(took.as_secs_f64());

        self.facts().checkpoint = Some(CheckpointStatus {
            boundary_ms: manifest.boundary,
            written_at_ms: now_ms(),
            age_ms: 0,
            took_ms: took.as_millis(),
            parts: manifest.parts.len(),
            entries: manifest.parts.iter().map(|part| part.entries).sum(),
            size_bytes,
            line: manifest.lineage.line(),
        });
    }

    /// Records that a batch of results was committed.
    pub(crate) fn committed(&self, took: Duration) {
        self.checkpoints.commit_seconds.observe(took.as_secs_f64());
        self.facts().commit_took_ms = Some(took.as_millis());
    }

    /// Records that a worker begins to publish at `at_ms`.
    pub(crate) fn publishes(&self, worker: usize, at_ms: u64) {
        self.facts().publishes(worker, at_ms);
    }

    /// Records that a worker has failed to publish.
    pub(crate) fn not_published(&self, worker: usize, reason: impl Display) {
        let reason = reason.to_string();
        let mut facts = self.facts();
        facts.not_published(worker, reason.clone());
        facts.trouble(now_ms(), reason);
    }

    /// Records that a worker has published.
    pub(crate) fn published(&self, worker: usize) {
        self.facts().published(worker);
    }

    /// Records that an attempt has begun.
    pub(crate) fn attempt_began(&self, number: u64) {
        let began_at_ms = now_ms();
        let is_restart = self.facts().attempt_began(number, began_at_ms);
        self.attempts.restarts.inc_by(u64::from(is_restart));
        self.attempts.number.set(as_gauge(number));
        self.attempts.running.set(1);
    }

    /// Records that the attempt has ended.
    pub(crate) fn attempt_ended(&self) {
        self.operators.stop();
        self.facts().is_running = false;
        self.attempts.running.set(0);
    }
}

fn joined<'a>(topics: impl IntoIterator<Item = &'a str>) -> String {
    topics.into_iter().collect::<Vec<_>>().join(", ")
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Converts milliseconds.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::Claim;

    #[test]
    fn producers_set_times_from_the_first_such_record_on() {
        let metrics = Metrics::new("counts");
        let shown = || metrics.status(0).topics.input_log_time;
        assert_eq!(shown(), "");

        metrics.log_time_type(0, LogTimeType::Append);
        assert_eq!(shown(), "LogAppendTime");
        metrics.log_time_type(0, LogTimeType::Create);
        assert_eq!(shown(), "CreateTime");
        metrics.log_time_type(0, LogTimeType::Append);
        assert_eq!(shown(), "CreateTime", "another worker's partitions");
        metrics.log_time_type(1, LogTimeType::Append);
        assert_eq!(shown(), "CreateTime, LogAppendTime", "of two topics");
    }

    #[test]
    fn a_partition_s_silence_is_a_metric() {
        let metrics = Metrics::new("counts");
        metrics.position(Position {
            partition: 3,
            next_offset: 7,
            newest_event_ms: None,
            heard_at_ms: Some(now_ms() - 5_000),
            end_as_of_ms: None,
            obstacle: None,
            claim: Claim::Unread,
            holds_back: false,
        });

        let text = metrics.to_text();
        let is_it = |line: &&str| line.contains("silence_seconds{") && line.contains("\"3\"");
        let line = text.lines().find(is_it).unwrap();
        let (_, silence) = line.rsplit_once(' ').unwrap();
        let silence: f64 = silence.parse().unwrap();
        assert!((5.0..65.0).contains(&silence), "{line}");
    }

    #[test]
    fn an_id_that_most_records_share_is_named_once() {
        let after = |batches: &[(u64, u64)]| {
            let metrics = Metrics::new("counts");
            for (records, copies) in batches {
                metrics.read(BatchCounts {
                    records: *records,
                    copies: *copies,
                    ..BatchCounts::default()
                });
            }
            metrics.status(0)
        };

        let shared = after(&[(12, 11), (20, 20)]);
        assert_eq!((shared.copies, shared.troubles.len()), (31, 1));
        let named = &shared.troubles[0].message;
        assert!(named.starts_with("11 of 12 records"), "{named}");

        // A producer repeats a few records, or a part of many.
        for usual in [&[(9, 9)][..], &[(40, 20)], &[(1_000, 0), (500, 500)]] {
            assert!(after(usual).troubles.is_empty(), "{usual:?}");
        }
    }
}

//! The [`Status`] of a job in one process, computed from [facts] that are recorded as they become known.

mod facts;
mod unpublished;

use record_log::Offset;
use serde::Serialize;

use crate::inputs;
use crate::metrics::operators::OperatorStatus;
use crate::pane::EventTimeMs;

pub use facts::{Facts, SIDE_OUTPUTS};

/// The status of a job at a moment, from the view of one of its processes. Times are milliseconds
/// since the epoch.
///
/// ```
/// use stream::{CheckpointStatus, Metrics, OperatorStatus, PartitionStatus, SideOutputStatus};
/// use stream::{Status, TopicsStatus, Trouble, WorkerStatus};
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
/// /// Returns the operators that wait for the log or the store.
/// fn waiting(status: &Status) -> Vec<&'static str> {
///     let waits = |it: &&OperatorStatus| ["waits_for_log", "waits_for_store"].iter().any(|wait| it.shares.contains_key(wait));
///     status.operators.iter().filter(waits).map(|it| it.operator).collect()
/// }
///
/// /// Returns the reasons why records were not counted.
/// fn reasons(status: &Status) -> Vec<&str> {
///     status.side_outputs.iter().map(|side: &SideOutputStatus| &*side.reason).collect()
/// }
///
/// let metrics = Metrics::new("visits"); // a run has them: `run.metrics`
/// assert_eq!(line(&metrics.status(0)), "\"\": 0 records behind, 0 keys, 0 bytes, trouble: none");
/// assert!(waiting(&metrics.status(0)).is_empty() && reasons(&metrics.status(0)).is_empty());
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
    /// The operators' shares of the time of these workers, over the last seconds.
    pub operators: Vec<OperatorStatus>,
    /// The newest checkpoint, if this process writes them and has written one.
    pub checkpoint: Option<CheckpointStatus>,
    /// The duration of the last commit of results.
    pub commit_took_ms: Option<u128>,
    /// The reasons why the job is not ready although it is running: partitions that give neither records nor
    /// confirmed ends, or a log that takes no results.
    pub unanswered: Option<String>,
    /// The last published side outputs, the newest first.
    pub side_outputs: Vec<SideOutputStatus>,
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
    /// The event time that it claims to have reached, if it alone decided.
    pub watermark_ms: Option<EventTimeMs>,
    /// True if it has had no record for a while. Then it does not hold the others back.
    pub is_idle: bool,
    /// True if the event time of the job is that of this partition: those of other partitions are later.
    pub holds_back: bool,
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

/// A record that was published to the late or the dead-letter topic.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SideOutputStatus {
    /// The time at which it was published.
    pub at_ms: u64,
    /// The topic that it was published to.
    pub topic: String,
    /// The partition that it was read from, with the topic before it if there are several.
    pub partition: String,
    /// Its offset there.
    pub offset: Offset,
    /// `late`, or the reason why it was rejected.
    pub reason: String,
}

/// A problem that occurred.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Trouble {
    /// The time at which it occurred last.
    pub at_ms: u64,
    /// The error's message.
    pub message: String,
}

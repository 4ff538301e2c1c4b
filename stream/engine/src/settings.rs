//! The settings for running a job. Its computation is defined by its [`Job`](crate::Job).

use std::time::Duration;

use record_log::Delivery;
use serde::{Deserialize, Serialize};

use crate::error::JobError;
use crate::flow::Slots;
use crate::size::ByteSize;

/// The most workers of a process.
const MAX_WORKERS: u16 = 1024;

/// The settings for running a job.
///
/// ```
/// use std::time::Duration;
/// use stream::{Guarantee, Settings, Slots, UnreadableBatches};
///
/// let settings = Settings {
///     checkpoints: "gs://bucket/checkpoints".to_owned(),
///     guarantee: Guarantee::AtLeastOnce,
///     sink_slots: Slots::new(8).expect("8 is at most 1,024"),
///     unreadable_batches: UnreadableBatches::SetAside,
///     allowed_lateness: Duration::from_secs(600),
///     ..Settings::default()
/// };
/// settings.validate()?;
///
/// let without_workers = Settings { workers: 0, ..settings };
/// assert!(without_workers.validate().is_err());
/// # Ok::<(), stream::JobError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Address of checkpoints: file:///folder, gs://bucket/prefix, s3://bucket/prefix or memory:///
    /// (lost with the process)
    pub checkpoints: String,

    /// Worker threads of each process, between 1 and 1024
    pub workers: u16,

    /// Slots over which keys are distributed: at most this many workers have windows and publish
    /// results; may change at any start
    pub sink_slots: Slots,

    /// The limit for the rows of a transaction; a window with more rows takes several transactions
    pub max_transaction_rows: u32,

    /// Memory of each worker for late and rejected records that are not published yet; while it is
    /// full, reading waits
    pub side_output_memory: ByteSize,

    /// What becomes of batches that the log cannot return, because they are damaged or of an old format: stop ends the job,
    /// set-aside sends one dead letter for each range of offsets and goes on behind it (with the native client)
    pub unreadable_batches: UnreadableBatches,

    /// How far out of order events may be before they are late
    pub disorder: Duration,

    /// How long after its end a window is corrected by late events; later ones go to the late topic
    pub allowed_lateness: Duration,

    /// How far an event's time may be after its append, or after this clock where a topic keeps its
    /// producers' times (CreateTime); other events go to the dead-letter topic
    pub max_future_skew: Duration,

    /// How far this machine's clock may be ahead of the brokers' clocks
    pub max_clock_skew: Duration,

    /// How long a partition may be at its end without a record before it is idle and its source's
    /// delay is no longer waited for
    pub idle_after: Duration,

    /// How long a partition may give neither a record nor a confirmed end before the job reports
    /// itself not ready and names the partition, and how long the log may take no results
    pub answer_limit: Duration,

    /// How long a worker may take for one step before it counts as hung, and the process ends so
    /// that its supervisor starts it again
    pub step_limit: Duration,

    /// Memory of each worker for event ids, by which an event that is in a partition twice is counted
    /// once. Ids are held while their window can change; if more memory is needed, the ids of the
    /// oldest windows are dropped. A size of 0 turns this off
    pub event_id_memory: ByteSize,

    /// Uncommitted panes that a worker may hold; partitions that are further ahead wait
    pub max_open_panes: u16,

    /// Retention of the topics that the job creates for results, late records and dead letters
    pub results_retention: Duration,

    /// Run even if a topic is compacted and keeps only one record of each key
    pub allow_compaction: bool,

    /// Delivery guarantee for results: exactly-once (transactions) or at-least-once
    pub guarantee: Guarantee,

    /// The time limit for committing closed windows after a stop is requested; after a second
    /// request the job ends at once
    pub stop_timeout: Duration,

    /// Read to the ends that the partitions have at the start, close all windows, and exit
    pub until_end: bool,
}

/// The handling of batches that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnreadableBatches {
    /// The job ends with an error that names the partition and the offset.
    Stop,
    /// The range of their offsets is one rejected record, and reading goes on behind it.
    SetAside,
}

/// The delivery guarantee for results.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Guarantee {
    /// A `read_committed` consumer reads each result once.
    ExactlyOnce,
    /// After a failure a consumer may read results twice; key and revision identify the
    /// repetitions.
    AtLeastOnce,
}

impl From<Guarantee> for Delivery {
    fn from(guarantee: Guarantee) -> Self {
        match guarantee {
            Guarantee::ExactlyOnce => Self::Transactional,
            Guarantee::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            checkpoints: "memory:///".to_owned(),
            workers: 2,
            sink_slots: Slots::new(64).expect("64 slots are allowed"),
            max_transaction_rows: 250_000,
            side_output_memory: ByteSize::mebibytes(8),
            unreadable_batches: UnreadableBatches::Stop,
            disorder: Duration::from_secs(5),
            allowed_lateness: Duration::from_secs(60 * 60),
            max_future_skew: Duration::from_secs(60),
            max_clock_skew: Duration::from_secs(2),
            idle_after: Duration::from_secs(20),
            answer_limit: Duration::from_secs(10),
            step_limit: Duration::from_secs(60),
            event_id_memory: ByteSize::mebibytes(64),
            max_open_panes: 2,
            results_retention: Duration::from_secs(7 * 24 * 60 * 60),
            allow_compaction: false,
            guarantee: Guarantee::ExactlyOnce,
            stop_timeout: Duration::from_secs(30),
            until_end: false,
        }
    }
}

impl Settings {
    /// Checks that every value can work.
    ///
    /// # Errors
    /// [`JobError::Settings`] with the name of the setting, its value and the allowed values.
    pub fn validate(&self) -> Result<(), JobError> {
        let refuse = |reason: String| Err(JobError::Settings(reason));
        if !(1..=MAX_WORKERS).contains(&self.workers) {
            return refuse(format!(
                "a process has between 1 and {MAX_WORKERS} workers, not {}",
                self.workers
            ));
        }

        if self.max_transaction_rows == 0 {
            return refuse("a transaction has at least 1 row, not 0".to_owned());
        }

        if self.max_open_panes == 0 {
            return refuse("a worker holds at least 1 open pane, not 0".to_owned());
        }

        if self.side_output_memory.as_bytes() == 0 {
            return refuse("side outputs need memory, such as 8MiB, not 0".to_owned());
        }

        Ok(())
    }

    pub(crate) fn side_output_bytes(&self) -> usize {
        usize::try_from(self.side_output_memory.as_bytes()).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_work_is_refused_by_name() {
        let refused = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };

        Settings::default().validate().unwrap();
        assert!(refused(|settings| settings.workers = 0).contains("workers, not 0"));
        assert!(refused(|settings| settings.workers = 1025).contains("workers, not 1025"));
        assert!(refused(|settings| settings.max_transaction_rows = 0).contains("row"));
        assert!(refused(|settings| settings.max_open_panes = 0).contains("pane"));
        assert!(
            refused(|settings| settings.side_output_memory = ByteSize::default()).contains("8MiB")
        );
    }
}

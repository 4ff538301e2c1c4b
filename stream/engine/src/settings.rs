//! The settings for how a job is run. What the job computes is set elsewhere.

use std::time::Duration;

use record_log::Delivery;
use serde::{Deserialize, Serialize};

use crate::flow::Slots;

/// The settings of a run.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Address of checkpoints: file:///folder, gs://bucket/prefix, s3://bucket/prefix or memory:///
    /// (lost with the process)
    #[arg(
        long,
        env = "TIDEMARK_CHECKPOINTS",
        default_value = "memory:///",
        value_name = "URL"
    )]
    pub checkpoints: String,

    /// Worker threads of each process
    #[arg(long, env = "TIDEMARK_WORKERS", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,

    /// Slots over which keys are distributed: at most so many workers have windows and publish
    /// results; may change at any start
    #[arg(long, env = "TIDEMARK_SINK_SLOTS", default_value = "64", value_parser = parse_slots)]
    pub sink_slots: Slots,

    /// The limit for the rows of a transaction; a window of more users takes several transactions
    #[arg(long, env = "TIDEMARK_MAX_TRANSACTION_ROWS", default_value_t = 250_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "ROWS")]
    pub max_transaction_rows: u32,

    /// Memory of each worker for late and rejected records that are not published yet; while it is
    /// full, reading waits
    #[arg(long, env = "TIDEMARK_SIDE_OUTPUT_MEMORY", default_value = "8MiB", value_parser = parse_room, value_name = "SIZE")]
    pub side_output_memory: u64,

    /// How far out of order events may be before they are late
    #[arg(long, env = "TIDEMARK_DISORDER", default_value = "5s", value_parser = humantime::parse_duration)]
    pub disorder: Duration,

    /// How long after its end a window is corrected by late events; later ones go to the late topic
    #[arg(long, env = "TIDEMARK_ALLOWED_LATENESS", default_value = "1h", value_parser = humantime::parse_duration)]
    pub allowed_lateness: Duration,

    /// How far an event's time may be after its append, or after this clock where a topic keeps its
    /// producers' times (CreateTime); other events go to the dead-letter topic
    #[arg(long, env = "TIDEMARK_MAX_FUTURE_SKEW", default_value = "1m", value_parser = humantime::parse_duration)]
    pub max_future_skew: Duration,

    /// How far this machine's clock may be ahead of the brokers' clocks
    #[arg(long, env = "TIDEMARK_MAX_CLOCK_SKEW", default_value = "2s", value_parser = humantime::parse_duration)]
    pub max_clock_skew: Duration,

    /// How long a partition may be at its end without a record before it is idle and its source's
    /// delay is no longer waited for
    #[arg(long, env = "TIDEMARK_IDLE_AFTER", default_value = "20s", value_parser = humantime::parse_duration)]
    pub idle_after: Duration,

    /// How long a partition may give neither a record nor a confirmed end before the job reports
    /// itself not ready and names the partition
    #[arg(long, env = "TIDEMARK_ANSWER_LIMIT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub answer_limit: Duration,

    /// How long a worker may take for one step before it counts as hung, and the process ends so
    /// that its supervisor starts it again
    #[arg(long, env = "TIDEMARK_STEP_LIMIT", default_value = "1m", value_parser = humantime::parse_duration)]
    pub step_limit: Duration,

    /// Memory of each worker for event ids, by which an event that is in the log twice is counted
    /// once. Ids are held while their window can change; if more memory is needed, the ids of the
    /// oldest windows are dropped. 0 turns this off
    #[arg(long, env = "TIDEMARK_EVENT_ID_MEMORY", default_value = "64MiB", value_parser = parse_size, value_name = "SIZE")]
    pub event_id_memory: u64,

    /// Uncommitted panes that a worker may hold; partitions that are further ahead wait
    #[arg(long, env = "TIDEMARK_MAX_OPEN_PANES", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_open_panes: u16,

    /// Retention of the topics that the job creates for results, late records and dead letters
    #[arg(long, env = "TIDEMARK_RESULTS_RETENTION", default_value = "7d", value_parser = humantime::parse_duration)]
    pub results_retention: Duration,

    /// Run even if a topic is compacted and keeps only one record of each key
    #[arg(long, env = "TIDEMARK_ALLOW_COMPACTION")]
    pub allow_compaction: bool,

    /// Delivery guarantee for results: exactly-once (transactions) or at-least-once
    #[arg(long, env = "TIDEMARK_GUARANTEE", default_value = "exactly-once")]
    pub guarantee: Guarantee,

    /// How long the job may take after a stop is requested to commit what is closed; after a second
    /// request it ends at once
    #[arg(long, env = "TIDEMARK_STOP_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub stop_timeout: Duration,

    /// Read to the ends that the partitions have at the start, close all windows, and exit
    #[arg(long, env = "TIDEMARK_UNTIL_END")]
    pub until_end: bool,
}

/// The delivery guarantee for results.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
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
    /// Returns the defaults of the flags.
    fn default() -> Self {
        Self {
            checkpoints: "memory:///".to_owned(),
            workers: 2,
            sink_slots: Slots::new(64).expect("64 slots are allowed"),
            max_transaction_rows: 250_000,
            side_output_memory: 8 << 20,
            disorder: Duration::from_secs(5),
            allowed_lateness: Duration::from_secs(60 * 60),
            max_future_skew: Duration::from_secs(60),
            max_clock_skew: Duration::from_secs(2),
            idle_after: Duration::from_secs(20),
            answer_limit: Duration::from_secs(10),
            step_limit: Duration::from_secs(60),
            event_id_memory: 64 << 20,
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
    pub(crate) fn side_output_bytes(&self) -> usize {
        usize::try_from(self.side_output_memory).unwrap_or(usize::MAX)
    }
}

/// Parses a size that is not zero.
fn parse_room(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("a size above 0 is expected, as in 8MiB".to_owned()),
        size => Ok(size),
    }
}

/// Parses a size such as `64MiB`, `1GiB` or `512B`.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" if digits == "0" => Some(1),
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };

    let number: Option<u64> = digits.parse().ok();
    let size = number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor));
    size.ok_or_else(|| "a size is expected, as in 64MiB, 1GiB or 0".to_owned())
}

fn parse_slots(text: &str) -> Result<Slots, String> {
    let count = text
        .parse()
        .map_err(|_| "a number is expected".to_owned())?;
    Slots::new(count).ok_or_else(|| "between 1 and 1024 slots are possible".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_unless_it_is_nothing() {
        let sizes = ["0", "0B", "512B", "2KiB", "64MiB", "1GiB"].map(parse_size);
        assert_eq!(sizes, [0, 0, 512, 2048, 64 << 20, 1 << 30].map(Ok));
        for text in [
            "",
            "64",
            "64MB",
            "MiB",
            "-1B",
            "1.5MiB",
            "99999999999GiB",
            "64 MiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}

//! The settings of a job that concern how it is run, not what it does.

use std::time::Duration;

use record_log::Delivery;
use serde::{Deserialize, Serialize};

use crate::flow::Slots;

/// How a job is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Where checkpoints go: file:///folder, gs://bucket/prefix, s3://bucket/prefix or memory:/// (lost with the process)
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

    /// Sink slots: how many transactions results are spread over; fixed for the life of a job
    #[arg(long, env = "TIDEMARK_SINK_SLOTS", default_value = "4", value_parser = parse_slots)]
    pub sink_slots: Slots,

    /// How far out of order events may be before they are late
    #[arg(long, env = "TIDEMARK_DISORDER", default_value = "5s", value_parser = humantime::parse_duration)]
    pub disorder: Duration,

    /// How long after its end a window is still corrected by late events; what comes later goes to the late topic
    #[arg(long, env = "TIDEMARK_ALLOWED_LATENESS", default_value = "1h", value_parser = humantime::parse_duration)]
    pub allowed_lateness: Duration,

    /// How far beyond its append an event is believed, or beyond this clock where a topic keeps its producers' times
    /// (CreateTime); others go to the dead letters
    #[arg(long, env = "TIDEMARK_MAX_FUTURE_SKEW", default_value = "1m", value_parser = humantime::parse_duration)]
    pub max_future_skew: Duration,

    /// How far this machine's clock may be ahead of the brokers' clocks
    #[arg(long, env = "TIDEMARK_MAX_CLOCK_SKEW", default_value = "2s", value_parser = humantime::parse_duration)]
    pub max_clock_skew: Duration,

    /// How long a partition is at its end without a record until nobody waits for its source's delay any more
    #[arg(long, env = "TIDEMARK_IDLE_AFTER", default_value = "20s", value_parser = humantime::parse_duration)]
    pub idle_after: Duration,

    /// How long a partition may give neither a record nor a confirmed end until the job is not ready and names it
    #[arg(long, env = "TIDEMARK_ANSWER_LIMIT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub answer_limit: Duration,

    /// Memory of each worker for the ids of events, by which a record that stands in the log twice is counted once. Ids are
    /// held while their window can change; if more memory is needed, those of the oldest windows are dropped. 0 is off
    #[arg(long, env = "TIDEMARK_EVENT_ID_MEMORY", default_value = "64MiB", value_parser = parse_size, value_name = "SIZE")]
    pub event_id_memory: u64,

    /// Panes a worker may hold that are not committed; partitions further ahead wait
    #[arg(long, env = "TIDEMARK_MAX_OPEN_PANES", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_open_panes: u16,

    /// How long the topics that the job creates keep results, late records and dead letters
    #[arg(long, env = "TIDEMARK_RESULTS_RETENTION", default_value = "7d", value_parser = humantime::parse_duration)]
    pub results_retention: Duration,

    /// Go on although a topic is compacted and keeps only one record of each key
    #[arg(long, env = "TIDEMARK_ALLOW_COMPACTION")]
    pub allow_compaction: bool,

    /// What is promised of results: exactly-once (transactions) or at-least-once
    #[arg(long, env = "TIDEMARK_GUARANTEE", default_value = "exactly-once")]
    pub guarantee: Guarantee,

    /// Read to the ends that the partitions have at the start, close all windows, and exit
    #[arg(long, env = "TIDEMARK_UNTIL_END")]
    pub until_end: bool,
}

/// What is promised of results.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
pub enum Guarantee {
    /// A `read_committed` consumer sees each result once.
    ExactlyOnce,
    /// After a failure a consumer may see results twice; they replace themselves by key and revision.
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
    /// What the flags default to.
    fn default() -> Self {
        Self {
            checkpoints: "memory:///".to_owned(),
            workers: 2,
            sink_slots: Slots::new(4).expect("four slots are allowed"),
            disorder: Duration::from_secs(5),
            allowed_lateness: Duration::from_secs(60 * 60),
            max_future_skew: Duration::from_secs(60),
            max_clock_skew: Duration::from_secs(2),
            idle_after: Duration::from_secs(20),
            answer_limit: Duration::from_secs(10),
            event_id_memory: 64 << 20,
            max_open_panes: 2,
            results_retention: Duration::from_secs(7 * 24 * 60 * 60),
            allow_compaction: false,
            guarantee: Guarantee::ExactlyOnce,
            until_end: false,
        }
    }
}

/// Reads a size as `64MiB`, `1GiB` or `512B`.
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

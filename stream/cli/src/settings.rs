//! The settings for running a job, as flags and environment variables. The engine's [`Settings`] are plain values; each
//! of them has a flag here.

use std::time::Duration;

use stream::{ByteSize, Guarantee, Settings, Slots, UnreadableBatches};

/// The settings for running a job: [`Settings`] as flags and environment variables.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct SettingsFlags {
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

    /// Slots over which keys are distributed: at most this many workers have windows and publish
    /// results; may change at any start
    #[arg(long, env = "TIDEMARK_SINK_SLOTS", default_value = "64", value_parser = parse_slots)]
    pub sink_slots: Slots,

    /// The limit for the rows of a transaction; a window with more rows takes several transactions
    #[arg(long, env = "TIDEMARK_MAX_TRANSACTION_ROWS", default_value_t = 250_000, value_parser = clap::value_parser!(u32).range(1..), value_name = "ROWS")]
    pub max_transaction_rows: u32,

    /// Memory of each worker for late and rejected records that are not published yet; while it is
    /// full, reading waits
    #[arg(long, env = "TIDEMARK_SIDE_OUTPUT_MEMORY", default_value = "8MiB", value_parser = parse_room, value_name = "SIZE")]
    pub side_output_memory: ByteSize,

    /// What becomes of batches that the log cannot return, because they are damaged or of an old format: stop ends the job,
    /// set-aside sends one dead letter for each range of offsets and goes on behind it (with the native client)
    #[arg(long, env = "TIDEMARK_UNREADABLE_BATCHES", default_value = "stop")]
    pub unreadable_batches: UnreadableBatchesFlag,

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
    /// itself not ready and names the partition, and how long the log may take no results
    #[arg(long, env = "TIDEMARK_ANSWER_LIMIT", default_value = "10s", value_parser = humantime::parse_duration)]
    pub answer_limit: Duration,

    /// How long a worker may take for one step before it counts as hung, and the process ends so
    /// that its supervisor starts it again
    #[arg(long, env = "TIDEMARK_STEP_LIMIT", default_value = "1m", value_parser = humantime::parse_duration)]
    pub step_limit: Duration,

    /// Memory of each worker for event ids, by which an event that is in a partition twice is counted
    /// once. Ids are held while their window can change; if more memory is needed, the ids of the
    /// oldest windows are dropped. 0 turns this off
    #[arg(
        long,
        env = "TIDEMARK_EVENT_ID_MEMORY",
        default_value = "64MiB",
        value_name = "SIZE"
    )]
    pub event_id_memory: ByteSize,

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
    pub guarantee: GuaranteeFlag,

    /// The time limit for committing closed windows after a stop is requested; after a second
    /// request the job ends at once
    #[arg(long, env = "TIDEMARK_STOP_TIMEOUT", default_value = "30s", value_parser = humantime::parse_duration)]
    pub stop_timeout: Duration,

    /// Read to the ends that the partitions have at the start, close all windows, and exit
    #[arg(long, env = "TIDEMARK_UNTIL_END")]
    pub until_end: bool,
}

/// The delivery guarantee for results.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum GuaranteeFlag {
    /// A `read_committed` consumer reads each result once.
    ExactlyOnce,
    /// After a failure a consumer may read results twice; key and revision identify the
    /// repetitions.
    AtLeastOnce,
}

/// The handling of batches that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum UnreadableBatchesFlag {
    /// The job ends with an error that names the partition and the offset.
    Stop,
    /// The range of their offsets is one dead letter, and reading goes on behind it.
    SetAside,
}

impl From<UnreadableBatchesFlag> for UnreadableBatches {
    fn from(flag: UnreadableBatchesFlag) -> Self {
        match flag {
            UnreadableBatchesFlag::Stop => Self::Stop,
            UnreadableBatchesFlag::SetAside => Self::SetAside,
        }
    }
}

impl From<GuaranteeFlag> for Guarantee {
    fn from(flag: GuaranteeFlag) -> Self {
        match flag {
            GuaranteeFlag::ExactlyOnce => Self::ExactlyOnce,
            GuaranteeFlag::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

impl From<SettingsFlags> for Settings {
    fn from(flags: SettingsFlags) -> Self {
        // Each field is named, so that a setting without a flag does not compile.
        Self {
            checkpoints: flags.checkpoints,
            workers: flags.workers,
            sink_slots: flags.sink_slots,
            max_transaction_rows: flags.max_transaction_rows,
            side_output_memory: flags.side_output_memory,
            unreadable_batches: flags.unreadable_batches.into(),
            disorder: flags.disorder,
            allowed_lateness: flags.allowed_lateness,
            max_future_skew: flags.max_future_skew,
            max_clock_skew: flags.max_clock_skew,
            idle_after: flags.idle_after,
            answer_limit: flags.answer_limit,
            step_limit: flags.step_limit,
            event_id_memory: flags.event_id_memory,
            max_open_panes: flags.max_open_panes,
            results_retention: flags.results_retention,
            allow_compaction: flags.allow_compaction,
            guarantee: flags.guarantee.into(),
            stop_timeout: flags.stop_timeout,
            until_end: flags.until_end,
        }
    }
}

/// Parses a size that is not zero.
fn parse_room(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_bytes() == 0 => {
            Err("a size above 0 is expected, as in 8MiB".to_owned())
        }
        other => other.map_err(|error| error.to_string()),
    }
}

fn parse_slots(text: &str) -> Result<Slots, String> {
    let count = text
        .parse()
        .map_err(|_| "a number is expected".to_owned())?;
    Slots::new(count).ok_or_else(|| "between 1 and 1024 slots are possible".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: SettingsFlags,
    }

    fn parsed(arguments: &[&str]) -> Result<Settings, String> {
        let line = Line::try_parse_from(["job"].iter().chain(arguments));
        line.map(|line| line.settings.into())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_the_settings_are_those_of_the_engine() {
        assert_eq!(parsed(&[]).unwrap(), Settings::default());
    }

    #[test]
    fn each_flag_sets_its_own_setting() {
        let all = [
            "--checkpoints",
            "file:///there",
            "--workers",
            "3",
            "--sink-slots",
            "5",
            "--max-transaction-rows",
            "7",
            "--side-output-memory",
            "1KiB",
            "--disorder",
            "11s",
            "--allowed-lateness",
            "13s",
            "--max-future-skew",
            "15s",
            "--max-clock-skew",
            "17s",
            "--idle-after",
            "19s",
            "--answer-limit",
            "21s",
            "--step-limit",
            "23s",
            "--event-id-memory",
            "0",
            "--max-open-panes",
            "9",
            "--results-retention",
            "25s",
            "--allow-compaction",
            "--unreadable-batches",
            "set-aside",
            "--guarantee",
            "at-least-once",
            "--stop-timeout",
            "27s",
            "--until-end",
        ];

        let expected = Settings {
            checkpoints: "file:///there".to_owned(),
            workers: 3,
            sink_slots: Slots::new(5).unwrap(),
            max_transaction_rows: 7,
            side_output_memory: ByteSize::bytes(1024),
            unreadable_batches: UnreadableBatches::SetAside,
            disorder: Duration::from_secs(11),
            allowed_lateness: Duration::from_secs(13),
            max_future_skew: Duration::from_secs(15),
            max_clock_skew: Duration::from_secs(17),
            idle_after: Duration::from_secs(19),
            answer_limit: Duration::from_secs(21),
            step_limit: Duration::from_secs(23),
            event_id_memory: ByteSize::bytes(0),
            max_open_panes: 9,
            results_retention: Duration::from_secs(25),
            allow_compaction: true,
            guarantee: Guarantee::AtLeastOnce,
            stop_timeout: Duration::from_secs(27),
            until_end: true,
        };

        assert_eq!(parsed(&all).unwrap(), expected);
    }

    #[test]
    fn values_that_cannot_work_are_refused_before_a_job_begins() {
        for refused in [
            ["--workers", "0"],
            ["--workers", "1025"],
            ["--sink-slots", "0"],
            ["--sink-slots", "1025"],
            ["--max-transaction-rows", "0"],
            ["--max-open-panes", "0"],
            ["--side-output-memory", "0"],
            ["--event-id-memory", "64"],
            ["--disorder", "5"],
            ["--guarantee", "at-most-once"],
        ] {
            assert!(parsed(&refused).is_err(), "{refused:?}");
        }
    }
}

//! The metrics by subject, with their names and help texts.

use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// Upper bounds of the buckets of duration histograms, in seconds.
const SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Records that were read, and rows that were made of them.
#[derive(Clone)]
pub struct RecordMetrics {
    pub read: IntCounter,
    pub bytes: IntCounter,
    pub rejected: IntCounter,
    pub late: IntCounterVec,
    pub copies: IntCounter,
    pub left_out: IntCounter,
    pub rows: IntCounter,
}

impl RecordMetrics {
    pub fn of(register: &Register<'_>) -> Self {
        Self {
            read: register.counter("records_total", "Records read."),
            bytes: register.counter("bytes_total", "Bytes of keys and values read."),
            rejected: register.counter("rejected_total", "Records that went to the dead letters."),
            late: register.counters("late_total", "Late records, by outcome.", "outcome"),
            copies: register.counter(
                "copies_total",
                "Records that are copies of events that were counted, and were left out.",
            ),
            left_out: register.counter(
                "left_out_total",
                "Records that the decoder or a filter left out: they are not for this job.",
            ),
            rows: register.counter("rows_total", "Rows of windows, new and corrected."),
        }
    }
}

/// The positions of the process's partitions.
#[derive(Clone)]
pub struct PartitionMetrics {
    pub lag: IntGaugeVec,
    pub silence: GaugeVec,
    pub position: IntGaugeVec,
    pub newest_event: GaugeVec,
    pub watermark: GaugeVec,
    pub holds_back: IntGaugeVec,
}

impl PartitionMetrics {
    pub fn of(register: &Register<'_>) -> Self {
        let gauges = |name, help| register.gauges(name, help, "partition");
        let seconds = |name, help| register.seconds(name, help, "partition");
        Self {
            lag: gauges(
                "lag_records",
                "Records between the position and the end of a partition, as of the last look.",
            ),
            silence: seconds(
                "partition_silence_seconds",
                "Time since a partition returned a record or a confirmed end.",
            ),
            position: gauges("position_offset", "Offset of a partition to be read next."),
            newest_event: seconds(
                "newest_event_timestamp_seconds",
                "Newest event time of a partition, since the epoch.",
            ),
            watermark: seconds(
                "partition_watermark_timestamp_seconds",
                "Event time that a partition claims to have reached, since the epoch.",
            ),
            holds_back: gauges(
                "partition_holds_back",
                "1 if the event time of the job is that of this partition.",
            ),
        }
    }
}

/// The event time and the state of the process's workers.
#[derive(Clone)]
pub struct WorkerMetrics {
    pub boundary: GaugeVec,
    pub open_entries: IntGaugeVec,
    pub window_entries: IntGaugeVec,
    pub window_panes: IntGaugeVec,
    pub watermark_delay: Gauge,
    pub operator_seconds: CounterVec,
}

impl WorkerMetrics {
    pub fn of(register: &Register<'_>) -> Self {
        let gauges = |name, help| register.gauges(name, help, "worker");
        Self {
            boundary: register.seconds(
                "watermark_timestamp_seconds",
                "Boundary that a worker's sources have passed, since the epoch.",
                "worker",
            ),
            open_entries: gauges("open_entries", "Keys in open panes of a worker's sources."),
            window_entries: gauges(
                "state_entries",
                "Entries kept for open and correctable windows.",
            ),
            window_panes: gauges("open_panes", "Panes kept for open and correctable windows."),
            watermark_delay: register.second(
                "watermark_delay_seconds",
                "Time by which the least watermark of the process's workers is behind the clock.",
            ),
            operator_seconds: register.add(CounterVec::new(
                Opts::new(
                    "operator_seconds_total",
                    "Time of an operator on a worker, by activity: busy, idle, or waiting for something.",
                ),
                &["operator", "activity", "worker"],
            )),
        }
    }
}

/// Checkpoints, and the commits of results that follow them.
#[derive(Clone)]
pub struct CheckpointMetrics {
    pub boundary: Gauge,
    pub age: Gauge,
    pub size: IntGauge,
    pub parts: IntGauge,
    pub seconds: Histogram,
    pub bytes: IntCounter,
    pub commit_seconds: Histogram,
}

impl CheckpointMetrics {
    pub fn of(register: &Register<'_>) -> Self {
        Self {
            boundary: register.second(
                "checkpoint_boundary_timestamp_seconds",
                "Boundary of the newest durable checkpoint, since the epoch.",
            ),
            age: register.second(
                "checkpoint_age_seconds",
                "Time since the newest checkpoint was written.",
            ),
            size: register.gauge(
                "checkpoint_size_bytes",
                "Size of the newest checkpoint's parts: the state that a start reads, all processes together.",
            ),
            parts: register.gauge(
                "checkpoint_parts",
                "Parts that the newest checkpoint names.",
            ),
            seconds: register.histogram("checkpoint_seconds", "Time to write a manifest."),
            bytes: register.counter(
                "checkpoint_bytes_total",
                "Bytes of parts written, those of merged parts included.",
            ),
            commit_seconds: register.histogram(
                "commit_seconds",
                "Time to commit a worker's batch of results.",
            ),
        }
    }
}

/// The attempts of the process.
#[derive(Clone)]
pub struct AttemptMetrics {
    pub number: IntGauge,
    pub restarts: IntCounter,
    pub running: IntGauge,
    pub retries: IntCounterVec,
}

/// An operation that is repeated until it succeeds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retried {
    /// Reading of a partition.
    Read,
    /// A transaction of results.
    Results,
    /// A transaction of side outputs.
    SideOutputs,
    /// A request to the object store.
    Store,
}

impl Retried {
    pub const ALL: [Self; 4] = [Self::Read, Self::Results, Self::SideOutputs, Self::Store];

    /// Returns its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "records",
            Self::Results => "results",
            Self::SideOutputs => "side outputs",
            Self::Store => "objects",
        }
    }

    /// Returns its label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Results => "results",
            Self::SideOutputs => "side_outputs",
            Self::Store => "store",
        }
    }
}

impl AttemptMetrics {
    pub fn of(register: &Register<'_>) -> Self {
        let retries = register.counters(
            "retries_total",
            "Operations on the log and the object store that failed and were repeated, by kind.",
            "kind",
        );
        // A rate begins at the first retry only if the counter was 0 before it.
        for kind in Retried::ALL {
            retries.with_label_values(&[kind.label()]);
        }

        Self {
            number: register.gauge(
                "attempt",
                "Number of the running attempt: the job's starts so far.",
            ),
            restarts: register.counter(
                "restarts_total",
                "Attempts that this process began after its first.",
            ),
            running: register.gauge("running", "1 while an attempt is running."),
            retries,
        }
    }
}

/// Creates metrics and registers them.
pub struct Register<'a>(pub &'a Registry);

impl Register<'_> {
    fn add<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: prometheus::Result<M>,
    ) -> M {
        let metric = metric.expect("a valid name");
        self.0
            .register(Box::new(metric.clone()))
            .expect("a name of its own");
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), &[label]))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), &[label]))
    }

    /// Registers a duration or a time.
    fn second(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    /// Registers durations or times with a label.
    fn seconds(&self, name: &str, help: &str, label: &str) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), &[label]))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.add(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(SECONDS.to_vec()),
        ))
    }
}

//! `bench latency`: the time from a window's end until its results can be read.
//!
//! Orders are sent at a steady rate with the clock as their event time, so the watermark passes a
//! window's end `disorder` after the clock has. The measured time begins then, and ends when a
//! `read_committed` reader has the result. It contains the last order's way through Kafka to the
//! job, the aggregation, the checkpoint, the transaction, and the way to the reader.

mod stages;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use events::{ORDERS, Timestamp, WindowCount};
use record_log::{LogError, RecordLog, Signal};

use crate::counterparts::{Broker, Cache};
use crate::generate::{self, GenerateError, Target};
use crate::job::{Job, RunError, run_name};
use crate::machine;
use crate::orders::{OrderSettings, Spread};
use crate::peers::Peer;
use crate::results::{Measure, Measurement, Table, number};
use stages::Window;

/// Results of windows that end within this time are left out: the job is still starting.
const WARM_UP: Duration = Duration::from_secs(10);
/// The job must create its topics within this time.
const TOPIC_WITHIN: Duration = Duration::from_secs(30);
/// The longest wait between two reads.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const RECORDS_PER_POLL: usize = 10_000;
/// The file of the job's log.
const JOB_LOG: &str = "order-analytics.log";

/// Measures the time from a window's end until its results can be read, under a steady load on real
/// Kafka.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Orders a second.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Number of users that order.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Duration of the load.
    #[arg(long = "for", default_value = "1m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// Length of the job's windows.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Disorder of the orders, and of the job's setting.
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    disorder: Duration,
    /// Partitions of the input topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Workers of the job.
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Also prints the time at which windows pass each stage, from watermark to commit
    #[arg(long)]
    stages: bool,
    /// Kafka's brokers as `host:port`, comma separated; if absent, a broker is started.
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: Option<String>,
}

/// The reason why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// No window closed after the warm-up.
    #[error("no window closed: let the load last longer than {} s and a window", WARM_UP.as_secs())]
    NoWindow,
    /// The job's log names no milestone.
    #[error("the job's log has no line about a milestone")]
    NoMilestone,
    /// A result cannot be decoded.
    #[error("a result cannot be read: {0}")]
    Result(#[from] serde_json::Error),
    /// The run failed before the measurement.
    #[error(transparent)]
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for LatencyError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

/// The time at which a result could be read, after its window's end.
#[derive(Clone, Copy, Debug)]
struct Seen {
    window_end_ms: u64,
    delay_ms: u64,
}

impl Measurement for Args {
    const NAME: &'static str = "latency";
    type Error = LatencyError;

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Kafka]
    }

    fn measure(self) -> Result<Vec<Table>, LatencyError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("latency")?;
        let broker = Broker::given_or_started(self.brokers.as_deref(), &cache, folder.path())?;
        let log = generate::kafka(broker.address())?;
        let run = run_name();
        let input = format!("{ORDERS}-{run}");
        println!("{}", machine::describe());
        println!("{self:?}");
        generate::create(&*log, &input, self.partitions)?;

        let brokers = broker.address();
        let workers = self.workers;
        let job = Job {
            brokers,
            run: &run,
            input: &input,
            workers,
            folder: folder.path(),
        };

        let window = format!("{}ms", self.window.as_millis());
        let disorder = format!("{}ms", self.disorder.as_millis());
        let mut settings = vec!["--window", &window, "--disorder", &disorder];
        if self.stages {
            // The stages are read from lines of text. Without a terminal the job would write JSON.
            settings.extend(["--log", "warn,stream::milestones=debug"]);
            settings.extend(["--log-format", "text"]);
        }
        let mut process = job.start(None, &settings, JOB_LOG)?;

        let seen = thread::scope(|scope| {
            let load = scope.spawn(|| self.load(&*log, &input));
            let seen = self.watch(&*log, &job.output());
            load.join().expect("the load does not panic")?;
            seen
        })?;

        let ended = process.kill()?;
        println!(
            "order-analytics: {:.1} CPU-s in {:.1} s",
            ended.cpu.as_secs_f64(),
            ended.wall.as_secs_f64()
        );

        let stages = if self.stages {
            let log = std::fs::read_to_string(folder.path().join(JOB_LOG))?;
            let stages = stages::report(&log, &self.windows(&seen), millis(self.window));
            Some(stages.ok_or(LatencyError::NoMilestone)?)
        } else {
            None
        };
        let all = self.report(&seen)?;
        Ok(std::iter::once(all).chain(stages).collect())
    }
}

impl Args {
    /// Returns the windows that closed after the warm-up, each with the moment at which all of its results were read.
    fn windows(&self, seen: &[Seen]) -> Vec<Window> {
        let first_ms = first_end_ms(seen);
        let mut read: BTreeMap<u64, u64> = BTreeMap::new();
        for seen in seen {
            let last_ms = read.entry(seen.window_end_ms).or_default();
            *last_ms = seen.delay_ms.max(*last_ms);
        }

        let warm = read
            .into_iter()
            .filter(|(end_ms, _)| *end_ms > first_ms + millis(WARM_UP));
        warm.map(|(end_ms, delay_ms)| {
            let due_ms = end_ms + millis(self.disorder);
            Window {
                end_ms,
                due_ms,
                read_at_ms: due_ms + delay_ms,
            }
        })
        .collect()
    }

    /// Sends orders whose event time follows the clock.
    fn load(&self, log: &dyn RecordLog, topic: &str) -> Result<(), GenerateError> {
        let orders = OrderSettings {
            orders: u64::from(self.rate) * self.duration.as_secs(),
            users: self.users,
            spread: Spread::Uniform,
            start: Timestamp::now(),
            span: self.duration,
            disorder: self.disorder,
            late: 0.0,
            malformed: 0.0,
            seed: 1,
        };

        generate::publish(
            log,
            Target {
                topic,
                partitions: self.partitions,
                rate: Some(self.rate),
            },
            orders.records_from_now(),
        )
    }

    /// Reads results as they come, until the load ends.
    fn watch(&self, log: &dyn RecordLog, topic: &str) -> Result<Vec<Seen>, LatencyError> {
        let partitions = await_topic(log, topic)?;
        let mut reader = log.reader(
            topic,
            &(0..partitions)
                .map(|partition| (partition, 0))
                .collect::<Vec<_>>(),
        )?;

        let signal = Signal::default();
        reader.on_readable(signal.wake());
        let begun = Instant::now();
        let mut seen = Vec::new();
        let mut bad = None;

        while begun.elapsed() < self.duration {
            let mut records = 0;
            for partition in 0..partitions {
                let polled = reader.poll(partition, RECORDS_PER_POLL, &mut |record| match self
                    .seen(record.value.unwrap_or_default())
                {
                    Ok(result) => seen.extend(result),
                    Err(error) => drop(bad.get_or_insert(error)),
                })?;
                records += polled.records;
            }

            if records == 0 {
                signal.wait(LOOK_EVERY);
            }
        }

        bad.map_or(Ok(seen), |error| Err(error.into()))
    }

    /// Returns the delay of a result; none for a correction.
    fn seen(&self, value: &[u8]) -> Result<Option<Seen>, serde_json::Error> {
        let count: WindowCount = serde_json::from_slice(value)?;
        let window_end_ms = count.window_end.as_ms();
        let delay_ms = Timestamp::now()
            .as_ms()
            .saturating_sub(window_end_ms + millis(self.disorder));

        Ok((count.revision == 0).then_some(Seen {
            window_end_ms,
            delay_ms,
        }))
    }

    /// Returns the settings that are numbers.
    fn settings(&self) -> [(&'static str, f64); 4] {
        [
            ("orders a second", f64::from(self.rate)),
            ("users", number(self.users)),
            ("partitions", f64::from(self.partitions)),
            ("workers", f64::from(self.workers)),
        ]
    }

    fn report(&self, seen: &[Seen]) -> Result<Table, LatencyError> {
        let first_ms = first_end_ms(seen);
        let measured = seen
            .iter()
            .filter(|seen| seen.window_end_ms > first_ms + millis(WARM_UP));
        let mut delays: Vec<u64> = measured.map(|seen| seen.delay_ms).collect();
        delays.sort_unstable();

        let at = |share: usize| {
            delays.get((delays.len() * share / 1000).min(delays.len().saturating_sub(1)))
        };

        match (at(500), at(990), at(1000)) {
            (Some(median), Some(p99), Some(most)) => {
                println!(
                    "{} results, readable after their window's end passed the watermark: median {median} ms, p99 {p99} ms, at most {most} ms",
                    delays.len()
                );
                let samples = [median, p99, most].map(|delay| number(*delay));
                let mut table = Table::new(
                    "Readable after the window's end passed the watermark",
                    &measures(),
                );
                table.add("results", &self.settings(), &samples);
                Ok(table)
            }
            _ => Err(LatencyError::NoWindow),
        }
    }
}

/// Returns the columns of the figures.
fn measures() -> [Measure; 3] {
    ["median", "p99", "most"].map(|name| Measure::new(name, "ms"))
}

/// Returns the end of the first window.
fn first_end_ms(seen: &[Seen]) -> u64 {
    let ends = seen.iter().map(|seen| seen.window_end_ms);
    ends.min().unwrap_or(0)
}

/// Waits until the job has created the topic.
fn await_topic(log: &dyn RecordLog, topic: &str) -> Result<u32, LogError> {
    let begun = Instant::now();
    loop {
        match log.partitions(topic) {
            Err(LogError::UnknownTopic(_)) if begun.elapsed() < TOPIC_WITHIN => {
                thread::sleep(LOOK_EVERY);
            }
            answer => return answer,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

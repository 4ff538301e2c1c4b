//! `bench sessions`: the checkpoints of a job with long sessions.
//!
//! The job counts the sessions of a day. All counts of the day can still be corrected,
//! so all of it stays in its checkpoints. The command reads the newest manifest repeatedly while
//! the job runs, and compares the parts that it names with those that the workers wrote.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use events::{ORDERS, Timestamp};
use serde::Deserialize;

use crate::counterparts::{Broker, Cache};
use crate::generate::{self, Target};
use crate::job::{Job, RunError, run_name};
use crate::machine::{self, mib};
use crate::orders::{OrderSettings, Spread};
use crate::peers::Peer;
use crate::results::{Measure, Measurement, Table, number};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The first minute of 2025.
const START_MS: u64 = 1_735_689_600_000;
/// The time between two reads of the newest manifest.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Measures the checkpoints of a job that counts the sessions of a day.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Orders of the day.
    #[arg(long, default_value_t = 2_000_000)]
    orders: u64,
    /// The number of users that order.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// The gap that ends a session.
    #[arg(long, default_value = "30m")]
    gap: String,
    /// Workers of the job.
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Kafka's brokers as `host:port`, comma separated; if absent, a broker is started
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: Option<String>,
}

/// The reason why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// The job wrote no checkpoint.
    #[error("the job wrote no checkpoint")]
    NoCheckpoint,
    /// The run failed before the measurement.
    #[error(transparent)]
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for SessionsError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

/// The fields of a manifest that are measured.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    merges: u64,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    name: String,
    entries: u64,
    size_bytes: u64,
}

/// The figures of a job's checkpoints.
#[derive(Default)]
struct Seen {
    newest: Option<(Manifest, u64)>,
    most_parts: usize,
    largest_manifest_bytes: u64,
    /// The parts that workers wrote, without merged ones.
    of_workers: BTreeSet<String>,
}

impl Measurement for Args {
    const NAME: &'static str = "sessions";
    type Error = SessionsError;

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Kafka]
    }

    fn measure(self) -> Result<Vec<Table>, SessionsError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("sessions")?;
        let broker = Broker::given_or_started(self.brokers.as_deref(), &cache, folder.path())?;
        println!("{}", machine::describe());

        let run = run_name();
        let input = format!("{ORDERS}-{run}");
        self.publish(broker.address(), &input)?;
        let job = Job {
            brokers: broker.address(),
            run: &run,
            input: &input,
            workers: self.workers,
            folder: folder.path(),
        };

        let seen = self.watch(&job)?;
        Ok(vec![seen.table()?])
    }
}

impl Args {
    fn publish(&self, brokers: &str, input: &str) -> Result<(), SessionsError> {
        let orders = OrderSettings {
            orders: self.orders,
            users: self.users,
            spread: Spread::Uniform,
            start: Timestamp::from_ms(START_MS).expect("a day in 2025"),
            span: DAY,
            disorder: Duration::from_secs(5),
            late: 0.0,
            malformed: 0.0,
            seed: 1,
        };
        let target = Target {
            topic: input,
            partitions: 4,
            rate: None,
        };

        generate::publish(&*generate::kafka(brokers)?, target, orders.records())?;
        Ok(())
    }

    /// Runs the job to its end, and reads its checkpoints meanwhile.
    fn watch(&self, job: &Job<'_>) -> Result<Seen, SessionsError> {
        let manifests = job.checkpoints().join(job.run).join("manifests");
        let mut seen = Seen::default();
        job.run_to_end_watched(&["--session-gap", &self.gap], LOOK_EVERY, || {
            seen.look(&manifests);
        })?;

        seen.look(&manifests);
        Ok(seen)
    }
}

impl Seen {
    /// Reads the newest manifest, if there is one. The job may delete it at any time.
    fn look(&mut self, manifests: &Path) {
        let Some((manifest, size_bytes)) = newest(manifests) else {
            return;
        };

        self.most_parts = self.most_parts.max(manifest.parts.len());
        self.largest_manifest_bytes = self.largest_manifest_bytes.max(size_bytes);
        let names = manifest.parts.iter().map(|part| &part.name);
        let of_workers = names.filter(|name| !name.contains("-m"));
        self.of_workers.extend(of_workers.cloned());
        self.newest = Some((manifest, size_bytes));
    }

    /// Prints the figures and returns them.
    fn table(&self) -> Result<Table, SessionsError> {
        let (manifest, size_bytes) = self.newest.as_ref().ok_or(SessionsError::NoCheckpoint)?;
        let entries: u64 = manifest.parts.iter().map(|part| part.entries).sum();
        let state: u64 = manifest.parts.iter().map(|part| part.size_bytes).sum();

        let figures = [
            (
                "parts of workers that were seen",
                "",
                number(self.of_workers.len()),
            ),
            ("merges", "", number(manifest.merges)),
            (
                "parts of the last checkpoint",
                "",
                number(manifest.parts.len()),
            ),
            ("most parts of a checkpoint", "", number(self.most_parts)),
            ("manifest", "bytes", number(*size_bytes)),
            (
                "largest manifest",
                "bytes",
                number(self.largest_manifest_bytes),
            ),
            ("entries of the last checkpoint", "", number(entries)),
            ("parts of the last checkpoint in all", "MiB", mib(state)),
        ];

        let measures = figures.map(|(name, unit, _)| Measure::new(name, unit));
        let mut table = Table::new("Checkpoints of a day of sessions", &measures);
        table.add("order-analytics", &[], &figures.map(|(_, _, value)| value));
        for (name, unit, value) in figures {
            println!("{name:<36} {value:>12.1} {unit}");
        }
        Ok(table)
    }
}

/// Returns the newest manifest of a folder that can be read, and its size.
fn newest(folder: &Path) -> Option<(Manifest, u64)> {
    let entries = fs::read_dir(folder).ok()?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();

    let text = fs::read_to_string(files.pop()?).ok()?;
    let manifest = serde_json::from_str(text.lines().next()?).ok()?;
    Some((manifest, text.len() as u64))
}

//! `bench throughput`: the cost of the job beside a bare reader of the same records.
//!
//! Both are children of a process that stays small, and the kernel measures them: the CPU time of
//! all their threads, and their peak memory. They take turns, so that a busy minute of the machine
//! affects both.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use events::{ORDERS, WindowCount};
use record_log::RecordLog;
use stream_cli::Client;

use crate::counterparts::{Broker, Cache};
use crate::flink::{Flink, FlinkError};
use crate::generate;
use crate::job::{Job, RunError, run_name};
use crate::machine::{self, mib};
use crate::peers::Peer;
use crate::process::{Ended, Lifetime, Process};
use crate::read;
use crate::results::{Measure, Measurement, Table, number};

/// The time after which generating or reading counts as hung.
const LIMIT: Duration = Duration::from_secs(1_200);

/// Measures `order-analytics --until-end` on real Kafka beside a reader that ignores the records.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Number of orders
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    orders: u64,
    /// Number of users that order
    #[arg(long, default_value_t = 100_000)]
    users: u64,
    /// Partitions of the topic; several numbers, comma separated, are measured in turns
    #[arg(long, default_value = "4", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Vec<u32>,
    /// Workers of the job, and Flink's parallelism; several numbers, comma separated, are measured in turns
    #[arg(long, default_value = "2", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    workers: Vec<u32>,
    /// Number of measurements of each; medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Clients of Kafka to be measured, each by the job and by a bare reader; repeat the flag, or separate them by a comma
    #[arg(
        long = "client",
        env = "TIDEMARK_CLIENT",
        value_enum,
        value_delimiter = ',',
        default_value = "native"
    )]
    clients: Vec<Client>,
    /// Also measure the job with at-least-once delivery in the same run: the difference is the cost
    /// of exactly once
    #[arg(long)]
    at_least_once: bool,
    /// Also measure Apache Flink in the same run
    #[arg(long)]
    flink: bool,
    /// Kafka's brokers as `host:port`, comma separated; if absent, a broker is started
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: Option<String>,
}

/// The reason why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum ThroughputError {
    /// A part of the measurement failed.
    #[error("`bench {0}` failed")]
    Part(&'static str),
    /// The job did not count every order, so its speed is not valid.
    #[error("the job counted {counted} of {orders} orders")]
    Counted {
        /// Orders counted.
        counted: u64,
        /// Orders published.
        orders: u64,
    },
    /// Flink failed.
    #[error(transparent)]
    Flink(FlinkError),
    /// The run failed before the measurement.
    #[error(transparent)]
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for ThroughputError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

impl From<FlinkError> for ThroughputError {
    fn from(error: FlinkError) -> Self {
        Self::Flink(error)
    }
}

impl Measurement for Args {
    const NAME: &'static str = "throughput";
    type Error = ThroughputError;

    fn peers(&self) -> Vec<Peer> {
        let flink = self.flink.then_some(Peer::Flink);
        std::iter::once(Peer::Kafka).chain(flink).collect()
    }

    fn measure(self) -> Result<Vec<Table>, ThroughputError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("throughput")?;
        let broker = Broker::given_or_started(self.brokers.as_deref(), &cache, folder.path())?;
        let name = run_name();
        println!("{}", machine::describe());

        let mut topics = Vec::new();
        for partitions in &self.partitions {
            let topic = format!("{ORDERS}-{name}-{partitions}");
            self.generate(broker.address(), &topic, *partitions)?;
            self.read(broker.address(), &topic, Client::Rdkafka)?; // warms the page cache for all
            topics.push((*partitions, topic));
        }

        let flink = self
            .flink
            .then(|| Flink::prepare(&cache, folder.path()))
            .transpose()?;

        let log = generate::kafka(broker.address())?;
        let mut measured = Measured::new();
        println!(
            "{:<40} {:>8} {:>10} {:>12} {:>9}",
            "", "wall s", "CPU-s", "CPU-s/1 M", "peak MiB"
        );

        for number in 0..self.runs {
            for (partitions, topic) in &topics {
                let run = format!("{name}-{partitions}-{number}");
                let place = Place {
                    brokers: broker.address(),
                    input: topic,
                    partitions: *partitions,
                    folder: folder.path(),
                };
                self.turn(&run, &place, flink.as_ref(), &*log, &mut measured)?;
            }
        }

        for (what, runs) in &measured.runs {
            self.medians(what, runs);
        }

        let outputs = &measured.outputs;
        outputs
            .iter()
            .try_for_each(|output| self.check(&*log, output))?;
        Ok(vec![measured.table])
    }
}

impl Args {
    /// Runs everything once, one after the other.
    fn turn(
        &self,
        run: &str,
        place: &Place<'_>,
        flink: Option<&Flink>,
        log: &dyn RecordLog,
        measured: &mut Measured,
    ) -> Result<(), ThroughputError> {
        for client in &self.clients {
            let name = client.name();
            let what = format!("bare reader, {name}");
            let ended = self.read(place.brokers, place.input, *client)?;
            self.note(&what, place, None, ended, measured);

            for workers in &self.workers {
                let job = format!("order-analytics, {name}");
                let run = format!("{run}-{name}-{workers}");
                let settings = ["--client", &name];
                self.job(&job, (&run, *workers), place, &settings, measured)?;

                if self.at_least_once {
                    let job = format!("at least once, {name}");
                    let run = format!("{run}-alo");
                    let settings = [&settings[..], &["--guarantee", "at-least-once"]].concat();
                    self.job(&job, (&run, *workers), place, &settings, measured)?;
                }
            }
        }

        let Some(flink) = flink else {
            return Ok(());
        };
        for workers in &self.workers {
            let run = format!("{run}-{workers}");
            let folder = place.folder.join(&run);
            let job = place.job(&run, *workers, &folder);
            let ended = flink.run(log, &job)?;
            self.note("Apache Flink", place, Some(*workers), ended, measured);
            measured.outputs.push(Flink::output(&run));
        }
        Ok(())
    }

    fn job(
        &self,
        what: &str,
        (run, workers): (&str, u32),
        place: &Place<'_>,
        settings: &[&str],
        measured: &mut Measured,
    ) -> Result<(), ThroughputError> {
        let folder = place.folder.join(run);
        std::fs::create_dir_all(&folder)?;
        let job = place.job(run, workers, &folder);
        measured.outputs.push(job.output());

        let ended = job.run_to_end(settings)?;
        self.note(what, place, Some(workers), ended, measured);
        Ok(())
    }

    fn generate(&self, brokers: &str, topic: &str, partitions: u32) -> Result<(), ThroughputError> {
        let orders = self.orders.to_string();
        let users = self.users.to_string();
        let partitions = partitions.to_string();

        let sizes = [
            "--orders",
            &orders,
            "--users",
            &users,
            "--partitions",
            &partitions,
        ];

        let made = ours(
            "generate",
            &[&["--brokers", brokers, "--topic", topic], &sizes[..]].concat(),
        )?;

        println!(
            "{} orders, {} users, {} partitions, generated in {:.0} s",
            orders,
            users,
            partitions,
            made.wall.as_secs_f64()
        );

        Ok(())
    }

    fn read(&self, brokers: &str, topic: &str, client: Client) -> Result<Ended, ThroughputError> {
        ours(
            "read",
            &[
                "--brokers",
                brokers,
                "--topic",
                topic,
                "--client",
                &client.name(),
                "--expect",
                &self.orders.to_string(),
            ],
        )
    }

    /// Prints a measurement and adds it to the figures.
    fn note(
        &self,
        what: &str,
        place: &Place<'_>,
        workers: Option<u32>,
        ended: Ended,
        measured: &mut Measured,
    ) {
        let mut settings = vec![
            ("orders", number(self.orders)),
            ("users", number(self.users)),
            ("partitions", f64::from(place.partitions)),
        ];
        settings.extend(workers.map(|workers| ("workers", f64::from(workers))));
        measured.table.add(what, &settings, &self.samples(&ended));

        let of_workers = workers.map_or_else(String::new, |workers| format!(", {workers} workers"));
        let what = format!("{what}, {} partitions{of_workers}", place.partitions);
        println!(
            "{what:<40} {:>8.2} {:>10.2} {:>12.3} {:>9.0}",
            ended.wall.as_secs_f64(),
            ended.cpu.as_secs_f64(),
            ended.cpu.as_secs_f64() / self.millions(),
            mib(ended.peak_rss_bytes)
        );
        measured.runs.entry(what).or_default().push(ended);
    }

    /// Returns the samples of a measurement, in the order of [`measures`].
    fn samples(&self, ended: &Ended) -> [f64; 4] {
        let wall = ended.wall.as_secs_f64();
        [
            ended.cpu.as_secs_f64() / self.millions(),
            self.millions() * 1e3 / wall,
            mib(ended.peak_rss_bytes),
            wall,
        ]
    }

    fn medians(&self, what: &str, runs: &[Ended]) {
        if runs.is_empty() {
            return;
        }

        let median = |value: fn(&Ended) -> f64| median(runs.iter().map(value).collect());
        let wall = median(|run| run.wall.as_secs_f64());
        let cpu = median(|run| run.cpu.as_secs_f64());

        println!(
            "{what}, median of {}: {:.2} CPU-s per million, {:.0} k/s, {:.0} MiB",
            runs.len(),
            cpu / self.millions(),
            self.millions() * 1_000.0 / wall,
            median(|run| mib(run.peak_rss_bytes)),
        );
    }

    #[allow(clippy::cast_precision_loss, reason = "orders are far fewer than 2^53")]
    fn millions(&self) -> f64 {
        self.orders as f64 / 1e6
    }

    /// Checks the counts, because the speed of a job with wrong counts is not valid.
    fn check(&self, log: &dyn RecordLog, output: &str) -> Result<(), ThroughputError> {
        let counts: Vec<WindowCount> = read::all_json(log, output)?;
        let counted = counts.iter().map(|count| count.order_count).sum();
        println!(
            "{output}: {} results, which count {counted} orders",
            counts.len()
        );

        if counted == self.orders {
            Ok(())
        } else {
            Err(ThroughputError::Counted {
                counted,
                orders: self.orders,
            })
        }
    }
}

/// The folders and addresses of a run.
struct Place<'a> {
    brokers: &'a str,
    input: &'a str,
    partitions: u32,
    folder: &'a Path,
}

impl<'a> Place<'a> {
    fn job(&self, run: &'a str, workers: u32, folder: &'a Path) -> Job<'a> {
        Job {
            brokers: self.brokers,
            run,
            input: self.input,
            workers,
            folder,
        }
    }
}

/// The measurements so far, by program and settings, and the topics of the results.
struct Measured {
    runs: BTreeMap<String, Vec<Ended>>,
    outputs: Vec<String>,
    table: Table,
}

impl Measured {
    fn new() -> Self {
        Self {
            runs: BTreeMap::new(),
            outputs: Vec::new(),
            table: Table::new("Job, bare reader and peers", &measures()),
        }
    }
}

/// Returns the columns of the figures.
fn measures() -> [Measure; 4] {
    [
        Measure::new("CPU time per million orders", "s"),
        Measure::rate("orders a second", "thousand/s"),
        Measure::new("peak memory", "MiB"),
        Measure::new("duration", "s"),
    ]
}

/// Runs a command of this program as a child, so that it is measured alone.
fn ours(command: &'static str, arguments: &[&str]) -> Result<Ended, ThroughputError> {
    let mut child = Command::new(std::env::current_exe()?);
    child
        .arg(command)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());

    let ended = Process::start(child, Lifetime::OfItsThread)?.wait_for(LIMIT)?;
    ended
        .filter(|ended| ended.status.success())
        .ok_or(ThroughputError::Part(command))
}

/// Returns the middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

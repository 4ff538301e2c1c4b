//! `bench cut-off`: the job reads from two brokers, and one of them does not answer.
//!
//! First a proxy between the job and broker 2 drops everything, for longer than `--answer-limit`, while orders go on by
//! a direct way on both brokers. Then broker 2 is stopped as a whole (SIGSTOP) while orders go on on broker 1. Each
//! time the job must report that it is not ready and name the partitions, be ready again afterwards, and write no order
//! to the side output for late records, although it allows no lateness at all. In the end every count is compared with
//! the input. Two jobs do this side by side, one for each client of Kafka.

mod proxy;
mod witness;

use std::path::Path;
use std::thread;
use std::time::Duration;

use events::{ORDERS, Timestamp};
use record_log::RecordLog;

use crate::counterparts::kafka::pair::{self, Pair, Ports};
use crate::counterparts::{Cache, free_ports};
use crate::crash::{self, CrashError, DISORDER, WINDOW, load};
use crate::generate::{self, GenerateError};
use crate::job::{Job, RunError, run_name};
use crate::orders::{Made, OrderSettings, Spread};
use crate::process::{Process, signal_group};
use proxy::Proxy;
use witness::Witness;

/// The broker that leads each partition of the input.
const LEADERS: [u16; 4] = [1, 2, 1, 2];
/// The clients of Kafka that the job can use.
const CLIENTS: [&str; 2] = ["rdkafka", "native"];
/// The time for which orders are sent before a broker stops answering, and again after it answers.
const AROUND: Duration = Duration::from_secs(4);
/// The setting `--answer-limit`: a partition without an answer for this time makes the job not
/// ready.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// The time limit for a job to become ready after its start, or after the end of a fault.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The time limit for a job to stop after a request.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// Cuts one of two brokers off from the job, then freezes it, and compares every count with the input.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// The time for which the broker does not answer, each time; longer than the 3 s after which the job must report
    /// it.
    #[arg(long = "for", default_value = "12s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    away: Duration,
    /// Orders a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The reason why the comparison failed or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CutOffError {
    /// A job's report is missing or wrong.
    #[error("the job with client {client}: {reason}; its log is in {folder}")]
    Readiness {
        /// The job's client of Kafka.
        client: &'static str,
        /// The expected and the actual report.
        reason: String,
        /// The folder of the job.
        folder: String,
    },
    /// The results are wrong.
    #[error("the results of the job with client {0} are not exact; its log is in {1}")]
    NotExact(&'static str, String),
    /// Not everything was counted.
    #[error(transparent)]
    Counts(#[from] CrashError),
    /// The run failed before the comparison.
    #[error(transparent)]
    Run(RunError),
}

impl<E: Into<RunError>> From<E> for CutOffError {
    fn from(error: E) -> Self {
        Self::Run(error.into())
    }
}

/// The brokers, and their addresses.
struct Cluster {
    pair: Pair,
    proxy: Proxy,
    /// The addresses by which orders are sent.
    direct: String,
    /// The addresses that the jobs use.
    proxied: String,
}

impl Args {
    /// Runs and prints the verdict.
    ///
    /// # Errors
    /// [`CutOffError`] if a job does not report the broker, counts wrongly, or cannot be run.
    pub fn run(self) -> Result<(), CutOffError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("cut-off")?;
        let outcome = self.run_in(&cache, folder.path());
        outcome.inspect_err(|_| drop(folder.keep()))
    }

    fn run_in(&self, cache: &Cache, folder: &Path) -> Result<(), CutOffError> {
        let cluster = Cluster::start(cache, folder)?;
        let run = run_name();
        let input = format!("{ORDERS}-{run}");
        pair::create_topic(cache, &cluster.direct, &input, &LEADERS)?;
        let log = generate::kafka(&cluster.direct)?;

        let names = CLIENTS.map(|client| format!("{run}-{client}"));
        let folders = CLIENTS.map(|client| folder.join(client));
        let mut jobs = Vec::new();
        for (client, (name, folder)) in CLIENTS.into_iter().zip(names.iter().zip(&folders)) {
            std::fs::create_dir(folder)?;
            let job = Job {
                brokers: &cluster.proxied,
                run: name,
                input: &input,
                workers: 2,
                folder,
            };
            jobs.push(Running::start(client, job)?);
        }
        jobs.iter()
            .try_for_each(|job| job.witness.await_ready(READY_WITHIN))?;

        let proxy = &cluster.proxy;
        let cut = Trouble {
            name: "broker 2 is cut off from the job",
            begin: &|| proxy.cut(),
            end: &|| proxy.restore(),
        };
        self.under_load(&*log, &jobs, &cut, &|made| made)?;

        let frozen = cluster.pair.second().pid();
        let freeze = Trouble {
            name: "broker 2 is frozen",
            begin: &|| signal_group(frozen, libc::SIGSTOP),
            end: &|| signal_group(frozen, libc::SIGCONT),
        };
        self.under_load(&*log, &jobs, &freeze, &on_the_first_broker)?;

        jobs.into_iter().try_for_each(|job| job.finish(&*log))
    }

    /// Causes the fault while orders are sent, and watches the jobs' reports.
    fn under_load(
        &self,
        log: &dyn RecordLog,
        jobs: &[Running<'_>],
        trouble: &Trouble<'_>,
        place: &(dyn Fn(Made) -> Made + Sync),
    ) -> Result<(), CutOffError> {
        let orders = self.orders().records_from_now().map(place);
        let input = jobs[0].job.input;

        thread::scope(|scope| {
            let load = scope.spawn(move || load::publish(log, input, self.rate, orders));
            thread::sleep(AROUND);
            let watched = self.watch(jobs, trouble);
            let published: Result<(), GenerateError> =
                load.join().expect("the load does not panic");
            published?;
            watched
        })
    }

    fn watch(&self, jobs: &[Running<'_>], trouble: &Trouble<'_>) -> Result<(), CutOffError> {
        println!("{} {}", Timestamp::now(), trouble.name);
        (trouble.begin)();

        let reported = thread::scope(|scope| {
            let watches: Vec<_> = jobs
                .iter()
                .map(|job| scope.spawn(|| job.witness.await_named(self.away, &[1, 3], &[0, 2])))
                .collect();
            thread::sleep(self.away);
            let joined = watches.into_iter().map(|watch| watch.join());
            joined
                .map(|outcome| outcome.expect("the witness does not panic"))
                .collect::<Result<Vec<()>, _>>()
        });

        // The fault ends whatever the reports were, because the load waits for the broker.
        (trouble.end)();
        println!("{} it is over", Timestamp::now());
        reported?;

        jobs.iter()
            .try_for_each(|job| job.witness.await_ready(READY_WITHIN))
    }

    /// Returns the settings of orders from now on, for the time of one fault.
    fn orders(&self) -> OrderSettings {
        let span = AROUND + self.away + AROUND;
        OrderSettings {
            orders: u64::from(self.rate) * span.as_secs(),
            users: 200,
            spread: Spread::Uniform,
            start: Timestamp::now(),
            span,
            disorder: DISORDER,
            late: 0.0,
            malformed: 0.0,
            seed: self.seed,
        }
    }
}

/// Moves an order to a partition that the first broker leads.
fn on_the_first_broker(made: Made) -> Made {
    let partition = if made.user_id.is_multiple_of(2) { 0 } else { 2 };
    Made {
        partition: Some(partition),
        ..made
    }
}

/// A temporary fault.
struct Trouble<'a> {
    name: &'static str,
    begin: &'a dyn Fn(),
    end: &'a dyn Fn(),
}

impl Cluster {
    fn start(cache: &Cache, folder: &Path) -> Result<Self, CutOffError> {
        let [first_direct, first_behind, second_direct, second_behind]: [u16; 4] = free_ports()?;
        let proxy = Proxy::start(second_behind)?;
        let first = Ports {
            direct: first_direct,
            behind: first_behind,
            advertised: first_behind,
        };
        let second = Ports {
            direct: second_direct,
            behind: second_behind,
            advertised: proxy.port(),
        };

        let pair = Pair::start(cache, folder, [first, second])?;
        let addresses = |ports: [u16; 2]| ports.map(|port| format!("127.0.0.1:{port}")).join(",");
        Ok(Self {
            pair,
            direct: addresses([first.direct, second.direct]),
            proxied: addresses([first.advertised, second.advertised]),
            proxy,
        })
    }
}

/// A job and its reports.
struct Running<'a> {
    job: Job<'a>,
    process: Process,
    witness: Witness,
}

impl<'a> Running<'a> {
    fn start(client: &'static str, job: Job<'a>) -> Result<Self, CutOffError> {
        let [port]: [u16; 1] = free_ports()?;
        let address = format!("127.0.0.1:{port}");
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());

        let process = job.start(
            None,
            &[
                "--client",
                client,
                "--status-address",
                &address,
                "--window",
                &millis(WINDOW),
                "--disorder",
                &millis(DISORDER),
                "--answer-limit",
                &millis(ANSWER_LIMIT),
                "--allowed-lateness",
                "0s",
                "--idle-after",
                "2s",
                "--log",
                "info",
            ],
            "order-analytics.log",
        )?;

        let witness = Witness::new(client, &address, job.folder)?;
        Ok(Self {
            job,
            process,
            witness,
        })
    }

    /// Compares every count of the job with the input, and stops the job.
    fn finish(mut self, log: &dyn RecordLog) -> Result<(), CutOffError> {
        let client = self.witness.client();
        let (verdict, _) = crash::await_verdict(log, &self.job)?;
        println!("client {client}:\n{verdict}");
        if !verdict.is_exact() {
            let folder = self.job.folder.display().to_string();
            return Err(CutOffError::NotExact(client, folder));
        }

        self.process.interrupt();
        match self.process.wait_for(STOPS_WITHIN)? {
            Some(ended) if ended.status.success() => Ok(()),
            Some(ended) => Err(self
                .witness
                .error(format!("it ended with {}", ended.status))),
            None => Err(self.witness.error("it does not stop".to_owned())),
        }
    }
}

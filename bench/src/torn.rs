//! `bench torn`: transactions while a proxy troubles their requests, on a real broker.
//!
//! ```text
//! schedules, many at a time ──▶ proxy ──▶ Kafka ──▶ the Java client, read_committed ──▶ each transaction once and whole?
//! ```
//!
//! The proxy holds ends of transactions back until after the first Produce of the next transaction, drops answers of
//! EndTxn, AddPartitionsToTxn, Produce and InitProducerId, delays requests and answers, and lets requests of closed
//! connections arrive late. The number of a schedule is its seed.
//!
//! A wrong transaction, or an open publisher that fences its own id, fails the command if the native client made it. With
//! librdkafka the command only prints what happened.

mod fate;
mod faults;
mod frame;
mod proxy;
mod reader;
mod report;
mod rows;
mod schedule;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use record_log::{Cleanup, LogError, TopicSpec};
use stream_cli::Client;

use crate::counterparts::kafka::proxied::{self, ListenerPorts};
use crate::counterparts::{Cache, CounterpartError, Server, free_ports};
use crate::generate;
use crate::job::run_name;
use crate::machine;
use proxy::KafkaProxy;
use reader::Reader;
use report::Report;
use rows::PARTITIONS;
use schedule::{Outcome, Place};

/// The interval of the lines about progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// Publishes in transactions through a proxy that holds ends back, drops answers and delays requests, and checks by
/// Kafka's Java client that each transaction is there once and whole.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Number of schedules, each a publisher that commits six transactions.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    schedules: u64,
    /// Number of the first schedule. The number is its seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of schedules that run at a time.
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u64).range(1..))]
    at_a_time: u64,
    /// Begin no schedule after this time.
    #[arg(long = "for", value_parser = humantime::parse_duration, value_name = "DURATION")]
    limit: Option<Duration>,
    /// Level of `transaction.version` of the broker: 2 for the protocol of Kafka 4, 1 for that before it.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    transaction_version: u8,
    /// Clients of Kafka that publish; repeat the flag, or separate them by a comma
    #[arg(
        long = "client",
        value_enum,
        value_delimiter = ',',
        default_values_t = [Client::Native, Client::Rdkafka]
    )]
    clients: Vec<Client>,
}

/// The reason why the check failed or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TornError {
    /// Transactions of the native client are lost, doubled or torn.
    #[error("the native client failed on {0} schedules; their faults are printed above")]
    Wrong(usize),
    /// No schedule met an end that arrived in a later transaction, so nothing was shown.
    #[error("no end of a transaction arrived in a later one with client {0}: nothing was shown")]
    NothingShown(String),
    /// Kafka or Java is not available.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The topic could not be created.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A system call or the reader failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Args {
    /// Runs the schedules of each client, and prints a report.
    ///
    /// # Errors
    /// [`TornError`] if the native client is wrong, or nothing was shown.
    pub fn run(self) -> Result<(), TornError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("torn")?;
        println!("{}", machine::describe());

        let [direct, behind, controller]: [u16; 3] = free_ports()?;
        let proxy = KafkaProxy::start(behind)?;
        let ports = ListenerPorts {
            direct,
            behind,
            advertised: proxy.port(),
            controller,
        };
        let data = folder.path().join("kafka");
        let broker = proxied::start(&cache, &data, ports, self.transaction_version)?;

        let mut reports = Vec::new();
        for client in &self.clients {
            let report = self.run_client(&cache, folder.path(), &broker, &proxy, *client)?;
            println!("{report}");
            reports.push(report);
        }

        for report in &reports {
            report.verdict()?;
        }
        Ok(())
    }

    fn run_client(
        &self,
        cache: &Cache,
        folder: &Path,
        broker: &Server,
        proxy: &KafkaProxy,
        client: Client,
    ) -> Result<Report, TornError> {
        let run = run_name();
        let topic = format!("torn-{run}-{}", client.name());
        generate::kafka(broker.address())?.ensure_topics(&[TopicSpec {
            name: topic.clone(),
            partitions: PARTITIONS,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
        }])?;

        let reader = Reader::start(cache, folder, broker.address(), &topic)?;
        let begun = Instant::now();
        let place = Place {
            proxy,
            client,
            topic: &topic,
            run: &run,
        };
        let outcomes = self.run_schedules(&place);

        let elapsed = begun.elapsed();
        let read = reader.finish()?;
        Ok(Report::new(
            client,
            self.transaction_version,
            elapsed,
            outcomes,
            read,
        ))
    }

    /// Runs the schedules, many at a time.
    fn run_schedules(&self, place: &Place<'_>) -> Vec<Outcome> {
        let begun = Instant::now();
        let next = AtomicU64::new(0);
        let outcomes = Mutex::new(Vec::new());
        let is_over = || self.limit.is_some_and(|limit| begun.elapsed() >= limit);

        thread::scope(|scope| {
            for _ in 0..self.at_a_time.min(self.schedules) {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.schedules || is_over() {
                            return;
                        }
                        let outcome = place.run(self.seed.wrapping_add(number));
                        let mut all = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                        all.push(outcome);
                        print_progress(begun, &all);
                    }
                });
            }
        });

        outcomes
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints a line if enough time has passed since the last one.
fn print_progress(begun: Instant, outcomes: &[Outcome]) {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let elapsed = begun.elapsed().as_secs();
    let next = NEXT.load(Ordering::Relaxed);
    if elapsed >= next || elapsed + PROGRESS_EVERY.as_secs() < next {
        NEXT.store(elapsed + PROGRESS_EVERY.as_secs(), Ordering::Relaxed);
        let given_up = outcomes.iter().filter(|outcome| outcome.given_up.is_some());
        println!(
            "{elapsed} s: {} schedules, {} given up",
            outcomes.len(),
            given_up.count()
        );
    }
}

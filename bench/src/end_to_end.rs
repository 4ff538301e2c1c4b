//! `bench end-to-end`: the whole platform from a customer's view, also when it, its broker or its
//! orders service is killed, and when it is started wrongly.
//!
//! Every order that the platform acknowledged must be among its orders, on the topic, in the
//! mailbox and in the counts of the windows, each once. None of these may have an order that the
//! others lack.

pub(crate) mod books;
mod customers;
mod kills;
mod orders_alone;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use record_log::{LogError, LogSettings};

use crate::counterparts::{Cache, Counterpart, CounterpartError, Counterparts, Server};
use crate::platform::{self, Platform, PlatformError, Settings};
use crate::process::{Lifetime, Process};
use crate::read::ReadError;
use crate::shop::ShopError;
pub use customers::Customers;

/// The time limit of the demo, which waits until a window closes.
const DEMO_LIMIT: Duration = Duration::from_secs(150);

/// Starts the real platform, orders, waits for the counts, kills the platform, starts it again, and
/// checks that no acknowledged order was lost.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Use real servers in place of the embedded stores: all of them are started for the run.
    #[arg(long)]
    counterparts: bool,
    /// Kafka's brokers in place of the embedded log.
    #[arg(long, conflicts_with = "counterparts")]
    brokers: Option<String>,
    /// A MySQL URL in place of the embedded database.
    #[arg(long, conflicts_with = "counterparts")]
    mysql: Option<String>,
    /// A DynamoDB endpoint in place of the embedded one.
    #[arg(long, conflicts_with = "counterparts")]
    dynamodb: Option<String>,
    /// Number of SIGKILLs that the platform gets while customers order.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// Run every service in a process of its own, and kill only the orders service.
    #[arg(long, requires = "counterparts")]
    orders_alone: bool,
    /// Number of replicas of the orders service. They are killed in turn.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9), requires = "orders_alone")]
    replicas: u16,
}

/// The reason why the run ended early.
#[derive(Debug, thiserror::Error)]
pub enum EndToEndError {
    /// The platform failed.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A request failed.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// Orders and counts differ.
    #[error("the books do not balance: {0}")]
    Books(String),
    /// The demo failed.
    #[error("bench/test-api.sh {0}; its output:\n{1}")]
    Demo(String, String),
    /// A counterpart is not available.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The topic could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<LogError> for EndToEndError {
    fn from(error: LogError) -> Self {
        ReadError::from(error).into()
    }
}

type Result<T> = std::result::Result<T, EndToEndError>;

/// The settings of a run, and its folder.
struct Run<'a> {
    folder: &'a Path,
    arguments: Vec<String>,
    log: LogSettings,
    kills: u32,
}

impl Args {
    /// Runs all steps.
    ///
    /// # Errors
    /// [`EndToEndError`]: the first failure.
    pub fn run(self) -> Result<()> {
        let cache = Cache::open()?;
        let folder = cache.scratch("end-to-end")?;
        let wanted: &[Counterpart] = if self.counterparts {
            &Counterpart::ALL
        } else {
            &[]
        };
        let mut servers =
            Counterparts::start(wanted, &cache, folder.path(), Lifetime::OfItsThread)?;

        if self.orders_alone {
            return orders_alone::run(folder.path(), &mut servers, self.replicas, self.kills);
        }

        let given = [
            ("--brokers", &self.brokers),
            ("--mysql", &self.mysql),
            ("--dynamodb", &self.dynamodb),
        ];

        let given = given
            .into_iter()
            .filter_map(|(flag, value)| value.as_deref().map(|value| [flag, value]))
            .flatten();

        let arguments = servers
            .arguments()
            .chain(given)
            .map(str::to_owned)
            .collect();

        let brokers = self.brokers.or(servers
            .server(Counterpart::Kafka)
            .map(|kafka| kafka.address().to_owned()));

        let log = match brokers {
            Some(brokers) => LogSettings::Kafka {
                brokers,
                properties: Vec::new(),
            },
            None => LogSettings::Embedded {
                folder: folder.path().join("data/log"),
            },
        };

        let run = Run {
            folder: folder.path(),
            arguments,
            log,
            kills: self.kills,
        };
        run.whole(servers.server(Counterpart::Kafka))
    }
}

impl Run<'_> {
    /// Runs all steps. A broker that this run has started is killed and started again in between.
    fn whole(&self, kafka: Option<&mut Server>) -> Result<()> {
        let platform = self.start()?;
        refusals(platform.settings(), self.folder)?;
        let demo = start_demo(&platform.base(), &self.folder.join("demo.log"))?;
        let mut customers = Customers::sign_up(platform.shop())?;
        customers.order_each(platform.shop(), 3)?;
        customers.wait_until_counted(platform.shop())?;
        finish_demo(demo, &self.folder.join("demo.log"))?;

        if let Some(kafka) = kafka {
            println!("killing the broker; customers go on ordering");
            kafka.kill()?;
            customers.order_each(platform.shop(), 1)?;
            kafka.restart()?;
        }

        let shops = [platform.shop().clone()];
        let restart = |platform: Platform, _| Ok(Platform::start(platform.kill()?)?);
        let platform = kills::under_load(platform, &shops, &mut customers, self.kills, restart)?;
        customers.wait_until_counted(platform.shop())?;
        books::wait_until_balanced(platform.shop(), &customers)?;

        let notified = books::wait_until_notified(platform.shop(), &customers)?;
        if self.kills > 1 {
            books::wait_until_stock_is_back(platform.shop(), &customers)?;
        }
        println!("stopping");
        platform.stop()?;
        books::compare_topic(&*record_log::open(&self.log)?, &customers, &notified)?;
        println!("end to end: all checks passed");

        Ok(())
    }

    fn start(&self) -> Result<Platform> {
        let data = Some(self.folder.join("data"));
        let log = self.folder.join("platform.log");
        let port_base = platform::free_port_base()?;
        let arguments = self.arguments.clone();

        Ok(Platform::start(Settings {
            data,
            port_base,
            arguments,
            log,
        })?)
    }
}

/// Starts the platform in ways that must fail while another one runs with `settings`. Each start
/// must print one line with the reason.
fn refusals(settings: &Settings, folder: &Path) -> Result<()> {
    let other_ports = platform::free_port_base()?;
    let log = folder.join("refused.log");
    let ephemeral = Settings {
        data: None,
        port_base: other_ports,
        arguments: Vec::new(),
        log: log.clone(),
    };

    let unreachable = ["--brokers", "127.0.0.1:1"].map(str::to_owned).to_vec();
    let wrong = [
        (
            "the same folder",
            Settings {
                port_base: other_ports,
                log,
                ..settings.clone()
            },
        ),
        (
            "the same ports",
            Settings {
                port_base: settings.port_base,
                ..ephemeral.clone()
            },
        ),
        (
            "a bad flag",
            Settings {
                arguments: vec!["--no-such-flag".to_owned()],
                ..ephemeral.clone()
            },
        ),
        (
            "an unreachable broker",
            Settings {
                arguments: unreachable,
                ..ephemeral
            },
        ),
    ];

    for (what, settings) in wrong {
        println!("refused, {what}: {}", platform::refusal(&settings)?);
    }

    Ok(())
}

fn start_demo(base: &str, log: &Path) -> Result<Process> {
    let log = std::fs::File::create(log)?;
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/test-api.sh"));
    script
        .arg(base)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);

    Ok(Process::start(script, Lifetime::OfItsThread)?)
}

fn finish_demo(mut demo: Process, log: &PathBuf) -> Result<()> {
    let ended = demo.wait_for(DEMO_LIMIT)?;
    let printed = std::fs::read_to_string(log)?;
    match ended {
        Some(ended) if ended.status.success() => {
            println!("{printed}");
            Ok(())
        }
        Some(ended) => Err(EndToEndError::Demo(
            format!("ended with {}", ended.status),
            printed,
        )),
        None => Err(EndToEndError::Demo(
            format!("did not end within {} s", DEMO_LIMIT.as_secs()),
            printed,
        )),
    }
}

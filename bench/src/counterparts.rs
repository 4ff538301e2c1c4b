//! The real counterparts of the platform: Apache Kafka, MariaDB, DynamoDB Local; Chromium for the browser test, and k6
//! for the load test.
//!
//! Their files are [fetched](provision) once into the [cache](Cache): jars from Maven Central, Go
//! modules, and packages from Debian. If the harness does not run as root, an error names the
//! missing packages instead. Each server then runs as a [`Server`] on 127.0.0.1, on a port that was
//! free, with its data in a folder of its own, until its value is dropped.
//!
//! `bench counterparts up` leaves them running between commands; the module `detached` stores their
//! addresses.

mod cache;
mod debian;
mod detached;
pub mod dynamodb;
mod k6;
pub mod kafka;
pub mod mariadb;
mod maven;
mod server;

use std::path::Path;

use clap::ValueEnum;

pub use cache::Cache;
pub use debian::{
    BROWSER, DATABASE, JAVA, PROXIES, PYTHON, Package, VALGRIND, find, is_root, provision,
    run as run_silently, tail,
};
pub use detached::Args;
pub use k6::k6;
pub use kafka::Broker;
pub use maven::jars;
pub use server::{Launch, Server, free_ports};

use crate::process::Lifetime;

/// The reason why a counterpart is not available.
#[derive(Debug, thiserror::Error)]
pub enum CounterpartError {
    /// A program that the machine lacks and that may not be installed here.
    #[error("missing: {missing}; get it with `{remedy}`")]
    Missing {
        /// The commands that were not found.
        missing: String,
        /// The command that installs it.
        remedy: String,
    },
    /// A program ended with an error.
    #[error("{what} failed ({status}); the end of its output:\n{printed}")]
    Failed {
        /// The operation.
        what: String,
        /// The program's exit status.
        status: std::process::ExitStatus,
        /// Its last lines.
        printed: String,
    },
    /// The server ended, or did not answer in time.
    #[error("{name} did not become ready: {reason}; its log is {log}; the end of it:\n{printed}")]
    NotReady {
        /// The counterpart's name.
        name: &'static str,
        /// The end of the server, or the time without an answer.
        reason: String,
        /// The path of its log.
        log: String,
        /// The last lines of the log.
        printed: String,
    },
    /// A fetched file has another digest than expected.
    #[error(
        "{name}: the jars that were fetched have the digest {found} in place of {expected} and are not used: if a version was changed on purpose, write its digest beside it"
    )]
    Unexpected {
        /// The counterpart's name.
        name: String,
        /// The expected digest.
        expected: String,
        /// The digest of the fetched file.
        found: String,
    },
    /// A file or a process could not be used.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// A result that fails with [`CounterpartError`].
pub type Result<T> = std::result::Result<T, CounterpartError>;

/// A server that the platform uses in production, or its replacement in tests.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Counterpart {
    /// Apache Kafka.
    Kafka,
    /// MariaDB.
    Mariadb,
    /// DynamoDB Local.
    Dynamodb,
}

impl Counterpart {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kafka, Self::Mariadb, Self::Dynamodb];

    /// Returns the variable that gives tests its address.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Kafka => "TIDEMARK_TEST_BROKERS",
            Self::Mariadb => "TIDEMARK_TEST_MYSQL",
            Self::Dynamodb => "TIDEMARK_TEST_DYNAMODB",
        }
    }

    /// Returns the setting of the platform for its address.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Kafka => "--brokers",
            Self::Mariadb => "--mysql",
            Self::Dynamodb => "--dynamodb",
        }
    }

    fn launch(self, cache: &Cache, data: &Path) -> Result<Launch> {
        match self {
            Self::Kafka => kafka::launch(cache, &data.join("kafka")),
            Self::Mariadb => mariadb::launch(&data.join("mariadb")),
            Self::Dynamodb => dynamodb::launch(cache, &data.join("dynamodb")),
        }
    }
}

/// Several servers, started together; they end when this value is dropped.
pub struct Counterparts {
    /// The servers.
    pub servers: Vec<(Counterpart, Server)>,
}

impl Counterparts {
    /// Fetches missing files and starts the servers, each in a folder below `data`.
    ///
    /// # Errors
    /// [`CounterpartError`] of the first that is not available.
    pub fn start(
        which: &[Counterpart],
        cache: &Cache,
        data: &Path,
        lifetime: Lifetime,
    ) -> Result<Self> {
        // Everything is fetched before anything starts, so that start times do not include
        // downloads.
        let launches = which
            .iter()
            .map(|counterpart| counterpart.launch(cache, data))
            .collect::<Result<Vec<_>>>()?;

        let spawn = |(which, launch): (&Counterpart, Launch)| {
            Ok((*which, Server::spawn(launch, lifetime)?))
        };

        let mut servers = which
            .iter()
            .zip(launches)
            .map(spawn)
            .collect::<Result<Vec<_>>>()?;

        servers
            .iter_mut()
            .try_for_each(|(_, server)| server.wait_until_ready())?;

        Ok(Self { servers })
    }

    /// Returns the server, if it is one of these.
    pub fn server(&mut self, wanted: Counterpart) -> Option<&mut Server> {
        self.servers
            .iter_mut()
            .find(|(which, _)| *which == wanted)
            .map(|(_, server)| server)
    }

    /// Returns the variables with which tests find the servers.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.servers
            .iter()
            .map(|(which, server)| (which.variable(), server.address()))
    }

    /// Returns the arguments with which the platform finds the servers.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.servers
            .iter()
            .flat_map(|(which, server)| [which.flag(), server.address()])
    }
}

/// Fetches and installs everything that the servers need, and starts nothing.
///
/// # Errors
/// [`CounterpartError`] of the first that is not available.
pub fn provision_all(cache: &Cache, which: &[Counterpart]) -> Result<()> {
    let scratch = cache.scratch("provision")?;
    if which.contains(&Counterpart::Kafka) {
        kafka::versions::all(cache)?;
    }
    which
        .iter()
        .try_for_each(|counterpart| counterpart.launch(cache, scratch.path()).map(drop))
}

/// Returns a function that adds the failed operation to an I/O error.
fn io_error(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> CounterpartError {
    let what = what.into();
    move |source| CounterpartError::Io { what, source }
}

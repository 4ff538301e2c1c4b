//! The real counterparts of the platform: Apache Kafka, MariaDB, DynamoDB Local, and Chromium for the browser test.
//!
//! What they need is [fetched](provision) once into the [cache](Cache): jars from Maven Central, packages from Debian
//! (installed when the harness runs as root, named when it does not). Each then runs as a [`Server`] on 127.0.0.1, on a
//! port that was free, with its data in a folder of its own, until its value is dropped.
//!
//! `bench counterparts up` leaves them running between commands; [`standing`] remembers where.

mod cache;
mod debian;
pub mod dynamodb;
pub mod kafka;
pub mod mariadb;
mod maven;
mod server;
mod standing;

use std::path::Path;

pub use cache::Cache;
pub use debian::{BROWSER, DATABASE, JAVA, Package, provision};
pub use server::{Launch, Server};
pub use standing::Args;

use crate::process::Lifetime;

/// Why a counterpart is not there.
#[derive(Debug, thiserror::Error)]
pub enum CounterpartError {
    /// A program that the machine lacks and that may not be installed here.
    #[error("missing: {missing}; get it with `{remedy}`")]
    Missing {
        /// The commands that were not found.
        missing: String,
        /// What to type.
        remedy: String,
    },
    /// A program was run and said no.
    #[error("{what} failed ({status}); the end of what it said:\n{said}")]
    Failed {
        /// What was tried.
        what: String,
        /// How the program ended.
        status: std::process::ExitStatus,
        /// Its last lines.
        said: String,
    },
    /// The server ended, or did not answer in time.
    #[error("{name} did not become ready: {reason}; its log is {log}; the end of it:\n{said}")]
    NotReady {
        /// The counterpart.
        name: &'static str,
        /// What was seen instead.
        reason: String,
        /// Where it logs to.
        log: String,
        /// The last lines of the log.
        said: String,
    },
    /// A file or a process was refused by the system.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// The result of what may lack a counterpart.
pub type Result<T> = std::result::Result<T, CounterpartError>;

/// One of each server, started together.
pub struct Counterparts {
    /// Apache Kafka.
    pub kafka: Server,
    /// MariaDB.
    pub mariadb: Server,
    /// DynamoDB Local.
    pub dynamodb: Server,
}

impl Counterparts {
    /// Fetches what is missing and starts all three in folders below `data`.
    ///
    /// # Errors
    /// [`CounterpartError`]: the first that could not be had.
    pub fn start(cache: &Cache, data: &Path, lifetime: Lifetime) -> Result<Self> {
        let kafka = kafka::launch(cache, &data.join("kafka"))?;
        let mariadb = mariadb::launch(&data.join("mariadb"))?;
        let dynamodb = dynamodb::launch(cache, &data.join("dynamodb"))?;
        let mut all = Self {
            kafka: Server::spawn(kafka, lifetime)?,
            mariadb: Server::spawn(mariadb, lifetime)?,
            dynamodb: Server::spawn(dynamodb, lifetime)?,
        };
        for server in [&mut all.kafka, &mut all.mariadb, &mut all.dynamodb] {
            server.wait_until_ready()?;
        }
        Ok(all)
    }

    /// The variables by which tests and the platform find the counterparts.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("TIDEMARK_TEST_BROKERS", self.kafka.address().to_owned()),
            ("TIDEMARK_TEST_MYSQL", self.mariadb.address().to_owned()),
            ("TIDEMARK_TEST_DYNAMODB", self.dynamodb.address().to_owned()),
        ]
    }
}

/// Turns an I/O error into one that says what was tried.
fn io_error(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> CounterpartError {
    let what = what.into();
    move |source| CounterpartError::Io { what, source }
}

//! Several processes as one job: how they find each other, begin an attempt together, and end it together.
//!
//! ```text
//! process 0                                   processes 1, 2, …
//!     │◀─────────── card: who I am, on which terms ───────────│
//!     │  claims the attempt                                   │
//!     │──────────── claimed: its number ─────────────────────▶│
//!     │  each opens its own sink slots: that fences           │
//!     │◀─────────── fenced ───────────────────────────────────│
//!     │  recovers, publishes the checkpoint as the attempt's  │
//!     │──────────── begin: from that checkpoint ─────────────▶│
//!     └──────────── links between all, for timely ────────────┘
//! ```
//!
//! 1. Everyone listens at its own address; processes but the first call process 0, for as long as it takes.
//! 2. The order of a start is that of [`recover`](crate::checkpoint::recover): all slots of all processes are open before
//!    the checkpoint is read. A process that was only asleep meanwhile finds its line to process 0 cut.
//! 3. Links carry the attempt's number, so none is ever made between two attempts.
//! 4. A process that goes away without having finished ends the attempt in all others, at once: they exit, each with
//!    [`EXIT_START_AGAIN`], and are started again by their supervisors.
//!
//! What it leaves to others: the network must let only the job's own machines reach these addresses, for the links are
//! neither encrypted nor authenticated.

mod line;
pub mod mesh;
pub mod rendezvous;

use std::net::{TcpListener, ToSocketAddrs};

use serde::{Deserialize, Serialize};

use crate::checkpoint::manifest::Fingerprint;
use crate::settings::Guarantee;

/// The exit code of a process whose attempt is over, but not the job: `EX_TEMPFAIL` of BSD's sysexits.
pub const EXIT_START_AGAIN: u8 = 75;

/// Which processes run the job.
#[derive(Clone, Debug, clap::Args)]
pub struct Membership {
    /// Processes that run the job together
    #[arg(long, env = "TIDEMARK_PROCESSES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub processes: u16,

    /// Which of them this is, counted from 0
    #[arg(long, env = "TIDEMARK_PROCESS", default_value_t = 0)]
    pub process: u16,

    /// Address of each process, host:port, comma separated and in order; by default ports from 5110 of this machine
    #[arg(long, env = "TIDEMARK_HOSTS", value_delimiter = ',', value_name = "HOST:PORT")]
    pub hosts: Vec<String>,
}

/// The processes of a job, as one of them sees them.
pub struct Members {
    /// Which one this is.
    pub process: u16,
    /// Where each listens.
    pub hosts: Vec<String>,
    listener: TcpListener,
}

/// Where processes listen by default.
const FIRST_PORT: u16 = 5110;

/// Why processes cannot run a job together.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The flags do not fit each other.
    #[error("{0}")]
    Membership(String),
    /// This process cannot listen at its address.
    #[error("process {process} cannot listen at {address}: {source}")]
    Listen {
        /// This process.
        process: u16,
        /// Its address.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Process 0 does not want this one.
    #[error("process 0 does not take this process: {0}")]
    Refused(String),
    /// A process does not answer, or does not answer as agreed.
    #[error("process {process} cannot be talked to: {source}")]
    Line {
        /// The other process.
        process: u16,
        /// What is wrong.
        source: std::io::Error,
    },
    /// A process went away in the middle of the attempt.
    #[error("process {0} went away: the attempt ends in all processes")]
    Lost(u16),
    /// The topic has more partitions than the attempt knows.
    #[error("partitions were added: all processes start again to take them in")]
    PartitionsAdded,
}

/// What all processes of a job must agree on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// The version of the program.
    pub version: String,
    /// The job.
    pub job: String,
    /// How many processes.
    pub processes: usize,
    /// Workers of each.
    pub workers: u16,
    /// What must not change under a checkpoint.
    pub fingerprint: Fingerprint,
    /// How far out of order events may be.
    pub disorder_ms: u64,
    /// How long windows are corrected.
    pub allowed_lateness_ms: u64,
    /// How far events are believed to lie in the future.
    pub max_future_skew_ms: u64,
    /// What is promised of results.
    pub guarantee: Guarantee,
    /// Whether the job ends.
    pub until_end: bool,
}

impl Membership {
    /// Listens at this process's address; none when the job has one process only.
    ///
    /// # Errors
    /// [`ClusterError::Membership`], [`ClusterError::Listen`].
    pub fn join(mut self) -> Result<Option<Members>, ClusterError> {
        let refuse = |reason: String| Err(ClusterError::Membership(reason));
        if self.process >= self.processes {
            return refuse(format!(
                "there is no process {} among {}: they are counted from 0",
                self.process, self.processes
            ));
        }
        if self.processes == 1 {
            return Ok(None);
        }
        if self.hosts.is_empty() {
            self.hosts = (0..self.processes).map(|process| format!("127.0.0.1:{}", FIRST_PORT + process)).collect();
        }
        if self.hosts.len() != usize::from(self.processes) {
            return refuse(format!("{} addresses are given for {} processes", self.hosts.len(), self.processes));
        }
        let address = self.hosts[usize::from(self.process)].clone();
        let listen = |address: &String| TcpListener::bind(address.to_socket_addrs()?.collect::<Vec<_>>().as_slice());
        let listener = listen(&address);
        let listener = listener.map_err(|source| ClusterError::Listen { process: self.process, address, source })?;
        Ok(Some(Members::new(self.process, self.hosts, listener)))
    }
}

impl Members {
    /// Process `process` of those at `hosts`, with the listener that is bound to its address.
    pub fn new(process: u16, hosts: Vec<String>, listener: TcpListener) -> Self {
        Self { process, hosts, listener }
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.hosts.len()
    }
}

impl ClusterError {
    /// Starting again may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Line { .. } | Self::Lost(_) | Self::PartitionsAdded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(processes: u16, process: u16, hosts: &[&str]) -> Membership {
        Membership { processes, process, hosts: hosts.iter().map(|host| (*host).to_owned()).collect() }
    }

    #[test]
    fn one_process_alone_needs_no_address() {
        assert!(membership(1, 0, &[]).join().unwrap().is_none());
    }

    #[test]
    fn flags_that_do_not_fit_each_other_are_refused_in_words() {
        let error = |membership: Membership| membership.join().err().unwrap().to_string();
        assert_eq!(error(membership(2, 2, &[])), "there is no process 2 among 2: they are counted from 0");
        assert_eq!(error(membership(3, 0, &["a:1", "b:1"])), "2 addresses are given for 3 processes");
        let unknown = error(membership(2, 1, &["127.0.0.1:0", "no-such-host.invalid:1"]));
        assert!(unknown.starts_with("process 1 cannot listen at no-such-host.invalid:1: "), "{unknown}");
    }

    #[test]
    fn a_taken_address_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = membership(2, 0, &[&address, "127.0.0.1:1"]).join().err().unwrap().to_string();
        assert!(error.starts_with(&format!("process 0 cannot listen at {address}: ")), "{error}");
    }
}

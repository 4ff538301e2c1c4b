//! Several processes that run one job: they find each other, begin an attempt together, and end it
//! together.
//!
//! ```text
//! process 0                                   processes 1, 2, …
//!     │◀─────────── card: its number and its terms ───────────│
//!     │  claims the attempt                                   │
//!     │──────────── claimed: its number ─────────────────────▶│
//!     │  each opens its own publishers: that fences           │
//!     │◀─────────── fenced ───────────────────────────────────│
//!     │──────────── read: your share of a checkpoint ────────▶│  until one is whole
//!     │◀─────────── has read: whole or damaged ───────────────│
//!     │  publishes that checkpoint as the attempt's own       │
//!     │──────────── begin: from that checkpoint ─────────────▶│
//!     └──────────── links between all, for timely ────────────┘
//! ```
//!
//! 1. Each process listens at its own address. All but process 0 connect to process 0, and retry
//!    without limit.
//! 2. The order of a start is that of [`recover`](crate::checkpoint::recover): all publishers of
//!    all processes are open before the checkpoint is read. A process that was only suspended in
//!    the meantime finds its line to process 0 closed.
//! 3. Each process reads its [share](crate::checkpoint::share) of the checkpoint's parts. Process 0
//!    alone decides: a checkpoint in which any process finds damage is passed over by all, and all
//!    begin from the checkpoint that process 0 publishes. A process that cannot read its share for
//!    another reason ends the attempt.
//! 4. Links carry the attempt's number, so no link ever connects two attempts.
//! 5. A process that goes away before it has finished ends the attempt in all others at once. They
//!    exit with [`EXIT_START_AGAIN`], and their supervisors start them again. A process that hangs
//!    counts as gone when process 0 has received nothing from it for the silence limit, or it has
//!    received nothing from process 0.
//! 6. Both sides of a connection prove that they have the job's [`secret`] before any other message
//!    is read. Without a secret, processes on other machines are neither called nor answered,
//!    unless open links are allowed.
//!
//! Left to others: links are not encrypted. The network between the machines must protect
//! their traffic from being read or changed.

mod line;
pub mod mesh;
mod pulse;
pub mod rendezvous;
pub mod secret;

use std::net::{TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::checkpoint::manifest::Fingerprint;
pub use crate::error::ClusterError;
use crate::flow::Slots;
use crate::settings::Guarantee;
use secret::{Secret, SecretError, Trust};

/// The exit code of a process whose attempt is over while the job is not: `EX_TEMPFAIL` of BSD's
/// sysexits.
pub const EXIT_START_AGAIN: u8 = 75;

/// The processes that run a job, and the number of this one.
///
/// ```
/// use stream::Membership;
///
/// let alone = Membership::default().join()?;
/// assert!(alone.is_none(), "one process needs no others");
///
/// let third_of_two = Membership { processes: 2, process: 2, ..Membership::default() };
/// assert!(third_of_two.join().is_err());
/// # Ok::<(), stream::ClusterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Membership {
    /// Number of processes that run the job together
    pub processes: u16,

    /// Number of this process, counted from 0
    pub process: u16,

    /// Address of each process, host:port, comma separated and in order; by default ports from 5110
    /// of this machine
    pub hosts: Vec<String>,

    /// How long a process may show no sign of life before the attempt ends in all others and its
    /// supervisor kills it
    pub silence_limit: Duration,

    /// How long process 0 waits at its start for the others to join, and the others for an open port of process 0, before
    /// they and their supervisors end with an error; without it they wait for ever
    pub join_limit: Option<Duration>,

    /// Secret of at least 32 bytes with which the processes authenticate each other, the same for
    /// all of them
    pub cluster_secret: Option<Secret>,

    /// File that holds the secret
    pub cluster_secret_file: Option<PathBuf>,

    /// Run with processes on other machines without a secret: anyone who reaches the addresses can
    /// join the job and end it
    pub allow_open_links: bool,
}

/// The processes of a job, from the view of one of them.
pub struct Members {
    /// The number of this process.
    pub(crate) process: u16,
    /// The address of each process.
    pub(crate) hosts: Vec<String>,
    /// The time without a message after which a process counts as gone.
    #[doc(hidden)]
    pub silence_limit: Duration,
    /// The time limit for all processes to join; none if there is no limit.
    #[doc(hidden)]
    pub join_limit: Option<Duration>,
    /// The means by which this process authenticates the others.
    #[doc(hidden)]
    pub trust: Arc<Trust>,
    listener: TcpListener,
}

/// The most processes of a job.
const MAX_PROCESSES: u16 = 1024;
/// The default port of process 0; the others use the ports after it.
const FIRST_PORT: u16 = 5110;
/// The least silence limit: a process that is only busy may be silent for a good part of a second.
const LEAST_SILENCE: Duration = Duration::from_secs(1);
/// The least join limit: a supervisor waits up to ten seconds before it starts a process again.
const LEAST_JOIN: Duration = Duration::from_secs(15);

/// The terms on which all processes of a job must agree.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// The version of the program.
    pub version: String,
    /// The job.
    pub job: String,
    /// The number of processes.
    pub processes: usize,
    /// The number of workers of each process.
    pub workers: u16,
    /// The settings that must not change under a checkpoint.
    pub fingerprint: Fingerprint,
    /// The slots by which keys are distributed over workers.
    pub slots: Slots,
    /// The disorder up to which events are on time, in milliseconds.
    pub disorder_ms: u64,
    /// The allowed lateness, in milliseconds.
    pub allowed_lateness_ms: u64,
    /// The limit by which an event's time may be in the future, in milliseconds.
    pub max_future_skew_ms: u64,
    /// The delivery guarantee for results.
    pub guarantee: Guarantee,
    /// True if the job ends at the ends of the partitions.
    pub until_end: bool,
    /// The silence limit, in milliseconds.
    pub silence_limit_ms: u64,
}

impl Default for Membership {
    /// Returns one process alone.
    fn default() -> Self {
        Self {
            processes: 1,
            process: 0,
            hosts: Vec::new(),
            silence_limit: Duration::from_secs(10),
            join_limit: None,
            cluster_secret: None,
            cluster_secret_file: None,
            allow_open_links: false,
        }
    }
}

impl Membership {
    /// Checks the values and listens at this process's address. Returns none if the job has only one
    /// process.
    ///
    /// # Errors
    /// [`ClusterError::Membership`], [`ClusterError::Listen`].
    pub fn join(mut self) -> Result<Option<Members>, ClusterError> {
        self.check_numbers()?;
        if self.processes == 1 {
            return Ok(None);
        }

        let trust = self.trust();
        let trust = trust.map_err(|error| {
            ClusterError::Membership(format!(
                "the --cluster-secret (TIDEMARK_CLUSTER_SECRET) cannot be used: {error}"
            ))
        })?;

        self.complete_hosts()?;
        let address = &self.hosts[usize::from(self.process)];
        let listener = self.listen(address, &trust)?;

        let members = Members::new(self.process, self.hosts, listener);
        Ok(Some(Members {
            trust: Arc::new(trust),
            silence_limit: self.silence_limit,
            join_limit: self.join_limit,
            ..members
        }))
    }

    /// Checks the number of processes, this process's number and the limits.
    fn check_numbers(&self) -> Result<(), ClusterError> {
        let refuse = |reason: String| Err(ClusterError::Membership(reason));
        if !(1..=MAX_PROCESSES).contains(&self.processes) {
            return refuse(format!(
                "a job has between 1 and {MAX_PROCESSES} processes, not {}",
                self.processes
            ));
        }

        if self.process >= self.processes {
            return refuse(format!(
                "there is no process {} among {}: they are counted from 0",
                self.process, self.processes
            ));
        }

        if self.silence_limit < LEAST_SILENCE {
            return refuse(format!(
                "the --silence-limit must be at least {LEAST_SILENCE:?}"
            ));
        }

        if let Some(limit) = self.join_limit.filter(|limit| *limit < LEAST_JOIN) {
            return refuse(format!(
                "the --join-limit must be at least {LEAST_JOIN:?}, not {limit:?}"
            ));
        }

        Ok(())
    }

    /// Checks that each process has an address. Without any address, all processes are on this
    /// machine.
    fn complete_hosts(&mut self) -> Result<(), ClusterError> {
        if self.hosts.is_empty() {
            self.hosts = (0..self.processes)
                .map(|process| format!("127.0.0.1:{}", FIRST_PORT + process))
                .collect();
        }

        if self.hosts.len() != usize::from(self.processes) {
            return Err(ClusterError::Membership(format!(
                "{} addresses are given for {} processes",
                self.hosts.len(),
                self.processes
            )));
        }

        Ok(())
    }

    /// Listens at an address that the secret protects, or that this machine alone reaches.
    fn listen(&self, address: &str, trust: &Trust) -> Result<TcpListener, ClusterError> {
        let refuse = |source| ClusterError::Listen {
            process: self.process,
            address: address.to_owned(),
            source,
        };

        let resolved = address.to_socket_addrs().map_err(refuse)?;
        let resolved: Vec<_> = resolved.collect();
        let listener = TcpListener::bind(&*resolved).map_err(refuse)?;

        let bound = listener.local_addr().map_err(refuse)?;
        if !trust.reaches(bound.ip()) {
            let reason = beyond_reach(self.process, address);
            return Err(ClusterError::Membership(reason));
        }

        Ok(listener)
    }

    fn trust(&self) -> Result<Trust, SecretError> {
        let from_file = self
            .cluster_secret_file
            .as_deref()
            .map(Secret::read)
            .transpose()?;

        match self.cluster_secret.as_ref().or(from_file.as_ref()) {
            Some(secret) => Trust::by(secret),
            None if self.allow_open_links => Ok(Trust::anybody()),
            None => Ok(Trust::this_machine()),
        }
    }
}

/// Returns the message for an address that cannot be used without a secret.
fn beyond_reach(process: u16, address: &str) -> String {
    format!(
        "the address of process {process}, {address}, is beyond this machine: give all processes the same \
         TIDEMARK_CLUSTER_SECRET, or set --allow-open-links"
    )
}

impl Members {
    /// Creates process `process` of those at `hosts`, all on this machine, with the listener bound
    /// to its address.
    #[doc(hidden)]
    pub fn new(process: u16, hosts: Vec<String>, listener: TcpListener) -> Self {
        let trust = Arc::new(Trust::this_machine());
        Self {
            process,
            hosts,
            silence_limit: Duration::from_secs(10),
            join_limit: None,
            trust,
            listener,
        }
    }

    /// Returns the number of processes.
    pub fn processes(&self) -> usize {
        self.hosts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(processes: u16, process: u16, hosts: &[&str]) -> Membership {
        Membership {
            processes,
            process,
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Membership::default()
        }
    }

    #[test]
    fn one_process_alone_needs_no_address() {
        assert!(membership(1, 0, &[]).join().unwrap().is_none());
    }

    #[test]
    fn flags_that_do_not_fit_each_other_are_refused_in_words() {
        let error = |membership: Membership| membership.join().err().unwrap().to_string();
        assert_eq!(
            error(membership(2, 2, &[])),
            "there is no process 2 among 2: they are counted from 0"
        );

        for impossible in [0, 1025] {
            let refused = error(membership(impossible, 0, &[]));
            assert!(
                refused.ends_with(&format!("processes, not {impossible}")),
                "{refused}"
            );
        }

        assert_eq!(
            error(membership(3, 0, &["a:1", "b:1"])),
            "2 addresses are given for 3 processes"
        );

        let hasty = Membership {
            silence_limit: Duration::from_millis(999),
            ..membership(1, 0, &[])
        };
        assert_eq!(error(hasty), "the --silence-limit must be at least 1s");

        let impatient = Membership {
            join_limit: Some(Duration::from_secs(14)),
            ..membership(1, 0, &[])
        };
        assert_eq!(
            error(impatient),
            "the --join-limit must be at least 15s, not 14s"
        );

        let unknown = error(membership(2, 1, &["127.0.0.1:0", "no-such-host.invalid:1"]));
        assert!(
            unknown.starts_with("process 1 cannot listen at no-such-host.invalid:1: "),
            "{unknown}"
        );
    }

    #[test]
    fn processes_on_several_machines_need_a_secret_or_a_flag() {
        let wide = || membership(2, 0, &["0.0.0.0:0", "127.0.0.1:1"]);
        let refused = wide().join().err().unwrap().to_string();
        assert!(
            refused.contains("TIDEMARK_CLUSTER_SECRET") && refused.contains("0.0.0.0:0"),
            "{refused}"
        );

        assert!(
            Membership {
                allow_open_links: true,
                ..wide()
            }
            .join()
            .is_ok()
        );

        let secret = |text: &str| Membership {
            cluster_secret: Some(text.into()),
            ..wide()
        };
        assert!(secret("0123456789abcdef0123456789abcdef").join().is_ok());

        let short = secret("guess me").join().err().unwrap().to_string();
        assert!(
            short.contains("32 bytes") && !short.contains("guess"),
            "{short}"
        );

        let file = Membership {
            cluster_secret_file: Some("/nowhere/secret".into()),
            ..wide()
        };

        assert!(
            file.join()
                .err()
                .unwrap()
                .to_string()
                .contains("TIDEMARK_CLUSTER_SECRET")
        );
    }

    #[test]
    fn a_taken_address_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = membership(2, 0, &[&address, "127.0.0.1:1"])
            .join()
            .err()
            .unwrap()
            .to_string();

        assert!(
            error.starts_with(&format!("process 0 cannot listen at {address}: ")),
            "{error}"
        );
    }
}

//! The processes that run a job together, as flags and environment variables.

use std::path::PathBuf;
use std::time::Duration;

use stream::{Membership, Secret};

/// The processes that run a job: [`Membership`] as flags and environment variables.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct MembershipFlags {
    /// Number of processes that run the job together
    #[arg(long, env = "TIDEMARK_PROCESSES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub processes: u16,

    /// Number of this process, counted from 0
    #[arg(long, env = "TIDEMARK_PROCESS", default_value_t = 0)]
    pub process: u16,

    /// Address of each process, host:port, comma separated and in order; by default ports from 5110
    /// of this machine
    #[arg(
        long,
        env = "TIDEMARK_HOSTS",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub hosts: Vec<String>,

    /// How long a process may show no sign of life before the attempt ends in all others and its
    /// supervisor kills it
    #[arg(long, env = "TIDEMARK_SILENCE_LIMIT", default_value = "10s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub silence_limit: Duration,

    /// How long process 0 waits at its start for the others to join, and the others for an open port of process 0, before
    /// they and their supervisors end with an error; without it they wait for ever
    #[arg(long, env = "TIDEMARK_JOIN_LIMIT", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub join_limit: Option<Duration>,

    /// Secret of at least 32 bytes with which the processes authenticate each other, the same for
    /// all of them
    #[arg(
        long,
        env = "TIDEMARK_CLUSTER_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub cluster_secret: Option<Secret>,

    /// File that holds the secret
    #[arg(
        long,
        env = "TIDEMARK_CLUSTER_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "cluster_secret"
    )]
    pub cluster_secret_file: Option<PathBuf>,

    /// Run with processes on other machines without a secret: anyone who reaches the addresses can
    /// join the job and end it
    #[arg(long, env = "TIDEMARK_ALLOW_OPEN_LINKS")]
    pub allow_open_links: bool,
}

impl From<MembershipFlags> for Membership {
    fn from(flags: MembershipFlags) -> Self {
        Self {
            processes: flags.processes,
            process: flags.process,
            hosts: flags.hosts,
            silence_limit: flags.silence_limit,
            join_limit: flags.join_limit,
            cluster_secret: flags.cluster_secret,
            cluster_secret_file: flags.cluster_secret_file,
            allow_open_links: flags.allow_open_links,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        members: MembershipFlags,
    }

    fn parsed(arguments: &[&str]) -> Membership {
        let line = Line::parse_from(["job"].iter().chain(arguments));
        line.members.into()
    }

    #[test]
    fn without_flags_a_process_is_alone_as_in_the_engine() {
        let shown = |membership: &Membership| format!("{membership:?}");
        assert_eq!(shown(&parsed(&[])), shown(&Membership::default()));
    }

    #[test]
    fn each_flag_sets_its_own_value() {
        let members = parsed(&[
            "--processes",
            "3",
            "--process",
            "2",
            "--hosts",
            "a:1,b:2,c:3",
            "--silence-limit",
            "7s",
            "--join-limit",
            "8s",
            "--cluster-secret-file",
            "/run/secret",
            "--allow-open-links",
        ]);

        assert_eq!((members.processes, members.process), (3, 2));
        assert_eq!(members.hosts, ["a:1", "b:2", "c:3"]);
        assert_eq!(members.silence_limit, Duration::from_secs(7));
        assert_eq!(members.join_limit, Some(Duration::from_secs(8)));
        assert_eq!(members.cluster_secret_file, Some("/run/secret".into()));
        assert!(members.allow_open_links && members.cluster_secret.is_none());

        let secret = parsed(&["--cluster-secret", "0123456789abcdef0123456789abcdef"]);
        assert!(secret.cluster_secret.is_some());
    }
}

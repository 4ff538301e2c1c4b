//! The failures of a job program's commands, and their exit codes.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use record_log::LogError;
use stream::{ClusterError, EXIT_START_AGAIN, InspectError, JobError, StoreError};

use crate::submit::PlanError;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The system refused a thread, a signal handler or a process.
    #[error("{what}: {source}")]
    System {
        /// The step that failed.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The status cannot be served.
    #[error(
        "cannot serve the job's status on {address}: {source}; --status-address names another address, or off"
    )]
    Status {
        /// The address to listen on.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The record log cannot be opened or written to.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The job cannot begin.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The job began, and ended with an error.
    #[error("the job ended: {0}")]
    Ended(#[source] JobError),
    /// The processes cannot run the job together.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The store of the checkpoints cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoints cannot be listed, shown, verified, pruned, copied or read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Any other reason, such as one of a command of the job's own.
    #[error(transparent)]
    Other(#[from] Box<dyn Error + Send + Sync>),
}

/// The exit code if the reader of the output has gone, as in `checkpoints list | head -1`: that of a program that
/// SIGPIPE ends.
pub const EXIT_PIPE: u8 = 128 + 13;

/// The exit code if a request to stop ended a plan: that of a program that SIGINT ends.
const EXIT_INTERRUPTED: u8 = 128 + 2;

fn is_interruption(error: &(dyn Error + 'static)) -> bool {
    let plan = error.downcast_ref::<PlanError>();
    plan.is_some_and(PlanError::is_interruption)
}

impl CommandError {
    /// Returns whether the reader of the output has gone. That is no fault, and is not reported.
    pub(crate) fn is_of_reader(&self) -> bool {
        match self {
            Self::System { source, .. } | Self::Inspect(InspectError::Output(source)) => {
                source.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }

    /// Returns the exit code: [`EXIT_START_AGAIN`] if a supervisor should start the process again, 130 if Ctrl-C ended a
    /// `submit`, `cancel`, `rescale`, `upgrade` or `savepoint`, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Job(error) | Self::Ended(error) if error.is_for_a_new_start() => EXIT_START_AGAIN,
            Self::Other(error) if is_interruption(error.as_ref()) => EXIT_INTERRUPTED,
            _ => 1,
        }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }

    /// Returns the error and its causes on one line. Many messages contain their cause already, so
    /// each text appears once.
    pub fn on_one_line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();

        while let Some(error) = cause {
            let text = error.to_string();
            if !line.contains(&text) {
                line = format!("{line}: {text}");
            }
            cause = error.source();
        }

        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_job_that_a_new_start_can_mend_is_started_again() {
        let passing = || JobError::Worker("worker 1 panicked".to_owned());
        let lasting = || JobError::Settings("no topic".to_owned());
        let code = |error: CommandError| error.exit_code();

        assert_eq!(code(CommandError::Ended(passing())), EXIT_START_AGAIN);
        assert_eq!(code(CommandError::Job(passing())), EXIT_START_AGAIN);
        assert_eq!(code(CommandError::Ended(lasting())), 1);
        assert_eq!(code(CommandError::Job(lasting())), 1);
        assert_eq!(code(CommandError::Cluster(ClusterError::Lost(1))), 1);
    }

    #[test]
    fn a_cause_that_the_message_contains_is_not_repeated() {
        let refused = || io::Error::other("refused");
        let system = CommandError::system("cannot listen for signals")(refused());
        assert_eq!(system.on_one_line(), "cannot listen for signals: refused");

        #[derive(Debug, thiserror::Error)]
        #[error("the broker is gone")]
        struct Gone(#[source] io::Error);
        let other = CommandError::Other(Box::new(Gone(refused())));
        assert_eq!(other.on_one_line(), "the broker is gone: refused");
    }
}

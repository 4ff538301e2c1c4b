//! Checks the rights of a publisher without publishing: a transaction is begun, topics are added to it one by one, and
//! it is aborted. Readers see none of this.

use std::sync::Arc;
use std::time::Duration;

use super::deadline::Deadline;
use super::identity::Outcome;
use super::session::Session;
use super::{Patience, Stop};
use crate::native::cluster::Cluster;
use crate::{Cause, Refusal};

/// A time limit that every broker accepts.
const SHORTEST: Duration = Duration::from_secs(1);

/// The outcome of a trial whose transactional id is accepted.
#[derive(Debug, Default)]
pub struct Trial {
    /// The topics that may not be written to, each with the reason.
    pub refused: Vec<(String, Refusal)>,
}

/// The reason why a transaction cannot be begun or ended.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The transactional id may not be used.
    #[error("{0}")]
    Denied(#[source] Refusal),
    /// The brokers do not accept the time-out of transactions in the settings.
    #[error("{0}")]
    TimeLimit(#[source] Refusal),
    /// The brokers do not answer, or give an unexpected answer.
    #[error("a transaction cannot be tried: {0}")]
    Failed(#[source] Cause),
}

/// Begins a transaction of the publisher `id`, adds the first partition of each topic, and aborts it. A publisher that
/// has the id is fenced.
pub(in crate::native) fn try_out(
    cluster: &Arc<Cluster>,
    id: &str,
    topics: &[&str],
    timeout: Duration,
) -> Result<Trial, TrialError> {
    let patience = Patience::default();
    let deadline = Deadline::after(patience.call, cluster.runtime());
    let begun = |timeout| {
        let mut session = Session::new(cluster, Some(id.to_owned()), timeout, patience);
        session.identify(&deadline).map(|()| session)
    };

    let mut session = match begun(timeout) {
        Ok(session) => session,
        // The same id is accepted with the shortest time-out, so the brokers refuse the time-out.
        Err(Stop::Refused(refusal)) if timeout > SHORTEST && begun(SHORTEST).is_ok() => {
            return Err(TrialError::TimeLimit(refusal));
        }
        Err(Stop::Refused(refusal)) => return Err(TrialError::Denied(refusal)),
        Err(stop) => return Err(failed(stop)),
    };

    let mut trial = Trial::default();
    for topic in topics {
        match session.add(&[(topic, 0)], &deadline) {
            Ok(()) => {}
            Err(Stop::Refused(refusal)) => trial.refused.push(((*topic).to_owned(), refusal)),
            Err(stop) => return Err(failed(stop)),
        }
    }

    if trial.refused.len() < topics.len() {
        session.end(Outcome::Abort, &deadline).map_err(failed)?;
    }
    Ok(trial)
}

fn failed(stop: Stop) -> TrialError {
    TrialError::Failed(match stop {
        Stop::Fenced => "another trial with the same id is running".into(),
        Stop::Refused(refusal) => Box::new(refusal),
        Stop::Failed(cause) | Stop::Unknown(cause) | Stop::ProgressLost(cause) => cause,
    })
}

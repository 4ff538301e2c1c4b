//! The errors of requests: which are transient, which are refusals, and the sentence of each refusal.

use std::time::Duration;

use super::api::{CREATE_TOPICS, Code, DESCRIBE_CONFIGS, FETCH, OFFSET_COMMIT};
use super::wire::WireError;
use crate::refusal::END_NOT_WRITTEN;
use crate::{LogError, Refusal};

impl WireError {
    /// Returns `true` if a later try may succeed: brokers restart, and leaders move.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Lost { .. }
            | Self::Silent { .. }
            | Self::Throttled { .. }
            | Self::NoLeader(_) => true,
            Self::Refused { code, .. } => code.is_passing(),
            Self::Denied { .. } | Self::Malformed { .. } | Self::Unsupported { .. } => false,
        }
    }

    /// Returns the time before which a broker refuses another try.
    pub fn throttled(&self) -> Duration {
        match self {
            Self::Throttled { throttled, .. } => *throttled,
            _ => Duration::ZERO,
        }
    }

    /// Returns the refusal behind this error, if a right, a login or a setting of the connection must change.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Denied { .. } => Some(Refusal::new(self.to_string())),
            Self::Refused {
                request,
                subject,
                code,
                ..
            } if code.is_denial() => Some(denied(request, subject, *code)),
            _ => None,
        }
    }
}

/// Converts an error. One that a retry cannot remedy never becomes [`LogError::Unavailable`], because that is retried.
pub(super) fn log_error(error: WireError) -> LogError {
    if let Some(refusal) = error.refusal() {
        LogError::Refused(refusal)
    } else if error.is_passing() {
        LogError::Unavailable(Box::new(error))
    } else {
        LogError::Settings(Box::new(error))
    }
}

/// Returns the refusal for a missing right. The subject is a topic, a group, a transactional id, or the cluster.
pub(super) fn denied(request: &str, subject: &str, code: Code) -> Refusal {
    Refusal::new(format!(
        "{} on {subject} is denied to this principal: grant it",
        right(request, code)
    ))
}

/// Returns the missing right. A client that looks for the coordinator of a group or of a transactional id needs more
/// than the right to find it, so the sentence names the right to all of its next steps.
fn right(request: &str, code: Code) -> &'static str {
    match code {
        Code::GROUP_AUTHORIZATION_FAILED => return "READ",
        Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => return "WRITE",
        _ => {}
    }

    let rights = [
        (FETCH, "READ"),
        (OFFSET_COMMIT, "READ"),
        (CREATE_TOPICS, "CREATE"),
        (DESCRIBE_CONFIGS, "DESCRIBE_CONFIGS"),
    ];
    let found = rights.iter().find(|(api, _)| api.name == request);
    found.map_or("DESCRIBE", |(_, right)| right)
}

impl Code {
    /// Returns the cause and the remedy of a transient code, for the end of a sentence; an empty text if none is
    /// needed.
    pub fn explained(self) -> String {
        let remedy = if self.is_short_of_replicas() {
            "fewer of its replicas are in sync than its min.insync.replicas: start the brokers that are away"
        } else if self == Self::CONCURRENT_TRANSACTIONS {
            END_NOT_WRITTEN
        } else {
            return String::new();
        };
        format!(": {remedy}")
    }

    /// Returns `true` if the principal lacks a right.
    pub fn is_denial(self) -> bool {
        matches!(
            self,
            Self::TOPIC_AUTHORIZATION_FAILED
                | Self::GROUP_AUTHORIZATION_FAILED
                | Self::CLUSTER_AUTHORIZATION_FAILED
                | Self::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        )
    }
}

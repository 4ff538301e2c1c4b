//! The meaning of librdkafka's error codes: which are transient, which are refusals, and the
//! sentence of each refusal.
//!
//! An unknown code counts as transient: the operation is retried, and the code is shown.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::refusal::END_NOT_WRITTEN;
use crate::{Cause, LogError, Refusal};

/// The subject of an operation, for its refusal.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    /// Reading or describing a topic, and the right that it needs.
    Topic { right: &'static str, topic: &'a str },
    /// Publishing under an id, in transactions, to topics whose names are in quotes.
    Publisher { id: &'a str, topics: &'a [String] },
    /// The positions of a group.
    Group { group: &'a str },
}

/// Returns the refusal for a code; none if the code is transient or unknown.
pub(super) fn refusal(code: Code, about: About<'_>) -> Option<Refusal> {
    denial(code, about).or_else(|| {
        let reason = reason(code)?;
        Some(Refusal::new(format!(
            "{}: {reason} ({code:?})",
            about.name()
        )))
    })
}

/// Returns the error of a log for a code. `source` is its cause if it is transient.
pub(super) fn log_error(
    code: Option<Code>,
    about: About<'_>,
    source: impl Into<Cause>,
) -> LogError {
    match code.and_then(|code| refusal(code, about)) {
        Some(refusal) => LogError::Refused(refusal),
        None => LogError::Unavailable(source.into()),
    }
}

/// Returns `true` if the brokers refuse a publisher because a newer holder of its id exists.
pub(super) fn is_fencing(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch
    )
}

/// Returns the cause of a code whose own message names none.
pub(super) fn cause(code: Code) -> Option<&'static str> {
    match code {
        Code::ConcurrentTransactions => Some(END_NOT_WRITTEN),
        Code::OperationTimedOut => Some(
            "the coordinator of the transaction or the leader of a partition of it is away, frozen or slow, or has fewer \
             replicas in sync than min.insync.replicas: start the brokers that are away",
        ),
        _ => None,
    }
}

impl About<'_> {
    fn name(self) -> String {
        match self {
            Self::Topic { topic, .. } => format!("Kafka refuses topic {topic:?}"),
            Self::Publisher { id, .. } => format!("Kafka refuses publisher {id:?}"),
            Self::Group { group } => format!("Kafka refuses group {group:?}"),
        }
    }
}

/// Returns the refusal for a missing right.
fn denial(code: Code, about: About<'_>) -> Option<Refusal> {
    let refusal = match (code, about) {
        (Code::TopicAuthorizationFailed, About::Topic { right, topic }) => {
            Refusal::denied(right, "topic", topic)
        }
        // The brokers name no topic.
        (Code::TopicAuthorizationFailed, About::Publisher { id, topics }) => {
            let topics = topics.join(" or ");
            Refusal::new(format!(
                "WRITE on topic {topics} is denied to this principal (publisher {id:?}): grant it"
            ))
        }
        (Code::TopicAuthorizationFailed, About::Group { group }) => Refusal::new(format!(
            "READ on the topic of group {group:?} is denied to this principal: grant it"
        )),
        (Code::GroupAuthorizationFailed, About::Group { group }) => {
            Refusal::denied("READ", "group", group)
        }
        (Code::TransactionalIdAuthorizationFailed, About::Publisher { id, .. }) => {
            Refusal::denied("WRITE", "transactional id", id)
        }
        (Code::ClusterAuthorizationFailed, About::Publisher { .. }) => {
            Refusal::denied("IDEMPOTENT_WRITE", "cluster", "kafka-cluster")
        }
        (Code::ClusterAuthorizationFailed, About::Topic { right, .. }) => {
            Refusal::denied(right, "cluster", "kafka-cluster")
        }
        (Code::Authentication | Code::SaslAuthenticationFailed, _) => Refusal::new(
            "Kafka does not accept this user name or password (SASL): correct sasl.username and sasl.password",
        ),
        _ => return None,
    };
    Some(refusal)
}

/// Returns the reason why a code is never transient; none if it may be.
fn reason(code: Code) -> Option<&'static str> {
    let reason = match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            "records are larger than its max.message.bytes"
        }
        Code::InvalidRecord => {
            "the broker rejects a record: a compacted topic (cleanup.policy) needs records with keys"
        }
        Code::InvalidTimestamp => {
            "a record's time is outside message.timestamp.before.max.ms and message.timestamp.after.max.ms"
        }
        Code::InvalidTopic => "its name is not valid in Kafka",
        Code::UnknownTopic | Code::UnknownPartition => {
            "it does not exist, or was deleted, and was not created within topic.metadata.propagation.max.ms: create it"
        }
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::DelegationTokenAuthorizationFailed => "a right is missing",
        Code::UnsupportedSASLMechanism => "the broker does not have this sasl.mechanism",
        Code::IllegalSASLState => "security.protocol does not fit the broker's listener",
        Code::SecurityDisabled => "the broker has no authorizer",
        Code::DelegationTokenAuthDisabled
        | Code::DelegationTokenNotFound
        | Code::DelegationTokenOwnerMismatch
        | Code::DelegationTokenRequestNotAllowed
        | Code::DelegationTokenExpired => "its delegation token cannot be used",
        Code::InvalidTransactionTimeout => {
            "transaction.timeout.ms is greater than the broker's transaction.max.timeout.ms"
        }
        Code::InvalidRequiredAcks => "the broker does not accept this value of acks",
        // A group that has members accepts positions only from these.
        Code::UnknownMemberId => "another application is a member of it: rename one of the two",
        Code::InvalidGroupId => "its name is not valid in Kafka",
        Code::PolicyViolation => {
            "a policy of the broker (create.topic.policy.class.name) forbids it"
        }
        Code::InvalidConfig => "the broker does not accept one of its settings",
        Code::InvalidPartitions => "the broker does not accept this number of partitions",
        Code::UnsupportedVersion | Code::UnsupportedForMessageFormat | Code::UnsupportedFeature => {
            "the broker is too old for it: Kafka 2.5 or newer is needed"
        }
        Code::UnsupportedCompressionType => "the broker does not accept this compression.codec",
        Code::NotImplemented | Code::InvalidArgument => "librdkafka does not accept the call",
        _ => return None,
    };
    Some(reason)
}

//! The permanent error codes that a publisher gets from brokers, and the sentence of each.

use super::Stop;
use crate::Refusal;
use crate::kafka::progress::PROGRESS_TOPIC;
use crate::native::api::Code;

/// The subject of the refused request, for its sentence.
#[derive(Clone, Copy)]
pub(super) enum About<'a> {
    Publisher { id: &'a str },
    Topic { topic: &'a str },
    Batch { topic: &'a str, named: &'a str },
}

/// Returns the reason to stop for a code.
pub(super) fn stop(code: Code, about: About<'_>, message: Option<&str>) -> Stop {
    if matches!(code, Code::INVALID_PRODUCER_EPOCH | Code::PRODUCER_FENCED) {
        return Stop::Fenced;
    }

    if let Some(refusal) = denial(code, about) {
        return Stop::Refused(refusal);
    }

    let said = message.map_or_else(String::new, |message| {
        format!(", the broker's message is {message:?}")
    });
    if is_progress_lost(code, about) {
        return progress_lost();
    }

    match reason(code) {
        Some(reason) => Stop::Refused(Refusal::new(format!(
            "{}: {reason} ({code}{said})",
            about.name()
        ))),
        None => {
            let explained = code.explained();
            Stop::Failed(format!("{}: {code}{said}{explained}", about.name()).into())
        }
    }
}

impl About<'_> {
    fn name(self) -> String {
        match self {
            Self::Publisher { id } => format!("Kafka refuses publisher {id:?}"),
            Self::Topic { topic } => format!("Kafka refuses topic {topic:?}"),
            Self::Batch { topic, named } => format!("Kafka refuses {named} of topic {topic:?}"),
        }
    }
}

/// Returns the refusal for a missing right.
fn denial(code: Code, about: About<'_>) -> Option<Refusal> {
    let refusal = match (code, about) {
        (Code::TOPIC_AUTHORIZATION_FAILED, About::Topic { topic } | About::Batch { topic, .. }) => {
            Refusal::denied("WRITE", "topic", topic)
        }
        (Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, About::Publisher { id }) => {
            Refusal::denied("WRITE", "transactional id", id)
        }
        (Code::CLUSTER_AUTHORIZATION_FAILED, _) => {
            Refusal::denied("IDEMPOTENT_WRITE", "cluster", "kafka-cluster")
        }
        _ => return None,
    };
    Some(refusal)
}

/// Returns the reason to stop if the topic of progress was deleted while a publisher was open.
pub(super) fn progress_lost() -> Stop {
    let sentence = format!(
        "topic {PROGRESS_TOPIC:?} was deleted, and the progress of publishers with it: keep this topic, with \
         cleanup.policy=compact (it is created when publishers are opened again)"
    );
    Stop::ProgressLost(sentence.into())
}

/// Returns `true` if the code means that the topic of progress was deleted.
fn is_progress_lost(code: Code, about: About<'_>) -> bool {
    let is_gone = matches!(
        code,
        Code::UNKNOWN_TOPIC_OR_PARTITION | Code::UNKNOWN_TOPIC_ID | Code::INCONSISTENT_TOPIC_ID
    );
    let is_progress = matches!(
        about,
        About::Topic { topic } | About::Batch { topic, .. } if topic == PROGRESS_TOPIC
    );
    is_gone && is_progress
}

/// Returns the reason why a code is permanent; none if another transaction may succeed.
fn reason(code: Code) -> Option<&'static str> {
    let reason = match code {
        Code::MESSAGE_TOO_LARGE | Code::RECORD_LIST_TOO_LARGE => {
            "records are larger than its max.message.bytes"
        }
        Code::INVALID_RECORD => {
            "the broker rejects a record: a compacted topic (cleanup.policy) needs records with keys"
        }
        Code::INVALID_TIMESTAMP => {
            "a record's time is outside message.timestamp.before.max.ms and message.timestamp.after.max.ms"
        }
        Code::INVALID_TOPIC_EXCEPTION => "its name is not valid in Kafka",
        Code::UNKNOWN_TOPIC_OR_PARTITION => "it does not exist, or was deleted: create it",
        Code::TOPIC_AUTHORIZATION_FAILED
        | Code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | Code::SASL_AUTHENTICATION_FAILED => "a right is missing",
        Code::UNSUPPORTED_VERSION => "the broker is too old for it: Kafka 3.7 or newer is needed",
        Code::UNSUPPORTED_COMPRESSION_TYPE => "the broker does not accept lz4",
        Code::INVALID_TXN_STATE => "its transaction differs from the coordinator's",
        Code::INVALID_TRANSACTION_TIMEOUT => {
            "transaction.timeout.ms is greater than the broker's transaction.max.timeout.ms"
        }
        Code::INVALID_REQUEST => "the broker does not accept the request",
        Code::POLICY_VIOLATION => "a policy of the broker forbids it",
        _ => return None,
    };
    Some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop_of(code: Code, topic: &str) -> Stop {
        let named = "a batch of 1 records";
        stop(code, About::Batch { topic, named }, None)
    }

    #[test]
    fn a_deleted_topic_is_refused_and_that_of_progress_ends_it() {
        for code in [
            Code::UNKNOWN_TOPIC_OR_PARTITION,
            Code::UNKNOWN_TOPIC_ID,
            Code::INCONSISTENT_TOPIC_ID,
        ] {
            let Stop::ProgressLost(cause) = stop_of(code, PROGRESS_TOPIC) else {
                panic!("{code}");
            };
            let sentence = cause.to_string();
            for named in [PROGRESS_TOPIC, "was deleted", "cleanup.policy=compact"] {
                assert!(sentence.contains(named), "{named:?} in {sentence}");
            }
        }

        let gone = stop_of(Code::UNKNOWN_TOPIC_OR_PARTITION, "rows");
        let Stop::Refused(refusal) = gone else {
            panic!("{gone:?}");
        };
        let sentence = refusal.to_string();
        assert!(sentence.contains("\"rows\": it does not exist, or was deleted: create it"));

        let moves = stop_of(Code::NOT_LEADER_OR_FOLLOWER, PROGRESS_TOPIC);
        assert!(matches!(moves, Stop::Failed(_)), "{moves:?}");
    }

    #[test]
    fn too_few_replicas_pass_and_name_the_setting() {
        for code in [
            Code::NOT_ENOUGH_REPLICAS,
            Code::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ] {
            assert!(code.is_passing());
            let Stop::Failed(cause) = stop_of(code, "rows") else {
                panic!("{code}");
            };
            let sentence = cause.to_string();
            for named in ["\"rows\"", "NOT_ENOUGH_REPLICAS", "min.insync.replicas"] {
                assert!(sentence.contains(named), "{named} in {sentence}");
            }
        }
    }
}

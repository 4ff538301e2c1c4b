//! The check of the topics that a job reads and publishes to: they must exist, and their settings must keep the records
//! that the job needs.

use std::time::Duration;

use record_log::kafka::PROGRESS_TOPIC;
use record_log::native::Examination;
use record_log::{Cleanup, LogError, LogTimeType, RecordLog, TopicDescription, TopicSpec};

use super::finding::{Checked, Fault, Owner};
use super::tool::{Resource, Right, Tool};

/// The topics that a job needs, and the flags that decide about their settings.
#[derive(Clone, Debug)]
pub struct Needs {
    /// The topics that are read; none if files are read.
    pub sources: Vec<String>,
    /// The topics that are published to, as the job creates them, with that of its progress; none if files are written.
    pub published: Vec<TopicSpec>,
    /// The time after its end during which a window is corrected.
    pub allowed_lateness: Duration,
    /// `true` if topics that are compacted are accepted.
    pub allow_compaction: bool,
}

/// The topics that were found, and the missing rights on topics.
#[derive(Debug, Default)]
pub struct Topics {
    /// Those that exist.
    pub existing: Vec<String>,
    /// The faults of rights on topics.
    pub denied: Vec<Fault>,
}

/// The state of a topic.
enum State {
    Existing(u32, Option<TopicDescription>),
    Missing,
    Denied(Fault),
    Unread(Fault),
}

/// The number of partitions that the command for a missing source topic proposes.
const PARTITIONS: u32 = 4;
/// The retention that the command for a missing source topic proposes.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Checks all topics of a job. Missing rights are returned apart from the result, because another check reports them.
pub fn check(
    kafka: &Examination,
    log: &dyn RecordLog,
    tool: &Tool,
    needs: &Needs,
) -> (Checked, Topics) {
    let mut checked = Checked::default();
    let mut topics = Topics::default();
    let mut details = Vec::new();
    let mut longest: Option<usize> = None;

    for name in &needs.sources {
        match state(log, tool, name) {
            State::Missing => checked.faults.push(missing_source(tool, name)),
            State::Denied(fault) => topics.denied.push(fault),
            State::Unread(fault) => checked.faults.push(fault),
            State::Existing(partitions, described) => {
                details.push(format!("{name} has {partitions} partitions"));
                topics.existing.push(name.clone());
                let described = described.as_ref();
                checked.faults.extend(described.map_or_else(
                    || vec![undescribed(tool, name)],
                    |described| source_faults(tool, needs, name, described),
                ));
                longest = longest.max(described.map(|it| it.record_limit.bytes));
            }
        }
    }

    for spec in &needs.published {
        match state(log, tool, &spec.name) {
            State::Missing => match kafka.try_create(spec) {
                Ok(()) => details.push(format!("{} can be created", spec.name)),
                Err(error) => topics.denied.push(not_creatable(tool, spec, &error)),
            },
            State::Denied(fault) => topics.denied.push(fault),
            State::Unread(fault) => checked.faults.push(fault),
            State::Existing(_, described) => {
                topics.existing.push(spec.name.clone());
                details.push(format!("{} exists", spec.name));
                let Some(described) = described else {
                    checked.faults.push(undescribed(tool, &spec.name));
                    continue;
                };
                let faults = published_faults(tool, needs, spec, &described, longest);
                checked.faults.extend(faults);
            }
        }
    }

    checked.detail = details.join(", ");
    (checked, topics)
}

fn state(log: &dyn RecordLog, tool: &Tool, topic: &str) -> State {
    let partitions = match log.partitions(topic) {
        Ok(partitions) => partitions,
        Err(LogError::UnknownTopic(_)) => return State::Missing,
        Err(error @ LogError::Refused(_)) => {
            let right = Right {
                operation: "Describe",
                resource: Resource::Topic(topic),
            };
            return State::Denied(denied(tool, right, &error.to_string()));
        }
        Err(error) => return State::Unread(unread(topic, &error)),
    };

    match log.describe(topic) {
        Ok(described) => State::Existing(partitions, Some(described)),
        Err(LogError::Refused(_)) => State::Existing(partitions, None),
        Err(error) => State::Unread(unread(topic, &error)),
    }
}

/// Returns the fault of a missing right.
pub fn denied(tool: &Tool, right: Right<'_>, what: &str) -> Fault {
    Fault::failure(
        Owner::Cluster,
        format!("{}: {}", tool.rights(), right.shown()),
        what,
        tool.grant(right),
    )
}

fn unread(topic: &str, error: &LogError) -> Fault {
    Fault::failure(
        Owner::Cluster,
        "the health of the brokers",
        format!("topic {topic:?} cannot be examined: {error}"),
        "look into the brokers' logs, and try again",
    )
}

/// Returns a warning: the job, too, accepts a topic whose settings it may not read.
fn undescribed(tool: &Tool, topic: &str) -> Fault {
    let right = Right {
        operation: "DescribeConfigs",
        resource: Resource::Topic(topic),
    };
    let what = format!("the settings of topic {topic:?} may not be read and are not checked");
    denied(tool, right, &what).into_warning()
}

fn missing_source(tool: &Tool, topic: &str) -> Fault {
    let spec = TopicSpec {
        name: topic.to_owned(),
        partitions: PARTITIONS,
        cleanup: Cleanup::Delete,
        retention: RETENTION,
    };

    Fault::failure(
        Owner::Cluster,
        "the topics",
        format!("topic {topic:?}, which the job reads, does not exist"),
        tool.create(&spec),
    )
}

fn not_creatable(tool: &Tool, spec: &TopicSpec, error: &LogError) -> Fault {
    let right = Right {
        operation: "Create",
        resource: Resource::Topic(&spec.name),
    };

    // Kafka's own tools need a role with the same right, so the right comes first where IAM holds it.
    let is_refused_by_iam = tool.is_iam && matches!(error, LogError::Refused(_));
    let fix = match is_refused_by_iam {
        true => tool.grant(right),
        false => tool.create(spec),
    };

    Fault::failure(
        Owner::Cluster,
        format!("the topics, or {}: {}", tool.rights(), right.shown()),
        format!(
            "topic {:?} does not exist, and the job cannot create it: {error}",
            spec.name
        ),
        fix,
    )
}

fn source_faults(
    tool: &Tool,
    needs: &Needs,
    topic: &str,
    described: &TopicDescription,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if described.cleanup != Cleanup::Delete {
        faults.push(compacted(tool, topic, described, needs.allow_compaction));
    }

    if described.log_time_type == LogTimeType::Create {
        let what = format!(
            "topic {topic:?} keeps its producers' times (CreateTime): a producer with a wrong clock has its events rejected \
             or delays results"
        );
        let fix = tool.set(topic, "message.timestamp.type", "LogAppendTime");
        faults.push(
            Fault::failure(Owner::Cluster, "message.timestamp.type", what, fix).into_warning(),
        );
    }

    let short = described
        .retention
        .filter(|retention| *retention < needs.allowed_lateness);
    if let Some(retention) = short {
        let what = format!(
            "topic {topic:?} keeps records for {}, less than the --allowed-lateness of {}: a job that was stopped cannot read \
             again what its windows need",
            humantime::format_duration(retention),
            humantime::format_duration(needs.allowed_lateness)
        );
        // A week at least leaves time to repair a job.
        let enough = needs.allowed_lateness.max(RETENTION);
        let fix = tool.set(topic, "retention.ms", &enough.as_millis().to_string());
        faults.push(Fault::failure(Owner::Cluster, "retention.ms", what, fix));
    }

    faults
}

fn published_faults(
    tool: &Tool,
    needs: &Needs,
    spec: &TopicSpec,
    described: &TopicDescription,
    longest: Option<usize>,
) -> Option<Fault> {
    let topic = &spec.name;
    match (spec.cleanup, described.cleanup) {
        (Cleanup::Delete, Cleanup::CompactAndDelete | Cleanup::Compact) => {
            return Some(compacted(tool, topic, described, needs.allow_compaction));
        }
        (Cleanup::Compact, Cleanup::Delete | Cleanup::CompactAndDelete) => {
            let what = format!(
                "topic {topic:?} has cleanup.policy={} and loses the progress of publishers",
                described.cleanup.policy()
            );
            let fix = tool.set(topic, "cleanup.policy", "compact");
            return Some(Fault::failure(Owner::Cluster, "cleanup.policy", what, fix));
        }
        _ => {}
    }

    let needed = longest?;
    let takes = described.record_limit.bytes;
    let is_progress = topic == PROGRESS_TOPIC;
    (takes < needed && !is_progress && spec.cleanup == Cleanup::Delete).then(|| {
        let what = format!(
            "topic {topic:?} takes records of {takes} bytes, and those that are read may have {needed}: longer ones are cut \
             when they are set aside there"
        );
        let fix = tool.set(topic, "max.message.bytes", &needed.to_string());
        Fault::failure(Owner::Cluster, "max.message.bytes", what, fix).into_warning()
    })
}

fn compacted(tool: &Tool, topic: &str, described: &TopicDescription, is_allowed: bool) -> Fault {
    let what = format!(
        "topic {topic:?} has cleanup.policy={}, which keeps one record of each key and loses the others",
        described.cleanup.policy()
    );

    let fix = tool.set(topic, "cleanup.policy", "delete");
    let fault = Fault::failure(Owner::Cluster, "cleanup.policy", what, fix);
    if is_allowed {
        fault.into_warning()
    } else {
        fault
    }
}

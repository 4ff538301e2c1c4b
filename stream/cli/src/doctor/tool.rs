//! The commands of Kafka's own tools that repair a fault, and the actions of AWS IAM where IAM holds the rights.

use record_log::{Cleanup, TopicSpec};

/// The names that the commands need.
#[derive(Clone, Debug)]
pub struct Tool {
    /// The brokers, as the flags have them.
    pub brokers: String,
    /// The user that the job logs in as, if that is known.
    pub principal: Option<String>,
    /// True if AWS IAM holds the rights in place of Kafka's ACLs.
    pub is_iam: bool,
}

/// A right of Kafka's authorizer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Right<'a> {
    /// Its name in kafka-acls.sh.
    pub operation: &'static str,
    pub resource: Resource<'a>,
}

/// The resource that a right is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resource<'a> {
    Topic(&'a str),
    /// All transactional ids with this prefix.
    TransactionalIds(&'a str),
}

impl Right<'_> {
    /// Returns the right in words.
    pub fn shown(self) -> String {
        let operation = self.operation.to_uppercase();
        match self.resource {
            Resource::Topic(topic) => format!("{operation} on topic {topic:?}"),
            Resource::TransactionalIds(prefix) => {
                format!("{operation} on transactional ids that begin with {prefix:?}")
            }
        }
    }
}

impl Tool {
    /// Returns the place where the rights are kept.
    pub fn rights(&self) -> &'static str {
        if self.is_iam {
            "the IAM policy of the job's role"
        } else {
            "the ACLs"
        }
    }

    pub fn grant(&self, right: Right<'_>) -> String {
        if self.is_iam {
            return granted_by_iam(right);
        }

        let brokers = &self.brokers;
        let principal = self.principal.as_deref().unwrap_or("PRINCIPAL");
        let operation = right.operation;
        let resource = match right.resource {
            Resource::Topic(topic) => format!("--topic {topic}"),
            Resource::TransactionalIds(prefix) => {
                format!("--transactional-id {prefix} --resource-pattern-type prefixed")
            }
        };

        format!(
            "kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal User:{principal} --operation {operation} \
             {resource}"
        )
    }

    pub fn set(&self, topic: &str, setting: &str, value: &str) -> String {
        let brokers = &self.brokers;
        format!(
            "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type topics --entity-name {topic} \
             --add-config {setting}={value}"
        )
    }

    pub fn create(&self, spec: &TopicSpec) -> String {
        let brokers = &self.brokers;
        let TopicSpec {
            name,
            partitions,
            cleanup,
            retention,
        } = spec;

        let retention = match cleanup {
            Cleanup::Compact => String::new(),
            _ => format!(" --config retention.ms={}", retention.as_millis()),
        };

        // The tool takes a list in brackets.
        let policy = match cleanup {
            Cleanup::CompactAndDelete => "[compact,delete]",
            cleanup => cleanup.policy(),
        };

        format!(
            "kafka-topics.sh --bootstrap-server {brokers} --create --topic {name} --partitions {partitions} \
             --config cleanup.policy={policy} --config message.timestamp.type=LogAppendTime{retention}"
        )
    }

    pub fn set_password(&self, mechanism: &str) -> Option<String> {
        let brokers = &self.brokers;
        let user = self.principal.as_deref()?;
        let is_kept_by_kafka = mechanism.starts_with("SCRAM");
        is_kept_by_kafka.then(|| {
            format!(
                "kafka-configs.sh --bootstrap-server {brokers} --alter --entity-type users --entity-name {user} \
                 --add-config '{mechanism}=[password=PASSWORD]'"
            )
        })
    }
}

/// Returns the actions and the resource for a policy of the job's role. A right has the name that kafka-acls.sh uses.
fn granted_by_iam(right: Right<'_>) -> String {
    let actions = match (right.operation, right.resource) {
        ("Read", _) => "kafka-cluster:ReadData",
        ("Create", _) => "kafka-cluster:CreateTopic",
        ("Describe", _) => "kafka-cluster:DescribeTopic",
        ("DescribeConfigs", _) => "kafka-cluster:DescribeTopicDynamicConfiguration",
        (_, Resource::Topic(_)) => "kafka-cluster:WriteData",
        (_, Resource::TransactionalIds(_)) => {
            "kafka-cluster:DescribeTransactionalId, kafka-cluster:AlterTransactionalId"
        }
    };

    let resource = match right.resource {
        Resource::Topic(topic) => format!("topic/CLUSTER/*/{topic}"),
        Resource::TransactionalIds(prefix) => format!("transactional-id/CLUSTER/*/{prefix}*"),
    };

    format!(
        "in an IAM policy of the job's role, allow {actions} on arn:aws:kafka:REGION:ACCOUNT:{resource}"
    )
}

#[cfg(test)]
mod tests {
    use super::{Resource, Right, Tool};

    fn tool(is_iam: bool) -> Tool {
        Tool {
            brokers: "kafka-1:9098".to_owned(),
            principal: None,
            is_iam,
        }
    }

    #[test]
    fn a_right_is_granted_where_rights_are_held() {
        let orders = Resource::Topic("orders");
        let ids = Resource::TransactionalIds("job-sink-");
        for (operation, resource, action, named) in [
            ("Read", orders, ":ReadData", "topic/CLUSTER/*/orders"),
            ("Write", orders, ":WriteData", "topic/CLUSTER/*/orders"),
            ("Describe", orders, ":DescribeTopic on", "orders"),
            ("Create", orders, ":CreateTopic", "topic/CLUSTER/*/orders"),
            ("DescribeConfigs", orders, ":DescribeTopicDynamic", "orders"),
            (
                "Write",
                ids,
                ":AlterTransactionalId",
                "-id/CLUSTER/*/job-sink-*",
            ),
        ] {
            let right = Right {
                operation,
                resource,
            };
            let by_iam = tool(true).grant(right);
            for part in [action, named] {
                assert!(by_iam.contains(part), "{part:?} in {by_iam}");
            }

            assert!(tool(true).rights().contains("IAM policy"));

            let by_acl = tool(false).grant(right);
            assert_eq!(tool(false).rights(), "the ACLs");
            let option = format!("--operation {operation}");
            assert!(by_acl.starts_with("kafka-acls.sh") && by_acl.contains(&option));
        }
    }
}

//! A Kafka broker with TLS, SCRAM and ACLs, and the commands of the job on it.
//!
//! Alice has the least rights that a job needs, Bob has fewer. A client of the open listener may do everything.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use record_log::{Cleanup, Delivery, RecordLog, TopicSpec};
use tempfile::TempDir;

use super::findings::Found;
use crate::broker::{Broker, Client, NEWEST, create_when_ready};
use crate::certificates::issue_for_broker;
use crate::listeners::{Listeners, SCRAM_LOGIN, keystore, scram_users};

/// The listeners of the broker, and their protocols.
const LISTENERS: [(&str, &str); 4] = [
    ("OPEN", "PLAINTEXT"),
    ("GOOD", "SASL_SSL"),
    ("EXPIRED", "SASL_SSL"),
    ("MISNAMED", "SASL_SSL"),
];

/// The topics that the job publishes to.
const PUBLISHED: [&str; 4] = [
    "analytics-results",
    "orders-late",
    "orders-dead-letter",
    "analytics-summaries",
];

const PROGRESS: &str = "tidemark-publisher-progress";
const FORMER_PROGRESS: &str = "tidemark-progress";

/// The job's transactional ids, as arguments of Kafka's tool for ACLs.
pub const TRANSACTIONAL_IDS: [&str; 4] = [
    "--transactional-id",
    "order-analytics-sink-",
    "--resource-pattern-type",
    "prefixed",
];

/// The broker, and a folder for the checkpoints of jobs on it.
pub struct SecuredKafka {
    broker: Broker,
    listeners: Listeners<{ LISTENERS.len() }>,
    checkpoints: TempDir,
}

impl SecuredKafka {
    pub fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        issue_for_broker(folder.path());

        let listeners = Listeners::new(LISTENERS);
        let port = listeners.open_port();
        let settings = listeners.settings(folder.path()) + &security(folder.path());
        let users = scram_users(&["SCRAM-SHA-512"], &["alice", "bob"]);
        let users: Vec<&str> = users.iter().map(String::as_str).collect();

        let broker = Broker::start(NEWEST, folder, &settings, port, &users)?;
        let kafka = Self {
            broker,
            listeners,
            checkpoints: TempDir::new().unwrap(),
        };
        kafka.create_topics();
        kafka.give_rights();

        Some(kafka)
    }

    fn create_topics(&self) {
        let log = self.open();
        create_when_ready(&*log, &["orders"]);

        let spec = |name: &str, cleanup| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            cleanup,
            retention: Duration::from_secs(3600),
        };
        let published = PUBLISHED.map(|name| spec(name, Cleanup::Delete));
        log.ensure_topics(&published).unwrap();
        log.ensure_topics(&[spec("compacted", Cleanup::Compact)])
            .unwrap();

        // The first commit creates the topic of progress.
        let mut publisher = log.publisher("first", Delivery::Transactional).unwrap();
        publisher.commit(b"1").unwrap();
    }

    fn give_rights(&self) {
        let written = topics(&[&PUBLISHED[..], &[PROGRESS]].concat());
        self.allow("alice", &["Read"], &topics(&["orders", PROGRESS]));
        self.allow("alice", &["Write"], &written);
        self.allow("alice", &["Describe"], &topics(&[FORMER_PROGRESS]));
        self.allow("alice", &["Write"], &TRANSACTIONAL_IDS);

        let described = topics(&["orders", PUBLISHED[0], FORMER_PROGRESS]);
        let written = topics(&[&PUBLISHED[1..], &[PROGRESS]].concat());
        self.allow("bob", &["Describe"], &described);
        self.allow("bob", &["Write"], &written);
        self.allow("bob", &["Read"], &topics(&[PROGRESS]));
    }

    /// Gives a user rights to these operations on these resources.
    pub fn allow(&self, user: &str, operations: &[&str], resources: &[&str]) {
        let address = self.address("OPEN");
        let principal = format!("User:{user}");
        let mut arguments = vec![
            "--bootstrap-server",
            &address,
            "--add",
            "--allow-principal",
            &principal,
        ];
        arguments.extend(operations.iter().flat_map(|each| ["--operation", each]));
        arguments.extend(resources);

        self.broker
            .tool("org.apache.kafka.tools.AclCommand", &arguments);
    }

    /// Opens the log by the open listener.
    pub fn open(&self) -> Arc<dyn RecordLog> {
        Client::Native.open(&self.address("OPEN"), &[])
    }

    pub fn address(&self, listener: &str) -> String {
        self.listeners.address(listener)
    }

    /// The path of a file in the broker's folder, for example of a certificate.
    pub fn file(&self, name: &str) -> String {
        self.broker.folder.path().join(name).display().to_string()
    }

    /// The properties of a client that logs in by TLS and SCRAM.
    pub fn login(&self, user: &str, password: &str) -> Vec<String> {
        vec![
            "security.protocol=sasl_ssl".to_owned(),
            "sasl.mechanism=SCRAM-SHA-512".to_owned(),
            format!("sasl.username={user}"),
            format!("sasl.password={password}"),
            format!("ssl.ca.location={}", self.file("ca.pem")),
        ]
    }

    /// Runs the doctor by way of a listener.
    pub fn doctor(&self, listener: &str, properties: &[String], flags: &[&str]) -> Found {
        self.doctor_at(&self.address(listener), properties, flags)
    }

    /// Runs the doctor with these addresses of brokers.
    pub fn doctor_at(&self, brokers: &str, properties: &[String], flags: &[&str]) -> Found {
        let mut command = job(&["doctor", "--json"], brokers, properties);
        command.args(["--checkpoints", &self.checkpoints()]);
        Found::parse(&command.args(flags).output().unwrap())
    }

    /// Runs the doctor with checkpoints in an object store that speaks S3 at this endpoint.
    pub fn doctor_of_store(&self, endpoint: &str) -> Found {
        let mut command = job(&["doctor", "--json"], &self.address("OPEN"), &[]);
        command
            .args(["--checkpoints", "s3://bucket/checkpoints"])
            .env("AWS_ENDPOINT", endpoint)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "id")
            .env("AWS_SECRET_ACCESS_KEY", "key")
            .env("AWS_REGION", "eu-central-1");

        Found::parse(&command.output().unwrap())
    }

    /// Runs the job to the end of its topic.
    pub fn run(&self, listener: &str, properties: &[String]) -> Output {
        let mut command = job(&["--until-end"], &self.address(listener), properties);
        command.args(["--checkpoints", &self.checkpoints()]);
        command.output().unwrap()
    }

    fn checkpoints(&self) -> String {
        format!("file://{}", self.checkpoints.path().display())
    }
}

/// A command of the job on these brokers, with these properties.
pub fn job(arguments: &[&str], brokers: &str, properties: &[String]) -> Command {
    let properties = properties.iter();
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-analytics"));
    command
        .args(arguments)
        .args(["--client", "native", "--brokers", brokers])
        .args(properties.flat_map(|property| ["--property", property]));

    command
}

/// These topics, as arguments of Kafka's tool for ACLs.
fn topics<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().flat_map(|name| ["--topic", *name]).collect()
}

/// The settings of the listeners' certificates and logins, and of ACLs.
fn security(folder: &Path) -> String {
    let secured = LISTENERS[1..].iter().map(|(name, _)| {
        let listener = name.to_lowercase();
        let keystore = keystore(folder, &listener, &listener);
        format!(
            "{keystore}listener.name.{listener}.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.{listener}.scram-sha-512.sasl.jaas.config={SCRAM_LOGIN}
"
        )
    });

    secured.collect::<String>()
        + "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"
}

//! The doctor on a Kafka of this test's own, with TLS, SCRAM and ACLs: the least rights suffice, and each fault ends in
//! one sentence with its owner, its remedy and its exit code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use record_log::{Cleanup, Delivery, RecordLog, TopicSpec};
use serde_json::Value;
use tempfile::TempDir;

use crate::broker::{Broker, Client, NEWEST, SMALL, create_when_ready, free_ports};
use crate::certificates::{authority, issue};
use crate::store::{self, Conditions};

/// The listeners, in the order of their ports; the first takes anybody and lets him do everything.
const LISTENERS: [&str; 4] = ["OPEN", "GOOD", "EXPIRED", "MISNAMED"];
const USERS: [&str; 2] = ["alice", "bob"];
const SCRAM_LOGIN: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

/// The topics that the job publishes to.
const PUBLISHED: [&str; 4] = [
    "analytics-results",
    "orders-late",
    "orders-dead-letter",
    "analytics-summaries",
];

const PROGRESS: &str = "tidemark-publisher-progress";
const FORMER_PROGRESS: &str = "tidemark-progress";

/// A part of the suite, on the same broker.
type Part = fn(&Secured);

#[test]
fn each_fault_of_a_secured_kafka_ends_in_its_sentence() {
    let Some(kafka) = Secured::start() else {
        return;
    };

    kafka.prepare();
    let parts: [(&str, Part); 7] = [
        ("least rights", the_least_rights_suffice),
        (
            "missing rights",
            a_right_that_is_missing_is_named_with_its_command,
        ),
        ("certificates", certificates_that_do_not_fit_are_named),
        ("ways", ways_that_do_not_lead_to_a_broker_are_named),
        ("topics", topics_that_do_not_fit_are_named),
        (
            "transactions",
            transactions_that_may_live_too_long_are_named,
        ),
        ("stores", stores_are_told_apart),
    ];

    // A part that fails hides no other.
    let fails = |part: Part| catch_unwind(AssertUnwindSafe(|| part(&kafka))).is_err();
    let failed = parts.iter().filter(|(_, part)| fails(*part));
    let failed: Vec<&str> = failed.map(|(name, _)| *name).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn the_least_rights_suffice(kafka: &Secured) {
    let login = kafka.login("alice", "alice-secret");
    let found = kafka.doctor("GOOD", &login, &[]);
    assert_eq!(found.code, 0, "{found:?}");
    assert!(found.failed().is_empty(), "{found:?}");

    let checks: Vec<_> = found.checks_passed();
    let expected = [
        "settings",
        "names",
        "TCP",
        "TLS",
        "SASL",
        "advertised",
        "ApiVersions",
        "topics",
        "ACLs",
        "transactions",
        "object store",
        "machine",
        "ports",
    ];
    assert_eq!(checks, expected);

    // The job itself lacks nothing that the doctor does not look for.
    let output = kafka.run("GOOD", &login, &["--until-end"]);
    assert!(output.status.success(), "{output:?}");
}

fn a_right_that_is_missing_is_named_with_its_command(kafka: &Secured) {
    let login = kafka.login("bob", "bob-secret");
    let found = kafka.doctor("GOOD", &login, &[]);
    assert_eq!(found.code, 18, "{found:?}");

    // Bob may not read orders, write results, or use the job's transactional ids.
    let read = "--add --allow-principal User:bob --operation Read --topic orders";
    let write = "--operation Write --topic analytics-results";
    let ids = "--operation Write --transactional-id order-analytics-sink- --resource-pattern-type prefixed";
    found.assert_failed(
        "ACLs",
        "cluster",
        &["READ on topic \"orders\" is denied", read],
    );
    found.assert_failed(
        "ACLs",
        "cluster",
        &["transactional id \"order-analytics-sink-doctor\"", ids],
    );
    found.assert_not_tried(&["transactions"]);

    kafka.allow(
        "bob",
        &["Write"],
        &[
            "--transactional-id",
            "order-analytics-sink-",
            "--resource-pattern-type",
            "prefixed",
        ],
    );
    let found = kafka.doctor("GOOD", &login, &[]);
    found.assert_failed(
        "ACLs",
        "cluster",
        &["WRITE on topic \"analytics-results\" is denied", write],
    );
    assert_eq!(found.failed().len(), 2, "{found:?}");

    let wrong = kafka.login("alice", "wrong");
    let found = kafka.doctor("GOOD", &wrong, &[]);
    assert_eq!(found.code, 14, "{found:?}");
    let command =
        "--entity-type users --entity-name alice --add-config 'SCRAM-SHA-512=[password=PASSWORD]'";
    found.assert_failed(
        "SASL",
        "job",
        &["correct sasl.username or sasl.password", command],
    );
    found.assert_not_tried(&[
        "advertised",
        "ApiVersions",
        "topics",
        "ACLs",
        "transactions",
    ]);
    assert!(!found.text.contains("wrong\""), "{found:?}");
}

fn certificates_that_do_not_fit_are_named(kafka: &Secured) {
    let login = kafka.login("alice", "alice-secret");
    let mut foreign = login.clone();
    foreign.retain(|property| !property.starts_with("ssl.ca.location"));
    foreign.push(format!("ssl.ca.location={}", kafka.file("foreign.pem")));

    for (listener, properties, owner, named) in [
        (
            "GOOD",
            &foreign,
            "job",
            [
                "authority that this client does not trust",
                "ssl.ca.location=FILE",
            ],
        ),
        (
            "EXPIRED",
            &login,
            "cluster",
            ["has expired", "openssl x509 -noout -dates"],
        ),
        (
            "MISNAMED",
            &login,
            "job",
            ["for other.example", "subjectAltName"],
        ),
    ] {
        let found = kafka.doctor(listener, properties, &[]);
        assert_eq!(found.code, 13, "{listener}: {found:?}");
        found.assert_failed("TLS", owner, &named);
        found.assert_not_tried(&[
            "SASL",
            "advertised",
            "ApiVersions",
            "topics",
            "ACLs",
            "transactions",
        ]);
    }
}

fn ways_that_do_not_lead_to_a_broker_are_named(kafka: &Secured) {
    let [free] = free_ports();
    let login = kafka.login("alice", "alice-secret");
    let found = kafka.doctor_at(&format!("localhost:{free}"), &login, &[]);
    assert_eq!(found.code, 12, "{found:?}");
    found.assert_failed(
        "TCP",
        "job",
        &["nothing listens at", &format!("nc -vz localhost {free}")],
    );

    let found = kafka.doctor_at("nowhere.invalid:9092", &login, &[]);
    assert_eq!(found.code, 11, "{found:?}");
    found.assert_failed(
        "names",
        "job",
        &["\"nowhere.invalid\" cannot be resolved", "getent hosts"],
    );

    // One broker of two is enough to begin with.
    let both = format!("nowhere.invalid:9092,{}", kafka.address("GOOD"));
    let found = kafka.doctor_at(&both, &login, &[]);
    assert_eq!(found.code, 0, "{found:?}");
    assert!(found.text.contains("nowhere.invalid"), "{found:?}");

    let mut unknown = login;
    unknown.push("sasl.mechanism=GSSAPI".to_owned());
    let found = kafka.doctor("GOOD", &unknown, &[]);
    assert_eq!(found.code, 10, "{found:?}");
    found.assert_failed("settings", "job", &["SCRAM-SHA-512, OAUTHBEARER"]);
}

fn topics_that_do_not_fit_are_named(kafka: &Secured) {
    let found = kafka.doctor("OPEN", &[], &["--input-topic", "nowhere"]);
    assert_eq!(found.code, 17, "{found:?}");
    found.assert_failed(
        "topics",
        "cluster",
        &[
            "\"nowhere\", which the job reads, does not exist",
            "kafka-topics.sh",
            "--create --topic nowhere",
        ],
    );

    let found = kafka.doctor("OPEN", &[], &["--output-topic", "compacted"]);
    assert_eq!(found.code, 17, "{found:?}");
    found.assert_failed(
        "topics",
        "cluster",
        &[
            "cleanup.policy=compact",
            "--entity-name compacted --add-config cleanup.policy=delete",
        ],
    );
    let found = kafka.doctor(
        "OPEN",
        &[],
        &["--output-topic", "compacted", "--allow-compaction"],
    );
    assert_eq!(found.code, 0, "{found:?}");

    let found = kafka.doctor("OPEN", &[], &["--allowed-lateness", "2h"]);
    assert_eq!(found.code, 17, "{found:?}");
    found.assert_failed(
        "topics",
        "cluster",
        &[
            "keeps records for 1h, less than the --allowed-lateness of 2h",
            "retention.ms=",
        ],
    );

    // A topic that can be created is not created, and is no fault.
    let found = kafka.doctor("OPEN", &[], &["--output-topic", "not-there-yet"]);
    assert_eq!(found.code, 0, "{found:?}");
    assert!(
        found.text.contains("not-there-yet can be created"),
        "{found:?}"
    );
    assert!(kafka.open().partitions("not-there-yet").is_err());
}

fn transactions_that_may_live_too_long_are_named(kafka: &Secured) {
    let found = kafka.doctor("OPEN", &["transaction.timeout.ms=3600000".to_owned()], &[]);
    assert_eq!(found.code, 19, "{found:?}");
    found.assert_failed(
        "transactions",
        "job",
        &["transaction.max.timeout.ms", "transaction.timeout.ms=N"],
    );
}

fn stores_are_told_apart(kafka: &Secured) {
    for (conditions, code) in [(Conditions::Honoured, 0), (Conditions::Ignored, 20)] {
        let endpoint = format!("http://{}", store::serve(conditions));
        let mut command = kafka.command("doctor", &kafka.address("OPEN"), &[], &["--json"]);
        command
            .args(["--checkpoints", "s3://bucket/checkpoints"])
            .envs([("AWS_ENDPOINT", &*endpoint), ("AWS_ALLOW_HTTP", "true")])
            .envs([
                ("AWS_ACCESS_KEY_ID", "id"),
                ("AWS_SECRET_ACCESS_KEY", "key"),
            ])
            .env("AWS_REGION", "eu-central-1");
        let found = Found::of(&command.output().unwrap());
        assert_eq!(found.code, code, "{conditions:?}: {found:?}");
        if conditions == Conditions::Ignored {
            let named = [
                "overwrites checkpoints/order-analytics/trials/",
                "use a store that honours them",
            ];
            found.assert_failed("object store", "store", &named);
        }
    }
}

/// The doctor's findings.
#[derive(Debug)]
struct Found {
    code: i32,
    findings: Vec<Value>,
    text: String,
}

impl Found {
    fn of(output: &std::process::Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
        let code = output.status.code().unwrap();
        assert_eq!(all["exit_code"], code);
        Self {
            code,
            findings: all["findings"].as_array().unwrap().clone(),
            text,
        }
    }

    fn with(&self, outcome: &str) -> Vec<&Value> {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding["outcome"] == outcome)
            .collect()
    }

    fn failed(&self) -> Vec<&Value> {
        self.with("failed")
    }

    fn checks_passed(&self) -> Vec<&str> {
        let passed = self.with("passed").into_iter();
        passed
            .map(|finding| finding["check"].as_str().unwrap())
            .collect()
    }

    /// A finding of this check and owner contains all of these texts, in its sentence or in its remedy.
    #[track_caller]
    fn assert_failed(&self, check: &str, owner: &str, named: &[&str]) {
        let is_named = |finding: &&&Value| {
            let text = format!(
                "{} {}",
                finding["what"].as_str().unwrap(),
                finding["fix"].as_str().unwrap()
            );
            finding["check"] == check
                && finding["owner"] == owner
                && named.iter().all(|named| text.contains(named))
        };
        let failed = self.failed();
        assert!(
            failed.iter().any(|finding| is_named(&finding)),
            "{check} of {owner}: {named:?} in {failed:#?}"
        );
    }

    #[track_caller]
    fn assert_not_tried(&self, checks: &[&str]) {
        let not_tried = self.with("not_tried").into_iter();
        let not_tried: Vec<_> = not_tried
            .map(|finding| finding["check"].as_str().unwrap())
            .collect();
        assert_eq!(not_tried, checks);
    }
}

/// A broker with these listeners.
struct Secured {
    broker: Broker,
    ports: [u16; LISTENERS.len()],
    checkpoints: TempDir,
}

impl Secured {
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let own = authority(folder.path(), "ca");
        authority(folder.path(), "foreign");
        issue(folder.path(), &own, "good", "localhost", 2099);
        issue(folder.path(), &own, "expired", "localhost", 2001);
        issue(folder.path(), &own, "misnamed", "other.example", 2099);

        let ports = free_ports();
        let [controller] = free_ports();
        let settings = settings(folder.path(), ports, controller);
        let users = USERS.map(|user| format!("SCRAM-SHA-512=[name={user},password={user}-secret]"));
        let format: Vec<&str> = users
            .iter()
            .flat_map(|user| ["--add-scram", user])
            .collect();

        let broker = Broker::start(NEWEST, folder, &settings, ports[0], &format)?;
        Some(Self {
            broker,
            ports,
            checkpoints: TempDir::new().unwrap(),
        })
    }

    /// Creates the topics, and gives Alice all rights that a job needs, Bob some.
    fn prepare(&self) {
        let log = self.open();
        create_when_ready(&*log, &["orders"]);
        let spec = |name: &str, cleanup| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            cleanup,
            retention: std::time::Duration::from_secs(3600),
        };
        let published = PUBLISHED.map(|name| spec(name, Cleanup::Delete));
        log.ensure_topics(&published).unwrap();
        log.ensure_topics(&[spec("compacted", Cleanup::Compact)])
            .unwrap();
        log.publisher("first", Delivery::Transactional)
            .unwrap()
            .commit(b"1")
            .unwrap();

        let topics = |names: &[&'static str]| -> Vec<&'static str> {
            names.iter().flat_map(|name| ["--topic", *name]).collect()
        };
        self.allow("alice", &["Read"], &topics(&["orders", PROGRESS]));
        self.allow(
            "alice",
            &["Write"],
            &topics(&[&PUBLISHED[..], &[PROGRESS]].concat()),
        );
        self.allow("alice", &["Describe"], &topics(&[FORMER_PROGRESS]));
        let ids = [
            "--transactional-id",
            "order-analytics-sink-",
            "--resource-pattern-type",
            "prefixed",
        ];
        self.allow("alice", &["Write"], &ids);

        self.allow(
            "bob",
            &["Describe"],
            &topics(&["orders", PUBLISHED[0], FORMER_PROGRESS]),
        );
        self.allow(
            "bob",
            &["Write"],
            &topics(&[&PUBLISHED[1..], &[PROGRESS]].concat()),
        );
        self.allow("bob", &["Read"], &topics(&[PROGRESS]));
    }

    fn open(&self) -> std::sync::Arc<dyn RecordLog> {
        Client::Native.open(&self.address("OPEN"), &[])
    }

    fn address(&self, listener: &str) -> String {
        let at = LISTENERS.iter().position(|name| *name == listener).unwrap();
        format!("localhost:{}", self.ports[at])
    }

    fn file(&self, name: &str) -> String {
        self.broker.folder.path().join(name).display().to_string()
    }

    fn login(&self, user: &str, password: &str) -> Vec<String> {
        vec![
            "security.protocol=sasl_ssl".to_owned(),
            "sasl.mechanism=SCRAM-SHA-512".to_owned(),
            format!("sasl.username={user}"),
            format!("sasl.password={password}"),
            format!("ssl.ca.location={}", self.file("ca.pem")),
        ]
    }

    fn command(&self, verb: &str, brokers: &str, properties: &[String], more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-analytics"));
        command.args((!verb.is_empty()).then_some(verb));
        command.args(["--client", "native", "--brokers", brokers]);
        command.args(
            properties
                .iter()
                .flat_map(|property| ["--property", property]),
        );
        command.args(more);
        command
    }

    fn doctor(&self, listener: &str, properties: &[String], more: &[&str]) -> Found {
        self.doctor_at(&self.address(listener), properties, more)
    }

    fn doctor_at(&self, brokers: &str, properties: &[String], more: &[&str]) -> Found {
        let mut command = self.command("doctor", brokers, properties, &["--json"]);
        command
            .args(["--checkpoints", &self.checkpoints()])
            .args(more);
        Found::of(&command.output().unwrap())
    }

    fn run(&self, listener: &str, properties: &[String], more: &[&str]) -> std::process::Output {
        let mut command = self.command("", &self.address(listener), properties, more);
        command
            .args(["--checkpoints", &self.checkpoints()])
            .output()
            .unwrap()
    }

    fn checkpoints(&self) -> String {
        format!("file://{}", self.checkpoints.path().display())
    }

    fn allow(&self, user: &str, operations: &[&str], resources: &[&str]) {
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
}

fn settings(folder: &Path, ports: [u16; LISTENERS.len()], controller: u16) -> String {
    let at = |host: &str| {
        let listeners = LISTENERS.iter().zip(ports);
        let listeners = listeners.map(|(name, port)| format!("{name}://{host}:{port}"));
        listeners.collect::<Vec<_>>().join(",")
    };
    let secured = LISTENERS[1..].iter().map(|name| {
        let listener = name.to_lowercase();
        let folder = folder.display();
        format!(
            "listener.name.{listener}.ssl.keystore.type=PEM
listener.name.{listener}.ssl.keystore.location={folder}/{listener}.both
listener.name.{listener}.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.{listener}.scram-sha-512.sasl.jaas.config={SCRAM_LOGIN}
"
        )
    });

    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={bound},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=OPEN
listener.security.protocol.map=CONTROLLER:PLAINTEXT,OPEN:PLAINTEXT,GOOD:SASL_SSL,EXPIRED:SASL_SSL,MISNAMED:SASL_SSL
{secured}authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs={folder}/log
{SMALL}",
        bound = at("127.0.0.1"),
        advertised = at("localhost"),
        secured = secured.collect::<String>(),
        folder = folder.display(),
    )
}

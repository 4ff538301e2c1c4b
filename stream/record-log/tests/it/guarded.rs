//! Refusals of a Kafka with authentication and authorization: both clients return them at once, with the name of the
//! right.
//!
//! The test starts its own broker, with SASL PLAIN over plain text and Kafka's authorizer.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use record_log::kafka::PROGRESS_TOPIC;
use record_log::{Delivery, LogError, Owned, PublishError, Reader, RecordLog};
use tempfile::TempDir;

use crate::broker::{
    Broker, Client, NEWEST, SMALL, START_LIMIT, create_when_ready, free_ports, spec,
};
use crate::subject::{publish, record};

const LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";

#[test]
fn a_missing_right_is_named_and_never_unavailable() {
    let Some(guarded) = Guarded::start() else {
        return;
    };

    let admin = guarded.log(Client::Native, "admin", "admin-secret");
    create_when_ready(&*admin, &["orders", "results"]);
    publish(&*admin, "orders", 0, &[b"an order"]);

    // The first publisher creates the progress topic.
    admin
        .publisher("first", Delivery::Transactional)
        .unwrap()
        .commit(b"1")
        .unwrap();
    grant(&guarded);

    // Each part mostly waits for brokers' answers, so they run at the same time.
    let parts: [fn(&Guarded, Client); 4] = [
        denied_reading,
        denied_sharing,
        denied_publishing,
        unknown_callers,
    ];
    std::thread::scope(|scope| {
        for (part, client) in parts
            .iter()
            .flat_map(|part| Client::ALL.map(|client| (part, client)))
        {
            let guarded = &guarded;
            scope.spawn(move || part(guarded, client));
        }
    });

    rights_that_are_taken_away(&guarded);
}

/// Gives each user all rights except the one that its name is about.
fn grant(guarded: &Guarded) {
    // Earlier versions kept progress in the last one: a publisher without progress looks for it.
    let topics = [
        "--topic",
        "orders",
        "--topic",
        "results",
        "--topic",
        "tidemark-progress",
    ];
    let all = ["blind", "mute", "nameless", "writeless"];
    guarded.allow(&all, &["Describe"], &topics);

    let progress = ["--topic", PROGRESS_TOPIC];
    let reading = ["Describe", "DescribeConfigs", "Read"];
    guarded.allow(&["mute", "nameless", "writeless"], &reading, &progress);
    guarded.allow(&["mute", "nameless"], &["Write"], &progress);

    // Only the coordinator of this group may be looked up.
    guarded.allow(&["mute"], &["Describe"], &["--group", "described"]);
    guarded.allow(&["mute"], &["Read"], &["--topic", "orders"]);

    let ids = ["--transactional-id", "*"];
    guarded.allow(&["mute"], &["Describe", "Write"], &ids);
}

/// The error of a member that may not join its group names the group.
fn denied_sharing(guarded: &Guarded, client: Client) {
    let blind = guarded.log(client, "blind", "blind-secret");
    let mut member = blind.join("a-group", "orders").unwrap();
    let deadline = Instant::now() + START_LIMIT;
    let refused = loop {
        match member.owned() {
            Ok(owned) => assert_eq!(owned, Owned::Only(BTreeSet::new())),
            Err(refused) => break refused,
        }
        assert!(Instant::now() < deadline, "no refusal");
        std::thread::sleep(Duration::from_millis(20));
    };
    let named = "READ on group \"a-group.orders.members\" is denied";
    assert_names(&refused, named);
    assert_names(&member.owned().unwrap_err(), named);
}

fn denied_reading(guarded: &Guarded, client: Client) {
    let blind = guarded.log(client, "blind", "blind-secret");
    assert_eq!(blind.partitions("orders").unwrap(), 1);
    let mut reader = blind.reader("orders", &[(0, 0)]).unwrap();
    let refused = poll_until_refused(&mut *reader);
    assert_names(&refused, "READ on topic \"orders\" is denied");

    let hidden = blind.partitions(PROGRESS_TOPIC).unwrap_err();
    assert_names(
        &hidden,
        &format!("DESCRIBE on topic {PROGRESS_TOPIC:?} is denied"),
    );

    let created = blind
        .ensure_topics(&[spec("made-by-blind", 1)])
        .unwrap_err();
    assert_names(&created, "topic \"made-by-blind\" is denied");

    let undescribed = blind.describe("orders").unwrap_err();
    assert_names(
        &undescribed,
        "DESCRIBE_CONFIGS on topic \"orders\" is denied",
    );

    for positions in [
        blind.committed("a-group", "orders").map(drop),
        blind.commit("a-group", "orders", &[(0, 1)]),
    ] {
        assert_names(
            &positions.unwrap_err(),
            "READ on group \"a-group\" is denied",
        );
    }
}

fn denied_publishing(guarded: &Guarded, client: Client) {
    // No topic may be written to, the progress topic excepted.
    let mute = guarded.log(client, "mute", "mute-secret");
    for delivery in [Delivery::Transactional, Delivery::AtLeastOnce] {
        let mut publisher = mute.publisher("mute", delivery).unwrap();
        let denied = publisher
            .send(record("results", 0, b"a count"))
            .and_then(|()| publisher.commit(b"1"))
            .unwrap_err();
        assert_refused(&denied, "WRITE on topic \"results\"");
    }

    let kept = mute.commit("described", "orders", &[(0, 1)]).unwrap_err();
    assert_names(&kept, "READ on group \"described\" is denied");

    // No transactional id may be used.
    let nameless = guarded.log(client, "nameless", "nameless-secret");
    let denied = nameless.publisher("nameless", Delivery::Transactional);
    assert_names(
        &denied.err().unwrap(),
        "WRITE on transactional id \"nameless\" is denied",
    );

    // This user may write nothing: the broker gives its producer no id.
    let writeless = guarded.log(client, "writeless", "writeless-secret");
    let denied = writeless
        .publisher("writeless", Delivery::AtLeastOnce)
        .map_err(PublishError::from)
        .and_then(|mut publisher| {
            publisher.send(record("results", 0, b"a count"))?;
            publisher.commit(b"1")
        });
    assert_refused(
        &denied.unwrap_err(),
        "IDEMPOTENT_WRITE on cluster \"kafka-cluster\" is denied",
    );
}

/// Checks that every call of an unknown user, and of one with a wrong password, reports this.
fn unknown_callers(guarded: &Guarded, client: Client) {
    let wrong = match client {
        Client::Librdkafka => "Kafka does not accept this user name or password (SASL)",
        Client::Native => "correct sasl.username or sasl.password",
    };

    let stranger = guarded.log(client, "stranger", "stranger-secret");
    assert_names(&stranger.partitions("orders").unwrap_err(), wrong);

    let log = guarded.log(client, "admin", "wrong");
    assert_names(&log.partitions("orders").unwrap_err(), wrong);
    assert_names(&log.offsets("orders").unwrap_err(), wrong);
    assert_names(&log.describe("orders").unwrap_err(), wrong);
    assert_names(&log.ensure_topics(&[spec("orders", 1)]).unwrap_err(), wrong);
    assert_names(&log.committed("a-group", "orders").unwrap_err(), wrong);

    let refused = match log.reader("orders", &[(0, 0)]) {
        Ok(mut reader) => poll_until_refused(&mut *reader),
        Err(refused) => refused,
    };
    assert_names(&refused, wrong);

    for delivery in [Delivery::Transactional, Delivery::AtLeastOnce] {
        let denied = log
            .publisher("a-publisher", delivery)
            .map_err(PublishError::from)
            .and_then(|mut publisher| {
                publisher.send(record("results", 0, b"a count"))?;
                publisher.commit(b"1")
            });
        assert_refused(&denied.unwrap_err(), wrong);
    }
}

/// Takes the rights away from an open reader and an open publisher of each client.
fn rights_that_are_taken_away(guarded: &Guarded) {
    let both = ["--topic", "orders", "--topic", "results"];
    let kept = ["--topic", PROGRESS_TOPIC, "--topic", "tidemark-progress"];
    let all = ["Describe", "DescribeConfigs", "Read", "Write"];
    guarded.allow(&["fading"], &all, &[both, kept].concat());
    guarded.allow(
        &["fading"],
        &["Describe", "Write"],
        &["--transactional-id", "*"],
    );

    let lives = Client::ALL.map(|client| {
        let log = guarded.log(client, "fading", "fading-secret");
        let mut reader = log.reader("orders", &[(0, 0)]).unwrap();
        while reader.poll(0, 10, &mut |_| {}).unwrap().records == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }

        let id = format!("fading-{client:?}");
        let mut publisher = log.publisher(&id, Delivery::Transactional).unwrap();
        publisher.send(record("results", 0, b"a count")).unwrap();
        publisher.commit(b"1").unwrap();
        (reader, publisher)
    });

    guarded.deny(&["fading"], &["Read", "Write"], &both);
    for (mut reader, mut publisher) in lives {
        let refused = poll_until_refused(&mut *reader);
        assert_names(&refused, "READ on topic \"orders\" is denied");
        let denied = publisher
            .send(record("results", 0, b"another"))
            .and_then(|()| publisher.commit(b"2"))
            .unwrap_err();
        assert_refused(&denied, "WRITE on topic \"results\"");
    }
}

#[track_caller]
fn assert_refused(error: &PublishError, expected: &str) {
    assert!(
        matches!(error, PublishError::Refused(_)) && error.to_string().contains(expected),
        "{expected:?} in {error:?}"
    );
}

#[track_caller]
fn assert_names(error: &LogError, expected: &str) {
    assert!(
        matches!(error, LogError::Refused(_)) && error.to_string().contains(expected),
        "{expected:?} in {error:?}"
    );
}

fn poll_until_refused(reader: &mut dyn Reader) -> LogError {
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        match reader.poll(0, 10, &mut |_| panic!("it may not be read")) {
            Err(error) if !error.is_transient() => return error,
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    panic!("reading was not refused");
}

/// A broker with these users.
struct Guarded {
    broker: Broker,
}

impl Guarded {
    fn start() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let [port, controller] = free_ports();
        std::fs::write(
            folder.path().join("admin.properties"),
            login("admin", "admin-secret"),
        )
        .unwrap();

        let settings = settings(port, controller, folder.path());
        let broker = Broker::start(NEWEST, folder, &settings, port, &[])?;
        Some(Self { broker })
    }

    fn log(&self, client: Client, user: &str, password: &str) -> Arc<dyn RecordLog> {
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", password),
        ];
        client.open(&self.broker.address(), &properties)
    }

    fn allow(&self, users: &[&str], operations: &[&str], resources: &[&str]) {
        self.add("--allow-principal", users, operations, resources);
    }

    fn deny(&self, users: &[&str], operations: &[&str], resources: &[&str]) {
        self.add("--deny-principal", users, operations, resources);
    }

    fn add(&self, verdict: &str, users: &[&str], operations: &[&str], resources: &[&str]) {
        let address = self.broker.address();
        let admin = self.broker.folder.path().join("admin.properties");
        let mut arguments = vec!["--bootstrap-server", &address, "--command-config"];
        arguments.extend([admin.to_str().unwrap(), "--add"]);
        arguments.extend(resources);

        let users: Vec<String> = users.iter().map(|user| format!("User:{user}")).collect();
        let operations = operations.iter().flat_map(|each| ["--operation", each]);
        arguments.extend(operations);
        let users = users.iter().flat_map(|user| [verdict, user]);
        arguments.extend(users);
        self.broker
            .tool("org.apache.kafka.tools.AclCommand", &arguments);
    }
}

fn login(user: &str, password: &str) -> String {
    format!(
        "security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config={LOGIN} required username=\"{user}\" password=\"{password}\";
"
    )
}

fn settings(port: u16, controller: u16, folder: &Path) -> String {
    let users: String = ["admin", "blind", "fading", "mute", "nameless", "writeless"]
        .map(|user| format!(" user_{user}=\"{user}-secret\""))
        .concat();

    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=SASL_PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={LOGIN} required username=\"admin\" password=\"admin-secret\"{users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
log.dirs={}/log
{SMALL}",
        folder.display()
    )
}

//! What a Kafka that asks who is calling, and what he may do, refuses: by name, and at once.
//!
//! The broker is this test's own: SASL PLAIN over plain text, and Kafka's authorizer. Its jars are those that the harness
//! fetched for the other tests; where `TIDEMARK_TEST_BROKERS` is not set, or there are no jars, the test is skipped loudly.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use record_log::kafka::{KafkaLog, PROGRESS_TOPIC};
use record_log::{Cleanup, Delivery, LogError, PublishError, Reader, RecordLog, TopicSpec};
use tempfile::TempDir;

use crate::subject::{publish, record};

const LOGIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
/// How long a JVM may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

#[test]
fn what_is_denied_is_named_and_never_unavailable() {
    let Some(broker) = Broker::start() else {
        return;
    };

    let admin = broker.log("admin", "admin-secret");
    await_broker(&admin);
    admin
        .ensure_topics(&["orders", "results"].map(spec))
        .unwrap();
    publish(&admin, "orders", 0, &[b"an order"]);

    // The progress topic comes to be with the first publisher.
    admin
        .publisher("first", Delivery::Transactional)
        .unwrap()
        .commit(b"1")
        .unwrap();
    grant(&broker);

    // Each part waits for brokers' answers most of the time.
    let parts: [fn(&Broker); 3] = [denied_reading, denied_publishing, unknown_callers];
    std::thread::scope(|scope| {
        for part in parts {
            let broker = &broker;
            scope.spawn(move || part(broker));
        }
    });
}

/// Gives each user all rights but the one that its name lacks.
fn grant(broker: &Broker) {
    // The last is where earlier versions kept progress: whether it exists is asked when a publisher has none.
    let topics = [
        "--topic",
        "orders",
        "--topic",
        "results",
        "--topic",
        "tidemark-progress",
    ];
    let all = ["blind", "mute", "nameless", "writeless"];
    broker.allow(&all, &["Describe"], &topics);

    let progress = ["--topic", PROGRESS_TOPIC];
    let reading = ["Describe", "DescribeConfigs", "Read"];
    broker.allow(&["mute", "nameless", "writeless"], &reading, &progress);
    broker.allow(&["mute", "nameless"], &["Write"], &progress);

    let ids = ["--transactional-id", "*"];
    broker.allow(&["mute"], &["Describe", "Write"], &ids);
}

fn denied_reading(broker: &Broker) {
    let blind = broker.log("blind", "blind-secret");
    assert_eq!(blind.partitions("orders").unwrap(), 1);
    let mut reader = blind.reader("orders", &[(0, 0)]).unwrap();
    let refused = poll_until_refused(&mut *reader);
    assert_names(&refused, "READ on topic \"orders\" is denied");

    let hidden = blind.partitions(PROGRESS_TOPIC).unwrap_err();
    assert_names(
        &hidden,
        &format!("DESCRIBE on topic {PROGRESS_TOPIC:?} is denied"),
    );

    let created = blind.ensure_topics(&[spec("made-by-blind")]).unwrap_err();
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

fn denied_publishing(broker: &Broker) {
    // No topic may be written to, the progress topic excepted.
    let mute = broker.log("mute", "mute-secret");
    for delivery in [Delivery::Transactional, Delivery::AtLeastOnce] {
        let mut publisher = mute.publisher("mute", delivery).unwrap();
        let denied = publisher
            .send(record("results", 0, b"a count"))
            .and_then(|()| publisher.commit(b"1"))
            .unwrap_err();
        assert_refused(&denied, "WRITE on topic \"results\"");
    }

    // No transactional id may be used.
    let nameless = broker.log("nameless", "nameless-secret");
    let denied = nameless.publisher("nameless", Delivery::Transactional);
    assert_names(
        &denied.err().unwrap(),
        "WRITE on transactional id \"nameless\" is denied",
    );

    // Nothing at all may be written: the broker gives this producer no id.
    let writeless = broker.log("writeless", "writeless-secret");
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

/// A caller whom the broker does not know, and one whose password is wrong: every call says so.
fn unknown_callers(broker: &Broker) {
    const EXPECTED: &str = "Kafka does not accept this user name or password (SASL)";

    let stranger = broker.log("stranger", "stranger-secret");
    assert_names(&stranger.partitions("orders").unwrap_err(), EXPECTED);

    let log = broker.log("admin", "wrong");
    assert_names(&log.partitions("orders").unwrap_err(), EXPECTED);
    assert_names(&log.offsets("orders").unwrap_err(), EXPECTED);
    assert_names(&log.describe("orders").unwrap_err(), EXPECTED);
    assert_names(&log.ensure_topics(&[spec("orders")]).unwrap_err(), EXPECTED);
    assert_names(&log.committed("a-group", "orders").unwrap_err(), EXPECTED);

    let refused = match log.reader("orders", &[(0, 0)]) {
        Ok(mut reader) => poll_until_refused(&mut *reader),
        Err(refused) => refused,
    };
    assert_names(&refused, EXPECTED);

    for delivery in [Delivery::Transactional, Delivery::AtLeastOnce] {
        let denied = log
            .publisher("a-publisher", delivery)
            .map_err(PublishError::from)
            .and_then(|mut publisher| {
                publisher.send(record("results", 0, b"a count"))?;
                publisher.commit(b"1")
            });
        assert_refused(&denied.unwrap_err(), EXPECTED);
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

fn await_broker(admin: &KafkaLog) {
    let deadline = Instant::now() + START_LIMIT;
    while let Err(error) = admin.ensure_topics(&[spec("ready")]) {
        assert!(
            Instant::now() < deadline,
            "the broker is not ready: {error}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn spec(name: &str) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3600),
    }
}

/// A broker that ends with this value.
struct Broker {
    child: Child,
    address: String,
    jars: PathBuf,
    folder: TempDir,
}

impl Broker {
    fn start() -> Option<Self> {
        let jars = jars()?;
        let folder = TempDir::new().unwrap();
        let [port, controller] = free_ports();
        let settings = folder.path().join("server.properties");
        std::fs::write(&settings, properties(port, controller, folder.path())).unwrap();

        let format = [
            "format",
            "--standalone",
            "-t",
            "VGlkZW1hcmtHdWFyZGVkMDA",
            "-c",
        ];

        let mut storage = java(&jars, "kafka.tools.StorageTool");
        run(storage.args(format).arg(&settings));
        let mut kafka = java(&jars, "kafka.Kafka");

        let child = kafka
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null());

        let address = format!("127.0.0.1:{port}");
        std::fs::write(
            folder.path().join("admin.properties"),
            login("admin", "admin-secret"),
        )
        .unwrap();

        Some(Self {
            child: child.spawn().unwrap(),
            address,
            jars,
            folder,
        })
    }

    fn log(&self, user: &str, password: &str) -> KafkaLog {
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", password),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
        KafkaLog::new(&self.address, &properties).unwrap()
    }

    fn allow(&self, users: &[&str], operations: &[&str], resources: &[&str]) {
        let mut tool = java(&self.jars, "org.apache.kafka.tools.AclCommand");
        tool.args(["--bootstrap-server", &self.address, "--command-config"]);
        tool.arg(self.folder.path().join("admin.properties"));
        tool.arg("--add").args(resources);
        for operation in operations {
            tool.args(["--operation", operation]);
        }
        for user in users {
            tool.args(["--allow-principal", &format!("User:{user}")]);
        }
        run(&mut tool);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The newest folder of Kafka's jars in the harness's cache.
fn jars() -> Option<PathBuf> {
    let cache = std::env::var_os("TIDEMARK_CACHE").map(PathBuf::from);
    let cache =
        cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache/tidemark")));
    let folders = std::fs::read_dir(cache?.join("jars")).into_iter().flatten();

    let is_kafka = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("kafka-"))
    };

    let found = folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(is_kafka);

    if std::env::var_os("TIDEMARK_TEST_BROKERS").is_none() || found.is_none() {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"SKIPPED: what_is_denied_is_named_and_never_unavailable (set TIDEMARK_TEST_BROKERS; fetch Kafka's jars by the harness)\n",
        );
        return None;
    }

    found
}

fn java(jars: &Path, class: &str) -> Command {
    let mut java = Command::new("java");
    java.args([
        "-Xms64m",
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
    ]);

    java.arg(jars.join("*")).arg(class);
    java
}

fn run(tool: &mut Command) {
    let output = tool.output().unwrap();
    assert!(
        output.status.success(),
        "{tool:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Two ports that nobody listened on a moment ago.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn login(user: &str, password: &str) -> String {
    format!(
        "security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config={LOGIN} required username=\"{user}\" password=\"{password}\";
"
    )
}

fn properties(port: u16, controller: u16, folder: &Path) -> String {
    let users: String = ["admin", "blind", "mute", "nameless", "writeless"]
        .map(|user| format!(" user_{user}=\"{user}-secret\""))
        .concat();
    let log = folder.join("log");
    let listeners =
        format!("SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");

    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners={listeners}
advertised.listeners={listeners}
controller.listener.names=CONTROLLER
inter.broker.listener.name=SASL_PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={LOGIN} required username=\"admin\" password=\"admin-secret\"{users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
log.dirs={log}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=1
num.io.threads=2
background.threads=1
",
        log = log.display()
    )
}

//! What a Kafka that asks who is calling, and what he may do, refuses: by name, and at once.
//!
//! The broker is this test's own: SASL PLAIN over plain text, and Kafka's authorizer. Its jars are those that the harness
//! fetched for the other tests; where `TIDEMARK_TEST_BROKERS` is not set, or there are no jars, the test is skipped loudly.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use record_log::kafka::{KafkaLog, PROGRESS_TOPIC};
use record_log::{Cleanup, LogError, Reader, RecordLog, TopicSpec};
use tempfile::TempDir;

use crate::subject::publish;

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

    broker.allow(
        &["blind"],
        "Describe",
        &["--topic", "orders", "--topic", "results"],
    );

    denied_reading(&broker);
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

    fn allow(&self, users: &[&str], operation: &str, resources: &[&str]) {
        let mut tool = java(&self.jars, "org.apache.kafka.tools.AclCommand");
        tool.args(["--bootstrap-server", &self.address, "--command-config"]);
        tool.arg(self.folder.path().join("admin.properties"));
        tool.args(["--add", "--operation", operation])
            .args(resources);
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
    let users: String = ["admin", "blind"]
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

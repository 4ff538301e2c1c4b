//! Brokers that a test starts, configures, restarts and ends, in the versions of Kafka that users have.
//!
//! Their jars are in the folders that `TIDEMARK_TEST_KAFKA_JARS` names (separated as in `PATH`), or in the harness's
//! cache. Where `TIDEMARK_TEST_BROKERS` is not set, or there are no jars of the version, such tests are skipped loudly.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use record_log::{Cleanup, LogSettings, RecordLog, TopicSpec, open};
use tempfile::TempDir;

/// The time limit for the start of a JVM on a busy machine.
pub const START_LIMIT: Duration = Duration::from_secs(300);
/// The version that the other tests run on.
pub const NEWEST: &str = "4.1.0";
/// The ports of brokers and of jobs' processes.
const PORTS: Range<u16> = 10_000..30_000;
const CLUSTER_ID: &str = "VGlkZW1hcmtHdWFyZGVkMDA";

/// A client of Kafka under test.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Client {
    Librdkafka,
    Native,
}

impl Client {
    pub const ALL: [Self; 2] = [Self::Librdkafka, Self::Native];

    /// Opens the log of these brokers with this client.
    pub fn open(self, brokers: &str, properties: &[(&str, &str)]) -> Arc<dyn RecordLog> {
        let brokers = brokers.to_owned();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let properties = properties.iter().map(owned).collect();

        let settings = match self {
            Self::Librdkafka => LogSettings::Kafka {
                brokers,
                properties,
            },
            Self::Native => LogSettings::NativeKafka {
                brokers,
                properties,
            },
        };
        open(&settings).unwrap()
    }
}

/// A broker. Dropping it ends the broker and deletes its data.
pub struct Broker {
    pub folder: TempDir,
    pub jars: PathBuf,
    child: Option<Child>,
    port: u16,
}

impl Broker {
    /// Formats and starts a broker of this version with these settings. It listens on the first of the ports, and may
    /// not be ready yet when this returns. `format` are further arguments for formatting its folder.
    pub fn start(
        version: &str,
        folder: TempDir,
        settings: &str,
        port: u16,
        format: &[&str],
    ) -> Option<Self> {
        let mut broker = Self::format(version, folder, settings, port, format)?;
        broker.spawn();
        broker.await_listener();
        Some(broker)
    }

    /// As [`Broker::start`], without starting the broker.
    pub fn format(
        version: &str,
        folder: TempDir,
        settings: &str,
        port: u16,
        format: &[&str],
    ) -> Option<Self> {
        let jars = jars(version)?;
        let file = folder.path().join("server.properties");
        std::fs::write(&file, settings).unwrap();
        let classes = folder.path().join("classes");
        std::fs::create_dir_all(&classes).unwrap();
        std::fs::write(classes.join("log4j.properties"), OLDER_LOGGING).unwrap();

        let mut storage = java(&[&jars.join("*")], "kafka.tools.StorageTool");
        storage.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&file);
        run(storage.args(format));

        Some(Self {
            folder,
            jars,
            child: None,
            port,
        })
    }

    /// Starts a broker of this version without authentication.
    pub fn open(version: &str, format: &[&str]) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let [port, controller] = free_ports();
        let settings = format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={}/log
{SMALL}",
            folder.path().display()
        );

        Self::start(version, folder, &settings, port, format)
    }

    /// Returns its first address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it on the data that it has.
    pub fn spawn(&mut self) {
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("output"))
            .unwrap();
        let child = java(&[&self.jars.join("*"), &self.classes()], "kafka.Kafka")
            .arg(self.folder.path().join("server.properties"))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Ends it at once, as a loss of power does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Shuts it down: it first hands over the partitions that it leads.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        self.child.take().unwrap().wait().unwrap();
    }

    /// Stops its process without closing its connections.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Ends [`Broker::freeze`].
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        run(Command::new("kill").args([signal, &id]));
    }

    /// Runs one of Kafka's tools.
    pub fn tool(&self, class: &str, arguments: &[&str]) {
        run(java(&[&self.jars.join("*")], class).args(arguments));
    }

    /// Returns the folder of the test's classes, which settings of the broker may name.
    pub fn classes(&self) -> PathBuf {
        self.folder.path().join("classes")
    }

    /// Waits for the listener. Brokers listen before they can answer every request, so callers must wait for that.
    pub fn await_listener(&mut self) {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the broker does not listen: {}",
                std::fs::read_to_string(self.folder.path().join("output")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Creates topics as soon as the brokers can.
pub fn create_when_ready(log: &dyn RecordLog, topics: &[&str]) {
    let specs: Vec<TopicSpec> = topics.iter().map(|name| spec(name, 1)).collect();
    let deadline = Instant::now() + START_LIMIT;

    while let Err(error) = log.ensure_topics(&specs) {
        assert!(
            Instant::now() < deadline,
            "the brokers are not ready: {error}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3600),
    }
}

/// Returns the folder of Kafka's jars of this version. Returns none, and prints a line about the skipped test, if there
/// is no folder or `TIDEMARK_TEST_BROKERS` is not set.
fn jars(version: &str) -> Option<PathBuf> {
    let mut folders = named_folders().unwrap_or_else(cached_folders).into_iter();
    let found = folders.find(|folder| folder.join(format!("kafka_2.13-{version}.jar")).exists());
    if std::env::var_os("TIDEMARK_TEST_BROKERS").is_some() && found.is_some() {
        return found;
    }

    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // Written past the capture of the test harness: a skipped test must not look like one that passed.
    let skipped = format!(
        "SKIPPED: {test} (set TIDEMARK_TEST_BROKERS; name the jars of Kafka {version} in TIDEMARK_TEST_KAFKA_JARS, or fetch \
         them by `cargo verify --only provision`)\n"
    );
    let _ = std::io::stderr().write_all(skipped.as_bytes());
    None
}

fn named_folders() -> Option<Vec<PathBuf>> {
    let named = std::env::var_os("TIDEMARK_TEST_KAFKA_JARS")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&named).collect();
    for folder in &folders {
        assert!(
            folder.is_dir(),
            "TIDEMARK_TEST_KAFKA_JARS names {}, which is not a folder",
            folder.display()
        );
    }
    Some(folders)
}

/// Returns the folders of jars in the harness's cache.
fn cached_folders() -> Vec<PathBuf> {
    let named = std::env::var_os("TIDEMARK_CACHE").map(PathBuf::from);
    let usual = || Some(Path::new(&std::env::var_os("HOME")?).join(".cache/tidemark"));
    let cache = named.or_else(usual);

    let folders = cache.and_then(|cache| std::fs::read_dir(cache.join("jars")).ok());
    let folders = folders.into_iter().flatten();
    folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

fn java(places: &[&Path], class: &str) -> Command {
    let mut java = Command::new("java");
    java.args([
        "-Xms64m",
        "-Xmx200m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
    ]);

    java.arg(std::env::join_paths(places).unwrap()).arg(class);
    java
}

fn run(tool: &mut Command) {
    let output = tool.output().unwrap();
    assert!(
        output.status.success(),
        "{tool:?}: {} {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns ports that were free a moment ago.
pub fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| draw_ports(1))
}

/// Returns the first of so many ports in a row that were free a moment ago.
///
/// They are below those that a system gives to connections: there, a connection of another test could take a port before
/// its broker listens. No port is returned twice in a process, and processes search from different ones.
pub fn draw_ports(count: u16) -> u16 {
    static DRAWN: AtomicU16 = AtomicU16::new(0);
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let offset = u16::try_from(std::process::id() % 200).unwrap() * 100;

    for _ in 0..PORTS.len() {
        let drawn = DRAWN.fetch_add(count, Ordering::Relaxed);
        let width = PORTS.end - PORTS.start - count;
        let first = PORTS.start + offset.wrapping_add(drawn) % width;
        if (first..first + count).all(is_free) {
            return first;
        }
    }
    panic!("no {count} ports in a row are free in {PORTS:?}");
}

/// The settings of logging for versions before 4.0, which log nothing without them.
const OLDER_LOGGING: &str = "log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
";

/// The settings of every broker of a test: one replica of everything, and little of all else.
pub const SMALL: &str = "auto.create.topics.enable=false
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
";

//! Brokers of a test's own: to be configured, restarted and ended.
//!
//! Their jars are those that the harness fetched for the other tests, or those in the folder that `TIDEMARK_TEST_KAFKA_JARS`
//! names, of another version. Where `TIDEMARK_TEST_BROKERS` is not set, or there are no jars, such tests are skipped loudly.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a JVM may take on a busy machine.
pub const START_LIMIT: Duration = Duration::from_secs(300);
const CLUSTER_ID: &str = "VGlkZW1hcmtHdWFyZGVkMDA";

/// A broker that ends with this value. Its data stays until then.
pub struct Broker {
    pub folder: TempDir,
    jars: PathBuf,
    child: Option<Child>,
    port: u16,
}

impl Broker {
    /// Formats and starts a broker with these settings, the first of whose ports is to be listened on. It need not be
    /// ready yet when this returns. `format` are further arguments for formatting its folder.
    pub fn start(folder: TempDir, settings: &str, port: u16, format: &[&str]) -> Option<Self> {
        let jars = jars()?;
        let file = folder.path().join("server.properties");
        std::fs::write(&file, settings).unwrap();

        let mut storage = java(&jars, "kafka.tools.StorageTool");
        storage.args(["format", "-t", CLUSTER_ID, "-c"]).arg(&file);
        run(storage.args(format));

        let mut broker = Self {
            folder,
            jars,
            child: None,
            port,
        };
        broker.resume();
        Some(broker)
    }

    /// Starts it on the data that it has, and waits until it listens.
    pub fn resume(&mut self) {
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("output"))
            .unwrap();
        let child = java(&self.jars, "kafka.Kafka")
            .arg(self.folder.path().join("server.properties"))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        self.await_listener();
    }

    /// Ends it at once, as a machine does that loses its power.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Runs one of Kafka's tools.
    pub fn tool(&self, class: &str, arguments: &[&str]) {
        run(java(&self.jars, class).args(arguments));
    }

    /// Waits for the listener: brokers listen before they know all that they are asked, which callers wait for.
    fn await_listener(&mut self) {
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

/// The folder of Kafka's jars; none, and said loudly, if there are none or no broker is to be tested on.
fn jars() -> Option<PathBuf> {
    let found = named_jars().or_else(cached_jars);
    if std::env::var_os("TIDEMARK_TEST_BROKERS").is_some() && found.is_some() {
        return found;
    }

    let test = std::thread::current().name().unwrap_or_default().to_owned();
    // Past the capture of the test harness: a skipped test must not look like one that passed.
    let skipped =
        format!("SKIPPED: {test} (set TIDEMARK_TEST_BROKERS; fetch Kafka's jars by the harness)\n");
    let _ = std::io::stderr().write_all(skipped.as_bytes());
    None
}

fn named_jars() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("TIDEMARK_TEST_KAFKA_JARS")?);
    assert!(folder.is_dir(), "TIDEMARK_TEST_KAFKA_JARS names no folder");
    Some(folder)
}

/// Those in the harness's cache.
fn cached_jars() -> Option<PathBuf> {
    let cache = std::env::var_os("TIDEMARK_CACHE").map(PathBuf::from);
    let cache =
        cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache/tidemark")));
    let folders = std::fs::read_dir(cache?.join("jars")).into_iter().flatten();

    let is_kafka = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("kafka-"))
    };
    folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(is_kafka)
}

fn java(jars: &Path, class: &str) -> Command {
    let mut java = Command::new("java");
    java.args([
        "-Xms64m",
        "-Xmx256m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
    ]);

    java.arg(jars.join("*")).arg(class);
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

/// Ports that were free a moment ago.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// What every broker of a test is set to: one replica of everything, and little of all else.
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

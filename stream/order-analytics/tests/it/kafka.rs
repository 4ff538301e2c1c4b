//! A job with topics of its own on the brokers that the environment names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use events::{Timestamp, WindowCount};
use order_analytics::OrderAnalytics;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use record_log::{Cleanup, Delivery, LogError, LogSettings, NewRecord, RecordLog, TopicSpec, open};
use serde_json::{Value, json};
use stream::{JobError, Stop};
use tempfile::TempDir;

use crate::markers::await_markers;

/// The time limit of a step of a test. A correct step takes less time.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The beginning of the window of all orders.
pub const WINDOW_START_MS: u64 = 1_764_000_000_000;

/// The settings of a job, as the command line has them.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    job: OrderAnalytics,
}

/// A record as it stands in a topic.
pub struct Found {
    pub partition: u32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// A job's topics, and the folder of its checkpoints.
pub struct Shop {
    pub log: Arc<dyn RecordLog>,
    pub brokers: String,
    pub name: String,
    folder: TempDir,
    orders: AtomicU64,
}

impl Shop {
    /// Creates the topic of orders. Returns none, and prints a line, if no brokers are named.
    pub fn open() -> Option<Self> {
        let shop = Self::without_topic()?;
        shop.create(&shop.input(), Cleanup::Delete);
        Some(shop)
    }

    /// Opens the shop as [`Shop::open`] does, without the topic of orders.
    pub fn without_topic() -> Option<Self> {
        let Ok(brokers) = std::env::var("TIDEMARK_TEST_BROKERS") else {
            skip("set TIDEMARK_TEST_BROKERS");
            return None;
        };
        Some(Self::at(brokers))
    }

    /// A shop without topics on these brokers.
    pub fn at(brokers: String) -> Self {
        let log = open(&LogSettings::Kafka {
            brokers: brokers.clone(),
            properties: Vec::new(),
        });

        Self {
            log: log.unwrap(),
            brokers,
            name: unique(),
            folder: TempDir::new().unwrap(),
            orders: AtomicU64::new(0),
        }
    }

    pub fn input(&self) -> String {
        self.topic("orders")
    }

    /// A topic of this job.
    pub fn topic(&self, kind: &str) -> String {
        format!("{kind}-{}", self.name)
    }

    pub fn create(&self, topic: &str, cleanup: Cleanup) {
        let spec = TopicSpec {
            name: topic.to_owned(),
            partitions: 1,
            cleanup,
            retention: Duration::from_secs(3600),
        };
        self.log.ensure_topics(&[spec]).unwrap();
    }

    /// Publishes orders of these users in one transaction, each at another second of the window.
    pub fn publish(&self, users: &[u64]) {
        let id = format!("{}-shop", self.name);
        let mut publisher = self.log.publisher(&id, Delivery::Transactional).unwrap();

        for user in users {
            let number = self.orders.fetch_add(1, Ordering::SeqCst);
            let key = user.to_string();
            let value = order(*user, number);
            let record = NewRecord {
                topic: &self.input(),
                partition: Some(0),
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }

        publisher.commit(b"").unwrap();
    }

    /// Publishes orders of these users as [`Shop::publish`] does, without transactions and without progress.
    pub fn produce(&self, users: &[u64]) {
        for user in users {
            let number = self.orders.fetch_add(1, Ordering::SeqCst);
            self.produce_raw(order(*user, number).as_bytes());
        }
    }

    /// Publishes an order of this user that is placed now, without transactions. Event time goes on to it as the clock does.
    pub fn produce_now(&self, user: u64) {
        let number = self.orders.fetch_add(1, Ordering::SeqCst);
        let order = order_at(user, number, Timestamp::now().as_ms());
        self.produce_raw(order.as_bytes());
    }

    /// Publishes a record with this value, without transactions.
    pub fn produce_raw(&self, value: &[u8]) {
        self.produce_all([value]);
    }

    /// Publishes records with these values to partition 0, without transactions.
    pub fn produce_all(&self, values: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .unwrap();

        let input = self.input();
        for value in values {
            let payload = value.as_ref();
            let record = BaseRecord::to(&input)
                .partition(0)
                .key("7")
                .payload(payload);
            producer.send(record).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// The newest manifest of the job's checkpoints, if there is one. A running job may delete it at any time.
    pub fn manifest(&self) -> Option<Value> {
        let folder = self.folder.path().join(&self.name).join("manifests");
        let entries = std::fs::read_dir(folder).ok()?;
        let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let newest = files
            .filter(|file| file.extension().is_some_and(|it| it == "json"))
            .max()?;

        // Its checksum is on the second line.
        let text = std::fs::read_to_string(newest).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    }

    /// The address of the job's checkpoints.
    pub fn checkpoints(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }

    /// The arguments of the job. It reads to the end of the topic.
    pub fn arguments(&self, settings: &[&str]) -> Vec<String> {
        let named = [
            ("--job", self.name.clone()),
            ("--input-topic", self.input()),
            ("--output-topic", self.topic("results")),
            ("--summary-topic", self.topic("summaries")),
            ("--late-topic", self.topic("late")),
            ("--dead-letter-topic", self.topic("dead-letter")),
            ("--checkpoints", self.checkpoints()),
        ];

        let mut arguments = vec!["--until-end".to_owned()];
        for (name, value) in named {
            arguments.extend([name.to_owned(), value]);
        }
        arguments.extend(settings.iter().map(|it| (*it).to_owned()));
        arguments
    }

    /// Runs the job until it has read the whole topic.
    pub fn run(&self, settings: &[&str]) -> Result<(), JobError> {
        let program = std::iter::once("order-analytics".to_owned());
        let arguments = Arguments::parse_from(program.chain(self.arguments(settings)));
        arguments
            .job
            .on(Arc::clone(&self.log))?
            .run(&Stop::default())?;
        self.await_markers();
        Ok(())
    }

    /// Runs the job in a process of its own until it has read the whole topic, and returns what it logged.
    pub fn run_apart(&self, settings: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
            .args(["--brokers", &self.brokers])
            .args(self.arguments(settings))
            .output()
            .unwrap();

        let logged = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{}: {logged}", self.name);
        self.await_markers();
        logged
    }

    /// Waits until everything that the job has committed is readable.
    fn await_markers(&self) {
        let kinds = ["results", "summaries", "late", "dead-letter"];
        let topics = kinds.map(|kind| self.topic(kind));
        await_markers(&*self.log, &self.brokers, &topics);
    }

    /// All rows that the job has published, in their order.
    pub fn rows(&self) -> Vec<WindowCount> {
        self.found(&self.topic("results"))
            .into_iter()
            .map(|found| serde_json::from_slice(&found.value.unwrap()).unwrap())
            .collect()
    }

    /// The user and the count of each window, each of which has one user.
    ///
    /// # Panics
    /// If a revision was published twice.
    pub fn windows(&self) -> BTreeMap<String, (u64, u64)> {
        let mut newest = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut rows = self.rows();
        rows.sort_by_key(|row| row.revision);
        for row in rows {
            let window = row.window_start.to_string();
            let is_new = seen.insert((window.clone(), row.revision));
            assert!(is_new, "a row is repeated under its revision: {row:?}");
            newest.insert(window, (row.user_id, row.order_count));
        }
        newest
    }

    /// Returns all rows, once there are `at_least` of them.
    pub fn await_rows(&self, at_least: usize) -> Vec<WindowCount> {
        let found = self.await_records("results", at_least).into_iter();
        found
            .map(|found| serde_json::from_slice(&found.value.unwrap()).unwrap())
            .collect()
    }

    /// Returns all records of a topic of a running job, once there are `at_least` of them.
    pub fn await_records(&self, kind: &str, at_least: usize) -> Vec<Found> {
        let begun = Instant::now();
        loop {
            let found = self.found(&self.topic(kind));
            if found.len() >= at_least {
                return found;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{at_least} {kind} are expected: {}",
                found.len()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Everything that a topic holds; nothing if it does not exist.
    pub fn found(&self, topic: &str) -> Vec<Found> {
        let ranges = match self.log.offsets(topic) {
            Err(LogError::UnknownTopic(_)) => return Vec::new(),
            ranges => ranges.unwrap(),
        };
        let from: Vec<_> = (0..)
            .zip(&ranges)
            .map(|(partition, range)| (partition, range.start))
            .collect();

        let mut reader = self.log.reader(topic, &from).unwrap();
        let mut found = Vec::new();
        let begun = Instant::now();
        for (partition, range) in (0..).zip(ranges) {
            let mut next_offset = range.start;
            while next_offset < range.end {
                let polled = reader.poll(partition, 10_000, &mut |record| {
                    found.push(Found {
                        partition,
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                    });
                });
                next_offset = polled.unwrap().next_offset;
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{topic} cannot be read to its end"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
        }

        found
    }

    /// Waits until the brokers have no such topic.
    pub fn until_deleted(&self, topic: &str) {
        let begun = Instant::now();
        while !matches!(self.log.partitions(topic), Err(LogError::UnknownTopic(_))) {
            assert!(begun.elapsed() < PATIENCE, "{topic} is not deleted");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Runs one of Kafka's own tools on topics.
pub fn topic_tool(jars: &Path, shop: &Shop, arguments: &[&str]) {
    let output = Command::new("java")
        .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars.join("*"))
        .arg("org.apache.kafka.tools.TopicCommand")
        .args(["--bootstrap-server", &shop.brokers])
        .args(arguments)
        .output()
        .unwrap();

    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// The folder of Kafka's jars in the harness's cache. Returns none, and prints a line, if it is not there.
pub fn jars() -> Option<PathBuf> {
    let cache = std::env::var_os("TIDEMARK_CACHE").map(PathBuf::from);
    let cache = cache
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache/tidemark")))
        .unwrap_or_default();

    let folders = std::fs::read_dir(cache.join("jars")).into_iter().flatten();
    let found = folders
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("kafka-"))
        });

    if found.is_none() {
        skip("fetch Kafka's jars by the harness; TIDEMARK_TEST_BROKERS");
    }
    found
}

/// Prints past the capture of the test harness: a skipped test must not look like one that passed.
fn skip(remedy: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let said = format!("SKIPPED: {test} ({remedy})\n");
    let _ = std::io::stderr().write_all(said.as_bytes());
}

/// A name that no other test and no earlier run uses.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "misused-{}-{}-{}",
        Timestamp::now().as_ms(),
        std::process::id(),
        NEXT.fetch_add(1, Ordering::SeqCst)
    )
}

/// An order of this user, at a second of the window.
pub fn order(user: u64, number: u64) -> String {
    order_at(user, number, WINDOW_START_MS + number % 60 * 1_000)
}

/// An order of this user, at this time.
pub fn order_at(user: u64, number: u64, created_at_ms: u64) -> String {
    let created_at = Timestamp::from_ms(created_at_ms).unwrap();
    json!({
        "event_id": uuid::Uuid::from_u128(u128::from(number) + 1),
        "event_type": "order.created",
        "order_id": number + 1,
        "user_id": user,
        "total_cents": 100,
        "currency": "USD",
        "items": [{"product_id": uuid::Uuid::nil(), "quantity": 1, "unit_price_cents": 100}],
        "created_at": created_at.to_string(),
    })
    .to_string()
}

//! A real Kafka, with topics and producers that are not the job's own.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use futures::executor::block_on;
use order_analytics::OrderAnalytics;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use record_log::{RecordLog, open};
use stream::Stop;
use stream_cli::Client;

use crate::markers::await_markers;

/// The time limit of a call of a broker.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names the brokers, or prints a line that the test is skipped.
pub fn brokers() -> Option<String> {
    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").ok();
    if brokers.is_none() {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let skipped = format!("SKIPPED: {test} (set TIDEMARK_TEST_BROKERS)\n");
        // Not captured by the test harness.
        let _ = std::io::stderr().write_all(skipped.as_bytes());
    }
    brokers
}

/// The topics of one job, and its checkpoints.
pub struct Shop {
    brokers: String,
    name: String,
    checkpoints: tempfile::TempDir,
}

/// A record as another producer writes it.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    job: OrderAnalytics,
}

impl Shop {
    /// Creates the input topic and the two topics of side outputs, with these limits of a record's bytes. `None` stands
    /// for the broker's default.
    pub fn open(brokers: &str, input_limit: Option<u32>, side_limit: Option<u32>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let shop = Self {
            brokers: brokers.to_owned(),
            name: format!("shop-{}-{}-{number}", now.as_millis(), std::process::id()),
            checkpoints: tempfile::tempdir().unwrap(),
        };

        let topics = [
            ("orders", input_limit),
            ("late", side_limit),
            ("dead", side_limit),
        ];
        for (topic, limit) in topics {
            shop.create(topic, limit);
        }
        shop
    }

    fn create(&self, topic: &str, limit: Option<u32>) {
        let name = self.topic(topic);
        let limit = limit.map(|limit| limit.to_string());
        let mut topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "LogAppendTime");

        if let Some(limit) = &limit {
            topic = topic.set("max.message.bytes", limit);
        }

        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .unwrap();
        let created = block_on(admin.create_topics(&[topic], &AdminOptions::new())).unwrap();

        created.into_iter().for_each(|topic| drop(topic.unwrap()));
    }

    fn topic(&self, topic: &str) -> String {
        format!("{}-{topic}", self.name)
    }

    /// Writes records to the topic of orders, each in a batch of its own.
    pub fn produce(&self, compression: &str, records: &[Raw]) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("compression.type", compression)
            .set("message.max.bytes", "100000000")
            .create()
            .unwrap();

        let topic = self.topic("orders");
        for raw in records {
            let headers = raw
                .headers
                .iter()
                .fold(OwnedHeaders::new(), |headers, (key, value)| {
                    headers.insert(Header {
                        key,
                        value: Some(value),
                    })
                });
            let mut record = BaseRecord::<[u8], [u8], ()>::with_opaque_to(&topic, ())
                .partition(0)
                .headers(headers);
            record.key = raw.key.as_deref();
            record.payload = raw.value.as_deref();
            producer.send(record).map_err(|(error, _)| error).unwrap();
            producer.flush(PATIENCE).unwrap();
        }

        let written = producer.in_flight_count();
        assert_eq!(written, 0, "all records are written");
    }

    /// Runs the job up to the end of the topic.
    pub fn run(&self, client: Client) {
        let checkpoints = format!("file://{}", self.checkpoints.path().display());
        let topics = ["orders", "results", "totals", "late", "dead"].map(|name| self.topic(name));
        let [orders, results, totals, late, dead] = &topics;
        let flags = [
            "test",
            "--job",
            &self.name,
            "--input-topic",
            orders,
            "--output-topic",
            results,
            "--summary-topic",
            totals,
            "--late-topic",
            late,
            "--dead-letter-topic",
            dead,
            "--checkpoints",
            &checkpoints,
            "--window",
            "1s",
            "--allowed-lateness",
            "0s",
            "--until-end",
        ];

        let job = Flags::try_parse_from(flags).unwrap().job;
        job.on(self.log(client))
            .unwrap()
            .run(&Stop::default())
            .unwrap();
        await_markers(&*self.log(Client::Rdkafka), &self.brokers, &topics);
    }

    fn log(&self, client: Client) -> std::sync::Arc<dyn RecordLog> {
        open(&client.settings(self.brokers.clone(), Vec::new())).unwrap()
    }

    /// Returns everything that is committed on a topic.
    pub fn read(&self, topic: &str) -> Vec<Raw> {
        let topic = self.topic(topic);
        let log = self.log(Client::Rdkafka);
        let mut records = Vec::new();

        for (partition, range) in (0..).zip(log.offsets(&topic).unwrap()) {
            let mut reader = log.reader(&topic, &[(partition, range.start)]).unwrap();
            loop {
                let polled = reader.poll(partition, 10_000, &mut |record| {
                    let mut headers = Vec::new();
                    record.headers.for_each(&mut |name, value| {
                        headers.push((name.to_owned(), value.to_vec()));
                    });
                    records.push(Raw {
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                        headers,
                    });
                });
                if polled.unwrap().next_offset >= range.end {
                    break;
                }
                std::thread::yield_now();
            }
        }

        records
    }

    /// Returns the sum of the orders in the newest revisions of all results.
    pub fn counted(&self) -> u64 {
        let mut newest: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for record in self.read("results") {
            let row: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
            let key = format!("{} {}", row["user_id"], row["window_start"]);
            let revision = row["revision"].as_u64().unwrap();
            let count = row["order_count"].as_u64().unwrap();
            let stands = newest.entry(key).or_default();
            *stands = (*stands).max((revision, count));
        }
        newest.values().map(|(_, count)| count).sum()
    }
}

impl Raw {
    /// Returns the value of the header, which occurs once at most.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let value = found
            .next()
            .map(|(_, value)| std::str::from_utf8(value).unwrap());
        assert!(found.next().is_none(), "{name} occurs once");
        value
    }
}

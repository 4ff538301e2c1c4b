//! librdkafka's properties: the defaults of each kind of client, and the properties that the caller
//! may not set.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::LogError;

/// The properties that the log's guarantees depend on.
const CONTRACT: [&str; 13] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "partitioner",
    "request.required.acks",
    "transactional.id",
];

/// The total size in KiB of fetched records that wait in the queues of a reader.
const QUEUED_KIB: usize = 4 << 10;

/// The largest record that a publisher accepts, for every topic.
pub(super) const BUFFER_BYTES: usize = 16 << 20;
const BUFFER_BYTES_TEXT: &str = "16777216";
const BUFFER_KIB_TEXT: &str = "32768";

/// The brokers and the caller's properties.
#[derive(Clone)]
pub(super) struct Settings {
    brokers: String,
    properties: Vec<(String, String)>,
}

/// The reason why a property cannot be used.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the property {0:?} is not yours to set: the record log's guarantees depend on it")]
    Contract(String),
    #[error(
        "the property {0:?} needs TLS, which this build lacks: build with `--features record-log/tls`"
    )]
    NeedsTls(String),
}

impl Settings {
    pub(super) fn new(brokers: &str, properties: &[(String, String)]) -> Result<Self, LogError> {
        for (name, value) in properties {
            let refused = match name.as_str() {
                name if CONTRACT.contains(&name) => Refused::Contract(name.to_owned()),
                name if !cfg!(feature = "tls") && needs_tls(name, value) => {
                    Refused::NeedsTls(name.to_owned())
                }
                _ => continue,
            };
            return Err(LogError::Settings(Box::new(refused)));
        }

        Ok(Self {
            brokers: brokers.to_owned(),
            properties: properties.to_vec(),
        })
    }

    /// Returns the brokers that the settings name.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Returns the properties of a client for administration. It logs nothing, because calls return
    /// all failures.
    pub(super) fn admin(&self) -> ClientConfig {
        let mut config = self.with(&[
            ("enable.auto.commit", "false"),
            ("isolation.level", "read_committed"),
            ("socket.timeout.ms", "10000"),
        ]);
        config.set_log_level(RDKafkaLogLevel::Critical);

        config
    }

    /// Returns the properties of a client that reads this many partitions. Short waits keep the
    /// delay low, and small queues the memory.
    pub(super) fn reader(&self, partitions: usize) -> ClientConfig {
        let queued_kib = (QUEUED_KIB / partitions.max(1)).max(256).to_string();
        self.with(&[
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            ("enable.partition.eof", "true"),
            ("fetch.max.bytes", "4194304"),
            ("fetch.min.bytes", "1"),
            ("fetch.queue.backoff.ms", "2"),
            ("fetch.wait.max.ms", "50"),
            ("isolation.level", "read_committed"),
            ("max.partition.fetch.bytes", "393216"),
            ("queued.max.messages.kbytes", &queued_kib),
            // librdkafka's default is a minute; a frozen leader is replaced much sooner.
            ("socket.timeout.ms", "10000"),
        ])
    }

    /// Returns the properties of a member of a group. A member that dies loses its partitions after
    /// its session of 10 s; one that lives and does not poll, after five minutes. Partitions move
    /// one by one (cooperative), so a member keeps those that do not move.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        self.with(&[
            ("auto.offset.reset", "latest"),
            ("enable.auto.commit", "false"),
            ("group.id", group),
            ("heartbeat.interval.ms", "1000"),
            ("max.poll.interval.ms", "300000"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "10000"),
            // Partitions that are added to the topic are assigned within this time.
            ("topic.metadata.refresh.interval.ms", "10000"),
        ])
    }

    /// Returns the properties of a client that publishes without transactions.
    pub(super) fn at_least_once(&self) -> ClientConfig {
        self.with(&[
            ("allow.auto.create.topics", "false"),
            ("compression.codec", "lz4"),
            ("enable.idempotence", "true"),
            ("linger.ms", "5"),
            // Records are compared with the limits of their topics; this limit only guards
            // librdkafka's buffer.
            ("message.max.bytes", BUFFER_BYTES_TEXT),
            ("message.timeout.ms", "10000"),
            ("partitioner", "murmur2_random"),
            ("queue.buffering.max.kbytes", BUFFER_KIB_TEXT),
            // A topic that is still unknown after this time does not exist.
            ("topic.metadata.propagation.max.ms", "8000"),
            // While the brokers still write the end of a transaction, they reject the next one with
            // a retriable error. With the default of 100 ms, that pause would be most of a commit.
            ("retry.backoff.ms", "5"),
        ])
    }

    /// Returns the properties of a client that publishes in transactions. Brokers abort
    /// transactions that are older than their time-out, so the open transaction of a killed
    /// publisher does not hold readers back for long.
    pub(super) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.at_least_once();
        config.set("transactional.id", id);
        if config.get("transaction.timeout.ms").is_none() {
            config.set("transaction.timeout.ms", "15000");
        }
        config
    }

    /// Returns the defaults of a kind of client, overridden by the caller's properties.
    fn with(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "tidemark");

        // Brokers that come back are found within a second.
        config.set("reconnect.backoff.max.ms", "1000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }

        config
    }
}

/// Returns `true` if a property needs TLS. SASL PLAIN over plain text does not.
fn needs_tls(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match name {
        "security.protocol" => !matches!(&*value, "plaintext" | "sasl_plaintext"),
        "sasl.mechanism" | "sasl.mechanisms" => value != "plain",
        "sasl.username" | "sasl.password" => false,
        name => name.starts_with("ssl.") || name.starts_with("sasl."),
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    fn refusal(name: &str, value: &str) -> String {
        let properties = [(name.to_owned(), value.to_owned())];
        Settings::new("localhost:1", &properties)
            .err()
            .unwrap()
            .to_string()
    }

    #[test]
    fn properties_of_the_contract_are_refused_by_name() {
        assert!(
            refusal("isolation.level", "read_uncommitted")
                .contains("\"isolation.level\" is not yours to set")
        );
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn a_build_without_tls_says_how_to_get_it() {
        assert!(refusal("security.protocol", "ssl").contains("--features record-log/tls"));
        assert!(refusal("sasl.mechanism", "SCRAM-SHA-512").contains("--features record-log/tls"));
    }

    #[test]
    fn properties_of_the_caller_go_before_the_defaults() {
        let properties = [("fetch.wait.max.ms".to_owned(), "500".to_owned())];
        let settings = Settings::new("localhost:1", &properties).unwrap();
        assert_eq!(settings.reader(4).get("fetch.wait.max.ms"), Some("500"));
        assert_eq!(settings.reader(4).get("socket.timeout.ms"), Some("10000"));

        assert_eq!(
            settings.reader(4).get("queued.max.messages.kbytes"),
            Some("1024")
        );
    }
}

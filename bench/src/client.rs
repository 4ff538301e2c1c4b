//! The clients of Kafka that the harness compares.

use std::sync::Arc;

use record_log::{LogError, LogSettings, RecordLog};

/// A client of Kafka, by the name that the job's `--client` has for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum KafkaClient {
    /// The client of this project.
    Native,
    /// librdkafka.
    Rdkafka,
}

impl KafkaClient {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Rdkafka => "rdkafka",
        }
    }

    /// Opens the log of these brokers.
    ///
    /// # Errors
    /// [`LogError::Settings`] if the addresses are rejected.
    pub fn open(self, brokers: &str) -> Result<Arc<dyn RecordLog>, LogError> {
        let brokers = brokers.to_owned();
        let properties = Vec::new();
        record_log::open(&match self {
            Self::Native => LogSettings::NativeKafka {
                brokers,
                properties,
            },
            Self::Rdkafka => LogSettings::Kafka {
                brokers,
                properties,
            },
        })
    }
}

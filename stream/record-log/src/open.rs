//! Which log a process uses: Kafka, by one client or the other, when brokers are named; the embedded one otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{LogError, RecordLog, embedded::EmbeddedLog, kafka::KafkaLog, native::NativeLog};

/// Where the records are kept.
#[derive(Clone, Debug)]
pub enum LogSettings {
    /// A log inside this process, persistent in a folder.
    Embedded {
        /// The folder; created when absent.
        folder: PathBuf,
    },
    /// Apache Kafka, by librdkafka.
    Kafka {
        /// `host:port`, comma separated.
        brokers: String,
        /// Further librdkafka properties by name (TLS, SASL).
        properties: Vec<(String, String)>,
    },
    /// Apache Kafka, by this crate's own client.
    NativeKafka {
        /// `host:port`, comma separated.
        brokers: String,
        /// Further properties by librdkafka's names; those that the client has no use for are refused.
        properties: Vec<(String, String)>,
    },
}

/// Opens the log that the settings name.
///
/// # Errors
/// [`LogError::Settings`] when the folder or a property cannot be used. An unreachable broker is no error here: calls
/// that need it say [`LogError::Unavailable`].
pub fn open(settings: &LogSettings) -> Result<Arc<dyn RecordLog>, LogError> {
    Ok(match settings {
        LogSettings::Embedded { folder } => Arc::new(EmbeddedLog::open(folder)?),
        LogSettings::Kafka {
            brokers,
            properties,
        } => Arc::new(KafkaLog::new(brokers, properties)?),
        LogSettings::NativeKafka {
            brokers,
            properties,
        } => Arc::new(NativeLog::new(brokers, properties)?),
    })
}

//! The choice of a log: Kafka, by one of two clients, if brokers are configured; otherwise the
//! embedded log.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{LogError, RecordLog, embedded::EmbeddedLog, kafka::KafkaLog, native::NativeLog};

/// The log that a process uses.
#[derive(Clone, Debug)]
pub enum LogSettings {
    /// A log inside this process, persistent in a folder.
    Embedded {
        /// The folder; created if it is missing.
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
        /// Further properties by librdkafka's names; the client rejects those that it does not
        /// support.
        properties: Vec<(String, String)>,
    },
}

/// Opens the log of these settings.
///
/// # Errors
/// [`LogError::Settings`] if the folder or a property cannot be used. An unreachable broker is no
/// error here; operations that need it return [`LogError::Unavailable`].
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

//! Which log a process uses: Kafka when brokers are named, the embedded one otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{LogError, RecordLog, embedded::EmbeddedLog, kafka::KafkaLog};

/// Where the records are kept.
#[derive(Clone, Debug)]
pub enum LogSettings {
    /// A log inside this process, persistent in a folder.
    Embedded {
        /// The folder; created when absent.
        folder: PathBuf,
    },
    /// Apache Kafka.
    Kafka {
        /// `host:port`, comma separated.
        brokers: String,
        /// Further librdkafka properties by name (TLS, SASL).
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
    })
}

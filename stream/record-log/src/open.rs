//! The choice of a log: Kafka, by one of two clients, if brokers are configured; otherwise the
//! embedded log.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{LogError, RecordLog, embedded::EmbeddedLog, kafka::KafkaLog, native::NativeLog};

/// The log that a process uses.
#[derive(Clone)]
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

/// Properties hold passwords and keys, so only their names are shown.
impl fmt::Debug for LogSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, brokers, properties) = match self {
            Self::Embedded { folder } => {
                let mut shown = formatter.debug_struct("Embedded");
                return shown.field("folder", folder).finish();
            }
            Self::Kafka {
                brokers,
                properties,
            } => ("Kafka", brokers, properties),
            Self::NativeKafka {
                brokers,
                properties,
            } => ("NativeKafka", brokers, properties),
        };

        let names: Vec<&str> = properties.iter().map(|(name, _)| &**name).collect();
        formatter
            .debug_struct(name)
            .field("brokers", brokers)
            .field("properties", &names)
            .finish()
    }
}

/// Opens the log of these settings.
///
/// # Errors
/// [`LogError::Settings`] if the folder or a property cannot be used. An unreachable broker is not
/// an error here; operations that need it return [`LogError::Unavailable`].
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

#[cfg(test)]
mod tests {
    use super::LogSettings;

    #[test]
    fn values_of_properties_are_not_shown() {
        let brokers = "kafka-1:9094".to_owned();
        let properties = vec![("sasl.password".to_owned(), "open sesame".to_owned())];
        let all = [
            LogSettings::Kafka {
                brokers: brokers.clone(),
                properties: properties.clone(),
            },
            LogSettings::NativeKafka {
                brokers,
                properties,
            },
        ];

        for settings in all {
            let shown = format!("{settings:?} {settings:#?}");
            assert!(shown.contains("kafka-1:9094") && shown.contains("sasl.password"));
            assert!(!shown.contains("sesame"), "{shown}");
        }
    }
}

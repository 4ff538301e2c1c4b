//! The place of the log on Apache Kafka.

use crate::LogError;
use crate::simulated::SimulatedLog;

/// A log on Apache Kafka.
pub struct KafkaLog;

impl KafkaLog {
    /// A log of the brokers.
    ///
    /// # Errors
    /// Always: it is not built yet.
    pub fn new(_brokers: &str, _properties: &[(String, String)]) -> Result<SimulatedLog, LogError> {
        Err(LogError::Settings("Kafka is not built in yet".into()))
    }
}

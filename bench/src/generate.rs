//! `bench generate`: writes orders to a topic, as fast as possible or at a rate.

use std::time::{Duration, Instant};

use record_log::{
    Cleanup, Delivery, LogError, LogSettings, NewRecord, PublishError, Publisher, RecordLog,
    TopicSpec,
};

use crate::orders::{Made, OrderSettings, Value};

/// Writes generated orders to a topic, which is created if it is missing.
#[derive(Debug, clap::Parser)]
pub struct Args {
    #[command(flatten)]
    orders: OrderSettings,
    /// Kafka's brokers as `host:port`, comma separated.
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: String,
    /// The topic to write to.
    #[arg(long, default_value = events::ORDERS)]
    topic: String,
    /// Partitions of the topic if it is created.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Records a second; as fast as the log accepts them if absent.
    #[arg(long)]
    rate: Option<u32>,
}

/// The reason why not all orders are in the topic.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The log failed or could not be reached.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// A topic to fill, and the rate.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its name.
    pub topic: &'a str,
    /// Its partitions if it is created.
    pub partitions: u32,
    /// Records a second; as fast as the log accepts them if absent.
    pub rate: Option<u32>,
}

impl Args {
    /// Generates the orders and prints the duration.
    ///
    /// # Errors
    /// [`GenerateError`].
    pub fn run(self) -> Result<(), GenerateError> {
        let log = kafka(&self.brokers)?;
        let started = Instant::now();
        let target = Target {
            topic: &self.topic,
            partitions: self.partitions,
            rate: self.rate,
        };
        publish(&*log, target, self.orders.records())?;

        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{} records in {:?} after {seconds:.1} s",
            self.orders.orders, self.topic
        );

        Ok(())
    }
}

/// Returns the log of the brokers.
///
/// # Errors
/// [`LogError::Settings`] if the settings are rejected.
pub fn kafka(brokers: &str) -> Result<std::sync::Arc<dyn RecordLog>, LogError> {
    record_log::open(&LogSettings::Kafka {
        brokers: brokers.to_owned(),
        properties: Vec::new(),
    })
}

/// Publishes the records in their order; they can be read when this returns.
///
/// # Errors
/// [`GenerateError`]; nothing is retried, because a second attempt could publish a record twice.
pub fn publish(
    log: &dyn RecordLog,
    target: Target<'_>,
    records: impl Iterator<Item = Made>,
) -> Result<(), GenerateError> {
    create(log, target.topic, target.partitions)?;
    let mut publisher = log.publisher("bench-generate", Delivery::AtLeastOnce)?;
    let started = Instant::now();
    let mut value = Vec::with_capacity(512);

    for (sent, made) in (0..).zip(records) {
        if let Some(rate) = target.rate {
            wait_for_turn(started, sent, rate);
        }
        send(&mut *publisher, target.topic, &made, &mut value)?;
    }

    Ok(publisher.commit(&[])?)
}

/// Creates a topic for orders if it is missing.
///
/// # Errors
/// [`LogError`] if the log fails.
pub fn create(log: &dyn RecordLog, topic: &str, partitions: u32) -> Result<(), LogError> {
    let retention = Duration::from_secs(7 * 24 * 60 * 60);
    log.ensure_topics(&[TopicSpec {
        name: topic.to_owned(),
        partitions,
        cleanup: Cleanup::Delete,
        retention,
    }])
}

/// Sends one record to the publisher; `value` is a buffer for its value.
pub(crate) fn send(
    publisher: &mut dyn Publisher,
    topic: &str,
    made: &Made,
    value: &mut Vec<u8>,
) -> Result<(), PublishError> {
    value.clear();
    let value = match &made.value {
        Value::Order(order) => {
            serde_json::to_writer(&mut *value, order)
                .expect("an order is plain data, and a vector takes it");
            Some(&**value)
        }
        Value::Malformed(bytes) => bytes.as_deref(),
    };

    let key = made.user_id.to_string();
    publisher.send(NewRecord {
        topic,
        partition: made.partition,
        key: Some(key.as_bytes()),
        value,
        headers: &[],
    })
}

/// Sleeps until the record after `sent` others is due.
pub(crate) fn wait_for_turn(started: Instant, sent: u64, rate: u32) {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a rounded microsecond does no harm"
    )]
    let due = Duration::from_secs_f64(sent as f64 / f64::from(rate));
    if let Some(early) = due.checked_sub(started.elapsed()) {
        std::thread::sleep(early);
    }
}

//! Orders at a steady rate, even while the broker is down.

use std::time::{Duration, Instant};

use record_log::{Delivery, LogError, Publisher, RecordLog};

use crate::generate::{GenerateError, send, wait_for_turn};
use crate::orders::Made;

/// The pause before another attempt to reach the broker.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Publishes the records at this rate. When the broker dies, some may be lost or published twice;
/// therefore the content of the topic is compared, not the sent records.
///
/// # Errors
/// [`GenerateError`] if the log refuses permanently.
pub fn publish(
    log: &dyn RecordLog,
    topic: &str,
    rate: u32,
    records: impl Iterator<Item = Made>,
) -> Result<(), GenerateError> {
    let mut publisher = open(log)?;
    let started = Instant::now();
    let mut value = Vec::new();

    for (sent, made) in (0..).zip(records) {
        wait_for_turn(started, sent, rate);
        if let Err(error) = send(&mut *publisher, topic, &made, &mut value) {
            println!("some orders may be lost, and the load goes on: {error}");
            publisher = open(log)?;
        }
    }

    if let Err(error) = publisher.commit(&[]) {
        println!("the last orders may be lost: {error}");
    }

    Ok(())
}

/// Opens a publisher as soon as there is a broker.
fn open(log: &dyn RecordLog) -> Result<Box<dyn Publisher>, LogError> {
    loop {
        match log.publisher("bench-crash", Delivery::AtLeastOnce) {
            Err(LogError::Unavailable(_)) => std::thread::sleep(RETRY_AFTER),
            opened => return opened,
        }
    }
}

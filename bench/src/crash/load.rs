//! Orders at a steady rate, whatever happens to the broker.

use std::time::{Duration, Instant};

use record_log::{Delivery, LogError, Publisher, RecordLog};

use crate::generate::{GenerateError, send, wait_for_turn};
use crate::orders::Made;

/// How long it waits before it looks for a broker that is away.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Publishes the records at so many a second. Where the broker dies some may be lost or stand there twice: what the topic
/// holds is what counts.
///
/// # Errors
/// [`GenerateError`] when the log refuses for good.
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
            println!("the load goes on: {error}");
            publisher = open(log)?;
        }
    }

    if let Err(error) = publisher.commit(&[]) {
        println!("the end of the load: {error}");
    }

    Ok(())
}

/// A publisher, as soon as there is a broker.
fn open(log: &dyn RecordLog) -> Result<Box<dyn Publisher>, LogError> {
    loop {
        match log.publisher("bench-crash", Delivery::AtLeastOnce) {
            Err(LogError::Unavailable(_)) => std::thread::sleep(RETRY_AFTER),
            opened => return opened,
        }
    }
}

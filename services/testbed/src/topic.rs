//! A topic that the service under test follows, on a simulated log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use record_log::RecordLog;
use record_log::simulated::{Fault, SimulatedLog};

/// Returns whether a group has stored a position at the end of each partition.
///
/// # Panics
/// If the log does not have the topic.
pub fn is_consumed(log: &SimulatedLog, group: &str, topic: &str) -> bool {
    let stored = log.committed(group, topic).expect("the group's positions");
    let stored: BTreeMap<_, _> = stored.into_iter().collect();
    let next = |partition: u32| stored.get(&partition).copied().unwrap_or(0);

    let ranges = log.offsets(topic).expect("the topic's offsets");
    (0..)
        .zip(ranges)
        .all(|(partition, range)| next(partition) >= range.end)
}

/// Returns a handle on the log on which some of the first 16 calls fail, by the Thue–Morse sequence. It
/// is not periodic, so a loop of calls does not always fail at the same call.
pub fn failing_now_and_then(log: &SimulatedLog) -> SimulatedLog {
    let calls = AtomicUsize::new(0);
    log.process(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        number if number < 16 && number.count_ones() % 2 == 1 => Fault::Unavailable,
        _ => Fault::None,
    })
}

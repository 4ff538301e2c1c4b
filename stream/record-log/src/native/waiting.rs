//! The calls that wait for brokers: why the oldest of them has no answer yet.
//!
//! A call is tried again for a while before it fails, and a broker that is frozen takes the whole time of a request.
//! Meanwhile the reason can be read here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::network::Address;
use super::wire::WireError;

/// A call that takes longer than this waits.
const LONG: Duration = Duration::from_secs(1);

/// The calls in progress, in the order of their beginnings.
#[derive(Default)]
pub(super) struct Waiting {
    calls: Mutex<BTreeMap<u64, Call>>,
}

struct Call {
    begun: Instant,
    /// Why the last try failed, if one did.
    failure: Option<String>,
}

/// A call in progress. It ends with this value.
pub(super) struct InProgress<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Waiting {
    /// Notes a call that begins.
    pub fn begin(&self, now: Instant) -> InProgress<'_> {
        let mut calls = self.lock();
        let number = calls.last_key_value().map_or(0, |(last, _)| last + 1);
        let call = Call {
            begun: now,
            failure: None,
        };
        calls.insert(number, call);
        InProgress {
            waiting: self,
            number,
        }
    }

    /// Returns why the oldest call waits; none if none takes long. A call without a failure waits for the broker
    /// at `address`.
    pub fn reason(&self, now: Instant, address: Option<&Address>) -> Option<String> {
        let calls = self.lock();
        let (_, call) = calls.first_key_value()?;
        let waits = now.saturating_duration_since(call.begun);
        if waits < LONG {
            return None;
        }

        let failure = call.failure.clone();
        failure.or_else(|| {
            let seconds = waits.as_secs();
            Some(format!(
                "the broker {} has not answered for {seconds} s",
                address?
            ))
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InProgress<'_> {
    /// Notes that a try failed.
    pub fn failed(&self, error: &WireError) {
        let mut calls = self.waiting.lock();
        if let Some(call) = calls.get_mut(&self.number) {
            call.failure = Some(error.to_string());
        }
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address {
            host: "broker".to_owned(),
            port: 1,
        }
    }

    #[test]
    fn a_call_that_takes_long_waits_for_its_newest_failure() {
        let begun = Instant::now();
        let waiting = Waiting::default();
        let reason = |after| waiting.reason(begun + after, Some(&address()));

        let call = waiting.begin(begun);
        let later = waiting.begin(begun + LONG);
        assert_eq!(reason(LONG / 2), None);
        let silent = "the broker broker:1 has not answered for 1 s";
        assert_eq!(reason(LONG).as_deref(), Some(silent));

        for topic in ["first", "second"] {
            call.failed(&WireError::NoLeader(topic.to_owned()));
            assert!(reason(LONG).is_some_and(|reason| reason.contains(topic)));
        }
        assert_eq!(reason(LONG / 2), None);

        drop(call);
        assert_eq!(reason(LONG), None, "the later call has just begun");
        assert!(reason(LONG * 2).is_some());
        drop(later);
        assert_eq!(reason(LONG * 3), None);
    }
}

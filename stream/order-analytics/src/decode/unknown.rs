//! The types of events that are left out and are not in the contract. Each is named once in the log, by the first
//! process that reads it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Largest number of types that are named. A type comes from a record, so their number has no bound.
const NAMED: usize = 16;
/// Largest number of characters of a type's name in the log.
const CHARACTERS: usize = 60;

static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Names a type in the log if it is in no contract and was not named before.
pub(super) fn note(event_type: &str) {
    if events::ORDER_CHANGES.contains(&event_type) {
        return;
    }

    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if is_new(&mut known, event_type) {
        let name: String = event_type.chars().take(CHARACTERS).collect();
        tracing::warn!(
            event_type = name,
            "events of a type that is not in the contract are left out, and not counted"
        );
    }
}

/// Adds a type, and returns whether it is to be named.
fn is_new(known: &mut BTreeSet<String>, event_type: &str) -> bool {
    let name: String = event_type.chars().take(CHARACTERS).collect();
    known.len() < NAMED && known.insert(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_named_once_and_their_number_is_bounded() {
        let mut known = BTreeSet::new();
        assert!(is_new(&mut known, "order.created.v2"));
        assert!(!is_new(&mut known, "order.created.v2"));
        let named = (0..100).filter(|n| is_new(&mut known, &format!("order.{n}")));
        assert_eq!(named.count(), NAMED - 1);

        let mut known = BTreeSet::new();
        let long = "x".repeat(1_000);
        assert!(is_new(&mut known, &format!("order.{long}a")));
        assert!(known.iter().all(|name| name.chars().count() == CHARACTERS));
    }
}

//! The files of a folder that are complete, as far as a reader can find out. A folder does not state
//! when a file is complete, and a copy of it may take minutes.
//!
//! A file is read when both hold:
//!
//! - It has stood still: its version, which is made of its size and the time of its last change, is
//!   [`STILL`] old. The time of the change counts if the clock agrees; it is older for a file that was
//!   moved in, which is therefore read at once. Otherwise the time since the version was first seen counts,
//!   because clocks of cameras and file servers differ from this machine's.
//! - No program has it open for writing ([`writers`]). A copy that pauses is recognised by this.
//!
//! A file that a program on another machine writes, with pauses, passes both. It is read in each state in which
//! it stood still; the last one is complete.

pub(super) mod writers;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use events::Timestamp;

use crate::objects::Object;

/// The time for which size and last change of a file must be the same.
const STILL: Duration = Duration::from_secs(4);

/// The versions of files that were seen, each with the time at which it was first seen.
#[derive(Debug, Default)]
pub(super) struct Settling {
    seen: HashMap<String, (String, Instant)>,
    /// The files that were kept back because they are open, so that each is logged once.
    kept_back: HashSet<String>,
}

/// The time of a scan, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) monotonic: Instant,
    pub(super) wall: Timestamp,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: Timestamp::now(),
        }
    }
}

impl Settling {
    /// Returns the files among `found` that stood still, and forgets those that are no longer found.
    pub(super) fn still(&mut self, found: Vec<Object>, now: Now) -> Vec<Object> {
        let mut before = std::mem::take(&mut self.seen);
        let mut still = Vec::new();

        for object in found {
            let first = match before.remove(&object.key) {
                Some((version, first)) if version == object.version => first,
                _ => now.monotonic,
            };
            self.seen
                .insert(object.key.clone(), (object.version.clone(), first));

            if now.monotonic.duration_since(first) >= STILL || is_old(&object, now.wall) {
                still.push(object);
            }
        }

        still
    }

    /// Returns the files that no program has open for writing, by the keys in `open`.
    pub(super) fn closed(&mut self, still: Vec<Object>, open: &HashSet<String>) -> Vec<Object> {
        self.kept_back.retain(|key| open.contains(key));

        let (open, closed): (Vec<Object>, Vec<Object>) = still
            .into_iter()
            .partition(|object| open.contains(&object.key));

        for object in open {
            if self.kept_back.insert(object.key.clone()) {
                tracing::info!(
                    key = object.key,
                    "a program has the file open for writing; it is read when it is closed"
                );
            }
        }

        closed
    }
}

fn is_old(object: &Object, now: Timestamp) -> bool {
    let age_ms = now.as_ms().checked_sub(object.uploaded_at.as_ms());
    age_ms.is_some_and(|age_ms| Duration::from_millis(age_ms) >= STILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_780_000_000_000;

    fn file(key: &str, version: &str, changed_ms: u64) -> Object {
        Object::for_test(key, version, Timestamp::from_ms(changed_ms).unwrap())
    }

    fn keys(objects: Vec<Object>) -> Vec<String> {
        objects.into_iter().map(|object| object.key).collect()
    }

    /// A clock that begins at [`START_MS`].
    struct Clock(Instant);

    impl Clock {
        fn after(&self, seconds: u64) -> Now {
            Now {
                monotonic: self.0 + Duration::from_secs(seconds),
                wall: Timestamp::from_ms(START_MS + seconds * 1000).unwrap(),
            }
        }
    }

    #[test]
    fn a_file_that_grows_is_not_still_before_it_stops() {
        let clock = Clock(Instant::now());
        let mut settling = Settling::default();
        for second in 0..20 {
            let grown = file("a", &second.to_string(), START_MS + second * 1000);
            assert_eq!(
                keys(settling.still(vec![grown], clock.after(second))),
                [""; 0]
            );
        }

        let whole = || file("a", "19", START_MS + 19_000);
        assert_eq!(
            keys(settling.still(vec![whole()], clock.after(22))),
            [""; 0]
        );
        assert_eq!(keys(settling.still(vec![whole()], clock.after(23))), ["a"]);
    }

    #[test]
    fn an_old_file_that_is_moved_in_is_still_at_once() {
        let clock = Clock(Instant::now());
        let moved = vec![file("a", "1", START_MS - 4000)];
        assert_eq!(
            keys(Settling::default().still(moved, clock.after(0))),
            ["a"]
        );
    }

    #[test]
    fn a_wrong_clock_delays_a_file_by_a_moment_only() {
        let clock = Clock(Instant::now());
        let mut settling = Settling::default();
        let tomorrow = || vec![file("a", "1", START_MS + 86_400_000)];
        assert_eq!(keys(settling.still(tomorrow(), clock.after(0))), [""; 0]);
        assert_eq!(keys(settling.still(tomorrow(), clock.after(3))), [""; 0]);
        assert_eq!(keys(settling.still(tomorrow(), clock.after(4))), ["a"]);
    }

    #[test]
    fn a_file_is_kept_back_while_it_is_open() {
        let mut settling = Settling::default();
        let files = || vec![file("a", "1", START_MS), file("b", "1", START_MS)];
        let open = HashSet::from(["a".to_owned()]);
        assert_eq!(keys(settling.closed(files(), &open)), ["b"]);
        assert_eq!(keys(settling.closed(files(), &HashSet::new())), ["a", "b"]);
    }
}

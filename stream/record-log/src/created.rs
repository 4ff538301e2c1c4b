//! Topics that this process has created: busy brokers list them later than they acknowledge them.

use std::time::Duration;

use crate::LogError;
use crate::runtime::Runtime;

/// The time limit of a wait for a topic. After it, the operation may be repeated.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// The interval of looks for a topic.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until the brokers list a topic that they have created.
///
/// # Errors
/// Those of `partitions`, which looks for the topic. If it is not listed in time, the error is transient: the topic exists,
/// or another process deleted it, and the next attempt creates it again.
pub(crate) fn await_listed(
    runtime: &dyn Runtime,
    topic: &str,
    partitions: impl Fn(&str) -> Result<u32, LogError>,
) -> Result<(), LogError> {
    let begun = runtime.now();
    loop {
        match partitions(topic) {
            Err(LogError::UnknownTopic(_)) if runtime.since(begun) < LIST_LIMIT => {
                runtime.sleep(LOOK_EVERY);
            }
            Err(LogError::UnknownTopic(_)) => {
                let waited = LIST_LIMIT.as_secs();
                return Err(LogError::Unavailable(
                    format!(
                        "the brokers created topic {topic:?}, and do not list it after {waited} s"
                    )
                    .into(),
                ));
            }
            found => return found.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use super::{Duration, LogError, Runtime, await_listed};
    use crate::runtime::{Bell, System};

    /// A machine on which only sleeping takes time.
    struct Still {
        began: Instant,
        slept_ms: AtomicU64,
    }

    impl Runtime for Still {
        fn now(&self) -> Instant {
            self.began + Duration::from_millis(self.slept_ms.load(Ordering::Relaxed))
        }

        fn now_ms(&self) -> u64 {
            self.slept_ms.load(Ordering::Relaxed)
        }

        fn sleep(&self, pause: Duration) {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap();
            self.slept_ms.fetch_add(pause_ms, Ordering::Relaxed);
        }

        fn spawn(&self, name: String, task: Box<dyn FnOnce() + Send>) -> io::Result<()> {
            System.spawn(name, task)
        }

        fn bell(&self) -> Arc<dyn Bell> {
            System.bell()
        }
    }

    /// Waits for a topic that is listed at the `listed_at`th look. Returns the outcome and the number of looks.
    fn waited(listed_at: u64) -> (Result<(), LogError>, u64) {
        let still = Still {
            began: Instant::now(),
            slept_ms: AtomicU64::new(0),
        };
        let looks = Cell::new(0);
        let outcome = await_listed(&still, "results", |topic| {
            looks.set(looks.get() + 1);
            match looks.get() < listed_at {
                true => Err(LogError::UnknownTopic(topic.to_owned())),
                false => Ok(16),
            }
        });
        (outcome, looks.get())
    }

    #[test]
    fn a_topic_that_is_listed_late_is_awaited() {
        let (outcome, looks) = waited(400);
        assert!(outcome.is_ok());
        assert_eq!(looks, 400);
    }

    #[test]
    fn a_topic_that_is_not_listed_in_time_may_be_asked_for_again() {
        let (outcome, looks) = waited(u64::MAX);
        let error = outcome.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("\"results\""), "{error}");
        assert!(looks > 400, "{looks}");
    }

    #[test]
    fn another_error_ends_the_wait() {
        let refused = || LogError::Settings("no".into());
        let outcome = await_listed(&System, "results", |_| Err(refused()));
        assert_eq!(outcome.unwrap_err().to_string(), refused().to_string());
    }
}

//! How often a password may be guessed: so many times a minute for each account, whoever guesses.
//!
//! Counted in each replica's memory, in a table of bounded size: when it is full of accounts under attack, further ones
//! share one counter.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const MAX_ACCOUNTS: usize = 10_000;
/// The counter of those that find no room; no account has an empty address.
const OTHERS: &str = "";

/// The counters.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<String, Counter>>);

struct Counter {
    since: Instant,
    attempts: u32,
}

impl Attempts {
    /// Counts an attempt on the account; says how long to wait when there were too many.
    pub fn count(&self, account: &str, now: Instant) -> Result<(), Duration> {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= MAX_ACCOUNTS {
            counters.retain(|_, counter| now.duration_since(counter.since) < WINDOW);
        }
        let has_room = counters.len() < MAX_ACCOUNTS || counters.contains_key(account);
        let account = if has_room { account } else { OTHERS };
        let counter = counters.entry(account.to_owned()).or_insert(Counter {
            since: now,
            attempts: 0,
        });
        if now.duration_since(counter.since) >= WINDOW {
            *counter = Counter {
                since: now,
                attempts: 0,
            };
        }
        counter.attempts += 1;
        if counter.attempts > PER_WINDOW {
            Err(WINDOW - now.duration_since(counter.since))
        } else {
            Ok(())
        }
    }

    /// Forgets the account's attempts: the right password was among them.
    pub fn forget(&self, account: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(account);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Attempts, MAX_ACCOUNTS, PER_WINDOW, WINDOW};

    #[test]
    fn an_account_has_ten_attempts_a_minute_of_its_own() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        for _ in 0..PER_WINDOW {
            assert_eq!(attempts.count("a", start), Ok(()));
        }
        assert_eq!(
            attempts.count("a", start + Duration::from_secs(20)),
            Err(Duration::from_secs(40))
        );
        assert_eq!(attempts.count("b", start), Ok(()));
        assert_eq!(attempts.count("a", start + WINDOW), Ok(()));
    }

    #[test]
    fn the_right_password_gives_all_attempts_back() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        for _ in 0..PER_WINDOW * 3 {
            assert_eq!(attempts.count("a", start), Ok(()));
            attempts.forget("a");
        }
    }

    #[test]
    fn a_flood_of_accounts_shares_what_room_there_is() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let refused = (0..MAX_ACCOUNTS * 2)
            .filter(|n| attempts.count(&n.to_string(), start).is_err())
            .count();
        assert!(refused > MAX_ACCOUNTS - 20, "{refused}");
        assert!(attempts.0.lock().unwrap().len() <= MAX_ACCOUNTS + 1);
    }
}

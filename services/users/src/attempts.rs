//! Limits on guessing passwords.
//!
//! | who guesses | counted against | allowance |
//! |---|---|---|
//! | a client from which the account was used before | that client and account | 100, then one every 36 seconds |
//! | any client with the account's access token | the account | 100, then one every 36 seconds |
//! | anybody else (a stranger) | the account, for all strangers together | 10, then one every 6 seconds |
//! | | and the address | 30, then one every 2 seconds |
//!
//! A guesser of second-factor codes has the password, so these guesses are limited by account: 10, then one in five
//! minutes.
//!
//! Requests for mail are limited by address: 10, then one a minute.
//!
//! A stranger's guess must fit into both allowances. Strangers cannot use up the allowance of a known client, and one
//! address cannot use up that of another. A guess is counted when its hash begins; if the password is right, the count
//! is undone. A guess that its caller abandons in the queue is not counted.
//!
//! The counters are in each replica's memory, in tables of a fixed size that evict the least recently used counter. To
//! evict a counter, an attacker must fill a table with other guesses. Each of them is hashed first, so by then the
//! counter has expired.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// Maximum number of counters in each table. A counter takes about 60 bytes.
const MOST_COUNTERS: NonZeroUsize = NonZeroUsize::new(1 << 16).expect("not zero");

const OF_KNOWN_CLIENT: Allowance = Allowance {
    burst: 100,
    interval: Duration::from_secs(36),
};
const OF_ACCOUNT: Allowance = Allowance {
    burst: 10,
    interval: Duration::from_secs(6),
};
const OF_ADDRESS: Allowance = Allowance {
    burst: 30,
    interval: Duration::from_secs(2),
};
const OF_CODES: Allowance = Allowance {
    burst: 10,
    interval: Duration::from_secs(300),
};
const OF_MAIL: Allowance = Allowance {
    burst: 10,
    interval: Duration::from_secs(60),
};

/// An attempt to log in with a password.
#[derive(Clone, Debug)]
pub struct Guess {
    /// The given e-mail address, or another name of the account; the account need not exist.
    pub account: String,
    /// The guesser.
    pub by: Guesser,
}

/// The client that guesses.
#[derive(Clone, Debug)]
pub enum Guesser {
    /// A client from which the account was used before, by its name.
    Known(String),
    /// Any other client, by its network.
    Stranger(IpAddr),
}

/// The counters.
pub struct Attempts {
    counters: Mutex<Counters>,
    key: RandomState,
}

struct Counters {
    known_clients: Counter,
    accounts: Counter,
    addresses: Counter,
    codes: Counter,
    mail: Counter,
}

/// The number of guesses allowed at once, and the time after which one more is allowed.
#[derive(Clone, Copy)]
struct Allowance {
    burst: u32,
    interval: Duration,
}

/// Counts guesses by key, with the generic cell rate algorithm: stores for each key the instant at which its whole
/// allowance is available again.
struct Counter {
    allowance: Allowance,
    whole_again: LruCache<u64, Instant>,
}

impl Default for Attempts {
    fn default() -> Self {
        let counters = Counters {
            known_clients: Counter::new(OF_KNOWN_CLIENT),
            accounts: Counter::new(OF_ACCOUNT),
            addresses: Counter::new(OF_ADDRESS),
            codes: Counter::new(OF_CODES),
            mail: Counter::new(OF_MAIL),
        };

        Self {
            counters: Mutex::new(counters),
            key: RandomState::new(),
        }
    }
}

impl Attempts {
    /// Returns whether a guess would be admitted now, without counting it.
    ///
    /// # Errors
    /// Returns the time to wait if there were too many.
    pub fn admits(&self, guess: &Guess, now: Instant) -> Result<(), Duration> {
        self.in_each(guess, |counter, key| counter.admits(key, now))
    }

    /// Counts a guess, if it is admitted.
    ///
    /// # Errors
    /// Returns the time to wait if there were too many; nothing is counted then.
    pub fn count(&self, guess: &Guess, now: Instant) -> Result<(), Duration> {
        self.admits(guess, now)?;
        self.in_each(guess, |counter, key| {
            counter.spend(key, now);
            Ok(())
        })
    }

    /// Counts a guess of the code of this account, if it is admitted.
    ///
    /// # Errors
    /// The time to wait, when there were too many; nothing is counted then.
    pub fn count_code(&self, user_id: i64, now: Instant) -> Result<(), Duration> {
        let key = self.key_of(user_id);
        let codes = &mut self.counters().codes;
        codes.admits(key, now)?;
        codes.spend(key, now);
        Ok(())
    }

    /// Gives a guess of a code back: it was right.
    pub fn forgive_code(&self, user_id: i64) {
        let key = self.key_of(user_id);
        self.counters().codes.forgive(key);
    }

    /// Counts a request for mail from this network, if it is admitted.
    ///
    /// # Errors
    /// Returns the time to wait if there were too many; nothing is counted then.
    pub fn count_mail(&self, network: IpAddr, now: Instant) -> Result<(), Duration> {
        let key = self.key_of(network);
        let mail = &mut self.counters().mail;
        mail.admits(key, now)?;
        mail.spend(key, now);
        Ok(())
    }

    /// Undoes the count of a guess, because its password was right.
    pub fn forgive(&self, guess: &Guess) {
        let forgiven = self.in_each(guess, |counter, key| {
            counter.forgive(key);
            Ok(())
        });
        debug_assert!(forgiven.is_ok());
    }

    fn in_each(
        &self,
        guess: &Guess,
        mut act: impl FnMut(&mut Counter, u64) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        let account = guess.account.as_str();
        let mut counters = self.counters();
        match &guess.by {
            Guesser::Known(client) => {
                act(&mut counters.known_clients, self.key_of((account, client)))
            }
            Guesser::Stranger(network) => {
                let of_account = act(&mut counters.accounts, self.key_of(account));
                act(&mut counters.addresses, self.key_of(network)).and(of_account)
            }
        }
    }

    /// Returns the key of a counter: a hash, so that it has the same size for every value. A client cannot choose two
    /// values with equal keys.
    fn key_of(&self, value: impl Hash) -> u64 {
        self.key.hash_one(value)
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counter {
    fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            whole_again: LruCache::new(MOST_COUNTERS),
        }
    }

    fn admits(&self, key: u64, now: Instant) -> Result<(), Duration> {
        let Allowance { burst, interval } = self.allowance;
        let whole_again = self.whole_again.peek(&key).copied();
        let after_this = whole_again.map_or(now, |at| at.max(now)) + interval;
        let overdrawn = (after_this - now).saturating_sub(interval * burst);

        if overdrawn.is_zero() {
            Ok(())
        } else {
            Err(overdrawn)
        }
    }

    fn spend(&mut self, key: u64, now: Instant) {
        let whole_again = self.whole_again.get_or_insert_mut(key, || now);
        *whole_again = (*whole_again).max(now) + self.allowance.interval;
    }

    fn forgive(&mut self, key: u64) {
        if let Some(whole_again) = self.whole_again.peek_mut(&key) {
            *whole_again -= self.allowance.interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(account: &str, last: u8) -> Guess {
        Guess {
            account: account.to_owned(),
            by: Guesser::Stranger([192, 0, 2, last].into()),
        }
    }

    fn known(account: &str, client: &str) -> Guess {
        Guess {
            account: account.to_owned(),
            by: Guesser::Known(client.to_owned()),
        }
    }

    /// Returns the number of admitted attempts among `n`.
    fn admitted(attempts: &Attempts, guess: &Guess, n: usize, now: Instant) -> usize {
        (0..n)
            .filter(|_| attempts.count(guess, now).is_ok())
            .count()
    }

    #[test]
    fn an_account_has_ten_guesses_of_a_code_and_one_more_in_five_minutes() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let admitted = |user_id, n: usize, now| {
            (0..n)
                .filter(|_| attempts.count_code(user_id, now).is_ok())
                .count()
        };
        assert_eq!(admitted(1, 30, start), 10);
        assert_eq!(admitted(2, 30, start), 10);
        assert_eq!(admitted(1, 30, start + Duration::from_secs(299)), 0);
        assert_eq!(admitted(1, 30, start + Duration::from_secs(300)), 1);

        attempts.forgive_code(2);
        assert_eq!(admitted(2, 30, start), 1);
    }

    #[test]
    fn strangers_share_ten_guesses_at_an_account() {
        let attempts = Attempts::default();
        let start = Instant::now();
        assert_eq!(admitted(&attempts, &stranger("a", 1), 6, start), 6);
        assert_eq!(admitted(&attempts, &stranger("a", 2), 6, start), 4);

        let refused = attempts.count(&stranger("a", 3), start + Duration::from_secs(4));
        assert_eq!(refused, Err(Duration::from_secs(2)));
        assert_eq!(admitted(&attempts, &stranger("b", 1), 6, start), 6);

        let later = start + Duration::from_secs(60);
        assert_eq!(admitted(&attempts, &stranger("a", 3), 20, later), 10);
    }

    #[test]
    fn strangers_cannot_use_up_what_a_known_client_has() {
        let attempts = Attempts::default();
        let start = Instant::now();
        for address in 1..=250 {
            admitted(&attempts, &stranger("a", address), 40, start);
        }

        assert!(attempts.count(&stranger("a", 251), start).is_err());
        assert_eq!(admitted(&attempts, &known("a", "home"), 200, start), 100);
        assert_eq!(admitted(&attempts, &known("a", "work"), 1, start), 1);
        assert_eq!(admitted(&attempts, &known("b", "home"), 1, start), 1);
    }

    #[test]
    fn an_address_has_thirty_guesses_whatever_accounts_it_invents() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let guess = |n: usize, address| attempts.count(&stranger(&n.to_string(), address), start);
        assert_eq!((0..20_000).filter(|n| guess(*n, 1).is_ok()).count(), 30);
        assert_eq!(guess(0, 2), Ok(()), "others must not be refused for it");
    }

    #[test]
    fn a_guess_over_the_limit_of_its_address_is_not_counted() {
        let attempts = Attempts::default();
        let start = Instant::now();
        for n in 0..30 {
            attempts.count(&stranger(&n.to_string(), 1), start).unwrap();
        }

        assert_eq!(admitted(&attempts, &stranger("a", 1), 50, start), 0);
        assert_eq!(admitted(&attempts, &stranger("a", 2), 50, start), 10);
    }

    #[test]
    fn the_right_password_gives_its_attempt_back_and_no_other() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let guess = stranger("a", 1);

        for _ in 0..100 {
            attempts.count(&guess, start).unwrap();
            attempts.forgive(&guess);
        }

        assert_eq!(admitted(&attempts, &guess, 9, start), 9);
        attempts.count(&guess, start).unwrap();
        attempts.forgive(&guess);

        assert_eq!(admitted(&attempts, &guess, 9, start), 1);
    }

    #[test]
    fn a_network_requests_ten_mails_and_then_one_a_minute() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let mail = |last: u8, at| attempts.count_mail([192, 0, 2, last].into(), at);

        assert!((0..10).all(|_| mail(1, start).is_ok()));
        assert_eq!(mail(1, start), Err(Duration::from_secs(60)));
        assert_eq!(mail(2, start), Ok(()), "others must not be refused for it");
        assert_eq!(mail(1, start + Duration::from_secs(60)), Ok(()));
        assert!(mail(1, start + Duration::from_secs(60)).is_err());
    }

    #[test]
    fn asking_does_not_count() {
        let attempts = Attempts::default();
        let start = Instant::now();
        assert!((0..100).all(|_| attempts.admits(&stranger("a", 1), start).is_ok()));
        assert_eq!(admitted(&attempts, &stranger("a", 1), 11, start), 10);
    }

    #[test]
    fn memory_is_bounded_whatever_is_invented() {
        let mut counter = Counter::new(OF_ACCOUNT);
        let start = Instant::now();
        (0..200_000).for_each(|key| counter.spend(key, start));
        assert_eq!(counter.whole_again.len(), MOST_COUNTERS.get());
    }
}

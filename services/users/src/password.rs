//! Hashes passwords with argon2id, a limited number at the same time, on threads that serve no requests.
//!
//! A hash needs a turn. Turns are granted in the order of the requests, from a queue of limited length; a request that
//! finds the queue full is refused at once. Strangers at one address may take a quarter of the queue, so that they
//! cannot fill it for others, and a quarter is reserved for known clients. If a caller disconnects while it waits, it
//! leaves the queue. A hash that has begun keeps its turn until it ends, even if its caller has disconnected, which
//! bounds the memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::SaltString;
use argon2::password_hash::rand_core::OsRng;
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use chassis::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Config;
use crate::user::{Invalid, NewPassword, Password};

/// The hash to compare with if there is no account or no password, so that the answer takes equally long. It has the
/// same parameters; its text does not matter, because the result is ignored.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9yIG90aGVy$Zm9yIHRoaXJ0eS10d28gYnl0ZXMgb2Ygbm9ib2R5Li4";
/// Strangers at one address may take the queue's length divided by this.
const SHARE_OF_ADDRESS: usize = 4;
/// The queue's length divided by this is reserved for known clients.
const SHARE_OF_KNOWN: usize = 4;
/// The value of `Retry-After` for an address that has its share of the queue.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Hashes with argon2id and OWASP's parameters (19 MiB, two passes, one lane), which are the crate's defaults.
pub struct Hasher {
    slots: Arc<Semaphore>,
    queue: Arc<Queue>,
    #[cfg(test)]
    made: Arc<std::sync::atomic::AtomicUsize>,
}

/// A caller that waits for a turn.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// The network from which it comes.
    pub network: IpAddr,
    /// Whether it is a client known to the account.
    pub is_known: bool,
}

/// The right to one hash.
pub struct Turn {
    _slot: OwnedSemaphorePermit,
}

/// The numbers of waiting callers, in total and by network.
struct Queue {
    length: usize,
    waiting: Mutex<HashMap<IpAddr, usize>>,
}

/// A place in the queue, until it is dropped.
struct Place {
    queue: Arc<Queue>,
    network: IpAddr,
}

/// The reason why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("the queue for hashing passwords is full")]
    Full,
    #[error("the address has used up its share of the queue for hashing passwords")]
    Share,
    #[error("{0}")]
    Guessable(Invalid),
    #[error("argon2 refused: {0}")]
    Argon2(argon2::password_hash::Error),
    #[error("the hashing thread ended early: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl Hasher {
    pub fn new(config: &Config) -> Self {
        let slots = NonZero::new(config.users_hashers).map_or(1, NonZero::get);
        let queue = Queue {
            length: config.users_hash_queue.into(),
            waiting: Mutex::default(),
        };

        Self {
            slots: Arc::new(Semaphore::new(slots.into())),
            queue: Arc::new(queue),
            #[cfg(test)]
            made: Arc::default(),
        }
    }

    /// Returns the number of hashes that were made or compared.
    #[cfg(test)]
    pub fn made(&self) -> usize {
        self.made.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// Returns [`HashError::Full`] or [`HashError::Share`], at once.
    pub async fn turn(&self, waiter: Waiter) -> Result<Turn, HashError> {
        let _place = self.queue.enter(waiter)?;
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        Ok(Turn {
            _slot: slot.expect("the semaphore is never closed"),
        })
    }

    /// Returns the hash in PHC form, with a salt of its own.
    ///
    /// # Errors
    /// Returns [`HashError::Guessable`] if the password is common, or made of words that are known `about` its owner.
    pub async fn hash(
        &self,
        turn: Turn,
        password: NewPassword,
        about: &[String],
    ) -> Result<String, HashError> {
        #[cfg(test)]
        let made = Arc::clone(&self.made);
        let about = about.to_vec();
        let hashed = tokio::task::spawn_blocking(move || {
            let _until_done = turn;
            if password.is_guessable(&about) {
                return Err(HashError::Guessable(Invalid::Guessable));
            }

            #[cfg(test)]
            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let salt = SaltString::generate(&mut OsRng);
            let hashed = Argon2::default().hash_password(password.as_bytes(), &salt);
            hashed
                .map(|hash| hash.to_string())
                .map_err(HashError::Argon2)
        });

        hashed.await?
    }

    /// Returns whether the password matches the hash. Without a hash, returns false after the same time.
    pub async fn verify(
        &self,
        turn: Turn,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, HashError> {
        #[cfg(test)]
        let made = Arc::clone(&self.made);
        let verified = tokio::task::spawn_blocking(move || {
            let _until_done = turn;
            #[cfg(test)]
            made.fetch_add(
                password.spellings().count(),
                std::sync::atomic::Ordering::Relaxed,
            );
            let parsed =
                PasswordHash::new(hash.as_deref().unwrap_or(NOBODY)).map_err(HashError::Argon2)?;

            match is_right(&password, &parsed) {
                Ok(is_right) => Ok(is_right && hash.is_some()),
                Err(error) => Err(HashError::Argon2(error)),
            }
        });
        verified.await?
    }
}

/// Compares the normalised password. If the text as sent differs, compares it, too, because the hash may be from before
/// passwords were normalised.
fn is_right(password: &Password, hash: &PasswordHash<'_>) -> argon2::password_hash::Result<bool> {
    for text in password.spellings() {
        match Argon2::default().verify_password(text, hash) {
            Err(argon2::password_hash::Error::Password) => {}
            other => return other.map(|()| true),
        }
    }
    Ok(false)
}

impl Queue {
    fn enter(self: &Arc<Self>, waiter: Waiter) -> Result<Place, HashError> {
        let reserve = if waiter.is_known {
            0
        } else {
            self.length / SHARE_OF_KNOWN
        };

        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = waiting.values().sum();
        let of_network = waiting.get(&waiter.network).copied().unwrap_or(0);

        if !waiter.is_known && of_network >= (self.length / SHARE_OF_ADDRESS).max(1) {
            return Err(HashError::Share);
        }
        if total >= (self.length - reserve).max(1) {
            return Err(HashError::Full);
        }

        waiting.insert(waiter.network, of_network + 1);
        Ok(Place {
            queue: Arc::clone(self),
            network: waiter.network,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiting = &self.queue.waiting;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(&self.network) {
            Some(more) if *more > 1 => *more -= 1,
            _ => {
                waiting.remove(&self.network);
            }
        }
    }
}

impl HashError {
    /// Returns the problem document. If the password was refused, it names this field of the request.
    pub fn blaming(self, field: &'static str) -> Problem {
        match self {
            Self::Guessable(invalid) => Problem::unprocessable(invalid.to_string()).field(field),
            error => error.into(),
        }
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Full => {
                Self::unavailable("too many passwords are being checked; try again in a second")
            }
            HashError::Share => Self::too_many_requests(
                "too many passwords from this address are being checked",
                RETRY_AFTER,
            ),
            HashError::Guessable(invalid) => Self::unprocessable(invalid.to_string()),
            error => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::try_from(text.to_owned()).unwrap()
    }

    fn new_password(text: &str) -> NewPassword {
        NewPassword::try_from(text.to_owned()).unwrap()
    }

    fn waiter(last: u8, is_known: bool) -> Waiter {
        Waiter {
            network: [192, 0, 2, last].into(),
            is_known,
        }
    }

    fn hasher(users_hashers: u16, users_hash_queue: u16) -> Hasher {
        Hasher::new(&Config {
            users_hashers,
            users_hash_queue,
            ..Config::default()
        })
    }

    async fn hash(hasher: &Hasher, text: &str) -> String {
        let turn = hasher.turn(waiter(1, true)).await.unwrap();
        hasher.hash(turn, new_password(text), &[]).await.unwrap()
    }

    async fn verify(hasher: &Hasher, text: &str, hash: Option<&str>) -> Result<bool, HashError> {
        let turn = hasher.turn(waiter(1, true)).await.unwrap();
        hasher
            .verify(turn, password(text), hash.map(str::to_owned))
            .await
    }

    #[tokio::test]
    async fn the_same_password_twice_gives_two_argon2id_hashes() {
        let hasher = Hasher::new(&Config::default());
        let one = hash(&hasher, "correct horse").await;
        let two = hash(&hasher, "correct horse").await;
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(verify(&hasher, "correct horse", Some(&one)).await.unwrap());
    }

    #[tokio::test]
    async fn another_password_and_no_password_at_all_are_not_the_one() {
        let hasher = Hasher::new(&Config::default());
        let hash = hash(&hasher, "correct horse").await;
        assert!(!verify(&hasher, "correct house", Some(&hash)).await.unwrap());
        assert!(!verify(&hasher, "correct horse", None).await.unwrap());

        assert!(
            verify(&hasher, "correct horse", Some("damaged"))
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_password_is_the_same_from_every_keyboard() {
        let hasher = Hasher::new(&Config::default());
        let composed = "ma\u{f1}ana-p\u{e4}ssword";
        let decomposed = "man\u{303}ana-pa\u{308}ssword";

        for (chosen, typed) in [(composed, decomposed), (decomposed, composed)] {
            let hash = hash(&hasher, chosen).await;
            assert!(verify(&hasher, typed, Some(&hash)).await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_hash_from_before_passwords_were_normalised_still_counts() {
        let hasher = Hasher::new(&Config::default());
        let decomposed = "man\u{303}ana-pa\u{308}ssword";
        let salt = SaltString::generate(&mut OsRng);

        let old = Argon2::default()
            .hash_password(decomposed.as_bytes(), &salt)
            .unwrap()
            .to_string();
        assert!(verify(&hasher, decomposed, Some(&old)).await.unwrap());

        assert!(
            !verify(&hasher, "manana-password", Some(&old))
                .await
                .unwrap()
        );
    }

    /// Lets these callers wait for turns. Returns the turns, and the refusals of the others.
    async fn fill(hasher: &Hasher, waiters: &[Waiter]) -> (Vec<Turn>, Vec<String>) {
        let mut turns = Vec::new();
        let mut refused = Vec::new();
        for waiter in waiters {
            match hasher.turn(*waiter).await {
                Ok(turn) => turns.push(turn),
                Err(error) => refused.push(error.to_string()),
            }
        }

        (turns, refused)
    }

    #[tokio::test]
    async fn one_address_has_a_quarter_of_the_queue_and_others_the_rest() {
        let hasher = Arc::new(hasher(1, 16));
        let (running, _) = fill(&hasher, &[waiter(1, false)]).await;
        let wait = |waiter| {
            let hasher = Arc::clone(&hasher);
            tokio::spawn(async move { hasher.turn(waiter).await.map(drop) })
        };
        let mut waiting: Vec<_> = (0..40).map(|_| wait(waiter(1, false))).collect();
        tokio::task::yield_now().await;

        assert_eq!(waiting.iter().filter(|it| !it.is_finished()).count(), 4);

        waiting.extend((2..40).map(|last| wait(waiter(last, false))));
        tokio::task::yield_now().await;
        assert_eq!(waiting.iter().filter(|it| !it.is_finished()).count(), 12);

        waiting.extend((0..40).map(|_| wait(waiter(1, true))));
        tokio::task::yield_now().await;
        assert_eq!(waiting.iter().filter(|it| !it.is_finished()).count(), 16);

        drop(running);
        for waiting in waiting {
            let outcome = waiting.await.unwrap();
            let refused = outcome.err().map(|error| Problem::from(error).status());
            assert!(refused.is_none_or(|status| matches!(status.as_u16(), 429 | 503)));
        }

        assert!(hasher.queue.waiting.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_caller_that_disconnects_leaves_the_queue() {
        let hasher = Arc::new(hasher(1, 4));
        let (running, _) = fill(&hasher, &[waiter(1, false)]).await;
        for _ in 0..1000 {
            let waiting = {
                let hasher = Arc::clone(&hasher);
                tokio::spawn(async move { hasher.turn(waiter(1, false)).await.map(drop) })
            };

            tokio::task::yield_now().await;
            assert!(!waiting.is_finished(), "there must be room again");
            waiting.abort();

            assert!(waiting.await.unwrap_err().is_cancelled());
        }

        drop(running);
        assert!(hasher.turn(waiter(1, false)).await.is_ok());
    }

    #[tokio::test]
    async fn a_hash_that_nobody_waits_for_keeps_its_turn() {
        let hasher = Arc::new(hasher(1, 4));
        let turn = hasher.turn(waiter(1, false)).await.unwrap();
        let abandoned = {
            let hasher = Arc::clone(&hasher);
            tokio::spawn(async move {
                let password = new_password("correct horse");
                hasher.hash(turn, password, &[]).await
            })
        };

        tokio::task::yield_now().await;
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        assert_eq!(
            hasher.slots.available_permits(),
            0,
            "the abandoned hash must still run"
        );
        assert!(
            hasher.turn(waiter(1, false)).await.is_ok(),
            "it must end and free its turn"
        );
    }
}

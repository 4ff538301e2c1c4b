//! Passwords become argon2id hashes, a bounded number at a time and off the threads that serve.

use std::num::NonZero;

use argon2::password_hash::SaltString;
use argon2::password_hash::rand_core::OsRng;
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use chassis::Problem;
use tokio::sync::Semaphore;

use crate::Config;
use crate::user::Password;

/// What a password is compared with where there is none: to answer no sooner than where there is one. Of the same
/// parameters; of which text is of no matter, for the answer is no in any case.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9yIG90aGVy$Zm9yIHRoaXJ0eS10d28gYnl0ZXMgb2Ygbm9ib2R5Li4";

/// Hashes with argon2id at OWASP's parameters (19 MiB, two passes, one lane), which are the crate's own.
pub struct Hasher {
    slots: Semaphore,
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error("argon2 refused: {0}")]
    Argon2(argon2::password_hash::Error),
    #[error("the hashing thread ended early: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl Hasher {
    pub fn new(config: &Config) -> Self {
        let slots = NonZero::new(config.users_hashers).map_or(1, NonZero::get);
        Self {
            slots: Semaphore::new(slots.into()),
        }
    }

    /// The hash in PHC form, with a salt of its own.
    pub async fn hash(&self, password: Password) -> Result<String, HashError> {
        let _slot = self
            .slots
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let hashed = tokio::task::spawn_blocking(move || {
            let salt = SaltString::generate(&mut OsRng);
            Argon2::default()
                .hash_password(password.as_bytes(), &salt)
                .map(|hash| hash.to_string())
        });
        hashed.await?.map_err(HashError::Argon2)
    }

    /// Whether the password is the one that was hashed; never where none was, which takes as long.
    pub async fn verify(
        &self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, HashError> {
        let _slot = self
            .slots
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let verified = tokio::task::spawn_blocking(move || {
            let parsed =
                PasswordHash::new(hash.as_deref().unwrap_or(NOBODY)).map_err(HashError::Argon2)?;
            match Argon2::default().verify_password(password.as_bytes(), &parsed) {
                Ok(()) => Ok(hash.is_some()),
                Err(argon2::password_hash::Error::Password) => Ok(false),
                Err(error) => Err(HashError::Argon2(error)),
            }
        });
        verified.await?
    }
}

impl From<HashError> for Problem {
    fn from(error: HashError) -> Self {
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::Hasher;
    use crate::Config;
    use crate::user::Password;

    #[tokio::test]
    async fn the_same_password_twice_gives_two_argon2id_hashes() {
        let hasher = Hasher::new(&Config::default());
        let password = || Password::try_from("correct horse".to_owned()).unwrap();
        let (one, two) = (
            hasher.hash(password()).await.unwrap(),
            hasher.hash(password()).await.unwrap(),
        );
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(hasher.verify(password(), Some(one)).await.unwrap());
    }

    #[tokio::test]
    async fn another_password_and_no_password_at_all_are_not_the_one() {
        let hasher = Hasher::new(&Config::default());
        let password = |text: &str| Password::try_from(text.to_owned()).unwrap();
        let hash = hasher.hash(password("correct horse")).await.unwrap();
        assert!(
            !hasher
                .verify(password("correct house"), Some(hash))
                .await
                .unwrap()
        );
        assert!(
            !hasher
                .verify(password("correct horse"), None)
                .await
                .unwrap()
        );
        assert!(
            hasher
                .verify(password("correct horse"), Some("damaged".to_owned()))
                .await
                .is_err()
        );
    }
}

//! The keys that sign access tokens: Ed25519, stored in SQL, shared by all replicas, and renewed regularly.
//!
//! A key is published ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)) some time before it signs, so that verifiers
//! have read it by then. It stays published until the last token that it signed has expired. Anybody who can read the
//! table can sign tokens, so only the service's database account may read it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::rand_core::{OsRng, RngCore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chassis::auth::{EpochOf, KeySource, Published, Signing, TokenEpochs};
use chassis::sql::Database;
use events::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};
use uuid::Uuid;

use crate::store::{epochs, signing_keys};

/// The time for which keys are cached before SQL is read again.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// The time for which a new key is published before it signs.
const PUBLISHED_AHEAD: Duration = Duration::from_secs(600);
/// The prefix of an Ed25519 key in PKCS #8 (RFC 8410, 7); 32 random bytes follow.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

/// A key and its name.
#[derive(Clone)]
pub struct Key {
    pub kid: String,
    pub encoding: EncodingKey,
    created_at_ms: u64,
}

/// Every key that may still be needed.
pub struct Keys {
    database: Database,
    key_life: Duration,
    token_life: Duration,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    /// The newest first; at least one.
    keys: Arc<[Key]>,
    since_ms: u64,
}

/// The reason why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("SQL: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("a key in SQL is damaged: {0}")]
    Damaged(#[from] base64::DecodeError),
    #[error("a key cannot be used: {0}")]
    Unusable(#[from] jsonwebtoken::errors::Error),
}

impl Keys {
    /// Creates the keys. Each key signs for `key_life`, and each token is valid for `token_life`.
    pub fn new(database: Database, key_life: Duration, token_life: Duration) -> Self {
        Self {
            database,
            key_life,
            token_life,
            known: Mutex::default(),
        }
    }

    /// Returns the key to sign with.
    pub async fn signing(&self, now: Timestamp) -> Result<Key, KeysError> {
        let keys = self.keys(now).await?;
        let published_by = now.as_ms().saturating_sub(millis(PUBLISHED_AHEAD));
        let settled = keys.iter().find(|key| key.created_at_ms <= published_by);
        // If no key has been published for that long, the oldest signs, because verifiers most likely have it.
        let key = settled.or(keys.last()).expect("there is at least one key");
        Ok(key.clone())
    }

    /// Returns the public keys with which other services verify tokens.
    pub async fn published(&self, now: Timestamp) -> Result<JwkSet, KeysError> {
        let public = |key: &Key| {
            let mut jwk = Jwk::from_encoding_key(&key.encoding, Algorithm::EdDSA)?;
            jwk.common.key_id = Some(key.kid.clone());
            jwk.common.public_key_use = Some(PublicKeyUse::Signature);
            Ok(jwk)
        };

        Ok(JwkSet {
            keys: self
                .keys(now)
                .await?
                .iter()
                .map(public)
                .collect::<Result<_, KeysError>>()?,
        })
    }

    /// Returns the epochs with which other services compare tokens.
    pub async fn epochs(&self, now: Timestamp) -> Result<TokenEpochs, KeysError> {
        Ok(epochs::changed_within(&self.database, self.token_life, now).await?)
    }

    async fn keys(&self, now: Timestamp) -> Result<Arc<[Key]>, KeysError> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();

        if let Some(known) = known.filter(|known| now.as_ms() < known.since_ms + millis(KNOWN_FOR))
        {
            return Ok(known.keys);
        }

        let keys: Arc<[Key]> = self.load(now).await?.into();
        let known = Known {
            keys: Arc::clone(&keys),
            since_ms: now.as_ms(),
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);

        Ok(keys)
    }

    /// Returns the keys in SQL. If the newest is older than `key_life`, adds a new key and removes those that are no
    /// longer needed.
    async fn load(&self, now: Timestamp) -> Result<Vec<Key>, KeysError> {
        let mut keys = self.stored().await?;
        let renew_before = now.as_ms().saturating_sub(millis(self.key_life));
        if keys
            .first()
            .is_none_or(|key| key.created_at_ms < renew_before)
        {
            self.renew(now).await?;
            keys = self.stored().await?;
        }

        Ok(keys)
    }

    async fn stored(&self) -> Result<Vec<Key>, KeysError> {
        let stored = signing_keys::list(&self.database).await?;
        stored.into_iter().map(Key::decode).collect()
    }

    async fn renew(&self, now: Timestamp) -> Result<(), KeysError> {
        let mut pkcs8 = PKCS8_PREFIX.to_vec();
        pkcs8.resize(PKCS8_PREFIX.len() + 32, 0);
        OsRng.fill_bytes(&mut pkcs8[PKCS8_PREFIX.len()..]);

        let useless = now
            .as_ms()
            .saturating_sub(millis(self.key_life * 2 + self.token_life));
        let kid = Uuid::now_v7().to_string();
        let pkcs8 = STANDARD.encode(pkcs8);
        Ok(signing_keys::renew(&self.database, &kid, &pkcs8, now, useless).await?)
    }
}

impl Key {
    fn decode(stored: signing_keys::StoredKey) -> Result<Self, KeysError> {
        let pkcs8 = STANDARD.decode(stored.pkcs8)?;
        Ok(Self {
            kid: stored.kid,
            encoding: EncodingKey::from_ed_der(&pkcs8),
            created_at_ms: stored.created_at_ms,
        })
    }
}

/// The service's own keys as a [`KeySource`]: it verifies with them without a request to itself.
pub struct OwnKeys(pub Arc<Keys>);

impl KeySource for OwnKeys {
    fn published(&self) -> Published<'_> {
        Box::pin(async { Ok(self.0.published(Timestamp::now()).await?) })
    }

    fn epoch_of(&self, signing: Signing) -> EpochOf<'_> {
        Box::pin(async move { Ok(epochs::epoch_of(&self.0.database, signing.user_id).await?) })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

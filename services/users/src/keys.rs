//! The keys that sign access tokens: Ed25519, in SQL, shared by all replicas, renewed in time.
//!
//! A key is published ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)) some time before it signs, so that those who
//! verify know it by then, and stays published until the last token it signed has run out. Whoever can read the table can
//! sign: the database's own access control guards it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::rand_core::{OsRng, RngCore};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chassis::auth::{EpochOf, KeySource, Published, TokenEpochs};
use chassis::sql::Database;
use events::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey};
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::session::epochs;

/// How long keys are taken as known before SQL is asked again.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// How long a new key is published before it signs.
const PUBLISHED_AHEAD: Duration = Duration::from_secs(600);
/// How an Ed25519 key begins in PKCS #8 (RFC 8410, 7); 32 random bytes follow.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];

const LIST: &str =
    "SELECT kid, pkcs8, created_at_ms FROM signing_keys ORDER BY created_at_ms DESC, kid";
const INSERT: &str = "INSERT INTO signing_keys (kid, pkcs8, created_at_ms) VALUES (?, ?, ?)";
const REMOVE: &str = "DELETE FROM signing_keys WHERE created_at_ms < ?";

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

/// Why there is no key to sign with.
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
    /// Keys that sign for `key_life` tokens that live for `token_life`.
    pub fn new(database: Database, key_life: Duration, token_life: Duration) -> Self {
        Self {
            database,
            key_life,
            token_life,
            known: Mutex::default(),
        }
    }

    /// The key to sign with.
    pub async fn signing(&self, now: Timestamp) -> Result<Key, KeysError> {
        let keys = self.keys(now).await?;
        let published_by = now.as_ms().saturating_sub(millis(PUBLISHED_AHEAD));
        let settled = keys.iter().find(|key| key.created_at_ms <= published_by);
        // The very first keys sign at once: the oldest of them is the one most likely known.
        let key = settled.or(keys.last()).expect("there is at least one key");
        Ok(key.clone())
    }

    /// What others verify with.
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

    /// The epochs that others compare tokens with.
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

    /// The keys in SQL, with a new one when the newest has signed for long enough, and without those nobody needs.
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
        sqlx::query(LIST)
            .fetch_all(self.database.pool())
            .await?
            .iter()
            .map(read)
            .collect()
    }

    async fn renew(&self, now: Timestamp) -> Result<(), KeysError> {
        let mut pkcs8 = PKCS8_PREFIX.to_vec();
        pkcs8.resize(PKCS8_PREFIX.len() + 32, 0);
        OsRng.fill_bytes(&mut pkcs8[PKCS8_PREFIX.len()..]);

        let useless = now
            .as_ms()
            .saturating_sub(millis(self.key_life * 2 + self.token_life));
        let mut transaction = self.database.write().await?;

        sqlx::query(INSERT)
            .bind(Uuid::now_v7().to_string())
            .bind(STANDARD.encode(pkcs8))
            .bind(signed(now.as_ms()))
            .execute(transaction.connection())
            .await?;

        sqlx::query(REMOVE)
            .bind(signed(useless))
            .execute(transaction.connection())
            .await?;

        Ok(transaction.commit().await?)
    }
}

/// The service verifies by its own keys like everybody else, without asking itself over the network.
pub struct OwnKeys(pub Arc<Keys>);

impl KeySource for OwnKeys {
    fn published(&self) -> Published<'_> {
        Box::pin(async { Ok(self.0.published(Timestamp::now()).await?) })
    }

    fn epoch_of(&self, user_id: i64) -> EpochOf<'_> {
        Box::pin(async move { Ok(epochs::epoch_of(&self.0.database, user_id).await?) })
    }
}

fn read(row: &AnyRow) -> Result<Key, KeysError> {
    let pkcs8 = STANDARD.decode(row.try_get::<String, _>("pkcs8")?)?;
    Ok(Key {
        kid: row.try_get("kid")?,
        encoding: EncodingKey::from_ed_der(&pkcs8),
        created_at_ms: u64::try_from(row.try_get::<i64, _>("created_at_ms")?).unwrap_or(0),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

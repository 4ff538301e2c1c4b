//! Callers with tokens that services accept, and keys to sign other tokens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::auth::{ACCESS_TOKEN, AccessClaims, Auth, KeySource, Published, Secret};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};

/// The prefix of an Ed25519 key in PKCS #8 (RFC 8410, 7); 32 bytes follow.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];
const MINUTE: Duration = Duration::from_secs(60);

/// A key that signs access tokens.
pub struct Signer {
    kid: &'static str,
    /// The key itself, for tokens that [`Signer::sign`] does not make.
    pub key: EncodingKey,
}

/// Keys that are published in memory. Clones share them.
#[derive(Clone, Default)]
pub struct PublishedKeys {
    keys: Arc<Mutex<Vec<Jwk>>>,
    asked: Arc<AtomicUsize>,
}

/// Users, admins and services with tokens for a service that enforces authentication.
pub struct Identities {
    signer: Signer,
    /// The authentication to pass to the service.
    pub auth: Auth,
}

impl Signer {
    /// Returns a key of this name; the same seed makes the same key.
    pub fn new(kid: &'static str, seed: u8) -> Self {
        let pkcs8 = [PKCS8_PREFIX.as_slice(), &[seed; 32]].concat();
        Self {
            kid,
            key: EncodingKey::from_ed_der(&pkcs8),
        }
    }

    /// Returns its public part.
    ///
    /// # Panics
    /// When the key is damaged.
    pub fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).expect("an Ed25519 key");
        jwk.common.key_id = Some(self.kid.to_owned());
        jwk
    }

    /// Returns the header of its tokens.
    pub fn header(&self) -> Header {
        Header {
            typ: Some(ACCESS_TOKEN.to_owned()),
            kid: Some(self.kid.to_owned()),
            ..Header::new(Algorithm::EdDSA)
        }
    }

    /// Returns an access token with these claims.
    ///
    /// # Panics
    /// When the key is damaged.
    pub fn sign(&self, claims: &AccessClaims) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).expect("an Ed25519 key")
    }
}

/// Returns the claims of a user's access token, valid from now for a minute.
pub fn claims(user_id: i64, is_admin: bool) -> AccessClaims {
    AccessClaims::new(user_id, is_admin, get_current_timestamp(), MINUTE)
}

impl PublishedKeys {
    /// Publishes these keys and no others.
    pub fn publish(&self, keys: impl IntoIterator<Item = Jwk>) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = keys.into_iter().collect();
    }

    /// Returns how often the keys were read.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl KeySource for PublishedKeys {
    fn published(&self) -> Published<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let keys = self
            .keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Box::pin(std::future::ready(Ok(JwkSet { keys })))
    }
}

impl Default for Identities {
    fn default() -> Self {
        let signer = Signer::new("testbed", 7);
        let keys = PublishedKeys::default();
        keys.publish([signer.jwk()]);

        Self {
            signer,
            auth: Auth::enforced(keys, Some(&Secret::random())),
        }
    }
}

impl Identities {
    /// Returns the token of a user.
    pub fn user(&self, id: i64) -> String {
        self.signer.sign(&claims(id, false))
    }

    /// Returns the token of an admin.
    pub fn admin(&self) -> String {
        self.signer.sign(&claims(1_000_000, true))
    }

    /// Returns the token of a service.
    ///
    /// # Panics
    /// Never: there is a secret.
    pub fn service(&self) -> String {
        self.auth.service_token().expect("there is a secret")
    }
}

//! The published keys: read when a token needs them, kept for a while, and read at a limited rate.
//!
//! The name of an unknown key causes a read, because the key may be new. Anybody can invent names,
//! so there is a pause between two reads. While the source is unavailable, the known keys stay in
//! use for an hour.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};

use super::epochs::Signing;
use super::token::TokenError;

/// The time for which keys are used without another read. A new key is published for longer than this before
/// it signs.
const FRESH_FOR: Duration = Duration::from_secs(300);
/// The time for which keys are used when the source is unavailable.
const KEPT_FOR: Duration = Duration::from_secs(3600);
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Time limit for a read.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest number of keys kept.
const MOST_KEYS: usize = 64;

/// The answer of a source.
pub type Published<'a> =
    Pin<Box<dyn Future<Output = Result<JwkSet, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// An account's epoch, or the error of reading it.
pub type EpochOf<'a> =
    Pin<Box<dyn Future<Output = Result<u64, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// A source of the users service's public keys.
pub trait KeySource: Send + Sync + 'static {
    /// Returns the keys that are published now.
    fn published(&self) -> Published<'_>;

    /// Returns the first epoch that is valid for tokens which were signed like this; tokens of earlier epochs are
    /// revoked.
    fn epoch_of(&self, signing: Signing) -> EpochOf<'_> {
        let _ = signing;
        Box::pin(std::future::ready(Ok(0)))
    }
}

/// A source without keys: no user can authenticate.
pub(super) struct NoKeys;

impl KeySource for NoKeys {
    fn published(&self) -> Published<'_> {
        Box::pin(async { Ok(JwkSet { keys: Vec::new() }) })
    }
}

/// The known keys of a source.
pub(super) struct Keys {
    source: Box<dyn KeySource>,
    known: Mutex<Known>,
    /// Held by the task that reads the source.
    turn: tokio::sync::Mutex<()>,
}

/// The known keys, and the time of the next read.
#[derive(Default)]
struct Known {
    keys: HashMap<String, DecodingKey>,
    heard: Option<Instant>,
    ask_from: Option<Instant>,
}

/// The next step for a token that names a key.
enum Step {
    /// Verify with this key.
    Use(DecodingKey),
    /// Verify with this key, and read the source again.
    Renew(DecodingKey),
    /// Read the source first.
    Ask,
    /// There is no such key.
    Unknown,
    /// No usable keys are known, and it is too soon to read the source again.
    Away,
}

impl Keys {
    pub(super) fn new(source: impl KeySource) -> Self {
        Self {
            source: Box::new(source),
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Returns whether an access token of this epoch is revoked.
    pub(super) async fn is_revoked(
        &self,
        signing: Signing,
        epoch: u64,
    ) -> Result<bool, TokenError> {
        match self.source.epoch_of(signing).await {
            Ok(current) => Ok(epoch < current),
            Err(error) => {
                tracing::warn!(
                    error,
                    "the epoch of an account cannot be read, so its token is rejected"
                );
                Err(TokenError::KeysAway)
            }
        }
    }

    /// Returns the key of this name.
    pub(super) async fn find(&self, kid: &str) -> Result<DecodingKey, TokenError> {
        let step = match self.look_up(kid) {
            Step::Renew(key) => match self.turn.try_lock() {
                Ok(_turn) => self.ask(kid).await,
                Err(_) => Step::Use(key),
            },
            Step::Ask => {
                let _turn = self.turn.lock().await;
                match self.look_up(kid) {
                    Step::Ask => self.ask(kid).await,
                    answered => answered,
                }
            }
            step => step,
        };

        match step {
            Step::Use(key) | Step::Renew(key) => Ok(key),
            Step::Unknown => Err(TokenError::UnknownKey),
            Step::Ask | Step::Away => Err(TokenError::KeysAway),
        }
    }

    /// Reads the source, and looks the key up again.
    async fn ask(&self, kid: &str) -> Step {
        let answer = tokio::time::timeout(PATIENCE, self.source.published()).await;
        let answer = answer.unwrap_or_else(|late| Err(late.into()));
        if let Err(error) = &answer {
            tracing::warn!(
                error,
                "the keys that verify access tokens cannot be fetched"
            );
        }

        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .hear(answer.ok().as_ref(), Instant::now());

        self.look_up(kid)
    }

    fn look_up(&self, kid: &str) -> Step {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .look_up(kid, Instant::now())
    }
}

impl Known {
    fn look_up(&self, kid: &str, now: Instant) -> Step {
        let may_ask = self.ask_from.is_none_or(|from| now >= from);
        let age = self
            .heard
            .map(|heard| now.saturating_duration_since(heard))
            .filter(|age| *age < KEPT_FOR);

        match (age, self.keys.get(kid).cloned()) {
            (Some(age), Some(key)) if age < FRESH_FOR || !may_ask => Step::Use(key),
            (Some(_), Some(key)) => Step::Renew(key),
            _ if may_ask => Step::Ask,
            (Some(_), None) => Step::Unknown,
            (None, _) => Step::Away,
        }
    }

    /// Stores an answer, or the failure to get one.
    fn hear(&mut self, answer: Option<&JwkSet>, now: Instant) {
        let Some(published) = answer else {
            self.ask_from = Some(now + PAUSE_AFTER_FAILURE);
            return;
        };

        self.keys = published
            .keys
            .iter()
            .filter_map(usable)
            .take(MOST_KEYS)
            .collect();

        self.heard = Some(now);
        self.ask_from = Some(now + PAUSE);
    }
}

/// Returns the name and key of a named Ed25519 key; none for others.
fn usable(jwk: &Jwk) -> Option<(String, DecodingKey)> {
    let AlgorithmParameters::OctetKeyPair(parameters) = &jwk.algorithm else {
        return None;
    };

    let kid = jwk
        .common
        .key_id
        .clone()
        .filter(|_| parameters.curve == EllipticCurve::Ed25519)?;
    DecodingKey::from_jwk(jwk).ok().map(|key| (kid, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> JwkSet {
        let key = |name: &&str| {
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": name, "use": "sig",
                               "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
        };
        let keys: Vec<_> = names.iter().map(key).collect();
        serde_json::from_value(serde_json::json!({ "keys": keys })).unwrap()
    }

    fn step(known: &Known, kid: &str, now: Instant) -> &'static str {
        match known.look_up(kid, now) {
            Step::Use(_) => "use",
            Step::Renew(_) => "renew",
            Step::Ask => "ask",
            Step::Unknown => "unknown",
            Step::Away => "away",
        }
    }

    #[test]
    fn a_name_that_is_not_known_is_asked_for_but_not_too_often() {
        let mut known = Known::default();
        let start = Instant::now();
        assert_eq!(step(&known, "a", start), "ask");
        known.hear(Some(&set(&["a"])), start);

        assert_eq!(step(&known, "a", start), "use");
        assert_eq!(step(&known, "b", start), "unknown");
        assert_eq!(step(&known, "b", start + PAUSE), "ask");
    }

    #[test]
    fn old_keys_are_read_again_and_a_withdrawn_key_is_removed() {
        let mut known = Known::default();
        let start = Instant::now();
        known.hear(Some(&set(&["a"])), start);

        let later = start + FRESH_FOR;
        assert_eq!(step(&known, "a", later), "renew");
        known.hear(Some(&set(&["b"])), later);

        assert_eq!(
            [step(&known, "a", later), step(&known, "b", later)],
            ["unknown", "use"]
        );
    }

    #[test]
    fn while_the_source_is_away_what_is_known_is_used_for_an_hour() {
        let mut known = Known::default();
        let start = Instant::now();
        known.hear(None, start);

        assert_eq!(step(&known, "a", start), "away");
        assert_eq!(step(&known, "a", start + PAUSE_AFTER_FAILURE), "ask");
        known.hear(Some(&set(&["a"])), start);
        known.hear(None, start + FRESH_FOR);

        assert_eq!(step(&known, "a", start + FRESH_FOR), "use");
        known.hear(None, start + KEPT_FOR);
        assert_eq!(step(&known, "a", start + KEPT_FOR), "away");
    }

    #[test]
    fn keys_of_other_kinds_and_without_a_name_are_left_out() {
        let mut odd = serde_json::to_value(set(&["a"])).unwrap();
        odd["keys"][0].as_object_mut().unwrap().remove("kid");
        odd["keys"]
            .as_array_mut()
            .unwrap()
            .push(serde_json::json!({"kty": "oct", "kid": "b", "k": "c2VjcmV0"}));

        let mut known = Known::default();
        known.hear(Some(&serde_json::from_value(odd).unwrap()), Instant::now());
        assert!(known.keys.is_empty());
    }
}

//! SCRAM (RFC 5802, RFC 7677), the client's side.
//!
//! The client proves without sending the password that it has it, and the server proves that it has the user's keys:
//!
//! ```text
//! client first   n,,n=user,r=nonce                      ─▶
//!                ◀─ server first   r=nonce+more,s=salt,i=iterations
//! client final   c=biws,r=nonce+more,p=proof            ─▶
//!                ◀─ server final   v=signature
//! ```
//!
//! Channel binding is not offered: Kafka has none. User and password are used as UTF-8 without SASLprep, as in Kafka's
//! brokers and librdkafka.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The least and the greatest accepted number of iterations. With fewer, an observer of the exchange can guess the
/// password cheaply (RFC 7677); with more, a server could keep the client busy.
const LEAST_ITERATIONS: u32 = 4096;
const MOST_ITERATIONS: u32 = 1_000_000;

/// The hash function of a mechanism.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

/// An exchange after its first message was sent.
pub(super) struct First {
    hash: Hash,
    nonce: String,
    /// The client's first message without its header.
    bare: String,
}

/// An exchange after the client's proof was sent.
pub(super) struct Proven {
    key: hmac::Key,
    /// The text that the server's signature signs.
    signed: String,
}

/// The reason why the exchange cannot continue.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::native) enum ScramError {
    #[error("its message has no {0}")]
    Garbled(&'static str),
    #[error("its nonce does not continue the client's: something answers in the broker's place")]
    ForeignNonce,
    #[error(
        "it requires {0} iterations; {LEAST_ITERATIONS} to {MOST_ITERATIONS} are accepted: set the user's credentials anew"
    )]
    Iterations(u32),
    #[error("it requires the extension {0:?}, which this client does not have")]
    Extension(String),
    #[error("it ended the exchange with {0:?}")]
    Rejected(String),
    #[error("its signature is wrong: it does not have the user's keys, or it is not the broker")]
    WrongSignature,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    /// `Hi` of the RFC.
    fn salted_password(self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.digest().output_len()];
        pbkdf2::derive(
            algorithm,
            iterations,
            salt,
            password.as_bytes(),
            &mut salted,
        );

        salted
    }

    fn sign(self, key: &[u8], text: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text)
    }
}

impl First {
    /// Returns the exchange and the client's first message. The nonce must be fresh, printable and free of commas.
    pub fn new(hash: Hash, user: &str, nonce: String) -> (Self, String) {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={user},r={nonce}");
        let message = format!("n,,{bare}");
        (Self { hash, nonce, bare }, message)
    }

    /// Returns the exchange and the client's proof.
    pub fn prove(
        &self,
        password: &str,
        server_first: &str,
    ) -> Result<(Proven, String), ScramError> {
        let Challenge {
            nonce,
            salt,
            iterations,
        } = Challenge::read(server_first, &self.nonce)?;

        // "biws" is the header "n,,": no channel is bound.
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.bare);

        let salted = self.hash.salted_password(password, &salt, iterations);
        let client_key = self.hash.sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let signature = self.hash.sign(stored_key.as_ref(), signed.as_bytes());

        let parts = client_key.as_ref().iter().zip(signature.as_ref());
        let proof: Vec<u8> = parts.map(|(key, signature)| key ^ signature).collect();
        let message = format!("{without_proof},p={}", BASE64.encode(proof));

        let server_key = self.hash.sign(&salted, b"Server Key");
        let key = hmac::Key::new(self.hash.hmac(), server_key.as_ref());
        Ok((Proven { key, signed }, message))
    }
}

impl Proven {
    /// Verifies the server's proof that it has the user's keys.
    pub fn verify(&self, server_final: &str) -> Result<(), ScramError> {
        let verdict = server_final.split(',').next().unwrap_or_default();
        if let Some(error) = verdict.strip_prefix("e=") {
            return Err(ScramError::Rejected(error.to_owned()));
        }

        let signature = verdict.strip_prefix("v=");
        let signature = signature.ok_or(ScramError::Garbled("signature"))?;
        let signature = BASE64
            .decode(signature)
            .map_err(|_| ScramError::Garbled("signature in base64"))?;

        hmac::verify(&self.key, self.signed.as_bytes(), &signature)
            .map_err(|_| ScramError::WrongSignature)
    }
}

/// The server's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    fn read(message: &'a str, client_nonce: &str) -> Result<Self, ScramError> {
        let mut fields = message.split(',');
        let nonce = fields.next().unwrap_or_default();
        if nonce.starts_with("m=") {
            return Err(ScramError::Extension(nonce.to_owned()));
        }

        let field = |field: Option<&'a str>, prefix, name| {
            let value = field.and_then(|field: &str| field.strip_prefix(prefix));
            value.ok_or(ScramError::Garbled(name))
        };
        let nonce = field(Some(nonce), "r=", "nonce")?;
        let salt = field(fields.next(), "s=", "salt")?;
        let iterations = field(fields.next(), "i=", "iterations")?;

        if !nonce.starts_with(client_nonce) || nonce.len() == client_nonce.len() {
            return Err(ScramError::ForeignNonce);
        }

        let salt = BASE64
            .decode(salt)
            .map_err(|_| ScramError::Garbled("salt in base64"))?;
        if salt.is_empty() {
            return Err(ScramError::Garbled("salt"));
        }

        Ok(Self {
            nonce,
            salt,
            iterations: bounded(iterations)?,
        })
    }
}

fn bounded(iterations: &str) -> Result<NonZeroU32, ScramError> {
    let number = iterations
        .parse()
        .map_err(|_| ScramError::Garbled("number of iterations"))?;
    if !(LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&number) {
        return Err(ScramError::Iterations(number));
    }

    NonZeroU32::new(number).ok_or(ScramError::Iterations(number))
}

#[cfg(test)]
mod tests;

//! What the platform's tokens say, and whether one is to be believed. Pure, but for the clock that says whether it is its time.

use std::time::Duration;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation, get_current_timestamp,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Caller, Secret};

/// Who signs access tokens.
pub const ISSUER: &str = "tidemark-users";
/// Whom they are for.
pub const AUDIENCE: &str = "tidemark";
/// The type of access tokens (RFC 9068): no other token passes for one.
pub const ACCESS_TOKEN: &str = "at+jwt";

/// The type of services' tokens.
const SERVICE_TOKEN: &str = "service+jwt";
/// Who signs them: whoever has the secret.
const SERVICES: &str = "tidemark-services";
const SERVICE_TOKEN_LIFE: Duration = Duration::from_secs(60);
/// How far the clocks of two machines may be apart.
const LEEWAY: Duration = Duration::from_secs(10);
/// A longer token is none of ours, and is not looked at.
const MOST_BYTES: usize = 4096;
const ADMIN: &str = "admin";

/// What an access token says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AccessClaims {
    /// Who signed it: [`ISSUER`].
    pub iss: String,
    /// Whom it is for: [`AUDIENCE`].
    pub aud: String,
    /// The user's id, in decimal.
    pub sub: String,
    /// When it was signed, in seconds since 1970.
    pub iat: u64,
    /// Until when it is good, likewise.
    pub exp: u64,
    /// Its own id.
    pub jti: Uuid,
    /// In which epoch of the account it was signed.
    #[serde(default)]
    pub epoch: u64,
    /// What the user is besides a user: perhaps `admin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// What a service's token says.
#[derive(Debug, Deserialize, Serialize)]
struct ServiceClaims {
    iss: String,
    aud: String,
    exp: u64,
}

/// Which kind of token it says it is, and what has to be known to verify it.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Access { kid: String },
    Service,
}

/// The secret that services share, as a key.
#[derive(Clone)]
pub(super) struct ServiceKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// Why a token is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("it is none of the platform's tokens")]
    OtherKind,
    #[error("{0}")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    #[error("it was taken back")]
    Revoked,
    #[error("its subject is no user")]
    NoUser,
    #[error("no key is published under the name of the one that signed it")]
    UnknownKey,
    #[error("the published keys cannot be had")]
    KeysAway,
}

impl AccessClaims {
    /// The claims of a token for this user, good from `iat` for `life`.
    pub fn new(user_id: i64, is_admin: bool, iat: u64, life: Duration) -> Self {
        Self {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user_id.to_string(),
            iat,
            exp: iat + life.as_secs(),
            jti: Uuid::new_v4(),
            epoch: 0,
            roles: if is_admin {
                vec![ADMIN.to_owned()]
            } else {
                Vec::new()
            },
        }
    }
}

/// Looks at the header alone: nothing it says is believed, it only says which rules the token must keep.
pub(super) fn kind(token: &str) -> Result<Kind, TokenError> {
    if token.len() > MOST_BYTES {
        return Err(TokenError::OtherKind);
    }

    let header = jsonwebtoken::decode_header(token).map_err(TokenError::Invalid)?;
    match (header.typ.as_deref(), header.kid) {
        (Some(ACCESS_TOKEN), Some(kid)) => Ok(Kind::Access { kid }),
        (Some(SERVICE_TOKEN), _) => Ok(Kind::Service),
        _ => Err(TokenError::OtherKind),
    }
}

/// The user of an access token that was signed with this key, the user's id, and the epoch of the account.
pub(super) fn user(token: &str, key: &DecodingKey) -> Result<(Caller, i64, u64), TokenError> {
    let claims: AccessClaims = verify(token, key, Algorithm::EdDSA, ISSUER)?;
    let id = claims
        .sub
        .parse()
        .ok()
        .filter(|id| *id > 0)
        .ok_or(TokenError::NoUser)?;

    let caller = Caller::User {
        id,
        is_admin: claims.roles.iter().any(|role| role == ADMIN),
    };
    Ok((caller, id, claims.epoch))
}

/// Until when a token is good, by its own word, in seconds since 1970: for tokens that were verified.
pub(super) fn expiry(token: &str) -> Result<u64, TokenError> {
    #[derive(Deserialize)]
    struct Expiry {
        exp: u64,
    }

    let claims: TokenData<Expiry> =
        jsonwebtoken::dangerous::insecure_decode(token).map_err(TokenError::Invalid)?;
    Ok(claims.claims.exp)
}

impl ServiceKey {
    pub(super) fn new(secret: &Secret) -> Self {
        let secret = secret.expose().as_bytes();
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
        }
    }

    pub(super) fn sign(&self) -> String {
        let header = Header {
            typ: Some(SERVICE_TOKEN.to_owned()),
            ..Header::new(Algorithm::HS256)
        };

        let exp = get_current_timestamp() + SERVICE_TOKEN_LIFE.as_secs();
        let claims = ServiceClaims {
            iss: SERVICES.to_owned(),
            aud: AUDIENCE.to_owned(),
            exp,
        };
        jsonwebtoken::encode(&header, &claims, &self.encoding)
            .expect("a digest can be keyed with any bytes")
    }

    pub(super) fn verify(&self, token: &str) -> Result<(), TokenError> {
        verify::<ServiceClaims>(token, &self.decoding, Algorithm::HS256, SERVICES).map(|_| ())
    }
}

/// Signature, algorithm, issuer, audience and time.
fn verify<C: DeserializeOwned>(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
    issuer: &str,
) -> Result<C, TokenError> {
    let mut rules = Validation::new(algorithm);
    rules.set_issuer(&[issuer]);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    rules.validate_nbf = true;
    rules.leeway = LEEWAY.as_secs();

    let TokenData { claims, .. } =
        jsonwebtoken::decode(token, key, &rules).map_err(TokenError::Invalid)?;
    Ok(claims)
}

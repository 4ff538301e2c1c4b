//! The claims of the platform's tokens and their verification. Pure, except that validity times are
//! compared with the clock.

use std::time::Duration;

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, TokenData, Validation, get_current_timestamp,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::epochs::Signing;
use super::{Caller, Secret};

/// The issuer of access tokens.
pub const ISSUER: &str = "tidemark-users";
/// The audience of access tokens.
pub const AUDIENCE: &str = "tidemark";
/// The type of access tokens (RFC 9068). Tokens of other types are rejected as access tokens.
pub const ACCESS_TOKEN: &str = "at+jwt";

/// The type of services' tokens.
const SERVICE_TOKEN: &str = "service+jwt";
/// The issuer of services' tokens: any holder of the secret.
const SERVICES: &str = "tidemark-services";
const SERVICE_TOKEN_LIFE: Duration = Duration::from_secs(60);
/// Largest accepted difference between the clocks of two machines.
const LEEWAY: Duration = Duration::from_secs(10);
/// Largest token that is parsed; all tokens of the platform are shorter.
const MOST_BYTES: usize = 4096;
const ADMIN: &str = "admin";

/// The claims of an access token.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AccessClaims {
    /// The issuer: [`ISSUER`].
    pub iss: String,
    /// The audience: [`AUDIENCE`].
    pub aud: String,
    /// The user's id, in decimal.
    pub sub: String,
    /// The time of signing, in seconds since 1970.
    pub iat: u64,
    /// The time of expiry, in seconds since 1970.
    pub exp: u64,
    /// The token's own id.
    pub jti: Uuid,
    /// The account's epoch at the time of signing.
    #[serde(default)]
    pub epoch: u64,
    /// The user's roles: `admin` or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// The claims of a service's token.
#[derive(Debug, Deserialize, Serialize)]
struct ServiceClaims {
    iss: String,
    aud: String,
    exp: u64,
}

/// The kind of a token, by its unverified header, and the key id needed to verify it.
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

/// The reason why a token is rejected.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("it is not a token of the platform")]
    OtherKind,
    #[error("{0}")]
    Invalid(#[source] jsonwebtoken::errors::Error),
    #[error("it was revoked")]
    Revoked,
    #[error("its subject is not a user")]
    NoUser,
    #[error("its key id names no published key")]
    UnknownKey,
    #[error("the published keys cannot be fetched")]
    KeysAway,
}

impl AccessClaims {
    /// Returns the claims of a token for this user, valid from `iat` for `life`.
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

/// Reads the token's kind from its header. The header is not trusted: it only selects the rules
/// that the token is verified by.
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

/// An access token whose signature and times are valid.
pub(super) struct Verified {
    pub(super) caller: Caller,
    pub(super) signing: Signing,
    /// The epoch of the account at the time of signing.
    pub(super) epoch: u64,
}

/// Verifies an access token against this key.
pub(super) fn user(token: &str, key: &DecodingKey) -> Result<Verified, TokenError> {
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
    Ok(Verified {
        caller,
        signing: Signing {
            user_id: id,
            at: claims.iat,
        },
        epoch: claims.epoch,
    })
}

/// Returns a token's time of expiry, in seconds since 1970. It does not verify the token: the
/// caller must have done so.
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
            .expect("HMAC accepts a key of any bytes")
    }

    pub(super) fn verify(&self, token: &str) -> Result<(), TokenError> {
        verify::<ServiceClaims>(token, &self.decoding, Algorithm::HS256, SERVICES).map(|_| ())
    }
}

/// Verifies the signature, algorithm, issuer, audience and times of a token.
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

//! Who calls, and what they may do.
//!
//! A caller shows a bearer token ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)). A user's is an access token
//! ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)): the users service signs it with Ed25519, and every service
//! verifies it itself, by the keys that the users service publishes. Services show each other tokens that live for a
//! minute, signed with a secret they share. Which of the two a token is, its type says; each type has one algorithm and one
//! kind of key, whatever else a token claims.
//!
//! With `--auth open`, for a laptop, nobody is asked and everybody may do everything. With `--auth enforced`:
//!
//! | | anybody | whose it is | admin | services |
//! |---|---|---|---|---|
//! | sign up, log in, refresh, log out; published keys, descriptions, health | yes | yes | yes | yes |
//! | `GET /products`, `GET /products/{id}` | yes | yes | yes | yes |
//! | `GET /users/{id}` | | yes | yes | yes |
//! | `PATCH`, `DELETE /users/{id}`, `PUT /users/{id}/password` | | yes | yes | |
//! | `POST /orders` | | for itself | for anybody | |
//! | `GET /orders`, `GET /orders/{id}`, `GET /notifications`, `GET /analytics/users/{id}` | | its own | all | |
//! | `PATCH /orders/{id}` | | to cancel it | yes | |
//! | `GET /users`; `DELETE /products/{id}`; all other `/analytics`; `/files` | | | yes | |
//! | all other writes to `/products`; `/products/reservations`; `GET /orders/minutes`; `/notifications/…/retry` | | | yes | yes |
//!
//! What is somebody else's is a 403 where the request says whose it is, and a 404 where a 403 would say that it exists.
//! `/metrics` is on the operator's port alone, and asks nobody.
//!
//! An access token says in which epoch of its account it was signed. A new password, a log-out and a refresh token used
//! twice begin the next epoch, and tokens of earlier ones are refused: by the users service at once, by the others when
//! they have read the epochs again, 20 seconds later at most, and at the token's own end where users is away. A handler that takes a
//! [`Caller`] (or [`Admin`], or [`Trusted`]) answers nobody it does not know; one that takes none is open to everybody.

mod epochs;
mod http_keys;
mod keys;
mod settings;
mod token;
mod until;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::{Extension, Router};

pub use epochs::TokenEpochs;
pub use http_keys::HttpKeys;
pub use keys::{EpochOf, KeySource, Published};
use keys::{Keys, NoKeys};
pub use settings::{AuthMode, AuthSettings, AuthSettingsError, InvalidJwksUrl, JwksUrl, Secret};
pub use token::{ACCESS_TOKEN, AUDIENCE, AccessClaims, ISSUER};
use token::{Kind, ServiceKey, TokenError};
pub use until::Until;

use crate::{Problem, Result};

/// How a service learns who calls it. Clones share what is known of the keys.
#[derive(Clone)]
pub struct Auth(Option<Arc<Enforced>>);

/// What tokens are verified with.
struct Enforced {
    keys: Keys,
    services: Option<ServiceKey>,
}

/// Who calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// Somebody who was not asked, for nobody is.
    Anonymous,
    /// A user who is logged in.
    User {
        /// The user's id.
        id: i64,
        /// Whether the shop is theirs to run.
        is_admin: bool,
    },
    /// Another service of the platform.
    Service,
}

/// A caller who may do everything that users may, to everything.
#[derive(Clone, Copy, Debug)]
pub struct Admin;

/// A caller that is a service of the platform, or an admin.
#[derive(Clone, Copy, Debug)]
pub struct Trusted;

impl Auth {
    /// Asks nobody.
    pub fn open() -> Self {
        Self(None)
    }

    /// Asks everybody: users for a token signed with one of these keys, services for one signed with their secret, if they
    /// have one.
    pub fn enforced(keys: impl KeySource, services: Option<&Secret>) -> Self {
        Self(Some(Arc::new(Enforced {
            keys: Keys::new(keys),
            services: services.map(ServiceKey::new),
        })))
    }

    /// What a process shows services that calls them, has their secret, and is called by nobody.
    pub fn of_caller(secret: &Secret) -> Self {
        Self::enforced(NoKeys, Some(secret))
    }

    /// The same, with the keys of another source: the users service need not ask itself.
    #[must_use]
    pub fn verifying_by(&self, keys: impl KeySource) -> Self {
        let with_keys = |enforced: &Arc<Enforced>| Enforced {
            keys: Keys::new(keys),
            services: enforced.services.clone(),
        };
        Self(self.0.as_ref().map(with_keys).map(Arc::new))
    }

    /// Whether nobody is asked.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Lets the handlers of these routes know who calls: the routes whose handlers ask.
    pub fn protect(&self, routes: Router) -> Router {
        routes.layer(Extension(self.clone()))
    }

    /// Who sent a request with these headers.
    ///
    /// # Errors
    /// A 401 when they do not say, or not convincingly; a 503 when the keys to tell are away.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller> {
        match &self.0 {
            None => Ok(Caller::Anonymous),
            Some(enforced) => Ok(enforced.caller(bearer(headers)?).await?),
        }
    }

    /// What a service shows another; nothing where nobody asks, or without a secret.
    pub fn service_token(&self) -> Option<String> {
        let key = self
            .0
            .as_ref()
            .and_then(|enforced| enforced.services.as_ref());
        key.map(ServiceKey::sign)
    }
}

impl Enforced {
    async fn caller(&self, text: &str) -> std::result::Result<Caller, TokenError> {
        match token::kind(text)? {
            Kind::Access { kid } => {
                let (caller, id, epoch) = token::user(text, &self.keys.find(&kid).await?)?;
                if self.keys.is_revoked(id, epoch).await? {
                    return Err(TokenError::Revoked);
                }
                Ok(caller)
            }
            Kind::Service => match &self.services {
                Some(key) => key.verify(text).map(|()| Caller::Service),
                None => Err(TokenError::OtherKind),
            },
        }
    }
}

/// The token of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let missing = || Problem::unauthorized("log in, and send the access token as a bearer token");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(missing)?;

    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(missing())
    }
}

impl Caller {
    /// Whether everything is allowed that users may do, to whomever it belongs.
    pub fn is_unrestricted(self) -> bool {
        matches!(self, Self::Anonymous | Self::User { is_admin: true, .. })
    }

    /// Whether it may see and change what belongs to this user.
    pub fn may_act_for(self, user_id: impl TryInto<i64>) -> bool {
        let is_own = |own| user_id.try_into().is_ok_and(|user_id| user_id == own);
        self.is_unrestricted() || matches!(self, Self::User { id, .. } if is_own(id))
    }

    /// That it may see and change what belongs to this user.
    ///
    /// # Errors
    /// A 403 when it may not.
    pub fn require_user(self, user_id: impl TryInto<i64>) -> Result<()> {
        if self.may_act_for(user_id) {
            Ok(())
        } else {
            Err(somebody_elses())
        }
    }

    /// Whose items a list shows that was asked for those of `asked`, or for everybody's: a user is shown its own.
    ///
    /// # Errors
    /// A 403 when others' were asked for.
    pub fn whose<Id: Copy + TryInto<i64> + TryFrom<i64>>(
        self,
        asked: Option<Id>,
    ) -> Result<Option<Id>> {
        match (self, asked) {
            (caller, asked) if caller.is_unrestricted() => Ok(asked),
            (Self::User { id, .. }, None) => {
                Id::try_from(id).map(Some).map_err(|_| somebody_elses())
            }
            (caller, Some(asked)) => caller.require_user(asked).map(|()| Some(asked)),
            (_, None) => Err(somebody_elses()),
        }
    }
}

/// Writes to the security log what an admin is about to do, which may still be refused.
fn note_admins_act(caller: Caller, parts: &Parts) {
    if let Caller::User { id, is_admin: true } = caller
        && !parts.method.is_safe()
    {
        let path = parts.uri.path();
        tracing::info!(target: "security", event = "admin_act", user_id = id, method = %parts.method, path);
    }
}

fn somebody_elses() -> Problem {
    Problem::forbidden("this is somebody else's")
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        match parts.extensions.get::<Auth>() {
            Some(auth) => {
                let caller = auth.clone().caller(&parts.headers).await?;
                note_admins_act(caller, parts);
                Ok(caller)
            }
            None => Err(Problem::internal(
                "a route that asks who calls is not protected",
            )),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.is_unrestricted() {
            Ok(Self)
        } else {
            Err(Problem::forbidden("this is for those who run the shop"))
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Trusted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller == Caller::Service || caller.is_unrestricted() {
            return Ok(Self);
        }
        Err(Problem::forbidden("this is for services of the platform"))
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::KeysAway => Self::unavailable("who you are cannot be verified right now"),
            error => {
                tracing::debug!(%error, "refused a token");
                Self::invalid_token("the token is not good; log in again, or refresh it")
            }
        }
    }
}

//! Authentication of callers, and their permissions.
//!
//! A caller sends a bearer token ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)). A user's
//! token is an access token ([RFC 9068](https://www.rfc-editor.org/rfc/rfc9068)): the users service
//! signs it with Ed25519, and every service verifies it itself, with the keys that the users
//! service publishes. Services send each other tokens that expire after a minute, signed with a
//! shared secret. A token's type distinguishes the two; each type has one algorithm and one kind of
//! key, and no claim in a token changes them.
//!
//! With `--auth open`, for a laptop, callers need not authenticate and may do everything.
//! With `--auth enforced`:
//!
//! | | anybody | the owner | admin | services |
//! |---|---|---|---|---|
//! | sign up, log in, refresh, log out; request and use a link to reset a password; published keys, descriptions, health | yes | yes | yes | yes |
//! | `GET /products`, `GET /products/{id}` | yes | yes | yes | yes |
//! | `GET /users/{id}` | | yes | yes | yes |
//! | `PATCH`, `DELETE /users/{id}` (its owner with the password), `PUT /users/{id}/password`, `POST /users/{id}/verification` | | yes | yes | |
//! | `/users/{id}/second-factor`: set it (with the password) | | yes | | |
//! | … see and remove it (its owner with password and code) | | yes | yes | |
//! | `/account-mail/…` | | | | yes |
//! | `POST /orders`; `POST /orders/{id}/payments` | | for itself | for anybody | |
//! | `GET /orders`, `GET /orders/{id}`, `GET /orders/{id}/payments`, `GET /notifications`, `GET /analytics/users/{id}` | | its own | all | |
//! | `PATCH /orders/{id}` | | to cancel it | yes | |
//! | `GET /users`; `DELETE /products/{id}`; all other `/analytics`; `/files`; `GET /notifications/account-mail` | | | yes | |
//! | all other writes to `/products`; `/products/reservations`; `GET /orders/minutes`; `POST /orders/payments/events`; `/notifications/…/retry` | | | yes | yes |
//!
//! A request for another user's data gets a 403 if the request names that user, and a 404 if a 403
//! would reveal that the item exists. `/metrics` is on the operator's port alone and needs no
//! token.
//!
//! An access token contains the epoch of its account at signing. A new password, a log-out, or a
//! refresh token used twice begins the next epoch, and tokens of earlier epochs are rejected. The
//! users service rejects them at once; the others read the epochs again every 20 seconds. While the
//! users service is unavailable, the others accept such a token until it expires. The list has 100,000 accounts; if
//! more have changed, tokens from before the oldest change that is listed are rejected, too.
//!
//! A handler that takes a [`Caller`] (or [`Admin`], or [`Trusted`]) rejects unauthenticated requests;
//! a handler that takes none is open to everybody.

mod epochs;
mod http_keys;
mod jwks_url;
mod keys;
mod secret;
mod settings;
mod token;
mod until;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::{Extension, Router};

pub use epochs::{Signing, TokenEpochs};
pub use http_keys::HttpKeys;
pub use jwks_url::{InvalidJwksUrl, JwksUrl};
pub use keys::{EpochOf, KeySource, Published};
use keys::{Keys, NoKeys};
pub use secret::Secret;
pub use settings::{AuthMode, AuthSettings, AuthSettingsError};
pub use token::{ACCESS_TOKEN, AUDIENCE, AccessClaims, ISSUER};
use token::{Kind, ServiceKey, TokenError};
pub use until::Until;

use crate::{Problem, Result, SecurityEvent, SecurityEvents};

/// The authentication of a service's callers. Clones share the known keys.
#[derive(Clone)]
pub struct Auth(Option<Arc<Enforced>>);

/// The keys that tokens are verified with.
struct Enforced {
    keys: Keys,
    services: Option<ServiceKey>,
}

/// The caller of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// An unauthenticated caller, where authentication is off.
    Anonymous,
    /// A user who is logged in.
    User {
        /// The user's id.
        id: i64,
        /// Whether the user is an admin.
        is_admin: bool,
    },
    /// Another service of the platform.
    Service,
}

/// A caller who may do everything that any user may do, with everybody's data.
#[derive(Clone, Copy, Debug)]
pub struct Admin;

/// A caller that is a service of the platform, or an admin.
#[derive(Clone, Copy, Debug)]
pub struct Trusted;

impl Auth {
    /// Returns an `Auth` that requires no token.
    pub fn open() -> Self {
        Self(None)
    }

    /// Returns an `Auth` that requires a token: from users one signed with one of these keys, from
    /// services one signed with their shared secret, if there is one.
    pub fn enforced(keys: impl KeySource, services: Option<&Secret>) -> Self {
        Self(Some(Arc::new(Enforced {
            keys: Keys::new(keys),
            services: services.map(ServiceKey::new),
        })))
    }

    /// Returns the `Auth` of a process that only calls services and has their secret; it has no callers
    /// itself.
    pub fn of_caller(secret: &Secret) -> Self {
        Self::enforced(NoKeys, Some(secret))
    }

    /// Returns the same `Auth` with keys from another source: the users service need not read its
    /// own over the network.
    #[must_use]
    pub fn verifying_by(&self, keys: impl KeySource) -> Self {
        let with_keys = |enforced: &Arc<Enforced>| Enforced {
            keys: Keys::new(keys),
            services: enforced.services.clone(),
        };
        Self(self.0.as_ref().map(with_keys).map(Arc::new))
    }

    /// Returns whether authentication is off.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Makes the caller available to the handlers of these routes.
    pub fn protect(&self, routes: Router) -> Router {
        routes.layer(Extension(self.clone()))
    }

    /// Returns the caller of a request with these headers.
    ///
    /// # Errors
    /// A 401 when the token is missing or invalid; a 503 when the keys to verify it are
    /// unavailable.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller> {
        match &self.0 {
            None => Ok(Caller::Anonymous),
            Some(enforced) => Ok(enforced.caller(bearer(headers)?).await?),
        }
    }

    /// Returns a token for a call to another service; none where authentication is off or there is
    /// no secret.
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
                let verified = token::user(text, &self.keys.find(&kid).await?)?;
                if self
                    .keys
                    .is_revoked(verified.signing, verified.epoch)
                    .await?
                {
                    return Err(TokenError::Revoked);
                }
                Ok(verified.caller)
            }
            Kind::Service => match &self.services {
                Some(key) => key.verify(text).map(|()| Caller::Service),
                None => Err(TokenError::OtherKind),
            },
        }
    }
}

/// Returns the token of the `Authorization` header. A request with two such headers is rejected: a
/// proxy may have verified the other one.
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let missing = || Problem::unauthorized("log in, and send the access token as a bearer token");
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Problem::unauthorized("send one access token"));
    }

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
    /// Returns whether the caller may do everything that users may, with everybody's data.
    pub fn is_unrestricted(self) -> bool {
        matches!(self, Self::Anonymous | Self::User { is_admin: true, .. })
    }

    /// Returns whether the caller may see and change this user's data.
    pub fn may_act_for(self, user_id: impl TryInto<i64>) -> bool {
        let is_own = |own| user_id.try_into().is_ok_and(|user_id| user_id == own);
        self.is_unrestricted() || matches!(self, Self::User { id, .. } if is_own(id))
    }

    /// Checks that the caller may see and change this user's data.
    ///
    /// # Errors
    /// A 403 when the caller may not.
    pub fn require_user(self, user_id: impl TryInto<i64>) -> Result<()> {
        if self.may_act_for(user_id) {
            Ok(())
        } else {
            Err(somebody_elses())
        }
    }

    /// Returns the user whose items a list shows, given the user in the request, if any. A user
    /// without further rights gets its own.
    ///
    /// # Errors
    /// A 403 when the request is for another user's items.
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

/// Writes an admin's request to the security log and counts it, before it is processed; it may still be refused.
fn note_admins_act(caller: Caller, parts: &Parts) {
    if let Caller::User { id, is_admin: true } = caller
        && !parts.method.is_safe()
    {
        let path = parts.uri.path();
        tracing::info!(target: "security", event = "admin_act", user_id = id, method = %parts.method, path);
        SecurityEvents::of(parts).count(SecurityEvent::AdminAct);
    }
}

fn somebody_elses() -> Problem {
    Problem::forbidden("this belongs to another user")
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
                "a route that needs its caller is not protected",
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
            Err(Problem::forbidden("only admins may do this"))
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
        Err(Problem::forbidden(
            "only services of the platform may do this",
        ))
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::KeysAway => {
                Self::unavailable("the access token cannot be verified right now; try again")
            }
            error => {
                tracing::debug!(%error, "rejected a token");
                Self::invalid_token(
                    "the access token is invalid or expired; log in again, or refresh it",
                )
            }
        }
    }
}

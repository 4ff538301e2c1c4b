//! Sessions: short-lived signed access tokens, and refresh tokens that are valid for one use.
//!
//! A session has an end that no refresh extends. Access tokens are revoked by the account's epoch (`store::epochs`).
//!
//! Every refresh replaces the token that it used. A token that is used twice was probably stolen, and either use may
//! be the thief's. Its family, which is all tokens from the same log-in, is therefore deleted. Only hashes of refresh
//! tokens are stored.

use std::sync::Arc;
use std::time::Duration;

use chassis::Problem;
use chassis::auth::{ACCESS_TOKEN, AccessClaims};
use chassis::sql::Database;
use events::Timestamp;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use sqlx::AnyConnection;
use uuid::Uuid;

use crate::Config;
use crate::keys::{Keys, KeysError};
use crate::store::admins::is_admin;
use crate::store::sessions::{Session, UsedFrom};
use crate::store::{epochs, refresh_tokens, second_factors, sessions};
use crate::token;

/// The tokens that a client gets at log-in and at each refresh.
#[derive(Debug, Serialize)]
pub struct Tokens {
    access_token: String,
    token_type: &'static str,
    /// Seconds until the access token expires.
    expires_in: u64,
    /// None if the client gets it in a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

/// Issues and revokes tokens.
#[derive(Clone)]
pub struct Sessions {
    database: Database,
    keys: Arc<Keys>,
    access_life: Duration,
    lives: Lives,
    admins: Admins,
}

/// The condition on which an admin's access token has the role.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Admins {
    All,
    WithSecondFactor,
}

/// The lifetimes of refresh tokens and sessions.
#[derive(Clone, Copy)]
struct Lives {
    refresh: Duration,
    session: Duration,
}

impl Lives {
    /// Returns the expiry of a refresh token issued at `now`, in a session that began at `began`.
    fn expiry_ms(self, began: Timestamp, now: Timestamp) -> u64 {
        let unused = now.as_ms() + millis(self.refresh);
        unused.min(began.as_ms() + millis(self.session))
    }

    /// Returns whether a session that began at `began` is not older than its lifetime.
    fn is_on(self, began: Timestamp, now: Timestamp) -> bool {
        now.as_ms() < began.as_ms() + millis(self.session)
    }
}

/// The reason why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The refresh token is unknown or too old.
    #[error("the refresh token is not valid")]
    Refused,
    /// The refresh token was used before; its session has ended.
    #[error("the refresh token was used before")]
    Reused,
    #[error("SQL: {0}")]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("an access token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl Sessions {
    pub fn new(config: &Config, database: Database) -> Self {
        let access_life = config.users_access_token_life;
        let keys = Arc::new(Keys::new(
            database.clone(),
            config.users_signing_key_life,
            access_life,
        ));

        Self {
            database,
            keys,
            access_life,
            lives: Lives {
                refresh: config.users_refresh_token_life,
                session: config.users_session_life,
            },
            admins: match config.users_admins_need_second_factor {
                true => Admins::WithSecondFactor,
                false => Admins::All,
            },
        }
    }

    /// Returns the keys with which other services verify tokens.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// Returns the lifetime of a refresh token.
    pub fn refresh_life(&self) -> Duration {
        self.lives.refresh
    }

    /// Begins a session for a user who has just authenticated.
    pub async fn begin(
        &self,
        user_id: i64,
        from: &UsedFrom,
        now: Timestamp,
    ) -> Result<Tokens, SessionError> {
        let family = Uuid::now_v7().to_string();
        let mut transaction = self.database.write().await?;
        let bearer = Bearer::of(transaction.connection(), user_id, self.admins).await?;
        sessions::begin(transaction.connection(), &family, user_id, from, now).await?;

        let unused_since = now.as_ms().saturating_sub(millis(self.lives.refresh));
        sessions::end_unused(transaction.connection(), unused_since).await?;
        refresh_tokens::end_expired(transaction.connection(), now.as_ms()).await?;

        let refresh_token = self
            .add(
                transaction.connection(),
                &family,
                user_id,
                self.lives.expiry_ms(now, now),
            )
            .await?;

        transaction.commit().await?;
        Ok(self.tokens(self.sign(bearer, now).await?, refresh_token))
    }

    /// Returns new tokens for a refresh token, and marks it as used.
    pub async fn refresh(
        &self,
        token: &str,
        from: &UsedFrom,
        now: Timestamp,
    ) -> Result<Tokens, SessionError> {
        let hash = token::hash(token);
        let mut transaction = self.database.write().await?;
        let used = refresh_tokens::lock(&self.database, transaction.connection(), &hash)
            .await?
            .ok_or(SessionError::Refused)?;
        let user_id = used.user_id;

        if used.is_used {
            sessions::end(transaction.connection(), &used.family).await?;
            epochs::move_on(transaction.connection(), user_id, now).await?;
            transaction.commit().await?;
            tracing::warn!(target: "security", event = "refresh_token_reused", user_id);
            return Err(SessionError::Reused);
        }

        if used.expires_at_ms <= now.as_ms() {
            return Err(SessionError::Refused);
        }

        let Some(began) = self
            .began(transaction.connection(), &used.family, user_id, from, now)
            .await?
        else {
            return Err(SessionError::Refused);
        };

        refresh_tokens::mark_used(transaction.connection(), &hash).await?;
        let bearer = Bearer::of(transaction.connection(), user_id, self.admins).await?;
        let refresh_token = self
            .add(
                transaction.connection(),
                &used.family,
                user_id,
                self.lives.expiry_ms(began, now),
            )
            .await?;

        transaction.commit().await?;
        Ok(self.tokens(self.sign(bearer, now).await?, refresh_token))
    }

    /// Marks the session as used and returns its beginning; none if it is older than its lifetime. A session without a
    /// row, from before sessions were listed, begins now.
    async fn began(
        &self,
        connection: &mut AnyConnection,
        family: &str,
        user_id: i64,
        from: &UsedFrom,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, SessionError> {
        let Some(began_ms) = sessions::began_at_ms(connection, family).await? else {
            sessions::begin(connection, family, user_id, from, now).await?;
            return Ok(Some(now));
        };

        sessions::used(connection, family, from, now).await?;
        let began = u64::try_from(began_ms).ok().and_then(Timestamp::from_ms);
        Ok(began.filter(|began| self.lives.is_on(*began, now)))
    }

    /// Ends the session of the refresh token, if there is one, and revokes the access tokens of its account.
    pub async fn end(&self, token: &str, now: Timestamp) -> Result<(), SessionError> {
        let mut transaction = self.database.write().await?;
        let found = refresh_tokens::find(transaction.connection(), &token::hash(token)).await?;

        if let Some(found) = found {
            sessions::end(transaction.connection(), &found.family).await?;
            epochs::move_on(transaction.connection(), found.user_id, now).await?;
        }

        Ok(transaction.commit().await?)
    }

    /// Returns up to a hundred sessions of the user, the last used first.
    pub async fn list(&self, user_id: i64) -> Result<Vec<Session>, SessionError> {
        Ok(sessions::list(&self.database, user_id).await?)
    }

    /// Ends every session of the user, and revokes the access tokens.
    pub async fn end_all_of(&self, user_id: i64, now: Timestamp) -> Result<(), SessionError> {
        let mut transaction = self.database.write().await?;
        sessions::end_all(transaction.connection(), user_id, now).await?;
        Ok(transaction.commit().await?)
    }

    /// Ends this session of the user, and revokes the access tokens. Returns false if there is no
    /// such session.
    pub async fn end_one_of(
        &self,
        user_id: i64,
        family: &str,
        now: Timestamp,
    ) -> Result<bool, SessionError> {
        let mut transaction = self.database.write().await?;
        if !sessions::end_own(transaction.connection(), user_id, family).await? {
            return Ok(false);
        }

        epochs::move_on(transaction.connection(), user_id, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Stores a new refresh token and returns it.
    async fn add(
        &self,
        connection: &mut AnyConnection,
        family: &str,
        user_id: i64,
        expires_at_ms: u64,
    ) -> Result<String, sqlx::Error> {
        let token = token::generate();
        let hash = token::hash(&token);
        refresh_tokens::insert(connection, &hash, family, user_id, expires_at_ms).await?;
        Ok(token)
    }

    async fn sign(&self, bearer: Bearer, now: Timestamp) -> Result<String, SessionError> {
        let key = self.keys.signing(now).await?;
        let typ = Some(ACCESS_TOKEN.to_owned());
        let header = Header {
            typ,
            kid: Some(key.kid),
            ..Header::new(Algorithm::EdDSA)
        };

        let began = now.as_ms() / 1000;
        let claims = AccessClaims {
            epoch: bearer.epoch,
            ..AccessClaims::new(bearer.user_id, bearer.is_admin, began, self.access_life)
        };
        Ok(jsonwebtoken::encode(&header, &claims, &key.encoding)?)
    }

    fn tokens(&self, access_token: String, refresh_token: String) -> Tokens {
        let expires_in = self.access_life.as_secs();
        let refresh_token = Some(refresh_token);
        Tokens {
            access_token,
            token_type: "Bearer",
            expires_in,
            refresh_token,
        }
    }
}

/// The user of an access token.
struct Bearer {
    user_id: i64,
    is_admin: bool,
    epoch: u64,
}

impl Bearer {
    /// Reads the user in the connection's transaction.
    async fn of(
        connection: &mut AnyConnection,
        user_id: i64,
        admins: Admins,
    ) -> Result<Self, sqlx::Error> {
        let is_appointed = is_admin(connection, user_id).await?;
        let is_admin = match admins {
            Admins::WithSecondFactor if is_appointed => {
                second_factors::is_set(connection, user_id).await?
            }
            _ => is_appointed,
        };

        Ok(Self {
            user_id,
            is_admin,
            epoch: epochs::current(connection, user_id).await?,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Refused | SessionError::Reused => {
                Self::unauthorized("the refresh token is not valid; log in again")
            }
            SessionError::Sql(error) => error.into(),
            SessionError::Keys(error) => error.into(),
            SessionError::Sign(error) => Self::internal(error),
        }
    }
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Sql(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_ends_with_its_life_or_with_its_session() {
        let day = Duration::from_secs(24 * 3600);
        let at = |days: u64| Timestamp::from_ms(millis(day) * days).expect("a day of 1970");
        let lives = Lives {
            refresh: 30 * day,
            session: 90 * day,
        };
        assert_eq!(lives.expiry_ms(at(0), at(0)), millis(30 * day));
        assert_eq!(lives.expiry_ms(at(0), at(59)), millis(89 * day));
        assert_eq!(lives.expiry_ms(at(0), at(61)), millis(90 * day));
    }
}

//! E-mail addresses: stated, and verified.
//!
//! `users.email` is the address that an account holds. It is unique. A new account holds none, and has a placeholder in
//! that column. An address that an account states is in `stated_addresses` until its owner has confirmed it by a token.
//! Any number of accounts may state the same address, so that a sign-up cannot reveal whether the address has an
//! account. Accounts from before addresses were verified hold their addresses unverified, until they or another account
//! verify it.

use events::Timestamp;
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{Credentials, Store, StoreError, clients, credentials, mail, millis, sessions};
use crate::mail::MailKind;
use crate::user::{Email, User};

const STATE: &str = "INSERT INTO stated_addresses (user_id, email) VALUES (?, ?)";
const TAKE_BACK: &str = "DELETE FROM stated_addresses WHERE user_id = ?";
const LET_GO: &str = "UPDATE users SET email = ? WHERE id = ? AND email_verified_at_ms IS NULL";
const VERIFY: &str =
    "UPDATE users SET email = ?, email_verified_at_ms = ? WHERE id = ? AND closed_at_ms IS NULL";
const UNVERIFIED_HOLDER: &str =
    "SELECT id FROM users WHERE email = ? AND id <> ? AND email_verified_at_ms IS NULL";

const CREDENTIALS_BY_EMAIL: &str =
    "SELECT id, name, email, password_hash FROM users WHERE email = ? AND closed_at_ms IS NULL";
const CREDENTIALS_BY_STATED: &str = "SELECT u.id, u.name, s.email, u.password_hash FROM stated_addresses s \
     JOIN users u ON u.id = s.user_id JOIN known_clients k ON k.user_id = u.id \
     WHERE s.email = ? AND k.client = ? AND u.closed_at_ms IS NULL ORDER BY u.id DESC LIMIT 1";
const RESET: &str = "UPDATE users SET password_hash = ?, email_verified_at_ms = COALESCE(email_verified_at_ms, ?) \
     WHERE id = ? AND email = ? AND closed_at_ms IS NULL";

/// The outcome of a request with a token.
pub enum Shown<T> {
    /// The token was valid, and is used up.
    Accepted(T),
    /// The token is unknown, used, expired, or for another purpose.
    Refused,
}

/// Returns a placeholder for an account that holds no address. No address can have its domain (RFC 2606).
pub fn no_address() -> String {
    format!("unverified-{}@invalid", Uuid::new_v4())
}

/// Stores the address that an account states, and deletes an earlier one.
pub async fn state(
    connection: &mut AnyConnection,
    user_id: i64,
    email: &str,
) -> Result<(), sqlx::Error> {
    take_back(&mut *connection, user_id).await?;
    let state = sqlx::query(STATE).bind(user_id).bind(email);
    state.execute(&mut *connection).await?;

    // The account gives up an address that it held without having verified it.
    let let_go = sqlx::query(LET_GO).bind(no_address()).bind(user_id);
    let_go.execute(connection).await?;
    Ok(())
}

/// Deletes the address that an account states.
pub async fn take_back(connection: &mut AnyConnection, user_id: i64) -> Result<(), sqlx::Error> {
    let take_back = sqlx::query(TAKE_BACK).bind(user_id);
    take_back.execute(connection).await?;
    Ok(())
}

impl Store {
    /// Returns the credentials of the account that holds this address.
    pub async fn credentials_of(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let found = sqlx::query(CREDENTIALS_BY_EMAIL).bind(email.as_str());
        let row = found.fetch_optional(self.database.pool()).await?;
        Ok(row.as_ref().map(credentials).transpose()?)
    }

    /// Returns the newest account that states this address and was used from one of these clients, and that client. An
    /// earlier client in the list takes precedence.
    pub async fn credentials_of_stated(
        &self,
        email: &Email,
        clients: &[String],
    ) -> Result<Option<(Credentials, String)>, StoreError> {
        for client in clients {
            let find = sqlx::query(CREDENTIALS_BY_STATED).bind(email.as_str());
            let row = find
                .bind(client)
                .fetch_optional(self.database.pool())
                .await?;
            if let Some(row) = row {
                return Ok(Some((credentials(&row)?, client.clone())));
            }
        }
        Ok(None)
    }

    /// Verifies the address of an account by the token that was sent there. Returns none if the account does not exist.
    ///
    /// # Errors
    /// Returns [`StoreError::EmailTaken`] if another account has verified the address.
    pub async fn verify_address(
        &self,
        user_id: i64,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Shown<User>>, StoreError> {
        let mut transaction = self.database.write().await?;
        let connection = transaction.connection();
        let Some(user) = self.lock(connection, user_id).await? else {
            return Ok(None);
        };

        let sent_to = mail::address_of_token(connection, MailKind::VerifyAddress, token, now);
        if sent_to.await?.as_ref() != Some(&user.email)
            || !mail::use_token(connection, MailKind::VerifyAddress, token, now).await?
        {
            return Ok(Some(Shown::Refused));
        }

        evict_unverified(connection, &user.email, user_id).await?;
        let verify = sqlx::query(VERIFY).bind(user.email.as_str());
        let verify = verify.bind(millis(now)).bind(user_id);
        verify.execute(&mut *connection).await?;

        take_back(connection, user_id).await?;
        mail::revoke_tokens(connection, &user.email).await?;
        if let Some(earlier) = &user.verified_email {
            mail::revoke_tokens(connection, earlier).await?;
        }

        transaction.commit().await?;
        let verified_email = Some(user.email.clone());
        Ok(Some(Shown::Accepted(User {
            verified_email,
            ..user
        })))
    }

    /// Returns the account whose password may be set with this token.
    pub async fn credentials_of_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Credentials>, StoreError> {
        let mut connection = self.database.pool().acquire().await?;
        let kind = MailKind::ResetPassword;
        let Some(email) = mail::address_of_token(&mut connection, kind, token, now).await? else {
            return Ok(None);
        };

        let find = sqlx::query(CREDENTIALS_BY_EMAIL).bind(email);
        let row = find.fetch_optional(&mut *connection).await?;
        Ok(row.as_ref().map(credentials).transpose()?)
    }

    /// Sets the password of an account by the token that was sent to its address. Every session ends, every other token
    /// of the address is revoked, and all known clients are forgotten. The address counts as verified. Returns whether
    /// the token was still valid.
    pub async fn reset_password(
        &self,
        token: &str,
        account: &Credentials,
        new_hash: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let connection = transaction.connection();
        if !mail::use_token(connection, MailKind::ResetPassword, token, now).await? {
            return Ok(false);
        }

        let reset = sqlx::query(RESET).bind(new_hash).bind(millis(now));
        let reset = reset.bind(account.id).bind(account.email.as_str());
        if reset.execute(&mut *connection).await?.rows_affected() == 0 {
            return Ok(false);
        }

        sessions::end_all(connection, account.id, now).await?;
        clients::forget(connection, account.id).await?;
        mail::revoke_tokens(connection, &account.email).await?;
        mail::put(connection, MailKind::PasswordChanged, &account.email, now).await?;

        transaction.commit().await?;
        Ok(true)
    }
}

/// Takes an address from an account that holds it without having verified it. That account only states it from then on.
async fn evict_unverified(
    connection: &mut AnyConnection,
    email: &str,
    for_user: i64,
) -> Result<(), sqlx::Error> {
    let find = sqlx::query(UNVERIFIED_HOLDER).bind(email).bind(for_user);
    if let Some(row) = find.fetch_optional(&mut *connection).await? {
        state(connection, row.try_get("id")?, email).await?;
    }
    Ok(())
}

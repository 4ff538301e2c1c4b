//! The second factors of accounts: the tables `second_factors` and `recovery_codes`.
//!
//! A factor counts once its owner has confirmed it by a code. The row has the number of the last half minute whose code was
//! used: a code of that one or of an earlier one is not accepted again.

use chassis::sql::is_duplicate;
use events::Timestamp;
use sqlx::{AnyConnection, Row};

use super::{Store, StoreError, millis, sessions, signed};

const FIND: &str = "SELECT secret, confirmed_at_ms FROM second_factors WHERE user_id = ?";
const CONFIRMED: &str =
    "SELECT user_id FROM second_factors WHERE user_id = ? AND confirmed_at_ms IS NOT NULL";
const DELETE_UNCONFIRMED: &str =
    "DELETE FROM second_factors WHERE user_id = ? AND confirmed_at_ms IS NULL";
const INSERT: &str = "INSERT INTO second_factors (user_id, secret, confirmed_at_ms, last_step) VALUES (?, ?, NULL, 0)";
const CONFIRM: &str = "UPDATE second_factors SET confirmed_at_ms = ?, last_step = ? \
                       WHERE user_id = ? AND secret = ? AND confirmed_at_ms IS NULL";
const USE_STEP: &str =
    "UPDATE second_factors SET last_step = ? WHERE user_id = ? AND last_step < ?";
const ADD_CODE: &str = "INSERT INTO recovery_codes (user_id, code_hash) VALUES (?, ?)";
const USE_CODE: &str = "DELETE FROM recovery_codes WHERE user_id = ? AND code_hash = ?";
const CODES_LEFT: &str = "SELECT COUNT(*) FROM recovery_codes WHERE user_id = ?";
const FORGET_CODES: &str = "DELETE FROM recovery_codes WHERE user_id = ?";
const FORGET: &str = "DELETE FROM second_factors WHERE user_id = ?";

/// A stored second factor.
pub struct SecondFactor {
    /// The shared secret, in base 32.
    pub secret: String,
    /// The time at which its owner confirmed it; none if that is still to be done.
    pub confirmed_at_ms: Option<i64>,
}

/// Returns whether the account has a second factor that counts, as the connection's transaction sees it.
pub async fn is_set(connection: &mut AnyConnection, user_id: i64) -> Result<bool, sqlx::Error> {
    let found = sqlx::query(CONFIRMED).bind(user_id);
    Ok(found.fetch_optional(connection).await?.is_some())
}

/// Removes an account's second factor, as part of the caller's transaction. Returns whether there was one.
pub async fn forget(connection: &mut AnyConnection, user_id: i64) -> Result<bool, sqlx::Error> {
    let codes = sqlx::query(FORGET_CODES).bind(user_id);
    codes.execute(&mut *connection).await?;
    let factor = sqlx::query(FORGET).bind(user_id);
    Ok(factor.execute(connection).await?.rows_affected() > 0)
}

impl Store {
    /// Returns the account's second factor, confirmed or not.
    pub async fn second_factor(&self, user_id: i64) -> Result<Option<SecondFactor>, StoreError> {
        let found = sqlx::query(FIND).bind(user_id);
        let Some(row) = found.fetch_optional(self.database.pool()).await? else {
            return Ok(None);
        };

        Ok(Some(SecondFactor {
            secret: row.try_get("secret")?,
            confirmed_at_ms: row.try_get("confirmed_at_ms")?,
        }))
    }

    /// Stores a secret that is to be confirmed, in the place of one that was not. Returns false if the account has a
    /// confirmed one.
    pub async fn offer_second_factor(
        &self,
        user_id: i64,
        secret: &str,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let delete = sqlx::query(DELETE_UNCONFIRMED).bind(user_id);
        delete.execute(transaction.connection()).await?;

        let insert = sqlx::query(INSERT).bind(user_id).bind(secret);
        match insert.execute(transaction.connection()).await {
            Ok(_) => {}
            Err(error) if is_duplicate(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Confirms a secret, whose code of the given half minute is used by it, with the hashes of its recovery codes. Every
    /// session ends, so that none goes on without the factor. Returns false if another request was first.
    pub async fn confirm_second_factor(
        &self,
        user_id: i64,
        confirmed: (&str, u64),
        code_hashes: &[String],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let confirm = sqlx::query(CONFIRM)
            .bind(millis(now))
            .bind(signed(confirmed.1))
            .bind(user_id)
            .bind(confirmed.0);
        let updated = confirm.execute(transaction.connection()).await?;
        if updated.rows_affected() == 0 {
            return Ok(false);
        }

        for hash in code_hashes {
            let add = sqlx::query(ADD_CODE).bind(user_id).bind(hash);
            add.execute(transaction.connection()).await?;
        }
        sessions::end_all(transaction.connection(), user_id, now).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Uses the code of a half minute. Returns false if it, or one of a later half minute, was used before.
    pub async fn use_step(&self, user_id: i64, step: u64) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let mark = sqlx::query(USE_STEP).bind(signed(step)).bind(user_id);
        let marked = mark.bind(signed(step)).execute(transaction.connection());
        let is_first = marked.await?.rows_affected() == 1;
        transaction.commit().await?;
        Ok(is_first)
    }

    /// Uses up a recovery code. Returns false if the account has no such code.
    pub async fn use_recovery_code(&self, user_id: i64, hash: &str) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let delete = sqlx::query(USE_CODE).bind(user_id).bind(hash);
        let deleted = delete.execute(transaction.connection()).await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() == 1)
    }

    /// Returns the number of recovery codes that are left.
    pub async fn recovery_codes_left(&self, user_id: i64) -> Result<i64, StoreError> {
        let count = sqlx::query(CODES_LEFT).bind(user_id);
        let row = count.fetch_one(self.database.pool()).await?;
        Ok(row.try_get(0)?)
    }

    /// Removes the account's second factor. Returns whether there was one.
    pub async fn remove_second_factor(&self, user_id: i64) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let existed = forget(transaction.connection(), user_id).await?;
        transaction.commit().await?;
        Ok(existed)
    }
}

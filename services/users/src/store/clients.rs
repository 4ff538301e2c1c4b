//! The clients from which an account was used: the table `known_clients`.

use chassis::sql::is_duplicate;
use events::Timestamp;
use sqlx::{AnyConnection, Row};

use super::{Store, StoreError, millis};

const SEEN: &str = "SELECT seen_at_ms FROM known_clients WHERE user_id = ? AND client = ?";
const SEEN_AGAIN: &str = "UPDATE known_clients SET seen_at_ms = ? WHERE user_id = ? AND client = ?";
const REMEMBER: &str = "INSERT INTO known_clients (user_id, client, seen_at_ms) VALUES (?, ?, ?)";
const TOO_MANY: &str = "SELECT seen_at_ms FROM known_clients WHERE user_id = ? ORDER BY seen_at_ms DESC LIMIT 1 OFFSET 20";
const FORGET_OLD: &str = "DELETE FROM known_clients WHERE user_id = ? AND seen_at_ms <= ?";

const FORGET_ALL: &str = "DELETE FROM known_clients WHERE user_id = ?";

/// A client seen within this time is not stored again.
const NOTED_FOR_MS: i64 = 24 * 3600 * 1000;

/// Forgets every client of a user, as part of the caller's transaction.
pub async fn forget(connection: &mut AnyConnection, user_id: i64) -> Result<(), sqlx::Error> {
    let forget = sqlx::query(FORGET_ALL).bind(user_id);
    forget.execute(connection).await?;
    Ok(())
}

impl Store {
    /// Returns the first of these clients from which the account was used before.
    pub async fn known_client(
        &self,
        user_id: i64,
        clients: &[String],
    ) -> Result<Option<String>, StoreError> {
        for client in clients {
            if self.seen(user_id, client).await?.is_some() {
                return Ok(Some(client.clone()));
            }
        }
        Ok(None)
    }

    /// Stores that the account is used from these clients. An account has at most 20 known clients; those that were
    /// seen least recently are removed.
    pub async fn remember_clients(
        &self,
        user_id: i64,
        clients: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for client in clients {
            let seen = self.seen(user_id, client).await?;
            if seen.is_none_or(|seen_ms| seen_ms + NOTED_FOR_MS < millis(now)) {
                self.remember(user_id, client, now).await?;
            }
        }
        Ok(())
    }

    async fn seen(&self, user_id: i64, client: &str) -> Result<Option<i64>, StoreError> {
        let found = sqlx::query(SEEN).bind(user_id).bind(client);
        let row = found.fetch_optional(self.database.pool()).await?;
        Ok(row.map(|row| row.try_get("seen_at_ms")).transpose()?)
    }

    async fn remember(&self, user_id: i64, client: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.database.write().await?;
        let again = sqlx::query(SEEN_AGAIN).bind(millis(now));
        let again = again.bind(user_id).bind(client);
        let noted = again.execute(transaction.connection()).await?;

        if noted.rows_affected() == 0 {
            let remember = sqlx::query(REMEMBER).bind(user_id).bind(client);
            let remember = remember.bind(millis(now));
            match remember.execute(transaction.connection()).await {
                // Another request of the client has stored the row meanwhile.
                Err(error) if is_duplicate(&error) => return Ok(()),
                noted => noted?,
            };
        }

        let too_many = sqlx::query(TOO_MANY).bind(user_id);
        if let Some(row) = too_many.fetch_optional(transaction.connection()).await? {
            let oldest: i64 = row.try_get("seen_at_ms")?;
            let forget = sqlx::query(FORGET_OLD).bind(user_id).bind(oldest);
            forget.execute(transaction.connection()).await?;
        }

        Ok(transaction.commit().await?)
    }
}

//! Finds and removes accounts whose address was never verified.

use events::Timestamp;
use sqlx::Row;

use super::{Store, StoreError, millis, sessions};
use crate::unverified::Examined;

const DUE: &str = "SELECT id, created_at_ms FROM users \
                   WHERE created_at_ms <= ? AND (created_at_ms > ? OR (created_at_ms = ? AND id > ?)) \
                   AND email_verified_at_ms IS NULL AND closed_at_ms IS NULL \
                   AND NOT EXISTS (SELECT 1 FROM admins a WHERE a.user_id = users.id) \
                   ORDER BY created_at_ms, id LIMIT 100";
/// Deletes the account unless its address was verified meanwhile.
const REMOVE: &str = "DELETE FROM users WHERE id = ? AND email_verified_at_ms IS NULL";

impl Store {
    /// Returns up to 100 unverified accounts that were created by `until` and follow `after`, in the order of their
    /// creation.
    pub async fn unverified_until(
        &self,
        until: Timestamp,
        after: Examined,
    ) -> Result<Vec<Examined>, StoreError> {
        let rows = sqlx::query(DUE)
            .bind(millis(until))
            .bind(after.0)
            .bind(after.0)
            .bind(after.1)
            .fetch_all(self.database.pool())
            .await?;

        let due = rows
            .iter()
            .map(|row| Ok((row.try_get("created_at_ms")?, row.try_get("id")?)));
        Ok(due.collect::<Result<_, sqlx::Error>>()?)
    }

    /// Removes an account with its sessions, unless it has orders or was verified meanwhile. Returns
    /// whether it was removed.
    pub async fn remove_unverified(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        sessions::end_all(transaction.connection(), id, now).await?;
        let remove = sqlx::query(REMOVE).bind(id);
        let removed = remove.execute(transaction.connection()).await;

        match removed.map_err(StoreError::from) {
            Ok(removed) if removed.rows_affected() > 0 => {
                transaction.commit().await?;
                Ok(true)
            }
            Ok(_) | Err(StoreError::HasOrders) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

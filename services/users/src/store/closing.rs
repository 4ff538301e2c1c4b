//! The end of an account. One without orders is deleted. One with orders is closed: its row stays for
//! the books of the orders service, which refer to it, and has no personal data.

use events::Timestamp;
use sqlx::AnyConnection;

use super::{Store, StoreError, addresses, clients, mail, millis, sessions};

const DELETE: &str = "DELETE FROM users WHERE id = ?";
const ANONYMISE: &str = "UPDATE users SET name = 'Closed account', email = ?, phone = NULL, password_hash = NULL, \
                         closed_at_ms = ? WHERE id = ? AND closed_at_ms IS NULL";
const DISMISS: &str = "DELETE FROM admins WHERE user_id = ?";

impl Store {
    /// Ends an account and all its sessions, and returns whether it existed.
    pub async fn end(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        match self.delete(id, now).await {
            Err(StoreError::HasOrders) => self.close(id, now).await,
            outcome => outcome,
        }
    }

    async fn delete(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        forget_mail(self, transaction.connection(), id).await?;
        sessions::end_all(transaction.connection(), id, now).await?;
        let deleted = sqlx::query(DELETE)
            .bind(id)
            .execute(transaction.connection())
            .await?;

        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }

    async fn close(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        forget_mail(self, transaction.connection(), id).await?;
        sessions::end_all(transaction.connection(), id, now).await?;
        let closed = sqlx::query(ANONYMISE)
            // No address has this domain (RFC 2606), so it cannot sign up.
            .bind(format!("closed-{id}@invalid"))
            .bind(millis(now))
            .bind(id)
            .execute(transaction.connection())
            .await?;

        let connection = transaction.connection();
        clients::forget(connection, id).await?;
        addresses::take_back(connection, id).await?;
        sqlx::query(DISMISS).bind(id).execute(connection).await?;
        transaction.commit().await?;
        Ok(closed.rows_affected() > 0)
    }
}

/// Deletes the mail and the tokens for the addresses of an account that ends.
async fn forget_mail(
    store: &Store,
    connection: &mut AnyConnection,
    id: i64,
) -> Result<(), sqlx::Error> {
    let Some(user) = store.lock(connection, id).await? else {
        return Ok(());
    };

    mail::forget(connection, &user.email).await?;
    match &user.verified_email {
        Some(verified) => mail::forget(connection, verified).await,
        None => Ok(()),
    }
}

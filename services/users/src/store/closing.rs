//! The end of an account. An account without orders is deleted. An account with orders is closed: its row stays,
//! because the orders refer to it, but without personal data.
//!
//! Mail to the address that the account holds is deleted. Mail to an address that it only states is kept, because
//! anybody may state an address. The end of such an account must neither revoke the links of the address's owner nor
//! free the slot of a mail that was sent. Mail that waits is not sent once no account states or holds the address, and
//! is deleted after a day.

use events::Timestamp;
use sqlx::AnyConnection;

use super::{Store, StoreError, addresses, clients, mail, millis, second_factors, sessions};

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
            // No address can have this domain (RFC 2606), so no sign-up can use it.
            .bind(format!("closed-{id}@invalid"))
            .bind(millis(now))
            .bind(id)
            .execute(transaction.connection())
            .await?;

        let connection = transaction.connection();
        clients::forget(connection, id).await?;
        addresses::take_back(connection, id).await?;
        second_factors::forget(connection, id).await?;
        sqlx::query(DISMISS).bind(id).execute(connection).await?;
        transaction.commit().await?;
        Ok(closed.rows_affected() > 0)
    }
}

/// Deletes the mail and the tokens for the verified address of an account that ends.
async fn forget_mail(
    store: &Store,
    connection: &mut AnyConnection,
    id: i64,
) -> Result<(), sqlx::Error> {
    let user = store.lock(connection, id).await?;
    match user.and_then(|user| user.verified_email) {
        Some(verified) => mail::forget(connection, &verified).await,
        None => Ok(()),
    }
}

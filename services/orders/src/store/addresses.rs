//! The addresses of orders whose accounts were closed.

use sqlx::Row;

use super::{Store, StoreError};

/// Begins with the closed accounts, which are few and have an index.
const OF_CLOSED: &str = "SELECT o.id FROM users u JOIN orders o ON o.user_id = u.id \
                         WHERE u.closed_at_ms IS NOT NULL AND o.delivery IS NOT NULL \
                         AND o.status NOT IN ('pending', 'paid', 'shipped') LIMIT 1000";
const ERASE: &str = "UPDATE orders SET delivery = NULL WHERE id = ?";

impl Store {
    /// Erases the addresses of up to a thousand orders of closed accounts, and returns their number. Paid and shipped
    /// orders keep their addresses. So do pending ones until they expire: the provider may still report a payment.
    pub async fn erase_addresses(&self) -> Result<usize, StoreError> {
        let rows = sqlx::query(OF_CLOSED)
            .fetch_all(self.database.pool())
            .await?;

        for row in &rows {
            let id: i64 = row.try_get(0)?;
            let mut transaction = self.database.write().await?;
            sqlx::query(ERASE)
                .bind(id)
                .execute(transaction.connection())
                .await?;
            transaction.commit().await?;
        }
        Ok(rows.len())
    }
}

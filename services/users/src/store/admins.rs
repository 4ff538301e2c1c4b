//! The admins. They have a table of their own, to which no request adds a row, so that no field of a request's body can
//! make anybody an admin.

use events::Timestamp;
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use super::{Store, StoreError, addresses, millis, numbered, sessions};
use crate::user::Email;

const FIND: &str = "SELECT user_id FROM admins WHERE user_id = ?";
const APPOINTED: &str =
    "SELECT u.id FROM users u JOIN admins a ON a.user_id = u.id WHERE u.email = ?";
const APPOINT: &str = "INSERT INTO admins (user_id) VALUES (?)";
const BY_EMAIL: &str = "SELECT id FROM users WHERE email = ?";
const INSERT: &str = "INSERT INTO users (id, name, email, password_hash, created_at_ms, email_verified_at_ms) VALUES (?, 'Admin', ?, ?, ?, ?)";
/// Also marks the address as verified, because the operator has named it.
const SET_PASSWORD: &str =
    "UPDATE users SET password_hash = ?, email_verified_at_ms = ? WHERE id = ?";

/// Returns whether the user is an admin, read in the connection's transaction.
pub async fn is_admin(connection: &mut AnyConnection, user_id: i64) -> Result<bool, sqlx::Error> {
    Ok(sqlx::query(FIND)
        .bind(user_id)
        .fetch_optional(connection)
        .await?
        .is_some())
}

impl Store {
    /// Returns whether the account with this address belongs to an admin.
    pub async fn is_appointed(&self, email: &Email) -> Result<bool, StoreError> {
        let found = sqlx::query(APPOINTED)
            .bind(email.as_str())
            .fetch_optional(self.database.pool())
            .await?;
        Ok(found.is_some())
    }

    /// Makes the account with this address an admin's, sets this password and ends its sessions. Creates the account if
    /// it is missing.
    pub async fn appoint(
        &self,
        email: &Email,
        password_hash: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.write().await?;
        let find = sqlx::query(self.database.dialect().locking(BY_EMAIL)).bind(email.as_str());
        let id = match find.fetch_optional(transaction.connection()).await? {
            Some(row) => {
                let id = row.try_get("id")?;
                let set = sqlx::query(SET_PASSWORD)
                    .bind(password_hash)
                    .bind(millis(now))
                    .bind(id);
                set.execute(transaction.connection()).await?;
                sessions::end_all(transaction.connection(), id, now).await?;
                addresses::take_back(transaction.connection(), id).await?;
                id
            }
            None => {
                let insert = |id| {
                    sqlx::query(INSERT)
                        .bind(id)
                        .bind(email.as_str())
                        .bind(password_hash)
                        .bind(millis(now))
                        .bind(millis(now))
                };
                numbered::insert(transaction.connection(), (now, Uuid::new_v4()), insert).await?
            }
        };

        sqlx::query(APPOINT)
            .bind(id)
            .execute(transaction.connection())
            .await?;

        Ok(transaction.commit().await?)
    }
}

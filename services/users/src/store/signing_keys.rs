//! The keys that sign access tokens: the table `signing_keys`.

use chassis::sql::Database;
use events::Timestamp;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{millis, signed};

const LIST: &str =
    "SELECT kid, pkcs8, created_at_ms FROM signing_keys ORDER BY created_at_ms DESC, kid";
const INSERT: &str = "INSERT INTO signing_keys (kid, pkcs8, created_at_ms) VALUES (?, ?, ?)";
const REMOVE: &str = "DELETE FROM signing_keys WHERE created_at_ms < ?";

/// A key in SQL.
pub struct StoredKey {
    pub kid: String,
    /// The private key: PKCS #8 in base64.
    pub pkcs8: String,
    pub created_at_ms: u64,
}

/// Returns all keys, the newest first.
pub async fn list(database: &Database) -> Result<Vec<StoredKey>, sqlx::Error> {
    let rows = sqlx::query(LIST).fetch_all(database.pool()).await?;
    rows.iter().map(read).collect()
}

/// Stores a new key, and deletes those created before `useless_before_ms`.
pub async fn renew(
    database: &Database,
    kid: &str,
    pkcs8: &str,
    now: Timestamp,
    useless_before_ms: u64,
) -> Result<(), sqlx::Error> {
    let mut transaction = database.write().await?;
    sqlx::query(INSERT)
        .bind(kid)
        .bind(pkcs8)
        .bind(millis(now))
        .execute(transaction.connection())
        .await?;

    sqlx::query(REMOVE)
        .bind(signed(useless_before_ms))
        .execute(transaction.connection())
        .await?;

    transaction.commit().await
}

fn read(row: &AnyRow) -> Result<StoredKey, sqlx::Error> {
    Ok(StoredKey {
        kid: row.try_get("kid")?,
        pkcs8: row.try_get("pkcs8")?,
        created_at_ms: u64::try_from(row.try_get::<i64, _>("created_at_ms")?).unwrap_or(0),
    })
}

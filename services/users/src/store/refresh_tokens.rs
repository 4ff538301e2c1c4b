//! The refresh tokens, by their hashes: the table `refresh_tokens`.

use chassis::sql::Database;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::signed;

const INSERT: &str = "INSERT INTO refresh_tokens (token_hash, family, user_id, is_used, expires_at_ms) VALUES (?, ?, ?, 0, ?)";
const FIND: &str =
    "SELECT family, user_id, is_used, expires_at_ms FROM refresh_tokens WHERE token_hash = ?";
const USE: &str = "UPDATE refresh_tokens SET is_used = 1 WHERE token_hash = ?";
const END_FAMILY: &str = "DELETE FROM refresh_tokens WHERE family = ?";
const END_USER: &str = "DELETE FROM refresh_tokens WHERE user_id = ?";
const END_EXPIRED: &str = "DELETE FROM refresh_tokens WHERE expires_at_ms < ?";

/// A refresh token in SQL.
pub struct RefreshToken {
    /// The id of its session, which all tokens from the same log-in share.
    pub family: String,
    pub user_id: i64,
    pub is_used: bool,
    pub expires_at_ms: u64,
}

/// Stores an unused token.
pub async fn insert(
    connection: &mut AnyConnection,
    hash: &str,
    family: &str,
    user_id: i64,
    expires_at_ms: u64,
) -> Result<(), sqlx::Error> {
    let insert = sqlx::query(INSERT)
        .bind(hash)
        .bind(family)
        .bind(user_id)
        .bind(signed(expires_at_ms));
    insert.execute(connection).await?;
    Ok(())
}

/// Returns the token with this hash.
pub async fn find(
    connection: &mut AnyConnection,
    hash: &str,
) -> Result<Option<RefreshToken>, sqlx::Error> {
    let found = sqlx::query(FIND).bind(hash);
    let row = found.fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// Returns the token with this hash, and locks its row until the transaction ends.
pub async fn lock(
    database: &Database,
    connection: &mut AnyConnection,
    hash: &str,
) -> Result<Option<RefreshToken>, sqlx::Error> {
    let found = sqlx::query(database.dialect().locking(FIND)).bind(hash);
    let row = found.fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// Marks the token as used.
pub async fn mark_used(connection: &mut AnyConnection, hash: &str) -> Result<(), sqlx::Error> {
    sqlx::query(USE).bind(hash).execute(connection).await?;
    Ok(())
}

/// Deletes the tokens of a session.
pub async fn end_family(connection: &mut AnyConnection, family: &str) -> Result<(), sqlx::Error> {
    let end = sqlx::query(END_FAMILY).bind(family);
    end.execute(connection).await?;
    Ok(())
}

/// Deletes the tokens of a user.
pub async fn end_user(connection: &mut AnyConnection, user_id: i64) -> Result<(), sqlx::Error> {
    let end = sqlx::query(END_USER).bind(user_id);
    end.execute(connection).await?;
    Ok(())
}

/// Deletes the tokens that expired before this time.
pub async fn end_expired(connection: &mut AnyConnection, now_ms: u64) -> Result<(), sqlx::Error> {
    let end = sqlx::query(END_EXPIRED).bind(signed(now_ms));
    end.execute(connection).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<RefreshToken, sqlx::Error> {
    Ok(RefreshToken {
        family: row.try_get("family")?,
        user_id: row.try_get("user_id")?,
        is_used: row.try_get::<i64, _>("is_used")? != 0,
        expires_at_ms: row.try_get::<i64, _>("expires_at_ms")?.cast_unsigned(),
    })
}

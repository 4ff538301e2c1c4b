//! The sessions of accounts: the table `sessions`.
//!
//! When a session ends, its refresh tokens are deleted (`refresh_tokens`). Access tokens are revoked by the account's
//! next epoch (`epochs`).

use chassis::sql::Database;
use events::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{epochs, instant, refresh_tokens, signed};

const INSERT: &str = "INSERT INTO sessions (family, user_id, began_at_ms, used_at_ms, address, user_agent) \
                      VALUES (?, ?, ?, ?, ?, ?)";
const BEGAN: &str = "SELECT began_at_ms FROM sessions WHERE family = ?";
const USED: &str =
    "UPDATE sessions SET used_at_ms = ?, address = ?, user_agent = ? WHERE family = ?";
const LIST: &str = "SELECT family, began_at_ms, used_at_ms, address, user_agent FROM sessions \
                    WHERE user_id = ? ORDER BY used_at_ms DESC, family LIMIT 100";
const END: &str = "DELETE FROM sessions WHERE family = ?";
const END_OWN: &str = "DELETE FROM sessions WHERE family = ? AND user_id = ?";
const END_USER: &str = "DELETE FROM sessions WHERE user_id = ?";
const END_UNUSED: &str = "DELETE FROM sessions WHERE used_at_ms < ?";

/// Maximum length of a stored user agent, in bytes.
const MOST_AGENT_BYTES: usize = 200;

/// The address and user agent from which a session is used.
#[derive(Clone, Debug)]
pub struct UsedFrom {
    pub address: String,
    pub user_agent: String,
}

impl UsedFrom {
    /// Returns this address and user agent. Only the first 200 visible ASCII characters of the user agent are kept.
    pub fn new(address: String, user_agent: &str) -> Self {
        let is_kept = |c: &char| c.is_ascii_graphic() || *c == ' ';
        Self {
            address,
            user_agent: user_agent
                .chars()
                .filter(is_kept)
                .take(MOST_AGENT_BYTES)
                .collect(),
        }
    }
}

/// A session as it is returned to its owner.
#[derive(Debug, Serialize)]
pub struct Session {
    pub id: String,
    /// The time of the log-in.
    pub began_at: Timestamp,
    /// The time at which its newest token was issued.
    pub used_at: Timestamp,
    /// The address to which its newest token was issued.
    pub address: String,
    /// The client's user agent.
    pub user_agent: String,
}

/// Stores a session that begins.
pub async fn begin(
    connection: &mut AnyConnection,
    family: &str,
    user_id: i64,
    from: &UsedFrom,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT)
        .bind(family)
        .bind(user_id)
        .bind(signed(now.as_ms()))
        .bind(signed(now.as_ms()))
        .bind(from.address.as_str())
        .bind(from.user_agent.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the beginning of the session; none if it is from before sessions were listed.
pub async fn began_at_ms(
    connection: &mut AnyConnection,
    family: &str,
) -> Result<Option<i64>, sqlx::Error> {
    let row = sqlx::query(BEGAN)
        .bind(family)
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.try_get("began_at_ms")).transpose()
}

/// Stores the time and place of the session's latest use.
pub async fn used(
    connection: &mut AnyConnection,
    family: &str,
    from: &UsedFrom,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(USED)
        .bind(signed(now.as_ms()))
        .bind(from.address.as_str())
        .bind(from.user_agent.as_str())
        .bind(family)
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns up to a hundred sessions of the user, the last used first.
pub async fn list(database: &Database, user_id: i64) -> Result<Vec<Session>, sqlx::Error> {
    let list = sqlx::query(LIST).bind(user_id);
    let rows = list.fetch_all(database.pool()).await?;
    rows.iter().map(read).collect()
}

/// Ends a session with its refresh tokens.
pub async fn end(connection: &mut AnyConnection, family: &str) -> Result<(), sqlx::Error> {
    refresh_tokens::end_family(connection, family).await?;
    sqlx::query(END).bind(family).execute(connection).await?;
    Ok(())
}

/// Ends a session with its refresh tokens, if it is the user's. Returns whether it was.
pub async fn end_own(
    connection: &mut AnyConnection,
    user_id: i64,
    family: &str,
) -> Result<bool, sqlx::Error> {
    let end = sqlx::query(END_OWN).bind(family).bind(user_id);
    let ended = end.execute(&mut *connection).await?;

    if ended.rows_affected() == 0 {
        return Ok(false);
    }

    refresh_tokens::end_family(connection, family).await?;
    Ok(true)
}

/// Ends every session of the user and revokes the access tokens, as part of the caller's
/// transaction.
pub async fn end_all(
    connection: &mut AnyConnection,
    user_id: i64,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    refresh_tokens::end_user(connection, user_id).await?;
    let end = sqlx::query(END_USER).bind(user_id);
    end.execute(&mut *connection).await?;
    epochs::move_on(connection, user_id, now).await
}

/// Deletes the sessions whose last use is before `since_ms`, whose tokens have expired.
pub async fn end_unused(connection: &mut AnyConnection, since_ms: u64) -> Result<(), sqlx::Error> {
    let end = sqlx::query(END_UNUSED).bind(signed(since_ms));
    end.execute(connection).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Session, sqlx::Error> {
    Ok(Session {
        id: row.try_get("family")?,
        began_at: instant(row.try_get("began_at_ms")?)?,
        used_at: instant(row.try_get("used_at_ms")?)?,
        address: row.try_get("address")?,
        user_agent: row.try_get("user_agent")?,
    })
}

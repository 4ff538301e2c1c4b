//! The sessions of an account, for its owner to see and to end: the table `sessions`.

use events::Timestamp;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::{SessionError, Sessions, end_all, epochs, signed};

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

/// Largest size in bytes of a client's user agent.
const MOST_AGENT_BYTES: usize = 200;

/// The address and user agent that a session is used from.
#[derive(Clone, Debug)]
pub struct UsedFrom {
    pub address: String,
    pub user_agent: String,
}

impl UsedFrom {
    /// From this address, by a client that calls itself `user_agent`, of which visible ASCII is
    /// kept.
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

/// A session as its owner sees it.
#[derive(Debug, Serialize)]
pub struct Session {
    pub id: String,
    /// When its owner logged in.
    pub began_at: Timestamp,
    /// When its last token was given out.
    pub used_at: Timestamp,
    /// Where that was asked for from.
    pub address: String,
    /// What the client called itself.
    pub user_agent: String,
}

/// Stores a session that begins.
pub(super) async fn begin(
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
pub(super) async fn began_at_ms(
    connection: &mut AnyConnection,
    family: &str,
) -> Result<Option<i64>, sqlx::Error> {
    let row = sqlx::query(BEGAN)
        .bind(family)
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.try_get("began_at_ms")).transpose()
}

/// Stores that the session is used.
pub(super) async fn used(
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

pub(super) async fn end(connection: &mut AnyConnection, family: &str) -> Result<(), sqlx::Error> {
    sqlx::query(END).bind(family).execute(connection).await?;
    Ok(())
}

pub(super) async fn end_of_user(
    connection: &mut AnyConnection,
    user_id: i64,
) -> Result<(), sqlx::Error> {
    let end = sqlx::query(END_USER).bind(user_id);
    end.execute(connection).await?;
    Ok(())
}

/// Forgets sessions that were not used since: their tokens have run out.
pub(super) async fn end_unused(
    connection: &mut AnyConnection,
    since_ms: u64,
) -> Result<(), sqlx::Error> {
    let end = sqlx::query(END_UNUSED).bind(signed(since_ms));
    end.execute(connection).await?;
    Ok(())
}

impl Sessions {
    /// Up to a hundred sessions of the user, the last used first.
    pub async fn list(&self, user_id: i64) -> Result<Vec<Session>, SessionError> {
        let list = sqlx::query(LIST).bind(user_id);
        let rows = list.fetch_all(self.database.pool()).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Ends every session of the user, and takes back the access tokens.
    pub async fn end_all_of(&self, user_id: i64, now: Timestamp) -> Result<(), SessionError> {
        let mut transaction = self.database.write().await?;
        end_all(transaction.connection(), user_id, now).await?;
        Ok(transaction.commit().await?)
    }

    /// Ends this session of the user, and takes back the access tokens; false when there is none.
    pub async fn end_one_of(
        &self,
        user_id: i64,
        family: &str,
        now: Timestamp,
    ) -> Result<bool, SessionError> {
        let mut transaction = self.database.write().await?;
        let end = sqlx::query(END_OWN).bind(family).bind(user_id);
        let ended = end.execute(transaction.connection()).await?;

        if ended.rows_affected() == 0 {
            return Ok(false);
        }

        super::end_family(transaction.connection(), family).await?;
        epochs::move_on(transaction.connection(), user_id, now).await?;
        transaction.commit().await?;

        Ok(true)
    }
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

fn instant(ms: i64) -> Result<Timestamp, sqlx::Error> {
    let instant = u64::try_from(ms).ok().and_then(Timestamp::from_ms);
    instant.ok_or_else(|| sqlx::Error::Decode(format!("{ms} ms is no instant").into()))
}

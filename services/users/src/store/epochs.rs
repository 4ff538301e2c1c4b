//! The epochs of accounts: the table `token_epochs`.
//!
//! Access tokens are verified without a request to this service. To revoke an account's tokens, its
//! epoch is increased: tokens contain the epoch at signing, and all services reject those of
//! earlier ones. An account's row stays when the account is deleted, because its tokens stay valid
//! for a while.

use std::time::Duration;

use chassis::auth::TokenEpochs;
use chassis::sql::{Database, is_duplicate};
use events::Timestamp;
use sqlx::{AnyConnection, Row};

use super::signed;

const FIND: &str = "SELECT epoch FROM token_epochs WHERE user_id = ?";
const MOVE_ON: &str =
    "UPDATE token_epochs SET epoch = epoch + 1, changed_at_ms = ? WHERE user_id = ?";
const FIRST: &str = "INSERT INTO token_epochs (user_id, epoch, changed_at_ms) VALUES (?, 1, ?)";
const CHANGED: &str = "SELECT user_id, epoch FROM token_epochs WHERE changed_at_ms > ? \
                       ORDER BY changed_at_ms DESC LIMIT 100000";

/// Upper bound of the difference between two replicas' clocks.
const MARGIN: Duration = Duration::from_secs(60);

/// Returns the account's epoch, as the connection's transaction sees it.
pub async fn current(connection: &mut AnyConnection, user_id: i64) -> Result<u64, sqlx::Error> {
    let found = sqlx::query(FIND).bind(user_id);
    let row = found.fetch_optional(connection).await?;
    let epoch = row.map(|row| row.try_get::<i64, _>("epoch")).transpose()?;
    Ok(epoch.map_or(0, i64::cast_unsigned))
}

/// Returns the account's epoch.
pub async fn epoch_of(database: &Database, user_id: i64) -> Result<u64, sqlx::Error> {
    let mut connection = database.pool().acquire().await?;
    current(&mut connection, user_id).await
}

/// Revokes the account's access tokens, as part of the caller's transaction.
pub async fn move_on(
    connection: &mut AnyConnection,
    user_id: i64,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if try_move_on(connection, user_id, now).await? {
        return Ok(());
    }

    let first = sqlx::query(FIRST).bind(user_id).bind(signed(now.as_ms()));
    match first.execute(&mut *connection).await {
        // Another transaction was first: its epoch is not this one.
        Err(error) if is_duplicate(&error) => try_move_on(connection, user_id, now).await.map(drop),
        other => other.map(drop),
    }
}

async fn try_move_on(
    connection: &mut AnyConnection,
    user_id: i64,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query(MOVE_ON).bind(signed(now.as_ms())).bind(user_id);
    Ok(moved.execute(connection).await?.rows_affected() > 0)
}

/// Returns the accounts whose epoch has changed within the life of an access token.
pub async fn changed_within(
    database: &Database,
    token_life: Duration,
    now: Timestamp,
) -> Result<TokenEpochs, sqlx::Error> {
    let life_ms = u64::try_from((token_life + MARGIN).as_millis()).unwrap_or(u64::MAX);
    let since = now.as_ms().saturating_sub(life_ms);
    let changed = sqlx::query(CHANGED).bind(signed(since));
    let rows = changed.fetch_all(database.pool()).await?;

    let read = |row: &sqlx::any::AnyRow| {
        let epoch: i64 = row.try_get("epoch")?;
        Ok((row.try_get("user_id")?, epoch.cast_unsigned()))
    };
    let epochs = rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?;
    Ok(TokenEpochs { epochs })
}

//! The epochs of accounts: the table `token_epochs`.
//!
//! Access tokens are verified without a request to this service. A token contains the epoch of its account at signing.
//! To revoke an account's tokens, its epoch is increased; all services reject tokens with an earlier epoch. The row of
//! a deleted account stays, because the account's tokens have not yet expired.

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
const CHANGED: &str = "SELECT user_id, epoch, changed_at_ms FROM token_epochs WHERE changed_at_ms > ? \
                       ORDER BY changed_at_ms DESC LIMIT ?";

/// Maximum number of accounts that are published. They take less than the 4 MiB that other services read.
const PUBLISHED: usize = 100_000;
/// Maximum difference between the clocks of two replicas.
const MARGIN: Duration = Duration::from_secs(60);

/// Returns the account's epoch, read in the connection's transaction.
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
        // Another transaction has inserted the row first, so the epoch is increased once more.
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

/// Returns the epochs that have changed within the lifetime of an access token: the latest, and since when these are all.
pub async fn changed_within(
    database: &Database,
    token_life: Duration,
    now: Timestamp,
) -> Result<TokenEpochs, sqlx::Error> {
    let life_ms = u64::try_from((token_life + MARGIN).as_millis()).unwrap_or(u64::MAX);
    let since_ms = now.as_ms().saturating_sub(life_ms);
    latest(database, since_ms, PUBLISHED).await
}

/// Returns at most `most` epochs that have changed since then.
async fn latest(
    database: &Database,
    since_ms: u64,
    most: usize,
) -> Result<TokenEpochs, sqlx::Error> {
    let changed = sqlx::query(CHANGED)
        .bind(signed(since_ms))
        .bind(i64::try_from(most + 1).unwrap_or(i64::MAX));
    let rows = changed.fetch_all(database.pool()).await?;

    let read = |row: &sqlx::any::AnyRow| {
        let epoch: i64 = row.try_get("epoch")?;
        Ok((row.try_get("user_id")?, epoch.cast_unsigned()))
    };
    let listed = rows.iter().take(most);
    let epochs = listed.map(read).collect::<Result<_, sqlx::Error>>()?;

    // The tokens that the first unlisted change has revoked were signed before this.
    let unlisted = rows.get(most);
    let unlisted_ms: Option<i64> = unlisted
        .map(|row| row.try_get("changed_at_ms"))
        .transpose()?;
    let after = |ms: i64| ms.cast_unsigned() / 1_000 + 1 + MARGIN.as_secs();
    Ok(TokenEpochs {
        epochs,
        complete_since: unlisted_ms.map_or(0, after),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chassis::sql::connect;

    use super::*;

    #[tokio::test]
    async fn if_more_have_changed_than_are_published_the_list_tells_since_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        let database = connect(&format!("sqlite://{}", file.display())).unwrap();
        crate::migrate(&database).await.unwrap();
        for (user_id, second) in [(1, 100), (2, 400), (3, 300), (4, 200)] {
            let mut transaction = database.write().await.unwrap();
            let now = Timestamp::from_ms(second * 1_000 + 999).unwrap();
            move_on(transaction.connection(), user_id, now)
                .await
                .unwrap();
            transaction.commit().await.unwrap();
        }

        let all = [(1, 1), (2, 1), (3, 1), (4, 1)];
        for (most, listed, complete_since) in [
            (5, &all[..], 0),
            (4, &all[..], 0),
            (3, &all[1..], 161),
            (2, &all[1..3], 261),
        ] {
            let published = latest(&database, 0, most).await.unwrap();
            let listed: HashMap<i64, u64> = listed.iter().copied().collect();
            assert_eq!(published.epochs, listed);
            assert_eq!(published.complete_since, complete_since, "{most}");
        }
        let later = latest(&database, 250_000, 2).await.unwrap();
        assert_eq!(later.complete_since, 0, "older tokens have expired");
    }
}

//! Inserts users under ids that do not count them ([`events::numbers_of`]).

use chassis::sql::is_duplicate;
use events::{Timestamp, numbers_of};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection};
use uuid::Uuid;

/// Number of ids that are tried for a new user. Few users sign up in one millisecond, and an insert may also
/// fail because the address is taken.
const TRIES: usize = 8;

/// Inserts a user under the first free number of this moment, and returns that number. The last bits of `chance` select
/// where to begin.
pub(super) async fn insert<'q>(
    connection: &mut AnyConnection,
    (moment, chance): (Timestamp, Uuid),
    insert: impl Fn(i64) -> Query<'q, Any, AnyArguments>,
) -> Result<i64, sqlx::Error> {
    let mut outcome = Err(sqlx::Error::RowNotFound);
    for number in numbers_of(moment, chance.as_u64_pair().1).take(TRIES) {
        let inserted = insert(number).execute(&mut *connection).await;
        outcome = inserted.map(|_| number);
        // Another user of this millisecond may have the number.
        if !outcome.as_ref().is_err_and(is_duplicate) {
            break;
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use chassis::sql::{Database, connect};
    use sqlx::Row;

    use super::*;

    async fn add(
        database: &Database,
        moment: Timestamp,
        chance: u128,
        email: &'static str,
    ) -> Result<i64, sqlx::Error> {
        let mut transaction = database.write().await?;
        let row = |id| {
            sqlx::query("INSERT INTO users (id, name, email, created_at_ms) VALUES (?, 'A', ?, 0)")
                .bind(id)
                .bind(email)
        };
        let chance = Uuid::from_u128(chance);
        let id = insert(transaction.connection(), (moment, chance), row).await?;
        transaction.commit().await?;
        Ok(id)
    }

    #[tokio::test]
    async fn users_that_draw_the_same_number_are_both_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        let database = connect(&format!("sqlite://{}", file.display())).unwrap();
        crate::migrate(&database).await.unwrap();

        let moment = Timestamp::now();
        let first = add(&database, moment, 0x1fff, "a@test.com").await.unwrap();
        let second = add(&database, moment, 0x2fff, "b@test.com").await.unwrap();
        assert_eq!(second, first - 0xfff);
        let taken = add(&database, moment, 0x3000, "a@test.com").await;
        assert!(is_duplicate(&taken.unwrap_err()), "the address is taken");

        let stored = sqlx::query("SELECT id FROM users ORDER BY id");
        let stored = stored.fetch_all(database.pool()).await.unwrap();
        let ids: Vec<i64> = stored.iter().map(|row| row.get("id")).collect();
        assert_eq!(ids, [second, first]);
    }
}

//! Migrations, writers in turn, and the classes of errors, on every database.

use std::time::Duration;

use chassis::sql::{self, Database, Migration};
use sqlx::{AssertSqlSafe, Row};

use crate::databases::{SqliteFile, on_each_database};

const CREATE: &str = "CREATE TABLE counts (id BIGINT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO counts VALUES (1, 0)";
const MIGRATIONS: &[Migration] = &[Migration {
    name: "0001-counts",
    mysql: CREATE,
    sqlite: CREATE,
}];
const COUNT: &str = "SELECT n FROM counts WHERE id = 1";

async fn count(database: &Database) -> i64 {
    sqlx::query(COUNT)
        .fetch_one(database.pool())
        .await
        .unwrap()
        .get(0)
}

async fn add_one(database: &Database) {
    let mut transaction = database.write().await.unwrap();
    let select = sqlx::query(database.dialect().locking(COUNT));
    let n: i64 = select
        .fetch_one(transaction.connection())
        .await
        .unwrap()
        .get(0);

    let update = sqlx::query("UPDATE counts SET n = ? WHERE id = 1").bind(n + 1);
    update.execute(transaction.connection()).await.unwrap();
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_migration_is_applied_once_by_replicas_that_start_together() {
    on_each_database(async |database| {
        let migrations = (0..4).map(|_| database.migrate("test", MIGRATIONS));
        for outcome in futures::future::join_all(migrations).await {
            outcome.unwrap();
        }
        assert_eq!(count(&database).await, 0);
    })
    .await;
}

#[tokio::test]
async fn writers_take_turns_and_lose_nothing() {
    on_each_database(async |database| {
        database.migrate("test", MIGRATIONS).await.unwrap();
        futures::future::join_all((0..50).map(|_| add_one(&database))).await;
        assert_eq!(count(&database).await, 50);
    })
    .await;
}

#[tokio::test]
async fn a_dropped_transaction_changes_nothing_and_frees_the_writers_turn() {
    on_each_database(async |database| {
        database.migrate("test", MIGRATIONS).await.unwrap();
        let mut transaction = database.write().await.unwrap();
        sqlx::query("UPDATE counts SET n = 7")
            .execute(transaction.connection())
            .await
            .unwrap();

        drop(transaction);
        database.write().await.unwrap().commit().await.unwrap();
        assert_eq!(count(&database).await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_taken_key_is_told_from_other_errors() {
    on_each_database(async |database| {
        database.migrate("test", MIGRATIONS).await.unwrap();
        let taken = sqlx::query("INSERT INTO counts VALUES (1, 0)")
            .execute(database.pool())
            .await
            .unwrap_err();
        assert!(sql::is_duplicate(&taken));

        let missing = sqlx::query("INSERT INTO nowhere VALUES (1)")
            .execute(database.pool())
            .await
            .unwrap_err();
        assert!(!sql::is_duplicate(&missing));
    })
    .await;
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    assert!(sql::connect("not a url").is_err());
}

#[tokio::test]
async fn a_process_has_as_many_connections_as_its_setting_allows() {
    let file = SqliteFile::new();
    let url = format!("sqlite://{}", file.folder().join("test.db").display());
    for most in [2, 5] {
        let database = sql::connect_with(&url, most).unwrap();
        let mut held = Vec::new();
        for _ in 0..most {
            held.push(database.pool().acquire().await.unwrap());
        }

        let options = database.pool().options();
        assert_eq!(options.get_max_connections(), u32::from(most));
        assert_eq!(database.pool().size(), u32::from(most));
        drop(held);
    }
}

/// Callers hang up at every moment of their queries: while a statement is prepared, while it runs,
/// and in a transaction.
async fn hang_up_often(database: &Database) {
    for number in 0..600_u64 {
        let sql = format!("SELECT ? + {}", number % 50);
        let patience = Duration::from_micros(number * 7 % 900);
        let asked = async {
            if number.is_multiple_of(3) {
                let mut transaction = database.write().await?;
                let query = sqlx::query(AssertSqlSafe(sql)).bind(1_i64);
                query.fetch_one(transaction.connection()).await?;
                transaction.commit().await
            } else {
                let query = sqlx::query(AssertSqlSafe(sql)).bind(1_i64);
                query.fetch_one(database.pool()).await.map(drop)
            }
        };
        if let Ok(answered) = tokio::time::timeout(patience, asked).await {
            answered.unwrap();
        }
    }
}

#[tokio::test]
async fn a_caller_that_disconnects_leaves_the_connections_intact() {
    on_each_database(async |database| {
        hang_up_often(&database).await;

        let mut held = Vec::new();
        for number in 0..16_i64 {
            let mut connection = database.pool().acquire().await.unwrap();
            let query = sqlx::query("SELECT ?").bind(number);
            let row = query.fetch_one(&mut *connection).await.unwrap();
            assert_eq!(row.get::<i64, _>(0), number, "the answer of another query");
            held.push(connection);
        }
    })
    .await;
}

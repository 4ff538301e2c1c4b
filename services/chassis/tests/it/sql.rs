//! Migrations, writers in turn, and what an error means, on every database.

use chassis::sql::{self, Database, Migration};
use sqlx::Row;

use crate::databases::on_each_database;

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

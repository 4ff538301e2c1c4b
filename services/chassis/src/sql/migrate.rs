//! Migrations create and change tables: they are SQL files inside the binary, each applied once and
//! recorded.
//!
//! MySQL commits each statement that changes tables by itself, so an interrupted migration runs
//! again from its start: write migrations so that a second run does no harm (`IF NOT EXISTS`). One
//! replica migrates at a time, by an advisory lock on MySQL and by the writer's lock on SQLite.
//!
//! If nothing is left to apply, a migration run only reads. A service whose account may not change
//! tables can therefore start on tables that are up to date.

use sqlx::AnyConnection;
use sqlx::{Executor, Row};

use super::{Database, Dialect, trusted};

const LOCK_LIMIT_SECONDS: i64 = 30;
const RECORDS: &str = "CREATE TABLE IF NOT EXISTS migrations (service VARCHAR(64) NOT NULL, name VARCHAR(128) NOT NULL, \
                       PRIMARY KEY (service, name))";

/// One step of a service's tables, in both dialects. Steps are applied in order and never changed
/// after a release.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its name, unique within the service.
    pub name: &'static str,
    /// The statements for MySQL.
    pub mysql: &'static str,
    /// The statements for SQLite.
    pub sqlite: &'static str,
}

/// The reason why tables could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database refused a statement or was unavailable.
    #[error("the tables of {service} cannot be brought up to date: {source}")]
    Sql {
        /// The service.
        service: String,
        /// The database's error.
        source: sqlx::Error,
    },
    /// Another replica has been migrating for too long.
    #[error("another process holds the migration lock")]
    Locked,
}

pub(super) async fn run(
    database: &Database,
    service: &str,
    migrations: &[Migration],
) -> Result<(), MigrateError> {
    let sql = |source| MigrateError::Sql {
        service: service.to_owned(),
        source,
    };

    if is_up_to_date(database, service, migrations).await {
        return Ok(());
    }

    match database.dialect() {
        Dialect::Sqlite => {
            let mut transaction = database.write().await.map_err(sql)?;
            apply(
                transaction.connection(),
                database.dialect(),
                service,
                migrations,
            )
            .await
            .map_err(sql)?;

            transaction.commit().await.map_err(sql)
        }
        Dialect::MySql => {
            // Closed rather than returned to the pool, because the lock ends with its connection.
            let mut connection = database.pool().acquire().await.map_err(sql)?;
            connection.close_on_drop();
            if !lock(&mut connection).await.map_err(sql)? {
                return Err(MigrateError::Locked);
            }

            apply(&mut connection, database.dialect(), service, migrations)
                .await
                .map_err(sql)
        }
    }
}

/// Returns whether every migration is recorded. An error means that something is left to do: the
/// records may not exist yet.
async fn is_up_to_date(database: &Database, service: &str, migrations: &[Migration]) -> bool {
    let recorded = sqlx::query("SELECT name FROM migrations WHERE service = ?")
        .bind(service)
        .fetch_all(database.pool())
        .await;
    let Ok(rows) = recorded else { return false };
    let names: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();

    migrations
        .iter()
        .all(|migration| names.iter().any(|name| name == migration.name))
}

/// Takes the migration lock. Its name contains the schema, because several schemas share a server.
async fn lock(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("SELECT GET_LOCK(CONCAT('tidemark.', DATABASE()), ?)")
        .bind(LOCK_LIMIT_SECONDS)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get::<Option<i64>, _>(0)? == Some(1))
}

async fn apply(
    connection: &mut AnyConnection,
    dialect: Dialect,
    service: &str,
    migrations: &[Migration],
) -> Result<(), sqlx::Error> {
    connection.execute(RECORDS).await?;
    for migration in migrations {
        let done = sqlx::query("SELECT name FROM migrations WHERE service = ? AND name = ?")
            .bind(service)
            .bind(migration.name)
            .fetch_optional(&mut *connection)
            .await?;

        if done.is_some() {
            continue;
        }

        let script = match dialect {
            Dialect::MySql => migration.mysql,
            Dialect::Sqlite => migration.sqlite,
        };

        for statement in script
            .split(';')
            .map(str::trim)
            .filter(|statement| !statement.is_empty())
        {
            connection.execute(trusted(statement)).await?;
        }

        sqlx::query("INSERT INTO migrations (service, name) VALUES (?, ?)")
            .bind(service)
            .bind(migration.name)
            .execute(&mut *connection)
            .await?;
    }

    Ok(())
}

//! SQL with one set of queries for MySQL and SQLite.
//!
//! [`Database`] hides the differences that matter to every service: how to connect, how a
//! transaction that writes begins, and how tables are created. SQLite allows one writer at a time,
//! so the writers of one process queue here, in order, instead of polling the file's lock. Queries
//! are written to be portable: `?` binds, `BIGINT`, `INTEGER` and `VARCHAR` columns, no upsert, no
//! `RETURNING`. [`Dialect`] covers the rest.

mod account;
mod migrate;

use std::sync::Arc;
use std::time::Duration;

pub use account::{Account, AccountError, NotAPassword, Password, Right};
pub use migrate::{MigrateError, Migration};
use sqlx::any::{AnyPoolOptions, AnyQueryResult};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor, Row, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use crate::Problem;

/// Largest number of connections from one process to one database, where no setting states another.
pub const DEFAULT_CONNECTIONS: u16 = 16;
/// Longest wait for a connection; after that the caller gets an error that the database is busy or
/// unavailable.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);

/// Longest wait for the answer of a connection that goes back to the pool.
const RELEASE_LIMIT: Duration = Duration::from_millis(500);

const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON";
/// Read committed: under a stricter level, ranges locked by reads would block inserts.
const MYSQL_SETTINGS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION innodb_lock_wait_timeout = 5";

/// MySQL's error numbers for a lock wait timeout and for a deadlock.
const MYSQL_PASSING: [u16; 2] = [1205, 1213];
/// SQLite's error codes for busy and locked.
const SQLITE_PASSING: [&str; 2] = ["5", "6"];

/// The SQL dialect of a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// MySQL 8 and MariaDB 10.11 or later.
    MySql,
    /// SQLite 3, in this process.
    Sqlite,
}

/// A pool of connections to a database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    dialect: Dialect,
    writer: Arc<Mutex<()>>,
}

/// A transaction that may write. Dropped without [`WriteTransaction::commit`], it changes nothing.
pub struct WriteTransaction {
    /// Declared before `_turn`, so that it is dropped first.
    inner: Transaction<'static, Any>,
    _turn: Option<OwnedMutexGuard<()>>,
}

/// Connects to `mysql://user:password@host:port/database` or `sqlite:///path/to/file` (which is
/// created).
///
/// Connections are opened on demand: an unreachable server causes an error at the first query, not
/// here.
///
/// # Errors
/// When the URL is invalid.
pub fn connect(url: &str) -> Result<Database, sqlx::Error> {
    connect_with(url, DEFAULT_CONNECTIONS)
}

/// Connects as [`connect`] does, with at most this many connections at once.
///
/// # Errors
/// When the URL is invalid.
pub fn connect_with(url: &str, most_connections: u16) -> Result<Database, sqlx::Error> {
    sqlx::any::install_default_drivers();
    let dialect = if url.starts_with("sqlite:") {
        Dialect::Sqlite
    } else {
        Dialect::MySql
    };

    let settings = match dialect {
        Dialect::Sqlite => SQLITE_SETTINGS,
        Dialect::MySql => MYSQL_SETTINGS,
    };

    let url = match dialect {
        Dialect::Sqlite if !url.contains('?') => format!("{url}?mode=rwc"),
        _ => url.to_owned(),
    };

    let pool = AnyPoolOptions::new()
        .max_connections(most_connections.into())
        .acquire_timeout(ACQUIRE_LIMIT)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(settings).await.map(|_| ()) })
        })
        .after_release(move |connection, _| {
            Box::pin(async move { Ok(dialect == Dialect::Sqlite || is_in_step(connection).await) })
        })
        .connect_lazy(&url)?;

    Ok(Database {
        pool,
        dialect,
        writer: Arc::default(),
    })
}

/// Returns whether a connection to MySQL answers the query that was sent last. If a caller hangs up
/// in the middle of a query, its connection may wait for an answer without end, or return the answer
/// of the abandoned query to the next one. The pool closes such a connection.
async fn is_in_step(connection: &mut AnyConnection) -> bool {
    let (_, bits) = Uuid::new_v4().as_u64_pair();
    let number = bits.cast_signed();
    let query = sqlx::query("SELECT ?").bind(number);

    let answer = tokio::time::timeout(RELEASE_LIMIT, query.fetch_one(connection)).await;
    answer.is_ok_and(|row| row.is_ok_and(|row| row.try_get(0).ok() == Some(number)))
}

impl Database {
    /// Returns the pool, for queries that need no transaction.
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Returns the SQL dialect of this database.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Begins a transaction that may write. On SQLite, it first waits for this process's earlier
    /// writers.
    ///
    /// # Errors
    /// When the database is unavailable or stays busy.
    pub async fn write(&self) -> Result<WriteTransaction, sqlx::Error> {
        let (turn, begin) = match self.dialect {
            Dialect::Sqlite => (
                Some(Arc::clone(&self.writer).lock_owned().await),
                "BEGIN IMMEDIATE",
            ),
            Dialect::MySql => (None, "BEGIN"),
        };

        Ok(WriteTransaction {
            inner: self.pool.begin_with(begin).await?,
            _turn: turn,
        })
    }

    /// Checks that the database answers; a check for [`crate::Health`].
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        let mut connection: PoolConnection<Any> = self.pool.acquire().await?;
        connection.ping().await
    }

    /// Brings the tables of `service` up to date; safe when several replicas do so at once.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migrate(
        &self,
        service: &str,
        migrations: &[Migration],
    ) -> Result<(), MigrateError> {
        migrate::run(self, service, migrations).await
    }

    /// Creates a database account if it is missing, grants its rights, revokes those that it no longer has, and changes its
    /// password if it has another one. `url` is the administrator's URL of this database.
    ///
    /// # Errors
    /// [`AccountError`].
    pub async fn ensure_account(&self, url: &str, account: &Account) -> Result<(), AccountError> {
        account::ensure(self, url, account).await
    }
}

impl WriteTransaction {
    /// Returns the connection on which to run queries.
    pub fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Returns the id that the database assigned to the row inserted last; `result` is the result
    /// of that insert.
    ///
    /// # Errors
    /// When the database does not return the id.
    pub async fn inserted_id(&mut self, result: &AnyQueryResult) -> Result<i64, sqlx::Error> {
        match result.last_insert_id() {
            Some(id) => Ok(id),
            None => sqlx::query("SELECT last_insert_rowid()")
                .fetch_one(self.connection())
                .await?
                .try_get(0),
        }
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// When the database did not confirm the commit. The commit may have happened.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.inner.commit().await
    }
}

impl Dialect {
    /// Returns the `SELECT` with its rows locked until the transaction ends. On SQLite it is
    /// unchanged: a writing transaction already locks the whole database.
    pub fn locking(self, select: &'static str) -> AssertSqlSafe<String> {
        match self {
            Self::MySql => trusted(format!("{select} FOR UPDATE")),
            Self::Sqlite => trusted(select),
        }
    }
}

/// Maps a store's error to a reply: a 503 when the database is unavailable or busy, otherwise a
/// 500.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_) => {
                tracing::warn!(%error, "the database is unavailable");
                Self::unavailable("the database does not answer")
            }
            error if is_passing(&error) => {
                tracing::warn!(%error, "the database is busy");
                Self::unavailable("the database is busy")
            }
            error => Self::internal(error),
        }
    }
}

/// Returns whether a retry would likely succeed a moment later.
fn is_passing(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };

    match error.try_downcast_ref::<MySqlDatabaseError>() {
        Some(error) => MYSQL_PASSING.contains(&error.number()),
        None => error
            .code()
            .is_some_and(|code| SQLITE_PASSING.contains(&code.as_ref())),
    }
}

/// Returns whether the error is a violation of a unique key.
pub fn is_duplicate(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.is_unique_violation())
}

/// Marks a statement as safe. It must consist of constants in the code, never of client input.
pub(crate) fn trusted(sql: impl Into<String>) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql.into())
}

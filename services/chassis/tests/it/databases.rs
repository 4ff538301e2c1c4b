//! Databases for tests: an empty SQLite file each, and an empty schema each on the server that `TIDEMARK_TEST_MYSQL`
//! names. If it is not set, MySQL is skipped, and a line on standard error reports it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use chassis::sql::{Database, connect};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

/// Runs the test on SQLite and, if there is a server, on MySQL.
pub async fn on_each_database(test: impl AsyncFn(Database)) {
    let sqlite = SqliteFile::new();
    test(sqlite.open()).await;
    let Ok(server) = std::env::var("TIDEMARK_TEST_MYSQL") else {
        let why = "TIDEMARK_TEST_MYSQL is not set (mysql://user:password@host:port/database)";
        let said = writeln!(std::io::stderr(), "SKIPPED: MySQL: {why}");
        said.unwrap();
        return;
    };

    let name = format!("tidemark_test_{}", Uuid::new_v4().simple());
    let admin = connect(&server).unwrap();
    let run = async |sql: String| admin.pool().execute(AssertSqlSafe(sql)).await.unwrap();

    run(format!(
        "CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    ))
    .await;

    let (address, _) = server.rsplit_once('/').unwrap();
    let database = connect(&format!("{address}/{name}")).unwrap();
    test(database.clone()).await;
    database.pool().close().await;
    run(format!("DROP DATABASE {name}")).await;
}

/// A SQLite file that may be opened more than once; it is removed when this is dropped.
pub struct SqliteFile(PathBuf);

impl SqliteFile {
    pub fn new() -> Self {
        let folder =
            std::env::temp_dir().join(format!("tidemark-test-{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// Returns the folder of the file.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    pub fn open(&self) -> Database {
        connect(&format!(
            "sqlite://{}",
            self.folder().join("test.db").display()
        ))
        .unwrap()
    }
}

impl Drop for SqliteFile {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

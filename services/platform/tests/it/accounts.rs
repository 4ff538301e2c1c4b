//! The services' accounts of the database: `platform migrate` creates them, and each has its own rights only.

use std::io::Write;
use std::process::{Command, Output};

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use uuid::Uuid;

/// Statements that an account may run, and statements that are refused.
struct Expected {
    allowed: &'static [&'static str],
    refused: &'static [&'static str],
}

const USERS: Expected = Expected {
    allowed: &[
        "SELECT password_hash FROM users",
        "SELECT * FROM signing_keys",
        "DELETE FROM refresh_tokens",
        "SELECT name FROM migrations",
    ],
    refused: &[
        "SELECT * FROM orders",
        "DELETE FROM outbox",
        "CREATE TABLE more (id BIGINT)",
        "DROP TABLE users",
        "DELETE FROM migrations",
        "SELECT * FROM mysql.user",
    ],
};
const ORDERS: Expected = Expected {
    allowed: &[
        "SELECT id FROM users",
        "SELECT * FROM orders",
        "DELETE FROM outbox",
        "UPDATE relay_lease SET holder = 'nobody'",
        "SELECT name FROM migrations",
    ],
    refused: &[
        "SELECT password_hash FROM users",
        "SELECT * FROM users",
        "DELETE FROM users",
        "SELECT * FROM signing_keys",
        "SELECT * FROM refresh_tokens",
        "SELECT * FROM admins",
        "UPDATE users SET name = 'x'",
        "SELECT name FROM users",
        "DROP TABLE orders",
    ],
};
/// Rights that an earlier version may have granted, by account.
const FORMER_RIGHTS: [&str; 6] = [
    "GRANT SELECT, DELETE ON {}.orders TO 'users'@'%'",
    "GRANT DELETE ON {}.migrations TO 'users'@'%'",
    "GRANT CREATE, DROP ON {}.* TO 'users'@'%'",
    "GRANT SELECT (name, password_hash), UPDATE (name) ON {}.users TO 'orders'@'%'",
    "GRANT ALL ON {}.signing_keys TO 'orders'@'%'",
    "GRANT SELECT ON {}.* TO 'orders'@'%'",
];

/// Migrates as the account of a service, as its start does: the tables are up to date, and it may change none.
fn starts_as(url: &str, name: &str, password: &str) {
    let done = Command::new(env!("CARGO_BIN_EXE_platform"))
        .args(["migrate", "--mysql", &address_as(url, name, password)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name}: {said}");
}

fn address_as(url: &str, name: &str, password: &str) -> String {
    let mut own = reqwest::Url::parse(url).unwrap();
    own.set_username(name).unwrap();
    own.set_password(Some(password)).unwrap();
    own.into()
}

fn migrate(url: &str, users: &str, orders: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_platform"))
        .args(["migrate", "--mysql", url])
        .env("TIDEMARK_MYSQL_PASSWORD_OF_USERS", users)
        .env("TIDEMARK_MYSQL_PASSWORD_OF_ORDERS", orders)
        .output()
        .unwrap()
}

async fn holds(url: &str, name: &str, password: &str, expected: &Expected) {
    starts_as(url, name, password);
    let address = address_as(url, name, password);
    let mut connection = AnyConnection::connect(&address).await.unwrap();

    for statement in expected.allowed {
        let done = connection.execute(*statement).await;
        assert!(done.is_ok(), "{name}: {statement}: {done:?}");
    }

    for statement in expected.refused {
        let error = connection
            .execute(*statement)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("denied"), "{name}: {statement}: {error}");
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn each_account_reaches_its_services_tables_alone() {
    sqlx::any::install_default_drivers();
    let Ok(server) = std::env::var("TIDEMARK_TEST_MYSQL") else {
        let said = writeln!(
            std::io::stderr(),
            "SKIPPED: MySQL: TIDEMARK_TEST_MYSQL is not set (mysql://user:password@host:port/database)"
        );
        return said.unwrap();
    };

    let mut admin = AnyConnection::connect(&server).await.unwrap();
    let schema = format!("tidemark_test_{}", Uuid::new_v4().simple());
    let create = format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    admin.execute(AssertSqlSafe(create)).await.unwrap();

    let (address, _) = server.rsplit_once('/').unwrap();
    let url = format!("{address}/{schema}");
    let first = Uuid::new_v4().to_string();
    let second = Uuid::new_v4().to_string();

    for password in [&first, &first, &second] {
        let done = migrate(&url, password, password);
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );

        holds(&url, "users", password, &USERS).await;
        holds(&url, "orders", password, &ORDERS).await;

        // The next migration revokes these.
        for grant in FORMER_RIGHTS {
            let grant = grant.replace("{}", &schema);
            admin.execute(AssertSqlSafe(grant)).await.unwrap();
        }
    }

    let short = migrate(&url, "hunter2", &second);
    assert!(!short.status.success());
    let said = String::from_utf8_lossy(&short.stderr);
    assert!(said.contains("24 to 64 letters"), "{said}");
    assert!(!said.contains(&second), "{said}");

    for statement in [
        format!("DROP DATABASE {schema}"),
        "DROP USER 'users'@'%'".to_owned(),
        "DROP USER 'orders'@'%'".to_owned(),
    ] {
        admin.execute(AssertSqlSafe(statement)).await.unwrap();
    }
}

#[test]
fn an_account_on_sqlite_is_refused_in_words() {
    let password = Uuid::new_v4().to_string();
    let folder = std::env::temp_dir().join(format!("tidemark-test-{password}"));
    std::fs::create_dir(&folder).unwrap();

    let url = format!("sqlite://{}/shop.db", folder.display());

    let done = migrate(&url, &password, &password);

    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success());
    assert!(said.contains("\"users\" needs MySQL"), "{said}");
    assert!(!said.contains(&password), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

//! A DynamoDB of its own for each test.

use std::io::Write;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use dynoxide::Database;
use tokio::net::TcpListener;
use uuid::Uuid;

const REAL: &str = "TIDEMARK_TEST_DYNAMODB";

/// Returns a client of an embedded, empty DynamoDB that lives as long as the test's runtime.
///
/// # Panics
/// If it cannot be started.
pub async fn embedded() -> Client {
    chassis::dynamodb::client(Some(&endpoint().await)).await
}

/// Returns the URL of an embedded DynamoDB, for code that does not use this process's client.
///
/// # Panics
/// If it cannot be started.
pub async fn endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the listener is bound");
    let database = Database::memory().expect("SQLite in memory");

    tokio::spawn(dynoxide::server::serve_with_shutdown(
        listener,
        database,
        std::future::pending(),
    ));

    format!("http://{address}")
}

/// Returns a client of the DynamoDB Local that the environment names, which keeps the tables of
/// each access key apart. If the environment names none, it reports so loudly and returns none.
///
/// # Panics
/// If the server there shares its tables between access keys (`-sharedDb`): tests would read each
/// other's items.
pub async fn real(test: &str) -> Option<Client> {
    let Ok(endpoint) = std::env::var(REAL) else {
        let said = writeln!(
            std::io::stderr(),
            "SKIPPED: {test}: {REAL} does not name a DynamoDB Local"
        );
        said.expect("stderr takes a line");
        return None;
    };

    let config = chassis::dynamodb::client(Some(&endpoint))
        .await
        .config()
        .to_builder();

    let key = Uuid::new_v4().simple().to_string();
    let credentials = Credentials::new(key, "local", None, None, "testbed");
    let client = Client::from_conf(config.credentials_provider(credentials).build());

    let tables = client
        .list_tables()
        .send()
        .await
        .expect("DynamoDB Local answers")
        .table_names
        .unwrap_or_default();

    assert!(
        tables.is_empty(),
        "DynamoDB Local must run without -sharedDb, for tests to have tables of their own"
    );

    Some(client)
}

//! The users service: who may order.
//!
//! Owns the SQL tables `users`, `refresh_tokens` and `signing_keys`. Publishes and consumes nothing. Orders refer to users
//! by a foreign key, so a user who has ordered cannot be deleted. E-mail addresses are unique without regard to case;
//! passwords are kept as argon2id hashes and never leave the store.
//!
//! Who logs in is given a signed access token, which any service can verify by the keys at `/.well-known/jwks.json`, and
//! a refresh token for the next one.

mod attempts;
mod config;
mod http;
mod keys;
mod password;
mod session;
mod store;
mod user;

use std::sync::Arc;

use axum::Router;
use chassis::sql::{Database, Migration};
use chassis::{Health, Metrics, ServeError, Shutdown};
pub use config::Config;
use password::Hasher;
use session::Sessions;
use store::Store;
use tokio::net::TcpListener;

const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001-users",
        mysql: include_str!("../migrations/0001-users.mysql.sql"),
        sqlite: include_str!("../migrations/0001-users.sqlite.sql"),
    },
    Migration {
        name: "0002-sessions",
        mysql: include_str!("../migrations/0002-sessions.mysql.sql"),
        sqlite: include_str!("../migrations/0002-sessions.sqlite.sql"),
    },
];

/// What the service works with.
pub struct Parts {
    /// Where users are kept.
    pub database: Database,
}

/// Makes or updates the service's tables.
///
/// # Errors
/// [`chassis::sql::MigrateError`].
pub async fn migrate(database: &Database) -> Result<(), chassis::sql::MigrateError> {
    database.migrate("users", MIGRATIONS).await
}

/// The service's routes.
pub fn router(config: &Config, parts: Parts) -> Router {
    http::routes(http::Users {
        sessions: Sessions::new(config, parts.database.clone()),
        store: Store::new(parts.database),
        hasher: Arc::new(Hasher::new(config)),
        attempts: Arc::default(),
    })
}

/// Serves until a shutdown is requested. Requests are taken once the tables are there.
///
/// # Errors
/// [`ServeError`].
pub async fn run(config: Config, parts: Parts, listener: TcpListener, shutdown: Shutdown) -> Result<(), ServeError> {
    let (health, metrics) = (Health::new(), Metrics::new("users"));
    let database = parts.database.clone();
    health.register("sql", move || {
        let database = database.clone();
        async move { database.ping().await }
    });
    let database = parts.database.clone();
    let hold = health.hold("tables");
    let background = shutdown.child();
    let start = async {
        chassis::retry(&background, "users' tables", || migrate(&database)).await;
        drop(hold);
    };
    let serve = async {
        let served = chassis::serve("users", listener, router(&config, parts), health, metrics, shutdown).await;
        background.request();
        served
    };
    tokio::join!(start, serve).1
}

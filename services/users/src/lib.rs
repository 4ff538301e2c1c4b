//! The users service: accounts and log-in.
//!
//! The service owns the SQL tables `users`, `admins`, `known_clients`, `refresh_tokens`, `sessions`, `signing_keys`,
//! `token_epochs`, `stated_addresses`, `account_mail`, `mail_tokens`, `second_factors` and
//! `recovery_codes`. It publishes and consumes no records. Orders
//! refer to users by a foreign key, so the account of a user who has ordered is closed instead of deleted: its row
//! stays, without personal data. Passwords are stored as argon2id hashes.
//!
//! Any number of accounts may state the same e-mail address. The account whose owner confirms a mail to the address
//! holds it; before that, the address gets no other mail. Mail waits in a table, from which the notifications service
//! fetches and sends it (`mail`). Sign-up, a change of the address and the request to reset a password do the same work
//! whether an address has an account or not. An account whose address is never verified is removed after a while, if it
//! has no orders (`unverified`).
//!
//! A log-in returns a signed access token, which every service can verify with the keys at `/.well-known/jwks.json`,
//! and a refresh token, with which the client gets the next access token. An admin's access token contains the role.
//! The settings name the first admin (`admin`).

mod admin;
mod attempts;
mod config;
mod http;
mod keys;
mod mail;
mod password;
mod second_factor;
mod session;
mod store;
mod token;
mod unverified;
mod user;

use std::sync::Arc;

use admin::FirstAdmin;
use axum::Router;
use chassis::auth::Auth;
use chassis::sql::{Database, Migration, Right};
use chassis::{Health, Listeners, Metrics, ServeError, Shutdown};
pub use config::Config;
use keys::OwnKeys;
use password::Hasher;
use session::Sessions;
use store::Store;
use unverified::Unverified;
pub use user::{Email, Invalid};

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
    Migration {
        name: "0003-admins",
        mysql: include_str!("../migrations/0003-admins.mysql.sql"),
        sqlite: include_str!("../migrations/0003-admins.sqlite.sql"),
    },
    Migration {
        name: "0004-known-clients",
        mysql: include_str!("../migrations/0004-known-clients.mysql.sql"),
        sqlite: include_str!("../migrations/0004-known-clients.sqlite.sql"),
    },
    Migration {
        name: "0005-session-list",
        mysql: include_str!("../migrations/0005-session-list.mysql.sql"),
        sqlite: include_str!("../migrations/0005-session-list.sqlite.sql"),
    },
    Migration {
        name: "0006-closed-accounts",
        mysql: include_str!("../migrations/0006-closed-accounts.mysql.sql"),
        sqlite: include_str!("../migrations/0006-closed-accounts.sqlite.sql"),
    },
    Migration {
        name: "0007-verified-addresses",
        mysql: include_str!("../migrations/0007-verified-addresses.mysql.sql"),
        sqlite: include_str!("../migrations/0007-verified-addresses.sqlite.sql"),
    },
    Migration {
        name: "0008-users-by-time",
        mysql: include_str!("../migrations/0008-users-by-time.mysql.sql"),
        sqlite: include_str!("../migrations/0008-users-by-time.sqlite.sql"),
    },
    Migration {
        name: "0009-second-factors",
        mysql: include_str!("../migrations/0009-second-factors.mysql.sql"),
        sqlite: include_str!("../migrations/0009-second-factors.sqlite.sql"),
    },
];

/// The rights of the service's own database account.
pub const RIGHTS: &[Right] = &[
    Right::Rows("users"),
    Right::Rows("admins"),
    Right::Rows("known_clients"),
    Right::Rows("refresh_tokens"),
    Right::Rows("sessions"),
    Right::Rows("signing_keys"),
    Right::Rows("token_epochs"),
    Right::Rows("stated_addresses"),
    Right::Rows("account_mail"),
    Right::Rows("mail_tokens"),
    Right::Rows("second_factors"),
    Right::Rows("recovery_codes"),
    Right::Reads("migrations"),
];

/// The service's dependencies.
pub struct Parts {
    /// The database of users.
    pub database: Database,
    /// Authenticates callers; users' tokens are verified with the service's own keys.
    pub auth: Auth,
}

/// The reason why the service ended with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The first admin's settings are invalid.
    #[error("the first admin cannot be appointed: {0}")]
    FirstAdmin(#[from] Invalid),
}

/// Creates or updates the service's tables.
///
/// # Errors
/// Returns [`chassis::sql::MigrateError`] if a migration fails.
pub async fn migrate(database: &Database) -> Result<(), chassis::sql::MigrateError> {
    database.migrate("users", MIGRATIONS).await
}

/// Returns the service's routes.
pub fn router(config: &Config, parts: Parts) -> Router {
    let sessions = Sessions::new(config, parts.database.clone());
    let auth = parts
        .auth
        .verifying_by(OwnKeys(Arc::clone(sessions.keys())));

    let users = http::Users {
        sessions,
        store: Store::new(parts.database),
        hasher: Arc::new(Hasher::new(config)),
        attempts: Arc::default(),
        is_open: auth.is_open(),
        shop_url: config.shop_url().into(),
    };
    auth.protect(http::routes(users))
}

/// Creates the first admin's account, if the settings name one; retries until it succeeds or a
/// shutdown is requested.
///
/// # Errors
/// Returns [`Invalid`] if the password is invalid.
pub async fn appoint_admin(
    config: &Config,
    database: &Database,
    shutdown: &Shutdown,
) -> Result<(), Invalid> {
    let (Some(email), Some(password)) = (&config.users_admin_email, &config.users_admin_password)
    else {
        return Ok(());
    };

    let admin = FirstAdmin::new(email, password)?;
    let store = Store::new(database.clone());
    let hasher = Hasher::new(config);

    chassis::retry(shutdown, "users' first admin", || {
        admin.appoint(&store, &hasher)
    })
    .await;

    Ok(())
}

/// Serves until a shutdown is requested. Requests are accepted once the tables exist.
///
/// # Errors
/// Returns [`RunError`] if the server fails or the first admin's settings are invalid.
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let health = Health::new();
    let metrics = Metrics::new("users");
    let database = parts.database.clone();

    health.register("sql", move || {
        let database = database.clone();
        async move { database.ping().await }
    });

    let database = parts.database.clone();
    let hold = health.hold("tables");
    let background = shutdown.child();
    let unverified = Unverified::new(&config, &parts);

    let start = async {
        chassis::retry(&background, "users' tables", || migrate(&database)).await;
        let appointed = appoint_admin(&config, &database, &background).await;
        drop(hold);
        appointed?;

        unverified.run(&background).await;
        Ok(())
    };

    let serve = async {
        let served = chassis::serve(
            "users",
            listeners,
            router(&config, parts),
            health,
            metrics,
            shutdown,
        )
        .await;

        background.request();
        served.map_err(RunError::from)
    };
    tokio::try_join!(start, serve)?;

    Ok(())
}

#[cfg(test)]
#[path = "../../chassis/tests/it/databases.rs"]
mod databases;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_has_a_right_to_every_table_it_makes() {
        let made = MIGRATIONS.iter().flat_map(|migration| {
            let statements = migration.mysql.split("CREATE TABLE IF NOT EXISTS ").skip(1);
            statements.filter_map(|rest| rest.split_whitespace().next())
        });

        let mut count = 0;
        for table in made {
            let has_right = |right: &Right| matches!(right, Right::Rows(name) if *name == table);
            assert!(RIGHTS.iter().any(has_right), "{table}");
            count += 1;
        }

        assert!(count >= 10, "{count}");
    }
}

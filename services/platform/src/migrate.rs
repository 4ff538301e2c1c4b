//! Brings the SQL tables up to date, creates the services' database accounts for which passwords
//! are given, and ends. A release runs this before its pods roll.

use chassis::sql::{Account, Password, Right};

use crate::RunError;
use crate::config::MigrateSettings;
use crate::stores::Stores;

/// Migrates the tables of users, then those of orders, which refer to them, and then creates the
/// accounts.
///
/// # Errors
/// [`RunError::Store`], [`RunError::Migrate`], [`RunError::Account`].
pub async fn run(settings: MigrateSettings) -> Result<(), RunError> {
    chassis::init_telemetry(&settings.logs);
    let url = settings.stores.mysql.clone().unwrap_or_default();
    let mut stores = Stores::new(settings.stores);
    let database = stores.database()?;

    users::migrate(&database).await?;
    orders::migrate(&database).await?;

    let accounts = [
        account("users", settings.users_password, users::RIGHTS),
        account("orders", settings.orders_password, orders::RIGHTS),
    ];

    for account in accounts.into_iter().flatten() {
        database.ensure_account(&url, &account).await?;
        tracing::info!(
            account = account.name,
            "the account of the database has its rights and password"
        );
    }

    stores.close().await;
    Ok(())
}

fn account(
    name: &'static str,
    password: Option<Password>,
    rights: &'static [Right],
) -> Option<Account> {
    Some(Account {
        name,
        password: password?,
        rights,
    })
}

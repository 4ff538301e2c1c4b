//! Brings the SQL tables up to date and ends: what a release runs before its pods roll.

use crate::RunError;
use crate::config::MigrateSettings;
use crate::stores::Stores;

/// Migrates the tables of users, then those of orders, which refer to them.
///
/// # Errors
/// [`RunError::Store`], [`RunError::Migrate`].
pub async fn run(settings: MigrateSettings) -> Result<(), RunError> {
    chassis::init_telemetry(&settings.logs);
    let mut stores = Stores::new(settings.stores);
    let database = stores.database()?;
    users::migrate(&database).await?;
    orders::migrate(&database).await?;
    stores.close().await;
    Ok(())
}

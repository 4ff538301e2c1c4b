//! The service's tables in SQL. Only this module and its submodules write them.

pub mod addresses;
pub mod admins;
mod clients;
mod closing;
pub mod epochs;
mod mail;
mod numbered;
pub mod refresh_tokens;
pub mod second_factors;
pub mod sessions;
pub mod signing_keys;
mod unverified;

use chassis::Limit;
use chassis::sql::{Database, is_duplicate};
use events::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use uuid::Uuid;

use crate::mail::MailKind;
use crate::user::{NewUser, User, UserChange};

const BY_ID: &str = "SELECT u.id, u.name, u.email AS held, s.email AS stated, u.phone, u.created_at_ms, u.email_verified_at_ms \
     FROM users u LEFT JOIN stated_addresses s ON s.user_id = u.id WHERE u.id = ? AND u.closed_at_ms IS NULL";
const AFTER: &str = "SELECT u.id, u.name, u.email AS held, s.email AS stated, u.phone, u.created_at_ms, u.email_verified_at_ms \
     FROM users u LEFT JOIN stated_addresses s ON s.user_id = u.id \
     WHERE u.id > ? AND u.closed_at_ms IS NULL ORDER BY u.id LIMIT ?";
const INSERT: &str = "INSERT INTO users (id, name, email, phone, password_hash, created_at_ms) VALUES (?, ?, ?, ?, ?, ?)";
const UPDATE: &str = "UPDATE users SET name = ?, phone = ? WHERE id = ?";

const CREDENTIALS_BY_ID: &str = "SELECT u.id, u.name, COALESCE(s.email, u.email) AS email, u.password_hash \
     FROM users u LEFT JOIN stated_addresses s ON s.user_id = u.id WHERE u.id = ? AND u.closed_at_ms IS NULL";
/// Changes the password only if the stored hash is still the one that was compared.
const SET_PASSWORD: &str =
    "UPDATE users SET password_hash = ? WHERE id = ? AND COALESCE(password_hash, '') = ?";

/// The credentials of a user.
pub struct Credentials {
    pub id: i64,
    pub name: String,
    /// The address that the account states, or else the one that it holds.
    pub email: String,
    /// None if the user signed up without a password.
    pub password_hash: Option<String>,
}

/// Access to the service's tables.
#[derive(Clone)]
pub struct Store {
    database: Database,
}

/// The reason why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another account has verified the e-mail address")]
    EmailTaken,
    #[error("the user has orders")]
    HasOrders,
    #[error("SQL: {0}")]
    Sql(#[source] sqlx::Error),
}

impl Store {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores a new account, which states its address but holds none, and the mail to verify the address. The
    /// statements are the same whether another account has the address or not.
    pub async fn insert(
        &self,
        new: &NewUser,
        password_hash: Option<&str>,
        now: Timestamp,
    ) -> Result<User, StoreError> {
        let mut transaction = self.database.write().await?;
        let insert = |id| {
            sqlx::query(INSERT)
                .bind(id)
                .bind(new.name.as_str())
                .bind(addresses::no_address())
                .bind(new.phone.as_ref().map(|phone| phone.as_str()))
                .bind(password_hash)
                .bind(millis(now))
        };
        let id = numbered::insert(transaction.connection(), (now, Uuid::new_v4()), insert).await?;

        let connection = transaction.connection();
        addresses::state(connection, id, new.email.as_str()).await?;
        mail::put(connection, MailKind::VerifyAddress, new.email.as_str(), now).await?;
        transaction.commit().await?;

        let phone = new.phone.as_ref().map(|phone| phone.as_str().to_owned());
        Ok(User {
            id,
            name: new.name.as_str().to_owned(),
            email: new.email.as_str().to_owned(),
            verified_email: None,
            phone,
            created_at: now,
        })
    }

    pub async fn get(&self, id: i64) -> Result<Option<User>, StoreError> {
        let row = sqlx::query(BY_ID)
            .bind(id)
            .fetch_optional(self.database.pool())
            .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// Returns up to `limit` + 1 users with higher ids than `after`, in the order of their ids.
    pub async fn list(&self, after: i64, limit: Limit) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query(AFTER)
            .bind(after)
            .bind(limit.and_one())
            .fetch_all(self.database.pool())
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Changes a user and returns it; none if it does not exist. A new address is only stated until it is verified, and
    /// the verified address gets a warning.
    pub async fn update(
        &self,
        id: i64,
        change: UserChange,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let mut transaction = self.database.write().await?;
        let connection = transaction.connection();
        let Some(user) = self.lock(connection, id).await? else {
            return Ok(None);
        };

        let before = user.email.clone();
        let user = changed(user, change);
        sqlx::query(UPDATE)
            .bind(user.name.as_str())
            .bind(user.phone.as_deref())
            .bind(id)
            .execute(&mut *connection)
            .await?;

        if user.email != before {
            change_address(connection, &user, now).await?;
        }

        transaction.commit().await?;
        Ok(Some(user))
    }

    pub async fn credentials(&self, id: i64) -> Result<Option<Credentials>, StoreError> {
        let found = sqlx::query(CREDENTIALS_BY_ID)
            .bind(id)
            .fetch_optional(self.database.pool())
            .await?;
        Ok(found.as_ref().map(credentials).transpose()?)
    }

    /// Replaces the password of these credentials and ends all sessions; returns false if the
    /// password was changed meanwhile.
    pub async fn set_password(
        &self,
        old: &Credentials,
        new_hash: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.write().await?;
        let set = sqlx::query(SET_PASSWORD)
            .bind(new_hash)
            .bind(old.id)
            .bind(old.password_hash.as_deref().unwrap_or_default())
            .execute(transaction.connection())
            .await?;

        if set.rows_affected() == 0 {
            return Ok(false);
        }

        let connection = transaction.connection();
        sessions::end_all(connection, old.id, now).await?;
        if let Some(user) = self.lock(connection, old.id).await?
            && let Some(verified) = &user.verified_email
        {
            mail::revoke_tokens(connection, verified).await?;
            mail::put(connection, MailKind::PasswordChanged, verified, now).await?;
        }

        transaction.commit().await?;
        Ok(true)
    }

    async fn lock(
        &self,
        connection: &mut AnyConnection,
        id: i64,
    ) -> Result<Option<User>, sqlx::Error> {
        let query = self.database.dialect().locking(BY_ID);
        let row = sqlx::query(query)
            .bind(id)
            .fetch_optional(connection)
            .await?;
        row.as_ref().map(read).transpose()
    }
}

async fn change_address(
    connection: &mut AnyConnection,
    user: &User,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if user.verified_email.as_ref() == Some(&user.email) {
        return addresses::take_back(connection, user.id).await;
    }

    addresses::state(connection, user.id, &user.email).await?;
    mail::put(connection, MailKind::VerifyAddress, &user.email, now).await?;
    match &user.verified_email {
        Some(verified) => mail::put(connection, MailKind::AddressChanging, verified, now).await,
        None => Ok(()),
    }
}

fn credentials(row: &AnyRow) -> Result<Credentials, sqlx::Error> {
    Ok(Credentials {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        password_hash: row.try_get("password_hash")?,
    })
}

fn changed(user: User, change: UserChange) -> User {
    User {
        name: change
            .name
            .map_or(user.name, |name| name.as_str().to_owned()),
        email: change
            .email
            .map_or(user.email, |email| email.as_str().to_owned()),
        phone: change.phone.map_or(user.phone, |phone| {
            phone.map(|phone| phone.as_str().to_owned())
        }),
        ..user
    }
}

fn read(row: &AnyRow) -> Result<User, sqlx::Error> {
    let held: String = row.try_get("held")?;
    let stated: Option<String> = row.try_get("stated")?;
    let verified_at_ms: Option<i64> = row.try_get("email_verified_at_ms")?;

    Ok(User {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        verified_email: verified_at_ms.map(|_| held.clone()),
        email: stated.unwrap_or(held),
        phone: row.try_get("phone")?,
        created_at: instant(row.try_get("created_at_ms")?)?,
    })
}

fn millis(instant: Timestamp) -> i64 {
    i64::try_from(instant.as_ms()).expect("the year 9999 fits")
}

/// Converts milliseconds for SQL. A time beyond SQL's range becomes the largest value, which is never reached.
fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn instant(ms: i64) -> Result<Timestamp, sqlx::Error> {
    let instant = u64::try_from(ms).ok().and_then(Timestamp::from_ms);
    instant.ok_or_else(|| sqlx::Error::Decode(format!("{ms} ms is not an instant").into()))
}

/// The only unique key that can be violated is that of the e-mail address, and the only foreign key that of orders.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let has_orders = error
            .as_database_error()
            .is_some_and(|error| error.is_foreign_key_violation());
        match error {
            error if is_duplicate(&error) => Self::EmailTaken,
            _ if has_orders => Self::HasOrders,
            error => Self::Sql(error),
        }
    }
}

//! The service's tables in SQL. No other module writes them.

pub mod admins;
mod clients;
mod closing;
pub mod epochs;
pub mod refresh_tokens;
pub mod sessions;
pub mod signing_keys;

use chassis::Limit;
use chassis::sql::{Database, is_duplicate};
use events::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::user::{Email, NewUser, User, UserChange};

const BY_ID: &str =
    "SELECT id, name, email, phone, created_at_ms FROM users WHERE id = ? AND closed_at_ms IS NULL";
const AFTER: &str = "SELECT id, name, email, phone, created_at_ms FROM users WHERE id > ? AND closed_at_ms IS NULL ORDER BY id LIMIT ?";
const INSERT: &str =
    "INSERT INTO users (name, email, phone, password_hash, created_at_ms) VALUES (?, ?, ?, ?, ?)";
const UPDATE: &str = "UPDATE users SET name = ?, email = ?, phone = ? WHERE id = ?";

const CREDENTIALS_BY_EMAIL: &str =
    "SELECT id, name, email, password_hash FROM users WHERE email = ? AND closed_at_ms IS NULL";
const CREDENTIALS_BY_ID: &str =
    "SELECT id, name, email, password_hash FROM users WHERE id = ? AND closed_at_ms IS NULL";
/// Changes the password only if the hash is still the one that was compared.
const SET_PASSWORD: &str =
    "UPDATE users SET password_hash = ? WHERE id = ? AND COALESCE(password_hash, '') = ?";

/// The credentials of a user.
pub struct Credentials {
    pub id: i64,
    pub name: String,
    pub email: String,
    /// None when the user signed up without a password.
    pub password_hash: Option<String>,
}

/// The table `users`.
#[derive(Clone)]
pub struct Store {
    database: Database,
}

/// The reason why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the e-mail address belongs to another user")]
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

    pub async fn insert(
        &self,
        new: &NewUser,
        password_hash: Option<&str>,
        now: Timestamp,
    ) -> Result<User, StoreError> {
        let mut transaction = self.database.write().await?;
        let inserted = sqlx::query(INSERT)
            .bind(new.name.as_str())
            .bind(new.email.as_str())
            .bind(new.phone.as_ref().map(|phone| phone.as_str()))
            .bind(password_hash)
            .bind(millis(now))
            .execute(transaction.connection())
            .await?;
        let id = transaction.inserted_id(&inserted).await?;
        transaction.commit().await?;

        let phone = new.phone.as_ref().map(|phone| phone.as_str().to_owned());
        Ok(User {
            id,
            name: new.name.as_str().to_owned(),
            email: email(&new.email),
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

    /// Returns up to one more than `limit` users with higher ids than `after`, in order of id.
    pub async fn list(&self, after: i64, limit: Limit) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query(AFTER)
            .bind(after)
            .bind(limit.and_one())
            .fetch_all(self.database.pool())
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Returns the changed user; none when there is no such user.
    pub async fn update(&self, id: i64, change: UserChange) -> Result<Option<User>, StoreError> {
        let mut transaction = self.database.write().await?;
        let Some(user) = self.lock(transaction.connection(), id).await? else {
            return Ok(None);
        };

        let user = changed(user, change);
        sqlx::query(UPDATE)
            .bind(user.name.as_str())
            .bind(user.email.as_str())
            .bind(user.phone.as_deref())
            .bind(id)
            .execute(transaction.connection())
            .await?;

        transaction.commit().await?;
        Ok(Some(user))
    }

    pub async fn credentials_of(&self, email: &Email) -> Result<Option<Credentials>, StoreError> {
        let found = sqlx::query(CREDENTIALS_BY_EMAIL).bind(email.as_str());
        Ok(found
            .fetch_optional(self.database.pool())
            .await?
            .as_ref()
            .map(credentials)
            .transpose()?)
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

        sessions::end_all(transaction.connection(), old.id, now).await?;
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
        email: change.email.as_ref().map_or(user.email, email),
        phone: change.phone.map_or(user.phone, |phone| {
            phone.map(|phone| phone.as_str().to_owned())
        }),
        ..user
    }
}

fn email(email: &Email) -> String {
    email.as_str().to_owned()
}

fn read(row: &AnyRow) -> Result<User, sqlx::Error> {
    Ok(User {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        phone: row.try_get("phone")?,
        created_at: instant(row.try_get("created_at_ms")?)?,
    })
}

fn millis(instant: Timestamp) -> i64 {
    i64::try_from(instant.as_ms()).expect("the year 9999 fits")
}

/// Returns a time computed from lives and instants; a time beyond SQL's range is never reached.
fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn instant(ms: i64) -> Result<Timestamp, sqlx::Error> {
    let instant = u64::try_from(ms).ok().and_then(Timestamp::from_ms);
    instant.ok_or_else(|| sqlx::Error::Decode(format!("{ms} ms is no instant").into()))
}

/// A violated unique key can only be the e-mail address, a violated foreign key only an order.
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

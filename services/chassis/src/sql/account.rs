//! Accounts of the database, one for each service: each may read and write the tables of its
//! service, and read those columns of others' tables that its rights name. Rights in this schema that are no
//! longer named are revoked, one by one, so that running processes keep the others.
//!
//! The migrations, which run as the database's administrator, create the accounts. A new password
//! does not cut off processes that still use the old one: MySQL accepts both until the next change
//! (its "dual passwords"). On MariaDB an account has one password, so the old one stops working at
//! once.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use sqlx::{AnyConnection, Connection, Executor, Row};

use super::{Database, Dialect, trusted};

/// A table, and an account's rights to it.
#[derive(Clone, Copy, Debug)]
pub enum Right {
    /// Reads, inserts, updates and deletes the rows of this table.
    Rows(&'static str),
    /// Reads all columns of this table.
    Reads(&'static str),
    /// Reads one column of a table that belongs to another service.
    ReadsColumn {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
}

/// The rights that an account has in the schema: `information_schema` has a view for each kind.
const RIGHTS_OF_COLUMNS: &str = "SELECT CAST(privilege_type AS CHAR), CAST(table_name AS CHAR), CAST(column_name AS CHAR) \
     FROM information_schema.column_privileges WHERE grantee = ? AND table_schema = ?";
const RIGHTS_OF_TABLES: &str = "SELECT CAST(privilege_type AS CHAR), CAST(table_name AS CHAR), '' \
     FROM information_schema.table_privileges WHERE grantee = ? AND table_schema = ?";
const RIGHTS_OF_SCHEMA: &str = "SELECT CAST(privilege_type AS CHAR), '', '' \
     FROM information_schema.schema_privileges WHERE grantee = ? AND table_schema = ?";
/// The entry of a table of which only columns may be used.
const NO_RIGHT: &str = "USAGE";

/// A right as the database lists it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Granted {
    right: String,
    /// Empty for a right to all tables of the schema.
    table: String,
    /// Empty for a right to all columns.
    column: String,
}

/// The password of an account. It becomes part of a statement, so its characters need no escapes.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(String);

/// An account that is to exist.
#[derive(Clone, Debug)]
pub struct Account {
    /// The name of the account, which is the service's.
    pub name: &'static str,
    /// The password of the account.
    pub password: Password,
    /// The rights of the account.
    pub rights: &'static [Right],
}

/// The reason why a text cannot be a password.
#[derive(Debug, thiserror::Error)]
#[error("a password of a database account has 24 to 64 letters, digits and dashes")]
pub struct NotAPassword;

/// The reason why an account could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// SQLite has no accounts.
    #[error("database account {0:?} needs MySQL: SQLite has no accounts (--mysql)")]
    NoAccounts(&'static str),
    /// The database refused a statement or was unavailable.
    #[error("database account {name:?} cannot be set up: {source}")]
    Sql {
        /// The name of the account.
        name: &'static str,
        /// The database's error.
        source: sqlx::Error,
    },
    /// The account exists and does not accept its password.
    #[error("database account {name:?} does not accept its new password: {source}")]
    Refused {
        /// The name of the account.
        name: &'static str,
        /// The database's error.
        source: sqlx::Error,
    },
}

impl FromStr for Password {
    type Err = NotAPassword;

    fn from_str(text: &str) -> Result<Self, NotAPassword> {
        let is_plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_plain && (24..=64).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAPassword)
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Granted {
    fn revoke(&self, schema: &str, name: &str) -> String {
        let Self {
            right,
            table,
            column,
        } = self;
        let columns = if column.is_empty() {
            String::new()
        } else {
            format!(" (`{column}`)")
        };
        let table = if table.is_empty() {
            "*".to_owned()
        } else {
            format!("`{table}`")
        };
        format!("REVOKE {right}{columns} ON `{schema}`.{table} FROM '{name}'@'%'")
    }
}

impl Right {
    /// Returns the entries that the database lists for this right.
    fn entries(self) -> Vec<Granted> {
        let entry = |right: &str, table: &str, column: &str| Granted {
            right: right.to_owned(),
            table: table.to_owned(),
            column: column.to_owned(),
        };
        match self {
            Self::Rows(table) => ["SELECT", "INSERT", "UPDATE", "DELETE"]
                .map(|right| entry(right, table, ""))
                .into(),
            Self::Reads(table) => vec![entry("SELECT", table, "")],
            Self::ReadsColumn { table, column } => vec![entry("SELECT", table, column)],
        }
    }

    /// Returns the statement that grants this right on `schema` to the account `name`.
    fn grant(self, schema: &str, name: &str) -> String {
        let (rights, table) = match self {
            Self::Rows(table) => ("SELECT, INSERT, UPDATE, DELETE".to_owned(), table),
            Self::Reads(table) => ("SELECT".to_owned(), table),
            Self::ReadsColumn { table, column } => (format!("SELECT ({column})"), table),
        };
        format!("GRANT {rights} ON `{schema}`.`{table}` TO '{name}'@'%'")
    }
}

/// Creates the account if it is missing, grants its rights, revokes others, and changes its password if it has
/// another one. `url` is the administrator's.
///
/// # Errors
/// [`AccountError`].
pub(super) async fn ensure(
    database: &Database,
    url: &str,
    account: &Account,
) -> Result<(), AccountError> {
    let name = account.name;
    if database.dialect() == Dialect::Sqlite {
        return Err(AccountError::NoAccounts(name));
    }

    let sql = |source| AccountError::Sql { name, source };
    let mut connection = database.pool().acquire().await.map_err(sql)?;
    create(&mut connection, account).await.map_err(sql)?;

    if log_in(url, account).await.is_ok() {
        return Ok(());
    }

    change_password(&mut connection, account)
        .await
        .map_err(sql)?;

    log_in(url, account)
        .await
        .map_err(|source| AccountError::Refused { name, source })
}

async fn create(connection: &mut AnyConnection, account: &Account) -> Result<(), sqlx::Error> {
    let schema: String = sqlx::query("SELECT DATABASE()")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;

    let Account { name, password, .. } = account;
    let create = format!(
        "CREATE USER IF NOT EXISTS '{name}'@'%' IDENTIFIED BY '{}'",
        password.0
    );
    connection.execute(trusted(create)).await?;

    for right in account.rights {
        connection
            .execute(trusted(right.grant(&schema, name)))
            .await?;
    }

    let named: BTreeSet<_> = account
        .rights
        .iter()
        .flat_map(|right| right.entries())
        .collect();
    for granted in granted(connection, &schema, name).await? {
        if !named.contains(&granted) {
            connection
                .execute(trusted(granted.revoke(&schema, name)))
                .await?;
        }
    }
    Ok(())
}

/// Returns the rights of the account in the schema. A name of the database becomes part of a statement, so one that is not
/// plain is an error.
async fn granted(
    connection: &mut AnyConnection,
    schema: &str,
    name: &str,
) -> Result<BTreeSet<Granted>, sqlx::Error> {
    let mut all = BTreeSet::new();
    for list in [RIGHTS_OF_COLUMNS, RIGHTS_OF_TABLES, RIGHTS_OF_SCHEMA] {
        let listed = sqlx::query(list)
            .bind(format!("'{name}'@'%'"))
            .bind(schema)
            .fetch_all(&mut *connection)
            .await?;
        for row in listed {
            let granted = Granted {
                right: row.try_get(0)?,
                table: row.try_get(1)?,
                column: row.try_get(2)?,
            };
            if [&granted.table, &granted.column]
                .iter()
                .any(|name| name.contains('`'))
            {
                return Err(sqlx::Error::Decode(
                    format!("{granted:?} has a quote").into(),
                ));
            }
            if granted.right != NO_RIGHT {
                all.insert(granted);
            }
        }
    }
    Ok(all)
}

/// Opens a connection as the account, and closes it.
async fn log_in(url: &str, account: &Account) -> Result<(), sqlx::Error> {
    let mut own =
        reqwest::Url::parse(url).map_err(|error| sqlx::Error::Configuration(error.into()))?;
    let is_set = own.set_username(account.name).is_ok()
        && own.set_password(Some(&account.password.0)).is_ok();

    if !is_set {
        return Err(sqlx::Error::Configuration("the URL has no host".into()));
    }

    AnyConnection::connect(own.as_str()).await?.close().await
}

async fn change_password(
    connection: &mut AnyConnection,
    account: &Account,
) -> Result<(), sqlx::Error> {
    let version: String = sqlx::query("SELECT VERSION()")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;

    let keeps_the_old_one = if version.contains("MariaDB") {
        ""
    } else {
        " RETAIN CURRENT PASSWORD"
    };

    let Account { name, password, .. } = account;
    let alter = format!(
        "ALTER USER '{name}'@'%' IDENTIFIED BY '{}'{keeps_the_old_one}",
        password.0
    );
    connection.execute(trusted(alter)).await?;

    Ok(())
}

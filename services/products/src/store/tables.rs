//! The DynamoDB tables of the catalogue.

use chassis::dynamodb::{Index, Key, KeyKind, Projected, Table, TableError, ensure_table};

use super::Store;

/// The table of products, keyed by id.
pub const PRODUCTS: &str = "products";
/// The table of reservations, keyed by the order's key.
pub const RESERVATIONS: &str = "product-reservations";
/// The time at which DynamoDB deletes a reservation, in seconds since 1970.
pub(super) const EXPIRES_AT: &str = "expires_at";
/// The index of all products, newest last.
pub(super) const BY_CATALOGUE: &str = "by-catalogue";
/// The index of products by category, newest last.
pub(super) const BY_CATEGORY: &str = "by-category";

const ID: (&str, KeyKind) = ("id", KeyKind::Text);

const TABLES: [Table; 2] = [
    Table {
        name: PRODUCTS,
        key: Key {
            partition: ID,
            sort: None,
        },
        indexes: &[
            listing(BY_CATALOGUE, "catalogue"),
            listing(BY_CATEGORY, "category"),
        ],
        expires_at: None,
    },
    Table {
        name: RESERVATIONS,
        key: Key {
            partition: ID,
            sort: None,
        },
        indexes: &[],
        expires_at: Some(EXPIRES_AT),
    },
];

const fn listing(name: &'static str, by: &'static str) -> Index {
    Index {
        name,
        key: Key {
            partition: (by, KeyKind::Text),
            sort: Some(ID),
        },
        projected: Projected::Keys,
    }
}

impl Store {
    /// Creates the tables that are missing.
    ///
    /// # Errors
    /// Returns [`TableError`] if a table cannot be created.
    pub async fn ensure_tables(&self) -> Result<(), TableError> {
        for table in &TABLES {
            ensure_table(&self.client, table).await?;
        }
        Ok(())
    }
}

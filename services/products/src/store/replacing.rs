//! Changes a stored product. Changes of one product by this process take turns, so that they seldom
//! meet; those of other processes are met by the condition on the version, and by another try.
//!
//! A change that does not name the stock leaves it alone: it may be sold from meanwhile.
//!
//! The client repeats a request whose reply was lost. The repeated one does not find the former version any more; the
//! product that is read after it shows that the change was made.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use chassis::Backoff;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::{PRODUCTS, Row, Store, StoreError, failed, number, pause, text};
use crate::product::Product;

/// Number of turns; products share them by their ids.
const TURNS: usize = 64;
/// Maximum attempts of a change whose product other processes keep changing.
const ATTEMPTS: usize = 40;
/// Fields that a change never sets: the key, the listing and the time of creation.
const FIXED: [&str; 3] = ["id", "catalogue", "created_at"];
/// Fields that are left alone unless the stock is changed.
const STOCK: [&str; 2] = ["stock", "stock_version"];
/// Fields that a product may lack.
const OPTIONAL: [&str; 2] = ["category", "stock"];

/// The turns in which this process changes products.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<[Mutex<()>; TURNS]>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }
}

impl Turns {
    async fn of(&self, id: Uuid) -> MutexGuard<'_, ()> {
        let turn = id.as_u128() % TURNS as u128;
        self.0[usize::try_from(turn).expect("it is below 64")]
            .lock()
            .await
    }
}

/// The reason a product was not changed.
#[derive(Debug)]
pub enum NotChanged<E> {
    /// There is no such product.
    Missing,
    /// The change was refused.
    Refused(E),
    /// The store failed.
    Store(StoreError),
}

impl Store {
    /// Changes a product by `change`, which gets it as it is stored and returns it with the next
    /// version. It is called again when others have changed the product meanwhile.
    ///
    /// # Errors
    /// Returns [`NotChanged`]; [`StoreError::Busy`] if others changed it at every attempt.
    pub async fn change<E>(
        &self,
        id: Uuid,
        change: impl Fn(&Product) -> Result<Product, E>,
    ) -> Result<Product, NotChanged<E>> {
        let _turn = self.turns.of(id).await;
        let mut backoff = Backoff::default();
        let mut tried = None;
        for _ in 0..ATTEMPTS {
            let found = self.get(id).await.map_err(NotChanged::Store)?;
            let product = found.ok_or(NotChanged::Missing)?;
            if tried.is_some_and(|tried| is_as_written(&product, tried)) {
                self.searched.index_mut().put(&product);
                return Ok(product);
            }

            let changed = change(&product).map_err(NotChanged::Refused)?;

            match self.replace(&product, &changed).await {
                Ok(Some(stored)) => return Ok(stored),
                Ok(None) => pause(&mut backoff).await,
                Err(error) => return Err(NotChanged::Store(error)),
            }
            tried = Some(changed);
        }

        Err(NotChanged::Store(StoreError::Busy))
    }

    /// Writes `after` in the place of `before`, and returns the stored product. Returns none if
    /// the product is another one by now, or a sale holds it.
    async fn replace(
        &self,
        before: &Product,
        after: &Product,
    ) -> Result<Option<Product>, StoreError> {
        let changes_stock = before.stock_version != after.stock_version;
        let mut condition = "#version = :before".to_owned();
        let mut update = self
            .client
            .update_item()
            .table_name(PRODUCTS)
            .key("id", text(after.id))
            .return_values(ReturnValue::AllNew)
            .expression_attribute_values(":before", number(before.version));

        if changes_stock {
            // Products of earlier versions do not have the attribute.
            let absent = match before.stock_version {
                0 => "attribute_not_exists(#stock_version) OR ",
                _ => "",
            };
            condition += &format!(" AND ({absent}#stock_version = :stock_before)");
            update =
                update.expression_attribute_values(":stock_before", number(before.stock_version));
        }

        let item: HashMap<String, AttributeValue> =
            serde_dynamo::to_item(Row::from(after.clone()))?;
        let is_left =
            |field: &str| FIXED.contains(&field) || (!changes_stock && STOCK.contains(&field));
        let mut sets = Vec::new();
        for (field, value) in item.iter().filter(|(field, _)| !is_left(field)) {
            sets.push(format!("#{field} = :{field}"));
            update = update
                .expression_attribute_names(format!("#{field}"), field)
                .expression_attribute_values(format!(":{field}"), value.clone());
        }

        let mut expression = format!("SET {}", sets.join(", "));
        let absent = OPTIONAL
            .into_iter()
            .filter(|field| !is_left(field) && !item.contains_key(*field));
        let removed: Vec<String> = absent.map(|field| format!("#{field}")).collect();
        for name in &removed {
            update = update.expression_attribute_names(name, &name[1..]);
        }
        if !removed.is_empty() {
            expression += &format!(" REMOVE {}", removed.join(", "));
        }

        let outcome = update
            .update_expression(expression)
            .condition_expression(condition)
            .send()
            .await;
        let stored = match outcome.map_err(failed) {
            Ok(updated) => updated.attributes.unwrap_or_default(),
            Err(StoreError::Changed) => return Ok(None),
            Err(StoreError::DynamoDb(error)) if is_held(&error) => return Ok(None),
            Err(error) => return Err(error),
        };

        let stored = Product::from(serde_dynamo::from_item::<_, Row>(stored)?);
        self.searched.index_mut().put(&stored);
        Ok(Some(stored))
    }
}

/// Returns whether the product is the one that was to be written, apart from the stock, which may have been sold from.
fn is_as_written(found: &Product, mut written: Product) -> bool {
    written.details.stock = found.details.stock;
    written.stock_version = found.stock_version;
    *found == written
}

/// Returns whether a transaction, such as a sale, was changing the same item.
fn is_held(error: &aws_sdk_dynamodb::Error) -> bool {
    matches!(
        error,
        aws_sdk_dynamodb::Error::TransactionConflictException(_)
    )
}

//! Changes a stored product. Within this process, changes of one product take turns, so that they
//! seldom conflict. A change by another process fails the condition on the version, and the change is
//! tried again.
//!
//! A change that does not name the stock does not write it, because orders may take from it meanwhile.
//!
//! The AWS client repeats a request whose reply was lost. The condition of the repeated request then
//! fails, because the first one has changed the version. The product is read again, and if it is as it
//! was to be written, the change counts as made.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use chassis::Backoff;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::{PRODUCTS, Row, Store, StoreError, failed, number, pause, text};
use crate::product::Product;

/// Number of locks; each is shared by the products whose ids have the same remainder.
const TURNS: usize = 64;
/// Maximum attempts of a change whose product other processes keep changing.
const ATTEMPTS: usize = 40;
/// Fields that a change never sets: the key, the listing and the time of creation.
const FIXED: [&str; 3] = ["id", "catalogue", "created_at"];
/// Fields that are not written unless the stock is changed.
const STOCK: [&str; 2] = ["stock", "stock_version"];
/// Fields that a product may lack.
const OPTIONAL: [&str; 2] = ["category", "stock"];

/// The turns in which this process changes products and their stock.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<[Mutex<()>; TURNS]>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }
}

impl Turns {
    async fn of(&self, id: Uuid) -> MutexGuard<'_, ()> {
        self.0[turn(id)].lock().await
    }

    /// Waits for the turns of all these products. Each caller waits in the same sequence of turns, so
    /// none waits for one that waits for it.
    pub(super) async fn of_all(&self, ids: &[Uuid]) -> Vec<MutexGuard<'_, ()>> {
        let turns: BTreeSet<usize> = ids.iter().copied().map(turn).collect();
        let mut held = Vec::with_capacity(turns.len());
        for turn in turns {
            held.push(self.0[turn].lock().await);
        }
        held
    }
}

fn turn(id: Uuid) -> usize {
    usize::try_from(id.as_u128() % TURNS as u128).expect("it is below 64")
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
    /// Changes a product by `change`, which is called with the stored product and returns its next
    /// version. It is called again if another process has changed the product meanwhile.
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

    /// Replaces `before` by `after`, and returns the stored product. Returns none if the product has
    /// changed meanwhile, or a transaction is changing it.
    async fn replace(
        &self,
        before: &Product,
        after: &Product,
    ) -> Result<Option<Product>, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(PRODUCTS)
            .key("id", text(after.id))
            .return_values(ReturnValue::AllNew);

        let update = on_condition(update, before, after);
        let update = with_fields(update, before, after)?;

        let outcome = update.send().await;
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

/// Adds the condition that the stored product is `before`.
fn on_condition(
    update: UpdateItemFluentBuilder,
    before: &Product,
    after: &Product,
) -> UpdateItemFluentBuilder {
    let mut condition = "#version = :before".to_owned();
    let mut update = update.expression_attribute_values(":before", number(before.version));

    if changes_stock(before, after) {
        // Products of earlier versions do not have the attribute.
        let absent = match before.stock_version {
            0 => "attribute_not_exists(#stock_version) OR ",
            _ => "",
        };
        condition += &format!(" AND ({absent}#stock_version = :stock_before)");
        update = update.expression_attribute_values(":stock_before", number(before.stock_version));
    }

    update.condition_expression(condition)
}

/// Adds an expression that sets the fields of `after` and removes the optional ones that it does
/// not have. A change that leaves the stock alone writes none of its fields.
fn with_fields(
    mut update: UpdateItemFluentBuilder,
    before: &Product,
    after: &Product,
) -> Result<UpdateItemFluentBuilder, StoreError> {
    let leaves_stock = !changes_stock(before, after);
    let is_left = |field: &str| FIXED.contains(&field) || (leaves_stock && STOCK.contains(&field));
    let item: HashMap<String, AttributeValue> = serde_dynamo::to_item(Row::from(after.clone()))?;

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

    Ok(update.update_expression(expression))
}

fn changes_stock(before: &Product, after: &Product) -> bool {
    before.stock_version != after.stock_version
}

/// Returns whether the product is as it was to be written, apart from the stock, which orders may have changed.
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

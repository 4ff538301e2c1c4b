//! Reservations of stock: one DynamoDB transaction takes from every product and stores the
//! reservation, or does nothing.
//!
//! The transaction's conditions on each product (its price and currency, and that enough is in
//! stock or that its stock is not counted) come from a read just before. If a condition fails,
//! everything is read and decided again. A refusal is therefore based on one consistent read of the
//! product that it names, and prices are those at the moment of the reservation.
//!
//! Two transactions on one product conflict, and DynamoDB cancels one. So the reservations of this
//! process take turns by product, in the order of their arrival; those of other processes are met by
//! another try. Without turns, many buyers of one product use up their attempts on each other.
//!
//! A released reservation is deleted by DynamoDB a week later, long after the last request that could
//! have its key. A held one is never deleted: only a release returns its stock, and an order may be
//! cancelled until it is shipped.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update};
use chassis::Backoff;
use events::Timestamp;
use uuid::Uuid;

use super::tables::{EXPIRES_AT, PRODUCTS, RESERVATIONS};
use super::{ATTEMPTS, Store, StoreError, failed, number, pause, text};
use crate::product::Product;
use crate::reservation::{Basket, Held, Reservation, Status};

/// The time for which a released key is kept. A request with the key may come until it is deleted;
/// the orders service gives up its own after two minutes.
const RELEASED_KEPT_SECONDS: u64 = 7 * 24 * 3600;

/// The outcome of [`Store::reserve`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reserved {
    /// Everything was reserved by this call.
    Now(Reservation),
    /// The same items were reserved before under this key.
    Before(Reservation),
    /// The key belongs to other items, or was released.
    KeyTaken(Status),
    /// The product does not exist; nothing is held.
    Unknown(Uuid),
    /// The product's stock is too low; nothing is held.
    Short(Box<Product>),
}

/// A reservation as DynamoDB stores it.
type Item = HashMap<String, AttributeValue>;

impl Store {
    /// Reserves everything in the basket, or nothing.
    ///
    /// # Errors
    /// Returns [`StoreError::Busy`] if every attempt conflicted with other writes or was throttled.
    pub async fn reserve(&self, basket: &Basket) -> Result<Reserved, StoreError> {
        let ids: Vec<Uuid> = basket.quantities.keys().copied().collect();
        let _turns = self.turns.of_all(&ids).await;
        let mut backoff = Backoff::default();
        for _ in 0..ATTEMPTS {
            if let Some(earlier) = self.reservation(&basket.key).await? {
                return Ok(judge(basket, earlier));
            }

            let products = self.get_all(&ids).await?;
            if let Some(refused) = refusal(basket, &products) {
                return Ok(refused);
            }

            let held = products
                .iter()
                .map(|product| hold(product, basket.quantities[&product.id]))
                .collect();

            let reservation = Reservation {
                key: basket.key.clone(),
                status: Status::Held,
                items: held,
            };
            let item = serde_dynamo::to_item(&reservation)?;
            let mut writes = vec![note(item, "attribute_not_exists(#id)")];
            writes.extend(reservation.items.iter().map(take));

            if self.transact(writes).await? {
                return Ok(Reserved::Now(reservation));
            }

            pause(&mut backoff).await;
        }

        Err(StoreError::Busy)
    }

    /// Puts the stock of the key's reservation back, once. A key without a reservation is marked as
    /// released and can never be reserved.
    ///
    /// # Errors
    /// Returns [`StoreError::Busy`] if every attempt conflicted with other writes or was throttled.
    pub async fn release(&self, key: &str, now: Timestamp) -> Result<(), StoreError> {
        let expires_at = number(now.as_ms() / 1000 + RELEASED_KEPT_SECONDS);
        let mut backoff = Backoff::default();
        for _ in 0..ATTEMPTS {
            let (items, condition) = match self.reservation(key).await? {
                None => (Vec::new(), "attribute_not_exists(#id)"),
                Some(Reservation {
                    status: Status::Released,
                    ..
                }) => return Ok(()),
                Some(held) => (held.items, "#status = :held"),
            };
            let ids: Vec<Uuid> = items.iter().map(|item| item.product_id).collect();
            let _turns = self.turns.of_all(&ids).await;
            let still_counted = self.still_counted(&items).await?;

            let released = Reservation {
                key: key.to_owned(),
                status: Status::Released,
                items,
            };
            let mut item: Item = serde_dynamo::to_item(&released)?;
            item.insert(EXPIRES_AT.to_owned(), expires_at.clone());
            let mut writes = vec![note(item, condition)];
            writes.extend(still_counted.iter().map(give_back));

            if self.transact(writes).await? {
                return Ok(());
            }

            pause(&mut backoff).await;
        }

        Err(StoreError::Busy)
    }

    /// Returns the reservation under the key, if it exists.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn reservation(&self, key: &str) -> Result<Option<Reservation>, StoreError> {
        let key = AttributeValue::S(key.to_owned());
        let get = self
            .client
            .get_item()
            .table_name(RESERVATIONS)
            .key("id", key)
            .consistent_read(true);
        let found = get.send().await.map_err(failed)?;

        Ok(found.item.map(serde_dynamo::from_item).transpose()?)
    }

    /// Returns the items that were taken from a counted stock, whose products still exist and are
    /// still counted.
    async fn still_counted(&self, items: &[Held]) -> Result<Vec<Held>, StoreError> {
        let ids: Vec<Uuid> = items.iter().map(|item| item.product_id).collect();
        let products = self.get_all(&ids).await?;
        let is_counted = |id| {
            products
                .iter()
                .any(|product| product.id == id && product.details.stock.is_some())
        };

        Ok(items
            .iter()
            .filter(|item| item.counted && is_counted(item.product_id))
            .cloned()
            .collect())
    }

    /// Writes all or nothing. Returns `false` if a condition failed, another transaction
    /// conflicted, or DynamoDB throttled: a later attempt may succeed.
    async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<bool, StoreError> {
        let outcome = self
            .client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await;

        match outcome.map_err(failed) {
            Ok(_) => Ok(true),
            Err(StoreError::DynamoDb(error)) if may_succeed_later(&error) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

fn note(item: Item, condition: &str) -> TransactWriteItem {
    let mut put = Put::builder().table_name(RESERVATIONS).set_item(Some(item));
    put = put.condition_expression(condition);

    put = if condition.contains("#status") {
        put.expression_attribute_names("#status", "status")
            .expression_attribute_values(":held", AttributeValue::S("held".to_owned()))
    } else {
        put.expression_attribute_names("#id", "id")
    };

    let put = put.build().expect("table and item are set");
    TransactWriteItem::builder().put(put).build()
}

fn take(item: &Held) -> TransactWriteItem {
    if item.counted {
        let condition = "stock >= :quantity AND price_cents = :price AND currency = :currency";
        let update = change_stock(
            item,
            "SET stock = stock - :quantity, stock_version = if_not_exists(stock_version, :none) + :one",
        );
        let update = update.condition_expression(condition);
        let update = update.expression_attribute_values(":price", number(item.unit_price_cents));
        let update = update
            .expression_attribute_values(":currency", AttributeValue::S(item.currency.clone()));
        let update = update.build().expect("table, key and expression are set");
        return TransactWriteItem::builder().update(update).build();
    }

    let condition = "attribute_not_exists(stock) AND price_cents = :price AND currency = :currency";
    let check = ConditionCheck::builder()
        .table_name(PRODUCTS)
        .key("id", text(item.product_id));
    let check = check.condition_expression(condition);
    let check = check.expression_attribute_values(":price", number(item.unit_price_cents));
    let check =
        check.expression_attribute_values(":currency", AttributeValue::S(item.currency.clone()));

    TransactWriteItem::builder()
        .condition_check(check.build().expect("table, key and condition are set"))
        .build()
}

fn give_back(item: &Held) -> TransactWriteItem {
    let update = change_stock(
        item,
        "SET stock = stock + :quantity, stock_version = if_not_exists(stock_version, :none) + :one",
    );
    let update = update.condition_expression("attribute_exists(stock)");

    TransactWriteItem::builder()
        .update(update.build().expect("table, key and expression are set"))
        .build()
}

fn change_stock(item: &Held, change: &str) -> UpdateBuilder {
    let update = Update::builder()
        .table_name(PRODUCTS)
        .key("id", text(item.product_id));
    let update = update
        .update_expression(change)
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":none", number(0));
    update.expression_attribute_values(":quantity", number(item.quantity))
}

/// Returns the outcome when the key already has a reservation.
fn judge(basket: &Basket, earlier: Reservation) -> Reserved {
    match earlier.status {
        Status::Held if basket.is_of(&earlier) => Reserved::Before(earlier),
        status => Reserved::KeyTaken(status),
    }
}

/// Returns the first reason why the basket cannot be reserved, if any.
fn refusal(basket: &Basket, products: &[Product]) -> Option<Reserved> {
    for (id, quantity) in &basket.quantities {
        let Some(product) = products.iter().find(|product| product.id == *id) else {
            return Some(Reserved::Unknown(*id));
        };
        if product.details.stock.is_some_and(|stock| stock < *quantity) {
            return Some(Reserved::Short(Box::new(product.clone())));
        }
    }
    None
}

fn hold(product: &Product, quantity: u64) -> Held {
    Held {
        product_id: product.id,
        name: Some(product.details.name.clone()),
        category: product.details.category.clone(),
        quantity,
        unit_price_cents: product.details.price_cents,
        currency: product.details.currency.clone(),
        counted: product.details.stock.is_some(),
    }
}

/// Returns whether the only causes are failed conditions, conflicts with other transactions on the
/// same items, or throttling.
fn may_succeed_later(error: &aws_sdk_dynamodb::Error) -> bool {
    use aws_sdk_dynamodb::Error::{TransactionCanceledException, TransactionConflictException};

    match error {
        TransactionConflictException(_) => true,
        TransactionCanceledException(cancelled) => {
            let passes = [
                "None",
                "ConditionalCheckFailed",
                "TransactionConflict",
                "ThrottlingError",
            ];

            let mut codes = cancelled
                .cancellation_reasons()
                .iter()
                .filter_map(|reason| reason.code());
            codes.all(|code| passes.contains(&code))
        }
        _ => false,
    }
}

//! Reservations of stock: one DynamoDB transaction takes from every product and notes the reservation, or does nothing.
//!
//! What the transaction asserts of each product (its price, that enough is there, or that nobody counts) was read just
//! before. When it no longer holds, everything is read again and decided anew; so a refusal always rests on what was
//! there at one moment, and prices are those of the moment of the reservation.

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update};
use chassis::Backoff;
use uuid::Uuid;

use super::tables::{PRODUCTS, RESERVATIONS};
use super::{ATTEMPTS, Store, StoreError, failed, number, pause, text};
use crate::product::Product;
use crate::reservation::{Basket, Held, Reservation, Status};

/// What came of the wish to reserve.
#[derive(Clone, Debug, PartialEq)]
pub enum Reserved {
    /// Everything is held now.
    Now(Reservation),
    /// The same was reserved before under this key.
    Before(Reservation),
    /// The key stands for other items, or was released.
    KeyTaken(Status),
    /// There is no such product; nothing is held.
    Unknown(Uuid),
    /// Too little is there; nothing is held.
    Short(Box<Product>),
}

impl Store {
    /// Reserves everything in the basket, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when other reservations kept getting in between.
    pub async fn reserve(&self, basket: &Basket) -> Result<Reserved, StoreError> {
        let ids: Vec<Uuid> = basket.quantities.keys().copied().collect();
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
            let mut writes = vec![note(&reservation, "attribute_not_exists(#id)")?];
            writes.extend(reservation.items.iter().map(take));

            if self.transact(writes).await? {
                return Ok(Reserved::Now(reservation));
            }

            pause(&mut backoff).await;
        }

        Err(StoreError::Busy)
    }

    /// Gives back what the key holds, once. A key that holds nothing yet never will.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when other reservations kept getting in between.
    pub async fn release(&self, key: &str) -> Result<(), StoreError> {
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
            let still_counted = self.still_counted(&items).await?;

            let released = Reservation {
                key: key.to_owned(),
                status: Status::Released,
                items,
            };
            let mut writes = vec![note(&released, condition)?];
            writes.extend(still_counted.iter().map(give_back));

            if self.transact(writes).await? {
                return Ok(());
            }

            pause(&mut backoff).await;
        }

        Err(StoreError::Busy)
    }

    /// The reservation under the key, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
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

    /// What was taken from a stock that is still there and counted.
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

    /// Writes all or nothing; `false` when a condition did not hold or another transaction was in the way.
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

fn note(reservation: &Reservation, condition: &str) -> Result<TransactWriteItem, StoreError> {
    let item = serde_dynamo::to_item(reservation)?;
    let mut put = Put::builder().table_name(RESERVATIONS).set_item(Some(item));
    put = put.condition_expression(condition);

    put = if condition.contains("#status") {
        put.expression_attribute_names("#status", "status")
            .expression_attribute_values(":held", AttributeValue::S("held".to_owned()))
    } else {
        put.expression_attribute_names("#id", "id")
    };

    let put = put.build().expect("table and item are set");
    Ok(TransactWriteItem::builder().put(put).build())
}

fn take(item: &Held) -> TransactWriteItem {
    if item.counted {
        let condition = "stock >= :quantity AND price_cents = :price AND currency = :currency";
        let update = change_stock(
            item,
            "SET stock = stock - :quantity, version = version + :one",
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
        "SET stock = stock + :quantity, version = version + :one",
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
        .expression_attribute_values(":one", number(1));
    update.expression_attribute_values(":quantity", number(item.quantity))
}

/// A reservation that stands under the key already.
fn judge(basket: &Basket, earlier: Reservation) -> Reserved {
    match earlier.status {
        Status::Held if basket.is_of(&earlier) => Reserved::Before(earlier),
        status => Reserved::KeyTaken(status),
    }
}

/// Why the basket cannot be had, if so.
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
        quantity,
        unit_price_cents: product.details.price_cents,
        currency: product.details.currency.clone(),
        counted: product.details.stock.is_some(),
    }
}

/// Whether all that was wrong is a condition that did not hold, or another transaction on the same items.
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

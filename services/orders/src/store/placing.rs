//! Stores an order: its row, its items, its event and its reply, in one transaction.

use std::time::Duration;

use chassis::sql::is_duplicate;
use events::{Timestamp, numbers_of};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::{
    KeyClaim, Reply, Store, StoreError, UnpaidLimit, claims, millis, outgoing, signed, unpaid,
};
use crate::delivery::Delivery;
use crate::order::{Order, Priced};
use crate::status::Status;

const INSERT_ORDER: &str = "INSERT INTO orders \
                            (id, user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms, expires_at_ms, delivery) \
                            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const INSERT_ITEMS: &str = "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents, name, category) VALUES ";
const ITEM: &str = "(?, ?, ?, ?, ?, ?, ?)";
const KEEP_REPLY: &str = "UPDATE idempotency_keys SET reply = ? WHERE reservation_key = ?";

/// The data that is stored as an order.
#[derive(Clone, Debug)]
pub struct Placement {
    pub priced: Priced,
    pub delivery: Option<Delivery>,
    /// The `traceparent` of the request.
    pub traceparent: Option<String>,
    /// The time that the order may stay unpaid.
    pub unpaid_for: Duration,
    /// The limit of its account's unpaid orders.
    pub limit: Option<UnpaidLimit>,
}

/// The outcome of [`Store::place`].
#[derive(Debug)]
pub enum PlaceOutcome {
    /// The order is stored; this is the reply.
    Placed(Reply),
    /// A request with the same idempotency key stored its order first; this is its reply.
    Replied(Reply),
    /// The claim was given up in the meantime; nothing was stored.
    ClaimGone,
}

impl Store {
    /// Stores the order of the claim.
    pub async fn place(
        &self,
        claim: &KeyClaim,
        placement: Placement,
    ) -> Result<PlaceOutcome, StoreError> {
        let mut transaction = self.database.write().await?;
        if !claims::take(transaction.connection(), claim).await? {
            let kept = claims::kept_reply(transaction.connection(), claim).await?;
            return Ok(kept.map_or(PlaceOutcome::ClaimGone, PlaceOutcome::Replied));
        }

        let Placement {
            traceparent, limit, ..
        } = placement.clone();
        let categories = placement.priced.categories.clone();
        let mut order = order(claim, placement);
        order.id = insert_order(transaction.connection(), claim, &order).await?;
        insert_items(transaction.connection(), &order, &categories).await?;
        outgoing::created(transaction.connection(), &order, traceparent).await?;

        let reply = Reply(serde_json::to_string(&order)?);
        if claim.idempotency_key.is_some() {
            let keep = sqlx::query(KEEP_REPLY)
                .bind(&reply.0)
                .bind(claim.reservation_key.to_string());
            keep.execute(transaction.connection()).await?;
        }

        // This is the last step, because orders of one account wait here for each other.
        unpaid::add(transaction.connection(), &order, limit).await?;
        transaction.commit().await?;
        Ok(PlaceOutcome::Placed(reply))
    }
}

/// Returns the order to store, which has no id yet.
fn order(claim: &KeyClaim, placement: Placement) -> Order {
    let unpaid_ms = u64::try_from(placement.unpaid_for.as_millis()).unwrap_or(u64::MAX);
    Order {
        id: 0,
        user_id: claim.user_id,
        status: Status::Pending,
        total_cents: placement.priced.total_cents,
        currency: placement.priced.currency,
        items: placement.priced.items,
        created_at: claim.now,
        updated_at: claim.now,
        expires_at: Timestamp::from_ms(claim.now.as_ms().saturating_add(unpaid_ms)),
        delivery: placement.delivery,
    }
}

/// Inserts the order under the first of its numbers that is free, and returns that number.
async fn insert_order(
    connection: &mut AnyConnection,
    claim: &KeyClaim,
    order: &Order,
) -> Result<i64, StoreError> {
    let delivery = order.delivery.as_ref().map(serde_json::to_string);
    let delivery = delivery.transpose()?;

    // The last bits of a UUID are random, in version 4 and in version 7.
    let chance = claim.reservation_key.as_u64_pair().1;
    for number in numbers_of(order.created_at, chance) {
        let insert = sqlx::query(INSERT_ORDER)
            .bind(number)
            .bind(order.user_id)
            .bind(order.status.name())
            .bind(signed(order.total_cents)?)
            .bind(&order.currency)
            .bind(claim.reservation_key.to_string())
            .bind(millis(order.created_at))
            .bind(millis(order.updated_at))
            .bind(order.expires_at.map(millis))
            .bind(&delivery);

        match insert.execute(&mut *connection).await {
            Ok(_) => return Ok(number),
            // Another order of this millisecond already has the number.
            Err(error) if is_duplicate(&error) => {}
            Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
                return Err(StoreError::NoUser);
            }
            Err(error) => return Err(error.into()),
        }
    }

    Err(StoreError::Contended)
}

/// Inserts all items by one statement. An order has at least one.
async fn insert_items(
    connection: &mut AnyConnection,
    order: &Order,
    categories: &[Option<String>],
) -> Result<(), sqlx::Error> {
    // Only the number of placeholders depends on the order.
    let rows = vec![ITEM; order.items.len()].join(", ");
    let mut insert = sqlx::query(AssertSqlSafe(format!("{INSERT_ITEMS}{rows}")));
    for ((line, item), category) in (0_i64..).zip(&order.items).zip(categories) {
        insert = insert
            .bind(order.id)
            .bind(line)
            .bind(item.product_id.to_string())
            .bind(i64::from(item.quantity))
            .bind(signed(item.unit_price_cents)?)
            .bind(&item.name)
            .bind(category);
    }

    insert.execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chassis::sql::connect;
    use events::Timestamp;
    use uuid::Uuid;

    use super::{PlaceOutcome, Placement};
    use crate::order::{Item, Order, Priced};
    use crate::store::{ClaimOutcome, KeyClaim, Store};

    fn placement() -> Placement {
        let item = Item {
            product_id: Uuid::from_u128(7),
            quantity: 1,
            unit_price_cents: 5,
            name: None,
        };
        let priced = Priced {
            items: vec![item],
            categories: vec![None],
            total_cents: 5,
            currency: "USD".into(),
        };
        Placement {
            priced,
            delivery: None,
            traceparent: None,
            unpaid_for: Duration::from_secs(60),
            limit: None,
        }
    }

    /// Places an order under this key at this moment, and returns its number.
    async fn place(store: &Store, now: Timestamp, reservation_key: u128) -> i64 {
        let claim = KeyClaim {
            user_id: 1,
            idempotency_key: None,
            fingerprint: String::new(),
            reservation_key: Uuid::from_u128(reservation_key),
            now,
        };
        let claimed = store.claim(claim.clone(), 1, None).await.unwrap();
        assert!(matches!(claimed, ClaimOutcome::Claimed(_)), "{claimed:?}");

        let placed = store.place(&claim, placement()).await.unwrap();
        let PlaceOutcome::Placed(reply) = placed else {
            panic!("{placed:?}");
        };
        let order: Order = serde_json::from_str(&reply.0).unwrap();
        order.id
    }

    #[tokio::test]
    async fn orders_that_draw_the_same_number_are_both_stored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        let database = connect(&format!("sqlite://{}", file.display())).unwrap();
        users::migrate(&database).await.unwrap();
        crate::migrate(&database).await.unwrap();
        let mut transaction = database.write().await.unwrap();
        sqlx::query(
            "INSERT INTO users (id, name, email, created_at_ms) VALUES (1, 'A', 'a@test.com', 0)",
        )
        .execute(transaction.connection())
        .await
        .unwrap();
        transaction.commit().await.unwrap();

        let store = Store::new(database);
        let now = Timestamp::now();
        // The last twelve bits of the keys are equal.
        let first = place(&store, now, 0x1fff).await;
        let second = place(&store, now, 0x2fff).await;
        assert_eq!(second, first - 0xfff);

        for number in [first, second] {
            assert_eq!(store.get(number).await.unwrap().unwrap().items.len(), 1);
        }
    }
}

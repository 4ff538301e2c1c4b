//! The platform's books at the end: the audit, the mailbox, the stock and the topic, each compared
//! with the orders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use events::OrderCreated;
use record_log::RecordLog;
use reqwest::Url;
use uuid::Uuid;

use super::customers::Customers;
use super::{EndToEndError, Result};
use crate::counterparts::mariadb;
use crate::orders_as_sql;
use crate::shop::{STOCK, Shop};

/// The time limit for the stock. Stock of an abandoned claim is released after two minutes; the
/// search for such claims runs four times a minute.
const STOCK_LIMIT: Duration = Duration::from_secs(240);
/// Finds the remains of incomplete orders, and rows that must be gone when all orders are complete.
const HALVES: &str = "
SELECT CONCAT('order ', id, ' has no items') FROM orders WHERE id NOT IN (SELECT order_id FROM order_items);
SELECT CONCAT('order ', id, ' does not cost what its items do') FROM orders JOIN
  (SELECT order_id, SUM(quantity * unit_price_cents) AS cents FROM order_items GROUP BY order_id) AS items
  ON order_id = id WHERE cents <> total_cents;
SELECT CONCAT('the event ', id, ' waits to be published') FROM outbox;
SELECT CONCAT('batch ', batch, ' has a row that is gone') FROM outbox_batches;
SELECT CONCAT('the claim ', reservation_key, ' is of no order') FROM stock_claims;
";
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The event of each order's message.
pub(crate) type Notified = BTreeMap<u64, Uuid>;

/// Waits until the platform's own audit has closed every minute and found no difference. Until then
/// a difference may appear and vanish, while orders are counted that waited for a process to come
/// back.
pub(crate) fn wait_until_balanced(shop: &Shop, customers: &Customers) -> Result<()> {
    wait(customers.patience, || {
        let audit = shop.audit()?;
        if audit.open_minutes == 0 && audit.balanced && audit.stored == audit.counted {
            println!("the audit finds no difference: {}", audit.stored);
            return Ok(Ok(()));
        }
        Ok(Err(format!("the audit's result is {audit:?}")))
    })
}

/// Waits until every order has its message. No order may have two, and each message must belong to
/// an order.
pub(crate) fn wait_until_notified(shop: &Shop, customers: &Customers) -> Result<Notified> {
    let ordered: BTreeSet<_> = customers
        .acknowledged
        .iter()
        .map(|order| order.id)
        .collect();

    wait(customers.patience, || {
        let mut notified = Notified::new();
        for message in shop
            .notifications()?
            .into_iter()
            .filter(|message| customers.users.contains(&message.user_id))
        {
            if notified.insert(message.order_id, message.id).is_some() {
                return Err(books(format!(
                    "order {} has two messages",
                    message.order_id
                )));
            }
            if !ordered.contains(&message.order_id) {
                return Err(books(format!(
                    "a message names order {}, which does not exist",
                    message.order_id
                )));
            }
        }

        if notified.len() == ordered.len() {
            println!("each of {} orders has one message", notified.len());
            return Ok(Ok(notified));
        }

        Ok(Err(format!(
            "{1} of {0} orders have a message",
            ordered.len(),
            notified.len()
        )))
    })
}

/// Waits until the stock is less by exactly the sold quantity: abandoned claims have released
/// theirs.
pub(crate) fn wait_until_stock_is_back(shop: &Shop, customers: &Customers) -> Result<()> {
    let sold = customers.sold();
    wait(STOCK_LIMIT, || {
        let left = shop.stock(&customers.product)?;
        if left == STOCK - sold {
            println!("the stock is less by exactly the sold quantity, {sold}");
            return Ok(Ok(()));
        }

        Ok(Err(format!(
            "{sold} of {STOCK} were sold, and {left} are left"
        )))
    })
}

/// Waits until SQL at this address contains complete orders, and nothing of any other.
pub(super) fn wait_until_whole(mysql: &Url) -> Result<()> {
    wait(STOCK_LIMIT, || {
        let halves = mariadb::query(mysql, HALVES)?;
        if halves.is_empty() {
            println!("SQL holds only complete orders");
            return Ok(Ok(()));
        }
        Ok(Err(halves))
    })
}

/// Checks that every order is on the topic once, with the event of its message, and that the topic
/// has nothing else of these customers.
pub(crate) fn compare_topic(
    log: &dyn RecordLog,
    customers: &Customers,
    notified: &Notified,
) -> Result<()> {
    let mut events: Vec<OrderCreated> = orders_as_sql::read_events(log)?.orders;
    events.retain(|event| customers.users.contains(&event.user_id));
    let mut published: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.order_id,
                event.user_id,
                event.total_cents,
                Some(&event.event_id),
            )
        })
        .collect();

    let stored = customers.acknowledged.iter();
    let mut stored: Vec<_> = stored
        .map(|order| {
            (
                order.id,
                order.user_id,
                order.total_cents,
                notified.get(&order.id),
            )
        })
        .collect();

    published.sort_unstable();
    stored.sort_unstable();
    if stored == published {
        println!("each of {} orders is on the topic once", stored.len());
        return Ok(());
    }

    let first = stored
        .iter()
        .zip(&published)
        .find(|(stored, published)| stored != published);

    let stored = stored.len();
    let published = published.len();
    Err(books(format!(
        "{stored} orders are stored, {published} published; the first difference: {first:?}"
    )))
}

/// Repeats a check until it succeeds. An inner error is a difference that may still vanish.
fn wait<T>(
    limit: Duration,
    mut look: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match look()? {
            Ok(as_it_must_be) => return Ok(as_it_must_be),
            Err(not_yet) if started.elapsed() > limit => return Err(books(not_yet)),
            Err(_) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

fn books(difference: String) -> EndToEndError {
    EndToEndError::Books(difference)
}

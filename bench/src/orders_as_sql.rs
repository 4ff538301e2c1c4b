//! `bench orders-as-sql`: prints the orders of the topic as statements for MySQL, for a database
//! that was restored from a backup.
//!
//! Orders placed after the backup are only on the topic. The statements add rows that the database
//! lacks and change no existing ones, so they may be run twice:
//!
//! - a customer who signed up after the backup gets a nameless account with the old id, because
//!   orders refer to it;
//! - an order gets its row and its items as they were when it was placed, and then its last state
//!   on the topic; its address and its payments are not on the topic;
//! - an unpaid order expires a day after it was placed, and each account's unpaid orders are
//!   counted again;
//! - a row of the outbox whose event is on the topic is deleted: the relay would publish it
//!   again.
//!
//! Explicit ids advance AUTO_INCREMENT, so no later order gets the number of an earlier one.

use std::fmt::{Display, Write};
use std::io;

use events::{ORDER_PAID, ORDERS, OrderChanged, OrderCreated};
use record_log::{LogSettings, RecordLog};
use serde::Deserialize;

use crate::read::{self, ReadError};

/// Rows of one statement: far below the packet size of any server.
const ROWS: usize = 200;
/// The longest time for which a restored order may stay unpaid.
const UNPAID_MS: u64 = 24 * 3_600_000;
/// Counts the unpaid orders of each account.
const COUNT_UNPAID: &str = "DELETE FROM unpaid_orders;
INSERT INTO unpaid_orders (user_id, orders, pieces)
  SELECT o.user_id, COUNT(DISTINCT o.id), SUM(i.quantity) FROM orders o JOIN order_items i ON i.order_id = o.id
  WHERE o.status = 'pending' GROUP BY o.user_id;
";

/// Prints the orders of the topic as SQL that adds those that a restored database lacks.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Kafka's brokers as `host:port`, comma separated.
    #[arg(long, env = "TIDEMARK_BROKERS")]
    brokers: String,
    /// Property for librdkafka, such as `security.protocol=SASL_SSL`; repeat the flag for more.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

/// The reason why there are no statements.
#[derive(Debug, thiserror::Error)]
pub enum OrdersAsSqlError {
    /// The topic could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Args {
    /// Reads the topic and prints the statements.
    ///
    /// # Errors
    /// [`OrdersAsSqlError`].
    pub fn run(self) -> Result<(), OrdersAsSqlError> {
        let settings = LogSettings::Kafka {
            brokers: self.brokers,
            properties: self.properties,
        };
        let log = record_log::open(&settings).map_err(ReadError::from)?;

        Ok(io::Write::write_all(
            &mut io::stdout(),
            of(&*log)?.as_bytes(),
        )?)
    }
}

fn property(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The events of the topic.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// The orders that were placed.
    pub orders: Vec<OrderCreated>,
    /// The states that the orders entered later. Those of one order are in the order in which it
    /// entered them.
    pub changes: Vec<OrderChanged>,
}

/// An event of the topic. The two differ in their fields.
#[derive(Deserialize)]
#[serde(untagged)]
enum Event {
    Created(OrderCreated),
    Changed(OrderChanged),
}

/// Reads the events of the topic.
///
/// # Errors
/// [`ReadError`], also if a record is not one of these events.
pub fn read_events(log: &dyn RecordLog) -> Result<Events, ReadError> {
    let mut events = Events::default();
    for event in read::all_json(log, ORDERS)? {
        match event {
            Event::Created(order) => events.orders.push(order),
            Event::Changed(change) => events.changes.push(change),
        }
    }
    Ok(events)
}

/// Returns the statements for the orders on the log.
///
/// # Errors
/// [`ReadError`], also if a record is not one of these events.
pub fn of(log: &dyn RecordLog) -> Result<String, ReadError> {
    Ok(statements(&read_events(log)?))
}

/// Returns the statements that restore these orders. Pure.
pub fn statements(events: &Events) -> String {
    let orders = &events.orders;
    let mut sql = String::from("SET NAMES utf8mb4;\nSTART TRANSACTION;\n");
    let mut users: Vec<_> = orders
        .iter()
        .map(|order| (order.user_id, order.created_at.as_ms()))
        .collect();
    users.sort_unstable();
    users.dedup_by_key(|(user, _)| *user);

    let user = |(id, ms): &(u64, u64)| {
        format!("({id}, 'Restored user {id}', 'restored-{id}@invalid', {ms})")
    };

    insert(
        &mut sql,
        "users (id, name, email, created_at_ms)",
        "id",
        users.iter().map(user),
    );

    let columns = "orders (id, user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms, expires_at_ms)";
    insert(&mut sql, columns, "id", orders.iter().map(order_row));
    let columns = "order_items (order_id, line, product_id, quantity, unit_price_cents)";

    insert(
        &mut sql,
        columns,
        "order_id",
        orders.iter().flat_map(item_rows),
    );

    events
        .changes
        .iter()
        .for_each(|change| sql += &update(change));
    if !orders.is_empty() {
        sql += COUNT_UNPAID;
    }

    let created = orders.iter().map(|order| order.event_id);
    let changed = events.changes.iter().map(|change| change.event_id);
    let published: Vec<_> = created.chain(changed).collect();
    for ids in published.chunks(ROWS) {
        let ids = list(ids.iter().map(text));
        let batches = format!(
            "DELETE FROM outbox_batches WHERE outbox_seq IN (SELECT seq FROM outbox WHERE id IN ({ids}));"
        );
        sql += &format!("{batches}\nDELETE FROM outbox WHERE id IN ({ids});\n");
    }

    sql + "COMMIT;\n"
}

/// Returns the row of an order. It gets a new reservation key, because events do not contain the
/// old one.
fn order_row(order: &OrderCreated) -> String {
    let OrderCreated {
        order_id,
        user_id,
        total_cents,
        ..
    } = order;

    let currency = text(&order.currency);
    let event = text(order.event_id);
    let ms = order.created_at.as_ms();
    let expires_ms = ms + UNPAID_MS;
    format!(
        "({order_id}, {user_id}, 'pending', {total_cents}, {currency}, {event}, {ms}, {ms}, {expires_ms})"
    )
}

/// Returns the statement for a state that an order entered, if the database has an earlier one.
fn update(change: &OrderChanged) -> String {
    let event_type = change.event_type.as_str();
    let status = text(event_type.strip_prefix("order.").unwrap_or(event_type));
    let ms = change.changed_at.as_ms();
    let id = change.order_id;
    // The topic does not contain the id of the payment.
    let paid_by = match event_type {
        ORDER_PAID => ", paid_by = 'restored'",
        _ => "",
    };

    format!(
        "UPDATE orders SET status = {status}, updated_at_ms = {ms}{paid_by} WHERE id = {id} AND updated_at_ms <= {ms};\n"
    )
}

fn item_rows(order: &OrderCreated) -> impl Iterator<Item = String> {
    order.items.iter().enumerate().map(|(line, item)| {
        let product = text(item.product_id);
        format!(
            "({}, {line}, {product}, {}, {})",
            order.order_id, item.quantity, item.unit_price_cents
        )
    })
}

/// Inserts the rows that are missing. `INSERT IGNORE` would also hide rows that violate a foreign
/// key.
fn insert(sql: &mut String, columns: &str, key: &str, rows: impl Iterator<Item = String>) {
    let rows: Vec<String> = rows.collect();
    for rows in rows.chunks(ROWS) {
        let rows = rows.join(",\n  ");
        writeln!(
            sql,
            "INSERT INTO {columns} VALUES\n  {rows}\n  ON DUPLICATE KEY UPDATE {key} = {key};"
        )
        .expect("writing to a string cannot fail");
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// Returns a literal. Events come from the log, so they may contain quotes.
fn text(value: impl Display) -> String {
    format!(
        "'{}'",
        value.to_string().replace('\\', "\\\\").replace('\'', "''")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> OrderCreated {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_order_becomes_its_rows_and_leaves_the_outbox() {
        let order = order(
            r#"{"event_id":"0198c0de-0000-7000-8000-000000000001","event_type":"order.created","order_id":7,"user_id":42,
                "total_cents":3998,"currency":"U'D","items":[{"product_id":"0198c0de-0000-7000-8000-000000000002",
                "quantity":2,"unit_price_cents":1999}],"created_at":"1970-01-01T00:00:01.000Z"}"#,
        );
        let changed = |event_type: &str, at: &str| OrderChanged {
            event_id: "0198c0de-0000-7000-8000-000000000003".parse().unwrap(),
            event_type: event_type.to_owned(),
            version: 1,
            order_id: 7,
            user_id: 42,
            total_cents: 3998,
            currency: "USD".to_owned(),
            changed_at: at.parse().unwrap(),
        };
        let sql = statements(&Events {
            orders: vec![order],
            changes: vec![
                changed("order.paid", "1970-01-01T00:00:02.000Z"),
                changed("order.shipped", "1970-01-01T00:00:03.000Z"),
            ],
        });

        for part in [
            "(42, 'Restored user 42', 'restored-42@invalid', 1000)",
            "(7, 42, 'pending', 3998, 'U''D', '0198c0de-0000-7000-8000-000000000001', 1000, 1000, 86401000)",
            "(7, 0, '0198c0de-0000-7000-8000-000000000002', 2, 1999)",
            "SET status = 'paid', updated_at_ms = 2000, paid_by = 'restored' WHERE id = 7 AND updated_at_ms <= 2000;",
            "SET status = 'shipped', updated_at_ms = 3000 WHERE id = 7 AND updated_at_ms <= 3000;",
            "DELETE FROM outbox WHERE id IN ('0198c0de-0000-7000-8000-000000000001', '0198c0de-0000-7000-8000-000000000003', '0198c0de-0000-7000-8000-000000000003');",
        ] {
            assert!(sql.contains(part), "{part} is not in\n{sql}");
        }
    }

    #[test]
    fn a_topic_without_orders_becomes_a_transaction_that_does_nothing() {
        assert_eq!(
            statements(&Events::default()),
            "SET NAMES utf8mb4;\nSTART TRANSACTION;\nCOMMIT;\n"
        );
    }
}

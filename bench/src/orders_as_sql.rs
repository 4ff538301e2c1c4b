//! `bench orders-as-sql`: prints the orders of the topic as statements for MySQL, for a database
//! that was restored from a backup.
//!
//! Orders placed after the backup are only on the topic. The statements add rows that the database
//! lacks and change no existing ones, so they may be run twice:
//!
//! - a customer who signed up after the backup gets a nameless account with the old id, because
//!   orders refer to it;
//! - an order gets its row and its items as they were when it was placed; later changes are not
//!   known;
//! - a row of the outbox whose event is on the topic is deleted: the relay would publish it
//!   again.
//!
//! Explicit ids advance AUTO_INCREMENT, so no later order gets the number of an earlier one.

use std::fmt::{Display, Write};
use std::io;

use events::{ORDERS, OrderCreated};
use record_log::{LogSettings, RecordLog};

use crate::read::{self, ReadError};

/// Rows of one statement: far below the packet size of any server.
const ROWS: usize = 200;

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

/// Returns the statements for the orders on the log.
///
/// # Errors
/// [`ReadError`], also if a record is no order.
pub fn of(log: &dyn RecordLog) -> Result<String, ReadError> {
    Ok(statements(&read::all_json(log, ORDERS)?))
}

/// Returns the statements that restore these orders. Pure.
pub fn statements(orders: &[OrderCreated]) -> String {
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

    let columns = "orders (id, user_id, status, total_cents, currency, reservation_key, created_at_ms, updated_at_ms)";
    insert(&mut sql, columns, "id", orders.iter().map(order_row));
    let columns = "order_items (order_id, line, product_id, quantity, unit_price_cents)";

    insert(
        &mut sql,
        columns,
        "order_id",
        orders.iter().flat_map(item_rows),
    );

    for events in orders.chunks(ROWS) {
        let ids = list(events.iter().map(|order| text(order.event_id)));
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
    format!("({order_id}, {user_id}, 'pending', {total_cents}, {currency}, {event}, {ms}, {ms})")
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
        .expect("a string takes everything");
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
    fn an_order_becomes_its_customer_its_row_and_its_items_and_leaves_the_outbox() {
        let sql = statements(&[order(
            r#"{"event_id":"0198c0de-0000-7000-8000-000000000001","event_type":"order.created","order_id":7,"user_id":42,
                "total_cents":3998,"currency":"U'D","items":[{"product_id":"0198c0de-0000-7000-8000-000000000002",
                "quantity":2,"unit_price_cents":1999}],"created_at":"1970-01-01T00:00:01.000Z"}"#,
        )]);

        for part in [
            "(42, 'Restored user 42', 'restored-42@invalid', 1000)",
            "(7, 42, 'pending', 3998, 'U''D', '0198c0de-0000-7000-8000-000000000001', 1000, 1000)",
            "(7, 0, '0198c0de-0000-7000-8000-000000000002', 2, 1999)",
            "DELETE FROM outbox WHERE id IN ('0198c0de-0000-7000-8000-000000000001');",
        ] {
            assert!(sql.contains(part), "{part} is not in\n{sql}");
        }
    }

    #[test]
    fn a_topic_without_orders_becomes_a_transaction_that_does_nothing() {
        assert_eq!(
            statements(&[]),
            "SET NAMES utf8mb4;\nSTART TRANSACTION;\nCOMMIT;\n"
        );
    }
}

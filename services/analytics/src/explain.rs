//! Explains a count: which orders of a user are in it, by the records of the log. Pure, but for
//! [`scan`], which reads them.
//!
//! The job's decisions are in the log. A record that came too late, or that the job rejected, is on
//! `orders-late` or `orders-dead-letter`, with its partition and offset in headers. An event that is
//! in a partition twice counts once, at its first record, by its id. Every other order of the window
//! is counted. So an explanation needs neither a checkpoint nor a clock.
//!
//! The published count proves it: if the counted orders have the same number and totals, these are
//! the orders behind the count. If not, an order may have come since, or records were not read,
//! which the explanation then names.

pub mod scan;

use std::collections::{BTreeMap, HashMap, HashSet};

use events::{
    Amount, Amounts, CountedOrder, Currency, ORDER_CREATED, ORDERS, Timestamp, WindowCount,
};
use record_log::{Offset, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The headers that name the origin of a record on the side topics, and why it is there.
const SOURCE_TOPIC: &str = "source_topic";
const SOURCE_PARTITION: &str = "source_partition";
const SOURCE_OFFSET: &str = "source_offset";
const REASON: &str = "reason";

/// The most bytes that the event ids of the orders of one explanation have together. The job takes any text
/// as an id; a UUID has 36 bytes.
const MOST_ID_BYTES: usize = 1024 * 1024;

/// The place of a record on `orders`.
type Place = (u32, Offset);

/// The orders to look for: of a user, in a window.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    user_id: u64,
    from: Timestamp,
    to: Timestamp,
}

/// An order in the log.
#[derive(Clone, Debug)]
struct Found {
    event_id: Option<String>,
    order_id: Option<u64>,
    created_at: Timestamp,
    total: Amount,
}

/// The number of an order, which the job does not read: any other value in its place is no error.
#[derive(Deserialize)]
struct Numbered {
    order_id: u64,
}

/// The orders behind a count, and the side outputs that are of them.
#[derive(Debug)]
pub struct Findings {
    selection: Selection,
    most: usize,
    id_bytes: usize,
    orders: BTreeMap<Place, Found>,
    late: HashSet<Place>,
    rejected: HashMap<Place, String>,
}

/// The job's decision about an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is in the count.
    Counted,
    /// It has the event id of an earlier record.
    Copy,
    /// It came too late to correct its window.
    Late,
    /// The job has rejected it.
    Rejected,
}

/// An order of the user in the window, and the decision about it.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedOrder {
    partition: u32,
    offset: Offset,
    event_id: Option<String>,
    order_id: Option<u64>,
    created_at: Timestamp,
    currency: Currency,
    total_cents: u64,
    decision: Decision,
    /// The reason of a rejection.
    reason: Option<String>,
}

/// The number and the totals of the orders that are counted.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counted {
    order_count: u64,
    #[serde(flatten)]
    amounts: Amounts,
}

impl Selection {
    /// The orders that a count is of.
    pub fn of(count: &WindowCount) -> Self {
        Self {
            user_id: count.user_id,
            from: count.window_start,
            to: count.window_end,
        }
    }

    /// Returns the order in a record if it is one of those to look for.
    fn find(&self, record: &Record<'_>) -> Option<Found> {
        let value = record.value?;
        let order: CountedOrder<'_, Value> = serde_json::from_slice(value).ok()?;
        let is_wanted = order.event_type == ORDER_CREATED && order.user_id == self.user_id;
        if !is_wanted || order.created_at < self.from || order.created_at >= self.to {
            return None;
        }

        let numbered: Option<Numbered> = serde_json::from_slice(value).ok();
        Some(Found {
            event_id: order.event_id.as_str().map(canonical),
            order_id: numbered.map(|numbered| numbered.order_id),
            created_at: order.created_at,
            total: Amount {
                currency: order.currency,
                minor_units: order.total_cents,
            },
        })
    }
}

/// Returns an event's id in the one form of a UUID, or the text itself if it is none.
fn canonical(id: &str) -> String {
    Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}

impl Findings {
    /// Creates findings without an order. It holds at most `most` orders, and fewer if their event ids
    /// are long.
    pub fn new(selection: Selection, most: usize) -> Self {
        Self {
            selection,
            most,
            id_bytes: 0,
            orders: BTreeMap::new(),
            late: HashSet::new(),
            rejected: HashMap::new(),
        }
    }

    /// Notes a record of `orders`. Returns `false` if there is no room for another order.
    pub fn note_order(&mut self, record: &Record<'_>) -> bool {
        let Some(order) = self.selection.find(record) else {
            return true;
        };

        let id_bytes = self.id_bytes + order.event_id.as_ref().map_or(0, String::len);
        let has_room = self.orders.len() < self.most && id_bytes <= MOST_ID_BYTES;
        if has_room {
            self.id_bytes = id_bytes;
            self.orders.insert((record.partition, record.offset), order);
        }
        has_room
    }

    /// Notes a record of `orders-late`.
    pub fn note_late(&mut self, record: &Record<'_>) {
        if let Some((place, _)) = self.origin(record) {
            self.late.insert(place);
        }
    }

    /// Notes a record of `orders-dead-letter`.
    pub fn note_rejected(&mut self, record: &Record<'_>) {
        if let Some((place, reason)) = self.origin(record) {
            self.rejected.insert(place, reason);
        }
    }

    /// Returns the place on `orders` of a record on a side topic, and the reason, if it is one of the
    /// orders that were found. The headers alone decide: the value may be cut.
    fn origin(&self, record: &Record<'_>) -> Option<(Place, String)> {
        let mut is_of_orders = true;
        let mut partition = None;
        let mut offset = None;
        let mut reason = String::new();
        record.headers.for_each(&mut |name, value| {
            // The job's own headers come last; a producer may have written others of their names.
            let text = String::from_utf8_lossy(value);
            match name {
                SOURCE_TOPIC => is_of_orders = text == ORDERS,
                SOURCE_PARTITION => partition = text.parse().ok(),
                SOURCE_OFFSET => offset = text.parse().ok(),
                REASON => reason = text.into_owned(),
                _ => {}
            }
        });

        let place = (partition?, offset?);
        let is_wanted = is_of_orders && self.orders.contains_key(&place);
        is_wanted.then_some((place, reason))
    }

    /// Decides about each order, in the order of partition and offset.
    pub fn explained(mut self) -> Vec<ExplainedOrder> {
        let mut seen = HashSet::new();
        let orders = std::mem::take(&mut self.orders);
        orders
            .into_iter()
            .map(|(place, order)| {
                let decision = self.decide(place, &order, &mut seen);
                self.explain(place, order, decision)
            })
            .collect()
    }

    fn decide(&self, place: Place, order: &Found, seen: &mut HashSet<(u32, String)>) -> Decision {
        if self.rejected.contains_key(&place) {
            return Decision::Rejected;
        }
        if self.late.contains(&place) {
            return Decision::Late;
        }

        let (partition, _) = place;
        match &order.event_id {
            Some(id) if !seen.insert((partition, id.clone())) => Decision::Copy,
            _ => Decision::Counted,
        }
    }

    fn explain(&self, place: Place, order: Found, decision: Decision) -> ExplainedOrder {
        let (partition, offset) = place;
        ExplainedOrder {
            partition,
            offset,
            event_id: order.event_id,
            order_id: order.order_id,
            created_at: order.created_at,
            currency: order.total.currency,
            total_cents: order.total.minor_units,
            decision,
            reason: self.rejected.get(&place).cloned(),
        }
    }
}

impl Counted {
    /// Adds up the orders that are counted.
    pub fn of(orders: &[ExplainedOrder]) -> Self {
        let mut sum = Self::default();
        for order in orders {
            if order.decision == Decision::Counted {
                sum.order_count += 1;
                sum.amounts.add(Amount {
                    currency: order.currency,
                    minor_units: order.total_cents,
                });
            }
        }
        sum
    }

    /// Returns `true` if the published count has the same number and totals.
    pub fn agrees_with(&self, count: &WindowCount) -> bool {
        self.order_count == count.order_count && self.amounts == count.amounts
    }
}

#[cfg(test)]
mod tests;

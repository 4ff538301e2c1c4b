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

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use events::{Amount, Amounts, Currency, ORDER_CREATED, ORDERS, Timestamp, WindowCount};
use record_log::{Offset, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The headers that name the origin of a record on the side topics, and why it is there.
const SOURCE_TOPIC: &str = "source_topic";
const SOURCE_PARTITION: &str = "source_partition";
const SOURCE_OFFSET: &str = "source_offset";
const REASON: &str = "reason";

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
    place: Place,
    event_id: Option<String>,
    order_id: Option<u64>,
    created_at: Timestamp,
    total: Amount,
}

/// The fields of an order that are needed here, as the job reads them.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    user_id: u64,
    total_cents: u64,
    currency: Currency,
    created_at: Timestamp,
    #[serde(default)]
    event_id: Value,
    #[serde(default)]
    order_id: Value,
}

/// What was found of a count in the log.
#[derive(Debug)]
pub struct Findings {
    selection: Selection,
    most: usize,
    orders: Vec<Found>,
    late: HashSet<Place>,
    rejected: HashMap<Place, String>,
}

/// What the job has decided about an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is in the count.
    Counted,
    /// It is an earlier record's event once more.
    Copy,
    /// It came too late to correct its window.
    Late,
    /// The job has rejected it.
    Rejected,
}

/// An order of the user in the window, and what was decided about it.
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
        let fields: Fields<'_> = serde_json::from_slice(record.value?).ok()?;
        let is_wanted = fields.event_type == ORDER_CREATED && fields.user_id == self.user_id;
        if !is_wanted || fields.created_at < self.from || fields.created_at >= self.to {
            return None;
        }

        Some(Found {
            place: (record.partition, record.offset),
            event_id: fields.event_id.as_str().map(canonical),
            order_id: fields.order_id.as_u64(),
            created_at: fields.created_at,
            total: Amount {
                currency: fields.currency,
                minor_units: fields.total_cents,
            },
        })
    }
}

/// Returns an event's id in the one form of a UUID, or the text itself if it is none.
fn canonical(id: &str) -> String {
    Uuid::try_parse(id).map_or_else(|_| id.to_owned(), |id| id.to_string())
}

impl Findings {
    /// Creates findings without an order. It holds at most `most` orders.
    pub fn new(selection: Selection, most: usize) -> Self {
        Self {
            selection,
            most,
            orders: Vec::new(),
            late: HashSet::new(),
            rejected: HashMap::new(),
        }
    }

    /// Notes a record of `orders`. Returns `false` if there is no room for another order.
    pub fn note_order(&mut self, record: &Record<'_>) -> bool {
        let Some(order) = self.selection.find(record) else {
            return true;
        };
        let has_room = self.orders.len() < self.most;
        if has_room {
            self.orders.push(order);
        }
        has_room
    }

    /// Notes a record of `orders-late`. Returns `false` if there is no room for another one.
    pub fn note_late(&mut self, record: &Record<'_>) -> bool {
        let Some((place, _)) = self.origin(record) else {
            return true;
        };
        let has_room = self.late.len() < self.most;
        if has_room {
            self.late.insert(place);
        }
        has_room
    }

    /// Notes a record of `orders-dead-letter`. Returns `false` if there is no room for another one.
    pub fn note_rejected(&mut self, record: &Record<'_>) -> bool {
        let Some((place, reason)) = self.origin(record) else {
            return true;
        };
        let has_room = self.rejected.len() < self.most;
        if has_room {
            self.rejected.insert(place, reason);
        }
        has_room
    }

    /// Returns the origin of a record on a side topic, and the reason, if it is an order to look for.
    fn origin(&self, record: &Record<'_>) -> Option<(Place, String)> {
        self.selection.find(record)?;
        let mut headers = HashMap::new();
        record.headers.for_each(&mut |name, value| {
            // The job's own headers come last; a producer may have written others of their names.
            headers.insert(name.to_owned(), String::from_utf8_lossy(value).into_owned());
        });

        let is_of_orders = headers
            .get(SOURCE_TOPIC)
            .is_none_or(|topic| topic == ORDERS);
        let partition = headers.get(SOURCE_PARTITION)?.parse().ok()?;
        let offset = headers.get(SOURCE_OFFSET)?.parse().ok()?;
        let reason = headers.remove(REASON).unwrap_or_default();
        is_of_orders.then_some(((partition, offset), reason))
    }

    /// Decides about each order, in the order of partition and offset.
    pub fn explained(mut self) -> Vec<ExplainedOrder> {
        let mut seen = HashSet::new();
        self.orders.sort_by_key(|order| order.place);
        let orders = std::mem::take(&mut self.orders);
        orders
            .into_iter()
            .map(|order| {
                let decision = self.decide(&order, &mut seen);
                self.explain(order, decision)
            })
            .collect()
    }

    fn decide(&self, order: &Found, seen: &mut HashSet<(u32, String)>) -> Decision {
        if self.rejected.contains_key(&order.place) {
            return Decision::Rejected;
        }
        if self.late.contains(&order.place) {
            return Decision::Late;
        }

        let (partition, _) = order.place;
        match &order.event_id {
            Some(id) if !seen.insert((partition, id.clone())) => Decision::Copy,
            _ => Decision::Counted,
        }
    }

    fn explain(&self, order: Found, decision: Decision) -> ExplainedOrder {
        let (partition, offset) = order.place;
        ExplainedOrder {
            partition,
            offset,
            event_id: order.event_id,
            order_id: order.order_id,
            created_at: order.created_at,
            currency: order.total.currency,
            total_cents: order.total.minor_units,
            decision,
            reason: self.rejected.get(&order.place).cloned(),
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

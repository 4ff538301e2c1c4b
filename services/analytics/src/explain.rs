//! Explains a count: finds the orders behind it among the records of the log. Pure logic, except [`scan`], which reads
//! the records.
//!
//! The decisions of the stream job are in the log. A record that came too late is on `orders-late`, and one that the
//! job rejected is on `orders-dead-letter`, with its partition and offset in headers. If an event is in a partition
//! twice, only its first record is counted; the event's id identifies it. Every other order of the window is counted.
//! An explanation therefore needs neither a checkpoint nor a clock.
//!
//! A record on a side topic is that of an order if it has the order's place and its value. The place is in the last three
//! headers, which the job writes after those of the producer. The header `source_topic` is not read: a job of one topic
//! does not write it, so a producer could, and the record of another topic at the same place has another value.
//!
//! The published count confirms the result: if the counted orders have the same number and totals, they are the orders
//! behind the count. Otherwise an order may have arrived since, or records were not read; the explanation lists these
//! gaps.

pub mod scan;

use std::collections::{BTreeMap, HashMap, HashSet};

use events::{Amount, Amounts, CountedOrder, Currency, ORDER_CREATED, Timestamp, WindowCount};
use record_log::{Offset, Record};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The headers that contain the origin of a record on the side topics, and the reason why it is there.
const SOURCE_PARTITION: &str = "source_partition";
const SOURCE_OFFSET: &str = "source_offset";
const REASON: &str = "reason";
/// The header that contains the SHA-256 of a value of which a side topic has only a part.
const VALUE_SHA256: &str = "value_sha256";

/// Maximum size in bytes of all event ids in one explanation together. The stream job accepts any text as an id; a UUID
/// has 36 bytes.
const MOST_ID_BYTES: usize = 1024 * 1024;

/// The place of a record on `orders`.
type Place = (u32, Offset);
/// A SHA-256.
type Digest = [u8; 32];

/// The orders to look for: those of a user in a window.
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
    /// The SHA-256 of the record's value.
    digest: Digest,
}

/// The number of an order. The stream job does not read it, so a value of another type is not an error.
#[derive(Deserialize)]
struct Numbered {
    order_id: u64,
}

/// The orders that may be behind a count, and the decisions about them on the side topics.
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
    /// The order is counted.
    Counted,
    /// The record has the event id of an earlier record.
    Copy,
    /// The order came too late to correct its window.
    Late,
    /// The stream job has rejected the record.
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
    /// Returns the selection of the orders behind a count.
    pub fn of(count: &WindowCount) -> Self {
        Self {
            user_id: count.user_id,
            from: count.window_start,
            to: count.window_end,
        }
    }

    /// Returns the order in a record, if it is selected.
    fn find(&self, record: &Record<'_>) -> Option<Found> {
        let value = record.value?;
        let order: CountedOrder<'_, Value> = serde_json::from_slice(value).ok()?;
        let is_wanted = order.event_type == ORDER_CREATED && order.user_id == self.user_id;
        if !is_wanted || order.created_at < self.from || order.created_at >= self.to {
            return None;
        }

        let numbered: Option<Numbered> = serde_json::from_slice(value).ok();
        Some(Found {
            event_id: order.event_id.as_str().and_then(canonical),
            order_id: numbered.map(|numbered| numbered.order_id),
            created_at: order.created_at,
            total: Amount {
                currency: order.currency,
                minor_units: order.total_cents,
            },
            digest: Sha256::digest(value).into(),
        })
    }
}

/// Returns the canonical form of an event's id if it is a UUID, and otherwise the text itself. An empty text and the nil
/// UUID stand for no id, as in the stream job.
fn canonical(id: &str) -> Option<String> {
    match Uuid::try_parse(id) {
        Ok(uuid) => (!uuid.is_nil()).then(|| uuid.to_string()),
        Err(_) => (!id.trim().is_empty()).then(|| id.to_owned()),
    }
}

fn hexadecimal(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Findings {
    /// Creates findings without orders. They hold at most `most` orders, and fewer if the event ids are long.
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

    /// Returns the place on `orders` from which a record on a side topic came, and the reason; none if it is not one of
    /// the orders that were found.
    fn origin(&self, record: &Record<'_>) -> Option<(Place, String)> {
        let mut partition = None;
        let mut offset = None;
        let mut reason = String::new();
        let mut digest = None;
        record.headers.for_each(&mut |name, value| {
            // A producer may have written headers with the same names. The stream job's own come last.
            let text = String::from_utf8_lossy(value);
            match name {
                SOURCE_PARTITION => partition = text.parse().ok(),
                SOURCE_OFFSET => offset = text.parse().ok(),
                REASON => reason = text.into_owned(),
                VALUE_SHA256 => digest = Some(text.into_owned()),
                _ => {}
            }
        });

        let place = (partition?, offset?);
        let order = self.orders.get(&place)?;
        let is_whole = record
            .value
            .is_some_and(|value| Digest::from(Sha256::digest(value)) == order.digest);
        let is_part = || digest.is_some_and(|digest| digest == hexadecimal(&order.digest));
        (is_whole || is_part()).then_some((place, reason))
    }

    /// Returns each order with its decision, sorted by partition and offset.
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

//! A series of the sales of a product or of a category. Pure logic, without input or output.
//!
//! The stream job counts by user. Sales are therefore added up by the orders service, from the lines of the stored
//! orders, and this module gives each step of the range a point. An order belongs to the step of its time, however late
//! its event came.

use std::collections::BTreeMap;

use events::{Amounts, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::series::Steps;

/// Maximum length of a category, in characters, as in the catalogue.
const MAX_CATEGORY_CHARS: usize = 64;
/// An order is stored at most this long after the time that it carries.
const STORED_WITHIN_MS: u64 = 60_000;

/// The name of a category.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Category(String);

/// A product or a category.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sold {
    /// A product.
    Product(Uuid),
    /// All products that were in this category when they were ordered.
    Category(Category),
}

/// The sales of a step that has some, as stored.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredSales {
    start: Timestamp,
    orders: u64,
    units: u64,
    #[serde(flatten)]
    amounts: Amounts,
}

/// A point of the series.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct SalesPoint {
    /// Its start in milliseconds since 1970.
    pub id: u64,
    /// The first instant of the step.
    pub start: Timestamp,
    /// The first instant after the step.
    pub end: Timestamp,
    /// Number of orders with such a product.
    pub orders: u64,
    /// Number of units sold.
    pub units: u64,
    /// Sums of quantity times unit price, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// Whether orders may still be added to the step.
    pub is_provisional: bool,
}

impl TryFrom<String> for Category {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let has_length = (1..=MAX_CATEGORY_CHARS).contains(&name.chars().count());
        if has_length && !name.chars().any(char::is_control) {
            Ok(Self(name))
        } else {
            Err("a category has 1 to 64 characters, and no controls")
        }
    }
}

impl Category {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns a point for each step, oldest first. Those that may still change at `now` are provisional.
pub fn points(steps: Steps, stored: Vec<StoredSales>, now: Timestamp) -> Vec<SalesPoint> {
    let mut by_start: BTreeMap<_, _> = stored
        .into_iter()
        .map(|sales| (sales.start, sales))
        .collect();
    let settled_ms = now.as_ms().saturating_sub(STORED_WITHIN_MS);

    let point = |(start, end): (Timestamp, Timestamp)| {
        let sales = by_start.remove(&start);
        SalesPoint {
            id: start.as_ms(),
            start,
            end,
            orders: sales.as_ref().map_or(0, |sales| sales.orders),
            units: sales.as_ref().map_or(0, |sales| sales.units),
            amounts: sales.map(|sales| sales.amounts).unwrap_or_default(),
            is_provisional: end.as_ms() > settled_ms,
        }
    };
    steps.each().map(point).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Category, points};
    use crate::series::{Step, Steps};

    fn is_category(name: &str) -> bool {
        Category::try_from(name.to_owned()).is_ok()
    }

    #[test]
    fn a_category_has_one_to_64_characters() {
        assert!(is_category("Lamps & more") && is_category(&"é".repeat(64)));
        assert!(!is_category("") && !is_category(&"é".repeat(65)) && !is_category("a\u{7}b"));
    }

    #[test]
    fn each_step_is_a_point_and_recent_ones_are_provisional() {
        let at = |text: &str| text.parse().unwrap();
        let (from, to) = ("2026-11-22T10:00:00Z", "2026-11-22T10:03:00Z");
        let now = at("2026-11-22T10:03:30Z");
        let steps = Steps::touched_by(Some(at(from)), Some(at(to)), Step::Minute, now).unwrap();
        let stored = json!([{"start": "2026-11-22T10:01:00Z", "orders": 2, "units": 5, "totals": [{"currency": "JPY", "minor_units": 7}]}]);

        let points = points(steps, serde_json::from_value(stored).unwrap(), now);
        let essence: Vec<_> = points
            .iter()
            .map(|point| {
                (
                    point.orders,
                    point.units,
                    point.amounts.as_slice().len(),
                    point.is_provisional,
                )
            })
            .collect();
        assert_eq!(
            essence,
            [(0, 0, 0, false), (2, 5, 1, false), (0, 0, 0, true)]
        );
        assert_eq!((points[0].start, points[2].end), (at(from), at(to)));
    }
}

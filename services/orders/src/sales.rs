//! Sales of a product or of a category, by step of time, from the lines of orders in SQL.
//!
//! Every accepted order is sold, in any status, as in the stream job's counts. It belongs to the step of its
//! `created_at`, so an order whose event came late is in its step, too. A line keeps the name and the category that its
//! product had when it was ordered, so deleted products have sales. Lines of earlier versions have no category.

use chassis::{Problem, Result};
use events::{Amounts, Timestamp, numbers_of};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Maximum number of steps of a range.
const MAX_STEPS: u64 = 1_500;
/// Maximum length of a range: 31 days, and the rest of its first and its last day.
const MAX_RANGE_MS: u64 = 33 * DAY_MS;
/// Maximum number of lines that one reply adds up: it bounds the work that one request causes in the database.
pub const MAX_LINES_READ: u32 = 500_000;
/// Maximum length of a category, in characters, as in the catalogue.
const MAX_CATEGORY_CHARS: usize = 64;

/// The length of a step.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum StepLength {
    /// A minute.
    #[serde(rename = "1m")]
    Minute,
    /// An hour.
    #[serde(rename = "1h")]
    Hour,
    /// A day of UTC.
    #[serde(rename = "1d")]
    Day,
}

/// The lines to add up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sold {
    /// Those of this product.
    Product(Uuid),
    /// Those of the products that were in this category.
    Category(String),
}

/// A range of whole steps, in milliseconds since 1970; `to_ms` is exclusive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    pub step_ms: u64,
    pub from_ms: u64,
    pub to_ms: u64,
}

/// The sales of one step.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Sales {
    /// Its start in milliseconds since 1970.
    pub id: u64,
    /// Its start.
    pub start: Timestamp,
    /// Number of orders with such a line.
    pub orders: u64,
    /// Number of units on these lines.
    pub units: u64,
    /// Sums of quantity times unit price over these lines, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
}

impl StepLength {
    fn ms(self) -> u64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }
}

impl Sold {
    /// Returns the lines that a query names: those of one product or of one category.
    ///
    /// # Errors
    /// A 400 if it names both or neither, or if no product can be in the category.
    pub fn named(product: Option<Uuid>, category: Option<String>) -> Result<Self> {
        match (product, category) {
            (Some(product), None) => Ok(Self::Product(product)),
            (None, Some(name)) if is_category(&name) => Ok(Self::Category(name)),
            (None, Some(_)) => {
                let detail =
                    format!("a category has 1 to {MAX_CATEGORY_CHARS} characters, and no controls");
                Err(Problem::bad_request(detail).field("category"))
            }
            _ => Err(Problem::bad_request("name either a product or a category").field("product")),
        }
    }
}

/// Returns whether the catalogue can have a category of this name.
fn is_category(name: &str) -> bool {
    let has_length = (1..=MAX_CATEGORY_CHARS).contains(&name.chars().count());
    has_length && !name.chars().any(char::is_control)
}

impl Range {
    /// Returns every step that the range from `from` up to `to` touches.
    ///
    /// # Errors
    /// A 400 if the range is empty or too long.
    pub fn touched_by(from: Timestamp, to: Timestamp, step: StepLength) -> Result<Self> {
        if from >= to {
            return Err(Problem::bad_request("the range must end after it begins").field("to"));
        }

        let step_ms = step.ms();
        let range = Self {
            step_ms,
            from_ms: from.as_ms() / step_ms * step_ms,
            to_ms: to.as_ms().div_ceil(step_ms) * step_ms,
        };
        let length_ms = range.to_ms - range.from_ms;

        if length_ms / step_ms > MAX_STEPS {
            let detail = format!("the range has more than {MAX_STEPS} steps");
            Err(Problem::bad_request(detail).field("step"))
        } else if length_ms > MAX_RANGE_MS {
            Err(Problem::bad_request("the range is longer than a month").field("from"))
        } else {
            Ok(range)
        }
    }

    /// Returns the least number of an order of the range, and the least number after it. Orders of versions that
    /// counted their numbers are not between them.
    pub fn numbers(self) -> (i64, i64) {
        (first_number(self.from_ms), first_number(self.to_ms))
    }
}

fn first_number(ms: u64) -> i64 {
    let moment = Timestamp::from_ms(ms);
    moment
        .and_then(|moment| numbers_of(moment, 0).next())
        .unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Range, Sold, StepLength};

    fn range(from: &str, to: &str, step: StepLength) -> Option<u64> {
        let range = Range::touched_by(from.parse().unwrap(), to.parse().unwrap(), step).ok()?;
        assert_eq!(
            (range.from_ms % range.step_ms, range.to_ms % range.step_ms),
            (0, 0)
        );
        Some((range.to_ms - range.from_ms) / range.step_ms)
    }

    #[test]
    fn a_range_has_every_step_it_touches_and_a_limit() {
        let noon = "2026-11-22T12:00:00Z";
        assert_eq!(
            range(noon, "2026-11-22T12:00:00.001Z", StepLength::Minute),
            Some(1)
        );
        assert_eq!(
            range(noon, "2026-11-22T13:00:00.001Z", StepLength::Hour),
            Some(2)
        );
        assert_eq!(
            range(noon, "2026-12-23T12:00:00Z", StepLength::Day),
            Some(32)
        );

        assert_eq!(range(noon, noon, StepLength::Day), None);
        assert_eq!(range("2026-11-23T12:00:00Z", noon, StepLength::Day), None);
        assert_eq!(
            range(noon, "2026-11-23T13:00:00Z", StepLength::Minute),
            Some(1_500)
        );
        assert_eq!(
            range(noon, "2026-11-23T13:00:01Z", StepLength::Minute),
            None
        );
        assert_eq!(range(noon, "2026-12-28T12:00:00Z", StepLength::Day), None);
    }

    #[test]
    fn the_numbers_of_a_range_are_those_of_its_first_and_last_instant() {
        let from: events::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let to = "2026-11-22T12:01:00Z".parse().unwrap();
        let (least, after) = Range::touched_by(from, to, StepLength::Minute)
            .unwrap()
            .numbers();
        let number = |ms, chance| {
            let moment = events::Timestamp::from_ms(from.as_ms() + ms).unwrap();
            events::numbers_of(moment, chance).next().unwrap()
        };

        assert_eq!(least, number(0, 0));
        assert!(least <= number(0, u64::MAX) && number(59_999, u64::MAX) < after);
        assert_eq!(after, number(60_000, 0));
    }

    #[test]
    fn lines_are_of_one_product_or_of_one_category() {
        let lamp = Uuid::from_u128(1);
        assert!(Sold::named(Some(lamp), None).is_ok());
        assert!(Sold::named(None, Some("é".repeat(64))).is_ok());
        assert!(Sold::named(Some(lamp), Some("Lamps".to_owned())).is_err());
        for name in [None, Some(""), Some("a\u{0}"), Some(&*"é".repeat(65))] {
            assert!(
                Sold::named(None, name.map(str::to_owned)).is_err(),
                "{name:?}"
            );
        }
    }
}

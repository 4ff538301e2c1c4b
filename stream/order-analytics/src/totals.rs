//! The totals of orders: their number, and the sum of their amounts in each currency.
//!
//! Nearly every user orders in one currency, so the first amount lies in the aggregate itself. Totals in several currencies
//! lie behind a pointer, which is null otherwise.
//!
//! Checkpoints that were written before currencies were counted hold pairs of a count and a sum. They are read as sums
//! of [`Currency::UNKNOWN`]. The two encodings differ in their first number: a pair begins with its count, which is
//! never 0, and this encoding begins with 0.
//!
//! ```text
//! earlier:  count | sum
//! now:      0 | count | amounts: (three letters, minor units) …
//! ```

use std::fmt;
use std::ops::Deref;

use events::{Amount, Amounts, Currency};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stream::Aggregate;

/// The number of orders, and the sums of their amounts by currency.
///
/// Equal orders have equal totals, in any order and grouping of their addition: the amounts are ordered by currency, and
/// `whole` is there only if it is needed.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct OrderTotals {
    /// The number of orders, at most `u32::MAX`. With a user it takes 32 bytes in a table, which are never in two lines of
    /// the processor's cache.
    orders: u32,
    /// The currency whose code comes first.
    currency: Currency,
    /// The sum of the amounts in this currency.
    minor_units: u64,
    /// All orders and amounts, if there are several currencies or more than `u32::MAX` orders.
    whole: Option<Box<Whole>>,
}

/// Totals of any size.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Whole {
    orders: u64,
    amounts: Amounts,
}

/// The sums of orders' totals, ordered by the currencies' codes.
pub enum Listed<'a> {
    One([Amount; 1]),
    Several(&'a [Amount]),
}

impl Deref for Listed<'_> {
    type Target = [Amount];

    fn deref(&self) -> &[Amount] {
        match self {
            Self::One(amount) => amount,
            Self::Several(amounts) => amounts,
        }
    }
}

impl OrderTotals {
    /// Returns the totals of one order.
    #[inline]
    pub fn of(total: Amount) -> Self {
        Self {
            orders: 1,
            currency: total.currency,
            minor_units: total.minor_units,
            whole: None,
        }
    }

    /// Returns the number of orders.
    pub fn orders(&self) -> u64 {
        match &self.whole {
            None => u64::from(self.orders),
            Some(whole) => whole.orders,
        }
    }

    /// Returns the sums of the orders' totals.
    pub fn amounts(&self) -> Amounts {
        self.listed().iter().copied().collect()
    }

    /// Returns the sums of the orders' totals, ordered by the currencies' codes.
    pub fn listed(&self) -> Listed<'_> {
        match &self.whole {
            None => Listed::One([Amount {
                currency: self.currency,
                minor_units: self.minor_units,
            }]),
            Some(whole) => Listed::Several(whole.amounts.as_slice()),
        }
    }

    fn of_one_currency(orders: u64, amount: Amount) -> Self {
        match u32::try_from(orders) {
            Ok(orders) => Self {
                orders,
                ..Self::of(amount)
            },
            Err(_) => Self::of_whole(amount, orders, std::iter::once(amount).collect()),
        }
    }

    fn of_amounts(orders: u64, amounts: Amounts) -> Option<Self> {
        match *amounts.as_slice() {
            [] => None,
            [only] => Some(Self::of_one_currency(orders, only)),
            [first, ..] => Some(Self::of_whole(first, orders, amounts)),
        }
    }

    fn of_whole(first: Amount, orders: u64, amounts: Amounts) -> Self {
        Self {
            orders: u32::try_from(orders).unwrap_or(u32::MAX),
            whole: Some(Box::new(Whole { orders, amounts })),
            ..Self::of(first)
        }
    }

    #[cold]
    fn merge_whole(&mut self, other: &Self) {
        let mut amounts = self.amounts();
        amounts.extend(other.listed().iter().copied());
        let orders = self.orders() + other.orders();
        *self = Self::of_amounts(orders, amounts).expect("there is an amount in both");
    }
}

impl Aggregate for OrderTotals {
    #[inline]
    fn merge(&mut self, other: &Self) {
        let is_one_currency =
            self.currency == other.currency && self.whole.is_none() && other.whole.is_none();

        match self.orders.checked_add(other.orders) {
            Some(orders) if is_one_currency => {
                self.orders = orders;
                self.minor_units = self.minor_units.saturating_add(other.minor_units);
            }
            _ => self.merge_whole(other),
        }
    }

    fn signature() -> String {
        "(count, sums by currency)".to_owned()
    }

    fn earlier_signatures() -> Vec<String> {
        vec!["(count, sum)".to_owned()]
    }
}

/// An amount in a checkpoint.
type Stored = ([u8; 3], u64);

impl Serialize for OrderTotals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_tuple(3)?;
        fields.serialize_element(&0_u64)?;
        fields.serialize_element(&self.orders())?;
        fields.serialize_element(&StoredAll(&self.listed()))?;
        fields.end()
    }
}

/// Amounts, written one by one as they are stored.
struct StoredAll<'a>(&'a [Amount]);

impl Serialize for StoredAll<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored =
            |amount: &Amount| -> Stored { (amount.currency.letters(), amount.minor_units) };
        serializer.collect_seq(self.0.iter().map(stored))
    }
}

impl<'de> Deserialize<'de> for OrderTotals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(3, TotalsVisitor)
    }
}

struct TotalsVisitor;

impl<'de> Visitor<'de> for TotalsVisitor {
    type Value = OrderTotals;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count of orders and their sums")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut fields: S) -> Result<OrderTotals, S::Error> {
        let count = next(&mut fields)?;
        if count > 0 {
            let unknown = Amount {
                currency: Currency::UNKNOWN,
                minor_units: next(&mut fields)?,
            };
            return Ok(OrderTotals::of_one_currency(count, unknown));
        }

        let orders = next(&mut fields)?;
        Ok(match next(&mut fields)? {
            Restored::One(amount) => OrderTotals::of_one_currency(orders, amount),
            Restored::Several(amounts) => OrderTotals::of_amounts(orders, amounts)
                .ok_or_else(|| de::Error::custom("orders without an amount"))?,
        })
    }
}

/// Stored amounts that were read. Nearly always it is one, for which no memory is allocated.
enum Restored {
    One(Amount),
    Several(Amounts),
}

impl<'de> Deserialize<'de> for Restored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RestoredVisitor)
    }
}

struct RestoredVisitor;

impl<'de> Visitor<'de> for RestoredVisitor {
    type Value = Restored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sums of orders")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut stored: S) -> Result<Restored, S::Error> {
        let Some(first) = stored.next_element()? else {
            return Ok(Restored::Several(Amounts::default()));
        };

        let first = amount(first)?;
        let Some(second) = stored.next_element()? else {
            return Ok(Restored::One(first));
        };

        let mut amounts: Amounts = [first, amount(second)?].into_iter().collect();
        while let Some(further) = stored.next_element()? {
            amounts.extend([amount(further)?]);
        }
        Ok(Restored::Several(amounts))
    }
}

fn next<'de, T: Deserialize<'de>, S: SeqAccess<'de>>(fields: &mut S) -> Result<T, S::Error> {
    let missing = || de::Error::custom("a count of orders that ends too soon");
    fields.next_element()?.ok_or_else(missing)
}

fn amount<E: de::Error>((letters, minor_units): Stored) -> Result<Amount, E> {
    let invalid = || E::custom(format_args!("{letters:?} is no currency"));
    let currency = Currency::of_code(&letters).ok_or_else(invalid)?;
    Ok(Amount {
        currency,
        minor_units,
    })
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};
    use stream::{Count, Session, Sum};

    use super::*;

    fn order(code: &str, minor_units: u64) -> OrderTotals {
        OrderTotals::of(Amount {
            currency: code.parse().unwrap(),
            minor_units,
        })
    }

    fn merged(orders: &[OrderTotals]) -> OrderTotals {
        let mut orders = orders.to_vec();
        let mut all = orders.remove(0);
        orders.iter().for_each(|order| all.merge(order));
        all
    }

    fn shown(totals: &OrderTotals) -> (u64, Vec<(String, u64)>) {
        let amounts = totals.amounts();
        let amount = |amount: &Amount| (amount.currency.to_string(), amount.minor_units);
        (
            totals.orders(),
            amounts.as_slice().iter().map(amount).collect(),
        )
    }

    #[test]
    fn each_currency_has_a_sum_of_its_own_that_saturates() {
        let totals = merged(&[
            order("USD", 1_999),
            order("JPY", 150_000),
            order("USD", 1),
            order("EUR", u64::MAX),
            order("EUR", 5),
        ]);

        let expected = [("EUR", u64::MAX), ("JPY", 150_000), ("USD", 2_000)];
        let expected = expected.map(|(code, sum)| (code.to_owned(), sum)).to_vec();
        assert_eq!(shown(&totals), (5, expected));
    }

    /// The laws of an aggregate, on orders in up to four currencies, drawn and grouped at random.
    #[test]
    fn totals_are_the_same_in_any_order_and_grouping() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..500 {
            let codes = ["USD", "JPY", "EUR", "KWD"];
            let mut orders: Vec<_> = (0..rng.random_range(2..12))
                .map(|_| {
                    order(
                        codes[rng.random_range(0..4)],
                        rng.random_range(0..u64::MAX / 3),
                    )
                })
                .collect();
            let expected = merged(&orders);

            orders.shuffle(&mut rng);
            let at = rng.random_range(1..orders.len());
            let groups = [merged(&orders[..at]), merged(&orders[at..])];
            assert_eq!(merged(&groups), expected);
        }
    }

    /// So many orders of one user that their number does not fit into the aggregate itself.
    #[test]
    fn orders_are_counted_beyond_32_bits_in_any_grouping() {
        let many = |orders| {
            OrderTotals::of_one_currency(
                orders,
                Amount {
                    currency: "USD".parse().unwrap(),
                    minor_units: 5,
                },
            )
        };
        let most = u64::from(u32::MAX);
        for parts in [
            [most, 1, 7],
            [most - 1, 9, 0],
            [1, 2, most + 5],
            [most + 1, most, 3],
        ] {
            let [one, two, three] = parts.map(many);
            let first = merged(&[merged(&[one.clone(), two.clone()]), three.clone()]);
            let last = merged(&[one, merged(&[three, two])]);
            let expected = parts.iter().sum();

            assert_eq!(first, last);
            assert_eq!(shown(&first), (expected, vec![("USD".to_owned(), 15)]));
            let bytes = postcard::to_stdvec(&first).unwrap();
            assert_eq!(postcard::from_bytes::<OrderTotals>(&bytes), Ok(first));
        }
    }

    #[test]
    fn a_user_and_totals_take_half_a_line_of_the_cache() {
        assert_eq!(size_of::<(u64, OrderTotals)>(), 32);
    }

    #[test]
    fn totals_come_back_from_a_checkpoint() {
        for totals in [
            order("USD", 0),
            merged(&[order("USD", 7), order("USD", u64::MAX)]),
            merged(&[order("USD", 7), order("JPY", 9), order("KWD", 1)]),
        ] {
            let bytes = postcard::to_stdvec(&totals).unwrap();
            assert_eq!(postcard::from_bytes::<OrderTotals>(&bytes), Ok(totals));
        }
    }

    /// Several one after another, as in a part: each ends where the next begins.
    #[test]
    fn what_was_counted_before_currencies_were_is_of_an_unknown_one() {
        fn session<A>(first_ms: u64, aggregate: A) -> Session<A> {
            Session {
                first_ms,
                last_ms: 9,
                aggregate,
            }
        }

        let earlier = vec![
            session(1, (Count(1), Sum(0))),
            session(2, (Count(300), Sum(u64::MAX))),
        ];
        let bytes = postcard::to_stdvec(&earlier).unwrap();

        let unknown = |orders, sum| OrderTotals {
            orders,
            ..order("XXX", sum)
        };
        let read: Vec<Session<OrderTotals>> = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(
            read,
            [
                session(1, unknown(1, 0)),
                session(2, unknown(300, u64::MAX))
            ]
        );
    }

    #[test]
    fn totals_that_make_no_sense_are_an_error() {
        let no_amount: (u64, u64, Vec<Stored>) = (0, 1, Vec::new());
        let no_currency: (u64, u64, Vec<Stored>) = (0, 1, vec![(*b"us$", 1)]);
        for nonsense in [no_amount, no_currency] {
            let bytes = postcard::to_stdvec(&nonsense).unwrap();
            assert!(postcard::from_bytes::<OrderTotals>(&bytes).is_err());
        }
        assert!(postcard::from_bytes::<OrderTotals>(&[7]).is_err());
    }
}

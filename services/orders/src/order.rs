//! Orders and the rules that need no store: valid requests, prices and totals.

use std::collections::HashMap;

use events::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::delivery::{self, Delivery};
use crate::status::Status;

/// Maximum number of lines of an order. The order's event must fit into a column of the outbox.
const MAX_LINES: usize = 50;
/// Maximum length of a name that is kept on a line, in characters of its JSON: fifty of them fit into
/// the columns of the event and of the reply.
const MAX_NAME_CHARS: usize = 120;
/// Maximum quantity of one line.
const MAX_QUANTITY: i64 = 10_000;

/// The body of a request for an order.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// The user who orders.
    pub user_id: i64,
    /// The lines to order.
    pub items: Lines,
    /// The total that the client showed to its user. If given, the order is placed only at this total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cents: Option<u64>,
    /// The delivery address, if there is one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "delivery::requested"
    )]
    pub delivery: Option<Delivery>,
}

/// The lines of a request: 1 to 50.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

/// One line of a request.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub product_id: Uuid,
    pub quantity: Quantity,
}

/// The quantity of a product: 1 to 10,000.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Quantity(u32);

/// The reason a part of a request is rejected; its text is returned to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    #[error("an order has 1 to {MAX_LINES} lines")]
    Lines,
    #[error("a quantity is from 1 to {MAX_QUANTITY}")]
    Quantity,
}

/// An order as returned to clients.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Order {
    /// The number of the order ([`crate::number`]).
    pub id: i64,
    /// The user who ordered.
    pub user_id: i64,
    /// The order's status.
    pub status: Status,
    /// Sum over the items of quantity times unit price.
    pub total_cents: u64,
    /// ISO 4217 code of the currency of all its prices.
    pub currency: String,
    /// The items, in the order of the request.
    pub items: Vec<Item>,
    /// The time at which it was accepted.
    pub created_at: Timestamp,
    /// The time at which its status last changed.
    pub updated_at: Timestamp,
    /// The time by which it is to be paid; none once it is no longer pending.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// The delivery address.
    #[serde(default)]
    pub delivery: Option<Delivery>,
}

/// A line of an order with its price.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Item {
    pub product_id: Uuid,
    pub quantity: u32,
    pub unit_price_cents: u64,
    /// The product's name at the time of the order, shortened if it is long; orders of earlier
    /// versions have none.
    #[serde(default)]
    pub name: Option<String>,
}

/// A product at the time of its reservation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    pub name: Option<String>,
    pub category: Option<String>,
    pub unit_price_cents: u64,
    pub currency: String,
}

/// A request with its prices, to be stored as an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Priced {
    pub items: Vec<Item>,
    /// The category of each item's product. It is kept in SQL and is no part of the order's reply.
    pub categories: Vec<Option<String>>,
    pub total_cents: u64,
    pub currency: String,
}

/// The reason a request cannot be priced.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unpriced {
    #[error("the total is too large")]
    TooMuch,
    #[error(
        "its price is in {currency}, but the lines before it are in {of_order}; an order has one currency, so order it separately"
    )]
    MixedCurrencies {
        line: usize,
        currency: String,
        of_order: String,
    },
    #[error("it has no price")]
    NoPrice { line: usize },
    #[error(
        "the total is {total_cents}, not {shown_cents}: a price has changed since the total was shown"
    )]
    OtherTotal { total_cents: u64, shown_cents: u64 },
}

impl TryFrom<Vec<Line>> for Lines {
    type Error = Invalid;

    fn try_from(lines: Vec<Line>) -> Result<Self, Invalid> {
        (1..=MAX_LINES)
            .contains(&lines.len())
            .then_some(Self(lines))
            .ok_or(Invalid::Lines)
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

impl Lines {
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }

    /// Returns the number of pieces, over all lines.
    pub fn pieces(&self) -> u64 {
        self.0.iter().map(|line| u64::from(line.quantity.0)).sum()
    }
}

impl TryFrom<i64> for Quantity {
    type Error = Invalid;

    fn try_from(number: i64) -> Result<Self, Invalid> {
        let fits = (1..=MAX_QUANTITY).contains(&number);
        u32::try_from(number)
            .ok()
            .filter(|_| fits)
            .map(Self)
            .ok_or(Invalid::Quantity)
    }
}

impl From<Quantity> for i64 {
    fn from(quantity: Quantity) -> Self {
        quantity.0.into()
    }
}

impl NewOrder {
    /// Returns the order's items at the prices of these offers, and their total.
    pub fn priced(&self, offers: &HashMap<Uuid, Offer>) -> Result<Priced, Unpriced> {
        let mut items = Vec::new();
        let mut categories = Vec::new();
        let mut total_cents = 0_u64;
        let mut currency = None;

        for (index, line) in self.items.as_slice().iter().enumerate() {
            let offer = offers
                .get(&line.product_id)
                .ok_or(Unpriced::NoPrice { line: index })?;
            let of_order: &String = currency.get_or_insert(&offer.currency);
            if of_order != &offer.currency {
                return Err(Unpriced::MixedCurrencies {
                    line: index,
                    currency: offer.currency.clone(),
                    of_order: of_order.clone(),
                });
            }

            let quantity = line.quantity.0;
            let cost = offer
                .unit_price_cents
                .checked_mul(quantity.into())
                .ok_or(Unpriced::TooMuch)?;

            total_cents = total_cents
                .checked_add(cost)
                .filter(|sum| is_countable(*sum))
                .ok_or(Unpriced::TooMuch)?;

            items.push(Item {
                product_id: line.product_id,
                quantity,
                unit_price_cents: offer.unit_price_cents,
                name: offer.name.as_deref().map(shortened),
            });
            categories.push(offer.category.clone());
        }

        if let Some(shown_cents) = self.total_cents.filter(|shown| *shown != total_cents) {
            return Err(Unpriced::OtherTotal {
                total_cents,
                shown_cents,
            });
        }

        let currency = currency.expect("an order has at least one line").clone();
        Ok(Priced {
            items,
            categories,
            total_cents,
            currency,
        })
    }
}

/// Returns as much of a product's name as is kept on a line.
fn shortened(name: &str) -> String {
    let mut length = 0;
    let fits = |character: &char| {
        length += json_length(*character);
        length <= MAX_NAME_CHARS
    };
    name.chars().take_while(fits).collect()
}

/// Returns the number of characters by which JSON writes a character.
fn json_length(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        control if control < ' ' => 6,
        _ => 1,
    }
}

/// Returns whether the amount fits into SQL's signed 64-bit integers.
fn is_countable(cents: u64) -> bool {
    i64::try_from(cents).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::{prop, proptest};
    use serde_json::json;
    use uuid::Uuid;

    use super::{MAX_NAME_CHARS, NewOrder, Offer, Unpriced, shortened};

    fn order(quantities: &[u32]) -> NewOrder {
        let line =
            |(id, quantity)| json!({"product_id": Uuid::from_u128(id), "quantity": quantity});
        let items: Vec<_> = (0_u128..).zip(quantities).map(line).collect();
        serde_json::from_value(json!({"user_id": 1, "items": items})).unwrap()
    }

    fn offers(cents: &[u64]) -> HashMap<Uuid, Offer> {
        let offer = |(id, cents): (u128, &u64)| {
            (
                Uuid::from_u128(id),
                Offer {
                    name: Some(format!("Product {id}")),
                    category: None,
                    unit_price_cents: *cents,
                    currency: "USD".into(),
                },
            )
        };
        (0..).zip(cents).map(offer).collect()
    }

    proptest! {
        #[test]
        fn a_kept_name_is_the_beginning_of_the_name_and_fits(name in "\\PC{0,200}|[\"\\\\a]{0,200}") {
            let kept = shortened(&name);
            assert!(name.starts_with(&kept));
            let json_chars = |text: &str| serde_json::to_string(text).unwrap().chars().count() - 2;
            assert!(json_chars(&kept) <= MAX_NAME_CHARS);

            let next = name[kept.len()..].chars().next();
            assert!(next.is_none_or(|next| json_chars(&format!("{kept}{next}")) > MAX_NAME_CHARS));
        }
    }

    proptest! {
        #[test]
        fn the_total_is_the_sum_of_the_lines_or_refused(lines in prop::collection::vec((1_u32..=10_000, 0_u64..=u64::MAX), 1..=50)) {
            let (quantities, cents): (Vec<u32>, Vec<u64>) = lines.iter().copied().unzip();
            let exact: u128 = lines.iter().map(|(quantity, cents)| u128::from(*quantity) * u128::from(*cents)).sum();
            match order(&quantities).priced(&offers(&cents)) {
                Ok(priced) => assert_eq!(u128::from(priced.total_cents), exact),
                Err(error) => assert!(error == Unpriced::TooMuch && exact > i64::MAX as u128),
            }
        }
    }

    #[test]
    fn one_order_has_one_currency() {
        let mut mixed = offers(&[5, 5]);
        mixed.get_mut(&Uuid::from_u128(1)).unwrap().currency = "EUR".into();
        assert_eq!(
            order(&[1, 1]).priced(&mixed),
            Err(Unpriced::MixedCurrencies {
                line: 1,
                currency: "EUR".into(),
                of_order: "USD".into()
            })
        );

        assert_eq!(
            order(&[1, 1, 1]).priced(&offers(&[5, 5])),
            Err(Unpriced::NoPrice { line: 2 })
        );
    }
}

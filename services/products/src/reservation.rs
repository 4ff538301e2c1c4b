//! A reservation: the products that one order takes from the stock, all of them or none.
//!
//! The key is the order's. A repeated request with the same key and items returns the same reply. A
//! key that was released stays released, even if the release arrived before the request to reserve.
//! Stock is therefore never held for a request that its sender has given up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::product::{Invalid, MAX_STOCK};

/// Maximum length of a key, in bytes.
const MAX_KEY_BYTES: usize = 128;
/// Maximum number of different products in one reservation: a DynamoDB transaction holds a hundred
/// writes, of which one stores the reservation.
const MAX_PRODUCTS: usize = 99;

/// The body of a request for a reservation.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The order's key.
    pub key: String,
    /// The lines. Quantities of the same product are added up.
    pub items: Vec<Line>,
}

/// One line of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The product's id.
    pub product_id: Uuid,
    /// The quantity, at least one.
    pub quantity: u64,
}

/// The stock that a key holds, or held until its release.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Reservation {
    /// The order's key.
    #[serde(rename = "id")]
    pub key: String,
    /// The status: held or released.
    pub status: Status,
    /// The items, ordered by product id.
    pub items: Vec<Held>,
}

/// One product of a reservation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Held {
    /// The product's id.
    pub product_id: Uuid,
    /// The name at the time of the reservation; reservations of earlier versions have none.
    #[serde(default)]
    pub name: Option<String>,
    /// The category at the time of the reservation, if the product had one; reservations of earlier versions have none.
    #[serde(default)]
    pub category: Option<String>,
    /// The quantity.
    pub quantity: u64,
    /// The unit price at the time of the reservation.
    pub unit_price_cents: u64,
    /// The currency of the price.
    pub currency: String,
    /// Whether the units were taken from a counted stock; a release returns them to it.
    pub counted: bool,
}

/// The status of a reservation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The stock belongs to the order.
    Held,
    /// The stock was returned.
    Released,
}

/// A valid request: quantities by product.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Basket {
    /// The order's key.
    pub key: String,
    /// The quantity of each product.
    pub quantities: BTreeMap<Uuid, u64>,
}

impl Basket {
    /// Parses a request.
    ///
    /// # Errors
    /// Returns [`Invalid`] with the invalid field.
    pub fn parse(request: &Request) -> Result<Self, Invalid> {
        check_key(&request.key)?;
        if request.items.is_empty() {
            return Err(Invalid::new("items", "must not be empty"));
        }

        let mut quantities = BTreeMap::new();
        for (index, wanted) in request.items.iter().enumerate() {
            let sum: &mut u64 = quantities.entry(wanted.product_id).or_default();
            *sum = sum.saturating_add(wanted.quantity);
            if wanted.quantity == 0 || *sum > MAX_STOCK {
                let field = format!("items[{index}].quantity");
                return Err(Invalid::new(
                    field,
                    format!("must be from 1 to {MAX_STOCK}"),
                ));
            }
        }

        if quantities.len() > MAX_PRODUCTS {
            return Err(Invalid::new(
                "items",
                format!("must not name more than {MAX_PRODUCTS} products"),
            ));
        }

        Ok(Self {
            key: request.key.clone(),
            quantities,
        })
    }

    /// Returns whether the reservation has exactly these products and quantities.
    pub fn is_of(&self, reservation: &Reservation) -> bool {
        let held = reservation
            .items
            .iter()
            .map(|item| (item.product_id, item.quantity));
        held.eq(self
            .quantities
            .iter()
            .map(|(id, quantity)| (*id, *quantity)))
    }
}

/// Checks the length of a reservation's key.
///
/// # Errors
/// Returns [`Invalid`] if it is empty or too long.
pub fn check_key(key: &str) -> Result<(), Invalid> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Invalid::new(
            "key",
            format!("must be 1 to {MAX_KEY_BYTES} bytes long"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(quantities: &[(u128, u64)]) -> Request {
        let line = |(id, quantity): &(u128, u64)| Line {
            product_id: Uuid::from_u128(*id),
            quantity: *quantity,
        };
        Request {
            key: "order-1".to_owned(),
            items: quantities.iter().map(line).collect(),
        }
    }

    fn field_at_fault(request: &Request) -> String {
        Basket::parse(request).unwrap_err().field
    }

    #[test]
    fn lines_with_the_same_product_are_added_up() {
        let basket = Basket::parse(&request(&[(2, 1), (1, 5), (2, 3)])).unwrap();
        assert_eq!(
            basket.quantities,
            [(Uuid::from_u128(1), 5), (Uuid::from_u128(2), 4)].into()
        );
    }

    #[test]
    fn every_complaint_names_its_field() {
        assert_eq!(
            field_at_fault(&Request {
                key: String::new(),
                ..request(&[(1, 1)])
            }),
            "key"
        );

        assert_eq!(field_at_fault(&request(&[])), "items");
        assert_eq!(
            field_at_fault(&request(&[(1, 1), (2, 0)])),
            "items[1].quantity"
        );

        assert_eq!(
            field_at_fault(&request(&[(1, MAX_STOCK), (1, 1)])),
            "items[1].quantity"
        );

        let many: Vec<_> = (0..100).map(|id| (id, 1)).collect();
        assert_eq!(field_at_fault(&request(&many)), "items");
    }
}

//! A product of the catalogue, and the parsing of the request bodies that describe one.
//!
//! Bodies are JSON objects. The fields that the shop uses are typed and named here. Every other field
//! is an attribute, stored as given ([`attributes`]). A value of these types is valid: parsing
//! returns the first invalid field as an error.
//!
//! Numbers are kept by value, not by spelling: an attribute `1.0` is returned as `1`, as DynamoDB
//! stores it.

mod attributes;

use chassis::is_visible;
use events::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The JSON object of a request, or the free part of a product.
pub type Object = Map<String, Value>;

/// Maximum price: large enough for any shop, small enough that no order overflows 64 bits.
pub const MAX_PRICE_CENTS: u64 = 10_000_000_000;
/// Maximum stock.
pub const MAX_STOCK: u64 = 1_000_000_000;
/// Maximum length of a name, in characters.
pub const MAX_NAME_CHARS: usize = 200;
/// Maximum length of a category, in characters.
pub const MAX_CATEGORY_CHARS: usize = 64;

/// Fields that the service sets. Clients must not set them.
const GIVEN_BY_THE_SERVICE: [&str; 5] =
    ["id", "version", "stock_version", "created_at", "updated_at"];

/// The field of the stock.
const STOCK: &str = "stock";

/// A product, as stored and returned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Product {
    /// A version 7 UUID, so that products sort by the time of their creation. A client that adds a
    /// product with `PUT` chooses the id itself.
    pub id: Uuid,
    /// The fields that clients set.
    #[serde(flatten)]
    pub details: Details,
    /// Increases by one with every change by a client. Sales do not change it.
    pub version: u64,
    /// Increases by one with every change of the stock, by a client or by a sale.
    pub stock_version: u64,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change by a client; reservations of stock do not count.
    pub updated_at: Timestamp,
}

/// The fields of a product that clients set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Details {
    /// The name.
    pub name: String,
    /// The price of one unit, in minor units of the currency.
    pub price_cents: u64,
    /// ISO 4217 code of the price.
    pub currency: String,
    /// The number of units that can be sold; `None` if the stock is not counted.
    pub stock: Option<u64>,
    /// The category.
    pub category: Option<String>,
    /// Every other field, as given.
    #[serde(flatten)]
    pub attributes: Object,
}

/// A field of a request that cannot be accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} {complaint}")]
pub struct Invalid {
    /// The field, as a path into the body.
    pub field: String,
    /// The error, as a predicate that follows the field's name: `must not be empty`.
    pub complaint: String,
}

impl Invalid {
    /// Creates an error about `field`.
    pub fn new(field: impl Into<String>, complaint: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            complaint: complaint.into(),
        }
    }
}

impl Product {
    /// Creates a product at version 1.
    pub fn new(id: Uuid, details: Details, now: Timestamp) -> Self {
        Self {
            id,
            details,
            version: 1,
            stock_version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// Returns the product after a merge patch (RFC 7396): fields with a value are replaced, fields
    /// that are null are removed.
    ///
    /// # Errors
    /// Returns [`Invalid`] if the result is not a valid product.
    pub fn patched(&self, patch: &Object, now: Timestamp) -> Result<Self, Invalid> {
        let mut body = self.details.to_object();
        for (field, value) in patch {
            if value.is_null() {
                body.remove(field);
            } else {
                let merged = merged(body.remove(field), value);
                body.insert(field.clone(), merged);
            }
        }

        let details = Details::parse(body)?;
        let stock_changes = u64::from(patch.contains_key(STOCK));
        Ok(Self {
            details,
            version: self.version + 1,
            stock_version: self.stock_version + stock_changes,
            updated_at: now,
            ..self.clone()
        })
    }
}

impl Details {
    /// Parses the body of a request.
    ///
    /// # Errors
    /// Returns [`Invalid`] with the first field that is not acceptable.
    pub fn parse(mut body: Object) -> Result<Self, Invalid> {
        if let Some(field) = GIVEN_BY_THE_SERVICE
            .into_iter()
            .find(|field| body.contains_key(*field))
        {
            return Err(Invalid::new(
                field,
                "is given by the service and cannot be set",
            ));
        }

        let name = body
            .remove("name")
            .ok_or_else(|| Invalid::new("name", "is missing"))?;
        let price = body
            .remove("price_cents")
            .ok_or_else(|| Invalid::new("price_cents", "is missing"))?;

        Ok(Self {
            name: text("name", &name, MAX_NAME_CHARS)?,
            price_cents: number("price_cents", &price, MAX_PRICE_CENTS)?,
            currency: present(&mut body, "currency")
                .map_or_else(|| Ok("USD".to_owned()), |code| currency(&code))?,
            stock: present(&mut body, "stock")
                .map(|stock| number("stock", &stock, MAX_STOCK))
                .transpose()?,
            category: present(&mut body, "category")
                .map(|name| category(&name))
                .transpose()?,
            attributes: attributes::checked(body)?,
        })
    }

    /// Returns the details as a client would send them.
    fn to_object(&self) -> Object {
        match serde_json::to_value(self) {
            Ok(Value::Object(body)) => body,
            _ => unreachable!("a struct with string keys serialises to an object"),
        }
    }
}

/// Parses the name of a category.
///
/// # Errors
/// Returns [`Invalid`] if it is not a string, is empty, is too long or has a character that
/// cannot be seen.
pub fn category(value: &Value) -> Result<String, Invalid> {
    text("category", value, MAX_CATEGORY_CHARS)
}

/// Applies a merge patch (RFC 7396) below the top level: objects are merged, other values replaced.
fn merged(target: Option<Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };

    let mut target = match target {
        Some(Value::Object(target)) => target,
        _ => Object::new(),
    };

    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            let inner = merged(target.remove(field), value);
            target.insert(field.clone(), inner);
        }
    }

    Value::Object(target)
}

/// Removes and returns a field that may be absent or null.
fn present(body: &mut Object, field: &str) -> Option<Value> {
    body.remove(field).filter(|value| !value.is_null())
}

fn text(field: &str, value: &Value, max_chars: usize) -> Result<String, Invalid> {
    let text = value
        .as_str()
        .ok_or_else(|| Invalid::new(field, "must be a text"))?
        .trim();

    if text.is_empty() {
        return Err(Invalid::new(field, "must not be empty"));
    }

    if text.chars().count() > max_chars {
        return Err(Invalid::new(
            field,
            format!("must not be longer than {max_chars} characters"),
        ));
    }

    if !is_visible(text) {
        let complaint =
            "must not contain a character that is invisible or changes the direction of text";
        return Err(Invalid::new(field, complaint));
    }

    Ok(text.to_owned())
}

/// Parses a whole number from 0 to `max`. A number without a fraction is whole in any notation: 2.0 is
/// 2, as in JSON Schema. Zero must be written as 0, because `1e-400`, which is not whole, is parsed as
/// 0.0.
fn number(field: &str, value: &Value, max: u64) -> Result<u64, Invalid> {
    let whole = |number: &f64| number.fract() == 0.0 && (1.0..=max as f64).contains(number);
    let written_with_a_point = || value.as_f64().filter(whole).map(|number| number as u64);
    let within = value
        .as_u64()
        .or_else(written_with_a_point)
        .filter(|number| *number <= max);
    within.ok_or_else(|| {
        let zero = value.as_f64().filter(|number| *number == 0.0);
        let remedy = zero.map_or("", |_| "; write zero as 0");
        let reason = format!("must be a whole number from 0 to {max}{remedy}");
        Invalid::new(field, reason)
    })
}

/// Parses the code of a currency for prices: one for which ISO 4217 states the digits of a minor unit.
///
/// # Errors
/// Returns [`Invalid`] for any other value.
pub fn currency(value: &Value) -> Result<String, Invalid> {
    let has_prices = |code: &&str| {
        iso_currency::Currency::from_code(code).is_some_and(|known| known.exponent().is_some())
    };
    let complaint = || {
        let given: String = value.to_string().chars().take(20).collect();
        let reason = format!(
            "must be a currency of ISO 4217 in capital letters such as \"USD\", not {given}"
        );
        Invalid::new("currency", reason)
    };

    let code = value.as_str().filter(has_prices);
    code.map(str::to_owned).ok_or_else(complaint)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        let Value::Object(object) = value else {
            panic!("{value} is no object")
        };
        object
    }

    fn complaint_about(body: Value) -> String {
        Details::parse(object(body)).unwrap_err().field
    }

    fn lamp() -> Product {
        let body =
            json!({"name": "Lamp", "price_cents": 1999, "stock": 3, "size": {"w": 1, "h": 2}});
        let now = Timestamp::from_ms(1_000).unwrap();
        Product::new(Uuid::nil(), Details::parse(object(body)).unwrap(), now)
    }

    #[test]
    fn name_and_price_are_enough() {
        let details = Details::parse(object(json!({"name": " Lamp ", "price_cents": 0}))).unwrap();
        assert_eq!(
            (
                details.name.as_str(),
                details.price_cents,
                details.currency.as_str()
            ),
            ("Lamp", 0, "USD")
        );
        assert_eq!((details.stock, details.category), (None, None));
    }

    #[test]
    fn a_price_may_be_in_any_currency_that_has_minor_units_or_none() {
        for currency in ["JPY", "KRW", "KWD", "CLF", "EUR", "XOF", "ZWG", "XCG"] {
            let lamp = json!({"name": "Lamp", "price_cents": 1, "currency": currency});
            let details = Details::parse(object(lamp)).unwrap();
            assert_eq!(details.currency, currency);
        }
    }

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        let details = Details::parse(object(
            json!({"name": "Lamp", "price_cents": 1999.0, "stock": 3e2}),
        ))
        .unwrap();
        assert_eq!((details.price_cents, details.stock), (1999, Some(300)));

        let lost: Value = serde_json::from_str("1e-400").unwrap();
        for price in [json!(0.5), json!(-1.0), json!(1e11), json!(0.0), lost] {
            assert_eq!(
                complaint_about(json!({"name": "Lamp", "price_cents": price})),
                "price_cents"
            );
        }
    }

    #[test]
    fn every_complaint_names_its_field() {
        assert_eq!(complaint_about(json!({"price_cents": 1})), "name");
        assert_eq!(
            complaint_about(json!({"name": "", "price_cents": 1})),
            "name"
        );

        assert_eq!(
            complaint_about(json!({"name": "x".repeat(201), "price_cents": 1})),
            "name"
        );

        assert_eq!(complaint_about(json!({"name": "Lamp"})), "price_cents");
        for price in [
            json!(-1),
            json!(1.5),
            json!("1"),
            json!(10_000_000_001_u64),
            Value::Null,
        ] {
            assert_eq!(
                complaint_about(json!({"name": "Lamp", "price_cents": price})),
                "price_cents"
            );
        }

        for currency in ["usd", "", "US", "USDT", "ABC", "XXX", "XAU", "XTS", "€"] {
            let lamp = json!({"name": "Lamp", "price_cents": 1, "currency": currency});
            assert_eq!(complaint_about(lamp), "currency", "{currency}");
        }

        assert_eq!(
            complaint_about(json!({"name": "Lamp", "price_cents": 1, "stock": -1})),
            "stock"
        );

        assert_eq!(
            complaint_about(json!({"name": "Lamp", "price_cents": 1, "category": 7})),
            "category"
        );

        assert_eq!(
            complaint_about(json!({"name": "Lamp", "price_cents": 1, "id": "mine"})),
            "id"
        );
    }

    #[test]
    fn names_and_categories_are_visible() {
        let joined = "👩\u{200d}👧 poster";
        let body = json!({"name": joined, "price_cents": 1, "category": joined});
        assert!(Details::parse(object(body)).is_ok());

        for hidden in [
            "\u{200b}",
            "\u{202e}gnp.exe",
            "a\u{2028}b",
            "\u{7}",
            "La\u{ad}mp",
        ] {
            let nameless = json!({"name": hidden, "price_cents": 1});
            assert_eq!(complaint_about(nameless), "name", "{hidden:?}");
            let of_category = json!({"name": "Lamp", "price_cents": 1, "category": hidden});
            assert_eq!(complaint_about(of_category), "category", "{hidden:?}");
        }
    }

    #[test]
    fn a_patch_replaces_merges_and_removes() {
        let patch =
            json!({"price_cents": 5, "stock": null, "size": {"w": 9, "h": null}, "colour": "red"});
        let patched = lamp()
            .patched(&object(patch), Timestamp::from_ms(2_000).unwrap())
            .unwrap();

        assert_eq!(
            (
                patched.details.price_cents,
                patched.details.stock,
                patched.version
            ),
            (5, None, 2)
        );

        assert_eq!(
            patched.details.attributes,
            object(json!({"size": {"w": 9}, "colour": "red"}))
        );

        assert_eq!(
            (patched.created_at.as_ms(), patched.updated_at.as_ms()),
            (1_000, 2_000)
        );
    }

    #[test]
    fn a_patch_cannot_make_a_product_invalid() {
        let refused = lamp()
            .patched(&object(json!({"name": null})), Timestamp::now())
            .unwrap_err();
        assert_eq!(refused, Invalid::new("name", "is missing"));
    }
}

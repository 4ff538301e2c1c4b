//! The import of products: a CSV in the folder `catalogue/`, with one product in each row.
//!
//! The columns `name` and `price_cents` are required; `currency`, `stock` and `category` are
//! optional; any other column becomes an attribute of the product. A product is identified by its
//! `sku`, or by its name if it has none, in the normal form C of Unicode, so that the programs of
//! all systems write the same product. Its id is derived from that, so the same row is the same
//! product in every import and every file. If a file contains a product several times, its rows are
//! merged in their order: the last value of each field wins.

use std::collections::HashMap;

use chassis::is_visible;
use events::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use uuid::{Builder, Uuid};

use crate::csv::{self, Complaint, RawRow, Row, Rows};
use crate::finding::{Refusal, shortened};

/// Size limit of an import, in bytes, because its products are held in memory.
pub const MAX_BYTES: u64 = 8 << 20;
/// Largest number of products in an import.
const MAX_PRODUCTS: usize = 10_000;
/// The time in the ids of imported products, in milliseconds since 1970. Ids sort by time: imported
/// products come after the demo products and before all others.
const MADE_AT_MS: u64 = 1_760_000_000_001;
/// The number of characters of a header that a refusal shows.
const HEADER_CHARS_SHOWN: usize = 100;
const GIVEN_BY_THE_SERVICE: [&str; 5] =
    ["id", "version", "stock_version", "created_at", "updated_at"];
const NUMBERS: [&str; 2] = ["price_cents", "stock"];
/// The column that identifies a product.
const SKU: &str = "sku";
/// The columns with a meaning, in any capitalisation.
const KNOWN: [&str; 6] = [SKU, "name", "price_cents", "currency", "stock", "category"];
/// The name that pandas gives to an index column that it read without a name.
const PANDAS_INDEX: &str = "Unnamed: 0";

/// A product, merged from its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The last row of the product.
    pub raw: RawRow,
    /// The id, derived from its SKU or name.
    pub id: Uuid,
    /// The request body for the products service.
    pub body: Map<String, Value>,
}

/// The products of a file, collected row by row.
#[derive(Debug, Default)]
pub struct Products {
    columns: Vec<Use>,
    /// The products of the valid rows, each once.
    pub found: Vec<Product>,
    places: HashMap<Uuid, usize>,
    /// Number of rows that were merged with an earlier row of their product.
    pub repeated_rows: u64,
}

/// The use of a column.
#[derive(Clone, Debug, PartialEq)]
enum Use {
    /// A field of the product.
    Field(String),
    /// The index of a data frame, which is ignored.
    Index,
    /// A column without a name, by its number counted from 1. It must be empty.
    Nameless(usize),
}

impl Rows for Products {
    fn header(&mut self, row: &Row<'_>) -> Result<(), Refusal> {
        self.columns = row
            .fields()
            .map(str::trim)
            .enumerate()
            .map(use_of)
            .collect();

        let has = |name: &str| {
            self.columns
                .iter()
                .any(|column| *column == Use::Field(name.to_owned()))
        };

        if let Some(missing) = ["name", "price_cents"]
            .into_iter()
            .find(|needed| !has(needed))
        {
            return Err(Refusal::malformed(format!(
                "a catalogue needs a column {missing}, and its first row names {}",
                shown(row)
            )));
        }

        if let Some(given) = GIVEN_BY_THE_SERVICE.into_iter().find(|given| has(given)) {
            return Err(Refusal::malformed(format!(
                "a catalogue cannot say the {given} of its products; remove the column"
            )));
        }

        Ok(())
    }

    fn row(&mut self, row: &Row<'_>) -> Result<Option<Complaint>, Refusal> {
        let body = match self.body(row) {
            Ok(body) => body,
            Err(complaint) => return Ok(Some(complaint)),
        };

        let Some(id) = id(&body) else {
            return Ok(Some(Complaint::about("name", "is missing")));
        };

        self.add(Product {
            raw: row.raw(),
            id,
            body,
        })?;

        Ok(None)
    }
}

impl Products {
    fn body(&self, row: &Row<'_>) -> Result<Map<String, Value>, Complaint> {
        let mut body = Map::new();
        let fields = self.columns.iter().zip(row.fields().map(str::trim));
        for (column, field) in fields.filter(|(_, field)| !field.is_empty()) {
            match column {
                Use::Index => {}
                Use::Nameless(number) => {
                    let column = format!("column {number}");
                    return Err(Complaint::about(
                        &column,
                        "has a value and no name in the header",
                    ));
                }
                Use::Field(name) => {
                    body.insert(name.clone(), value(name, field)?);
                }
            }
        }

        Ok(body)
    }

    /// Adds a product, or merges a later row into the product with the same id.
    fn add(&mut self, product: Product) -> Result<(), Refusal> {
        if let Some(place) = self.places.get(&product.id) {
            let known = &mut self.found[*place];
            known.raw = product.raw;
            known.body.extend(product.body);
            self.repeated_rows += 1;
            return Ok(());
        }

        if self.found.len() == MAX_PRODUCTS {
            return Err(Refusal::too_large(format!(
                "a catalogue may have {MAX_PRODUCTS} products; split it"
            )));
        }

        self.places.insert(product.id, self.found.len());
        self.found.push(product);
        Ok(())
    }
}

/// Returns the names in a header, as they were read.
fn shown(header: &Row<'_>) -> String {
    let names: Vec<String> = header.fields().map(|name| format!("{name:?}")).collect();
    shortened(&names.join(", "), HEADER_CHARS_SHOWN)
}

fn use_of((at, name): (usize, &str)) -> Use {
    let lower = csv::key(name);
    let is_known =
        KNOWN.contains(&lower.as_str()) || GIVEN_BY_THE_SERVICE.contains(&lower.as_str());

    match name {
        "" if at == 0 => Use::Index,
        PANDAS_INDEX => Use::Index,
        "" => Use::Nameless(at + 1),
        _ if is_known => Use::Field(lower),
        name => Use::Field(name.nfc().collect()),
    }
}

fn value(name: &str, field: &str) -> Result<Value, Complaint> {
    if name == SKU && !is_visible(field) {
        let problem = "has a character that is invisible or changes the direction of text";
        return Err(Complaint::about(name, problem));
    }
    if !NUMBERS.contains(&name) {
        return Ok(field.nfc().collect::<String>().into());
    }
    if is_ambiguous(field) {
        let problem = format!("{field:?} may be thousands; write the number without a point");
        return Err(Complaint::about(name, problem));
    }

    let number = whole_number(field);
    let complaint = || Complaint::about(name, format!("{field:?} is not a whole number"));
    number.map(Value::from).ok_or_else(complaint)
}

/// Returns `true` for a number such as `1.000`, which is one in some countries and a thousand in
/// others.
fn is_ambiguous(field: &str) -> bool {
    let Some((whole, "000")) = field.split_once('.') else {
        return false;
    };
    let digits = whole.strip_prefix('+').unwrap_or(whole);
    (1..=3).contains(&digits.len()) && !digits.starts_with('0')
}

/// Parses a whole number that is not negative. Accepts `3`, and also `3.0`, `3.00`, `3e0` and
/// `0.3E+1`, as written by programs that store all numbers as floating point.
fn whole_number(field: &str) -> Option<u64> {
    let field = field.strip_prefix('+').unwrap_or(field);
    let (mantissa, exponent) = match field.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (field, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");

    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }

    let significant = digits.trim_end_matches('0');
    if significant.trim_start_matches('0').is_empty() {
        return Some(0);
    }

    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let shift = i64::from(exponent) - i64::try_from(fraction.len()).ok()? + zeros;
    let factor = 10_u64.checked_pow(u32::try_from(shift).ok()?)?;
    significant.parse::<u64>().ok()?.checked_mul(factor)
}

/// Returns the id of the row's product, or `None` if it has no name.
fn id(body: &Map<String, Value>) -> Option<Uuid> {
    let name = body.get("name")?.as_str()?;
    let (by, text) = match body.get(SKU).and_then(Value::as_str) {
        Some(sku) => (SKU, sku),
        None => ("name", name),
    };

    let digest = Sha256::new()
        .chain_update(by)
        .chain_update([0])
        .chain_update(text)
        .finalize();
    let tail = digest.first_chunk().expect("a digest has 32 bytes");
    let made_at = Timestamp::from_ms(MADE_AT_MS)?;
    Some(Builder::from_unix_timestamp_millis(made_at.as_ms(), tail).into_uuid())
}

#[cfg(test)]
mod tests;

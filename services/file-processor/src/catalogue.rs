//! The import of products: a CSV in the folder `catalogue/`, with one product in each row.
//!
//! The columns `name` and `price_cents` are required; `currency`, `stock` and `category` are
//! optional; any other column becomes an attribute of the product. A product is identified by its
//! `sku`, or by its name if it has none. Its id is derived from that text in Unicode's normal form C,
//! because systems compose letters differently. The same row is therefore the same product in every
//! import and every file. If a file contains a product several times, its rows are merged in their
//! order: the last value of each field wins. If each SKU of a file ends in `.0`, a program stored the
//! column as floating point, and the SKUs are the numbers without it.

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
/// Largest number of characters of a header in the text of a refusal.
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
    /// The rows of the product, in the order of the file.
    pub rows: Vec<RawRow>,
    /// For each field that a later row set, the index of that row.
    set_by: HashMap<String, usize>,
    /// The id, derived from its SKU or name.
    pub id: Uuid,
    /// The request body for the products service.
    pub body: Map<String, Value>,
}

/// A product that the products service rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedProduct {
    /// The row with the rejected value.
    pub row: RawRow,
    /// The reason.
    pub complaint: Complaint,
    /// The other rows of the product, which are not imported either.
    pub others: Vec<RawRow>,
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
    skus: Skus,
}

/// The form of the SKUs of a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Skus {
    /// No row has an SKU yet.
    #[default]
    None,
    /// Each is a whole number with `.0`, as programs write it that store a column as floating point.
    Floats,
    /// At least one is anything else.
    Texts,
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
                "a catalogue cannot set the {given} of its products; remove the column"
            )));
        }

        Ok(())
    }

    fn row(&mut self, row: &Row<'_>) -> Result<Option<Complaint>, Refusal> {
        self.note_sku(row);
        let body = match self.body(row) {
            Ok(body) => body,
            Err(complaint) => return Ok(Some(complaint)),
        };

        let Some(id) = id(&body) else {
            return Ok(Some(Complaint::about("name", "is missing")));
        };

        self.add(Product {
            rows: vec![row.raw()],
            set_by: HashMap::new(),
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
            self.found[*place].merge(product);
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

impl Products {
    /// Notes the form of the row's SKU, also if the row turns out to be bad.
    fn note_sku(&mut self, row: &Row<'_>) {
        let mut fields = self.columns.iter().zip(row.fields().map(str::trim));
        let is_sku = |column: &Use| *column == Use::Field(SKU.to_owned());
        let sku = fields.find(|(column, field)| is_sku(column) && !field.is_empty());

        if let Some((_, sku)) = sku {
            self.skus = match whole_part(sku) {
                Some(_) if self.skus != Skus::Texts => Skus::Floats,
                _ => Skus::Texts,
            };
        }
    }

    /// Removes `.0` from the SKUs if each SKU of the file has it: `1001.0` then is the product `1001`. Returns
    /// the number of products that this changed.
    pub fn drop_points(&mut self) -> u64 {
        if self.skus != Skus::Floats {
            return 0;
        }

        let mut changed = 0;
        for product in &mut self.found {
            let sku = product.body.get(SKU).and_then(Value::as_str);
            if let Some(whole) = sku.and_then(whole_part).map(str::to_owned) {
                product.body.insert(SKU.to_owned(), whole.into());
                product.id = id(&product.body).unwrap_or(product.id);
                changed += 1;
            }
        }

        changed
    }
}

impl Product {
    /// Adds a later row of the same product, whose fields replace those of earlier rows.
    fn merge(&mut self, later: Self) {
        let at = self.rows.len();
        self.set_by
            .extend(later.body.keys().map(|name| (name.clone(), at)));
        self.body.extend(later.body);
        self.rows.extend(later.rows);
    }

    /// Returns the product as rejected for this reason. The row at fault is the one that set the field.
    pub fn refused(&self, complaint: Complaint) -> RefusedProduct {
        let column = complaint.column.as_ref();
        let at = column.and_then(|column| self.set_by.get(column));
        let mut others = self.rows.clone();

        RefusedProduct {
            row: others.remove(at.copied().unwrap_or(0)),
            complaint,
            others,
        }
    }
}

impl RefusedProduct {
    /// Returns all rows of the product as bad rows, because none of them is imported.
    pub fn bad_rows(self) -> impl Iterator<Item = (RawRow, Complaint)> {
        let row = self.row.row;
        let complaint = Complaint::of_row(format!("belongs to the product of row {row}"));
        let others = self.others.into_iter();
        std::iter::once((self.row, self.complaint))
            .chain(others.map(move |other| (other, complaint.clone())))
    }
}

/// Returns the whole number in front of `.0`, or `None` if the SKU is anything else.
fn whole_part(sku: &str) -> Option<&str> {
    let whole = sku.strip_suffix(".0")?;
    let is_number = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(whole)
}

/// Returns the names in a header as they were read, cut to a limit.
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

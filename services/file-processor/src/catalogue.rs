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
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::chunks::Stop;
    use crate::csv::{self, Dialect};

    fn import(text: &str) -> Result<(Products, Value), Stop> {
        let mut products = Products::default();
        let chunks = std::iter::once(Ok(Bytes::copy_from_slice(text.as_bytes())));
        let table = csv::read(chunks, Dialect::PLAIN, &mut products)?;
        Ok((products, table.summary))
    }

    #[test]
    fn rows_become_products_and_rows_that_make_no_sense_are_bad() {
        let text =
            "name,price_cents,stock,colour\nLamp,1999,3,\nPen,free,,red\n,5,,\nCup,250,,blue\n";
        let (products, summary) = import(text).unwrap();

        let bodies: Vec<Value> = products
            .found
            .iter()
            .map(|product| product.body.clone().into())
            .collect();

        assert_eq!(
            bodies,
            [
                json!({"name": "Lamp", "price_cents": 1999, "stock": 3}),
                json!({"name": "Cup", "price_cents": 250, "colour": "blue"})
            ]
        );

        assert_eq!(products.found[1].raw.row, 4);
        assert_eq!(products.found[1].raw.line, 5);
        assert_eq!(
            (&summary["rows"], &summary["bad_rows"]),
            (&json!(4), &json!(2))
        );

        assert_eq!(
            summary["first_bad"][0],
            json!({"row": 2, "line": 3, "column": "price_cents", "problem": "\"free\" is not a whole number"})
        );
    }

    #[test]
    fn a_product_is_known_by_its_sku_or_else_by_its_name() {
        let ids = |text| {
            import(text)
                .unwrap()
                .0
                .found
                .into_iter()
                .map(|product| product.id)
                .collect::<Vec<_>>()
        };

        let first = ids("sku,name,price_cents\nL1,Lamp,1\n,Lamp,1\n");
        let second = ids("price_cents,name,sku\n2,Old Lamp,L1\n3,Lamp,\n");

        assert_eq!(first, second);
        assert_ne!(first[0], first[1]);
        assert_eq!(first[0].get_version_num(), 7);
    }

    #[test]
    fn a_header_that_is_not_a_catalogues_is_refused() {
        for header in [
            "name,price\nLamp,1\n",
            "price_cents\n1\n",
            "id,name,price_cents\n1,Lamp,1\n",
            "name,price_cents,stock_version\nLamp,1,2\n",
        ] {
            assert!(matches!(import(header), Err(Stop::Refused(_))), "{header}");
        }
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let whole = [
            "3", "3.0", "3.00", "3e0", "3E0", "3.", "+3", "03", "0.3e1", "30e-1", "3.0E+0",
            "0.003e3",
        ];

        for text in whole {
            assert_eq!(whole_number(text), Some(3), "{text}");
        }
        for text in ["0", "0.0", "000.000", "0e9", "0e-9", ".0"] {
            assert_eq!(whole_number(text), Some(0), "{text}");
        }

        assert_eq!(whole_number("1.999E+03"), Some(1999));
        assert_eq!(whole_number("10000000000.0"), Some(10_000_000_000));
        assert_eq!(whole_number("18446744073709551615"), Some(u64::MAX));

        let none = [
            "",
            ".",
            "e3",
            "3.5",
            "3e-1",
            "-3",
            "-0.5",
            "3,0",
            "1,999",
            "3.0.0",
            "3e",
            "3 0",
            "NaN",
            "inf",
            "0x3",
            "1e20",
            "1e99999999999",
            "٣",
        ];

        for text in none {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_that_may_be_thousands_is_a_bad_row() {
        for field in ["1.000", "12.000", "999.000", "+1.000"] {
            let text = format!("name,price_cents\nLamp,{field}\nPen,5\n");
            let (products, summary) = import(&text).unwrap();
            assert_eq!(products.found.len(), 1, "{field}");
            assert_eq!(summary["first_bad"][0]["column"], "price_cents", "{field}");
        }

        for (field, price) in [
            ("1.0", 1),
            ("1.00", 1),
            ("1.0000", 1),
            ("0.000", 0),
            ("1000.000", 1000),
        ] {
            let (products, _) = import(&format!("name,price_cents\nLamp,{field}\n")).unwrap();
            assert_eq!(products.found[0].body["price_cents"], price, "{field}");
        }
    }

    #[test]
    fn a_product_is_the_same_from_every_program_and_shows_what_identifies_it() {
        let (products, _) =
            import("sku,name,price_cents\nÄ1,Lamp,1\nA\u{308}1,Lamp,2\n,Käse,3\n,Ka\u{308}se,4\n")
                .unwrap();
        let bodies: Vec<Value> = products
            .found
            .iter()
            .map(|product| product.body.clone().into())
            .collect();
        assert_eq!(
            bodies,
            [
                json!({"sku": "Ä1", "name": "Lamp", "price_cents": 2}),
                json!({"name": "Käse", "price_cents": 4})
            ]
        );

        for sku in ["\u{200b}A", "A\u{202e}B", "A\u{ad}"] {
            let text = format!("sku,name,price_cents\n{sku},Lamp,1\n");
            let (_, summary) = import(&text).unwrap();
            assert_eq!(summary["first_bad"][0]["column"], "sku", "{sku:?}");
        }
    }

    #[test]
    fn a_column_is_known_though_its_name_has_hidden_characters() {
        for header in [
            "name,price_cents\u{200b}",
            "\u{feff}\u{feff}name,price_cents",
            "\u{ff4e}ame,Price_Cents\u{a0}",
        ] {
            let (products, _) = import(&format!("{header}\nLamp,5\n")).unwrap();
            let body = Value::from(products.found[0].body.clone());
            assert_eq!(
                body,
                json!({"name": "Lamp", "price_cents": 5}),
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_refusal_shows_the_header_that_was_read() {
        let Err(Stop::Refused(refusal)) = import("Price list 2026\nname;price_cents\n") else {
            panic!("a title is no header")
        };
        assert!(
            refusal.detail.contains("\"Price list 2026\""),
            "{}",
            refusal.detail
        );
    }

    #[test]
    fn the_last_row_of_a_product_holds_and_it_is_brought_once() {
        let (products, _) = import(
            "sku,name,price_cents,stock\nA,Lamp,100,1\nB,Pen,5,\nA,Lamp II,200,\n A ,Lamp III,300.0,9\n,Pen,7,\n,Pen,8,\n",
        )
        .unwrap();

        let bodies: Vec<Value> = products
            .found
            .iter()
            .map(|product| product.body.clone().into())
            .collect();

        assert_eq!(
            bodies,
            [
                json!({"sku": "A", "name": "Lamp III", "price_cents": 300, "stock": 9}),
                json!({"sku": "B", "name": "Pen", "price_cents": 5}),
                json!({"name": "Pen", "price_cents": 8})
            ]
        );

        assert_eq!((products.repeated_rows, products.found[0].raw.row), (3, 4));
    }

    #[test]
    fn an_index_of_pandas_is_no_field_and_a_value_without_a_name_is_bad() {
        for index in ["", "Unnamed: 0"] {
            let (products, summary) = import(&format!(
                "{index},NAME, Price_Cents \n0,Lamp,1999.0\n1,Pen,250\n"
            ))
            .unwrap();
            assert_eq!(summary["bad_rows"], 0);

            let body = Value::from(products.found[0].body.clone());
            assert_eq!(body, json!({"name": "Lamp", "price_cents": 1999}));
        }

        let (products, summary) = import("name,price_cents,,\nLamp,1,,\nPen,2,,red\n").unwrap();
        assert_eq!(
            (products.found.len(), &summary["first_bad"][0]["column"]),
            (1, &json!("column 4"))
        );
    }

    #[test]
    fn a_header_with_a_name_twice_is_refused() {
        for header in [
            "name,price_cents,price_cents",
            "name,price_cents, Price_Cents ",
            "name,NAME,price_cents",
            "name,price_cents,Größe,Gro\u{308}ße",
            "name,price_cents,my size,my\u{a0}size",
            "name,price_cents,price_cents\u{200b}",
        ] {
            let Err(Stop::Refused(refusal)) = import(&format!("{header}\nLamp,1,5\n")) else {
                panic!("{header}")
            };
            assert!(refusal.detail.contains("duplicate"), "{}", refusal.detail);
        }
    }
}

//! A CSV in the folder `catalogue/`: each row a product.
//!
//! The columns `name` and `price_cents` must be there; `currency`, `stock` and `category` may be; any other becomes an
//! attribute of the product. A product is known by its `sku`, or by its name where it has none: its id follows from that,
//! so the same row is the same product however often, and in however many files, it is imported.

use events::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::csv::{Row, Rows};
use crate::finding::Refusal;

/// The most bytes of an import: its products are held in memory.
pub const MAX_BYTES: u64 = 8 << 20;
/// The most products of one.
const MAX_PRODUCTS: usize = 10_000;
/// The time that the ids of imported products bear, for ids are times: behind the demo products, before all others.
const MADE_AT_MS: u64 = 1_760_000_000_001;
const GIVEN_BY_THE_SERVICE: [&str; 4] = ["id", "version", "created_at", "updated_at"];
const NUMBERS: [&str; 2] = ["price_cents", "stock"];

/// A product as its row says.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The row, counted from 1 after the header.
    pub row: u64,
    /// What follows from its SKU or name.
    pub id: Uuid,
    /// What the products service is told.
    pub body: Map<String, Value>,
}

/// The products of a file, as its rows come.
#[derive(Debug, Default)]
pub struct Products {
    columns: Vec<String>,
    /// Those whose rows make sense.
    pub found: Vec<Product>,
}

impl Rows for Products {
    fn header(&mut self, row: &Row<'_>) -> Result<(), Refusal> {
        self.columns = row.fields().map(|name| name.trim().to_owned()).collect();
        for needed in ["name", "price_cents"] {
            if !self.columns.iter().any(|column| column == needed) {
                return Err(Refusal::malformed(format!(
                    "a catalogue needs a column {needed}"
                )));
            }
        }
        match GIVEN_BY_THE_SERVICE
            .iter()
            .find(|given| self.columns.iter().any(|column| column == *given))
        {
            Some(given) => Err(Refusal::malformed(format!(
                "a catalogue cannot say the {given} of its products"
            ))),
            None => Ok(()),
        }
    }

    fn row(&mut self, number: u64, row: &Row<'_>) -> Result<Option<String>, Refusal> {
        let mut body = Map::new();
        for (column, field) in self
            .columns
            .iter()
            .zip(row.fields().map(str::trim))
            .filter(|(_, field)| !field.is_empty())
        {
            let value = match NUMBERS
                .contains(&column.as_str())
                .then(|| field.parse::<u64>())
            {
                Some(Ok(number)) => number.into(),
                Some(Err(_)) => return Ok(Some(format!("{column} is not a whole number"))),
                None => field.into(),
            };
            body.insert(column.clone(), value);
        }
        let Some(id) = id(&body) else {
            return Ok(Some("has no name".to_owned()));
        };
        if self.found.len() == MAX_PRODUCTS {
            return Err(Refusal::too_large(format!(
                "a catalogue may have {MAX_PRODUCTS} products; split it"
            )));
        }
        self.found.push(Product {
            row: number,
            id,
            body,
        });
        Ok(None)
    }
}

/// The id of the product that this row means; none without a name.
fn id(body: &Map<String, Value>) -> Option<Uuid> {
    let name = body.get("name")?.as_str()?;
    let (by, text) = match body.get("sku").and_then(Value::as_str) {
        Some(sku) => ("sku", sku),
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
    use crate::csv;

    fn import(text: &str) -> Result<(Products, Value), Stop> {
        let mut products = Products::default();
        let chunks = std::iter::once(Ok(Bytes::copy_from_slice(text.as_bytes())));
        let finding = csv::read(chunks, b',', &mut products)?;
        Ok((products, finding.summary))
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
        assert_eq!(products.found[1].row, 4);
        assert_eq!(
            (&summary["rows"], &summary["bad_rows"]),
            (&json!(4), &json!(2))
        );
        assert_eq!(
            summary["first_bad"][0],
            json!({"row": 2, "problem": "price_cents is not a whole number"})
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
        ] {
            assert!(matches!(import(header), Err(Stop::Refused(_))), "{header}");
        }
    }
}

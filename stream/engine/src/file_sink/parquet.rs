//! Records as a Parquet file, with a column for each field of their values.
//!
//! ```text
//! _key        the key, a text
//! user_id, …  a field of the values that are JSON objects, in the order of their first appearance
//! _value      a value that is not an object, or is one with a broken name; each value if the file would have too many columns
//! _headers    the headers, as in a line of JSON
//! ```
//!
//! Each column is optional. Its type follows from the values of the file: truth values, whole numbers of 64 bits, doubles
//! or texts. Values of different types, lists and objects are JSON. A field that is null in all records has no column. A
//! field whose name begins with `_` gets another `_` in front, so it is none of the columns above. Of a field that an
//! object has twice, the first counts.
//!
//! So a tombstone is a row with a key and nothing else, and two files of a topic may differ in their columns, which
//! readers unite by name (DuckDB: `union_by_name`, Spark: `mergeSchema`).

mod column;
mod kind;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use column::Column;
use kind::Kind;

const KEY: &str = "_key";
const VALUE: &str = "_value";
const HEADERS: &str = "_headers";
/// Number of rows in a row group: the encoder has this many rows in memory.
const GROUP_ROWS: usize = 10_000;
/// The limit for the columns of a file. With more, each value is one cell.
const COLUMNS_MAX: usize = 500;
/// The reason why no call of the library fails here.
const WRITABLE: &str = "each column has the type of its values, and memory takes all";

/// A line of JSON, as [`append`](super::line::append) writes it.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    value: &'a RawValue,
    headers: Option<&'a RawValue>,
}

/// The fields of an object.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The columns of a file.
struct Columns {
    /// The place of each column, by name.
    places: HashMap<String, usize>,
    kinds: Vec<(String, Kind)>,
    /// True if each value is one cell.
    has_whole_values: bool,
}

/// Returns a Parquet file with the records of these lines.
pub fn file_of(lines: &[u8]) -> Vec<u8> {
    let columns = Columns::of(lines);
    write(lines, &columns).expect(WRITABLE)
}

impl Columns {
    /// Returns the columns of these records.
    fn of(lines: &[u8]) -> Self {
        let columns = Self::with(lines, false);
        if columns.kinds.len() <= COLUMNS_MAX {
            return columns;
        }
        Self::with(lines, true)
    }

    fn with(lines: &[u8], has_whole_values: bool) -> Self {
        let mut columns = Self {
            places: HashMap::new(),
            kinds: Vec::new(),
            has_whole_values,
        };

        for line in each_line(lines) {
            for_each_cell(line, has_whole_values, |name, value| {
                if let Some(kind) = Kind::of(value) {
                    columns.add(name, kind);
                }
            });
            if columns.kinds.len() > COLUMNS_MAX {
                break;
            }
        }
        columns
    }

    fn add(&mut self, name: &str, kind: Kind) {
        if let Some(place) = self.places.get(name) {
            let known = &mut self.kinds[*place].1;
            *known = known.and(kind);
            return;
        }
        self.places.insert(name.to_owned(), self.kinds.len());
        self.kinds.push((name.to_owned(), kind));
    }

    fn schema(&self) -> Result<Type, ParquetError> {
        let fields = self.kinds.iter().map(|(name, kind)| kind.field(name));
        let fields = fields.map(|field| field.map(Arc::new));
        Type::group_type_builder("records")
            .with_fields(fields.collect::<Result<_, _>>()?)
            .build()
    }
}

fn write(lines: &[u8], columns: &Columns) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let schema = Arc::new(columns.schema()?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()))?;

    let mut cells: Vec<_> = columns
        .kinds
        .iter()
        .map(|(_, kind)| Column::new(*kind))
        .collect();
    let mut rows = 0;
    let mut left = each_line(lines).peekable();
    while let Some(line) = left.next() {
        for_each_cell(line, columns.has_whole_values, |name, value| {
            if let Some(place) = columns.places.get(name) {
                cells[*place].set(rows, value);
            }
        });
        rows += 1;

        if rows == GROUP_ROWS || left.peek().is_none() {
            let mut group = writer.next_row_group()?;
            for column in &mut cells {
                column.write(rows, &mut group)?;
            }
            group.close()?;
            rows = 0;
        }
    }

    writer.into_inner()
}

fn each_line(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|byte| *byte == b'\n')
}

/// Passes the cells of a record with the names of their columns.
fn for_each_cell(line: &[u8], has_whole_values: bool, mut each: impl FnMut(&str, &RawValue)) {
    let Line {
        key,
        value,
        headers,
    } = serde_json::from_slice(line).expect("lines of records are JSON");
    each(KEY, key);

    match fields(value).filter(|_| !has_whole_values) {
        None => each(VALUE, value),
        Some(Object(fields)) => {
            for (name, value) in fields {
                if name.starts_with('_') {
                    each(&format!("_{name}"), value);
                } else {
                    each(&name, value);
                }
            }
        }
    }

    if let Some(headers) = headers {
        each(HEADERS, headers);
    }
}

/// Returns the fields of an object; none of another value, or if a name is no text.
fn fields(value: &RawValue) -> Option<Object<'_>> {
    let is_object = value.get().starts_with('{');
    is_object.then(|| serde_json::from_str(value.get()).ok())?
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object<'de>, M::Error> {
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

/// A name, which is borrowed from the text if it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests;

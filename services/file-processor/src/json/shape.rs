//! The shape of a document: its depth, the names in its rows, and the number of its values. Pure.
//!
//! A name that an object has twice is listed, because two readers of the object may see different
//! values. A request with such an object is refused; a file is only described.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use crate::finding::shortened;

/// Largest number of names that are kept.
const KEYS_SHOWN: usize = 64;
/// Number of characters kept of each name.
const KEY_CHARS_SHOWN: usize = 64;
/// Largest number of names that are compared in an object and the objects around it. It is limited
/// because their hashes are held in memory.
const MAX_OPEN_NAMES: usize = 1_000_000;
/// Largest number of repeated names that are listed.
const REPEATED_SHOWN: usize = 20;

/// The shape of all documents walked so far.
#[derive(Default)]
pub(super) struct Shape {
    /// The type of the top-level value.
    top: Option<&'static str>,
    /// The greatest depth of nested arrays and objects.
    depth: usize,
    /// Number of strings, numbers, booleans and nulls.
    values: u64,
    /// Number of elements of the top-level array.
    elements: u64,
    /// The names in the top-level object, or in the objects of the top-level array, in the order of
    /// their first occurrence.
    keys: Vec<String>,
    has_more_keys: bool,
    /// The names that an object has twice, in the order in which they were found.
    repeated: Vec<String>,
    /// Number of names in the objects that are being walked.
    open_names: usize,
    /// Hashes the names, with a random seed, so that no file can be made whose names collide.
    hash: RandomState,
}

impl Shape {
    /// Returns the summary of one document.
    pub(super) fn of_document(self) -> Value {
        let rows = (self.top == Some("array")).then_some(self.elements);
        let summary = json!({
            "top": self.top, "depth": self.depth, "values": self.values, "rows": rows,
            "keys": self.keys, "has_more_keys": self.has_more_keys,
        });
        self.with_repeated(summary)
    }

    /// Returns the summary of a file with one document per line.
    pub(super) fn of_lines(self, rows: u64, bad_rows: u64, first_bad: &[Value]) -> Value {
        let summary = json!({
            "depth": self.depth, "values": self.values, "rows": rows, "bad_rows": bad_rows, "first_bad": first_bad,
            "keys": self.keys, "has_more_keys": self.has_more_keys,
        });
        self.with_repeated(summary)
    }

    /// Adds the names that an object has twice, if there are any.
    fn with_repeated(self, mut summary: Value) -> Value {
        if !self.repeated.is_empty() {
            summary["repeated_keys"] = json!(self.repeated);
        }
        summary
    }

    fn note_key(&mut self, key: &str) {
        let key = shortened(key, KEY_CHARS_SHOWN);
        if self.keys.contains(&key) {
            return;
        }

        if self.keys.len() < KEYS_SHOWN {
            self.keys.push(key);
        } else {
            self.has_more_keys = true;
        }
    }

    /// Adds a name to those that the object has already; lists it if it is one of them.
    fn note_name(&mut self, names: &mut HashSet<u64>, name: &str) {
        if self.open_names == MAX_OPEN_NAMES {
            return;
        }

        if names.insert(self.hash.hash_one(name)) {
            self.open_names += 1;
            return;
        }

        let name = shortened(name, KEY_CHARS_SHOWN);
        if self.repeated.len() < REPEATED_SHOWN && !self.repeated.contains(&name) {
            self.repeated.push(name);
        }
    }
}

/// Walks one value.
pub(super) struct Walk<'a> {
    shape: &'a mut Shape,
    /// Number of arrays and objects around the value.
    depth: usize,
    /// Whether the names of an object here are those of a row.
    is_row: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(shape: &'a mut Shape) -> Self {
        // The line before may have ended within an object, whose names were then not subtracted.
        shape.open_names = 0;
        Self {
            shape,
            depth: 0,
            is_row: true,
        }
    }

    /// Adds a value that contains no others.
    fn leaf(self, name: &'static str) {
        self.shape.values += 1;
        if self.depth == 0 {
            self.shape.top = Some(name);
        }
    }

    /// Adds an array or an object.
    fn enter(&mut self, name: &'static str) {
        if self.depth == 0 {
            self.shape.top = Some(name);
        }
        self.depth += 1;
        self.shape.depth = self.shape.depth.max(self.depth);
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leaf("null");
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.leaf("boolean");
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.leaf("number");
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.leaf("number");
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.leaf("number");
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.leaf("text");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let is_rows = self.depth == 0;
        self.enter("array");
        while elements
            .next_element_seed(Walk {
                shape: self.shape,
                depth: self.depth,
                is_row: is_rows,
            })?
            .is_some()
        {
            self.shape.elements += u64::from(is_rows);
        }

        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.enter("object");
        let mut names = HashSet::new();
        while fields
            .next_key_seed(Key {
                shape: self.shape,
                names: &mut names,
                is_row: self.is_row,
            })?
            .is_some()
        {
            fields.next_value_seed(Walk {
                shape: self.shape,
                depth: self.depth,
                is_row: false,
            })?;
        }

        self.shape.open_names -= names.len();
        Ok(())
    }
}

/// Adds the name of a field.
struct Key<'a> {
    shape: &'a mut Shape,
    /// The hashes of the names that its object has already.
    names: &'a mut HashSet<u64>,
    is_row: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        if self.is_row {
            self.shape.note_key(name);
        }
        self.shape.note_name(self.names, name);
        Ok(())
    }
}

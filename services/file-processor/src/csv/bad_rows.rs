//! The bad rows of a file: the first ones with their reasons, and all that fit as a CSV for
//! correction and a new upload.

use serde_json::{Value, json};

use super::Row;

/// Number of bad rows in the summary.
const SHOWN: usize = 20;
/// Largest number of rows in the CSV.
const MAX_ROWS: usize = 1000;
/// Size limit of the CSV, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Number of characters of a column's name in the summary.
const COLUMN_CHARS_SHOWN: usize = 64;
/// The byte order mark, which spreadsheets need to recognise UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The reason why a row is bad.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    /// The column with the problem, unless the problem concerns the whole row.
    pub column: Option<String>,
    /// The problem, as a predicate: `has 2 fields where the header has 3`.
    pub problem: String,
}

impl Complaint {
    /// Creates a complaint about the field in `column`.
    pub fn about(column: &str, problem: impl Into<String>) -> Self {
        Self {
            column: Some(crate::finding::shortened(column, COLUMN_CHARS_SHOWN)),
            problem: problem.into(),
        }
    }

    /// Creates a complaint about the whole row.
    pub fn of_row(problem: impl Into<String>) -> Self {
        Self {
            column: None,
            problem: problem.into(),
        }
    }

    /// Returns the entry for the metadata.
    pub fn summary(&self, raw: &RawRow) -> Value {
        let RawRow { row, line, .. } = raw;
        json!({"row": row, "line": line, "column": self.column, "problem": self.problem})
    }
}

/// The position and the text of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawRow {
    /// The row, counted from 1 after the header.
    pub row: u64,
    /// The line of the file on which it begins, counted from 1.
    pub line: u64,
    /// The row as CSV, with the end of its line.
    pub text: String,
}

/// The bad rows of a file.
#[derive(Debug, Default)]
pub struct BadRows {
    header: String,
    count: u64,
    kept: Vec<(RawRow, Complaint)>,
    kept_bytes: usize,
}

/// The CSV of bad rows.
#[derive(Debug, Eq, PartialEq)]
pub struct Mend {
    /// The content of the CSV file.
    pub bytes: Vec<u8>,
    rows: usize,
    has_more: bool,
}

impl BadRows {
    /// Creates an empty list below this header.
    pub fn new(header: String) -> Self {
        Self {
            header,
            ..Self::default()
        }
    }

    /// Returns the number of bad rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a bad row. `raw` is called only if there is room for the row's text.
    pub fn note(&mut self, complaint: Complaint, raw: impl FnOnce() -> RawRow) {
        self.count += 1;
        let has_room = self.kept.len() < MAX_ROWS && self.kept_bytes < MAX_BYTES;
        if has_room {
            let raw = raw();
            self.kept_bytes += raw.text.len();
            self.kept.push((raw, complaint));
        }
    }

    /// Returns the first bad rows, for the metadata.
    pub fn first(&self) -> Vec<Value> {
        let shown = self.in_order().into_iter().take(SHOWN);
        shown
            .map(|(raw, complaint)| complaint.summary(raw))
            .collect()
    }

    /// Returns the CSV for correction, or `None` if no row is bad.
    pub fn mend(&self) -> Option<Mend> {
        let kept = self.in_order();
        if kept.is_empty() {
            return None;
        }

        let rows: String = kept.iter().map(|(raw, _)| raw.text.as_str()).collect();
        let text = format!("{}{rows}", self.header);
        let mark = if text.is_ascii() { "" } else { BYTE_ORDER_MARK };

        Some(Mend {
            bytes: format!("{mark}{text}").into_bytes(),
            rows: kept.len(),
            has_more: self.count > kept.len() as u64,
        })
    }

    /// Returns the kept rows in the order of the file. Sorting is needed because rows that the
    /// products service rejected are added after all others.
    fn in_order(&self) -> Vec<&(RawRow, Complaint)> {
        let mut kept: Vec<_> = self.kept.iter().collect();
        kept.sort_by_key(|(raw, _)| raw.row);
        kept
    }
}

impl Mend {
    /// Returns the entry for the metadata, for a CSV that is stored under `key`.
    pub fn summary(&self, key: &str) -> Value {
        json!({"key": key, "rows": self.rows, "has_more": self.has_more, "size_bytes": self.bytes.len()})
    }
}

/// Formats a row as CSV, with quotation marks where they are needed.
pub(super) fn as_csv(row: &Row<'_>, delimiter: u8) -> String {
    let delimiter = char::from(delimiter);
    let mut text = String::new();
    for (at, field) in row.fields().enumerate() {
        if at > 0 {
            text.push(delimiter);
        }

        let needs_quotes = |c: char| c == delimiter || matches!(c, '"' | '\n' | '\r');
        if field.contains(needs_quotes) {
            text.push('"');
            text.push_str(&field.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(field);
        }
    }

    text.push_str("\r\n");
    text
}

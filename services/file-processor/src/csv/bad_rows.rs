//! The rows that are not taken: the first of them with the reason, and as a CSV to be mended and sent again.

use serde_json::{Value, json};

use super::Row;

/// Of how many bad rows the summary tells.
const SHOWN: usize = 20;
/// The most rows of the CSV.
const MAX_ROWS: usize = 1000;
/// The most bytes of the CSV.
const MAX_BYTES: usize = 1 << 20;
/// How many characters of a column's name.
const COLUMN_CHARS_SHOWN: usize = 64;
/// What spreadsheets need to see to read UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Why a row is not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    /// The column at fault, where one is.
    pub column: Option<String>,
    /// What is wrong, to be read after the row.
    pub problem: String,
}

impl Complaint {
    /// A complaint about the field in `column`.
    pub fn about(column: &str, problem: impl Into<String>) -> Self {
        Self {
            column: Some(crate::finding::shortened(column, COLUMN_CHARS_SHOWN)),
            problem: problem.into(),
        }
    }

    /// A complaint about the row.
    pub fn of_row(problem: impl Into<String>) -> Self {
        Self {
            column: None,
            problem: problem.into(),
        }
    }

    /// What the metadata says of it.
    pub fn summary(&self, source: &Source) -> Value {
        let Source { row, line, .. } = source;
        json!({"row": row, "line": line, "column": self.column, "problem": self.problem})
    }
}

/// Where a row stands, and what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
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
    kept: Vec<(Source, Complaint)>,
    kept_bytes: usize,
}

/// The CSV of the bad rows.
#[derive(Debug, Eq, PartialEq)]
pub struct Mend {
    /// The file.
    pub bytes: Vec<u8>,
    rows: usize,
    has_more: bool,
}

impl BadRows {
    /// None so far, below this header.
    pub fn new(header: String) -> Self {
        Self {
            header,
            ..Self::default()
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Notes one more. Its text is asked for where there is room for it.
    pub fn note(&mut self, complaint: Complaint, source: impl FnOnce() -> Source) {
        self.count += 1;
        let has_room = self.kept.len() < MAX_ROWS && self.kept_bytes < MAX_BYTES;
        if has_room {
            let source = source();
            self.kept_bytes += source.text.len();
            self.kept.push((source, complaint));
        }
    }

    /// The first of them, for the metadata.
    pub fn first(&self) -> Vec<Value> {
        let shown = self.in_order().into_iter().take(SHOWN);
        shown
            .map(|(source, complaint)| complaint.summary(source))
            .collect()
    }

    /// The CSV to be mended; none where no row is bad.
    pub fn mend(&self) -> Option<Mend> {
        let kept = self.in_order();
        if kept.is_empty() {
            return None;
        }

        let rows: String = kept
            .iter()
            .map(|(source, _)| source.text.as_str())
            .collect();
        let text = format!("{}{rows}", self.header);
        let mark = if text.is_ascii() { "" } else { BYTE_ORDER_MARK };

        Some(Mend {
            bytes: format!("{mark}{text}").into_bytes(),
            rows: kept.len(),
            has_more: self.count > kept.len() as u64,
        })
    }

    /// Rows that the products service refused come after all others; the file has them in between.
    fn in_order(&self) -> Vec<&(Source, Complaint)> {
        let mut kept: Vec<_> = self.kept.iter().collect();
        kept.sort_by_key(|(source, _)| source.row);
        kept
    }
}

impl Mend {
    /// What the metadata says of it, once it is kept under `key`.
    pub fn summary(&self, key: &str) -> Value {
        json!({"key": key, "rows": self.rows, "has_more": self.has_more, "size_bytes": self.bytes.len()})
    }
}

/// A row as CSV, with quotation marks where they are needed.
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

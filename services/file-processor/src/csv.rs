//! Reads CSV of any length in bounded memory.
//!
//! [`csv_core`] is a parser without buffers of its own. It writes one row at a time into buffers of
//! fixed size here. An unclosed quotation mark or a row of a million columns is therefore refused
//! before it exhausts the memory. A row with another number of fields than the header is counted as
//! bad and skipped. A row without a value, as spreadsheets leave them, is not counted. Text that is
//! not UTF-8 is refused, and so is a header with a duplicate name.

mod bad_rows;
mod column;
mod dialect;

use std::collections::HashMap;

use bytes::Bytes;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization;

use crate::chunks::{Chunk, Stop};
use crate::finding::{Finding, Reason, Refusal, shortened};
use bad_rows::as_csv;
pub use bad_rows::{BadRows, Complaint, RawRow};
use column::Column;
pub use dialect::{Dialect, Head, is_likely};

/// Largest number of columns.
const MAX_COLUMNS: usize = 1000;
/// Size limit of one row, in bytes, without quotation marks and separators.
const MAX_ROW_BYTES: usize = 1 << 20;
/// The end-of-file mark of CP/M and DOS, which old programs still write.
const DOS_END: char = '\u{1a}';
/// Number of columns in the summary.
const COLUMNS_SHOWN: usize = 64;
/// Number of characters of a column's name in the summary.
const NAME_CHARS_SHOWN: usize = 64;

/// One row, with its fields in the order of the header.
pub struct Row<'a> {
    text: &'a str,
    ends: &'a [usize],
    place: Place,
    delimiter: u8,
}

/// The position of a row.
#[derive(Clone, Copy)]
struct Place {
    /// The number of the row, counted from 1 after the header.
    row: u64,
    /// The line on which it begins, counted from 1.
    line: u64,
}

impl<'a> Row<'a> {
    /// Returns its fields.
    pub fn fields(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.text;
        let ends = self.ends;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends).map(move |(start, end)| &text[start..*end])
    }

    /// Returns its position and its text.
    pub fn raw(&self) -> RawRow {
        RawRow {
            row: self.place.row,
            line: self.place.line,
            text: as_csv(self, self.delimiter),
        }
    }

    /// Returns `true` if no field has a value. White space and the end-of-file mark of DOS are no
    /// values.
    fn is_blank(&self) -> bool {
        let is_nothing = |c: char| c.is_whitespace() || c == DOS_END;
        self.text.trim_matches(is_nothing).is_empty()
    }
}

/// A consumer of the rows of a file, the header first.
pub trait Rows {
    /// Receives the names of the columns.
    ///
    /// # Errors
    /// [`Refusal`] when they are not acceptable.
    fn header(&mut self, row: &Row<'_>) -> Result<(), Refusal>;

    /// Receives the next row. Returns a complaint if the row is bad.
    ///
    /// # Errors
    /// [`Refusal`] when the whole file is not acceptable.
    fn row(&mut self, row: &Row<'_>) -> Result<Option<Complaint>, Refusal>;
}

/// Consumes the rows of a file that is only summarised.
pub struct Shape;

impl Rows for Shape {
    fn header(&mut self, _: &Row<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn row(&mut self, _: &Row<'_>) -> Result<Option<Complaint>, Refusal> {
        Ok(None)
    }
}

/// The result of reading a file.
#[derive(Debug)]
pub struct Table {
    /// The summary.
    pub summary: Value,
    /// The bad rows.
    pub bad_rows: BadRows,
}

impl Table {
    /// Returns the finding about the file.
    pub fn finding(self) -> Finding {
        Finding {
            kind: "csv",
            summary: self.summary,
        }
    }
}

/// Reads a file in UTF-8 to its end and summarises it. `rows` receives every well-formed row.
///
/// # Errors
/// [`Stop`] when the file is refused or cannot be read.
pub fn read(
    chunks: impl Iterator<Item = Chunk>,
    dialect: Dialect,
    rows: &mut impl Rows,
) -> Result<Table, Stop> {
    let mut file = File::new(dialect, rows);
    let mut skip = dialect.header_at;
    for chunk in chunks {
        let chunk = chunk?;
        let text = &chunk[skip.min(chunk.len())..];
        skip -= chunk.len() - text.len();
        if !text.is_empty() {
            file.take(text)?;
        }
    }

    file.take(&Bytes::new())?;
    file.table()
}

struct File<'a, R> {
    reader: Reader,
    dialect: Dialect,
    text: Vec<u8>,
    text_used: usize,
    ends: Vec<usize>,
    ends_used: usize,
    columns: Vec<Column>,
    rows: &'a mut R,
    row_count: u64,
    /// Number of line ends read so far, if they are `\r`.
    carriage_returns: u64,
    bad_rows: BadRows,
}

impl<'a, R: Rows> File<'a, R> {
    fn new(dialect: Dialect, rows: &'a mut R) -> Self {
        let mut reader = ReaderBuilder::new().delimiter(dialect.delimiter).build();
        reader.set_line(dialect.lines_before + 1);
        Self {
            reader,
            dialect,
            text: vec![0; MAX_ROW_BYTES],
            text_used: 0,
            ends: vec![0; MAX_COLUMNS + 1],
            ends_used: 0,
            columns: Vec::new(),
            rows,
            row_count: 0,
            carriage_returns: 0,
            bad_rows: BadRows::default(),
        }
    }

    /// Reads the next bytes of the file. An empty slice marks the end of the file.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        loop {
            let text = &mut self.text[self.text_used..];
            let ends = &mut self.ends[self.ends_used..];
            let (result, read, written, ended) = self.reader.read_record(bytes, text, ends);
            let taken;
            (taken, bytes) = bytes.split_at(read);
            self.text_used += written;
            self.ends_used += ended;
            self.count_lines(taken);

            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(()),
                ReadRecordResult::OutputFull => return Err(self.row_too_long()),
                ReadRecordResult::OutputEndsFull => return Err(too_many_columns()),
                ReadRecordResult::Record => {
                    self.take_record(taken.last())?;
                    (self.text_used, self.ends_used) = (0, 0);
                }
            }
        }
    }

    /// Counts line ends if they are `\r`. The parser itself counts `\n`.
    fn count_lines(&mut self, taken: &[u8]) {
        if self.dialect.line_end == b'\r' {
            self.carriage_returns += taken.iter().filter(|byte| **byte == b'\r').count() as u64;
        }
    }

    /// Returns the line on which the row in the buffer begins. `last` is the last byte that was read
    /// of the row.
    fn line(&self, last: Option<&u8>) -> u64 {
        let line_end = self.dialect.line_end;
        let within = self.text[..self.text_used]
            .iter()
            .filter(|byte| **byte == line_end)
            .count();

        let own_end = u64::from(last == Some(&line_end));
        (self.reader.line() + self.carriage_returns).saturating_sub(within as u64 + own_end)
    }

    fn take_record(&mut self, last: Option<&u8>) -> Result<(), Refusal> {
        let ends = &self.ends[..self.ends_used];
        if ends.len() > MAX_COLUMNS {
            return Err(too_many_columns());
        }

        let text = std::str::from_utf8(&self.text[..self.text_used]).ok();
        let text = text.filter(|text| ends.iter().all(|end| text.is_char_boundary(*end)));
        let Some(text) = text else {
            return Err(not_utf8(self.line(last)));
        };

        let mut row = Row {
            text,
            ends,
            place: Place {
                row: self.row_count + 1,
                line: 0,
            },
            delimiter: self.dialect.delimiter,
        };

        if row.is_blank() {
            return Ok(());
        }

        if self.columns.is_empty() {
            self.columns = header(&row)?;
            self.bad_rows = BadRows::new(as_csv(&row, row.delimiter));
            return self.rows.header(&row);
        }

        self.row_count += 1;
        row.place.line = self.line(last);
        if let Some(complaint) = take_row(&mut self.columns, self.rows, &row)? {
            self.bad_rows.note(complaint, || row.raw());
        }

        Ok(())
    }

    fn row_too_long(&self) -> Refusal {
        let row = self.row_count + 1;
        Refusal::too_large(format!(
            "row {row} is longer than 1 MiB; is a quotation mark left open?"
        ))
    }

    fn table(self) -> Result<Table, Stop> {
        if self.columns.is_empty() {
            return Err(Refusal::new(Reason::Empty, "it has no header").into());
        }

        let shown = self.columns.iter().take(COLUMNS_SHOWN);
        let shown: Vec<Value> = shown
            .map(|column| json!({"name": shortened(&column.name, NAME_CHARS_SHOWN), "type": column.kind()}))
            .collect();

        let summary = json!({
            "delimiter": self.dialect.separator(),
            "column_count": self.columns.len(),
            "columns": shown,
            "rows": self.row_count,
            "bad_rows": self.bad_rows.count(),
            "first_bad": self.bad_rows.first(),
        });

        Ok(Table {
            summary,
            bad_rows: self.bad_rows,
        })
    }
}

/// Parses the columns of a header. Columns without a name are accepted.
///
/// # Errors
/// [`Refusal`] when a name occurs twice, because it would be ambiguous.
fn header(row: &Row<'_>) -> Result<Vec<Column>, Refusal> {
    let names: Vec<&str> = row.fields().map(str::trim).collect();
    let mut places = HashMap::new();
    for (at, name) in names
        .iter()
        .enumerate()
        .filter(|(_, name)| !name.is_empty())
    {
        if let Some(earlier) = places.insert(key(name), at) {
            let name = shortened(name, NAME_CHARS_SHOWN);
            let first = earlier + 1;
            let second = at + 1;
            return Err(Refusal::malformed(format!(
                "its header has a duplicate: columns {first} and {second} are both called {name}; rename or remove one"
            )));
        }
    }

    Ok(names.into_iter().map(Column::new).collect())
}

/// Returns the normal form of a column's name; names with the same form are duplicates. It ignores
/// case, the kind of spaces, characters that cannot be seen, and how letters are composed (NFKC).
pub fn key(name: &str) -> String {
    let is_hidden = |c: &char| {
        matches!(
            c,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
        )
    };
    let seen: String = name.nfkc().filter(|c| !is_hidden(c)).collect();
    let words: Vec<&str> = seen.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

fn take_row(
    columns: &mut [Column],
    rows: &mut impl Rows,
    row: &Row<'_>,
) -> Result<Option<Complaint>, Refusal> {
    if row.ends.len() != columns.len() {
        let has = row.ends.len();
        let wanted = columns.len();
        let problem = format!("has {has} fields where the header has {wanted}");
        return Ok(Some(Complaint::of_row(problem)));
    }

    for (column, field) in columns.iter_mut().zip(row.fields()) {
        column.take(field);
    }

    rows.row(row)
}

fn too_many_columns() -> Refusal {
    Refusal::too_large(format!("it has more than {MAX_COLUMNS} columns"))
}

fn not_utf8(line: u64) -> Refusal {
    Refusal::malformed(format!(
        "line {line} is not UTF-8, and lines before it are; save it as UTF-8"
    ))
}

#[cfg(test)]
mod tests;

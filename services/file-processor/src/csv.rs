//! Reads CSV of any length in bounded memory.
//!
//! [`csv_core`] is a parser without buffers of its own: it writes one row at a time into ours, which have fixed sizes, so
//! that a quotation mark that is never closed, or a row of a million columns, is a refusal and not an exhausted memory.
//! A row whose number of fields is not the header's is counted as bad and skipped; text that is not UTF-8 is refused.

mod column;

use bytes::Bytes;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Value, json};

use crate::chunks::{Chunk, Stop};
use crate::finding::{Finding, Reason, Refusal, shortened};
use column::Column;

/// The most columns.
const MAX_COLUMNS: usize = 1000;
/// The most bytes of one row, without quotation marks and separators.
const MAX_ROW_BYTES: usize = 1 << 20;
/// Of how many columns the summary tells.
const COLUMNS_SHOWN: usize = 64;
/// How many characters of a column's name.
const NAME_CHARS_SHOWN: usize = 64;
/// Of how many bad rows.
const BAD_ROWS_SHOWN: usize = 5;

/// One row, its fields in the order of the header.
pub struct Row<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Row<'a> {
    /// Its fields.
    pub fn fields(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (text, ends) = (self.text, self.ends);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts.zip(ends).map(move |(start, end)| &text[start..*end])
    }
}

/// Takes the rows of a file, the header first.
pub trait Rows {
    /// The names of the columns.
    ///
    /// # Errors
    /// [`Refusal`] when they will not do.
    fn header(&mut self, row: &Row<'_>) -> Result<(), Refusal>;

    /// Row `number`, counted from 1 after the header. The text says what is wrong with it, if something is.
    ///
    /// # Errors
    /// [`Refusal`] when the whole file will not do.
    fn row(&mut self, number: u64, row: &Row<'_>) -> Result<Option<String>, Refusal>;
}

/// For a file of which only the shape is asked.
pub struct Shape;

impl Rows for Shape {
    fn header(&mut self, _: &Row<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn row(&mut self, _: u64, _: &Row<'_>) -> Result<Option<String>, Refusal> {
        Ok(None)
    }
}

/// Reads a file to its end and says what is in it; `rows` sees every row that is well-formed.
///
/// # Errors
/// [`Stop`] when it is refused or cannot be read.
pub fn read(
    chunks: impl Iterator<Item = Chunk>,
    delimiter: u8,
    rows: &mut impl Rows,
) -> Result<Finding, Stop> {
    let mut file = File::new(delimiter, rows);
    for chunk in chunks {
        file.take(&chunk?)?;
    }
    file.take(&Bytes::new())?;
    file.finding()
}

struct File<'a, R> {
    reader: Reader,
    delimiter: u8,
    text: Vec<u8>,
    text_used: usize,
    ends: Vec<usize>,
    ends_used: usize,
    columns: Vec<Column>,
    rows: &'a mut R,
    row_count: u64,
    bad_rows: u64,
    first_bad: Vec<Value>,
}

impl<'a, R: Rows> File<'a, R> {
    fn new(delimiter: u8, rows: &'a mut R) -> Self {
        Self {
            reader: ReaderBuilder::new().delimiter(delimiter).build(),
            delimiter,
            text: vec![0; MAX_ROW_BYTES],
            text_used: 0,
            ends: vec![0; MAX_COLUMNS + 1],
            ends_used: 0,
            columns: Vec::new(),
            rows,
            row_count: 0,
            bad_rows: 0,
            first_bad: Vec::new(),
        }
    }

    /// Takes the next bytes of the file; none say that it ends here.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        loop {
            let (text, ends) = (
                &mut self.text[self.text_used..],
                &mut self.ends[self.ends_used..],
            );
            let (result, read, written, ended) = self.reader.read_record(bytes, text, ends);
            bytes = &bytes[read..];
            self.text_used += written;
            self.ends_used += ended;
            match result {
                ReadRecordResult::InputEmpty | ReadRecordResult::End => return Ok(()),
                ReadRecordResult::OutputFull => {
                    let row = self.row_count + 1;
                    let detail =
                        format!("row {row} is longer than 1 MiB; is a quotation mark left open?");
                    return Err(Refusal::too_large(detail));
                }
                ReadRecordResult::OutputEndsFull => {
                    return Err(Refusal::too_large(format!(
                        "it has more than {MAX_COLUMNS} columns"
                    )));
                }
                ReadRecordResult::Record => {
                    self.take_record()?;
                    (self.text_used, self.ends_used) = (0, 0);
                }
            }
        }
    }

    fn take_record(&mut self) -> Result<(), Refusal> {
        let ends = &self.ends[..self.ends_used];
        if ends.len() > MAX_COLUMNS {
            return Err(Refusal::too_large(format!(
                "it has more than {MAX_COLUMNS} columns"
            )));
        }
        let text = std::str::from_utf8(&self.text[..self.text_used]).ok();
        let text = text.filter(|text| ends.iter().all(|end| text.is_char_boundary(*end)));
        let Some(text) = text else {
            return Err(not_utf8(&self.columns, self.row_count));
        };
        let row = Row { text, ends };
        if self.columns.is_empty() {
            self.columns = row.fields().map(Column::new).collect();
            return self.rows.header(&row);
        }
        self.row_count += 1;
        let complaint = if ends.len() == self.columns.len() {
            self.columns
                .iter_mut()
                .zip(row.fields())
                .for_each(|(column, field)| column.take(field));
            self.rows.row(self.row_count, &row)?
        } else {
            Some(format!(
                "has {} fields where the header has {}",
                ends.len(),
                self.columns.len()
            ))
        };
        if let Some(complaint) = complaint {
            self.note(&complaint);
        }
        Ok(())
    }

    fn note(&mut self, complaint: &str) {
        self.bad_rows += 1;
        if self.first_bad.len() < BAD_ROWS_SHOWN {
            self.first_bad
                .push(json!({"row": self.row_count, "problem": complaint}));
        }
    }

    fn finding(self) -> Result<Finding, Stop> {
        if self.columns.is_empty() {
            return Err(Refusal::new(Reason::Empty, "it has no header").into());
        }
        let shown = self.columns.iter().take(COLUMNS_SHOWN);
        let shown: Vec<Value> = shown
            .map(|column| json!({"name": shortened(&column.name, NAME_CHARS_SHOWN), "type": column.kind()}))
            .collect();
        let summary = json!({
            "delimiter": char::from(self.delimiter).to_string(),
            "column_count": self.columns.len(),
            "columns": shown,
            "rows": self.row_count,
            "bad_rows": self.bad_rows,
            "first_bad": self.first_bad,
        });
        Ok(Finding {
            kind: "csv",
            summary,
        })
    }
}

fn not_utf8(columns: &[Column], rows: u64) -> Refusal {
    match columns {
        [] => Refusal::malformed("its header is not UTF-8"),
        _ => Refusal::malformed(format!("row {} is not UTF-8", rows + 1)),
    }
}

#[cfg(test)]
mod tests;

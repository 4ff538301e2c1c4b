//! Reads JSON, as one document or one document per line, in bounded memory.
//!
//! Documents are walked without being built: only their [`shape`] is kept. One document of any size
//! is streamed through `serde_json`. A [`guard`] ends the stream before an endless string fills the
//! memory. Lines are read whole, up to a limit; a line that is not JSON is counted as bad and skipped.

mod guard;
mod shape;

use std::ops::Range;

use bytes::{Buf, BytesMut};
use serde::de::DeserializeSeed;
use serde_json::error::Category;
use serde_json::{Deserializer, Value, json};

use crate::chunks::{BYTE_ORDER_MARK, Chunk, ChunkReader, Stop};
use crate::finding::{Finding, Reason, Refusal};
use guard::Guard;
use shape::{Shape, Walk};

/// Size limit of a string, a name or a number, and of a line of NDJSON, in bytes.
const MAX_TOKEN_BYTES: usize = 1 << 20;
/// Number of bad lines in the summary.
const BAD_ROWS_SHOWN: usize = 20;

/// Reads one document.
///
/// # Errors
/// [`Stop`] when the file is refused or cannot be read.
pub fn read_document(chunks: impl Iterator<Item = Chunk>) -> Result<Finding, Stop> {
    let mut guarded = Guard::new(ChunkReader::new(chunks), MAX_TOKEN_BYTES);
    let mut shape = Shape::default();
    let mut document = Deserializer::from_reader(std::io::BufReader::new(&mut guarded));
    let walked = Walk::new(&mut shape)
        .deserialize(&mut document)
        .and_then(|()| document.end());
    drop(document);

    match walked {
        Ok(()) => Ok(Finding {
            kind: "json",
            summary: shape.of_document(),
        }),
        Err(error) => Err(match (guarded.inner.failure, guarded.is_tripped) {
            (Some(failure), _) => failure,
            (None, true) => {
                Refusal::too_large("it holds a string or number longer than 1 MiB").into()
            }
            (None, false) => explain(&error).into(),
        }),
    }
}

/// Reads one document per line.
///
/// # Errors
/// [`Stop`] when the file is refused or cannot be read.
pub fn read_lines(chunks: impl Iterator<Item = Chunk>) -> Result<Finding, Stop> {
    let mut lines = Lines::default();
    let mut waiting = BytesMut::new();
    for chunk in chunks {
        waiting.extend_from_slice(&chunk?);
        while let Some(end) = line_end(&waiting) {
            lines.take(&waiting[..end.start])?;
            waiting.advance(end.end);
        }

        if waiting.len() > MAX_TOKEN_BYTES {
            return Err(too_long(lines.number + 1).into());
        }
    }

    lines.take(&waiting)?;
    lines.finding()
}

/// Returns the range of the first line ending: LF, CR LF, or CR alone. A CR that is the last byte is
/// not returned, because an LF may follow it.
fn line_end(bytes: &[u8]) -> Option<Range<usize>> {
    let at = bytes
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))?;

    match &bytes[at..] {
        [b'\r', b'\n', ..] => Some(at..at + 2),
        [b'\r'] => None,
        _ => Some(at..at + 1),
    }
}

#[derive(Default)]
struct Lines {
    number: u64,
    rows: u64,
    bad_rows: u64,
    first_bad: Vec<Value>,
    shape: Shape,
}

impl Lines {
    fn take(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.number += 1;
        if line.len() > MAX_TOKEN_BYTES {
            return Err(too_long(self.number));
        }

        let line = if self.number == 1 {
            line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
        } else {
            line
        };

        if line.trim_ascii().is_empty() {
            return Ok(());
        }

        if let Err(error) = std::str::from_utf8(line) {
            let place = error.valid_up_to() + 1;
            return Err(Refusal::malformed(format!(
                "line {} is not UTF-8 from its byte {place}; save it as UTF-8",
                self.number
            )));
        }

        self.rows += 1;
        let mut document = Deserializer::from_slice(line);
        if let Err(error) = Walk::new(&mut self.shape)
            .deserialize(&mut document)
            .and_then(|()| document.end())
        {
            self.bad_rows += 1;
            if self.first_bad.len() < BAD_ROWS_SHOWN {
                self.first_bad
                    .push(json!({"line": self.number, "column": error.column(), "problem": explain(&error).detail}));
            }
        }

        Ok(())
    }

    fn finding(self) -> Result<Finding, Stop> {
        if self.rows == 0 {
            return Err(Refusal::new(Reason::Empty, "there are only blank lines in it").into());
        }

        if self.bad_rows == self.rows {
            let detail = format!(
                "none of its {} lines is JSON: {}",
                self.rows, self.first_bad[0]["problem"]
            );
            return Err(Refusal::malformed(detail).into());
        }

        let summary = self
            .shape
            .of_lines(self.rows, self.bad_rows, &self.first_bad);

        Ok(Finding {
            kind: "ndjson",
            summary,
        })
    }
}

fn too_long(line: u64) -> Refusal {
    Refusal::too_large(format!("line {line} is longer than 1 MiB"))
}

/// Converts an error of `serde_json` to a refusal for people.
fn explain(error: &serde_json::Error) -> Refusal {
    if error.classify() == Category::Eof {
        return Refusal::malformed(format!(
            "it ends in the middle, at line {} column {}",
            error.line(),
            error.column()
        ));
    }

    let text = error.to_string();
    if text.starts_with("recursion limit exceeded") {
        return Refusal::too_large("it nests deeper than 127 levels");
    }

    let line = error.line();
    if text.starts_with("trailing characters") {
        return Refusal::malformed(format!(
            "something follows the document at line {line}; for several documents, write each on a line of its own and call the file .ndjson"
        ));
    }

    if text.starts_with("invalid unicode code point") {
        return Refusal::malformed(format!("line {line} is not UTF-8; save it as UTF-8"));
    }

    Refusal::malformed(format!("it is not JSON: {text}"))
}

#[cfg(test)]
mod tests;

//! What was found in a file, or why it was refused. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a file turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `csv`, `json`, `ndjson` or `image`.
    pub kind: &'static str,
    /// What there is to say of it; each kind has fields of its own.
    pub summary: Value,
}

/// Why a file is not taken, in words for whoever put it there. It would be refused again: this is a result, not an error.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// The reason, for programs.
    pub reason: Reason,
    /// The reason, for people.
    pub detail: String,
}

/// The reasons for which files are refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There is nothing in it.
    Empty,
    /// It is of no kind that is read here.
    UnknownKind,
    /// Its name says one kind and its content another.
    Misnamed,
    /// It, or something in it, is beyond a limit.
    TooLarge,
    /// It is not what its kind demands, or not whole.
    Malformed,
    /// It could not be read in the time there is.
    TooSlow,
    /// It was replaced or deleted before it was read.
    Gone,
}

impl Refusal {
    /// Refused for `reason`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// Refused, for it is beyond a limit.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(Reason::TooLarge, detail)
    }

    /// Refused, for it is not what its kind demands.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, detail)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Text of a stranger, cut to `max` characters.
pub fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

//! The result of reading a file: a finding or a refusal. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kind of a file and its summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `csv`, `json`, `ndjson` or `image`.
    pub kind: &'static str,
    /// The findings. Each kind has its own fields.
    pub summary: Value,
}

/// The reason why a file is refused, worded for the person who uploaded it. The same file is always
/// refused, so this is a result and not an error.
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
    /// The file is empty.
    Empty,
    /// The kind is not supported.
    UnknownKind,
    /// The name and the content belong to different kinds.
    Misnamed,
    /// The file, or a part of it, exceeds a limit.
    TooLarge,
    /// The content is invalid for its kind, or incomplete.
    Malformed,
    /// It could not be read within the time limit.
    TooSlow,
    /// It was replaced or deleted before it was read.
    Gone,
}

impl Refusal {
    /// Creates a refusal for `reason`.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// Creates a refusal because a limit is exceeded.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(Reason::TooLarge, detail)
    }

    /// Creates a refusal because the content is invalid for its kind.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, detail)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// Returns a text of unknown origin, cut to `max` characters.
pub fn shortened(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

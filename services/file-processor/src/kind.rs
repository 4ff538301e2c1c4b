//! The kind of a file, determined by its content where possible and otherwise by its name. Pure.
//!
//! Pictures and unsupported formats begin with signatures ([`foreign`]). Everything else must be
//! text. JSON is recognised by its brackets. The kind of other text is decided by the name. A file
//! whose name and content disagree is refused, because one of the two is a mistake. Each refusal
//! contains a remedy.

mod foreign;

use serde::de::IgnoredAny;
use serde_json::Deserializer;
use serde_json::error::Category;

use crate::csv::{self, Dialect, Head};
use crate::encoding::{self, Encoding};
use crate::finding::{Reason, Refusal};

/// Length of a file's beginning that suffices to determine its kind, in bytes.
pub const HEAD_BYTES: u64 = 64 * 1024;

/// A kind of file, with the parameters that are found in its beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A table of separated values, with any separator.
    Csv(Dialect, Encoding),
    /// One JSON document.
    Json(Encoding),
    /// A JSON document on each line.
    Ndjson(Encoding),
    /// A picture.
    Image(Format),
}

/// The format of a picture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG, in a JFIF or EXIF file.
    Jpeg,
    /// Graphics Interchange Format.
    Gif,
    /// WebP.
    Webp,
}

/// The kind that a file's name implies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NamedKind {
    Csv,
    Tsv,
    Json,
    Ndjson,
    Image(Format),
}

/// The layout of JSON in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Layout {
    /// One document on several lines.
    Document,
    /// A document on the first line, and more below it.
    Lines,
    /// One line, as far as the head reaches; the name decides.
    OneLine,
}

impl Format {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }

    /// Returns the usual file name extension.
    fn ending(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            other => other.name(),
        }
    }

    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            _ if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP") => Some(Self::Webp),
            _ => None,
        }
    }
}

/// Returns the kind of a file called `name` that begins with `head`, which is the whole file or its
/// first [`HEAD_BYTES`].
///
/// # Errors
/// [`Refusal`] when the kind is not supported or the name implies another.
pub fn of(name: &str, head: &[u8]) -> Result<Kind, Refusal> {
    let named = named_kind(name);

    if let Some(format) = Format::of(head) {
        return match named {
            Some(named) if named != NamedKind::Image(format) => {
                let content = format!("a {} picture", format.name().to_uppercase());
                Err(misnamed(name, &content, format.ending()))
            }
            _ => Ok(Kind::Image(format)),
        };
    }

    if let Some(unsupported) = foreign::of_bytes(head) {
        return Err(unsupported.refused());
    }

    let encoding = encoding::of(head)?;
    let text = encoding::decoded_head(encoding, head);
    if let Some(unsupported) = foreign::of_text(&text) {
        return Err(unsupported.refused());
    }

    let head = Head {
        text: &text,
        is_whole: (head.len() as u64) < HEAD_BYTES,
    };
    of_text(name, named, head, encoding)
}

/// Returns the kind of a text from the kind that its name implies and the layout of its content.
fn of_text(
    name: &str,
    named: Option<NamedKind>,
    head: Head<'_>,
    encoding: Encoding,
) -> Result<Kind, Refusal> {
    let csv = |has_tabs| Ok(Kind::Csv(Dialect::of(head, has_tabs)?, encoding));

    match (named, layout(head)) {
        (Some(NamedKind::Json | NamedKind::Ndjson), Some(Layout::Document)) => {
            Ok(Kind::Json(encoding))
        }
        (Some(NamedKind::Json | NamedKind::Ndjson), Some(Layout::Lines)) => {
            Ok(Kind::Ndjson(encoding))
        }
        (Some(NamedKind::Json), Some(Layout::OneLine)) => Ok(Kind::Json(encoding)),
        (Some(NamedKind::Ndjson), Some(Layout::OneLine)) => Ok(Kind::Ndjson(encoding)),
        (Some(_), Some(Layout::Document | Layout::OneLine)) => Err(misnamed(name, "JSON", "json")),
        (Some(_), Some(Layout::Lines)) => Err(misnamed(name, "NDJSON", "ndjson")),
        (None, Some(Layout::Document | Layout::OneLine)) => Ok(Kind::Json(encoding)),
        (None, Some(Layout::Lines)) => Ok(Kind::Ndjson(encoding)),

        (Some(NamedKind::Csv), None) => csv(false),
        (Some(NamedKind::Tsv), None) => csv(true),
        (Some(NamedKind::Json | NamedKind::Image(_)), None) if is_table(head) => {
            Err(misnamed(name, "CSV", "csv"))
        }
        (Some(NamedKind::Json), None) => Ok(Kind::Json(encoding)),
        (Some(NamedKind::Ndjson), None) => Ok(Kind::Ndjson(encoding)),
        (Some(NamedKind::Image(_)), None) => Err(not_a_picture(name)),
        (None, None) if csv::is_likely(head) => csv(false),
        (None, None) => Err(Refusal::new(
            Reason::UnknownKind,
            "neither its name nor its content is that of CSV, JSON, NDJSON, PNG, JPEG, GIF or WebP; save it as one of these",
        )),
    }
}

/// Returns the kind that the name's extension implies.
fn named_kind(name: &str) -> Option<NamedKind> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "csv" => NamedKind::Csv,
        "tsv" | "tab" => NamedKind::Tsv,
        "json" => NamedKind::Json,
        "ndjson" | "jsonl" => NamedKind::Ndjson,
        "png" => NamedKind::Image(Format::Png),
        "jpg" | "jpeg" | "jpe" | "jfif" => NamedKind::Image(Format::Jpeg),
        "gif" => NamedKind::Image(Format::Gif),
        "webp" => NamedKind::Image(Format::Webp),
        _ => return None,
    })
}

/// Returns the layout of a JSON text, or `None` if the text is not JSON.
fn layout(head: Head<'_>) -> Option<Layout> {
    let text = head.text.trim_ascii_start();
    if !begins_as_json(text) {
        return None;
    }

    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    let (first, rest) = text.split_at(end.unwrap_or(text.len()));

    if serde_json::from_slice::<IgnoredAny>(first).is_ok() {
        let has_more = begins_as_json(rest);
        return Some(if has_more {
            Layout::Lines
        } else {
            Layout::OneLine
        });
    }

    let mut documents = Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    let document = documents.next()?;
    let rest = &text[documents.byte_offset()..];

    match document {
        Ok(_) if rest.trim_ascii().is_empty() || begins_as_json(rest) => Some(Layout::Document),
        // The first field of a CSV may begin with a bracket too.
        Ok(_) => None,
        Err(error) if error.classify() != Category::Eof => None,
        Err(_) if end.is_none() && !head.is_whole => Some(Layout::OneLine),
        Err(_) => Some(Layout::Document),
    }
}

fn begins_as_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Returns whether a text is a table. A text that begins like JSON counts as JSON with a mistake.
fn is_table(head: Head<'_>) -> bool {
    !begins_as_json(head.text) && csv::is_likely(head)
}

fn misnamed(name: &str, content: &str, ending: &str) -> Refusal {
    let own = name.rsplit_once('.').map_or("", |(_, ending)| ending);

    Refusal::new(
        Reason::Misnamed,
        format!(
            "its name ends in .{own}, but its content is {content}; rename it to end in .{ending}"
        ),
    )
}

fn not_a_picture(name: &str) -> Refusal {
    let own = name.rsplit_once('.').map_or("", |(_, ending)| ending);

    Refusal::new(
        Reason::Misnamed,
        format!(
            "its name ends in .{own}, but its content is not a picture; save it as PNG, JPEG, GIF or WebP"
        ),
    )
}

#[cfg(test)]
mod tests;

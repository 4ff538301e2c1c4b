//! The kind of a file, determined by its content where possible and otherwise by its name. Pure.
//!
//! Pictures and unsupported formats begin with signatures ([`foreign`]). Everything else must be
//! text. JSON is recognised by its brackets; for a text without any sign, the name decides. A file
//! whose name and content disagree is refused, because the uploader did not mean the content that
//! would be read. Each refusal contains a remedy.

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
enum Claim {
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
    /// One line, as far as the head shows; the name decides.
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
    let claim = claim(name);
    if let Some(format) = Format::of(head) {
        return match claim {
            Some(claim) if claim != Claim::Image(format) => {
                let what = format!("a {} picture", format.name().to_uppercase());
                Err(misnamed(name, &what, format.ending()))
            }
            _ => Ok(Kind::Image(format)),
        };
    }

    if let Some(what) = foreign::of_bytes(head) {
        return Err(what.refused());
    }

    let encoding = encoding::of(head)?;
    let text = encoding::decoded_head(encoding, head);
    let text = Head {
        text: &text,
        is_whole: (head.len() as u64) < HEAD_BYTES,
    };

    if let Some(what) = foreign::of_text(text.text) {
        return Err(what.refused());
    }

    of_text(name, claim, text, encoding)
}

fn of_text(
    name: &str,
    claim: Option<Claim>,
    head: Head<'_>,
    encoding: Encoding,
) -> Result<Kind, Refusal> {
    let csv = |has_tabs| Ok(Kind::Csv(Dialect::of(head, has_tabs)?, encoding));
    match (claim, layout(head)) {
        (Some(Claim::Json | Claim::Ndjson), Some(Layout::Document)) => Ok(Kind::Json(encoding)),
        (Some(Claim::Json | Claim::Ndjson), Some(Layout::Lines)) => Ok(Kind::Ndjson(encoding)),
        (Some(Claim::Json), Some(Layout::OneLine)) => Ok(Kind::Json(encoding)),
        (Some(Claim::Ndjson), Some(Layout::OneLine)) => Ok(Kind::Ndjson(encoding)),
        (Some(_), Some(Layout::Document | Layout::OneLine)) => Err(misnamed(name, "JSON", "json")),
        (Some(_), Some(Layout::Lines)) => Err(misnamed(name, "NDJSON", "ndjson")),
        (None, Some(Layout::Document | Layout::OneLine)) => Ok(Kind::Json(encoding)),
        (None, Some(Layout::Lines)) => Ok(Kind::Ndjson(encoding)),

        (Some(Claim::Csv), None) => csv(false),
        (Some(Claim::Tsv), None) => csv(true),
        (Some(Claim::Json | Claim::Image(_)), None) if is_table(head) => {
            Err(misnamed(name, "CSV", "csv"))
        }
        (Some(Claim::Json), None) => Ok(Kind::Json(encoding)),
        (Some(Claim::Ndjson), None) => Ok(Kind::Ndjson(encoding)),
        (Some(Claim::Image(_)), None) => Err(no_picture(name)),
        (None, None) if csv::is_likely(head) => csv(false),
        (None, None) => Err(Refusal::new(
            Reason::UnknownKind,
            "neither its name nor its content is that of CSV, JSON, NDJSON, PNG, JPEG, GIF or WebP; save it as one of these",
        )),
    }
}

/// Returns the kind that the name's extension implies.
fn claim(name: &str) -> Option<Claim> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "csv" => Claim::Csv,
        "tsv" | "tab" => Claim::Tsv,
        "json" => Claim::Json,
        "ndjson" | "jsonl" => Claim::Ndjson,
        "png" => Claim::Image(Format::Png),
        "jpg" | "jpeg" | "jpe" | "jfif" => Claim::Image(Format::Jpeg),
        "gif" => Claim::Image(Format::Gif),
        "webp" => Claim::Image(Format::Webp),
        _ => return None,
    })
}

/// Returns the layout of a text as JSON, or `None` if it does not begin like a JSON object or
/// array.
fn layout(head: Head<'_>) -> Option<Layout> {
    let text = head.text.trim_ascii_start();
    if !begins_as_json(text) {
        return None;
    }

    let end = text.iter().position(|byte| *byte == b'\n');
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

/// Returns `true` if a text with the name of another kind is a table, and not JSON with a mistake.
fn is_table(head: Head<'_>) -> bool {
    !begins_as_json(head.text) && csv::is_likely(head)
}

fn misnamed(name: &str, what: &str, ending: &str) -> Refusal {
    let own = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    Refusal::new(
        Reason::Misnamed,
        format!(
            "its name ends in .{own}, but its content is {what}; rename it to end in .{ending}"
        ),
    )
}

fn no_picture(name: &str) -> Refusal {
    let own = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    Refusal::new(
        Reason::Misnamed,
        format!(
            "its name ends in .{own}, but its content is no picture; save it as PNG, JPEG, GIF or WebP"
        ),
    )
}

#[cfg(test)]
mod tests;

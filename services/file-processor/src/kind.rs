//! Which kind a file is: by its content, as far as that tells, and then by its name. Pure.
//!
//! Images and what is not read here begin with bytes of their own. Everything else must be text, and there the name
//! decides; a name that says nothing leaves it to the first line. Where name and content disagree the file is refused:
//! whoever put it there means something else than what would be read.

use serde::de::IgnoredAny;

use crate::chunks::BYTE_ORDER_MARK;
use crate::finding::{Reason, Refusal};

/// How much of a file's beginning is enough to tell.
pub const HEAD_BYTES: u64 = 64 * 1024;

/// A kind of file, with what its beginning says of how to read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Comma-separated values, whatever separates them.
    Csv {
        /// The byte between fields.
        delimiter: u8,
    },
    /// One JSON document.
    Json,
    /// A JSON document on each line.
    Ndjson,
    /// A picture.
    Image(Format),
}

/// A picture's format.
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

/// What a name claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Claim {
    Csv,
    Json,
    Ndjson,
    Image(Format),
}

/// Beginnings of files that are not read here, and what they are.
const FOREIGN: [(&[u8], &str); 10] = [
    (b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"BZh", "compressed with bzip2"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"%PDF-", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"Obj\x01", "an Avro file"),
];
const MARKUP: [&str; 4] = ["<!doctype", "<html", "<?xml", "<svg"];
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Gif => "gif",
            Self::Webp => "webp",
        }
    }
}

/// The kind of a file called `name` that begins with `head`: all of it, or [`HEAD_BYTES`].
///
/// # Errors
/// [`Refusal`] when it is of no kind that is read here, or its name says another.
pub fn of(name: &str, head: &[u8]) -> Result<Kind, Refusal> {
    let claim = claim(name);
    if let Some(format) = image_format(head) {
        return match claim {
            Some(claim) if claim != Claim::Image(format) => {
                Err(misnamed(name, &format!("a {} picture", format.name())))
            }
            _ => Ok(Kind::Image(format)),
        };
    }
    if let Some(what) = foreign(head) {
        return Err(Refusal::new(
            Reason::UnknownKind,
            format!("it is {what}, which is not read here"),
        ));
    }
    match claim {
        Some(Claim::Image(_)) => Err(misnamed(name, "no such picture")),
        Some(Claim::Csv) => Ok(Kind::Csv {
            delimiter: delimiter(head),
        }),
        Some(Claim::Json) => Ok(Kind::Json),
        Some(Claim::Ndjson) => Ok(Kind::Ndjson),
        None => by_first_line(head),
    }
}

/// What the end of the name says.
fn claim(name: &str) -> Option<Claim> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "csv" | "tsv" => Claim::Csv,
        "json" => Claim::Json,
        "ndjson" | "jsonl" => Claim::Ndjson,
        "png" => Claim::Image(Format::Png),
        "jpg" | "jpeg" => Claim::Image(Format::Jpeg),
        "gif" => Claim::Image(Format::Gif),
        "webp" => Claim::Image(Format::Webp),
        _ => return None,
    })
}

fn image_format(head: &[u8]) -> Option<Format> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Format::Png),
        [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(Format::Webp),
        _ => None,
    }
}

fn foreign(head: &[u8]) -> Option<&'static str> {
    let known = FOREIGN
        .iter()
        .find(|(beginning, _)| head.starts_with(beginning))
        .map(|(_, what)| *what);
    let is_markup = || {
        let text = head.trim_ascii_start();
        MARKUP.iter().any(|tag| {
            text.get(..tag.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
        })
    };
    known
        .or_else(|| is_markup().then_some("a page of markup"))
        .or_else(|| head.contains(&0).then_some("not text"))
}

/// For a name that says nothing.
fn by_first_line(head: &[u8]) -> Result<Kind, Refusal> {
    let text = head
        .strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(head)
        .trim_ascii_start();
    let mut lines = text.splitn(2, |byte| *byte == b'\n');
    let (first, rest) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    if matches!(text.first(), Some(b'{' | b'[')) {
        let is_whole = serde_json::from_slice::<IgnoredAny>(first).is_ok();
        return Ok(if is_whole && !rest.trim_ascii().is_empty() {
            Kind::Ndjson
        } else {
            Kind::Json
        });
    }
    if DELIMITERS.iter().any(|delimiter| first.contains(delimiter)) {
        return Ok(Kind::Csv {
            delimiter: delimiter(head),
        });
    }
    let detail =
        "neither its name nor its content is that of CSV, JSON, NDJSON, PNG, JPEG, GIF or WebP";
    Err(Refusal::new(Reason::UnknownKind, detail))
}

/// What separates the fields of the first line: whichever is there most often outside quotation marks.
fn delimiter(head: &[u8]) -> u8 {
    let mut quoted = false;
    let mut counts = [0_usize; DELIMITERS.len()];
    for byte in head
        .iter()
        .take_while(|byte| !matches!(byte, b'\n' | b'\r'))
    {
        quoted ^= *byte == b'"';
        if let Some(index) = DELIMITERS
            .iter()
            .position(|delimiter| delimiter == byte)
            .filter(|_| !quoted)
        {
            counts[index] += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    DELIMITERS[counts.iter().position(|count| *count == most).unwrap_or(0)]
}

fn misnamed(name: &str, what: &str) -> Refusal {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    Refusal::new(
        Reason::Misnamed,
        format!("its name ends in .{ending}, but its content is {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    fn reason(name: &str, head: &[u8]) -> Reason {
        of(name, head).unwrap_err().reason
    }

    #[test]
    fn content_goes_before_the_name_and_the_two_must_agree() {
        assert_eq!(of("picture", PNG), Ok(Kind::Image(Format::Png)));
        assert_eq!(
            of("a.jpg", b"\xff\xd8\xff\xe0"),
            Ok(Kind::Image(Format::Jpeg))
        );
        assert_eq!(reason("a.csv", PNG), Reason::Misnamed);
        assert_eq!(reason("a.gif", PNG), Reason::Misnamed);
        assert_eq!(reason("a.png", b"name,price\n"), Reason::Misnamed);
    }

    #[test]
    fn text_is_what_its_name_says_or_else_its_first_line() {
        assert_eq!(of("a.JSON", b"name,price\n"), Ok(Kind::Json));
        assert_eq!(of("a.jsonl", b"{}"), Ok(Kind::Ndjson));
        assert_eq!(of("a.txt", b"{\"a\":1}\n{\"a\":2}\n"), Ok(Kind::Ndjson));
        assert_eq!(of("a", b"\xef\xbb\xbf {\n\"a\":1}\n"), Ok(Kind::Json));
        assert_eq!(of("a", b"name;price\n"), Ok(Kind::Csv { delimiter: b';' }));
        assert_eq!(reason("a", b"just words"), Reason::UnknownKind);
    }

    #[test]
    fn what_is_not_read_here_is_named() {
        for head in [
            &b"PK\x03\x04rest"[..],
            b"\x1f\x8b\x08",
            b"%PDF-1.7",
            b" <!DOCTYPE html>",
            b"a,b\n\0\x01",
        ] {
            assert_eq!(reason("a.csv", head), Reason::UnknownKind, "{head:?}");
        }
    }

    #[test]
    fn the_delimiter_is_the_one_that_is_there_most_often_outside_quotation_marks() {
        assert_eq!(
            of("a.csv", b"\"a,b,c,d\";b;c\n,,,,,,"),
            Ok(Kind::Csv { delimiter: b';' })
        );
        assert_eq!(of("a.tsv", b"a\tb\tc"), Ok(Kind::Csv { delimiter: b'\t' }));
        assert_eq!(
            of("a.csv", b"name\nAda\n"),
            Ok(Kind::Csv { delimiter: b',' })
        );
    }
}

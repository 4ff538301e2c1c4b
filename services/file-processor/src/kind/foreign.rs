//! Unsupported formats: their names, and a remedy for the sender. Pure.
//!
//! A format is recognised by the content and not by the name: a spreadsheet called `.csv` is still a
//! spreadsheet.

use crate::finding::{Reason, Refusal};

/// A kind of file that is not supported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Foreign {
    what: &'static str,
    advice: &'static str,
}

const AS_PICTURE: &str = "save it as JPEG or PNG";
const AS_CSV: &str = "save the sheet as CSV (UTF-8)";
const AS_TEXT: &str = "save its content as CSV or JSON";
const UNPACKED: &str = "unpack it, and upload the files in it";
const OF_VIDEO: &str = "upload a picture of it, as JPEG or PNG";
const OF_PROGRAM: &str = "upload CSV, JSON, NDJSON or a picture";

/// Signatures at the beginning of a file.
const BEGINNINGS: [(&[u8], &str, &str); 32] = [
    (b"PK\x05\x06", "an empty ZIP archive", UNPACKED),
    (b"\x1f\x8b", "compressed with gzip", UNPACKED),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", UNPACKED),
    (b"\x04\x22\x4d\x18", "compressed with LZ4", UNPACKED),
    (b"BZh", "compressed with bzip2", UNPACKED),
    (b"\xfd7zXZ\0", "compressed with xz", UNPACKED),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACKED),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACKED),
    (b"%PDF-", "a PDF document", AS_TEXT),
    (b"%!PS", "a PostScript document", AS_PICTURE),
    (b"{\\rtf", "an RTF document", AS_TEXT),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an old Office document (XLS, DOC)",
        AS_CSV,
    ),
    (b"II*\0", "a TIFF picture", AS_PICTURE),
    (b"MM\0*", "a TIFF picture", AS_PICTURE),
    (b"II+\0", "a TIFF picture", AS_PICTURE),
    (b"MM\0+", "a TIFF picture", AS_PICTURE),
    (b"\xff\x0a", "a JPEG XL picture", AS_PICTURE),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture", AS_PICTURE),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture", AS_PICTURE),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture", AS_PICTURE),
    (b"8BPS", "a Photoshop picture", AS_PICTURE),
    (b"\0\0\x01\0", "an icon (ICO)", AS_PICTURE),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", OF_VIDEO),
    (b"OggS\0", "a sound or video (Ogg)", OF_VIDEO),
    (b"ID3\x03", "a sound (MP3)", OF_PROGRAM),
    (b"ID3\x04", "a sound (MP3)", OF_PROGRAM),
    (b"\x7fELF", "a program", OF_PROGRAM),
    (b"MZ\x90\0", "a program", OF_PROGRAM),
    (b"PAR1\x15", "a Parquet file", AS_TEXT),
    (b"ORC\x03", "an ORC file", AS_TEXT),
    (b"Obj\x01", "an Avro file", AS_TEXT),
    (b"SQLite format 3\0", "an SQLite database", AS_TEXT),
];

/// Kinds of ZIP archives, by parts of the names of the files in them.
const ARCHIVES: [(&[u8], &str, &str); 8] = [
    (b"xl/", "an Excel workbook (XLSX)", AS_CSV),
    (
        b"opendocument.spreadsheet",
        "an OpenDocument spreadsheet (ODS)",
        AS_CSV,
    ),
    (b"Index/Tables", "a Numbers spreadsheet", AS_CSV),
    (b"word/", "a Word document (DOCX)", AS_TEXT),
    (b"ppt/", "a PowerPoint presentation (PPTX)", AS_PICTURE),
    (b"opendocument.text", "an OpenDocument text (ODT)", AS_TEXT),
    (
        b"[Content_Types].xml",
        "an Office document, perhaps an Excel workbook (XLSX)",
        AS_CSV,
    ),
    (b"META-INF/", "a Java archive", OF_PROGRAM),
];

/// The brands of the ISO base media file format, by their first bytes.
const BRANDS: [(&[u8], &str, &str); 11] = [
    (b"avif", "an AVIF picture", AS_PICTURE),
    (b"avis", "an AVIF picture", AS_PICTURE),
    (b"heic", "a HEIC picture", AS_PICTURE),
    (b"heix", "a HEIC picture", AS_PICTURE),
    (b"heim", "a HEIC picture", AS_PICTURE),
    (b"heis", "a HEIC picture", AS_PICTURE),
    (b"hevc", "a HEIC picture", AS_PICTURE),
    (b"hevx", "a HEIC picture", AS_PICTURE),
    (b"mif1", "a HEIF picture, as HEIC is one", AS_PICTURE),
    (b"msf1", "a HEIF picture, as HEIC is one", AS_PICTURE),
    (b"crx ", "a raw picture of a camera (CR3)", AS_PICTURE),
];

impl Foreign {
    fn new((_, what, advice): (&[u8], &'static str, &'static str)) -> Self {
        Self { what, advice }
    }

    /// Returns the refusal of such a file.
    pub(super) fn refused(self) -> Refusal {
        let Self { what, advice } = self;
        let detail = format!("it is {what}, which is not read here; {advice}");
        Refusal::new(Reason::UnknownKind, detail)
    }
}

/// Recognises a file by its first bytes. Returns `None` if it may be a text.
pub(super) fn of_bytes(head: &[u8]) -> Option<Foreign> {
    let known = BEGINNINGS
        .into_iter()
        .find(|(beginning, ..)| head.starts_with(beginning));

    known
        .map(Foreign::new)
        .or_else(|| archive(head))
        .or_else(|| media(head))
        .or_else(|| {
            is_bitmap(head).then_some(Foreign {
                what: "a BMP picture",
                advice: AS_PICTURE,
            })
        })
        .or_else(|| {
            let is_riff =
                head.starts_with(b"RIFF") && matches!(head.get(8..12), Some(b"AVI " | b"WAVE"));
            is_riff.then_some(Foreign {
                what: "a sound or video",
                advice: OF_VIDEO,
            })
        })
}

/// Recognises a text by its beginning as UTF-8. Returns `None` if it may be CSV or JSON.
pub(super) fn of_text(head: &[u8]) -> Option<Foreign> {
    if head.contains(&0) {
        return Some(Foreign {
            what: "not text",
            advice: OF_PROGRAM,
        });
    }

    let text = head.trim_ascii_start();
    let begins = |tag: &str| {
        let start = text.get(..tag.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(tag.as_bytes()))
    };

    if begins("<!doctype html") || begins("<html") || begins("<head") || begins("<body") {
        return Some(Foreign {
            what: "a page of HTML",
            advice: AS_TEXT,
        });
    }

    if !["<?xml", "<!doctype", "<!--", "<svg"]
        .into_iter()
        .any(begins)
    {
        return None;
    }

    Some(if contains(text, b"<svg") {
        Foreign {
            what: "an SVG drawing",
            advice: AS_PICTURE,
        }
    } else if contains(text, b"<html") {
        Foreign {
            what: "a page of HTML",
            advice: AS_TEXT,
        }
    } else {
        Foreign {
            what: "an XML document",
            advice: AS_TEXT,
        }
    })
}

fn archive(head: &[u8]) -> Option<Foreign> {
    if !head.starts_with(b"PK\x03\x04") {
        return None;
    }

    let known = ARCHIVES.into_iter().find(|(name, ..)| contains(head, name));
    Some(known.map_or(
        Foreign {
            what: "a ZIP archive",
            advice: UNPACKED,
        },
        Foreign::new,
    ))
}

/// Recognises a file by the brands in the box `ftyp`: the major brand, or else the first compatible
/// brand of a picture.
fn media(head: &[u8]) -> Option<Foreign> {
    if head.get(4..8) != Some(b"ftyp") {
        return None;
    }

    let length = u32::from_be_bytes(*head.first_chunk()?) as usize;
    let brands = head.get(8..length.clamp(8, 256).min(head.len()))?;
    let of_brand = |brand: &[u8]| BRANDS.into_iter().find(|(known, ..)| *known == brand);
    let specific = brands
        .chunks_exact(4)
        .filter(|brand| !matches!(*brand, b"mif1" | b"msf1"));
    let known = specific.chain(brands.chunks_exact(4)).find_map(of_brand);

    Some(known.map_or(
        Foreign {
            what: "a video (MP4 or QuickTime)",
            advice: OF_VIDEO,
        },
        Foreign::new,
    ))
}

/// Recognises a bitmap. A text may also begin with `BM`, so the length of the second header is
/// checked.
fn is_bitmap(head: &[u8]) -> bool {
    const LENGTHS: [u8; 7] = [12, 40, 52, 56, 64, 108, 124];
    head.starts_with(b"BM")
        && matches!(head.get(14..18), Some([length, 0, 0, 0]) if LENGTHS.contains(length))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

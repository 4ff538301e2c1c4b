//! Generated files: some of each kind, and hostile ones.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};

/// A file, and its expected metadata.
pub struct Sample {
    /// A description, for the table.
    pub what: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
    /// A part of its metadata.
    pub expected: Value,
}

impl Sample {
    /// Asserts that the metadata is as expected.
    pub fn check(&self, file: &Value) {
        assert_contains(file, &self.expected, self.what);
        assert_eq!(file["size_bytes"], self.bytes.len(), "{}", self.what);
    }
}

fn assert_contains(value: &Value, part: &Value, what: &str) {
    match part {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, part)| {
                assert_contains(&value[name], part, &format!("{what}: {name}"));
            });
        }
        part => assert_eq!(value, part, "{what}"),
    }
}

/// Returns all samples.
pub fn all() -> Vec<Sample> {
    [good(), odd(), hostile()].into_iter().flatten().collect()
}

fn sample(
    what: &'static str,
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    expected: Value,
) -> Sample {
    Sample {
        what,
        name,
        bytes: bytes.into(),
        expected,
    }
}

fn good() -> Vec<Sample> {
    let measured = |format: &str| json!({"kind": "image", "summary": {"format": format, "width": 640, "height": 480}});
    vec![
        sample(
            "CSV, one bad row",
            "sales.csv",
            sales(),
            json!({"kind": "csv", "summary": {"rows": 1001, "bad_rows": 1}}),
        ),
        sample(
            "JSON",
            "orders.json",
            r#"[{"id": 1, "lines": [{"sku": "a"}]}, {"id": 2, "lines": []}]"#,
            json!({"kind": "json", "summary": {"rows": 2, "depth": 4, "keys": ["id", "lines"]}}),
        ),
        sample(
            "NDJSON, one bad line",
            "events.ndjson",
            "{\"at\": 1}\n{\"at\": 2, \"by\": null}\n{at: 3}\n",
            json!({"kind": "ndjson", "summary": {"rows": 3, "bad_rows": 1, "keys": ["at", "by"]}}),
        ),
        sample(
            "PNG",
            "shelf.png",
            picture(ImageFormat::Png),
            measured("png"),
        ),
        sample(
            "JPEG",
            "shelf.jpg",
            picture(ImageFormat::Jpeg),
            measured("jpeg"),
        ),
        sample(
            "GIF",
            "shelf.gif",
            picture(ImageFormat::Gif),
            measured("gif"),
        ),
        sample(
            "WebP",
            "shelf.webp",
            picture(ImageFormat::WebP),
            measured("webp"),
        ),
    ]
}

/// Returns files in forms that other programs write.
fn odd() -> Vec<Sample> {
    let table = |delimiter: &str, encoding: &str| json!({"kind": "csv", "summary": {"rows": 1, "bad_rows": 0, "delimiter": delimiter, "encoding": encoding}});
    let utf16 = "\u{feff}sep=;\r\nname;price\r\nLämp;1\r\n".encode_utf16();
    let padded = [picture(ImageFormat::Gif), vec![0; 4096]].concat();

    vec![
        sample(
            "CSV of Excel, in UTF-16",
            "unicode.csv",
            utf16.flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
            table(";", "utf-16le"),
        ),
        sample(
            "CSV of Excel, in Windows-1252",
            "latin.csv",
            &b"name;Preis, netto\r\nK\xe4se;1\r\n;\r\n"[..],
            table(";", "windows-1252"),
        ),
        sample(
            "NDJSON called JSON",
            "lines.json",
            "{\"a\":1}\n{\"a\":2}\n",
            json!({"kind": "ndjson", "summary": {"rows": 2}}),
        ),
        sample(
            "GIF with padding",
            "padded.gif",
            padded,
            json!({"kind": "image", "summary": {"format": "gif"}}),
        ),
    ]
}

fn hostile() -> Vec<Sample> {
    let all = [bombs(), misnamed(), incomplete()];
    all.into_iter().flatten().collect()
}

fn refused(reason: &str) -> Value {
    json!({"status": "refused", "error": {"reason": reason}})
}

/// Returns small files that could take much memory when they are read.
fn bombs() -> Vec<Sample> {
    vec![
        sample(
            "bomb: PNG of 60,000²",
            "bomb.png",
            wide_png(),
            refused("too_large"),
        ),
        sample(
            "bomb: gzip",
            "bomb.csv",
            [&b"\x1f\x8b\x08"[..], &[0; 1000]].concat(),
            refused("unknown_kind"),
        ),
        sample(
            "bomb: JSON, 1 M deep",
            "deep.json",
            vec![b'['; 1_000_000],
            refused("too_large"),
        ),
        sample(
            "CSV of 10,000 columns",
            "wide.csv",
            vec!["x"; 10_000].join(","),
            refused("too_large"),
        ),
        sample(
            "CSV with an open quote",
            "open.csv",
            [&b"a,b\n1,\""[..], &vec![b'x'; 2 << 20]].concat(),
            refused("too_large"),
        ),
    ]
}

/// Returns files of two kinds, or of another kind than their name implies.
fn misnamed() -> Vec<Sample> {
    let png = picture(ImageFormat::Png);
    vec![
        sample(
            "polyglot: PNG and ZIP",
            "both.png",
            [&png[..], b"PK\x03\x04 evil"].concat(),
            refused("malformed"),
        ),
        sample(
            "polyglot: JPEG and ZIP",
            "both.jpg",
            [&picture(ImageFormat::Jpeg)[..], b"PK\x03\x04 evil"].concat(),
            refused("malformed"),
        ),
        sample(
            "HEIC called JPEG",
            "IMG_0042.jpg",
            &b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..],
            refused("unknown_kind"),
        ),
        sample("PNG called CSV", "really.csv", png, refused("misnamed")),
        sample(
            "HTML called JPEG",
            "page.jpg",
            "<!doctype html><script>",
            refused("unknown_kind"),
        ),
    ]
}

/// Returns files that are damaged or incomplete.
fn incomplete() -> Vec<Sample> {
    let png = picture(ImageFormat::Png);
    vec![
        sample(
            "CSV with a name twice",
            "twice.csv",
            "a,b,A\n1,2,3\n",
            refused("malformed"),
        ),
        sample(
            "PNG cut in half",
            "half.png",
            &png[..png.len() / 2],
            refused("malformed"),
        ),
        sample(
            "JSON cut off",
            "cut.json",
            r#"{"orders": [1, 2"#,
            refused("malformed"),
        ),
        sample("empty file", "empty.csv", "", refused("empty")),
    ]
}

fn sales() -> String {
    let rows = (1..=1000).map(|n| format!("{n},\"Lamp, No. {n}\",{n}.50,2026-11-22\n"));
    ["id,name,price,day\n".to_owned()]
        .into_iter()
        .chain(rows)
        .chain(["1,2\n".to_owned()])
        .collect()
}

fn picture(format: ImageFormat) -> Vec<u8> {
    let pixels = RgbImage::from_fn(640, 480, |x, y| {
        Rgb([(x / 3) as u8, (y / 2) as u8, (x ^ y) as u8])
    });
    let mut bytes = Vec::new();
    DynamicImage::from(pixels)
        .write_to(&mut Cursor::new(&mut bytes), format)
        .unwrap();

    bytes
}

/// Returns the signature and header of a picture of 60,000 × 60,000 pixels, and its end.
fn wide_png() -> Vec<u8> {
    const HEADER: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x06\0\0\0";
    const CHECKSUM: [u8; 4] = [0x80, 0xd2, 0x75, 0x42];
    const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
    [HEADER, &CHECKSUM, END].concat()
}

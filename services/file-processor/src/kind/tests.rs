//! Beginnings of files, with names that match and names that do not.

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

fn reason(name: &str, head: &[u8]) -> Reason {
    of(name, head).unwrap_err().reason
}

fn delimiter(name: &str, head: &[u8]) -> char {
    match of(name, head) {
        Ok(Kind::Csv(dialect, _)) => char::from(dialect.delimiter),
        other => panic!("{other:?}"),
    }
}

#[test]
fn content_goes_before_the_name_and_the_two_must_agree() {
    assert_eq!(of("picture", PNG), Ok(Kind::Image(Format::Png)));
    for name in ["a.jpg", "a.JPEG", "a.jfif"] {
        let kind = of(name, b"\xff\xd8\xff\xe0");
        assert_eq!(kind, Ok(Kind::Image(Format::Jpeg)), "{name}");
    }

    let refused = [
        ("a.csv", PNG, ".png"),
        ("a.gif", PNG, ".png"),
        ("a.png", b"\xff\xd8\xff\xe0", ".jpg"),
        ("a.png", b"name,price\n1,2\n", ".csv"),
        ("a.json", b"name,price\n1,2\n", ".csv"),
        ("a.csv", b"[{\"a\":1}]", ".json"),
        ("a.tsv", b"{\n \"a\":1\n}", ".json"),
        ("a.csv", b"{\"a\":1}\n{\"a\":2}\n", ".ndjson"),
        ("a.jpg", b"{\"a\":1}", ".json"),
    ];

    for (name, head, ending) in refused {
        let refusal = of(name, head).unwrap_err();
        assert_eq!(refusal.reason, Reason::Misnamed, "{name}");
        let advice = format!("rename it to end in {ending}");
        assert!(refusal.detail.ends_with(&advice), "{}", refusal.detail);
    }

    assert_eq!(reason("a.png", b"just words"), Reason::Misnamed);
}

#[test]
fn text_is_what_its_content_says_or_else_its_name() {
    let utf8 = Encoding::Utf8;
    assert_eq!(of("a.JSON", b"{\"a\": 1, b}"), Ok(Kind::Json(utf8)));
    assert_eq!(of("a.JSON", b"just words"), Ok(Kind::Json(utf8)));
    assert_eq!(of("a", b"\xef\xbb\xbf {\n\"a\":1}\n"), Ok(Kind::Json(utf8)));
    assert_eq!(of("a.json", b"{\"orders\": [1, 2"), Ok(Kind::Json(utf8)));
    assert_eq!(delimiter("a", b"name;price\n"), ';');
    assert_eq!(delimiter("a.txt", b"name\tprice\nLamp, red\t5\n"), '\t');
    assert_eq!(delimiter("a.csv", b"[1],2\n[3],4\n"), ',');
    assert_eq!(reason("a", b"just words"), Reason::UnknownKind);

    let prose = b"Dear all, hello\nthis is prose\nand more of it\n";
    assert_eq!(reason("a.txt", prose), Reason::UnknownKind);
}

#[test]
fn ndjson_is_told_from_json_whatever_its_name() {
    let utf8 = Encoding::Utf8;
    let lines: [&[u8]; 5] = [
        b"{\"a\":1}\r{\"a\":2}\r",
        b"{\"a\":1}\n{\"a\":2}\n",
        b"\xef\xbb\xbf{\"a\":1}\r\n\r\n{\"a\":2}",
        b"[1]\n[2]\n",
        b"\n{\"a\":{\"b\":[]}}\n{broken",
    ];

    for (text, name) in lines
        .into_iter()
        .flat_map(|text| ["a.json", "a.ndjson", "a", "a.jsonl"].map(|name| (text, name)))
    {
        assert_eq!(of(name, text), Ok(Kind::Ndjson(utf8)), "{name}: {text:?}");
    }

    let documents: [&[u8]; 2] = [
        b"{\n\"a\": 1,\n\"b\": [2]\n}\n",
        b"[\n{\"a\":1},\n{\"a\":2}\n]",
    ];

    for (text, name) in documents
        .into_iter()
        .flat_map(|text| ["a.json", "a.ndjson", "a"].map(|name| (text, name)))
    {
        assert_eq!(of(name, text), Ok(Kind::Json(utf8)), "{name}: {text:?}");
    }

    assert_eq!(of("a.jsonl", b"{}"), Ok(Kind::Ndjson(utf8)));
    assert_eq!(of("a.json", b"{}"), Ok(Kind::Json(utf8)));
    assert_eq!(
        of("a.ndjson", b"{at: 3}\n{\"a\":2}\n"),
        Ok(Kind::Ndjson(utf8))
    );

    assert_eq!(
        of("a.ndjson", b"{\"a\":1}\nwords\n"),
        Ok(Kind::Ndjson(utf8))
    );
}

/// Returns unsupported files, each with a word that the refusal must contain.
fn foreign() -> Vec<(&'static str, Vec<u8>)> {
    let ftyp = |brands: &str| {
        let length = u32::try_from(8 + brands.len()).unwrap().to_be_bytes();
        [&length[..], b"ftyp", brands.as_bytes(), b"\0\0\0\x08mdat"].concat()
    };

    let zip = |name: &str| [b"PK\x03\x04\x14\0\0\0\0\0", name.as_bytes()].concat();
    let bmp = [b"BM", &[0; 12][..], &[40, 0, 0, 0], &[0; 36]].concat();
    let utf32: Vec<u8> = "name,price\n"
        .chars()
        .flat_map(|c| u32::from(c).to_le_bytes())
        .collect();

    vec![
        ("HEIC", ftyp("heic\0\0\0\0mif1heic")),
        ("HEIC", ftyp("mif1\0\0\0\0mif1heic")),
        ("AVIF", ftyp("avif\0\0\0\0avifmif1")),
        ("AVIF", ftyp("mif1\0\0\0\0mif1avif")),
        ("video", ftyp("isom\0\0\x02\0isomiso2avc1mp41")),
        ("TIFF", b"II*\0\x08\0\0\0".to_vec()),
        ("TIFF", b"MM\0*\0\0\0\x08".to_vec()),
        ("BMP", bmp),
        (
            "SVG",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(),
        ),
        (
            "SVG",
            b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- drawn -->\n<svg/>".to_vec(),
        ),
        ("XML", b"<?xml version=\"1.0\"?><a/>".to_vec()),
        ("HTML", b" <!DOCTYPE html>".to_vec()),
        ("PDF", b"%PDF-1.7\n".to_vec()),
        ("ZIP", zip("a.txt")),
        ("XLSX", zip("xl/workbook.xml")),
        ("DOCX", zip("word/document.xml")),
        (
            "spreadsheet",
            zip("mimetypeapplication/vnd.oasis.opendocument.spreadsheet"),
        ),
        ("XLS", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0".to_vec()),
        ("gzip", b"\x1f\x8b\x08".to_vec()),
        ("RTF", b"{\\rtf1\\ansi}".to_vec()),
        ("Parquet", b"PAR1\x15\x04".to_vec()),
        ("UTF-32", utf32),
        (
            "UTF-32",
            [
                b"\0\0\xfe\xff".to_vec(),
                "a".chars()
                    .flat_map(|c| u32::from(c).to_be_bytes())
                    .collect(),
            ]
            .concat(),
        ),
        ("not text", b"a,b\n\0\x01".to_vec()),
    ]
}

#[test]
fn what_is_not_read_here_is_named_with_advice_whatever_its_name() {
    for (word, head) in foreign() {
        for name in ["a.csv", "a.jpg", "a.json", "a", "a.heic"] {
            let refusal = of(name, &head).unwrap_err();
            assert_eq!(refusal.reason, Reason::UnknownKind, "{name}: {word}");
            assert!(
                refusal.detail.contains(word),
                "{name}: {word}: {}",
                refusal.detail
            );

            assert!(
                refusal.detail.contains("; "),
                "no advice: {}",
                refusal.detail
            );
        }
    }
}

#[test]
fn a_table_whose_header_begins_like_something_else_is_a_table() {
    let headers = [
        "BM,price\n1,2\n",
        "ID3,price\n1,2\n",
        "PAR1,PAR2\n1,2\n",
        "MZ,b\n1,2\n",
        "GIF,b\n1,2\n",
    ];

    for text in headers {
        assert_eq!(delimiter("a.csv", text.as_bytes()), ',', "{text}");
    }
}

#[test]
fn text_in_another_encoding_is_recognised_as_well() {
    let utf16 = |text: &str| {
        [
            b"\xff\xfe".to_vec(),
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ]
        .concat()
    };
    assert_eq!(delimiter("a.csv", &utf16("name;price\nLämp;1\n")), ';');

    assert_eq!(
        of("a.json", &utf16("[{\"a\":1}]")),
        Ok(Kind::Json(Encoding::Utf16Le))
    );

    assert_eq!(
        of("a", &utf16("{\"a\":1}\n{\"a\":2}\n")),
        Ok(Kind::Ndjson(Encoding::Utf16Le))
    );

    let Ok(Kind::Csv(dialect, Encoding::Windows1252)) =
        of("a.csv", b"K\xe4se;Preis, netto\r\nGr\xfcn;2\r\n")
    else {
        panic!("not windows-1252")
    };

    assert_eq!(dialect.delimiter, b';');
}

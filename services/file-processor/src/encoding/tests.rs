//! Texts in every encoding, cut at every possible place.

use super::*;
use crate::chunks::Stop;

const TEXT: &str = "name;preis\r\nKäse „fein“;5 €\r\nBrötchen;2\r\n";

/// Returns the text and the encoding that was determined.
fn read(bytes: &[u8], length: usize) -> Result<(String, Encoding), Refusal> {
    let pieces = bytes
        .chunks(length)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let mut utf8 = Utf8::new(pieces, of(bytes)?);
    let mut text = Vec::new();

    for piece in &mut utf8 {
        match piece {
            Ok(piece) => text.extend_from_slice(&piece),
            Err(Stop::Refused(refusal)) => return Err(refusal),
            Err(Stop::Objects(error)) => panic!("{error}"),
        }
    }

    Ok((String::from_utf8(text).unwrap(), utf8.encoding()))
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn a_text_is_the_same_in_every_encoding_however_it_is_cut() {
    let windows = WINDOWS_1252.encode(TEXT).0.into_owned();
    let with_mark = |text: &str| format!("\u{feff}{text}");
    let texts = [
        (TEXT.as_bytes().to_vec(), Encoding::Utf8),
        (with_mark(TEXT).into_bytes(), Encoding::Utf8),
        (utf16(&with_mark(TEXT), u16::to_le_bytes), Encoding::Utf16Le),
        (utf16(&with_mark(TEXT), u16::to_be_bytes), Encoding::Utf16Be),
        (utf16(TEXT, u16::to_le_bytes), Encoding::Utf16Le),
        (utf16(TEXT, u16::to_be_bytes), Encoding::Utf16Be),
        (windows, Encoding::Windows1252),
    ];

    for (bytes, encoding) in texts {
        for length in 1..bytes.len() {
            let expected = Ok((TEXT.to_owned(), encoding));
            assert_eq!(read(&bytes, length), expected, "in pieces of {length}");
        }
    }
}

#[test]
fn the_words_of_western_europe_are_windows_1252() {
    let words = [
        "name,price\nCafé crème,3\n",
        "artículo;precio\nPiñón;1,50\nJalapeño;2\n",
        "produit;prix\nŒufs à la coque;2,50 €\n",
        "Straße;Nr\nGörlitzer Straße;5\n",
        "name,price\nMax’s “best” lamp – new,£5\n",
        "prodotto;prezzo\nCaffè più;1\n",
        "navn;pris\nRødgrød med fløde;25\nÆble;3\n",
        "name,price\nTemp 20°,5\n",
    ];

    for text in words {
        let bytes = WINDOWS_1252.encode(text).0;
        assert_eq!(of(&bytes), Ok(Encoding::Windows1252), "{text}");
    }
}

#[test]
fn other_encodings_are_refused_with_advice() {
    let texts = [
        (
            encoding_rs::WINDOWS_1251,
            "название;цена\nЛампа настольная;1999\nРучка шариковая;250\n",
        ),
        (
            encoding_rs::SHIFT_JIS,
            "名前,価格\nランプ,1999\nボールペン,250\n",
        ),
        (encoding_rs::GBK, "名称,价格\n台灯,1999\n圆珠笔,250\n"),
    ];

    for (encoding, text) in texts {
        let refusal = of(&encoding.encode(text).0).unwrap_err();
        assert!(
            refusal.detail.ends_with("save it as UTF-8"),
            "{}",
            refusal.detail
        );
    }
}

#[test]
fn a_text_that_is_ascii_for_long_may_still_be_either() {
    let ascii = "name,price\n".repeat(10_000);
    for (word, encoding) in [
        (&b"caf\xe9,1\n"[..], Encoding::Windows1252),
        ("café,1\n".as_bytes(), Encoding::Utf8),
    ] {
        let bytes = [ascii.as_bytes(), word].concat();
        assert_eq!(of(&bytes[..64 << 10]), Ok(Encoding::Utf8));
        let pieces = bytes
            .chunks(4096)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)));
        let mut utf8 = Utf8::new(pieces, Encoding::Utf8);
        let text: Vec<u8> = utf8.by_ref().flat_map(|piece| piece.unwrap()).collect();
        assert!(text.ends_with("café,1\n".as_bytes()), "{encoding:?}");
        assert_eq!(utf8.encoding(), encoding);
    }
}

#[test]
fn a_text_that_is_ascii_for_long_is_refused_in_any_other_encoding() {
    let ascii = "name,price\n".repeat(10_000);
    let words = [
        (
            encoding_rs::WINDOWS_1251,
            "Лампа настольная,1\nСтул деревянный,2\n",
        ),
        (encoding_rs::SHIFT_JIS, "ランプ電気,1\n日本語テスト,2\n"),
        (encoding_rs::GBK, "名称,价格\n台灯,1999\n圆珠笔,250\n"),
        (
            encoding_rs::KOI8_R,
            "Лампа настольная,1\nСтул деревянный,2\n",
        ),
    ];

    for (encoding, text) in words {
        let bytes = [ascii.as_bytes(), &encoding.encode(text).0].concat();
        for length in [1000, 4096, 65_536, bytes.len()] {
            let refusal = late(&bytes, length).unwrap_err();
            assert!(refusal.detail.ends_with("save it as UTF-8"), "{refusal:?}");
        }
    }
}

#[test]
fn a_text_in_two_encodings_or_one_of_dos_is_refused() {
    let western = WINDOWS_1252.encode("Käse,1\n").0.into_owned();
    let utf8 = "Brötchen,1\n".as_bytes();
    let of_dos = b"Br\x94tchen,1\nK\x84se,2\n";

    for parts in [
        [&western[..], utf8],
        [utf8, &western[..]],
        [&b"a,b\n"[..], of_dos],
        [&western[..], of_dos],
    ] {
        let bytes = parts.concat();
        let read = of(&bytes).and_then(|encoding| match encoding {
            // The reader of the table refuses bytes that are not UTF-8 after a letter that is.
            Encoding::Utf8 => Err(Refusal::malformed("save it as UTF-8")),
            _ => read(&bytes, bytes.len()),
        });
        assert!(read.unwrap_err().detail.contains("as UTF-8"), "{parts:?}");
    }
}

#[test]
fn a_sign_within_a_word_is_a_dos_letter_but_not_at_its_end() {
    // In DOS é, ä, ç, ê, ë and ö; in Windows-1252 quotation marks, daggers and the like.
    for byte in [0x82, 0x84, 0x87, 0x88, 0x89, 0x94] {
        let word = [b"caf" as &[u8], &[byte], b"s"].concat();
        assert!(check_windows_1252(&word).is_err(), "{byte:x}");
    }

    // The last text has `Ã` before a space or a quotation mark, whose bytes are no letter in UTF-8.
    for text in [
        "rock“n”roll „gut“ it’s,1\nMAÇÃ ”,2\n",
        "Lamp‡,1\nPen‡ red,2\nsaid‚So,3\n",
        "LÃ\u{a0}MPADA,1\nÃ«,2\nÃ»,3\n",
    ] {
        let bytes = WINDOWS_1252.encode(text).0;
        assert_eq!(check_windows_1252(&bytes), Ok(()), "{text}");
    }
}

#[test]
fn three_late_signs_are_windows_1252_and_four_are_judged() {
    let ascii = "name,price\n".repeat(10_000);
    let read = |rows: &str| {
        let rows = encoding_rs::WINDOWS_1251.encode(rows).0.into_owned();
        late(&[ascii.as_bytes(), &rows].concat(), 4096)
    };
    assert!(read("Лам,1\n").is_ok());
    assert!(read("Ламп,1\n").is_err());

    // The signs may be far apart.
    let first = format!("Л{}", ",1\n".repeat(100));
    assert!(read(&first).is_ok());
    assert!(read(&format!("{first}Лампа настольная\n")).is_err());
}

#[test]
fn a_late_text_is_passed_on_before_its_end() {
    let ascii = "name,price\n".repeat(10_000);
    let bytes = [ascii.as_bytes(), b"caf\xe9,1\n", ascii.as_bytes()].concat();
    let taken = std::cell::Cell::new(0);
    let pieces = bytes.chunks(512).map(|piece| {
        taken.set(taken.get() + piece.len());
        Ok(Bytes::copy_from_slice(piece))
    });

    let mut passed = 0;
    let mut most_held = 0;
    for piece in Utf8::new(pieces, Encoding::Utf8) {
        passed += piece.unwrap().len();
        most_held = most_held.max(taken.get().saturating_sub(passed));
    }
    assert!(most_held <= 2 * EVIDENCE_BYTES, "{most_held}");
}

/// Reads a text whose beginning counts as UTF-8.
fn late(bytes: &[u8], length: usize) -> Result<Vec<u8>, Refusal> {
    let pieces = bytes
        .chunks(length)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let mut text = Vec::new();
    for piece in Utf8::new(pieces, Encoding::Utf8) {
        match piece {
            Ok(piece) => text.extend_from_slice(&piece),
            Err(Stop::Refused(refusal)) => return Err(refusal),
            Err(Stop::Objects(error)) => panic!("{error}"),
        }
    }
    Ok(text)
}

#[test]
fn utf16_that_is_broken_is_refused() {
    let mut bytes = utf16("\u{feff}name;price\nLamp;", u16::to_le_bytes);
    bytes.extend(0xd83d_u16.to_le_bytes());
    bytes.extend(u16::from(b'x').to_le_bytes());

    assert!(read(&bytes, 16).unwrap_err().detail.contains("utf-16le"));
    assert!(
        read(&bytes[..bytes.len() - 3], 16).is_err(),
        "half a character"
    );
}

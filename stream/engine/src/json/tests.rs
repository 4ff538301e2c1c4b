//! Tests of the scanner of JSON.

use super::*;

const FIELDS: Fields<2> = Fields::new(["a", "b"]);

fn scan(text: &str) -> Option<[Option<Token<'_>>; 2]> {
    FIELDS.scan(text.as_bytes())
}

#[test]
fn named_fields_are_found_in_any_order() {
    let [a, b] = scan(r#" { "x":[1,{"a":2}] , "b" : "é" } "#).unwrap();
    assert_eq!((a, b), (None, Some(Token::String("é".as_bytes()))));

    let [a, b] = scan(r#"{"b":1.50,"a":{"a":null}}"#).unwrap();
    assert_eq!(a, Some(Token::Other(br#"{"a":null}"#)));
    assert_eq!(b, Some(Token::Number(b"1.50")));

    assert_eq!(scan("{}"), Some([None, None]));
}

#[test]
fn what_is_not_plain_is_left_to_others() {
    let left = [
        r#"{"a":1"#,
        r#"{"a":1}}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"a":01}"#,
        r#"{"a":-1}"#,
        r#"{"a":1e3}"#,
        r#"{"a":1.5e3}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\n"}"#,
        r#"{"a":"x}"#,
        r#"{"a":[1,]}"#,
        r#"{a:1}"#,
        "[1]",
        "",
        "{\"a\":\"\u{1}\"}",
        "{\"a long string that ends in a control\":\"0123456789abcdef\u{1f}\"}",
    ];

    for text in left {
        assert_eq!(scan(text), None, "{text}");
    }

    assert_eq!(FIELDS.scan(b"{\"x\":\"\xff\"}"), None, "not UTF-8");
}

#[test]
fn strings_are_utf_8_however_long_they_are_and_wherever_they_end() {
    for key_bytes in [1, 3, 15, 16, 17, 40] {
        for (wrong, place) in (0..40).map(|place| (b'\xff', place)).chain([(b'a', 0)]) {
            for behind in ["", "   ", r#", "b": "0123456789abcdef" "#] {
                let mut value = [b'a'; 40];
                value[place] = wrong;
                let value = &value[..=place];
                let key = "é".repeat(key_bytes);
                let before = format!(r#"{{"{key}": 1, "a": ""#);
                let behind = format!("\"{behind}}}");

                let text = [before.as_bytes(), value, behind.as_bytes()].concat();
                let is_text = std::str::from_utf8(&text).is_ok();
                assert_eq!(FIELDS.scan(&text).is_some(), is_text, "{text:?}");
                let without_key = text[before.find(r#""a""#).unwrap()..].to_vec();
                let text = [b"{".to_vec(), without_key].concat();
                assert_eq!(FIELDS.scan(&text).is_some(), is_text, "{text:?}");
            }
        }
    }
}

/// Each way to break a text of all kinds of values in one byte is found, as `serde_json` finds it.
#[test]
fn a_text_with_one_wrong_byte_is_declined_or_json() {
    let text = "{ \"a\" : \"caf\u{e9} 0123456789\", \"x\":[ 1,2.50 , true ,null],\"b\":{\"é\" : {}} ,\"c\":12345678901 }";
    let text = text.as_bytes();
    assert!(FIELDS.scan(text).is_some());

    for place in 0..text.len() {
        for byte in 0..=u8::MAX {
            let mut other = text.to_vec();
            other[place] = byte;
            let is_json = serde_json::from_slice::<serde_json::Value>(&other).is_ok();
            assert!(is_json || FIELDS.scan(&other).is_none(), "{other:?}");

            // What is left to serde_json has a backslash, a sign, an exponent, or a field twice.
            let is_plain = !matches!(byte, b'\\' | b'-' | b'+' | b'e' | b'E' | b'a' | b'b');
            if is_json && is_plain {
                assert!(FIELDS.scan(&other).is_some(), "{other:?}");
            }
        }
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(scan(&nested(64)).is_some());
    assert!(scan(&nested(65)).is_none());
    assert!(scan(&nested(1_000_000)).is_none());
}

#[test]
fn whole_numbers_are_read_up_to_nineteen_digits() {
    let number = |text: &str| Token::Number(text.as_bytes()).as_u64();
    assert_eq!(number("0"), Some(0));
    assert_eq!(
        number("9999999999999999999"),
        Some(9_999_999_999_999_999_999)
    );

    assert_eq!(number("18446744073709551615"), None);
    assert_eq!(number("1.0"), None);
    assert_eq!(Token::String(b"1").as_u64(), None);
}

/// Returns the whole number that the standard library reads at the start of a text, and its length.
fn parsed(text: &[u8]) -> Option<(u64, usize)> {
    let digits: String = text
        .iter()
        .map(|byte| char::from(*byte))
        .take_while(char::is_ascii_digit)
        .collect();

    let has_leading_zero = digits.len() > 1 && digits.starts_with('0');
    let value = digits.parse().ok()?;
    (!has_leading_zero && digits.len() <= 19).then_some((value, digits.len()))
}

#[test]
fn a_whole_number_ends_at_any_byte_that_is_no_digit() {
    for digits in 0..20 {
        for number in [0_u64, 1, 7, 90_817_263_544, 8_999_999_999_999_999_999] {
            let number = format!("{number:0digits$}");
            let number = &number[number.len() - digits..];
            for after in 0..=u8::MAX {
                let text = [number.as_bytes(), &[after], b" 1234567"].concat();
                assert_eq!(super::digits(&text), parsed(&text), "{text:?}");
            }
            assert_eq!(super::digits(number.as_bytes()), parsed(number.as_bytes()));
        }
    }
}

/// Returns the number of bytes before the first quote, backslash or control character.
fn plain_length(text: &[u8]) -> usize {
    length_before(text, |block| special(block).to_bitmask(), is_special)
}

#[test]
fn a_special_byte_is_found_at_each_place_among_all_bytes() {
    for special in [b'"', b'\\', 0, 0x1f] {
        for place in 0..40 {
            for fill in [b' ', b'#', b'!', b'[', b']', 0x7f, 0x80, 0xff] {
                let mut text = [fill; 40];
                text[place] = special;
                assert_eq!(plain_length(&text), place, "{special} among {fill}");
            }
        }
    }
}

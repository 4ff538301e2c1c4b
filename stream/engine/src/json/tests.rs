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

/// Returns what the standard library reads at the start of a text.
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

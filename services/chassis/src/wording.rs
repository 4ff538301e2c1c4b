//! Describes an invalid value in words for the sender of the request.
//!
//! serde describes errors in words for the author of the program (`invalid type: string "me", expected
//! i64`). This module describes them with the remedy (`this must be a whole number, not a text`).
//! Pure. A message without a rule stays as it is: the services' own types already return messages
//! for the sender.

/// The names of Rust's integer types, with the least and the greatest value of each.
const WHOLE: [(&str, &str, &str); 10] = [
    ("u8", "0", "255"),
    ("u16", "0", "65535"),
    ("u32", "0", "4294967295"),
    ("u64", "0", "18446744073709551615"),
    ("usize", "0", "18446744073709551615"),
    ("i8", "-128", "127"),
    ("i16", "-32768", "32767"),
    ("i32", "-2147483648", "2147483647"),
    ("i64", "-9223372036854775808", "9223372036854775807"),
    ("isize", "-9223372036854775808", "9223372036854775807"),
];

/// Returns serde's message in words for the sender of the value.
pub(crate) fn in_words(message: &str) -> String {
    let message = without_position(message);
    let rules: [fn(&str) -> Option<String>; 10] = [
        wrong_type,
        wrong_value,
        wrong_length,
        missing,
        duplicate,
        unknown_field,
        unknown_variant,
        no_number,
        no_uuid,
        no_word,
    ];

    rules
        .iter()
        .find_map(|rule| rule(message))
        .unwrap_or_else(|| message.to_owned())
}

/// Returns serde's message without the line and column, which mean little in a body of one line.
fn without_position(message: &str) -> &str {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(before, _)| before)
}

/// `invalid type: string "me", expected i64`
fn wrong_type(message: &str) -> Option<String> {
    let rest = message.strip_prefix("invalid type: ")?;
    let (found, wanted) = rest.rsplit_once(", expected ")?;
    Some(format!(
        "this must be {}, not {}",
        of_type(wanted),
        a(found)
    ))
}

/// `invalid value: integer `-1`, expected u32`
fn wrong_value(message: &str) -> Option<String> {
    let rest = message.strip_prefix("invalid value: ")?;
    let (found, wanted) = rest.rsplit_once(", expected ")?;
    let shown = quoted(found).unwrap_or(found);
    Some(format!("this must be {}, not {shown}", of_range(wanted)))
}

/// `invalid length 1, expected struct Order with 2 elements`: a list in an object's place.
fn wrong_length(message: &str) -> Option<String> {
    let rest = message.strip_prefix("invalid length ")?;
    let (_, wanted) = rest.split_once(", expected ")?;
    Some(match wanted.strip_prefix("struct ") {
        Some(_) => "this must be an object in braces, not a list".to_owned(),
        None => format!("this has the wrong length; it must be {wanted}"),
    })
}

/// `missing field `user_id``
fn missing(message: &str) -> Option<String> {
    let name = quoted(message.strip_prefix("missing field ")?)?;
    Some(format!("{name} is missing; add it"))
}

/// `duplicate field `user_id``
fn duplicate(message: &str) -> Option<String> {
    let name = quoted(message.strip_prefix("duplicate field ")?)?;
    Some(format!("{name} is there twice; send it once"))
}

/// `unknown field `coupon`, expected one of `user_id`, `items``
fn unknown_field(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field ")?;
    let name = quoted(rest)?;
    let known = listed(rest, "and");
    Some(match known.as_str() {
        "" => format!("there is no field {name} here; leave it out"),
        known => format!("there is no field {name} here, but {known}; leave it out"),
    })
}

/// `unknown variant `lost`, expected one of `pending`, `paid``
fn unknown_variant(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown variant ")?;
    let name = quoted(rest)?;
    Some(format!("this must be {}, not {name}", listed(rest, "or")))
}

/// The errors of numbers and truth values in a query.
fn no_number(message: &str) -> Option<String> {
    let words = match message {
        "invalid digit found in string" => "this must be a whole number, in digits alone",
        "cannot parse integer from empty string" => "this must be a whole number, and is empty",
        "number too large to fit in target type" => "this number is too large",
        "number too small to fit in target type" => "this number is too small",
        "provided string was not `true` or `false`" => "this must be true or false",
        _ => return None,
    };
    Some(words.to_owned())
}

/// `UUID parsing failed: invalid length: …`
fn no_uuid(message: &str) -> Option<String> {
    message.strip_prefix("UUID parsing failed")?;
    Some(format!("this must be {UUID}"))
}

/// `expected value`: serde_json's message for a number, `null` or a list in the place of a string.
fn no_word(message: &str) -> Option<String> {
    (message == "expected value")
        .then(|| "this must be one of the known words, in quotation marks".to_owned())
}

const UUID: &str = "an id such as 0199c82c-c000-7000-8000-000000000001 (UUID)";

/// Returns a type of Rust in words.
fn of_type(wanted: &str) -> String {
    let known = match wanted {
        "a string" | "string" | "a borrowed string" => "a text in quotation marks",
        "a boolean" => "true or false",
        "f32" | "f64" => "a number",
        "a sequence" => "a list in square brackets",
        "a map" | "JSON" => "an object in braces",
        "a UUID string" | "a formatted UUID string" => UUID,
        _ if wanted.starts_with("struct ") => "an object in braces",
        _ if wanted.starts_with("enum ") || wanted == "string or map" => "one of the known words",
        _ if WHOLE.iter().any(|(name, _, _)| *name == wanted) => "a whole number",
        other => other,
    };
    known.to_owned()
}

/// Returns the values of a type of Rust in words.
fn of_range(wanted: &str) -> String {
    match WHOLE.iter().find(|(name, _, _)| *name == wanted) {
        Some((_, least, greatest)) => format!("a whole number from {least} to {greatest}"),
        None => of_type(wanted),
    }
}

/// Returns the kind of the value that was found instead, in words.
fn a(found: &str) -> &str {
    let kinds = [
        ("string", "a text"),
        ("integer", "a whole number"),
        ("floating point", "a number with a fraction or an exponent"),
        ("boolean", "true or false"),
        ("null", "null"),
        ("unit value", "null"),
        ("map", "an object"),
        ("sequence", "a list"),
    ];
    let kind = kinds.iter().find(|(kind, _)| found.starts_with(kind));
    kind.map_or(found, |(_, words)| words)
}

/// Returns the first text between backquotes.
fn quoted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('`')?;
    Some(rest.split_once('`')?.0)
}

/// Returns the texts between backquotes behind `expected` as one list: `a, b and c`.
fn listed(text: &str, conjunction: &str) -> String {
    let known = text
        .split_once(", expected ")
        .map_or("", |(_, known)| known);
    let names: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [before @ .., last] => format!("{} {conjunction} {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use serde_json::json;
    use uuid::Uuid;

    use super::in_words;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only errors are looked at")]
    struct Order {
        user_id: i64,
        note: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Status {
        Pending,
        Paid,
        Shipped,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    fn refused<T: DeserializeOwned + Debug>(value: serde_json::Value) -> String {
        in_words(&serde_json::from_value::<T>(value).unwrap_err().to_string())
    }

    #[test]
    fn a_value_of_another_type_is_told_what_it_must_be() {
        let words = [
            refused::<i64>(json!("me")),
            refused::<u32>(json!(1.5)),
            refused::<u64>(json!(null)),
            refused::<i64>(json!([1])),
            refused::<i64>(json!({})),
            refused::<u8>(json!(true)),
            refused::<String>(json!(7)),
            refused::<bool>(json!("yes")),
            refused::<f64>(json!("1")),
            refused::<Vec<u8>>(json!("1")),
            refused::<BTreeMap<String, u8>>(json!(1)),
            refused::<Order>(json!("order")),
            refused::<i64>(json!("a, expected b")),
        ];
        assert_eq!(
            words,
            [
                "this must be a whole number, not a text",
                "this must be a whole number, not a number with a fraction or an exponent",
                "this must be a whole number, not null",
                "this must be a whole number, not a list",
                "this must be a whole number, not an object",
                "this must be a whole number, not true or false",
                "this must be a text in quotation marks, not a whole number",
                "this must be true or false, not a text",
                "this must be a number, not a text",
                "this must be a list in square brackets, not a text",
                "this must be an object in braces, not a whole number",
                "this must be an object in braces, not a text",
                "this must be a whole number, not a text",
            ]
        );
    }

    #[test]
    fn a_value_out_of_range_is_told_the_range() {
        assert_eq!(
            refused::<u32>(json!(-1)),
            "this must be a whole number from 0 to 4294967295, not -1"
        );
        assert_eq!(
            refused::<i64>(json!(u64::MAX)),
            "this must be a whole number from -9223372036854775808 to 9223372036854775807, not 18446744073709551615"
        );
    }

    #[test]
    fn fields_and_words_are_named_with_those_that_are_known() {
        let words = [
            refused::<Order>(json!({})),
            refused::<Order>(json!({"user_id": 1, "coupon": 2})),
            refused::<Nothing>(json!({"coupon": 2})),
            refused::<Status>(json!("lost")),
        ];
        assert_eq!(
            words,
            [
                "user_id is missing; add it",
                "there is no field coupon here, but user_id and note; leave it out",
                "there is no field coupon here; leave it out",
                "this must be pending, paid or shipped, not lost",
            ]
        );
    }

    #[test]
    fn an_id_is_shown_by_an_example() {
        for value in [
            json!("x"),
            json!("0199c82c-c000-7000-8000-00000000000"),
            json!(7),
        ] {
            let words = refused::<Uuid>(value);
            assert!(words.contains("0199c82c-c000-7000"), "{words}");
        }
    }

    #[test]
    fn no_error_of_serde_speaks_of_rust() {
        let values = [
            json!(null),
            json!(true),
            json!(-1),
            json!(1.5),
            json!("x"),
            json!([1]),
            json!({"a": 1}),
            json!(u64::MAX),
        ];
        for value in values {
            let tried = [
                serde_json::from_value::<i64>(value.clone()).err(),
                serde_json::from_value::<u32>(value.clone()).err(),
                serde_json::from_value::<String>(value.clone()).err(),
                serde_json::from_value::<bool>(value.clone()).err(),
                serde_json::from_value::<Uuid>(value.clone()).err(),
                serde_json::from_value::<Vec<i64>>(value.clone()).err(),
                serde_json::from_value::<Order>(value.clone()).err(),
                serde_json::from_value::<Status>(value).err(),
            ];
            for error in tried.into_iter().flatten() {
                let words = in_words(&error.to_string());
                let speech = [
                    "invalid type",
                    "expected",
                    "i64",
                    "u32",
                    "struct",
                    "variant",
                    "`",
                ];
                assert!(!speech.iter().any(|word| words.contains(word)), "{words}");
            }
        }
    }

    #[test]
    fn the_services_own_words_stay() {
        let own = "a quantity is from 1 to 10000";
        assert_eq!(in_words(&format!("{own} at line 1 column 2")), own);
    }
}

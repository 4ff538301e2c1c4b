//! A record as a line of JSON.
//!
//! ```text
//! {"key":"42","value":{"user_id":42,"order_count":3},"headers":[["reason","late"]]}
//! ```
//!
//! A value that is a JSON object or array is written as it is; only line ends between its tokens become spaces, so
//! numbers keep all their digits. Other text is a string. Bytes that are no text are `{"base64":"…"}`. A missing key is
//! null, and so is the value of a tombstone. Headers are left out if there are none.

use std::str;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use record_log::NewRecord;
use serde::de::IgnoredAny;

/// Appends the record as a line.
pub fn append(record: &NewRecord<'_>, line: &mut Vec<u8>) {
    line.extend(b"{\"key\":");
    match record.key {
        Some(key) => append_text(key, line),
        None => line.extend(b"null"),
    }

    line.extend(b",\"value\":");
    match record.value {
        Some(value) if is_json(value) => line.extend(value.iter().map(|byte| on_one_line(*byte))),
        Some(value) => append_text(value, line),
        None => line.extend(b"null"),
    }

    for (at, (name, value)) in record.headers.iter().enumerate() {
        line.extend(if at == 0 {
            &b",\"headers\":[["[..]
        } else {
            b",["
        });
        append_text(name.as_bytes(), line);
        line.push(b',');
        append_text(value, line);
        line.push(b']');
    }
    line.extend(if record.headers.is_empty() {
        &b"}\n"[..]
    } else {
        b"]}\n"
    });
}

/// Returns whether the bytes are a JSON object or array.
fn is_json(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    // The parser does not check the bytes of a string that it skips.
    matches!(first, Some(b'{' | b'['))
        && str::from_utf8(bytes).is_ok()
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Returns a space for a line end. JSON has line ends only between its tokens.
fn on_one_line(byte: u8) -> u8 {
    if matches!(byte, b'\n' | b'\r') {
        b' '
    } else {
        byte
    }
}

fn append_text(bytes: &[u8], line: &mut Vec<u8>) {
    let Ok(text) = str::from_utf8(bytes) else {
        line.extend(b"{\"base64\":\"");
        line.extend(STANDARD.encode(bytes).bytes());
        line.extend(b"\"}");
        return;
    };
    serde_json::to_writer(line, text).expect("a string is written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &[u8])]) -> String {
        let record = NewRecord {
            topic: "counts",
            partition: None,
            key,
            value,
            headers,
        };
        let mut line = Vec::new();
        append(&record, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_has_the_record_whatever_its_bytes_are() {
        let value = |value: &[u8]| {
            let line = line(None, Some(value), &[]);
            let inner = line.strip_prefix("{\"key\":null,\"value\":");
            inner
                .and_then(|rest| rest.strip_suffix("}\n"))
                .unwrap()
                .to_owned()
        };

        assert_eq!(
            value(b"{\"cents\": 12345678901234567890.10}"),
            "{\"cents\": 12345678901234567890.10}"
        );
        assert_eq!(value(b" [1,\r\n 2]"), " [1,   2]");
        assert_eq!(value(b"{\"a\\n\":\"b\"}"), "{\"a\\n\":\"b\"}");
        // Other JSON is text, so that a tombstone is the only null.
        assert_eq!(
            (&*value(b"null"), &*value(b"7"), &*value(b"")),
            ("\"null\"", "\"7\"", "\"\"")
        );
        assert_eq!(value(b"{\"cut"), "\"{\\\"cut\"");
        assert_eq!(value(b"a\n\"b\""), "\"a\\n\\\"b\\\"\"");
        assert_eq!(value(b"\xff\xfe"), "{\"base64\":\"//4=\"}");
        assert_eq!(value(b"{\"a\":\"\xff\"}"), "{\"base64\":\"eyJhIjoi/yJ9\"}");
    }

    #[test]
    fn keys_tombstones_and_headers_are_kept() {
        assert_eq!(
            line(Some(b"42"), None, &[]),
            "{\"key\":\"42\",\"value\":null}\n"
        );

        let headers: [(&str, &[u8]); 2] = [("reason", b"late"), ("trace", b"\xff")];
        let expected = "{\"key\":\"\",\"value\":\"x\",\"headers\":[[\"reason\",\"late\"],[\"trace\",{\"base64\":\"/w==\"}]]}\n";
        assert_eq!(line(Some(b""), Some(b"x"), &headers), expected);
    }
}

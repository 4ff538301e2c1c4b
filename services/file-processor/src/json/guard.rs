//! A stream of JSON that ends before one token fills the memory.
//!
//! `serde_json` buffers a whole string or number before it passes it on. The guard reads the bytes
//! first and counts the length of the current token. It distinguishes only strings from the bytes
//! between them.

use std::io::{self, Read};

/// The guarded stream.
pub(super) struct Guard<R> {
    pub(super) inner: R,
    /// Whether a token has exceeded the limit.
    pub(super) is_tripped: bool,
    max_token_bytes: usize,
    token_bytes: usize,
    place: Place,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Between,
    InString,
    AfterBackslash,
}

impl<R: Read> Guard<R> {
    pub(super) fn new(inner: R, max_token_bytes: usize) -> Self {
        Self {
            inner,
            is_tripped: false,
            max_token_bytes,
            token_bytes: 0,
            place: Place::Between,
        }
    }

    fn see(&mut self, byte: u8) {
        let (place, ends_token) = match (self.place, byte) {
            (Place::Between, b'"') => (Place::InString, true),
            (
                Place::Between,
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b'[' | b']' | b'{' | b'}',
            ) => (Place::Between, true),
            (Place::InString, b'\\') => (Place::AfterBackslash, false),
            (Place::InString, b'"') => (Place::Between, true),
            (Place::AfterBackslash, _) => (Place::InString, false),
            (place, _) => (place, false),
        };

        self.place = place;
        self.token_bytes = if ends_token { 0 } else { self.token_bytes + 1 };
        self.is_tripped |= self.token_bytes > self.max_token_bytes;
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        buffer[..length].iter().for_each(|byte| self.see(*byte));
        if self.is_tripped {
            Err(io::Error::other("a token is too long"))
        } else {
            Ok(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(text: &str) -> bool {
        Guard::new(text.as_bytes(), 4)
            .read_to_end(&mut Vec::new())
            .is_ok()
    }

    #[test]
    fn tokens_up_to_the_limit_pass_and_longer_ones_do_not() {
        assert!(passes(r#"{"abcd": [1234, "a\"b", true], "": {}}"#));
        assert!(!passes(r#"["abcde"]"#));
        assert!(!passes(r#"["\\\"ab""#));
        assert!(!passes("[12345]"));
        assert!(passes("      \n\n\n\n\n       "));
    }
}

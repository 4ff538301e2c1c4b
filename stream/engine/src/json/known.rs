//! Reads a text whose layout is known.

use wide::u8x16;

use super::{digits, is_special, length_before, special};

/// A text that probably has the exact layout of its usual producer: literals, strings and whole
/// numbers in a fixed order. Each function reads one of these off the front, or returns none if the
/// text continues differently.
///
/// If the literals are the rest of a JSON text, the text that was read is JSON: strings are ASCII
/// without escapes and control characters below 0x20, and numbers have no leading zero.
///
/// ```
/// use stream::json::KnownText;
///
/// fn user(record: &[u8]) -> Option<u64> {
///     let mut text = KnownText::new(record);
///     text.literal(br#"{"name":""#)?;
///     text.string()?;
///     text.literal(br#","user_id":"#)?;
///     let user_id = text.whole()?;
///     text.literal(b"}")?;
///     text.is_empty().then_some(user_id)
/// }
///
/// assert_eq!(user(br#"{"name":"Ann","user_id":42}"#), Some(42));
/// assert_eq!(user(br#"{ "name":"Ann","user_id":42}"#), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KnownText<'a> {
    rest: &'a [u8],
}

impl<'a> KnownText<'a> {
    /// Starts at the front of `text`.
    #[inline]
    pub fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Reads exactly these bytes.
    #[inline]
    pub fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        if first != literal {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Reads ASCII without backslashes and control characters below 0x20 up to the next quote, and
    /// the quote. The opening quote belongs to the literal before it.
    #[inline]
    pub fn string(&mut self) -> Option<&'a [u8]> {
        // A byte beyond ASCII has its high bit set, like the marks of special bytes.
        let in_block = |block: u8x16| (special(block) | block).to_bitmask();
        let is_it = |byte: u8| is_special(byte) || !byte.is_ascii();
        let length = length_before(self.rest, in_block, is_it);

        let (string, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.strip_prefix(b"\"")?;
        Some(string)
    }

    /// Reads a whole number of at most 19 digits.
    #[inline]
    pub fn whole(&mut self) -> Option<u64> {
        let (value, length) = digits(self.rest)?;
        self.rest = self.rest.get(length..)?;
        Some(value)
    }

    /// Returns whether the whole text has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_at_a_quote_and_hold_printable_ascii_only() {
        let string = |text: &'static str| KnownText::new(text.as_bytes()).string();
        assert_eq!(
            string("a string of more than sixteen bytes\" and more"),
            Some(&b"a string of more than sixteen bytes"[..])
        );

        assert_eq!(string("\""), Some(&b""[..]));
        for refused in [
            "no quote",
            "escape \\\"\"",
            "line\nbreak\"",
            "caf\u{e9}\"",
            "",
            "0123456789abcdef\u{e9}\"",
        ] {
            assert_eq!(string(refused), None, "{refused}");
        }
    }

    #[test]
    fn numbers_are_whole_and_have_no_leading_zero() {
        let whole = |text: &'static str| KnownText::new(text.as_bytes()).whole();
        assert_eq!(whole("42,"), Some(42));
        assert_eq!(whole("0}"), Some(0));
        for refused in ["", "-1", "042", "x", "99999999999999999999"] {
            assert_eq!(whole(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_literal_is_taken_whole_or_not_at_all() {
        let mut text = KnownText::new(b"{\"a\":1}");
        assert_eq!(text.literal(b"{\"b\":"), None);
        assert_eq!(text.literal(b"{\"a\":"), Some(()));
        assert_eq!((text.whole(), text.is_empty()), (Some(1), false));
        assert_eq!((text.literal(b"}"), text.is_empty()), (Some(()), true));
        assert_eq!(text.literal(b"}"), None);
    }
}

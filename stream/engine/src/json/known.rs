//! Reads a text whose layout is known.

use wide::u8x16;

use super::{digits, digits_length, is_special, length_before, special};

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

    /// Reads `N` bytes, whatever they are. The caller compares them with the layout: several literals
    /// and strings of a known length at once cost one check of the text's length.
    ///
    /// ```
    /// use stream::json::KnownText;
    ///
    /// let mut text = KnownText::new(br#""currency":"USD","total":7}"#);
    /// let known: &[u8; 16] = text.bytes().expect("so many bytes");
    /// assert!(known.starts_with(br#""currency":""#) && known.ends_with(b"\""));
    /// assert!(KnownText::is_plain::<3>(known[12..15].first_chunk().expect("three bytes")));
    /// ```
    #[inline(always)]
    pub fn bytes<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(first)
    }

    /// Returns whether these bytes are ASCII without quotes, backslashes and control characters below
    /// 0x20, so that they may be the whole of a string.
    #[inline(always)]
    pub fn is_plain<const N: usize>(bytes: &[u8; N]) -> bool {
        let Some(last) = bytes.last_chunk::<16>() else {
            return bytes
                .iter()
                .all(|byte| !is_special(*byte) && byte.is_ascii());
        };

        let marks = |block: &[u8; 16]| {
            let block = u8x16::new(*block);
            special(block) | block
        };
        let (blocks, _) = bytes.as_chunks::<16>();
        let all = blocks
            .iter()
            .fold(marks(last), |all, block| all | marks(block));
        all.to_bitmask() == 0
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

    /// Reads a whole number of at most 19 digits, whose value does not matter.
    #[inline]
    pub fn skip_whole(&mut self) -> Option<()> {
        let length = digits_length(self.rest)?;
        self.rest = self.rest.get(length..)?;
        Some(())
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
    fn a_number_that_is_skipped_is_one_that_is_read() {
        for text in [
            "42,",
            "0}",
            "",
            "-1",
            "042",
            "x",
            "1",
            "1234567",
            "12345678",
            "12345678,",
            "9999999999999999999,",
            "99999999999999999999",
            "01234567890,",
            "00,",
            "042,\"a\":1}",
            "0,\"a\":1}}}",
            "1x345678",
        ] {
            let mut read = KnownText::new(text.as_bytes());
            let mut skipped = read;
            assert_eq!(skipped.skip_whole(), read.whole().map(|_| ()), "{text}");
            assert_eq!(skipped.rest, read.rest, "{text}");
        }
    }

    #[test]
    fn bytes_are_plain_if_they_are_the_whole_of_a_string() {
        fn check<const N: usize>() {
            for place in 0..N {
                for byte in 0..=u8::MAX {
                    let mut bytes = [b'a'; N];
                    bytes[place] = byte;

                    let quoted = [&bytes[..], b"\""].concat();
                    let is_string = KnownText::new(&quoted).string() == Some(&bytes[..]);
                    assert_eq!(KnownText::is_plain(&bytes), is_string, "{byte} at {place}");
                }
            }
        }
        check::<1>();
        check::<15>();
        check::<16>();
        check::<17>();
        check::<36>();
        check::<48>();
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

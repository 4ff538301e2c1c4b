//! Reads a few fields of a JSON record in one pass, or declines.
//!
//! A counting job needs three fields of a record, and must be certain that the whole record is
//! JSON. A general parser pays for every field. This module contains two readers that build
//! nothing:
//!
//! | | input | cost of an order of 286 bytes |
//! |---|---|---|
//! | [`KnownText`] | the exact layout that the usual producer writes | a seventh of `serde_json`'s instructions |
//! | [`Fields`] | the grammar of JSON, and the names of the wanted fields | half of them |
//!
//! Neither reader rejects a record. They do not support escapes, exponents and signs. They return
//! none if a text contains one of these, breaks the grammar or names a wanted field twice. The
//! caller then decodes the record with `serde_json`, whose result counts. So `serde_json` alone
//! decides whether a record is accepted, and for which reason it is rejected.
//!
//! ```
//! use stream::json::{Fields, Token};
//!
//! const FIELDS: Fields<2> = Fields::new(["user_id", "at"]);
//!
//! let record = br#"{"user_id": 42, "items": [{"price": 19.99}], "at": "noon"}"#;
//! let [user_id, at] = FIELDS.scan(record).expect("plain JSON");
//! assert_eq!(user_id, Some(Token::Number(b"42")));
//! assert_eq!(user_id.and_then(Token::as_u64), Some(42));
//! assert_eq!(at.and_then(|token| token.as_string()), Some(&b"noon"[..]));
//!
//! assert!(FIELDS.scan(br#"{"user_id": 4e2}"#).is_none(), "an exponent is left to serde_json");
//! ```
//!
//! Invariants: if [`Fields::scan`] returns fields, the text is one JSON object in UTF-8 with
//! nothing after it, and each named field occurs at most once.

mod known;

pub use known::KnownText;
use wide::u8x16;

/// The names of the fields to read, at the top level of an object.
#[derive(Clone, Copy, Debug)]
pub struct Fields<const N: usize> {
    names: [&'static str; N],
}

/// The value of a field, as it stands in the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Token<'a> {
    /// A string without escapes, without its quotes.
    String(&'a [u8]),
    /// A number without sign and exponent: digits, and a fraction if it has one.
    Number(&'a [u8]),
    /// `true`, `false`, `null`, an array or an object.
    Other(&'a [u8]),
}

impl<'a> Token<'a> {
    /// Returns the bytes of a string, or none for another kind of value.
    #[inline]
    pub fn as_string(self) -> Option<&'a [u8]> {
        match self {
            Self::String(text) => Some(text),
            Self::Number(_) | Self::Other(_) => None,
        }
    }

    /// Returns the value of a whole number of at most 19 digits. Longer ones are left to
    /// `serde_json`.
    #[inline]
    pub fn as_u64(self) -> Option<u64> {
        let Self::Number(text) = self else {
            return None;
        };
        let (value, length) = digits(text)?;
        (length == text.len()).then_some(value)
    }
}

impl<const N: usize> Fields<N> {
    /// Creates a reader of the named fields. A name must not need an escape in JSON.
    pub const fn new(names: [&'static str; N]) -> Self {
        Self { names }
    }

    /// Returns the named fields of the object in `text`; an absent field is none.
    ///
    /// Returns none if the text is not certainly a JSON object, contains an escape, an exponent or
    /// a sign anywhere, names a wanted field twice, or nests values more than 64 levels deep.
    #[inline]
    pub fn scan<'a>(&self, text: &'a [u8]) -> Option<[Option<Token<'a>>; N]> {
        let mut scanner = Scanner::new(text);
        let mut found = [None; N];

        scanner.take(b'{')?;
        scanner.members(MAX_DEPTH, |key, value| self.keep(&mut found, key, value))?;

        scanner.skip_space();
        if !scanner.rest.is_empty() {
            return None;
        }

        // JSON has bytes beyond ASCII in strings alone.
        if !scanner.strings_are_ascii() {
            std::str::from_utf8(text).ok()?;
        }
        Some(found)
    }

    /// Stores a value whose key is wanted. Returns none if that key occurred before.
    #[inline]
    fn keep<'a>(
        &self,
        found: &mut [Option<Token<'a>>; N],
        key: &[u8],
        value: Token<'a>,
    ) -> Option<()> {
        let index = self.names.iter().position(|name| name.as_bytes() == key);
        match index {
            None => Some(()),
            Some(index) if found[index].is_some() => None,
            Some(index) => {
                found[index] = Some(value);
                Some(())
            }
        }
    }
}

/// The unread rest of a text. Each function reads something off its front, or returns none if the
/// text breaks the grammar or contains something that is left to `serde_json`.
struct Scanner<'a> {
    rest: &'a [u8],
    /// The bytes of all strings so far, or-ed together: a high bit is set if one has it. Bytes behind
    /// a string may be among them.
    strings: u8x16,
}

/// Deeper arrays and objects are left to `serde_json`, whose limit is 128.
const MAX_DEPTH: u32 = 64;

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            rest: text,
            strings: u8x16::default(),
        }
    }

    /// Returns whether no string that was read has a byte beyond ASCII. It may return false although
    /// none has, if another byte of the text is beyond it.
    fn strings_are_ascii(&self) -> bool {
        self.strings.to_bitmask() == 0
    }

    #[inline]
    fn skip_space(&mut self) {
        // Nothing else in the grammar is as low as the space.
        while let [byte @ ..=b' ', rest @ ..] = self.rest {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return;
            }
            self.rest = rest;
        }
    }

    /// Reads a byte of the grammar, and space before it.
    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        if self.rest.first() != Some(&byte) {
            self.skip_space();
        }

        let (first, rest) = self.rest.split_first()?;
        if *first != byte {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Reads the members of an object, from after its opening brace to after its closing one.
    #[inline]
    fn members(
        &mut self,
        depth: u32,
        mut each: impl FnMut(&'a [u8], Token<'a>) -> Option<()>,
    ) -> Option<()> {
        if self.take(b'}').is_some() {
            return Some(());
        }

        loop {
            self.take(b'"')?;
            let key = self.string()?;
            self.take(b':')?;
            let value = self.value(depth)?;
            each(key, value)?;

            if self.take(b',').is_none() {
                return self.take(b'}');
            }
        }
    }

    /// Reads the elements of an array, from after its opening bracket to after its closing one.
    fn elements(&mut self, depth: u32) -> Option<()> {
        if self.take(b']').is_some() {
            return Some(());
        }

        loop {
            self.value(depth)?;
            if self.take(b',').is_none() {
                return self.take(b']');
            }
        }
    }

    #[inline]
    fn value(&mut self, depth: u32) -> Option<Token<'a>> {
        self.skip_space();
        match self.rest {
            [b'"', rest @ ..] => {
                self.rest = rest;
                self.string().map(Token::String)
            }
            [b'0'..=b'9', ..] => self.number().map(Token::Number),
            _ => self.other(depth).map(Token::Other),
        }
    }

    /// Reads a literal, an array or an object. It is not inlined because it calls itself.
    #[inline(never)]
    fn other(&mut self, depth: u32) -> Option<&'a [u8]> {
        let text = self.rest;
        match text {
            [b'{', rest @ ..] => {
                self.rest = rest;
                self.members(depth.checked_sub(1)?, |_, _| Some(()))?;
            }
            [b'[', rest @ ..] => {
                self.rest = rest;
                self.elements(depth.checked_sub(1)?)?;
            }
            [b't', b'r', b'u', b'e', rest @ ..] => self.rest = rest,
            [b'f', b'a', b'l', b's', b'e', rest @ ..] => self.rest = rest,
            [b'n', b'u', b'l', b'l', rest @ ..] => self.rest = rest,
            _ => return None,
        }

        text.get(..text.len() - self.rest.len())
    }

    /// Reads digits without a leading zero, and a fraction if there is one.
    #[inline]
    fn number(&mut self) -> Option<&'a [u8]> {
        let text = self.rest;
        let mut length = count_digits(text);
        if length == 0 || (length > 1 && text[0] == b'0') {
            return None;
        }

        if let Some(fraction) = text[length..].strip_prefix(b".") {
            let digits = count_digits(fraction);
            if digits == 0 {
                return None;
            }
            length += 1 + digits;
        }

        let (number, rest) = text.split_at(length);
        self.rest = rest;

        // An exponent is left to `serde_json`.
        (!matches!(rest.first(), Some(b'e' | b'E'))).then_some(number)
    }

    /// Reads a string without escapes, from after its opening quote to after its closing one.
    #[inline]
    fn string(&mut self) -> Option<&'a [u8]> {
        let text = self.rest;
        let in_block = |block: u8x16| {
            self.strings |= block;
            special(block).to_bitmask()
        };
        let length = length_before(text, in_block, is_special);

        let (string, rest) = text.split_at_checked(length)?;
        // Bytes that are no whole block any more were looked at one by one.
        let (_, last) = string.as_chunks::<16>();
        if rest.len() + last.len() < 16 && !last.is_ascii() {
            self.strings = u8x16::splat(u8::MAX);
        }

        self.rest = rest.strip_prefix(b"\"")?;
        Some(string)
    }
}

#[inline]
fn count_digits(text: &[u8]) -> usize {
    // Most numbers have fewer than eight digits, and something follows them.
    if let Some(word) = text.first_chunk()
        && let (_, length @ ..8) = digit_values(*word)
    {
        return length;
    }

    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    text.iter().take_while(is_digit).count()
}

/// Returns the whole number at the start of a text and the number of its digits. Returns none
/// without a digit, with a leading zero, or with more digits than are certain not to overflow.
#[inline]
fn digits(text: &[u8]) -> Option<(u64, usize)> {
    // Most numbers have fewer than eight digits, and something follows them.
    if let Some((value, length)) = text.first_chunk().and_then(|word| digits_of_word(*word)) {
        let has_leading_zero = length > 1 && text[0] == b'0';
        return (length > 0 && !has_leading_zero).then_some((value, length));
    }

    digits_one_by_one(text)
}

/// Returns the number of digits of the whole number at the start of a text; none where [`digits`]
/// returns none.
#[inline]
fn digits_length(text: &[u8]) -> Option<usize> {
    if let Some(word) = text.first_chunk()
        && let (_, length @ ..8) = digit_values(*word)
    {
        let has_leading_zero = length > 1 && text[0] == b'0';
        return (length > 0 && !has_leading_zero).then_some(length);
    }

    digits_one_by_one(text).map(|(_, length)| length)
}

/// Returns the values of the digits at the start of a word, the first in the lowest byte, and their
/// number. The bytes that follow them have any value.
#[inline]
fn digit_values(word: [u8; 8]) -> (u64, usize) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

    // The high bit of a byte of `others` is set if the byte is not a digit. Its value after the XOR with `ZEROS` is
    // then above 9, and adding 118 sets the high bit.
    let values = u64::from_le_bytes(word) ^ ZEROS;
    let low_bits = values & !HIGH_BITS;
    let others = ((low_bits + 0x7676_7676_7676_7676) | values) & HIGH_BITS;
    (values, (others.trailing_zeros() / 8) as usize)
}

/// Returns the number at the start of a word and the number of its digits, which is less than
/// eight; none if there are eight.
#[inline]
fn digits_of_word(word: [u8; 8]) -> Option<(u64, usize)> {
    let (values, length) = digit_values(word);
    if length == 8 {
        return None;
    }

    // The digits move to the end of the word, behind zeros. Then neighbours are added, twice as wide
    // each time, the left one with ten, a hundred and ten thousand times its value.
    let digits = values.unbounded_shl(64 - 8 * u32::try_from(length).ok()?);
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    Some((value, length))
}

#[inline(never)]
fn digits_one_by_one(text: &[u8]) -> Option<(u64, usize)> {
    const SAFE: usize = 19;

    let mut value = 0;
    let mut length = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(length) {
        if length == SAFE {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
        length += 1;
    }

    let has_leading_zero = length > 1 && text[0] == b'0';
    (length > 0 && !has_leading_zero).then_some((value, length))
}

/// Returns the number of bytes before the first one that `in_block` marks with a set bit. `is_it`
/// must return the same for a single byte.
#[inline]
fn length_before(
    text: &[u8],
    mut in_block: impl FnMut(u8x16) -> u32,
    is_it: impl Fn(u8) -> bool,
) -> usize {
    let mut length = 0;
    while let Some(block) = text.get(length..).and_then(<[u8]>::first_chunk::<16>) {
        let found = in_block(u8x16::new(*block));
        if found != 0 {
            return length + found.trailing_zeros() as usize;
        }
        length += block.len();
    }

    let rest = text.get(length..).unwrap_or_default();
    length + rest.iter().take_while(|byte| !is_it(**byte)).count()
}

/// Marks the quotes, backslashes and control characters of a block.
#[inline]
fn special(block: u8x16) -> u8x16 {
    let quotes = block.simd_eq(u8x16::splat(b'"'));
    let backslashes = block.simd_eq(u8x16::splat(b'\\'));
    let controls = block.min(u8x16::splat(0x1f)).simd_eq(block);
    quotes | backslashes | controls
}

#[inline]
fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

#[cfg(test)]
mod tests;

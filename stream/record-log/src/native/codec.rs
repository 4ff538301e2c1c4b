//! The primitive types of the Kafka protocol: integers, varints, strings, arrays and tagged fields.
//!
//! All messages of this client are of *flexible* versions (KIP-482): lengths are unsigned varints of the length plus
//! one, so that 0 means null, and each structure ends with tagged fields that older readers skip.
//!
//! Invariants: an [`Input`] never panics, never reads beyond its bytes, and an array whose length exceeds the bytes
//! that are left is refused before memory is allocated for it.

/// The error for bytes that break the protocol, with a description of the fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub &'static str);

const ENDS_EARLY: Malformed = Malformed("the bytes end too early");

/// A cursor over received bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

/// Defines the fixed-width integers, which are big-endian.
macro_rules! integers {
    ($($name:ident)*) => {
        impl Input<'_> {
            $(#[inline]
            pub fn $name(&mut self) -> Result<$name, Malformed> {
                const WIDTH: usize = size_of::<$name>();
                let (bytes, rest) = self.rest.split_first_chunk::<WIDTH>().ok_or(ENDS_EARLY)?;
                self.rest = rest;
                Ok($name::from_be_bytes(*bytes))
            })*
        }

        impl Output<'_> {
            $(#[inline]
            pub fn $name(&mut self, value: $name) {
                self.0.extend_from_slice(&value.to_be_bytes());
            })*
        }
    };
}

integers!(i8 i16 i32 i64 u32);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn uuid(&mut self) -> Result<[u8; 16], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.i8()? != 0)
    }

    /// Reads an unsigned varint of 32 bits.
    #[inline]
    pub fn unsigned(&mut self) -> Result<u32, Malformed> {
        let value = self.varint(5)?;
        u32::try_from(value).map_err(|_| Malformed("a varint is wider than 32 bits"))
    }

    /// Reads a zigzag varint of 32 bits, as record batches contain them.
    #[inline]
    pub fn signed(&mut self) -> Result<i32, Malformed> {
        let raw = self.unsigned()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Reads a zigzag varint of 64 bits.
    #[inline]
    pub fn signed_long(&mut self) -> Result<i64, Malformed> {
        let raw = self.varint(10)?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    #[inline]
    fn varint(&mut self, widest: usize) -> Result<u64, Malformed> {
        // Nearly all varints have one byte, or two: lengths of records and differences of offsets and times.
        match *self.rest {
            [only @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(only))
            }
            [first, second @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => {
                let (value, rest) = long_varint(self.rest, widest)?;
                self.rest = rest;
                Ok(value)
            }
        }
    }

    /// Reads a compact, nullable sequence of bytes.
    pub fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.unsigned()? {
            0 => Ok(None),
            length => self.take(length as usize - 1).map(Some),
        }
    }

    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let Some(bytes) = self.nullable_bytes()? else {
            return Ok(None);
        };
        std::str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Malformed("a string is not UTF-8"))
    }

    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?
            .ok_or(Malformed("a string that must not be null is null"))
    }

    /// Reads a compact array; null counts as empty. `element` must consume at least one byte, as every element of the
    /// protocol does, so that the bytes that are left bound the length.
    pub fn array<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let claimed = (self.unsigned()? as usize).saturating_sub(1);
        if claimed > self.rest.len() {
            return Err(Malformed(
                "an array claims more elements than there are bytes",
            ));
        }

        let mut elements = Vec::new();
        for _ in 0..claimed {
            elements.push(element(self)?);
        }

        Ok(elements)
    }

    /// Skips the tagged fields that end a structure.
    pub fn skip_tags(&mut self) -> Result<(), Malformed> {
        self.tags(|_, _| Ok(()))
    }

    /// Passes each tagged field to `each`.
    pub fn tags(
        &mut self,
        mut each: impl FnMut(u32, Input<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        for _ in 0..self.unsigned()? {
            let tag = self.unsigned()?;
            let length = self.unsigned()?;
            each(tag, Input::new(self.take(length as usize)?))?;
        }
        Ok(())
    }
}

/// Reads a varint of any length, and returns the bytes behind it. The cursor is not a parameter, so that it can stay in
/// registers in the usual case of short varints.
#[cold]
#[inline(never)]
fn long_varint(bytes: &[u8], widest: usize) -> Result<(u64, &[u8]), Malformed> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().take(widest).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte of a 64-bit varint has one bit.
        if place == 9 && bits > 1 {
            return Err(Malformed("a varint is wider than 64 bits"));
        }

        value |= bits << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[place + 1..]));
        }
    }

    if bytes.len() < widest {
        Err(ENDS_EARLY)
    } else {
        Err(Malformed("a varint does not end"))
    }
}

/// The bytes of a request that is being written.
pub(super) struct Output<'a>(pub &'a mut Vec<u8>);

impl Output<'_> {
    pub fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    #[inline]
    pub fn unsigned(&mut self, value: u32) {
        self.varint(u64::from(value));
    }

    #[inline]
    pub fn signed(&mut self, value: i32) {
        self.unsigned((value << 1 ^ value >> 31).cast_unsigned());
    }

    #[inline]
    pub fn signed_long(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63).cast_unsigned());
    }

    #[inline]
    fn varint(&mut self, value: u64) {
        // As in reading, nearly all varints have one byte, or two.
        match value {
            ..0x80 => self.0.push(value as u8),
            0x80..0x4000 => self
                .0
                .extend_from_slice(&[value as u8 | 0x80, (value >> 7) as u8]),
            _ => self.long_varint(value),
        }
    }

    #[cold]
    fn long_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn string(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.unsigned(0),
        }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.raw(bytes);
    }

    /// Writes the length of an array, a string or bytes, in the form of flexible versions.
    pub fn length(&mut self, length: usize) {
        self.unsigned(u32::try_from(length + 1).unwrap_or(u32::MAX));
    }

    pub fn array<T>(
        &mut self,
        elements: impl ExactSizeIterator<Item = T>,
        mut element: impl FnMut(&mut Self, T),
    ) {
        self.length(elements.len());
        elements.for_each(|item| element(self, item));
    }

    /// Writes the end of a structure without tagged fields.
    pub fn no_tags(&mut self) {
        self.0.push(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ENDS_EARLY, Input, Malformed, Output};

    proptest! {
        #[test]
        fn varints_come_back_as_written(wide: i64, narrow: i32, unsigned: u32) {
            let mut bytes = Vec::new();
            let mut output = Output(&mut bytes);
            output.signed_long(wide);
            output.signed(narrow);
            output.unsigned(unsigned);
            let mut input = Input::new(&bytes);
            prop_assert_eq!(input.signed_long(), Ok(wide));
            prop_assert_eq!(input.signed(), Ok(narrow));
            prop_assert_eq!(input.unsigned(), Ok(unsigned));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut input = Input::new(&bytes);
            while !input.is_empty() {
                let before = input.rest().len();
                if input.array(Input::nullable_string).and_then(|_| input.skip_tags()).is_err() {
                    break;
                }
                prop_assert!(input.rest().len() < before);
            }
        }
    }

    #[test]
    fn every_short_varint_is_read_back_and_needs_its_last_byte() {
        for value in (0..70_000).chain([u32::MAX]) {
            let mut bytes = Vec::new();
            Output(&mut bytes).unsigned(value);
            assert_eq!(
                Input::new(&bytes[..bytes.len() - 1]).unsigned(),
                Err(ENDS_EARLY)
            );

            bytes.push(7);
            let mut input = Input::new(&bytes);
            assert_eq!((input.unsigned(), input.rest()), (Ok(value), &[7][..]));
        }
    }

    #[test]
    fn an_array_of_more_elements_than_bytes_is_refused() {
        let lying = [0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3];
        assert!(matches!(
            Input::new(&lying).array(Input::i8),
            Err(Malformed(reason)) if reason.contains("more elements")
        ));
    }

    #[test]
    fn varints_that_do_not_end_or_are_too_wide_are_refused() {
        assert_eq!(
            Input::new(&[0x80; 12]).signed_long(),
            Err(Malformed("a varint does not end"))
        );

        assert_eq!(
            Input::new(&[0xff, 0xff, 0xff, 0xff, 0x7f]).unsigned(),
            Err(Malformed("a varint is wider than 32 bits"))
        );

        let mut widest = [0xff; 10];
        widest[9] = 0x02;
        assert_eq!(
            Input::new(&widest).signed_long(),
            Err(Malformed("a varint is wider than 64 bits"))
        );
    }
}

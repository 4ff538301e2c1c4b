//! A number of bytes, as people write it.

use std::fmt;
use std::str::FromStr;

use crate::units;

/// A number of bytes. Its text has a unit, as in `64MiB`, unless it is 0.
///
/// ```
/// use stream::ByteSize;
///
/// let size: ByteSize = "64MiB".parse()?;
/// assert_eq!(size, ByteSize::mebibytes(64));
/// assert_eq!(size.as_bytes(), 67_108_864);
/// assert!("64".parse::<ByteSize>().is_err());
/// # Ok::<(), stream::InvalidSize>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(u64);

/// The error for a text that is no size.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a size is expected, as in 64MiB, 1GiB or 0")]
pub struct InvalidSize;

impl ByteSize {
    /// Returns a size of this many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns a size of this many mebibytes, of 2²⁰ bytes each.
    pub const fn mebibytes(mebibytes: u32) -> Self {
        Self((mebibytes as u64) << 20)
    }

    /// Returns the number of bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = InvalidSize;

    /// Reads a number with one of the units B, KiB, MiB and GiB, or 0 alone.
    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: u64 = match &text[digits.len()..] {
            "" if digits == "0" => 1,
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(InvalidSize),
        };

        let number: u64 = digits.parse().map_err(|_| InvalidSize)?;
        number.checked_mul(factor).map(Self).ok_or(InvalidSize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::size(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_unless_it_is_nothing() {
        let sizes = ["0", "0B", "512B", "2KiB", "64MiB", "1GiB"].map(str::parse);
        let bytes = [0, 0, 512, 2048, 64 << 20, 1 << 30];
        assert_eq!(sizes, bytes.map(|bytes| Ok(ByteSize(bytes))));

        for text in [
            "",
            "64",
            "64MB",
            "MiB",
            "-1B",
            "1.5MiB",
            "99999999999GiB",
            "64 MiB",
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(InvalidSize), "{text}");
        }
    }
}

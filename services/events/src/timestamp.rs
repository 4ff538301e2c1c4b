//! An instant with the precision of the wire: milliseconds since the Unix epoch, written as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant in UTC with millisecond precision, not before 1970.
///
/// ```
/// let instant: events::Timestamp = "2026-11-22T10:00:00.123Z".parse()?;
/// assert_eq!(instant.as_ms(), 1_795_341_600_123);
/// assert_eq!(instant.to_string(), "2026-11-22T10:00:00.123Z");
/// # Ok::<(), events::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

/// The text is not an RFC 3339 instant between 1970 and the end of 9999.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidTimestamp;

/// The last instant that is in the year 9999 wherever on earth: 9999-12-30T22:00:00.000Z, as far as jiff goes.
const MAX_MS: u64 = 253_402_207_200_000;

impl Timestamp {
    /// The instant `ms` milliseconds after the Unix epoch, or none after 9999-12-30T22:00:00.000Z.
    pub fn from_ms(ms: u64) -> Option<Self> {
        (ms <= MAX_MS).then_some(Self(ms))
    }

    /// The system clock's time.
    pub fn now() -> Self {
        Self(
            jiff::Timestamp::now()
                .as_millisecond()
                .try_into()
                .unwrap_or(0),
        )
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_ms(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = i64::try_from(self.0).expect("at most MAX_MS");
        let instant = jiff::Timestamp::from_millisecond(ms).expect("MAX_MS is within jiff's range");
        write!(f, "{instant:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let instant: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        u64::try_from(instant.as_millisecond())
            .ok()
            .and_then(Self::from_ms)
            .ok_or(InvalidTimestamp)
    }
}

impl fmt::Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an RFC 3339 instant between 1970 and 9999")
    }
}

impl std::error::Error for InvalidTimestamp {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 instant")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

//! An instant with the precision of the wire: milliseconds since the Unix epoch, written as RFC
//! 3339 in UTC.

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

/// The text of an instant in the form of the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimestampText([u8; 24]);

/// The error for a text that is not an RFC 3339 instant from 1970 to 9999-12-30T22:00:00Z.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidTimestamp;

/// The last instant that is in the year 9999 in every time zone, and the last that jiff supports:
/// 9999-12-30T22:00:00.000Z.
const MAX_MS: u64 = 253_402_207_200_000;

const DAY_MS: u64 = 86_400_000;

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const EPOCH: Self = Self(0);

    /// Returns the instant `ms` milliseconds after the Unix epoch, or none after 9999-12-30T22:00:00.000Z.
    pub fn from_ms(ms: u64) -> Option<Self> {
        (ms <= MAX_MS).then_some(Self(ms))
    }

    /// Returns the system clock's time.
    pub fn now() -> Self {
        Self(
            jiff::Timestamp::now()
                .as_millisecond()
                .try_into()
                .unwrap_or(0),
        )
    }

    /// Returns the milliseconds since the Unix epoch.
    pub fn as_ms(self) -> u64 {
        self.0
    }

    /// Returns the text of the wire, such as `2026-11-22T10:00:00.123Z`, without an allocation. It is written digit by
    /// digit, because each result of the stream job contains two instants.
    pub fn text(self) -> TimestampText {
        let (year, month, day) = civil_date(self.0 / DAY_MS);
        let second = self.0 / 1000 % 86_400;

        let mut text = *b"0000-00-00T00:00:00.000Z";
        write_digits(&mut text[0..4], year);
        write_digits(&mut text[5..7], month);
        write_digits(&mut text[8..10], day);
        write_digits(&mut text[11..13], second / 3600);
        write_digits(&mut text[14..16], second / 60 % 60);
        write_digits(&mut text[17..19], second % 60);
        write_digits(&mut text[20..23], self.0 % 1000);
        TimestampText(text)
    }
}

impl TimestampText {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and punctuation are ASCII")
    }
}

/// Fills `text` with the last digits of a number.
fn write_digits(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit is below ten");
        number /= 10;
    }
}

/// Returns year, month and day of the date `days` days after the epoch. It is the inverse of [`read_date`], by the
/// same author's algorithm.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Days since 1 March of the year 0. Years begin in March, so that the leap day comes last.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;

    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Reads every form that RFC 3339 allows: `t`, `z` and a space for the `T`, a fraction of any
    /// length (digits after the third are cut off), any offset. The seconds may be absent, because
    /// Java's `OffsetDateTime` omits those of a whole minute. Second 60 is accepted where a leap
    /// second can be, at the end of a month in UTC, and read as second 59.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        read(text.as_bytes())
            .and_then(Self::from_ms)
            .ok_or(InvalidTimestamp)
    }
}

/// Returns the milliseconds since the epoch of an RFC 3339 `date-time`, or none for any other text.
fn read(text: &[u8]) -> Option<u64> {
    let (date, time) = text.split_first_chunk::<10>()?;
    let days = read_date(date)?;

    let (minute, rest) = time.split_first_chunk::<6>()?;
    let [b'T' | b't' | b' ', h1, h2, b':', m1, m2] = *minute else {
        return None;
    };

    let minutes = below(24, [h1, h2])? * 60 + below(60, [m1, m2])?;

    let (second, milliseconds, offset) = read_second(rest)?;
    let utc_minutes = days * 1440 + minutes - read_offset(offset)?;
    if second == 60 && !ends_a_month(utc_minutes) {
        return None;
    }

    let ms = (utc_minutes * 60 + second.min(59)) * 1000 + milliseconds;
    u64::try_from(ms).ok()
}

/// Returns the days since the epoch of a `full-date`, by the algorithm of Howard Hinnant,
/// "chrono-compatible low-level date algorithms".
fn read_date(date: &[u8; 10]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *date else {
        return None;
    };

    let year = below(100, [y1, y2])? * 100 + below(100, [y3, y4])?;
    let month = below(13, [m1, m2])?;
    let day = below(32, [d1, d2])?;

    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last_day = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };

    if month == 0 || day == 0 || day > last_day {
        return None;
    }

    // Years begin in March here, so that the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Reads `:SS` and a fraction, or nothing, and returns the second, the milliseconds and the
/// rest of the text.
fn read_second(text: &[u8]) -> Option<(i64, i64, &[u8])> {
    let Some((&[b':', s1, s2], rest)) = text.split_first_chunk::<3>().filter(|_| text[0] == b':')
    else {
        return Some((0, 0, text));
    };

    let second = below(61, [s1, s2])?;
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Some((second, 0, rest));
    };

    let length = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }

    let digit = |place: usize| (place < length).then(|| i64::from(fraction[place] - b'0'));
    let milliseconds = (0..3).fold(0, |ms, place| ms * 10 + digit(place).unwrap_or(0));
    Some((second, milliseconds, &fraction[length..]))
}

/// Returns the minutes that a `time-offset` is ahead of UTC.
fn read_offset(text: &[u8]) -> Option<i64> {
    match *text {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let minutes = below(24, [h1, h2])? * 60 + below(60, [m1, m2])?;
            Some(if sign == b'-' { -minutes } else { minutes })
        }
        _ => None,
    }
}

/// Returns the number that two digits represent, if it is less than `limit`.
fn below(limit: i64, digits: [u8; 2]) -> Option<i64> {
    let [tens, ones] = digits;
    let are_digits = tens.is_ascii_digit() && ones.is_ascii_digit();
    let number = i64::from(tens.wrapping_sub(b'0')) * 10 + i64::from(ones.wrapping_sub(b'0'));
    (are_digits && number < limit).then_some(number)
}

/// Returns whether a month ends in UTC with this minute since the epoch.
fn ends_a_month(utc_minutes: i64) -> bool {
    let next = jiff::Timestamp::from_second((utc_minutes + 1) * 60);
    next.is_ok_and(|next| {
        let next = jiff::tz::Offset::UTC.to_datetime(next);
        (next.day(), next.hour(), next.minute()) == (1, 0, 0)
    })
}

/// The remedy for an offset whose sign was read as a space.
const WRITE_PLUS: &str = "in an address, write the + of the offset as %2B";

/// Returns whether the text is an instant with a space instead of the `+` before its offset. A query
/// is decoded this way (WHATWG URL, application/x-www-form-urlencoded).
fn has_lost_its_plus(text: &str) -> bool {
    let is_instant = |(before, offset): (&str, &str)| {
        let whole = format!("{before}+{offset}");
        whole.parse::<Timestamp>().is_ok()
    };
    text.rsplit_once(' ').is_some_and(is_instant)
}

impl fmt::Display for InvalidTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an RFC 3339 instant from 1970-01-01T00:00:00Z to 9999-12-30T22:00:00Z")
    }
}

impl std::error::Error for InvalidTimestamp {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
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
                text.parse().map_err(|error| {
                    if has_lost_its_plus(text) {
                        E::custom(format_args!("{error}; {WRITE_PLUS}"))
                    } else {
                        E::custom(error)
                    }
                })
            }
        }

        deserializer.deserialize_str(Text)
    }
}

//! Reads the times of orders. Orders follow each other closely, so the minute of the last one is kept, and of the usual form,
//! `2026-11-22T10:00:00.123Z`, only the seconds are read.
//!
//! Invariant: the result is that of [`Timestamp`]'s parser, which reads every time of another form or minute.

use std::cell::Cell;

use events::Timestamp;

/// The text of a minute, up to the colon before the seconds.
type MinuteText = [u8; 17];

thread_local! {
    /// The minute of the last order that this thread has read.
    static LAST: Cell<(MinuteText, u64)> = const { Cell::new((*b"1970-01-01T00:00:", 0)) };
}

/// Returns the time of a text, or none if it is no time.
#[inline]
pub fn time(text: &[u8]) -> Option<Timestamp> {
    let (minute, rest) = text.split_first_chunk::<17>()?;
    let Some(in_minute_ms) = milliseconds(rest) else {
        return parsed(text);
    };

    let (last, last_ms) = LAST.get();
    if *minute == last {
        return Timestamp::from_ms(last_ms + in_minute_ms);
    }

    let time = parsed(text)?;
    LAST.set((*minute, time.as_ms() - in_minute_ms));
    Some(time)
}

fn parsed(text: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns the milliseconds of `SS.mmmZ`; none for other forms and for leap seconds.
#[inline]
fn milliseconds(text: &[u8]) -> Option<u64> {
    let [s1, s2, b'.', m1, m2, m3, b'Z'] = *text else {
        return None;
    };
    let digit = |byte: u8| u64::from(byte.wrapping_sub(b'0'));
    let digits = [s1, s2, m1, m2, m3];
    let is_time = digits.iter().all(u8::is_ascii_digit) && s1 < b'6';

    let second = digit(s1) * 10 + digit(s2);
    let millisecond = digit(m1) * 100 + digit(m2) * 10 + digit(m3);
    is_time.then_some(second * 1_000 + millisecond)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Times of a few minutes, changed in some places, one after another: whatever minute is kept, each is read as the parser
    /// reads it.
    #[test]
    fn a_time_is_read_as_the_parser_reads_it_whatever_came_before() {
        const FORMS: [&str; 12] = [
            "2026-11-22T10:00:00.123Z",
            "2026-11-22T10:01:59.999Z",
            "2026-11-22T10:00:30.000z",
            "2026-11-22t10:00:30.000Z",
            "2026-11-22T10:00:30Z",
            "2026-11-22T10:00:30.1Z",
            "2026-11-22T10:00:30.123456Z",
            "2026-11-22T10:00:30.123+02:00",
            "2016-12-31T23:59:60.000Z",
            "1970-01-01T00:00:00.000Z",
            "9999-12-30T22:00:00.000Z",
            "9999-12-30T22:00:00.001Z",
        ];

        let mut rng = StdRng::seed_from_u64(1);
        let mut read = 0;
        for _ in 0..50_000 {
            let mut text = FORMS[rng.random_range(0..FORMS.len())].as_bytes().to_vec();
            for _ in 0..rng.random_range(0..3) {
                let at = rng.random_range(0..text.len());
                text[at] = b"0123456789:.TZ-+ \xff"[rng.random_range(0..18)];
            }

            let expected = parsed(&text);
            read += usize::from(expected.is_some());
            assert_eq!(time(&text), expected, "{}", String::from_utf8_lossy(&text));
        }
        assert!(read > 12_000, "{read}");
    }
}

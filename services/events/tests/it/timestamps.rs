//! Instants keep their value in the form of the wire, and other texts are rejected.

use events::{InvalidTimestamp, Timestamp};
use proptest::prelude::{any, proptest};

const LAST_MS: u64 = 253_402_207_200_000;

proptest! {
    #[test]
    fn every_instant_comes_back_from_text_and_json(ms in 0..=LAST_MS) {
        let instant = Timestamp::from_ms(ms).unwrap();
        let text = instant.to_string();
        assert_eq!(text.len(), "2026-11-22T10:00:00.123Z".len());
        assert_eq!(text.parse(), Ok(instant));
        assert_eq!(serde_json::from_str::<Timestamp>(&serde_json::to_string(&instant).unwrap()).unwrap(), instant);
    }

    #[test]
    fn text_sorts_as_the_instants_do(a in 0..=LAST_MS, b in 0..=LAST_MS) {
        let a = Timestamp::from_ms(a).unwrap();
        let b = Timestamp::from_ms(b).unwrap();
        assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
    }

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in any::<String>()) {
        let _: Result<Timestamp, InvalidTimestamp> = text.parse();
    }

    #[test]
    fn an_offset_and_finer_digits_are_taken_as_the_same_instant(ms in 0..LAST_MS / 2, hours in 0..24_u32) {
        let instant = Timestamp::from_ms(ms + 86_400_000).unwrap();
        let shifted = Timestamp::from_ms(instant.as_ms() + u64::from(hours) * 3_600_000).unwrap();
        let text = shifted.to_string().replace('Z', &format!("999+{hours:02}:00"));
        assert_eq!(text.parse(), Ok(instant));
    }
}

/// Returns the text of an instant by jiff, an independent implementation.
fn text_by_jiff(ms: u64) -> String {
    let instant = jiff::Timestamp::from_millisecond(ms.try_into().unwrap()).unwrap();
    format!("{instant:.3}")
}

proptest! {
    #[test]
    fn every_instant_is_written_as_jiff_writes_it(ms in 0..=LAST_MS) {
        let instant = Timestamp::from_ms(ms).unwrap();
        assert_eq!(instant.to_string(), text_by_jiff(ms));
        assert_eq!(instant.text().as_str(), text_by_jiff(ms));
    }
}

/// The calendar repeats after 400 years, so these days cover all dates. The first and the last millisecond of each
/// day are written.
#[test]
fn every_day_of_the_calendar_is_written_as_jiff_writes_it() {
    const DAY_MS: u64 = 86_400_000;
    for day in 0..146_097 {
        for ms in [day * DAY_MS, (day + 1) * DAY_MS - 1] {
            let instant = Timestamp::from_ms(ms).unwrap();
            assert_eq!(instant.text().as_str(), text_by_jiff(ms), "{ms}");
        }
    }
    assert_eq!(
        Timestamp::from_ms(LAST_MS).unwrap().to_string(),
        text_by_jiff(LAST_MS)
    );
}

/// Returns the instant of a text by jiff, an independent implementation.
fn by_jiff(text: &str) -> Option<u64> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(instant.as_millisecond()).ok()
}

proptest! {
    #[test]
    fn every_date_and_offset_is_read_as_jiff_reads_it(
        year in 0..10_000, month in 0..14, day in 0..33, hour in 0..25, minute in 0..61, second in 0..60,
        fraction in "(\\.[0-9]{1,9})?", offset in "[Zz]|[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]",
    ) {
        let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}");
        let expected = by_jiff(&text).filter(|ms| *ms <= LAST_MS);
        let is_just_before_1970 = expected == Some(0) && text.contains("59.");
        if !is_just_before_1970 {
            assert_eq!(text.parse().ok(), expected.and_then(Timestamp::from_ms), "{text}");
        }
    }

    #[test]
    fn a_fraction_of_any_length_is_cut_to_milliseconds(digits in "[0-9]{1,40}") {
        let text = format!("2026-11-22T10:00:00.{digits}Z");
        let ms: u64 = format!("{digits}00")[..3].parse().unwrap();
        assert_eq!(text.parse(), Ok(Timestamp::from_ms(1_795_341_600_000 + ms).unwrap()), "{text}");
    }
}

#[test]
fn every_form_that_rfc_3339_allows_is_read() {
    let same = [
        "2026-11-22T10:00:00Z",
        "2026-11-22t10:00:00z",
        "2026-11-22 10:00:00Z",
        "2026-11-22T10:00Z",
        "2026-11-22T12:00+02:00",
        "2026-11-22T10:00:00-00:00",
        "2026-11-22T10:00:00.0Z",
        "2026-11-22T10:00:00.000000000000000000000Z",
        "2026-11-23T09:59:00+23:59",
        "2026-11-21T10:01:00-23:59",
    ];

    for text in same {
        let read = text.parse().map(Timestamp::as_ms);
        assert_eq!(read, Ok(1_795_341_600_000), "{text}");
    }
}

#[test]
fn second_60_is_read_at_the_end_of_a_month_in_utc() {
    let last = "2016-12-31T23:59:59.5Z".parse::<Timestamp>();
    assert!(last.is_ok());
    assert_eq!("2016-12-31T23:59:60.5Z".parse(), last);
    assert_eq!("2017-01-01T00:59:60.5+01:00".parse(), last);

    for text in [
        "2016-12-31T23:59:60+01:00",
        "2016-12-30T23:59:60Z",
        "2026-11-22T10:00:60Z",
        "2016-12-31T23:59:61Z",
    ] {
        assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
    }
}

#[test]
fn what_is_no_instant_between_1970_and_9999_is_refused() {
    let refused = [
        "",
        "2026-11-22",
        "2026-11-22T10:00:00",
        "1969-12-31T23:59:59.999Z",
        "2026-13-01T00:00:00Z",
        "1763805600",
        "1969-12-31T23:59:59.9999Z",
        "1970-01-01T00:59:59.999+01:00",
        "2026-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "2026-04-31T10:00:00Z",
        "2026-11-00T10:00:00Z",
        "2026-00-22T10:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T10:60:00Z",
        "2026-11-22T10:00:00.Z",
        "2026-11-22T10:00:00,5Z",
        "2026-11-22T10:00.5Z",
        "2026-11-22T10Z",
        "2026-11-22T10:00:00",
        "2026-11-22T10:00:00+0200",
        "2026-11-22T10:00:00+02",
        "2026-11-22T10:00:00+24:00",
        "2026-11-22T10:00:00+02:60",
        "2026-11-22T10:00:00+02:00[Europe/Berlin]",
        "2026-11-22T10:00:00\u{2212}02:00",
        "2026-11-22T10:00:00ZZ",
        "2026-11-22T10:00:00Z ",
        " 2026-11-22T10:00:00Z",
        "2026-11-22_10:00:00Z",
        "+002026-11-22T10:00:00Z",
        "20261122T100000Z",
        "2026-W47-7T10:00:00Z",
        "2026-326T10:00:00Z",
        "2026-11-2\u{662}T10:00:00Z",
    ];

    for text in refused {
        assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
    }

    assert_eq!(Timestamp::from_ms(LAST_MS + 1), None);
}

#[test]
fn the_last_instant_can_be_written_and_there_is_none_after_it() {
    let last = Timestamp::from_ms(LAST_MS).unwrap();
    assert_eq!(last.to_string(), "9999-12-30T22:00:00.000Z");
    assert_eq!(last.to_string().parse(), Ok(last));
    assert_eq!(Timestamp::from_ms(LAST_MS + 1), None);
}

#[test]
fn the_refusal_says_what_is_allowed_and_where_a_plus_was_lost() {
    let refusal = |text: &str| {
        let json = format!("\"{text}\"");
        serde_json::from_str::<Timestamp>(&json)
            .unwrap_err()
            .to_string()
    };

    // The message names the last instant that is accepted.
    let after = refusal("9999-12-31T23:59:59.999Z");
    assert!(after.contains("to 9999-12-30T22:00:00Z"), "{after}");
    assert!("9999-12-30T22:00:00Z".parse::<Timestamp>().is_ok());
    assert!("9999-12-30T22:00:00.001Z".parse::<Timestamp>().is_err());

    for lost in ["2026-11-30T00:00:00 01:00", "2026-11-30 00:00 01:00"] {
        let refused = refusal(lost);
        assert!(
            refused.contains("write the + of the offset as %2B"),
            "{refused}"
        );
    }
    for other in [
        "yesterday",
        "2026-11-30 01:00",
        "2026-11-30T00:00:00 Z",
        " ",
        "",
    ] {
        let refused = refusal(other);
        assert!(!refused.contains("%2B"), "{other}: {refused}");
    }
}

//! Instants survive the wire, and nothing else passes for one.

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
        let (a, b) = (Timestamp::from_ms(a).unwrap(), Timestamp::from_ms(b).unwrap());
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

#[test]
fn what_is_no_instant_between_1970_and_9999_is_refused() {
    let refused = [
        "",
        "2026-11-22",
        "2026-11-22T10:00:00",
        "1969-12-31T23:59:59.999Z",
        "2026-13-01T00:00:00Z",
        "1763805600",
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

//! Formats sizes, durations and instants for people.

use std::time::Duration;

use jiff::Timestamp;

use crate::pane::EventTimeMs;

/// Formats an instant as RFC 3339. 0 stands for no instant.
pub fn instant(ms: EventTimeMs) -> String {
    if ms == 0 {
        return "–".to_owned();
    }

    let instant = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    instant.map_or_else(|| format!("{ms} ms"), |instant| format!("{instant:.3}"))
}

/// Formats a duration by its two greatest units.
pub fn duration(ms: u64) -> String {
    let duration = if ms < 1000 {
        Duration::from_millis(ms)
    } else {
        Duration::from_secs(ms / 1000)
    };
    let text = humantime::format_duration(duration).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Formats a size in the greatest unit that it reaches.
pub fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            let digits = usize::from(unit != "B" && size < 100.0);
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }

    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_told_in_units_that_people_compare() {
        assert_eq!(
            [0, 1023, 1536, 200 * 1024, 5 << 30].map(size),
            ["0 B", "1023 B", "1.5 KiB", "200 KiB", "5.0 GiB"]
        );

        assert_eq!(
            [250, 61_500, 90_061_000].map(duration),
            ["250ms", "1m 1s", "1day 1h"]
        );

        assert_eq!(
            [0, 1_795_341_600_000].map(instant),
            ["–", "2026-11-22T10:00:00.000Z"]
        );
        assert_eq!(instant(u64::MAX), "18446744073709551615 ms");
    }
}

//! The length of a window. Months and years of the calendar differ in length, so they are none.

use std::time::Duration;

use humantime::{DurationError, parse_duration};

/// A text that is no length of a window.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoLength {
    /// The text is no duration.
    #[error("{0}; the units are ms, s, m, h, d and w, as in 500ms, 90s, 5m, 1h, 1d or 1w")]
    NoDuration(#[source] DurationError),
    /// The text has a unit of the calendar.
    #[error(
        "a month or a year has no fixed length; the units are ms, s, m, h, d and w, so 30d is a length of 30 days"
    )]
    Calendar,
}

/// Parses a length. A duration in months or years would be one of their averages, such as 30.44 days.
///
/// # Errors
/// [`NoLength`].
pub fn fixed(text: &str) -> Result<Duration, NoLength> {
    let length = parse_duration(text).map_err(NoLength::NoDuration)?;
    let mut units = text.split(|c: char| !c.is_alphabetic());
    let is_of_calendar =
        |unit: &str| unit == "M" || unit.starts_with("month") || unit.starts_with('y');

    if units.any(is_of_calendar) {
        return Err(NoLength::Calendar);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_a_unit_of_a_fixed_length() {
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3_600));
        assert_eq!(fixed("1h"), hours(1));
        assert_eq!(fixed("1d 2hours"), hours(26));
        assert_eq!(fixed("1w"), hours(168));
        assert_eq!(fixed("120m"), hours(2));
        assert_eq!(fixed("7200000msec"), hours(2));

        for text in [
            "1month",
            "2months",
            "1M",
            "1y",
            "1year",
            "2 years",
            "1yr",
            "1h 1month",
        ] {
            assert_eq!(fixed(text), Err(NoLength::Calendar), "{text}");
        }
        for text in ["", "5", "1mo", "1fortnight", "-1h"] {
            let error = fixed(text).unwrap_err();
            assert!(error.to_string().contains("the units are ms"), "{error}");
        }
    }
}

//! Numbers and texts of a page.

use crate::results::{Measure, Row};

/// The figure of a cell: the median, the least and the most of its samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistic {
    /// The middle sample, or the mean of the two in the middle.
    pub median: f64,
    /// The least sample.
    pub least: f64,
    /// The greatest sample.
    pub most: f64,
    /// The number of samples.
    pub count: usize,
}

impl Statistic {
    /// Returns the figure of samples; none of none.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, sorted[middle])
        };

        Some(Self {
            median,
            least: *sorted.first()?,
            most: *sorted.last()?,
            count: sorted.len(),
        })
    }

    /// Returns the text of a cell: the median, and the range if there are several samples. `usual` is the number of
    /// samples of other cells.
    pub fn cell(&self, usual: usize) -> String {
        let median = number(self.median);
        let fewer = if self.count == usual {
            String::new()
        } else {
            format!("; of {}", self.count)
        };
        match self.count {
            1 if usual <= 1 => median,
            1 => format!("{median} (one sample)"),
            _ => format!(
                "{median} ({}–{}{fewer})",
                number(self.least),
                number(self.most)
            ),
        }
    }
}

/// Returns a number with three digits that count, or all digits before the point. Thousands are separated.
pub fn number(value: f64) -> String {
    let value = value + 0.0; // turns -0 into 0
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if size >= 1e12 || (size > 0.0 && size < 1e-3) {
        return format!("{value:.2e}");
    }

    let decimals = match size {
        _ if size == 0.0 || size >= 99.95 || (size.fract() == 0.0 && size < 100.0) => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ => 3,
    };
    separated(&format!("{value:.decimals$}"))
}

/// Separates the thousands of a number's text.
fn separated(text: &str) -> String {
    let whole = text.split('.').next().unwrap_or_default();
    let sign_and_digits = whole.len();
    let mut separated = String::new();
    for (place, c) in text.char_indices() {
        let left = sign_and_digits.saturating_sub(place);
        let follows_digit = separated.ends_with(|last: char| last.is_ascii_digit());
        if place < sign_and_digits && left % 3 == 0 && follows_digit {
            separated.push(',');
        }
        separated.push(c);
    }
    separated
}

/// Returns the text with the characters replaced that are markup in HTML and SVG. Control characters are replaced too.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns the text for a cell of a table in Markdown.
pub fn in_markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' => safe.extend(['\\', c]),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// Returns the heading of a measure.
pub fn heading(measure: &Measure) -> String {
    if measure.unit.is_empty() {
        measure.name.clone()
    } else {
        format!("{}, {}", measure.name, measure.unit)
    }
}

/// Returns the name of a row, with the settings in which rows of its name differ.
pub fn row_name(row: &Row, rows: &[Row]) -> String {
    let others = || rows.iter().filter(|other| other.name == row.name);
    let differs =
        |name: &str, value: &f64| others().any(|other| other.settings.get(name) != Some(value));
    let settings = row
        .settings
        .iter()
        .filter(|(name, value)| differs(name, value));
    let settings: Vec<String> = settings
        .map(|(name, value)| format!("{} {name}", number(*value)))
        .collect();

    if settings.is_empty() {
        row.name.clone()
    } else {
        format!("{}, {}", row.name, settings.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (2.0, "2"),
            (1.234, "1.23"),
            (0.1234, "0.123"),
            (0.9996, "1.00"),
            (9.996, "10.0"),
            (99.96, "100"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1_234_567.8, "1,234,568"),
            (-123_456.0, "-123,456"),
            (-123.0, "-123"),
            (0.000_123_4, "1.23e-4"),
            (f64::NAN, "–"),
            (f64::NEG_INFINITY, "–"),
            (1e300, "1.00e300"),
        ] {
            assert_eq!(number(value), text, "{value:?}");
        }
    }

    #[test]
    fn a_cell_shows_the_median_and_the_range() {
        let cell = |samples: &[f64], usual| Statistic::of(samples).map(|spread| spread.cell(usual));
        assert_eq!(cell(&[3.0, 1.0, 2.0], 3).unwrap(), "2 (1–3)");
        assert_eq!(cell(&[1.0, 2.0, 3.0, 6.0], 4).unwrap(), "2.50 (1–6)");
        assert_eq!(cell(&[1.0, 3.0], 3).unwrap(), "2 (1–3; of 2)");
        assert_eq!(cell(&[1.0], 3).unwrap(), "1 (one sample)");
        assert_eq!(cell(&[1.0], 1).unwrap(), "1");
        assert_eq!(cell(&[], 3), None);
    }

    #[test]
    fn markup_is_replaced() {
        assert_eq!(
            escaped("<b a=\"1\">&'\u{1b}"),
            "&lt;b a=&quot;1&quot;&gt;&amp;&#39;\u{fffd}"
        );
        assert_eq!(in_markdown("a|b\n<c>"), "a\\|b \\<c\\>");
    }
}

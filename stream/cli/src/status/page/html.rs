//! Pieces of HTML, and the formats of numbers and times in them.

use std::fmt::Display;

use stream::units::instant;

/// Wraps content in a section with a heading.
pub(super) fn section(name: &str, content: &str) -> String {
    format!("<section><h2>{name}</h2>\n{content}</section>\n")
}

/// Formats rows of cells that are HTML already. Without rows, returns the text `nothing`.
pub(super) fn table<const N: usize>(
    names: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    nothing: &str,
) -> String {
    let row = |cells: [String; N]| {
        format!(
            "<tr>{}</tr>\n",
            cells.map(|cell| format!("<td>{cell}</td>")).concat()
        )
    };
    let rows: String = rows.map(row).collect();

    if rows.is_empty() {
        return format!("<p class=\"none\">{nothing}</p>\n");
    }

    let names = names.map(|name| format!("<th>{name}</th>")).concat();
    format!(
        "<div class=\"wide\"><table><thead><tr>{names}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// Escapes text for HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }

    escaped
}

/// Formats an instant, without milliseconds if they are zero.
pub(super) fn brief(ms: u64) -> String {
    instant(ms).replace(".000Z", "Z")
}

/// Returns the mark of an unknown value.
pub(super) fn unknown() -> String {
    "–".to_owned()
}

/// Formats a number in groups of three digits.
pub(super) fn count(number: impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }

    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_groups() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
    }
}

//! The line of a log that states why its process ended. It is often not the last one: after an error of the command
//! line come advice and the usage, and after a panic comes a note about backtraces.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// Number of lines at the end among which the reason is looked for; those before are of an earlier process.
const LINES: usize = 30;
/// Largest number of characters of a reason.
const CHARACTERS: usize = 500;
/// Begin lines that explain and state no reason.
const ADVICE: [&str; 4] = ["For more information", "Usage:", "tip:", "note: run with"];

/// An event of a log in JSON.
#[derive(Deserialize)]
struct Event {
    severity: String,
    message: String,
}

/// Returns the line that states the reason, or the last line if none does.
pub fn reason(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    reason_in(&text)
}

fn reason_in(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let end = &lines[lines.len().saturating_sub(LINES)..];
    let said =
        |line: &&&str| !line.is_empty() && !ADVICE.iter().any(|start| line.starts_with(start));

    let stated = end.iter().rev().copied().find_map(stated);
    let last = end.iter().rev().find(said).map(|line| (*line).to_owned());
    let reason = stated.or(last).unwrap_or_default();
    match reason.char_indices().nth(CHARACTERS) {
        Some((at, _)) => format!("{}…", &reason[..at]),
        None => reason,
    }
}

/// Returns the reason in a line that is an error of the command line, of the log or of a panic.
fn stated(line: &str) -> Option<String> {
    if let Ok(event) = serde_json::from_str::<Event>(line) {
        return (event.severity == "ERROR").then_some(event.message);
    }

    let is_error = line.starts_with("error:") || line.contains(" ERROR ");
    (is_error || line.contains("panicked at")).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_command_line_is_the_reason_and_not_its_advice() {
        let log = "\n{\"severity\":\"INFO\",\"message\":\"drained\"}\nerror: unexpected argument '--job' found\n\n  \
                   tip: a similar argument exists\n\nUsage: platform [OPTIONS]\n\nFor more information, try '--help'.\n";
        assert_eq!(reason_in(log), "error: unexpected argument '--job' found");
    }

    #[test]
    fn an_error_in_json_or_text_is_the_reason_and_not_the_end_of_the_supervisor() {
        let json = "{\"severity\":\"ERROR\",\"message\":\"cannot read orders\"}\n{\"severity\":\"INFO\",\"message\":\"the process ended\"}\n";
        assert_eq!(reason_in(json), "cannot read orders");
        let text = "2026-11-22T10:00:00Z ERROR stream: no topic\n2026-11-22T10:00:01Z  INFO stream: ended\n";
        assert!(reason_in(text).ends_with("no topic"));
        let panic =
            "thread 'main' panicked at src/main.rs:3:5:\nnote: run with `RUST_BACKTRACE=1`\n";
        assert!(reason_in(panic).starts_with("thread 'main' panicked"));
    }

    #[test]
    fn without_an_error_the_last_line_that_says_something_is_quoted() {
        assert_eq!(
            reason_in("order-analytics: no broker answers\n\n"),
            "order-analytics: no broker answers"
        );
        assert_eq!(reason_in("Usage: x\n"), "");
        assert_eq!(reason_in(""), "");
    }

    #[test]
    fn errors_of_earlier_processes_and_endless_lines_are_left_out() {
        let old = format!(
            "error: old\n{}last\n",
            "{\"severity\":\"INFO\"}\n".repeat(LINES)
        );
        assert_eq!(reason_in(&old), "last");
        assert_eq!(
            reason_in(&"ä".repeat(9_000)).chars().count(),
            CHARACTERS + 1
        );
    }
}

//! The relevant lines in a command's output, which has thousands of lines.

use std::collections::VecDeque;

/// The beginnings of lines with which tests, compilers and the checks' own scripts report a
/// failure.
const FAILURES: [&str; 4] = ["FAILED", "panicked at", "error:", "error["];
/// The number of lines after a failure's first line that belong to it.
const MESSAGE: usize = 4;
/// The number of last lines that are shown if no line reports the failure.
const LAST: usize = 30;

/// Lines of a command's output.
#[derive(Default)]
pub(super) struct Output {
    /// Lines of skipped tests.
    pub(super) skipped: Vec<String>,
    failures: Vec<String>,
    belonging: usize,
    last: VecDeque<String>,
}

impl Output {
    pub(super) fn keep(&mut self, line: String) {
        if line.contains("SKIPPED:") {
            self.skipped.push(line.clone());
        }
        if FAILURES.iter().any(|failure| line.contains(failure)) {
            self.belonging = 1 + MESSAGE;
        }

        if self.belonging > 0 {
            self.belonging -= 1;
            self.failures.push(line.clone());
        }

        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Returns the lines that report the command's failure; its last lines if none does.
    pub(super) fn failure(self) -> Vec<String> {
        if self.failures.is_empty() {
            self.last.into()
        } else {
            self.failures
        }
    }
}

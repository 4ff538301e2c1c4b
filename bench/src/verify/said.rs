//! What matters of a command's output, which runs to thousands of lines.

use std::collections::VecDeque;

/// How tests, compilers and the checks' own scripts begin to tell of a failure.
const FAILURES: [&str; 4] = ["FAILED", "panicked at", "error:", "error["];
/// How many lines after such a one belong to it.
const MESSAGE: usize = 4;
/// How many lines tell of a failure that none of them names.
const LAST: usize = 30;

/// Lines of a command's output.
#[derive(Default)]
pub(super) struct Said {
    /// Of tests that skipped themselves.
    pub(super) skipped: Vec<String>,
    failures: Vec<String>,
    belonging: usize,
    last: VecDeque<String>,
}

impl Said {
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

    /// The lines that tell why the command failed; its last words if none does.
    pub(super) fn why(self) -> Vec<String> {
        if self.failures.is_empty() {
            self.last.into()
        } else {
            self.failures
        }
    }
}

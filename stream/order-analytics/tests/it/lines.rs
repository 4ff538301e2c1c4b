//! Lines in the log of a job's process.

/// Returns the first line that contains all of these.
pub fn line_with<'a>(logged: &'a str, named: &[&str]) -> Option<&'a str> {
    let mut lines = logged.lines();
    lines.find(|line| named.iter().all(|it| line.contains(it)))
}

/// Fails unless one line contains all of these.
#[track_caller]
pub fn assert_line(logged: &str, named: &[&str]) {
    assert!(
        line_with(logged, named).is_some(),
        "no line with {named:?}: {logged}"
    );
}

//! The logs of the program where no terminal is: lines of JSON that platforms read, and the filter of the alert on them.

use std::process::Command;

use serde_json::Value;

/// The alerts on Google Cloud, as Terraform has them.
const MONITORING: &str = include_str!("../../../../infra-gcp/monitoring.tf");

/// A file of one order and one record that is none.
const INPUT: &str = "{\"event_type\":\"order.created\"}\nno order\n";

/// Runs the program, and returns what it wrote to standard error.
fn logged(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}

/// A start that fails, and a run that succeeds.
fn lines() -> (Vec<String>, Vec<String>) {
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let failed = logged(
        &["--client", "native", "--property", "no.such.property=1"],
        &[],
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("orders"), INPUT).unwrap();
    let input = folder.path().to_str().unwrap();
    let worked = logged(&["--input", input, "--log", "debug"], &[]);
    // Lines that are not JSON are messages to people, about records that were not counted.
    let worked = worked.lines().filter(|line| line.starts_with('{'));
    let worked = worked.map(str::to_owned).collect();
    (lines(failed), worked)
}

/// Returns the texts that the filter of the log-based metric looks for in an entry's text.
fn looked_for() -> Vec<String> {
    let metric = MONITORING
        .split("google_logging_metric\" \"errors\"")
        .nth(1)
        .unwrap();
    let filter = metric
        .lines()
        .find_map(|line| line.trim().strip_prefix("filter = "))
        .unwrap();
    // Terraform's string, and the filter's own strings in it.
    let filter: String = serde_json::from_str(filter).unwrap();
    let terms = filter.split(" OR ").filter_map(|term| {
        let quoted = term.strip_prefix("textPayload : ")?;
        Some(serde_json::from_str::<String>(quoted).unwrap())
    });
    terms.collect()
}

#[test]
fn lines_without_a_terminal_are_json_with_a_severity_and_no_colours() {
    let (failed, worked) = lines();
    assert!(!failed.is_empty() && !worked.is_empty());

    for line in failed.iter().chain(&worked) {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            line["severity"].is_string() && line["message"].is_string(),
            "{line}"
        );
    }
    let last: Value = serde_json::from_str(failed.last().unwrap()).unwrap();
    assert_eq!(last["severity"], "ERROR");
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("no.such.property"),
        "{last}"
    );
}

#[test]
fn the_alert_on_errors_fires_on_errors_alone() {
    let looked_for = looked_for();
    assert!(!looked_for.is_empty());
    let is_counted = |line: &String| looked_for.iter().any(|text| line.contains(text));

    let (failed, worked) = lines();
    assert!(
        failed.iter().any(is_counted),
        "{looked_for:?} in {failed:?}"
    );
    assert!(
        !worked.iter().any(is_counted),
        "{looked_for:?} in {worked:?}"
    );
}

#[test]
fn text_is_written_where_it_is_asked_for() {
    let text = [("TIDEMARK_LOG_FORMAT", "text")];
    let failed = logged(
        &["--client", "native", "--property", "no.such.property=1"],
        &text,
    );
    assert!(
        failed.starts_with("order-analytics: the record log refuses"),
        "{failed}"
    );
    assert!(!failed.contains('\u{1b}'));
}

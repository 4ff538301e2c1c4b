//! Checks services/SECURITY.md: each row of its tables names tests that exist in their files, or is
//! open with a reason.

use crate::architecture::{Source, root, sources};

/// The beginning of the last cell in a row without a test.
const OPEN: &str = "open: ";
/// The least number of characters of a reason.
const LEAST_REASON: usize = 20;

/// Returns the rows of all tables, without their headers.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let is_row = |line: &&str| line.starts_with('|') && !line.starts_with("|---");
    let lines = text.lines().map(str::trim).filter(is_row);
    let cells = lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect());
    cells
        .filter(|cells: &Vec<&str>| cells.first() != Some(&"Line"))
        .collect()
}

/// Returns the problems of a row: a test that is not in its file, or neither test nor reason.
fn problems(cells: &[&str], sources: &[Source]) -> Vec<String> {
    let whole = cells.join(" | ");
    let Some(last) = cells.get(2) else {
        return vec![format!("no third cell: {whole}")];
    };

    if let Some(reason) = last.strip_prefix(OPEN) {
        let is_reason = reason.len() >= LEAST_REASON;
        let problem = (!is_reason).then(|| format!("no reason: {whole}"));
        return problem.into_iter().collect();
    }

    // Names and files are between backticks in turn.
    let quoted: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
    let missing = quoted.chunks(2).filter(|test| !is_there(test, sources));
    let missing = missing.map(|test| format!("no such test: {test:?}"));
    let nothing = quoted.is_empty().then(|| format!("no test: {whole}"));
    missing.chain(nothing).collect()
}

fn is_there(test: &[&str], sources: &[Source]) -> bool {
    let [name, file] = test else {
        return false;
    };
    let path = format!("services/{file}");
    sources
        .iter()
        .any(|source| source.path == path && source.has_test(name))
}

/// Returns the headings of the tables that have no row.
fn empty_tables(text: &str) -> Vec<&str> {
    let sections = text.split("\n#");
    let tables = sections.filter(|section| section.contains("\n|"));
    tables
        .filter(|table| rows(table).is_empty())
        .filter_map(|table| table.lines().next())
        .collect()
}

#[test]
fn each_row_names_tests_that_exist_or_a_reason() {
    let text = std::fs::read_to_string(root().join("services/SECURITY.md")).unwrap();
    let all = sources("services");
    let rows = rows(&text);
    assert!(rows.len() > 80, "{}", rows.len());

    let found: Vec<String> = rows.iter().flat_map(|row| problems(row, &all)).collect();
    assert_eq!(found, Vec::<String>::new());
    assert_eq!(empty_tables(&text), Vec::<&str>::new());
}

#[test]
fn every_line_of_the_top_ten_and_every_chapter_has_a_row() {
    let text = std::fs::read_to_string(root().join("services/SECURITY.md")).unwrap();
    let rows = rows(&text);
    let lines: Vec<&str> = rows.iter().map(|cells| cells[0]).collect();
    for number in 1..=10 {
        let line = format!("API{number}");
        assert!(lines.contains(&line.as_str()), "{line}");
    }

    // Encoding, validation, browsers, the API, files, authentication, sessions, authorization, tokens,
    // data, logs and errors.
    for chapter in [
        "1.", "2.", "3.", "4.", "5.", "6.", "7.", "8.", "9.", "14.", "16.",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(chapter)),
            "{chapter}"
        );
    }
}

#[test]
fn a_row_without_a_test_or_a_reason_is_found() {
    let source = Source {
        path: "services/orders/tests/it/one.rs".to_owned(),
        text: "#[test]\nfn one_is_not_two() {}\n\nfn a_helper() {}".to_owned(),
    };
    let all = [source];

    for (row, count) in [
        (
            "| 1.1.1 | one | `one_is_not_two` (`orders/tests/it/one.rs`) |",
            0,
        ),
        ("| 1.1.1 | one | open: there is no such function here |", 0),
        ("| Line | What holds | Tests |\n|---|---|---|", 0),
        ("| 1.1.1 | one | `two` (`orders/tests/it/one.rs`) |", 1),
        (
            "| 1.1.1 | one | `one_is_not_two` (`users/tests/it/one.rs`) |",
            1,
        ),
        ("| 1.1.1 | one | `one_is_not_two` |", 1),
        ("| 1.1.1 | one | `a_helper` (`orders/tests/it/one.rs`) |", 1),
        ("| 1.1.1 | one | the tests of orders |", 1),
        ("|1.1.1|one|`one_is_not_two` (`orders/tests/it/one.rs`)|", 1),
        ("  | 1.1.1 | one | `two` (`orders/tests/it/one.rs`) |", 1),
        ("| 1.1.1 | one | open: later |", 1),
        ("| 1.1.1 | one |  |", 1),
        ("| 1.1.1 | one |", 1),
    ] {
        let found = rows(row).iter().flat_map(|row| problems(row, &all)).count();
        assert_eq!(found, count, "{row}");
    }

    let header = "| Line | What holds | Tests |\n|---|---|---|\n";
    let text = format!("# One\n\n{header}\n## Two\n\n{header}| 1 | one | open: |\n\n## Three\n");
    assert_eq!(empty_tables(&text), ["# One"]);
}

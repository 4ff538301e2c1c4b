//! Tests of the order of checks, and of the checks that are left out after a failure.

use super::*;

fn sheet() -> Sheet {
    Sheet {
        findings: Vec::new(),
        is_json: true,
    }
}

fn failure() -> Checked {
    Checked::of(Err(Fault::failure(
        Owner::Job,
        "a flag",
        "it fails",
        "set it",
    )))
}

fn outcomes(sheet: &Sheet) -> Vec<(Check, &str)> {
    let shown = |finding: &Finding| match &finding.outcome {
        Outcome::Passed(_) => "passed",
        Outcome::Faulty(_) => "faulty",
        Outcome::NotTried(_) => "not tried",
    };

    let findings = sheet.findings.iter();
    findings
        .map(|finding| (finding.check, shown(finding)))
        .collect()
}

#[test]
fn what_depends_on_a_failed_check_is_not_tried_and_names_it() {
    let mut sheet = sheet();
    sheet.add(Check::Settings, || Checked::passed("")).unwrap();
    sheet.add(Check::Names, failure).unwrap();
    sheet
        .add(Check::Tcp, || panic!("a check that needs the names"))
        .unwrap();
    sheet
        .add(Check::Transactions, || panic!("it needs them, too"))
        .unwrap();
    sheet.add(Check::Store, || Checked::passed("")).unwrap();

    let expected = [
        (Check::Settings, "passed"),
        (Check::Names, "faulty"),
        (Check::Tcp, "not tried"),
        (Check::Transactions, "not tried"),
        (Check::Store, "passed"),
    ];

    assert_eq!(outcomes(&sheet), expected);
    assert_eq!(sheet.findings[3].outcome, Outcome::NotTried(Check::Names));
    assert_eq!(exit_code(&sheet.findings), Check::Names.exit_code());
}

#[test]
fn a_warning_keeps_no_check_from_being_made() {
    let mut sheet = sheet();
    let warned = || Checked {
        detail: String::new(),
        faults: failure()
            .faults
            .into_iter()
            .map(Fault::into_warning)
            .collect(),
    };

    sheet.add(Check::Names, warned).unwrap();
    sheet.add(Check::Tcp, || Checked::passed("")).unwrap();
    assert_eq!(outcomes(&sheet).last(), Some(&(Check::Tcp, "passed")));
}

#[test]
fn checks_that_were_not_reached_are_listed_in_their_order() {
    let mut sheet = sheet();
    sheet.add(Check::Settings, failure).unwrap();
    sheet.fill().unwrap();

    let checks: Vec<Check> = sheet.findings.iter().map(|finding| finding.check).collect();
    assert!(checks.is_sorted() && checks.len() == 10, "{checks:?}");
    let mut later = sheet.findings[1..].iter();
    assert!(later.all(|finding| finding.outcome == Outcome::NotTried(Check::Settings)));
}

#[test]
fn the_help_names_each_check_with_its_exit_code() {
    let help = help();
    for check in Check::ALL {
        let line = format!("{}  {}", check.exit_code(), check.name());
        assert!(help.contains(&line), "{line:?} in {help}");
    }
}

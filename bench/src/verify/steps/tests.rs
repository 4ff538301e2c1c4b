//! Tests of the steps, and of the commands that they run.

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_skipped_test_is_seen_on_either_output() {
    // The word is composed here. Otherwise the verification would count this test's own output
    // as a skipped test.
    let script = shell("w=SKIPPED; echo $w: one; echo passed; echo $w: two >&2");
    let seen = run_and_keep("", script).unwrap().skipped;
    assert!(
        seen.iter()
            .map(|line| line.split_once(": ").unwrap().1)
            .eq(["one", "two"]),
        "{seen:?}"
    );
}

#[test]
fn each_step_has_a_name_of_its_own() {
    let names: Vec<_> = all().map(|step| step.name).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert!(
        ["tests", "k6", "chart"]
            .iter()
            .all(|name| distinct.contains(name))
    );
}

#[test]
fn counterparts_are_fetched_before_the_stage_that_uses_them() {
    let stage_of = |name| {
        let has_it = |stage: &Stage| {
            let mut steps = stage.steps.iter().chain(stage.beside);
            steps.any(|step| step.name == name)
        };
        STAGES.iter().position(has_it).unwrap()
    };

    let fetched = stage_of("provision");
    for user in [
        "tests",
        "exact",
        "end-to-end-real",
        "browser",
        "budgets",
        "k6",
    ] {
        assert!(fetched < stage_of(user), "{user}");
    }
}

#[test]
fn a_failed_command_fails_its_step_with_the_reason() {
    let failed = run_and_keep(
        "",
        shell("echo a ... ok; echo b ... FAILED; echo its words; exit 3"),
    );
    let Err(VerifyError::Command { status, lines, .. }) = failed else {
        panic!("it passed")
    };

    assert_eq!(
        (status.code(), lines),
        (
            Some(3),
            vec!["b ... FAILED".to_owned(), "its words".to_owned()]
        )
    );
}

#[test]
fn a_failure_without_a_known_mark_shows_the_last_lines() {
    let Err(VerifyError::Command { lines, .. }) =
        run_and_keep("", shell("echo no such file; exit 1"))
    else {
        panic!("it passed")
    };
    assert_eq!(lines, ["no such file"]);
}

#[test]
fn a_command_that_is_not_there_fails_its_step() {
    assert!(matches!(
        run_and_keep("", Command::new("no-such-command")),
        Err(VerifyError::NotRun { .. })
    ));
}

//! Tests of plans that a request to stop ends.

use std::path::Path;
use std::thread;
use std::time::Duration;

use stream::Stop;

use super::carry_out::{PlanError, carry_out};
use super::plan::{Action, Plan, Rollback, Step};
use crate::error::CommandError;

const HOUR: Duration = Duration::from_secs(3_600);

fn script(about: &str, script: &str) -> Step {
    Step::run(about, ["sh", "-c", script])
}

/// Carries out the plan, and requests the stop once for each of `marks`, as soon as that file exists.
fn interrupted_at(plan: &Plan, marks: &[&Path]) -> PlanError {
    let stop = Stop::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            for mark in marks {
                while !mark.exists() {
                    thread::yield_now();
                }
                stop.request();
            }
        });
        carry_out(plan, &stop, &mut |_| ()).unwrap_err()
    })
}

#[test]
fn an_interrupted_program_is_ended_and_the_steps_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let after = folder.path().join("after");
    let long = format!(
        "trap 'touch {}; exit 3' TERM; touch {}; while :; do sleep 0.05; done",
        after.display(),
        mark.display()
    );
    let plan = Plan {
        steps: vec![
            script("uploads", "true"),
            script("starts the job", &long),
            script("waits", "true"),
        ],
        ..Plan::default()
    };

    let error = interrupted_at(&plan, &[&mark]);
    let said = error.to_string();
    for part in [
        "interrupted in step 2 of 3 (starts the job)",
        "done before: uploads",
        "not done: waits",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(after.exists(), "the program was signalled, and waited for");
    let error = CommandError::Other(Box::new(error));
    assert_eq!(error.exit_code(), 130);
}

#[test]
fn a_wait_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let touch = format!("touch {}; false", mark.display());
    let touched = format!("touch {}; echo machine", mark.display());
    let command = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
    for action in [
        Action::RunUntil {
            command: command(&touch),
            limit: HOUR,
        },
        Action::Gone {
            list: command(&touched),
            limit: HOUR,
        },
    ] {
        let _ = std::fs::remove_file(&mark);
        let plan = Plan {
            steps: vec![Step::new("waits", action)],
            ..Plan::default()
        };
        assert!(interrupted_at(&plan, &[&mark]).is_interruption());
    }
}

#[test]
fn a_program_that_ctrl_c_ends_first_is_interrupted_and_has_not_failed() {
    for end in ["kill -INT $$", "exit 130"] {
        let plan = Plan {
            steps: vec![script("copies", end)],
            ..Plan::default()
        };
        let error = carry_out(&plan, &Stop::default(), &mut |_| ()).unwrap_err();
        assert!(error.is_interruption(), "{error}");
    }

    let plan = Plan {
        steps: vec![script("copies", "exit 3")],
        ..Plan::default()
    };
    let error = carry_out(&plan, &Stop::default(), &mut |_| ()).unwrap_err();
    assert!(!error.is_interruption(), "{error}");
    assert_eq!(CommandError::Other(Box::new(error)).exit_code(), 1);
}

/// Returns a plan whose second step lasts until it is interrupted.
fn with_rollback(mark: &Path, back: Vec<Step>) -> Plan {
    let long = format!("touch {}; exec sleep 3600", mark.display());
    Plan {
        steps: vec![script("copies", "true"), script("waits", &long)],
        rollback: Some(Rollback {
            from: 1,
            steps: back,
            before: "the job runs as before",
            end: "the former job runs again",
            mend: "`start` starts it".to_owned(),
        }),
        ..Plan::default()
    }
}

#[test]
fn an_interrupted_change_restores_the_former_state() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let restored = folder.path().join("restored");
    // A program of the rollback that Ctrl-C ends has failed: the former state is not there.
    let back = format!("sleep 0.1; touch {}", restored.display());
    let plan = with_rollback(&mark, vec![script("starts the former job", &back)]);

    let error = interrupted_at(&plan, &[&mark]);
    assert!(error.is_interruption() && restored.exists(), "{error}");
    let said = error.to_string();
    assert_eq!(said, "interrupted; the former job runs again");
}

#[test]
fn a_second_interruption_ends_the_rollback_and_names_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let second = folder.path().join("second");
    let back = format!("touch {}; exec sleep 3600", second.display());
    let plan = with_rollback(&first, vec![script("starts the former job", &back)]);

    let error = interrupted_at(&plan, &[&first, &second]);
    let said = error.to_string();
    assert!(
        error.is_interruption() && said.contains("`start` starts it"),
        "{said}"
    );
}

#[test]
fn a_list_of_any_length_is_read() {
    let plan = Plan {
        steps: vec![
            Step::new(
                "ends",
                Action::Each {
                    list: ["seq", "100000", "100003"].map(str::to_owned).to_vec(),
                    command: ["test", "{}", "-ge", "100000"].map(str::to_owned).to_vec(),
                    none: Some("there is none".to_owned()),
                },
            ),
            Step::new(
                "looks",
                Action::Absent {
                    list: ["sh", "-c", "true"].map(str::to_owned).to_vec(),
                    reason: "{}".to_owned(),
                },
            ),
            Step::new(
                "looks",
                Action::Absent {
                    list: ["sh", "-c", "yes | head -c 300000"]
                        .map(str::to_owned)
                        .to_vec(),
                    reason: "found".to_owned(),
                },
            ),
        ],
        ..Plan::default()
    };
    let error = carry_out(&plan, &Stop::default(), &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "found");
}

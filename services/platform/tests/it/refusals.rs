//! A refusal is one line on standard error and an exit code that is not zero.

use std::net::TcpListener;

use crate::platform::{Platform, run};

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().min(65_528);
    let said = refusal(&["--ephemeral", "--port-base", &port.to_string()]);

    assert!(
        said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port-base"),
        "{said}"
    );
}

#[test]
fn a_folder_in_use_is_named_with_the_process_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let _running = Platform::start(&["--data", path]);
    let said = refusal(&["--data", path, "--port-base", "0"]);

    assert!(
        said.contains("in use by process") && said.contains("--data"),
        "{said}"
    );
}

#[test]
fn a_folder_that_would_be_ignored_is_refused() {
    let output = run(&["--ephemeral", "--data", "/tmp/kept", "--port-base", "0"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");

    assert!(
        said.contains("--ephemeral") && said.contains("--data"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn windows_that_cannot_be_are_refused_before_anything_is_up() {
    let impossible: [&[&str]; 4] = [
        &["--window", "7s", "--pane", "2s"],
        &["--window", "0s"],
        &["--session-gap", "10s", "--session-limit", "5s"],
        &["--session-gap", "10s", "--pane", "3s"],
    ];

    for flags in impossible {
        let output = run(&[&["--ephemeral", "--port-base", "0"], flags].concat());
        let said = String::from_utf8(output.stderr).unwrap();

        assert_eq!(output.status.code(), Some(1), "{flags:?}: {said}");
        assert!(said.contains("order-analytics cannot start"), "{said}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, "", "{flags:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let said = refusal(&["--data", "/dev/null/tidemark", "--port-base", "0"]);
    assert!(
        said.contains("/dev/null/tidemark") && said.contains("--data"),
        "{said}"
    );
}

#[test]
fn a_broker_that_does_not_answer_is_said() {
    let said = refusal(&[
        "--ephemeral",
        "--port-base",
        "0",
        "--brokers",
        "127.0.0.1:1",
    ]);

    assert!(
        said.contains("Kafka does not answer") && said.contains("--brokers"),
        "{said}"
    );
}

#[test]
fn a_database_that_does_not_answer_is_said_without_its_password() {
    let said = refusal(&[
        "--ephemeral",
        "--port-base",
        "0",
        "--mysql",
        "mysql://shop:secret@127.0.0.1:1/shop",
    ]);

    assert!(
        said.contains("MySQL does not answer")
            && said.contains("--mysql")
            && !said.contains("secret"),
        "{said}"
    );
}

#[test]
fn a_dynamodb_that_does_not_answer_is_said() {
    let said = refusal(&[
        "--ephemeral",
        "--port-base",
        "0",
        "--dynamodb",
        "http://127.0.0.1:1",
    ]);

    assert!(
        said.contains("DynamoDB does not answer") && said.contains("--dynamodb"),
        "{said}"
    );
}

#[test]
fn a_public_address_without_authentication_is_refused() {
    for arguments in [
        &["--ephemeral"][..],
        &["orders", "--ephemeral"],
        &["gateway"],
    ] {
        let said = refusal(&[arguments, &["--port-base", "0", "--host", "0.0.0.0"]].concat());
        assert!(
            said.contains("the address 0.0.0.0 is public")
                && said.contains("--auth enforced")
                && said.contains("--allow-open"),
            "{said}"
        );
    }
}

#[test]
fn a_service_that_has_nothing_to_be_known_by_is_told_so() {
    let said = refusal(&[
        "products",
        "--ephemeral",
        "--port-base",
        "0",
        "--auth",
        "enforced",
    ]);

    assert!(said.contains("--service-secret"), "{said}");
}

#[test]
fn a_secret_that_could_be_guessed_is_refused_without_being_shown() {
    let arguments = [
        "products",
        "--ephemeral",
        "--port-base",
        "0",
        "--auth",
        "enforced",
        "--service-secret",
        "hunter2",
    ];
    let said = refusal(&arguments);

    assert!(
        said.contains("32 bytes") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn an_invalid_admin_password_is_refused_and_not_shown() {
    let admin = [
        "--users-admin-email",
        "admin@test.com",
        "--users-admin-password",
        "hunter2",
    ];
    let output = run(&[&["--ephemeral", "--port-base", "0"][..], &admin].concat());
    let said = String::from_utf8(output.stderr).unwrap();

    assert!(
        output.status.code() == Some(1)
            && said.contains("first admin")
            && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn a_flag_that_does_not_exist_is_named() {
    let output = run(&["--no-such-flag"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains("--no-such-flag"),
        "{said}"
    );
}

/// Runs the binary, which must fail, and returns the single line that it writes.
fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );

    assert!(
        output.stdout.is_empty(),
        "it wrote a table of addresses and then failed"
    );

    said
}

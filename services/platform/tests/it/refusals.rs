//! What it cannot do it says in one line, and exits with a code that is not zero.

use std::net::TcpListener;

use crate::platform::{Platform, run};

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().min(65_529);
    let said = refusal(&["--ephemeral", "--port-base", &port.to_string()]);
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port-base"), "{said}");
}

#[test]
fn a_folder_in_use_is_named_with_the_process_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let _running = Platform::start(&["--data", path]);
    let said = refusal(&["--data", path, "--port-base", "0"]);
    assert!(said.contains("in use by process") && said.contains("--data"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let said = refusal(&["--data", "/dev/null/tidemark", "--port-base", "0"]);
    assert!(said.contains("/dev/null/tidemark") && said.contains("--data"), "{said}");
}

#[test]
fn a_broker_that_does_not_answer_is_said() {
    let said = refusal(&["--ephemeral", "--port-base", "0", "--brokers", "127.0.0.1:1"]);
    assert!(said.contains("Kafka does not answer") && said.contains("--brokers"), "{said}");
}

#[test]
fn a_database_that_does_not_answer_is_said_without_its_password() {
    let said = refusal(&["--ephemeral", "--port-base", "0", "--mysql", "mysql://shop:secret@127.0.0.1:1/shop"]);
    assert!(said.contains("MySQL does not answer") && said.contains("--mysql") && !said.contains("secret"), "{said}");
}

#[test]
fn a_dynamodb_that_does_not_answer_is_said() {
    let said = refusal(&["--ephemeral", "--port-base", "0", "--dynamodb", "http://127.0.0.1:1"]);
    assert!(said.contains("DynamoDB does not answer") && said.contains("--dynamodb"), "{said}");
}

#[test]
fn a_flag_that_does_not_exist_is_named() {
    let output = run(&["--no-such-flag"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("--no-such-flag"), "{said}");
}

/// What it says in the one line that it writes before it fails.
fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(output.stdout.is_empty(), "it wrote a table of addresses and then failed");
    said
}

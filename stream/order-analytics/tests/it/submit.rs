//! A job that is submitted to this machine on a real Kafka: it runs, is resized and replaced, is restored after a program
//! that does not start, and drains.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::broker::free_ports;
use crate::kafka::Shop;

#[test]
fn a_submitted_job_is_resized_replaced_and_drained_without_a_lost_row() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let submitted = Submitted::new(&shop);

    let planned = submitted.submit(&["--dry-run"]);
    assert!(planned.status.success(), "{planned:?}");
    assert!(said(&planned).contains("setsid"), "{planned:?}");
    assert!(!submitted.folder().exists(), "a plan does nothing");

    assert_ends(
        &submitted.submit(&[]),
        0,
        &["the job runs", "status: http://"],
    );
    assert_ends(
        &submitted.submit(&[]),
        1,
        &["the job runs already", "upgrade local"],
    );
    assert_ends(&submitted.command("status", &[]), 0, &["process 0 works"]);
    shop.publish(&[1, 2]);

    let resized = submitted.command("rescale", &["--processes", "2", "--workers", "1"]);
    assert_ends(&resized, 0, &["goes on from its last checkpoint"]);
    assert_ends(
        &submitted.command("status", &[]),
        0,
        &["process 0 works", "process 1 works"],
    );
    shop.publish(&[3]);

    let next = submitted.program("next", None);
    let replaced = submitted.command("upgrade", &["--program", next.to_str().unwrap()]);
    assert_ends(&replaced, 0, &["goes on from its last checkpoint"]);
    let release = submitted.release();

    let broken = submitted.program("broken", Some("#!/bin/sh\necho 'no job at all'\nexit 1\n"));
    let refused = submitted.command("upgrade", &["--program", broken.to_str().unwrap()]);
    assert_ends(&refused, 1, &["restores the former state", "no job at all"]);
    assert_eq!(
        submitted.release(),
        release,
        "the program before runs again"
    );
    assert_ends(&submitted.command("status", &[]), 0, &["process 1 works"]);
    shop.publish(&[4]);

    assert_ends(
        &submitted.command("cancel", &[]),
        0,
        &["has drained and ended"],
    );
    assert_ends(
        &submitted.command("status", &[]),
        1,
        &["process 0 does not run"],
    );
    assert_ends(&submitted.command("cancel", &[]), 1, &["does not run"]);

    // A start to the end closes the window; each order is in it once.
    let checkpoints = format!(
        "file://{}",
        submitted.folder().join("checkpoints").display()
    );
    let output = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
        .args(["--brokers", &shop.brokers])
        .args(without(shop.arguments(&[]), &["--checkpoints"]))
        .args(["--checkpoints", &checkpoints])
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let rows = shop.await_rows(4);
    let mut users: Vec<_> = rows
        .iter()
        .map(|row| (row.user_id, row.order_count))
        .collect();
    users.sort_unstable();
    assert_eq!(users, [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

#[test]
fn a_job_that_was_not_submitted_is_named_with_its_folder() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("nothing");
    for verb in ["status", "logs", "cancel", "rescale", "upgrade"] {
        let output = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
            .args([verb, "local", "--job", "counts", "--folder"])
            .arg(&place)
            .output();
        assert_ends(
            &output.unwrap(),
            1,
            &["no job was submitted to", place.to_str().unwrap()],
        );
    }
}

/// A job in a folder of its own, which is cancelled at the end.
struct Submitted<'a> {
    shop: &'a Shop,
    home: TempDir,
    ports: [u16; 4],
}

impl<'a> Submitted<'a> {
    fn new(shop: &'a Shop) -> Self {
        let mut ports = free_ports();
        // Process 1 serves its status one port above that of process 0.
        ports[1] = ports[0] + 1;
        Self {
            shop,
            home: TempDir::new().unwrap(),
            ports,
        }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("job")
    }

    fn submit(&self, more: &[&str]) -> Output {
        let [status, _, first, second] = self.ports;
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-analytics"));
        command.args(["submit", "local", "--brokers", &self.shop.brokers]);
        command.arg("--folder").arg(self.folder());
        command.args(["--status-address", &format!("127.0.0.1:{status}")]);
        command.args(["--hosts", &format!("127.0.0.1:{first},127.0.0.1:{second}")]);
        let arguments = self.shop.arguments(&[]);
        command.args(without(arguments, &["--until-end", "--checkpoints"]));
        command.args(more).output().unwrap()
    }

    fn command(&self, verb: &str, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-analytics"));
        command.args([verb, "local", "--job", &self.shop.name]);
        command.arg("--folder").arg(self.folder());
        command.args(more).output().unwrap()
    }

    /// Writes a program: a script, or this one with another hash.
    fn program(&self, name: &str, script: Option<&str>) -> PathBuf {
        let path = self.home.path().join(name);
        match script {
            Some(script) => std::fs::write(&path, script).unwrap(),
            None => {
                std::fs::copy(env!("CARGO_BIN_EXE_order-analytics"), &path).unwrap();
                let mut file = std::fs::OpenOptions::new().append(true).open(&path);
                file.as_mut().unwrap().write_all(b"another").unwrap();
            }
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn release(&self) -> String {
        let text = std::fs::read_to_string(self.folder().join("job.json")).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        record["release"].as_str().unwrap().to_owned()
    }
}

impl Drop for Submitted<'_> {
    fn drop(&mut self) {
        // Only a test that failed leaves something to cancel.
        self.command("cancel", &[]);
    }
}

/// Leaves out some flags, each with its value if it has one.
fn without(arguments: Vec<String>, flags: &[&str]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut skips = false;
    for argument in arguments {
        if argument.starts_with("--") {
            skips = flags.contains(&&*argument);
        }
        if !skips {
            kept.push(argument);
        }
    }
    kept
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, named: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for named in named {
        assert!(said.contains(named), "{named:?} in {said}");
    }
}

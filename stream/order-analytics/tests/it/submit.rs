//! A job that is submitted to this machine on a real Kafka: it runs, is resized and replaced, is restored after a program
//! that does not start, and drains.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::broker::{draw_ports, free_ports};
use crate::kafka::Shop;

#[test]
fn a_submitted_job_is_resized_replaced_and_drained_without_a_lost_row() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let submitted = Submitted::new(&shop);

    is_planned_and_submitted(&submitted);
    shop.publish(&[1, 2]);
    is_resized(&submitted);
    shop.publish(&[3]);
    is_replaced_and_restored(&submitted);
    shop.publish(&[4]);
    drains(&submitted);

    // A start to the end closes the window; each order is in it once.
    let checkpoints = submitted.folder().join("checkpoints");
    let output = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
        .args(["--brokers", &shop.brokers])
        .args(without(shop.arguments(&[]), &["--checkpoints"]))
        .args([
            "--checkpoints",
            &format!("file://{}", checkpoints.display()),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let rows = shop.await_rows(4).into_iter();
    let mut users: Vec<_> = rows.map(|row| (row.user_id, row.order_count)).collect();
    users.sort_unstable();
    assert_eq!(users, [(1, 1), (2, 1), (3, 1), (4, 1)]);
}

fn is_planned_and_submitted(submitted: &Submitted) {
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
}

fn is_resized(submitted: &Submitted) {
    let resized = submitted.command("rescale", &["--processes", "2", "--workers", "1"]);
    assert_ends(&resized, 0, &["goes on from its last checkpoint"]);
    assert_ends(
        &submitted.command("status", &[]),
        0,
        &["process 0 works", "process 1 works"],
    );
}

/// Replaces the program, and then tries one that does not start.
fn is_replaced_and_restored(submitted: &Submitted) {
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
}

fn drains(submitted: &Submitted) {
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

#[test]
fn a_variable_that_the_job_had_is_named_where_it_is_missing() {
    let folder = TempDir::new().unwrap();
    let record = r#"{"release": "r", "processes": 1, "variables": {"TIDEMARK_JOB": "counts"},
        "terminal": {"folder": "/", "inherited": ["AWS_SECRET_ACCESS_KEY"]}}"#;
    std::fs::write(folder.path().join("job.json"), record).unwrap();

    let run = |set: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-analytics"));
        command.args([
            "rescale",
            "local",
            "--dry-run",
            "--job",
            "counts",
            "--folder",
        ]);
        command
            .arg(folder.path())
            .env_remove("AWS_SECRET_ACCESS_KEY");
        command.envs(set.iter().copied()).output().unwrap()
    };

    let named = [
        "with AWS_SECRET_ACCESS_KEY from the terminal",
        "set it here",
    ];
    assert_ends(&run(&[]), 1, &named);
    let planned = run(&[("AWS_SECRET_ACCESS_KEY", "open sesame")]);
    assert_ends(&planned, 0, &["from the terminal AWS_SECRET_ACCESS_KEY"]);
    assert!(!said(&planned).contains("sesame"), "{planned:?}");
}

/// A job in a folder of its own, which is cancelled at the end.
struct Submitted<'a> {
    shop: &'a Shop,
    home: TempDir,
    /// The port of process 0's status. Process 1 serves its status one port above.
    status: u16,
    hosts: [u16; 2],
}

impl<'a> Submitted<'a> {
    fn new(shop: &'a Shop) -> Self {
        Self {
            shop,
            home: TempDir::new().unwrap(),
            status: draw_ports(2),
            hosts: free_ports(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("job")
    }

    fn submit(&self, more: &[&str]) -> Output {
        let status = self.status;
        let [first, second] = self.hosts;
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
pub fn without(arguments: Vec<String>, flags: &[&str]) -> Vec<String> {
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

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
pub fn assert_ends(output: &Output, code: i32, named: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for named in named {
        assert!(said.contains(named), "{named:?} in {said}");
    }
}

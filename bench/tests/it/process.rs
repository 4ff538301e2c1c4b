//! Tests that children are measured and do not outlive their owner.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bench::process::{Lifetime, Process, usage_of_group};

fn shell(script: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::start(command, Lifetime::OfItsThread).unwrap()
}

#[test]
fn an_ended_process_has_its_exit_code_and_its_usage() {
    let mut process = shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3");
    let ended = process.wait_for(Duration::from_secs(30)).unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert!(ended.cpu > Duration::ZERO && ended.cpu <= ended.wall * 2);
    assert!(ended.peak_rss_bytes > 0);
}

#[test]
fn a_wait_ends_at_its_limit_while_the_process_goes_on() {
    let mut process = shell("sleep 60");
    assert!(
        process
            .wait_for(Duration::from_millis(20))
            .unwrap()
            .is_none()
    );
    assert_eq!(process.kill().unwrap().status.signal(), Some(9));
}

#[test]
fn a_dropped_process_takes_its_children_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let process = shell(&format!(
        "sleep 60 & echo $! > {0}.new && mv {0}.new {0}; wait",
        file.display()
    ));

    while !file.exists() {
        std::thread::yield_now();
    }

    let child = std::fs::read_to_string(&file).unwrap();
    drop(process);
    let status = Path::new("/proc").join(child.trim()).join("status");

    // A zombie has ended too; its new parent has only not collected it yet.
    while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ")) {
        std::thread::yield_now();
    }
}

#[test]
fn the_usage_of_a_group_holds_that_of_its_children() {
    let process = shell("while :; do :; done & wait");
    while usage_of_group(process.pid()).unwrap().cpu == Duration::ZERO {
        std::thread::yield_now();
    }
    assert!(usage_of_group(process.pid()).unwrap().peak_rss_bytes > 0);
}

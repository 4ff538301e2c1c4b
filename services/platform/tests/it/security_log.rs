//! The security log is on if callers must authenticate, at every level of the other logs.

use std::fs::{self, File};
use std::path::Path;

use uuid::Uuid;

use crate::platform::{Platform, wait_until};

/// Runs a platform with this filter, sends a request that is refused, and returns the log.
fn log_by(filter: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("security-{}.log", Uuid::new_v4()));
    let arguments = [
        "--ephemeral",
        "--demo",
        "false",
        "--auth",
        "enforced",
        "--log",
        filter,
    ];

    let platform = Platform::start_writing(&arguments, File::create(&path).unwrap().into());
    wait_until("users answer", || platform.get("/api/users/0").0 < 500);
    drop(platform);

    let log = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    log
}

#[test]
fn the_security_log_is_on_where_callers_authenticate() {
    let log = log_by("error");
    let line = log.lines().find(|line| line.contains("request_refused"));
    assert!(
        line.is_some_and(|line| line.contains("status=401")),
        "{log}"
    );

    let off = log_by("error,security=off");
    assert!(!off.contains("request_refused"), "{off}");
}

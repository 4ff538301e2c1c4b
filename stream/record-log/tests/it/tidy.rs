//! Checks for names that must stay out of the native client's files.

use std::path::{Path, PathBuf};

/// The names of what comes through the traits `Runtime` and `Network`, so that a simulation decides it.
const OUTSIDE: [&str; 14] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "system_now_ms",
    "thread::sleep",
    "thread::spawn",
    "thread::Builder",
    "thread::scope",
    "Condvar",
    "mpsc",
    "rand::",
    "RandomState",
    "TcpStream",
    "to_socket_addrs",
];

/// Files that implement a trait, or that the simulation leaves out: streams of bytes, TLS, logins, the examination of a
/// listener, and the threads that open several publishers at once.
const EDGES: [&str; 6] = [
    "examination.rs",
    "login.rs",
    "login/msk.rs",
    "network.rs",
    "publisher.rs",
    "tls.rs",
];

/// Folders and files of tests.
const TESTS: [&str; 4] = ["tests", "schedules", "simulation", "followed"];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if TESTS.contains(&name) {
            continue;
        }
        match path.is_dir() {
            true => sources(&path, into),
            false => into.push(path),
        }
    }
}

#[test]
fn the_native_client_takes_time_threads_and_streams_by_traits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/native");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    assert!(files.len() > 40, "{}", files.len());

    let mut edges = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("\nmod tests {").next().unwrap();
        let lines = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let found: Vec<&str> = lines
            .filter(|line| OUTSIDE.iter().any(|outside| line.contains(outside)))
            .collect();

        let name = file.strip_prefix(&folder).unwrap();
        let name = name.to_str().unwrap().replace('\\', "/");
        if !found.is_empty() {
            assert!(EDGES.contains(&name.as_str()), "{name}: {found:#?}");
            edges.push(name);
        }
    }

    edges.sort();
    assert_eq!(edges, EDGES, "a file of EDGES uses no such name any more");
}

/// Several publishers are opened by threads of a scope. No other code in that file uses a thread or a clock.
#[test]
fn a_publisher_uses_no_clock() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/native/publisher.rs");
    let text = std::fs::read_to_string(file).unwrap();
    for outside in OUTSIDE
        .iter()
        .filter(|outside| **outside != "thread::scope")
    {
        assert!(!text.contains(outside), "{outside}");
    }
    assert_eq!(text.matches("thread::scope").count(), 1);
}

//! Tests that a job that runs is found before it starts over.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use super::ensure_stopped;
use crate::status::StatusAddress;

#[test]
fn a_job_whose_process_was_submitted_here_is_running() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = format!("file://{}", folder.path().join("checkpoints").display());
    let look = || ensure_stopped("of-today", &checkpoints, Some(StatusAddress::Off));
    assert!(look().is_ok(), "there is no record of a job");

    let record = r#"{"release": "r", "processes": 1, "variables": {}}"#;
    fs::write(folder.path().join("job.json"), record).unwrap();
    assert!(look().is_ok(), "the job has ended");

    // The supervisor is this process.
    let pid = folder.path().join("process-0.pid");
    fs::write(&pid, std::process::id().to_string()).unwrap();
    let refused = look().unwrap_err().to_string();
    assert!(refused.contains("cancel local --folder"), "{refused}");
}

#[test]
fn a_job_whose_status_page_answers_is_running() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            // A request that is not read to its end would reset the connection.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n{{\"job\": \"of-today\"}}").unwrap();
        }
    };
    let served = std::thread::spawn(serve);

    let look = |job: &str| {
        let at = Some(StatusAddress::At(address));
        ensure_stopped(job, "gs://bucket/checkpoints", at)
    };
    let refused = look("of-today").unwrap_err().to_string();
    assert!(refused.contains(&address.to_string()), "{refused}");
    assert!(look("other").is_ok());

    served.join().unwrap();
    assert!(look("of-today").is_ok(), "nobody listens any more");
}

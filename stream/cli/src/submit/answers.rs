//! Asks the status pages of a job whether it runs.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

/// The time limit of a request.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The part of a job's status that names it.
#[derive(Deserialize)]
struct Named {
    job: String,
}

/// Returns whether the job at this address is ready.
pub fn is_ready(address: SocketAddr) -> bool {
    answer(address, "/health/ready").is_ok_and(|answer| is_success(&answer))
}

/// Returns the name of the job whose status is served at this address, if one is.
pub fn job_at(address: SocketAddr) -> Option<String> {
    let answer = answer(address, "/status").ok()?;
    let body = answer.split_once("\r\n\r\n")?.1;
    let named: Named = serde_json::from_str(body).ok()?;
    is_success(&answer).then_some(named.job)
}

fn is_success(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200")
}

fn answer(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;

    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

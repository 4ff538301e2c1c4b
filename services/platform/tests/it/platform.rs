//! A platform as a child process, killed with the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running platform.
pub struct Platform {
    child: Child,
    gateway: String,
    client: reqwest::blocking::Client,
}

/// The binary with these arguments, and with nothing from the environment of the test.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform"));
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMARK_")) {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end, which is expected to come at once.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

impl Platform {
    /// Starts one on free ports and reads the gateway's address from its table.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        // Logs as text go to standard error, so that nothing is written to the pipe that nobody reads any more.
        command.args(["--port-base", "0", "--log-format", "text"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let gateway = lines.map(Result::unwrap).find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("gateway")).then(|| words.next().unwrap().to_owned())
        });
        Self { child, gateway: gateway.expect("the table names the gateway"), client: reqwest::blocking::Client::new() }
    }

    /// Waits until the gateway says that it and everything behind it is well.
    pub fn wait_until_healthy(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.client.get(self.url("/health")).send().map_or(0, |answer| answer.status().as_u16()) != 200 {
            assert!(Instant::now() < deadline, "not healthy after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is at this path.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(self.url(path)).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    /// Posts to this path.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).json(body).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    /// Asks it to stop with this signal; how it ended, and how long that took.
    pub fn signal(mut self, name: &str) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        (self.child.wait().unwrap(), began.elapsed())
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("could not kill the platform: {error}");
        }
    }
}

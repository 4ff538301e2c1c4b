//! A platform as a child process, which is killed when its test ends.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest time that any step may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running platform.
pub struct Platform {
    child: Child,
    /// The addresses of its parts.
    addresses: HashMap<String, String>,
    pub client: reqwest::blocking::Client,
}

/// Returns the command that runs the binary with these arguments, without the test's environment.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform"));
    command.args(arguments);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMARK_"))
    {
        command.env_remove(name);
    }

    command
}

/// Returns a client that follows no redirect and uses no proxy.
fn client() -> reqwest::blocking::Client {
    let settings = reqwest::blocking::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    settings.timeout(PATIENCE).build().unwrap()
}

/// Runs the binary and waits for its end, which is expected at once.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Waits until `is_so` returns true.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(
            Instant::now() < deadline,
            "not so after {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Platform {
    /// Starts a platform on free ports and reads the addresses of its parts from its banner.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_writing(arguments, Stdio::inherit())
    }

    /// Starts a platform whose standard error, and so its log, goes to `errors`.
    pub fn start_writing(arguments: &[&str], errors: Stdio) -> Self {
        let mut command = command(arguments);
        // Logs as text go to standard error, because the pipe of standard output has no reader later.
        command
            .args(["--port-base", "0", "--log-format", "text"])
            .stdout(Stdio::piped())
            .stderr(errors);

        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);

        // The last line of the banner is the one on how to stop the platform.
        let table = lines.take_while(|line| !line.trim_start().starts_with("stop"));
        let addresses = table.filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((
                words.next()?.to_owned(),
                words
                    .next()
                    .filter(|word| word.starts_with("http"))?
                    .to_owned(),
            ))
        });
        let addresses: HashMap<_, _> = addresses.collect();

        assert!(
            addresses.contains_key("gateway"),
            "the banner names the gateway"
        );

        Self {
            child,
            addresses,
            client: client(),
        }
    }

    /// Starts one service alone on a free port, and reads the port from its log.
    pub fn start_alone(service: &str, arguments: &[&str]) -> Self {
        let mut command = command(&[service]);
        // Only one line goes to the pipe, because it has no reader afterwards.
        command
            .args([
                "--port-base",
                "0",
                "--log",
                "off,security=off,platform::alone=info",
                "--log-format",
                "json",
            ])
            .args(arguments);

        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();

        let event: Value = serde_json::from_str(&line).unwrap();
        let address = format!("http://{}", event["address"].as_str().unwrap());
        Self {
            child,
            addresses: HashMap::from([(service.to_owned(), address)]),
            client: client(),
        }
    }

    /// Waits until the gateway reports that it and all services behind it are healthy.
    pub fn wait_until_healthy(&self) {
        self.wait_for("gateway");
    }

    /// Waits until a part reports that it is healthy.
    pub fn wait_for(&self, part: &str) {
        let url = format!("{}/health", self.url_of(part));
        let deadline = Instant::now() + PATIENCE;
        while self
            .client
            .get(&url)
            .send()
            .map_or(0, |answer| answer.status().as_u16())
            != 200
        {
            assert!(Instant::now() < deadline, "not healthy after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the status and the document at this path.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(self.url(path)).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    /// Returns the document at this path, once its `field` has this value.
    pub fn get_when(&self, path: &str, field: &str, value: &Value) -> Value {
        let mut body = Value::Null;
        wait_until(path, || {
            body = self.get(path).1;
            body[field] == *value
        });
        body
    }

    /// Posts the body to this path; returns the status and the answer.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).json(body).send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    /// Sends a `PATCH` to this path; returns the status and the answer.
    pub fn patch(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.patch(self.url(path)).json(body);
        let answer = request.send().unwrap();
        (answer.status().as_u16(), answer.json().unwrap())
    }

    /// Stops the platform with this signal; returns its exit status and the time that it took.
    pub fn signal(mut self, name: &str) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());

        (self.child.wait().unwrap(), began.elapsed())
    }

    /// Returns the address of a path at the gateway.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url_of("gateway"))
    }

    /// Returns the base address of a part.
    pub fn url_of(&self, part: &str) -> &str {
        &self.addresses[part]
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("could not kill the platform: {error}");
        }
    }
}

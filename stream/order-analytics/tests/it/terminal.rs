//! The program as a person at a terminal meets it: readers that go away, Ctrl-C, and the first lines of a run.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::kafka::Shop;

/// The exit code of a program whose reader has gone.
const EXIT_PIPE: i32 = 141;

/// A run whose lines are read as they are written.
struct Run {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStderr>>,
}

impl Run {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut process = program()
            .args(arguments)
            .args(["--status-address", "127.0.0.1:0"])
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Returns the lines up to the first one that contains `text`.
    fn until(&mut self, text: &str) -> Vec<String> {
        let mut read = Vec::new();
        for line in self.lines.by_ref() {
            read.push(line.unwrap());
            if read.last().unwrap().contains(text) {
                return read;
            }
        }
        panic!("no line contains {text:?}: {read:?}");
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end. Returns the exit code and the last line.
    fn end(mut self) -> (Option<i32>, String) {
        let last = self.lines.by_ref().last().unwrap().unwrap();
        (self.process.wait().unwrap().code(), last)
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_order-analytics"))
}

/// Listens as a broker that answers nothing.
fn silent_broker() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly() {
    // Nothing listens on this port, so each finding is known at once.
    let line = ["doctor", "--brokers", "127.0.0.1:1"];
    for further in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program();
        command.args(line).args(further).stdout(writer);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(EXIT_PIPE), ""));
    }

    for wrong in [
        &["--no-such-flag"][..],
        &["status", "local", "--folder", "/none"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = program().args(wrong).stderr(writer).status().unwrap();
        assert!(matches!(status.code(), Some(1 | 2)), "no panic: {status}");
    }
}

#[test]
fn a_second_signal_ends_a_job_whose_broker_does_not_answer() {
    let (listener, brokers) = silent_broker();
    let mut run = Run::start(&["--brokers", &brokers], &[]);

    let first = run.until("serves the status page");
    for fact in [
        "orders",
        &brokers,
        "analytics-results",
        "exactly once only while",
    ] {
        assert!(
            first.iter().any(|line| line.contains(fact)),
            "{fact}: {first:?}"
        );
    }
    // From now on, the job waits for an answer.
    let _connection = listener.accept().unwrap();
    run.signal("INT");
    run.signal("TERM");
    let (code, last) = run.end();
    assert_eq!(code, Some(0));
    // A job that gives up waiting ends with another line.
    assert!(last.contains("while a server was waited for"), "{last}");
}

#[test]
fn a_missing_topic_is_reported_and_one_signal_ends_the_wait() {
    let Some(shop) = Shop::without_topic() else {
        return;
    };
    let missing = shop.input();
    let flags = ["--brokers", &shop.brokers, "--input-topic", &missing];

    for signal in ["INT", "TERM"] {
        let mut run = Run::start(&flags, &[]);
        let said = run.until("the source topic does not exist");
        assert!(said.last().unwrap().contains(&missing), "{said:?}");
        run.signal(signal);
        let (code, last) = run.end();
        assert_eq!(code, Some(0), "{signal}");
        assert!(last.contains("ended as requested"), "{signal}: {last}");
    }
}

#[test]
fn the_ctrl_c_that_a_supervisor_passes_on_is_one_request() {
    let Some(shop) = Shop::without_topic() else {
        return;
    };
    let missing = shop.input();
    let flags = ["--brokers", &shop.brokers, "--input-topic", &missing];

    // The terminal sends SIGINT to both processes, and the supervisor sends SIGTERM.
    let mut run = Run::start(&flags, &[("TIDEMARK_SUPERVISED", "true")]);
    run.until("the source topic does not exist");
    run.signal("INT");
    run.signal("TERM");
    let (code, last) = run.end();
    assert_eq!(code, Some(0));
    assert!(last.contains("ended as requested"), "{last}");
}

#[test]
fn a_dry_run_as_json_is_json_alone_without_secrets() {
    let line = [
        "submit",
        "local",
        "--dry-run",
        "--json",
        "--folder",
        "/none/here",
    ];
    let secret = ["--property", "sasl.password=sesame"];
    let output = program().args(line).args(secret).output().unwrap();
    assert!(output.status.success());

    let said = String::from_utf8(output.stdout).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&said).unwrap();
    let commands: Vec<_> = plan["steps"].as_array().unwrap().iter().collect();
    assert!(commands.len() >= 5 && !said.contains("sesame"), "{said}");
    let starts = |step: &&&serde_json::Value| step["about"] == "starts process 0";
    assert!(commands.iter().any(|step| starts(&step)), "{said}");
    assert!(plan["look"]["status"].is_string(), "{said}");

    let alone = program()
        .args(["submit", "local", "--json"])
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(2), "--json needs --dry-run");
}

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
        Self::with_output(Stdio::null(), arguments, variables)
    }

    fn with_output(output: Stdio, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut process = program()
            .args(arguments)
            .args(["--status-address", "127.0.0.1:0"])
            .envs(variables.iter().copied())
            .stdout(output)
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

    /// Waits for the end. Returns the exit code and the lines that were not read yet.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let lines = self.lines.by_ref().map(|line| line.unwrap()).collect();
        (self.process.wait().unwrap().code(), lines)
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
fn a_job_whose_brokers_are_away_names_them_before_it_gives_up() {
    let (listener, brokers) = silent_broker();
    // Nothing listens on this port.
    for brokers in [&*brokers, "127.0.0.1:1"] {
        for client in ["native", "rdkafka"] {
            let mut run = Run::start(&["--brokers", brokers, "--client", client], &[]);
            let said = run.until("waiting for the log");
            let last = said.last().unwrap();
            assert!(last.contains(brokers), "{client}: {last}");
            let is_refused = brokers == "127.0.0.1:1" && client == "native";
            assert_eq!(last.contains("refused"), is_refused, "{client}: {last}");
            // A call gives up after some seconds, with an error.
            let has_given_up = said.iter().any(|line| line.contains("the attempt ended"));
            assert!(!has_given_up, "{client}: {said:?}");
            run.signal("INT");
            assert_eq!(run.end().0, Some(0));
        }
    }
    drop(listener);
}

/// Neither an attempt nor a window is open, so there is nothing to drain.
#[test]
fn one_signal_ends_a_job_that_waits_for_its_first_answer() {
    let (listener, brokers) = silent_broker();
    // Nothing listens on this port.
    for (brokers, is_silent) in [(&*brokers, true), ("127.0.0.1:1", false)] {
        for client in ["native", "rdkafka"] {
            let mut run = Run::start(&["--brokers", brokers, "--client", client], &[]);
            run.until("serves the status page");
            let _connection = is_silent.then(|| listener.accept().unwrap());

            run.signal("INT");
            let (code, said) = run.end();
            let last = said.last().unwrap();
            assert_eq!(code, Some(0), "{client}: {said:?}");
            assert!(last.contains("ended as requested"), "{client}: {said:?}");
            // A client gives up waiting after some seconds, with an error.
            let has_waited = said.iter().any(|line| line.contains("the attempt ended"));
            assert!(!has_waited, "{client}: {said:?}");
        }
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
    let (code, said) = run.end();
    assert_eq!(code, Some(0));
    // A job that gives up waiting ends with another line.
    let last = said.last().unwrap();
    assert!(last.contains("while it waited for a server"), "{said:?}");
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
        let (code, said) = run.end();
        assert_eq!(code, Some(0), "{signal}");
        let last = said.last().unwrap();
        assert!(last.contains("ended as requested"), "{signal}: {said:?}");
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
    let (code, said) = run.end();
    assert_eq!(code, Some(0));
    let last = said.last().unwrap();
    assert!(last.contains("ended as requested"), "{said:?}");
}

/// systemd and YARN send SIGTERM to all processes of a unit or a group, and the supervisor passes it on besides.
#[test]
fn a_supervised_job_that_is_terminated_twice_drains() {
    // Nothing listens on this port.
    let flags = ["--brokers", "127.0.0.1:1", "--client", "native"];
    let supervised = [("TIDEMARK_SUPERVISED", "true")];

    for (second, end) in [("TERM", "ended as requested"), ("USR1", "at once")] {
        let mut run = Run::start(&flags, &supervised);
        run.until("serves the status page");
        run.signal("TERM");
        run.signal(second);
        let (code, said) = run.end();
        assert_eq!(code, Some(0), "{second}");
        assert!(said.last().unwrap().contains(end), "{second}: {said:?}");
    }
}

/// No command finds a job whose supervisor was killed. The supervisor reads the signs of life on the standard output.
#[test]
fn a_job_whose_supervisor_is_gone_ends() {
    let Some(shop) = Shop::without_topic() else {
        return;
    };
    let missing = shop.input();
    let flags = ["--brokers", &shop.brokers, "--input-topic", &missing];
    let (supervisor, output) = std::io::pipe().unwrap();

    let mut run = Run::with_output(output.into(), &flags, &[("TIDEMARK_SUPERVISED", "true")]);
    run.until("the source topic does not exist");
    drop(supervisor);
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said:?}");
    assert!(
        said.iter()
            .any(|line| line.contains("the supervisor is gone")),
        "{said:?}"
    );
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

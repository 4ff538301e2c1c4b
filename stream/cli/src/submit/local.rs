//! A job on this machine: processes in the background, each below a supervisor, in a folder of their own.
//!
//! ```text
//! {folder}/releases/{hash}     programs, each named by its content
//! {folder}/job.json            the installed release, number of processes and variables
//! {folder}/process-{n}.pid, process-{n}.log
//! {folder}/checkpoints/        unless --checkpoints names another place
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plan::{Action, Background, Plan, Rollback, Step, words};
use super::variables::{Installed, Variables};
use crate::status::PORT;

/// The longest time from the start of a job until it is ready.
pub const READY_LIMIT: Duration = Duration::from_secs(120);
/// The longest time that a job may take to drain.
pub const STOP_LIMIT: Duration = Duration::from_secs(60);
/// The status address of process 0, if `TIDEMARK_STATUS_ADDRESS` is not set.
const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

/// The folder of a job.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

/// A version of the job's program.
#[derive(Clone, Debug)]
pub struct Release {
    /// The path of the program to be installed.
    pub program: PathBuf,
    /// The hash of its content.
    pub hash: String,
}

impl Folder {
    /// Returns the path of the file that describes the installed job.
    pub fn record(&self) -> PathBuf {
        self.0.join("job.json")
    }

    /// Returns the path of a process's log.
    pub fn log(&self, process: u16) -> PathBuf {
        self.0.join(format!("process-{process}.log"))
    }

    /// Returns the path of the file with the id of a process's supervisor.
    pub fn pid(&self, process: u16) -> PathBuf {
        self.0.join(format!("process-{process}.pid"))
    }

    fn program(&self, hash: &str) -> PathBuf {
        self.0.join("releases").join(hash)
    }

    /// Adds the variables that a job needs on this machine, where they are not given. Removes those that
    /// [`Folder::submit`] sets for each process.
    pub fn complete(&self, mut variables: Variables) -> Variables {
        let checkpoints = format!("file://{}", self.0.join("checkpoints").display());
        variables.set_default("TIDEMARK_CHECKPOINTS", checkpoints);
        variables.set_default("TIDEMARK_STATUS_ADDRESS", STATUS.to_string());
        variables.set_default("TIDEMARK_LOG", "info");

        for of_one_process in ["TIDEMARK_PROCESS", "TIDEMARK_PROCESSES"] {
            variables.remove(of_one_process);
        }

        variables
    }

    /// Installs the program and starts the job.
    pub fn submit(&self, release: &Release, installed: &Installed) -> Plan {
        let mut steps = vec![
            self.copy(release),
            self.examine(installed),
            self.record_step(installed),
        ];
        steps.extend(self.start(installed));

        Plan {
            steps,
            rollback: None,
            end: "the job runs".to_owned(),
            look: self.look(installed),
        }
    }

    /// Stops the job with a last checkpoint.
    pub fn cancel(&self, installed: &Installed) -> Plan {
        Plan {
            steps: vec![self.stop(installed)],
            end: "the job has drained and ended; its next start goes on from its last checkpoint"
                .to_owned(),
            look: vec![("checkpoints", self.checkpoints(installed))],
            ..Plan::default()
        }
    }

    /// Stops the job with a last checkpoint, and starts it with another program or number of processes. If the new job
    /// does not become ready, the rollback starts the old one again.
    pub fn replace(&self, release: Option<&Release>, old: &Installed, new: &Installed) -> Plan {
        let mut steps: Vec<Step> = release
            .map(|release| self.copy(release))
            .into_iter()
            .collect();
        steps.push(self.stop(old));

        let from = steps.len();
        steps.push(self.record_step(new));
        steps.extend(self.start(new));

        let mut back = vec![self.stop(new), self.record_step(old)];
        back.extend(self.start(old));

        Plan {
            steps,
            rollback: Some(Rollback { from, steps: back }),
            end: "the job goes on from its last checkpoint".to_owned(),
            look: self.look(new),
        }
    }

    fn copy(&self, release: &Release) -> Step {
        let action = Action::Copy {
            from: release.program.clone(),
            to: self.program(&release.hash),
        };
        Step::new(
            "copies the program to a path with the hash of its content",
            action,
        )
    }

    fn examine(&self, installed: &Installed) -> Step {
        let program = self.program(&installed.release);
        let action = Action::RunWith {
            command: words([program.display().to_string(), "doctor".to_owned()]),
            variables: installed.variables.clone(),
        };
        Step::new("examines the servers that the job needs", action)
    }

    fn record_step(&self, installed: &Installed) -> Step {
        let action = Action::Record {
            path: self.record(),
            installed: installed.clone(),
        };
        Step::new(
            "writes the installed release, processes and variables to a file",
            action,
        )
    }

    fn start(&self, installed: &Installed) -> Vec<Step> {
        let program = self.program(&installed.release).display().to_string();
        let processes = 0..installed.processes;

        let mut steps: Vec<Step> = processes
            .clone()
            .map(|process| {
                let mut variables = installed.variables.clone();
                variables.set("TIDEMARK_PROCESSES", installed.processes.to_string());
                variables.set("TIDEMARK_PROCESS", process.to_string());
                variables.set(
                    "TIDEMARK_STATUS_ADDRESS",
                    status(installed, process).to_string(),
                );

                let background = Background {
                    command: words([program.as_str(), "supervise"]),
                    variables,
                    log: self.log(process),
                    pid: self.pid(process),
                };
                Step::new(
                    format!("starts process {process}"),
                    Action::Start(background),
                )
            })
            .collect();

        steps.extend(processes.map(|process| {
            let action = Action::Ready {
                address: status(installed, process),
                limit: READY_LIMIT,
            };
            Step::new(format!("waits until process {process} is ready"), action)
        }));

        steps
    }

    fn stop(&self, installed: &Installed) -> Step {
        let pids = (0..installed.processes).map(|process| self.pid(process));
        let action = Action::Stop {
            pids: pids.collect(),
            limit: STOP_LIMIT,
        };
        Step::new("drains the job, with a last checkpoint", action)
    }

    fn look(&self, installed: &Installed) -> Vec<(&'static str, String)> {
        vec![
            ("status", format!("http://{}", status(installed, 0))),
            ("logs", self.log(0).display().to_string()),
            ("checkpoints", self.checkpoints(installed)),
        ]
    }

    fn checkpoints(&self, installed: &Installed) -> String {
        let set = installed.variables.get("TIDEMARK_CHECKPOINTS");
        set.unwrap_or_default().to_owned()
    }
}

/// Returns the status address of a process. The port of process `n` is `n` above that of process 0.
pub fn status(installed: &Installed, process: u16) -> SocketAddr {
    let set = installed.variables.get("TIDEMARK_STATUS_ADDRESS");
    let first = set.and_then(|set| set.parse().ok()).unwrap_or(STATUS);
    SocketAddr::new(first.ip(), first.port().saturating_add(process))
}

/// Returns the default folder of a job, below the user's folder for the state of programs.
pub fn usual_folder(state: Option<&Path>, home: Option<&Path>, job: &str) -> PathBuf {
    let state = state.map(Path::to_path_buf);
    let state = state.or_else(|| home.map(|home| home.join(".local/state")));
    state.unwrap_or_default().join("tidemark").join(job)
}

//! A job on this machine: processes in the background, each below a supervisor, in a folder of their own.
//!
//! ```text
//! {folder}/releases/{hash}     programs, each named by its content
//! {folder}/job.json            the installed release, number of processes, variables, and names of secrets from the terminal
//! {folder}/process-{n}.pid, process-{n}.log
//! {folder}/checkpoints/        unless --checkpoints names another place
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::installed::Installed;
use super::plan::{Action, Background, Plan, Rollback, Step, Surroundings, quoted, words};
use super::release::Release;
use super::variables::Variables;
use crate::status::PORT;

/// The longest time from the start of a job until it is ready.
pub const READY_LIMIT: Duration = Duration::from_secs(120);
/// The time that a job has to drain beyond its own limit, after which its supervisor kills it.
const STOP_MARGIN: Duration = Duration::from_secs(30);
/// The time to drain of a job that sets no limit.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// The time that processes have to end in a rollback, before they are killed.
const END_LIMIT: Duration = Duration::from_secs(10);
/// The status address of process 0, if `TIDEMARK_STATUS_ADDRESS` is not set.
const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);

/// The folder of a job.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

/// A job that is to replace the one that runs.
pub struct Replacement<'a> {
    /// Its program, if it is another one.
    pub release: Option<&'a Release>,
    pub old: &'a Installed,
    pub new: &'a Installed,
    /// The number of processes that may be running: more than `old` has if an earlier replacement failed.
    pub running: u16,
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

        let from = steps.len();
        steps.extend(self.start(installed));

        let rollback = Rollback {
            from,
            steps: vec![self.end(installed.processes)],
            before: "nothing was started",
            end: "the processes that had started are ended",
            mend: format!(
                "`cancel local {}` ends the processes",
                self.named(installed)
            ),
        };

        Plan {
            steps,
            rollback: Some(rollback),
            end: "the job runs".to_owned(),
            look: self.look(installed),
        }
    }

    /// Stops the job with a last checkpoint. `running` processes may be running.
    pub fn cancel(&self, installed: &Installed, running: u16) -> Plan {
        Plan {
            steps: vec![self.stop(installed, running)],
            end: "the job has drained and ended; its next start goes on from its last checkpoint"
                .to_owned(),
            look: vec![("checkpoints", self.checkpoints(installed))],
            ..Plan::default()
        }
    }

    /// Stops the job with a last checkpoint, and starts it with another program or number of processes. If the job does
    /// not drain, or the new one does not become ready, the rollback starts the old one again.
    pub fn replace(&self, replacement: &Replacement<'_>) -> Plan {
        let Replacement {
            release,
            old,
            new,
            running,
        } = *replacement;

        let copy = release.map(|release| self.copy(release));
        let mut steps: Vec<Step> = copy.into_iter().collect();
        // Some processes may have drained before the step fails.
        let from = steps.len();
        steps.push(self.stop(old, running));
        steps.push(self.record_step(new));
        steps.extend(self.start(new));

        // The record comes first, so that it is that of the job which is to run, even if a later step fails.
        let mut back = vec![self.record_step(old), self.end(running.max(new.processes))];
        back.extend(self.start(old));

        let rollback = Rollback {
            from,
            steps: back,
            before: "the job runs as before",
            end: "the former job runs again",
            mend: format!(
                "`rescale local {}` starts the former job again from its last checkpoint",
                self.named(old)
            ),
        };

        Plan {
            steps,
            rollback: Some(rollback),
            end: "the job goes on from its last checkpoint".to_owned(),
            look: self.look(new),
        }
    }

    /// Returns the flags that name the job.
    fn named(&self, installed: &Installed) -> String {
        let job = installed.variables.get("TIDEMARK_JOB").unwrap_or_default();
        let folder = self.0.display().to_string();
        format!("--job {} --folder {}", quoted(job), quoted(&folder))
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
            surroundings: Surroundings {
                variables: installed.variables.clone(),
                terminal: installed.terminal.clone(),
            },
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

        let addresses = processes.clone().map(|process| status(installed, process));
        let free = Action::Free {
            addresses: addresses.collect(),
        };
        let mut steps = vec![Step::new(
            "examines that no other program listens where the job serves its status",
            free,
        )];

        let starts = processes.clone().map(|process| {
            let mut variables = installed.variables.clone();
            variables.set("TIDEMARK_PROCESSES", installed.processes.to_string());
            variables.set("TIDEMARK_PROCESS", process.to_string());
            variables.set(
                "TIDEMARK_STATUS_ADDRESS",
                status(installed, process).to_string(),
            );

            let background = Background {
                command: words([program.as_str(), "supervise"]),
                surroundings: Surroundings {
                    variables,
                    terminal: installed.terminal.clone(),
                },
                log: self.log(process),
                pid: self.pid(process),
            };
            Step::new(
                format!("starts process {process}"),
                Action::Start(background),
            )
        });
        steps.extend(starts);

        steps.extend(processes.map(|process| {
            let action = Action::Ready {
                address: status(installed, process),
                limit: READY_LIMIT,
            };
            Step::new(format!("waits until process {process} is ready"), action)
        }));

        steps
    }

    fn stop(&self, installed: &Installed, running: u16) -> Step {
        let own = installed.variables.get("TIDEMARK_STOP_TIMEOUT");
        let own = own.and_then(|own| humantime::parse_duration(own).ok());
        let action = Action::Stop {
            pids: self.pids(running),
            limit: own.map_or(STOP_LIMIT, |own| own.saturating_add(STOP_MARGIN)),
        };
        Step::new("drains the job, with a last checkpoint", action)
    }

    fn end(&self, processes: u16) -> Step {
        let action = Action::End {
            pids: self.pids(processes),
            limit: END_LIMIT,
        };
        Step::new("ends the processes that still run", action)
    }

    fn pids(&self, processes: u16) -> Vec<PathBuf> {
        (0..processes).map(|process| self.pid(process)).collect()
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

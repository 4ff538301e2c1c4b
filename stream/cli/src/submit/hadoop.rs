//! A job as an application of YARN on any Hadoop cluster, submitted from a machine that has Hadoop's `yarn` and `hadoop`.
//!
//! ```text
//! {folder}/yarn.json           the job: its release, number of processes and variables
//! {folder}/yarn/{hash}, hadoop.sh, job.env    the files that each container gets
//! {folder}/yarn/client.sh, worked             starts the application again if it fails, once the job has worked
//! {folder}/client.log, client.pid             this script, which lives as long as the job
//! ```
//!
//! The variables may be secret, so they are in a file that only its owner may read, and not among the client's arguments. On the
//! cluster's file system the files are in the folder `{job}` of the user's home, which is closed to others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::installed::Installed;
use super::plan::{Action, Background, Plan, Rollback, Secret, Step, Surroundings, quoted, words};
use super::release::Release;
use super::terminal::Terminal;
use super::variables::Variables;
use super::yarn::{self, Application};

/// The longest time for containers to start and a job to be ready.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// The longest time for a job to drain and its application to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);
/// The script that starts a process in its container.
const SCRIPT: &str = include_str!("hadoop.sh");
/// The script that runs the client.
const CLIENT_SCRIPT: &str = include_str!("client.sh");
/// The longest time for the script of the client to end at SIGTERM.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);
/// The recorded variables with the flags of this place.
const JAR: &str = "JOB_SHELL_JAR";
const MEMORY: &str = "JOB_MEMORY_MB";

/// The containers of a job.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct ContainerFlags {
    /// Jar of YARN's DistributedShell on this machine
    #[arg(long, default_value = yarn::DATAPROC_JAR, value_name = "JAR")]
    pub shell_jar: String,

    /// Memory of each container in MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub memory_mb: u32,
}

/// A job in its folder on this machine.
pub struct YarnFolder<'a> {
    pub folder: &'a Path,
    pub job: &'a str,
}

/// A job that is to replace the one that runs.
pub struct YarnReplacement<'a> {
    /// Its program, if it is another one.
    pub release: Option<&'a Release>,
    pub old: &'a Installed,
    pub new: &'a Installed,
}

impl ContainerFlags {
    /// Adds these flags to the variables that are recorded.
    pub fn record(&self, variables: &mut Variables) {
        variables.set(JAR, self.shell_jar.clone());
        variables.set(MEMORY, self.memory_mb.to_string());
    }
}

/// Returns a command that runs a script of bash.
fn bash(script: &str) -> Vec<String> {
    words(["bash", "-c", script])
}

impl YarnFolder<'_> {
    /// Returns the path of the file that describes the job.
    pub fn record(&self) -> PathBuf {
        self.folder.join("yarn.json")
    }

    fn pid(&self) -> PathBuf {
        self.folder.join("client.pid")
    }

    fn work(&self) -> PathBuf {
        self.folder.join("yarn")
    }

    /// Returns a command that prints the ids of the job's applications that have not ended.
    pub fn applications(&self) -> Vec<String> {
        bash(&yarn::applications(self.job))
    }

    /// Returns a command that succeeds if all processes of the job are ready.
    pub fn are_ready(&self, installed: &Installed) -> Vec<String> {
        bash(&yarn::are_ready(self.job, installed.processes))
    }

    pub fn submit(&self, release: &Release, installed: &Installed) -> Plan {
        let absent = Action::Absent {
            list: self.applications(),
            reason: format!("job {} runs already: {{}}; `cancel yarn` ends it", self.job),
        };
        let close = format!(
            "hadoop fs -mkdir -p {job} && hadoop fs -chmod 700 {job}",
            job = quoted(self.job)
        );

        let mut steps = vec![
            Step::new("checks that the job does not run", absent),
            self.copy(release),
            self.examine(installed),
            Step::run(
                "closes the job's folder on the cluster to others",
                bash(&close),
            ),
        ];
        let from = steps.len();
        steps.extend(self.starts(installed));

        Plan {
            steps,
            rollback: Some(Rollback {
                from,
                steps: self.ends().into(),
                before: "nothing was started",
                end: "the application is ended",
                mend: "`status yarn` shows whether the job runs, and `cancel yarn` ends it"
                    .to_owned(),
            }),
            end: "the job runs".to_owned(),
            look: self.look(installed),
        }
    }

    /// Drains the job and waits until it has ended.
    pub fn cancel(&self) -> Plan {
        Plan {
            steps: self.drains().into(),
            rollback: Some(Rollback {
                from: 0,
                steps: Vec::new(),
                before: "",
                end: "`status yarn` shows whether the job still runs, and `yarn application -kill` with the id that it prints ends \
                      it without a drain",
                mend: String::new(),
            }),
            end: "the job has drained and ended; its next start goes on from its last checkpoint"
                .to_owned(),
            ..Plan::default()
        }
    }

    /// Drains the job, and starts it with its new size or its new program. If it does not drain, or is not ready then, the
    /// rollback ends the application and starts the former job.
    pub fn replace(&self, replacement: &YarnReplacement<'_>) -> Plan {
        let YarnReplacement { release, old, new } = *replacement;
        let copy = release.map(|release| self.copy(release));
        let mut steps: Vec<Step> = copy.into_iter().collect();
        let from = steps.len();
        steps.extend(self.drains());
        steps.extend(self.starts(new));

        let mut back: Vec<Step> = self.ends().into();
        back.extend(self.starts(old));
        Plan {
            steps,
            rollback: Some(Rollback {
                from,
                steps: back,
                before: "the job runs as before",
                end: "the former job runs again",
                mend: format!(
                    "`rescale yarn --job {}` starts the job again from its last checkpoint",
                    quoted(self.job)
                ),
            }),
            end: "the job goes on from its last checkpoint".to_owned(),
            look: self.look(new),
        }
    }

    /// Starts a job that has ended.
    pub fn start(&self, new: &Installed) -> Plan {
        Plan {
            steps: self.starts(new),
            end: "the job goes on from its last checkpoint".to_owned(),
            look: self.look(new),
            ..Plan::default()
        }
    }

    fn drains(&self) -> [Step; 3] {
        let drain = bash(&yarn::drain(self.job));
        [
            self.ends_client(),
            Step::run(
                "drains the job in its containers, with a last checkpoint",
                drain,
            ),
            self.gone(),
        ]
    }

    fn gone(&self) -> Step {
        let gone = Action::Gone {
            list: self.applications(),
            limit: DRAIN_LIMIT,
        };
        Step::new("waits until the application has ended", gone)
    }

    /// Ends the application without a drain.
    fn ends(&self) -> [Step; 3] {
        let kill = Action::Each {
            list: self.applications(),
            command: words(["yarn", "application", "-kill", "{}"]),
            none: None,
        };
        [
            self.ends_client(),
            Step::new("ends the application", kill),
            self.gone(),
        ]
    }

    fn ends_client(&self) -> Step {
        let end = Action::End {
            pids: vec![self.pid()],
            limit: CLIENT_LIMIT,
        };
        Step::new(
            "ends client.sh, which starts the application again if it fails",
            end,
        )
    }

    fn copy(&self, release: &Release) -> Step {
        let copy = Action::Copy {
            from: release.program.clone(),
            to: self.work().join(&release.hash),
        };
        Step::new(
            "copies the program to a path with the hash of its content",
            copy,
        )
    }

    fn examine(&self, installed: &Installed) -> Step {
        let program = self.work().join(&installed.release);
        let action = Action::RunWith {
            command: words([program.display().to_string(), "doctor".to_owned()]),
            surroundings: Surroundings {
                variables: installed.variables.clone(),
                terminal: installed.terminal.clone(),
            },
        };
        Step::new("examines the servers that the job needs", action)
    }

    /// Returns the steps that write the files of the job, start the client and wait until all processes work.
    fn starts(&self, installed: &Installed) -> Vec<Step> {
        let record = Action::Record {
            path: self.record(),
            installed: installed.clone(),
        };
        let script = Action::Script {
            path: self.work().join("hadoop.sh"),
            content: SCRIPT.to_owned(),
        };
        let client = Action::Script {
            path: self.work().join("client.sh"),
            content: CLIENT_SCRIPT.to_owned(),
        };
        let worked = self.work().join("worked");
        let names: Vec<&str> = installed.variables.names().collect();
        let variables = Action::Hidden {
            path: self.work().join("job.env"),
            content: Secret(self.environment(installed)),
            shown: format!("values of {}", names.join(" ")),
        };
        let ready = Action::RunUntil {
            command: self.are_ready(installed),
            limit: READY_LIMIT,
        };

        vec![
            Step::new(
                "writes the installed release, processes and variables to a file",
                record,
            ),
            Step::new("writes hadoop.sh, which starts a process", script),
            Step::new(
                "writes client.sh, which starts the application again if it fails",
                client,
            ),
            Step::new("writes the variables of the processes", variables),
            Step::new(
                "submits the application",
                Action::Start(self.client(installed)),
            ),
            Step::new("waits until the job works in its containers", ready),
            Step::run(
                "lets client.sh start the application again from now on",
                words(["touch".to_owned(), worked.display().to_string()]),
            ),
        ]
    }

    /// Returns the variables of all processes in the syntax of a shell.
    fn environment(&self, installed: &Installed) -> String {
        let mut variables = installed.variables.clone();
        // These are of the machine that submits, not of the nodes.
        for own in ["HOME", "PATH", "LD_LIBRARY_PATH", "TMPDIR"] {
            variables.remove(own);
        }
        variables.set("TIDEMARK_PROCESSES", installed.processes.to_string());
        variables.set("JOB_NAME", self.job);
        variables.set("JOB_PROGRAM", installed.release.clone());

        let lines = variables
            .iter()
            .map(|(name, value)| format!("{name}={}\n", quoted(value)));
        lines.collect()
    }

    fn client(&self, installed: &Installed) -> Background {
        let variables = &installed.variables;
        let number = |name: &str| variables.get(name).and_then(|set| set.parse::<u32>().ok());
        let files = format!("{},hadoop.sh,job.env", installed.release);
        let application = Application {
            name: self.job,
            jar: variables.get(JAR).unwrap_or(yarn::DATAPROC_JAR),
            processes: installed.processes,
            workers: number("TIDEMARK_WORKERS").unwrap_or(1),
            memory_mb: number(MEMORY).unwrap_or(2048),
            script: "hadoop.sh",
            files: &files,
            variables: Variables::default(),
        };

        let mut command = words(["bash", "client.sh", "yarn", yarn::CLIENT]);
        command.extend(application.arguments());
        Background {
            command,
            surroundings: Surroundings {
                variables: Variables::default(),
                // The client finds the files in this folder, and Hadoop's variables in this terminal.
                terminal: Terminal {
                    folder: self.work(),
                    inherited: hadoops(),
                },
            },
            log: self.folder.join("client.log"),
            pid: self.pid(),
        }
    }

    fn look(&self, installed: &Installed) -> Vec<(&'static str, String)> {
        let checkpoints = installed.variables.get("TIDEMARK_CHECKPOINTS");
        vec![
            (
                "status",
                format!("`status yarn --job {}`", quoted(self.job)),
            ),
            (
                "client",
                self.folder.join("client.log").display().to_string(),
            ),
            ("checkpoints", checkpoints.unwrap_or_default().to_owned()),
        ]
    }
}

/// Returns the names of the variables of this terminal that Hadoop's programs read.
fn hadoops() -> std::collections::BTreeSet<String> {
    let of_hadoop = |name: &String| {
        let exact = [
            "HOME",
            "PATH",
            "USER",
            "JAVA_HOME",
            "KRB5CCNAME",
            "KRB5_CONFIG",
        ];
        name.starts_with("HADOOP_") || name.starts_with("YARN_") || exact.contains(&name.as_str())
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(of_hadoop).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Runs client.sh for a job that has worked, with a client that ends with each of these exit codes in turn, and prints the
    /// text. Returns the script's exit code, the number of runs and the script's output.
    fn run(codes: &[u8], text: &str) -> (Option<i32>, usize, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // The script forgets that an earlier job worked; the client is the one to recall it, as `submit` does.
        let client = "touch worked; echo run >>runs; echo \"$0\"; exit \"$(sed -n \"$(wc -l <runs)p\" codes)\"";
        let lines: String = codes.iter().map(|code| format!("{code}\n")).collect();
        fs::write(path("codes"), lines).unwrap();
        fs::write(path("client.sh"), CLIENT_SCRIPT).unwrap();
        let mut log = fs::File::options();
        let log = log.create(true).append(true).open(path("log")).unwrap();

        let status = Command::new("bash")
            .args(["client.sh", "bash", "-c", client, text])
            .current_dir(folder.path())
            .env("JOB_PAUSE_S", "0")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status();
        let read = |name| fs::read_to_string(path(name)).unwrap();
        (
            status.unwrap().code(),
            read("runs").lines().count(),
            read("log"),
        )
    }

    #[test]
    fn an_application_that_failed_is_started_again_with_a_limit() {
        let (code, runs, log) = run(&[2, 2, 0], "the client's words");
        assert_eq!((code, runs), (Some(0), 3), "{log}");
        assert_eq!(log.matches("the client's words").count(), 3, "{log}");

        let (code, runs, log) = run(&[2; 20], "");
        assert_eq!((code, runs), (Some(2), 10), "{log}");
        assert!(log.contains("10 times within an hour"), "{log}");
    }

    #[test]
    fn an_application_that_was_refused_or_killed_is_not_started_again() {
        let (code, runs, log) = run(&[1, 0], "");
        assert_eq!((code, runs), (Some(1), 1), "{log}");

        let killed = "Application did not finish. YarnState=KILLED, DSFinalStatus=KILLED.";
        let (code, runs, log) = run(&[2, 0], killed);
        assert_eq!((code, runs), (Some(2), 1), "{log}");
    }

    #[test]
    fn the_clients_reports_of_each_second_are_not_kept() {
        let (_, _, log) = run(&[0], "INFO Client: Got application report from ASM");
        assert!(!log.contains("report"), "{log}");
    }
}

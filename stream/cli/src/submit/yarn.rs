//! A job as an application of YARN's DistributedShell: the arguments of its client, on Dataproc and on any Hadoop, and the
//! commands of Hadoop that find, drain and await its containers.

use super::google::STATUS_PORT;
use super::plan::{quoted, words};
use super::variables::Variables;

/// The client's class.
pub const CLIENT: &str = "org.apache.hadoop.yarn.applications.distributedshell.Client";
/// The path of DistributedShell in Dataproc's images.
pub const DATAPROC_JAR: &str = "/usr/lib/hadoop-yarn/hadoop-yarn-applications-distributedshell.jar";

/// The memory of the application's master.
const MASTER_MEMORY_MB: u32 = 512;
/// The longest life of an application that the client accepts, 24 days in milliseconds.
const LIFE_MS: i32 = i32::MAX;

/// An application.
pub struct Application<'a> {
    pub name: &'a str,
    pub jar: &'a str,
    pub processes: u16,
    pub workers: u32,
    pub memory_mb: u32,
    /// The script that starts a process, and the files that it reads, by name.
    pub script: &'a str,
    pub files: &'a str,
    pub variables: Variables,
}

impl Application<'_> {
    /// Returns the arguments of the client, which localizes the files from its folder.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = words([
            "-jar".to_owned(),
            self.jar.to_owned(),
            "-appname".to_owned(),
            self.name.to_owned(),
            "-num_containers".to_owned(),
            self.processes.to_string(),
            "-container_memory".to_owned(),
            self.memory_mb.to_string(),
            "-container_vcores".to_owned(),
            self.workers.to_string(),
            "-master_memory".to_owned(),
            MASTER_MEMORY_MB.to_string(),
            "-shell_command".to_owned(),
            // The shell that YARN starts would end at the SIGTERM that drains the job, and YARN would kill the job then.
            format!("exec bash {}", self.script),
            "-localize_files".to_owned(),
            self.files.to_owned(),
            "-timeout".to_owned(),
            LIFE_MS.to_string(),
        ]);

        for (name, value) in self.variables.iter() {
            arguments.extend(["-shell_env".to_owned(), format!("{name}={value}")]);
        }

        arguments
    }
}

/// Returns a script that prints the ids of the job's applications that have not ended.
pub fn applications(job: &str) -> String {
    let states = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING";
    format!(
        "set -o pipefail; yarn application -list -appStates {states} | awk -v name={} '$2 == name {{ print $1 }}'",
        quoted(job)
    )
}

/// Returns a script that sends SIGTERM to each process of the job, and fails if there is none. YARN sends no SIGKILL after this
/// signal, so that the job drains; its application succeeds when all processes have ended. Each signal takes seconds, and
/// processes that get theirs last wait for those that have ended already, up to the join limit: so several are sent at once.
pub fn drain(job: &str) -> String {
    format!(
        "{}; found=$(containers | awk '{{ print $1 }}'); [ -n \"$found\" ] && \
         xargs -P 8 -I '{{}}' yarn container -signal '{{}}' GRACEFUL_SHUTDOWN <<<\"$found\"",
        containers(job)
    )
}

/// Returns a script that succeeds if so many processes of the job are ready. Each serves its status on a port of its node, and
/// several on one node take ports in order.
pub fn are_ready(job: &str, processes: u16) -> String {
    format!(
        "{}; ready=0; for node in $(containers | awk '{{ print $2 }}' | sort -u); do \
         for ((port = {STATUS_PORT}; port < {STATUS_PORT} + {processes}; port++)); do \
         curl -sf -o /dev/null \"http://$node:$port/health/ready\" && ready=$((ready + 1)); done; done; [ $ready -ge {processes} ]",
        containers(job)
    )
}

/// Returns the definition of a shell function that prints a line for each container that runs a process of the job: its id, and
/// the host of its node. The first container of an attempt is the application's master.
fn containers(job: &str) -> String {
    format!(
        "containers() {{ local app attempt; \
         for app in $(yarn application -list -appStates RUNNING | awk -v name={} '$2 == name {{ print $1 }}'); do \
         for attempt in $(yarn applicationattempt -list \"$app\" | awk '$1 ~ /^appattempt_/ && $2 == \"RUNNING\" {{ print $1 }}'); do \
         yarn container -list \"$attempt\" | awk -F '\\t' '{{ gsub(/ /, \"\") }} \
         $1 ~ /^container_/ && $1 !~ /_000001$/ && $4 == \"RUNNING\" {{ sub(/:.*/, \"\", $5); print $1, $5 }}'; \
         done; done; }}",
        quoted(job)
    )
}

//! A job as an application of YARN's DistributedShell: the arguments of its client, on Dataproc and on any Hadoop.

use super::plan::words;
use super::variables::Variables;

/// The client's class.
pub const CLIENT: &str = "org.apache.hadoop.yarn.applications.distributedshell.Client";
/// Where Dataproc's images keep DistributedShell.
pub const DATAPROC_JAR: &str = "/usr/lib/hadoop-yarn/hadoop-yarn-applications-distributedshell.jar";

/// The memory of the application's master.
const MASTER_MEMORY_MB: u32 = 512;
/// The longest life of an application that the client takes, 24 days in milliseconds.
const LIFE_MS: i32 = i32::MAX;

/// An application.
pub struct Application<'a> {
    pub name: &'a str,
    pub jar: &'a str,
    pub processes: u16,
    pub workers: u16,
    pub memory_mb: u32,
    pub variables: Variables,
}

impl Application<'_> {
    /// Returns the arguments of the client, which localizes the program and run.sh from its folder.
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
            "bash run.sh".to_owned(),
            "-localize_files".to_owned(),
            "order-analytics,run.sh".to_owned(),
            "-timeout".to_owned(),
            LIFE_MS.to_string(),
        ]);
        for (name, value) in self.variables.iter() {
            arguments.extend(["-shell_env".to_owned(), format!("{name}={value}")]);
        }
        arguments
    }
}

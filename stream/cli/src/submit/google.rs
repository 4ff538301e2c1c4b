//! A job on Google Cloud, whether on machines of its own (`gce`) or as a YARN application of a Dataproc cluster (`dataproc`):
//! its description, its variables and its objects. The program's bootstrap scripts are those that Terraform uses, too.
//!
//! The program, its scripts and the job's description lie in a bucket, each under the hash of its content, and are created
//! once. Each machine, and each entry of Dataproc, has the URL of the description, so that any machine can find the job again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::{Action, Step, words};
use super::release::{Release, hash};
use super::variables::Variables;

/// The port on which a process serves the job's status.
pub const STATUS_PORT: u16 = 5006;
/// The port on which the processes listen for each other.
pub const CLUSTER_PORT: u16 = 5110;
/// The name of the object that describes a job.
pub const DESCRIPTION: &str = "job.json";
/// The variables that run.sh makes itself.
const MADE: [&str; 5] = [
    "TIDEMARK_PROPERTIES",
    "TIDEMARK_CLUSTER_SECRET",
    "TIDEMARK_PROCESS",
    "TIDEMARK_PROCESSES",
    "TIDEMARK_HOSTS",
];

/// The scripts by which a job starts on Google Cloud.
///
/// ```
/// use stream_cli::{Bootstrap, NoFlags, Program};
/// # use std::time::Duration;
/// # use stream::{Count, Job, JobError, Pipeline, Windows};
/// # fn visits(job: Job) -> Result<Pipeline<u64, Count>, JobError> {
/// #     Ok(job
/// #         .source("visits", |record: &record_log::Record<'_>| Ok((record.log_time_ms, 7)))
/// #         .window(Windows::tumbling(Duration::from_secs(60))?)
/// #         .aggregate(|visitor: u64| [(visitor, Count(1))])
/// #         .sink("visit-counts", |_, _| {}))
/// # }
///
/// // A program has them by `include_str!`.
/// let scripts = Bootstrap { run: "exec ./visits", startup: "${unit}", unit: "[Unit]" };
/// let program: Program<NoFlags> = Program::of("visits", visits).bootstrap(scripts);
/// assert!(program.command_line().find_subcommand("submit").is_some());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Bootstrap {
    /// Starts one process: fetches the password, and finds the other processes.
    pub run: &'static str,
    /// Prepares a machine; a template whose placeholders are `${release}`, `${run}`, `${environment}`, `${hosts}` and
    /// `${unit}`.
    pub startup: &'static str,
    /// The unit of systemd.
    pub unit: &'static str,
}

/// The project, region and bucket of a job on Google Cloud, and its user of Kafka.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, clap::Args)]
#[group(skip)]
pub struct CloudFlags {
    /// Project of Google Cloud
    #[arg(long, env = "CLOUDSDK_CORE_PROJECT", value_name = "PROJECT")]
    pub project: String,

    /// Region
    #[arg(
        long,
        env = "CLOUDSDK_COMPUTE_REGION",
        default_value = "europe-west3",
        value_name = "REGION"
    )]
    pub region: String,

    /// Bucket of releases: gs://BUCKET
    #[arg(long, value_name = "URL")]
    pub releases: String,

    /// Secret that holds Kafka's password, as in projects/PROJECT/secrets/NAME
    #[arg(long, value_name = "SECRET")]
    pub secret: String,

    /// User of Kafka
    #[arg(long, default_value = "stream", value_name = "USER")]
    pub kafka_user: String,
}

/// The machines of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, clap::Args)]
#[group(skip)]
pub struct MachineFlags {
    /// Zone of the machines
    #[arg(long, default_value = "europe-west3-a", value_name = "ZONE")]
    pub zone: String,

    /// Type of the machines
    #[arg(long, default_value = "n2d-standard-2", value_name = "TYPE")]
    pub machine_type: String,

    /// Subnet of the machines
    #[arg(long, value_name = "SUBNET")]
    pub subnet: String,

    /// Service account of the machines
    #[arg(long, value_name = "ACCOUNT")]
    pub service_account: String,
}

/// The cluster that runs a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, clap::Args)]
#[group(skip)]
pub struct ClusterFlags {
    /// Dataproc cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,

    /// Memory of each container in MiB
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    pub memory_mb: u32,
}

/// The description of a job. It contains no secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CloudJob<P> {
    pub name: String,
    /// The hash of its program.
    pub release: String,
    /// The hash of run.sh.
    pub run: String,
    /// The hash of the machines' start-up script, if it has one.
    pub startup: Option<String>,
    pub processes: u16,
    pub variables: Variables,
    pub cloud: CloudFlags,
    /// Its machines, or its cluster.
    pub place: P,
}

impl<P: Clone + Serialize> CloudJob<P> {
    /// Returns the job with another size.
    pub fn resized(&self, processes: Option<u16>, workers: Option<u16>) -> Self {
        let mut resized = self.clone();
        resized.processes = processes.unwrap_or(self.processes);
        if let Some(workers) = workers {
            resized
                .variables
                .set("TIDEMARK_WORKERS", workers.to_string());
        }
        resized
    }

    /// Returns the URL of a content of the job.
    pub fn url(&self, hash: &str, name: &str) -> String {
        let bucket = self.cloud.releases.trim_end_matches('/');
        format!("{bucket}/{hash}/{name}")
    }

    pub fn program_url(&self) -> String {
        self.url(&self.release, "order-analytics")
    }

    pub fn run_url(&self) -> String {
        self.url(&self.run, "run.sh")
    }

    /// Returns the URL of the description.
    pub fn description_url(&self) -> String {
        self.url(&hash(self.description().as_bytes()), DESCRIPTION)
    }

    fn description(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// Returns the steps that upload the program and run.sh.
    pub fn uploads(&self, release: &Release, bootstrap: &Bootstrap, folder: &Path) -> Vec<Step> {
        let mut steps = vec![self.upload(&release.program, &self.program_url())];
        steps.extend(self.written(folder, &self.run_url(), bootstrap.run));
        steps
    }

    /// Returns the steps that upload the description.
    pub fn describes(&self, folder: &Path) -> [Step; 2] {
        self.written(folder, &self.description_url(), &self.description())
    }

    /// Returns the steps that write a content to a file of this machine, and upload it.
    pub fn written(&self, folder: &Path, url: &str, content: &str) -> [Step; 2] {
        let name = url.rsplit('/').next().unwrap_or_default();
        let path = scripts_folder(folder).join(name);
        let write = Action::Script {
            path: path.clone(),
            content: content.to_owned(),
        };
        [
            Step::new(format!("writes {name}"), write),
            self.upload(&path, url),
        ]
    }

    fn upload(&self, file: &Path, url: &str) -> Step {
        let name = url.rsplit('/').next().unwrap_or_default();
        let project = format!("--project={}", self.cloud.project);
        let check = words(["gcloud", "storage", "objects", "describe", url, &project]);
        let write = words([
            "gcloud",
            "storage",
            "cp",
            "--if-generation-match=0",
            &project,
            &file.display().to_string(),
            url,
        ]);

        Step::new(
            format!("uploads {name} under the hash of its content, once"),
            Action::RunUnless { check, write },
        )
    }

    pub fn checkpoints(&self) -> &str {
        self.variables
            .get("TIDEMARK_CHECKPOINTS")
            .unwrap_or_default()
    }

    /// The variables of a process, with those that run.sh reads.
    pub fn environment(&self) -> Variables {
        let mut variables = self.variables.clone();
        let bucket = self
            .checkpoints()
            .trim_start_matches("gs://")
            .split('/')
            .next();
        let rendezvous = format!("{}/{}-rendezvous", bucket.unwrap_or_default(), self.name);

        variables.set("TIDEMARK_JOB", &self.name);
        variables.set("TIDEMARK_STATUS_ADDRESS", format!("0.0.0.0:{STATUS_PORT}"));
        variables.set_default("TIDEMARK_LOG", "info");
        variables.set("TIDEMARK_LOG_FORMAT", "json");
        variables.set("JOB_PROCESSES", self.processes.to_string());
        variables.set("JOB_CLUSTER_PORT", CLUSTER_PORT.to_string());
        variables.set("JOB_KAFKA_USER", self.cloud.kafka_user.clone());
        variables.set(
            "JOB_SECRET",
            format!("{}/versions/latest", self.cloud.secret),
        );

        variables.set("JOB_RENDEZVOUS", rendezvous);
        variables
    }
}

/// Returns the variables of a job without those that run.sh makes itself, which may be secret.
pub fn described(mut variables: Variables) -> Variables {
    for made in MADE {
        variables.remove(made);
    }
    variables
}

/// Returns a command that prints an object.
pub fn cat(url: &str, project: &str) -> Vec<String> {
    words(
        ["gcloud", "storage", "cat", url]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--project={project}")]),
    )
}

/// Returns the folder to which scripts of a job are written on this machine.
pub fn scripts_folder(state: &Path) -> PathBuf {
    state.join("scripts")
}

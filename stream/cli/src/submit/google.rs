//! A job on Google Cloud: on machines of its own (`gce`), or as a YARN application of a Dataproc cluster (`dataproc`). The
//! program's bootstrap scripts are those that Terraform uses, too.
//!
//! The program and its scripts lie in a bucket, each under the hash of its content, and are created once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::local::Release;
use super::plan::{Action, Plan, Step, words};
use super::variables::Variables;
use super::yarn::{self, Application};

/// How long machines may take to start and a job to be ready.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// Where a machine serves the job's status.
const STATUS_PORT: u16 = 5006;
/// Where the processes listen for each other.
const CLUSTER_PORT: u16 = 5110;

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
    /// Prepares a machine; a template whose holes are `${release}`, `${run}`, `${environment}`, `${hosts}` and `${unit}`.
    pub startup: &'static str,
    /// The unit of systemd.
    pub unit: &'static str,
}

/// Where a job is, and who it is there.
#[derive(Clone, Debug, clap::Args)]
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

/// A job to be submitted.
#[derive(Clone, Debug)]
pub struct CloudJob<'a> {
    pub name: &'a str,
    pub release: &'a Release,
    pub run: &'a Release,
    /// The content of `run`.
    pub script: &'static str,
    pub processes: u16,
    pub workers: u16,
    pub variables: Variables,
    pub cloud: &'a CloudFlags,
}

/// The machines of a job.
#[derive(Clone, Debug, clap::Args)]
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

/// Where the machines of a job are.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct ZoneFlags {
    /// Project of Google Cloud
    #[arg(long, env = "CLOUDSDK_CORE_PROJECT", value_name = "PROJECT")]
    pub project: String,

    /// Zone of the machines
    #[arg(long, default_value = "europe-west3-a", value_name = "ZONE")]
    pub zone: String,
}

/// The cluster that runs a job.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct ClusterFlags {
    /// Dataproc cluster
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: String,

    /// Memory of each container in MiB
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    pub memory_mb: u32,
}

impl CloudJob<'_> {
    fn url(&self, release: &Release, name: &str) -> String {
        let bucket = self.cloud.releases.trim_end_matches('/');
        format!("{bucket}/{}/{name}", release.hash)
    }

    fn program_url(&self) -> String {
        self.url(self.release, "order-analytics")
    }

    fn run_url(&self) -> String {
        self.url(self.run, "run.sh")
    }

    fn upload(&self, release: &Release, name: &str) -> Step {
        let url = self.url(release, name);
        let file = release.program.display().to_string();
        let check = words(["gcloud", "storage", "objects", "describe", &url]);
        let write = words([
            "gcloud",
            "storage",
            "cp",
            "--if-generation-match=0",
            &file,
            &url,
        ]);
        Step::new(
            format!("uploads {name} under the hash of its content, once"),
            Action::RunUnless { check, write },
        )
    }

    fn uploads(&self) -> Vec<Step> {
        let write = Action::Script {
            path: self.run.program.clone(),
            content: self.script.to_owned(),
        };
        vec![
            self.upload(self.release, "order-analytics"),
            Step::new("writes run.sh, which starts a process", write),
            self.upload(self.run, "run.sh"),
        ]
    }

    /// The variables of a process, with those that run.sh reads.
    fn environment(&self) -> Variables {
        let mut variables = self.variables.clone();
        // run.sh makes these itself.
        for made in [
            "TIDEMARK_PROPERTIES",
            "TIDEMARK_CLUSTER_SECRET",
            "TIDEMARK_PROCESS",
            "TIDEMARK_PROCESSES",
            "TIDEMARK_HOSTS",
        ] {
            variables.remove(made);
        }
        let checkpoints = variables.get("TIDEMARK_CHECKPOINTS").unwrap_or_default();
        let bucket = checkpoints.trim_start_matches("gs://").split('/').next();
        let rendezvous = format!("{}/{}-rendezvous", bucket.unwrap_or_default(), self.name);

        variables.set("TIDEMARK_JOB", self.name);
        variables.set("TIDEMARK_WORKERS", self.workers.to_string());
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

fn machine(job: &str, number: u16) -> String {
    format!("{job}-{number}")
}

/// Fills the holes of the start-up script, in the way of Terraform's `templatefile`.
fn startup(bootstrap: &Bootstrap, job: &CloudJob<'_>) -> String {
    let machines =
        (0..job.processes).map(|number| format!("{}:{CLUSTER_PORT}", machine(job.name, number)));
    let hosts: Vec<String> = machines.collect();
    let environment: Vec<String> = job
        .environment()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();

    let filled = [
        ("${release}", job.program_url()),
        ("${run}", job.run_url()),
        ("${environment}", environment.join("\n")),
        ("${hosts}", hosts.join(",")),
        ("${unit}", bootstrap.unit.to_owned()),
    ];
    // Variables of the shell are written with a second dollar, `$${NAME}`, and are not filled in.
    let mut script = bootstrap.startup.replace("$${", "\u{0}");
    for (hole, value) in filled {
        script = script.replace(hole, &value);
    }
    script.replace('\u{0}', "${")
}

pub fn submit_gce(
    job: &CloudJob<'_>,
    machines: &MachineFlags,
    bootstrap: &Bootstrap,
    folder: &Path,
) -> Plan {
    let script = folder.join("startup.sh");
    let mut steps = job.uploads();
    steps.push(Step::new(
        "writes the machines' start-up script",
        Action::Script {
            path: script.clone(),
            content: startup(bootstrap, job),
        },
    ));
    steps.extend((0..job.processes).map(|number| create_machine(job, machines, number, &script)));
    steps.extend((0..job.processes).map(|number| {
        let name = machine(job.name, number);
        let question = format!("curl -sf localhost:{STATUS_PORT}/health/ready");
        Step::new(
            format!("waits until the job on {name} works"),
            Action::RunUntil {
                command: ssh(&job.cloud.project, &machines.zone, &name, &question),
                limit: READY_LIMIT,
            },
        )
    }));

    let first = machine(job.name, 0);
    Plan {
        steps,
        rollback: None,
        end: "the job runs".to_owned(),
        look: vec![
            (
                "status",
                format!(
                    "gcloud compute ssh {first} --tunnel-through-iap -- -L {STATUS_PORT}:localhost:{STATUS_PORT}, then http://localhost:{STATUS_PORT}"
                ),
            ),
            ("logs", format!("journalctl -u order-analytics on {first}")),
            (
                "checkpoints",
                job.variables
                    .get("TIDEMARK_CHECKPOINTS")
                    .unwrap_or_default()
                    .to_owned(),
            ),
        ],
    }
}

fn create_machine(job: &CloudJob<'_>, machines: &MachineFlags, number: u16, script: &Path) -> Step {
    let name = machine(job.name, number);
    let command = words([
        "gcloud".to_owned(),
        "compute".to_owned(),
        "instances".to_owned(),
        "create".to_owned(),
        name.clone(),
        format!("--project={}", job.cloud.project),
        format!("--zone={}", machines.zone),
        format!("--machine-type={}", machines.machine_type),
        format!("--subnet={}", machines.subnet),
        "--no-address".to_owned(),
        "--image-family=debian-12".to_owned(),
        "--image-project=debian-cloud".to_owned(),
        "--shielded-secure-boot".to_owned(),
        format!("--service-account={}", machines.service_account),
        "--scopes=cloud-platform".to_owned(),
        format!("--labels=tidemark-job={}", job.name),
        format!("--metadata=process={number},enable-oslogin=true,serial-port-logging-enable=true"),
        format!("--metadata-from-file=startup-script={}", script.display()),
    ]);
    Step::new(format!("creates the machine {name}"), Action::Run(command))
}

fn ssh(project: &str, zone: &str, machine: &str, command: &str) -> Vec<String> {
    words([
        "gcloud".to_owned(),
        "compute".to_owned(),
        "ssh".to_owned(),
        machine.to_owned(),
        format!("--project={project}"),
        format!("--zone={zone}"),
        "--tunnel-through-iap".to_owned(),
        format!("--command={command}"),
    ])
}

/// Drains the job on its machines, and deletes them.
pub fn cancel_gce(ZoneFlags { project, zone }: &ZoneFlags, job: &str, processes: u16) -> Plan {
    let names: Vec<String> = (0..processes).map(|number| machine(job, number)).collect();
    let mut steps: Vec<Step> = names
        .iter()
        .map(|name| {
            let stop = "sudo systemctl stop order-analytics";
            Step::run(
                format!("drains the job on {name}, with a last checkpoint"),
                ssh(project, zone, name, stop),
            )
        })
        .collect();

    let mut delete = words(["gcloud", "compute", "instances", "delete", "--quiet"]);
    delete.push(format!("--project={project}"));
    delete.push(format!("--zone={zone}"));
    delete.extend(names);
    steps.push(Step::run("deletes the machines", delete));
    Plan {
        steps,
        end: "the job has drained and ended; its next start goes on from its last checkpoint"
            .to_owned(),
        ..Plan::default()
    }
}

pub fn submit_dataproc(job: &CloudJob<'_>, cluster: &ClusterFlags) -> Plan {
    let application = Application {
        name: job.name,
        jar: yarn::DATAPROC_JAR,
        processes: job.processes,
        workers: job.workers,
        memory_mb: cluster.memory_mb,
        variables: job.environment(),
    };
    let mut command = words([
        "gcloud".to_owned(),
        "dataproc".to_owned(),
        "jobs".to_owned(),
        "submit".to_owned(),
        "hadoop".to_owned(),
        format!("--project={}", job.cloud.project),
        format!("--region={}", job.cloud.region),
        format!("--cluster={}", cluster.cluster),
        format!("--class={}", yarn::CLIENT),
        format!("--jars=file://{}", yarn::DATAPROC_JAR),
        format!("--files={},{}", job.program_url(), job.run_url()),
        format!("--labels=tidemark-job={}", job.name),
        "--max-failures-per-hour=10".to_owned(),
        "--max-failures-total=240".to_owned(),
        "--async".to_owned(),
        "--".to_owned(),
    ]);
    command.extend(application.arguments());

    let mut steps = job.uploads();
    steps.push(Step::run("submits the YARN application", command));
    let filter = format!("labels.tidemark-job={} AND status.state=ACTIVE", job.name);
    Plan {
        steps,
        end: "Dataproc has the job".to_owned(),
        look: vec![
            (
                "status",
                format!(
                    "gcloud dataproc jobs list --region={} --filter='{filter}'",
                    job.cloud.region
                ),
            ),
            (
                "checkpoints",
                job.variables
                    .get("TIDEMARK_CHECKPOINTS")
                    .unwrap_or_default()
                    .to_owned(),
            ),
        ],
        ..Plan::default()
    }
}

/// The name under which scripts of a job are written on this machine.
pub fn scripts_folder(state: &Path) -> PathBuf {
    state.join("scripts")
}

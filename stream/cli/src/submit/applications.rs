//! A job as an application of a Dataproc cluster: the commands that find it, and the plans that start, replace and end it.
//!
//! Dataproc's jobs carry the name of the job as a label, because Dataproc chooses their ids. The processes are drained and
//! awaited on the cluster's master, by Hadoop's own commands, since Dataproc itself can only kill an application.

use std::path::Path;
use std::time::Duration;

use super::google::{Bootstrap, CloudJob, ClusterFlags};
use super::plan::{Action, Plan, Rollback, Step, shell, words};
use super::release::Release;
use super::yarn::{self, Application};

/// The longest time for containers to start and a job to be ready.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// The longest time for a job to drain and its application to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(300);

/// The project and region of a Dataproc cluster.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct RegionFlags {
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
}

/// A job on a cluster.
pub type ClusterJob = CloudJob<ClusterFlags>;

/// The machine of a cluster on which Hadoop's commands run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Master {
    pub name: String,
    pub zone: String,
}

/// A job that is to replace the one that runs.
pub struct ClusterReplacement<'a> {
    /// Its program, if it is another one.
    pub release: Option<&'a Release>,
    pub old: &'a ClusterJob,
    pub new: &'a ClusterJob,
    pub master: &'a Master,
    pub bootstrap: &'a Bootstrap,
    /// The job's folder on this machine.
    pub folder: &'a Path,
}

impl Master {
    /// Reads the first master and the zone from the answer to [`RegionFlags::masters`].
    pub fn parse(answer: &str) -> Option<Self> {
        let (name, zone) = answer.trim().split_once('\t')?;
        // The zone is a URL that ends with its name.
        let zone = zone.rsplit('/').next()?;
        Some(Self {
            name: name.to_owned(),
            zone: zone.to_owned(),
        })
    }

    /// Returns a command that runs a script of bash there.
    fn bash(&self, project: &str, script: &str) -> Vec<String> {
        let script = shell(&words(["bash", "-c", script]));
        words([
            "gcloud".to_owned(),
            "compute".to_owned(),
            "ssh".to_owned(),
            self.name.clone(),
            "--quiet".to_owned(),
            format!("--project={project}"),
            format!("--zone={}", self.zone),
            "--tunnel-through-iap".to_owned(),
            format!("--command={script}"),
        ])
    }
}

impl RegionFlags {
    /// Returns a command that prints the job's entries that have not ended in this format.
    pub fn list(&self, job: &str, format: &str) -> Vec<String> {
        let mut command = self.command("jobs", ["list"]);
        command.extend([
            format!("--filter=labels.tidemark-job={job} AND status.state=ACTIVE"),
            format!("--format={format}"),
        ]);
        command
    }

    /// Returns a command that prints the first master of a cluster, and its zone.
    pub fn masters(&self, cluster: &str) -> Vec<String> {
        let mut command = self.command("clusters", ["describe", cluster]);
        command.push(
            "--format=value(config.masterConfig.instanceNames[0],config.gceClusterConfig.zoneUri)"
                .to_owned(),
        );
        command
    }

    /// Returns a command that prints the output of an entry until it ends.
    pub fn wait(&self, id: &str) -> Vec<String> {
        self.command("jobs", ["wait", id])
    }

    /// Drains the job and waits until it has ended.
    pub fn cancel(&self, job: &str, master: &Master) -> Plan {
        Plan {
            steps: self.drains(job, master).into(),
            rollback: Some(Rollback {
                from: 0,
                steps: Vec::new(),
                before: "",
                end: "`status dataproc` shows whether the job still runs, and `cancel dataproc --kill` ends it without a drain",
                mend: String::new(),
            }),
            end: "the job has drained and ended; its next start goes on from its last checkpoint"
                .to_owned(),
            ..Plan::default()
        }
    }

    /// Ends the job at once. YARN kills its containers, so the job does not drain.
    pub fn kill(&self, job: &str) -> Plan {
        let none = format!("job {job} is not active in {}", self.region);
        Plan {
            steps: vec![self.kills(job, Some(none))],
            rollback: Some(Rollback {
                from: 0,
                steps: Vec::new(),
                before: "",
                end: "`status dataproc` shows whether the job still runs, and `cancel dataproc --kill` again ends it",
                mend: String::new(),
            }),
            end: "the job has ended without a drain; its next start goes on from its last checkpoint and repeats what came after"
                .to_owned(),
            ..Plan::default()
        }
    }

    /// Returns a step that kills the job's entries. Fails with `none` if there are none.
    fn kills(&self, job: &str, none: Option<String>) -> Step {
        let kill = Action::Each {
            list: self.list(job, "value(reference.jobId)"),
            command: [
                self.command("jobs", ["kill", "{}"]),
                vec!["--quiet".to_owned()],
            ]
            .concat(),
            none,
        };
        Step::new("ends the YARN application", kill)
    }

    /// Returns the steps that drain the job and wait until its entry has ended.
    fn drains(&self, job: &str, master: &Master) -> [Step; 2] {
        let drain = master.bash(&self.project, &yarn::drain(job));
        let gone = Action::Gone {
            list: self.list(job, "value(reference.jobId)"),
            limit: DRAIN_LIMIT,
        };
        [
            Step::run(
                "drains the job in its containers, with a last checkpoint",
                drain,
            ),
            Step::new("waits until the YARN application has ended", gone),
        ]
    }

    fn command<const WORDS: usize>(&self, of: &str, verb: [&str; WORDS]) -> Vec<String> {
        let mut command = words(["gcloud", "dataproc", of]);
        command.extend(verb.map(str::to_owned));
        command.push(format!("--project={}", self.project));
        command.push(format!("--region={}", self.region));
        command
    }
}

/// Returns the region of a job's cluster.
pub fn region(job: &ClusterJob) -> RegionFlags {
    RegionFlags {
        project: job.cloud.project.clone(),
        region: job.cloud.region.clone(),
    }
}

pub fn submit(
    job: &ClusterJob,
    release: &Release,
    master: &Master,
    bootstrap: &Bootstrap,
    folder: &Path,
) -> Plan {
    let absent = Action::Absent {
        list: region(job).list(&job.name, "value(reference.jobId)"),
        reason: format!(
            "job {} is active in Dataproc already: {{}}; `cancel dataproc` ends it",
            job.name
        ),
    };

    let mut steps = vec![Step::new("checks that the job is not active", absent)];
    steps.extend(job.uploads(release, bootstrap, folder));
    steps.extend(job.describes(folder));
    let from = steps.len();
    steps.extend(starts(job, master));

    Plan {
        steps,
        rollback: Some(Rollback {
            from,
            steps: Vec::new(),
            before: "nothing was started",
            end: "`status dataproc` shows whether the job is active, and `cancel dataproc --kill` ends it",
            mend: String::new(),
        }),
        end: "the job runs".to_owned(),
        look: look(job, master),
    }
}

/// Drains the job, and starts it with its new size or its new program. If it does not drain, or is not ready then, the rollback
/// ends the application and starts the former job.
pub fn replace(replacement: &ClusterReplacement<'_>) -> Plan {
    let ClusterReplacement {
        release,
        old,
        new,
        master,
        bootstrap,
        folder,
    } = *replacement;

    let at = region(old);
    let mut steps = Vec::new();
    if let Some(release) = release {
        steps.extend(new.uploads(release, bootstrap, folder));
    }
    steps.extend(new.describes(folder));
    let reached = master.bash(&old.cloud.project, "command -v yarn curl");
    steps.push(Step::run("checks that the master can be reached", reached));

    let from = steps.len();
    steps.extend(at.drains(&old.name, master));
    steps.extend(starts(new, master));

    let mut back = vec![at.kills(&old.name, None)];
    back.extend(starts(old, master));

    Plan {
        steps,
        rollback: Some(Rollback {
            from,
            steps: back,
            before: "the job runs as before",
            end: "the former job runs again",
            mend: format!(
                "`status dataproc` shows whether the job is active; after `cancel dataproc --kill`, `submit dataproc` with the \
                 settings in {} starts the former job again from its last checkpoint",
                old.description_url()
            ),
        }),
        end: "the job goes on from its last checkpoint".to_owned(),
        look: look(new, master),
    }
}

/// Returns the steps that submit the application and wait until all of its processes work.
fn starts(job: &ClusterJob, master: &Master) -> [Step; 2] {
    let ready = Action::RunUntil {
        command: master.bash(
            &job.cloud.project,
            &yarn::are_ready(&job.name, job.processes),
        ),
        limit: READY_LIMIT,
    };
    [
        Step::run("submits the YARN application", submits(job)),
        Step::new("waits until the job works in its containers", ready),
    ]
}

fn submits(job: &ClusterJob) -> Vec<String> {
    let workers = job.variables.get("TIDEMARK_WORKERS");
    let application = Application {
        name: &job.name,
        jar: yarn::DATAPROC_JAR,
        processes: job.processes,
        workers: workers.and_then(|set| set.parse().ok()).unwrap_or(1),
        memory_mb: job.place.memory_mb,
        script: "run.sh",
        files: "order-analytics,run.sh",
        variables: job.environment(),
    };

    let files = [job.program_url(), job.run_url(), job.description_url()];
    let mut command = words([
        "gcloud".to_owned(),
        "dataproc".to_owned(),
        "jobs".to_owned(),
        "submit".to_owned(),
        "hadoop".to_owned(),
        format!("--project={}", job.cloud.project),
        format!("--region={}", job.cloud.region),
        format!("--cluster={}", job.place.cluster),
        format!("--class={}", yarn::CLIENT),
        format!("--jars=file://{}", yarn::DATAPROC_JAR),
        format!("--files={}", files.join(",")),
        format!("--labels=tidemark-job={}", job.name),
        "--max-failures-per-hour=10".to_owned(),
        "--max-failures-total=240".to_owned(),
        "--async".to_owned(),
        "--".to_owned(),
    ]);

    command.extend(application.arguments());
    command
}

fn look(job: &ClusterJob, master: &Master) -> Vec<(&'static str, String)> {
    let status = format!(
        "gcloud compute ssh {} --zone={} --tunnel-through-iap, then the pages of YARN's nodes on port 5006",
        master.name, master.zone
    );
    vec![
        ("status", status),
        ("checkpoints", job.checkpoints().to_owned()),
        ("settings", job.description_url()),
    ]
}

//! A job on machines of Google Compute Engine, one for each process: the commands that find the machines and run on them, and
//! the plans that start, replace and end the job.
//!
//! The machines of a job carry its name as a label, so that all are found, however many there are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::google::{Bootstrap, CLUSTER_PORT, CloudJob, MachineFlags, STATUS_PORT, scripts_folder};
use super::plan::{Action, Plan, Rollback, Step, words};
use super::release::{Release, hash};

/// The longest time for machines to start and a job to be ready.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// Fails if systemd killed the job because the drain took longer than the unit's time limit.
const DRAIN: &str = "sudo systemctl stop order-analytics && \
     test \"$(systemctl show --property=Result --value order-analytics)\" != timeout";
/// The file with the start-up script.
const STARTUP: &str = "startup.sh";

/// The project and zone of a job's machines.
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

/// A job on machines.
pub type MachinesJob = CloudJob<MachineFlags>;

/// A job that is to replace the one that runs.
pub struct MachinesReplacement<'a> {
    /// Its program, if it is another one.
    pub release: Option<&'a Release>,
    pub old: &'a MachinesJob,
    pub new: &'a MachinesJob,
    pub bootstrap: &'a Bootstrap,
    /// The job's folder on this machine.
    pub folder: &'a Path,
}

impl ZoneFlags {
    /// Returns a command that prints the job's machines in this format.
    pub fn list(&self, job: &str, format: &str) -> Vec<String> {
        let Self { project, zone } = self;
        words([
            "gcloud".to_owned(),
            "compute".to_owned(),
            "instances".to_owned(),
            "list".to_owned(),
            format!("--project={project}"),
            format!("--zones={zone}"),
            format!("--filter=labels.tidemark-job={job}"),
            format!("--format={format}"),
        ])
    }

    /// Returns a command that runs `command` on a machine.
    pub fn ssh(&self, machine: &str, command: &str) -> Vec<String> {
        let Self { project, zone } = self;
        words([
            "gcloud".to_owned(),
            "compute".to_owned(),
            "ssh".to_owned(),
            machine.to_owned(),
            "--quiet".to_owned(),
            format!("--project={project}"),
            format!("--zone={zone}"),
            "--tunnel-through-iap".to_owned(),
            format!("--command={command}"),
        ])
    }

    /// Returns a step that runs a command on each machine of the job.
    fn on_each(&self, job: &str, about: &str, command: &str) -> Step {
        let each = Action::Each {
            list: self.list(job, "value(name)"),
            command: self.ssh("{}", command),
            none: Some(format!("job {job} has no machines in {}", self.zone)),
        };
        Step::new(about, each)
    }

    fn drain(&self, job: &str) -> Step {
        let about = "drains the job on each machine, with a last checkpoint";
        self.on_each(job, about, DRAIN)
    }

    /// Returns a step that deletes the job's machines. Fails with `none` if there are none.
    fn delete(&self, job: &str, none: Option<String>) -> Step {
        let Self { project, zone } = self;
        let command = words([
            "gcloud".to_owned(),
            "compute".to_owned(),
            "instances".to_owned(),
            "delete".to_owned(),
            "{}".to_owned(),
            "--quiet".to_owned(),
            format!("--project={project}"),
            format!("--zone={zone}"),
        ]);
        let each = Action::Each {
            list: self.list(job, "value(name)"),
            command,
            none,
        };
        Step::new("deletes the machines", each)
    }

    /// Drains the job on its machines, and deletes them.
    pub fn cancel(&self, job: &str) -> Plan {
        let none = format!("job {job} has no machines in {}", self.zone);
        Plan {
            steps: vec![self.drain(job), self.delete(job, Some(none))],
            rollback: Some(Rollback {
                from: 0,
                steps: Vec::new(),
                before: "",
                end: "`status gce` lists the machines that are left, and `cancel gce` again drains and deletes them",
                mend: String::new(),
            }),
            end: "the job has drained and ended; its next start goes on from its last checkpoint"
                .to_owned(),
            ..Plan::default()
        }
    }
}

/// Returns the zone of a job's machines.
fn zone(job: &MachinesJob) -> ZoneFlags {
    ZoneFlags {
        project: job.cloud.project.clone(),
        zone: job.place.zone.clone(),
    }
}

/// Returns the job with the hash of its start-up script.
pub fn with_startup(mut job: MachinesJob, bootstrap: &Bootstrap) -> MachinesJob {
    job.startup = Some(hash(startup(bootstrap, &job).as_bytes()));
    job
}

/// Fills the placeholders of the start-up script, as Terraform's `templatefile` does.
fn startup(bootstrap: &Bootstrap, job: &MachinesJob) -> String {
    let machines =
        (0..job.processes).map(|number| format!("{}:{CLUSTER_PORT}", machine(&job.name, number)));
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

pub fn submit(job: &MachinesJob, release: &Release, bootstrap: &Bootstrap, folder: &Path) -> Plan {
    let absent = Action::Absent {
        list: zone(job).list(&job.name, "value(name)"),
        reason: format!(
            "job {} has machines already: {{}}; `cancel gce` drains the job and deletes them",
            job.name
        ),
    };

    let mut steps = vec![Step::new("checks that the job has no machines", absent)];
    steps.extend(job.uploads(release, bootstrap, folder));
    steps.extend(describes(job, bootstrap, folder));
    let from = steps.len();
    steps.extend(starts(job, folder));

    Plan {
        steps,
        rollback: Some(Rollback {
            from,
            steps: Vec::new(),
            before: "no machine was created",
            end: "`status gce` lists the machines that were created, and `cancel gce` deletes them",
            mend: String::new(),
        }),
        end: "the job runs".to_owned(),
        look: look(job),
    }
}

/// Drains the job and deletes its machines, and starts it on machines of its new size, or with its new program. If it does not
/// drain, or is not ready then, the rollback starts the former one in the same way.
pub fn replace(replacement: &MachinesReplacement<'_>) -> Plan {
    let MachinesReplacement {
        release,
        old,
        new,
        bootstrap,
        folder,
    } = *replacement;

    let at = zone(old);
    let mut steps = Vec::new();
    if let Some(release) = release {
        steps.extend(new.uploads(release, bootstrap, folder));
    }
    steps.extend(describes(new, bootstrap, folder));
    let reached = "checks that each machine can be reached";
    steps.push(at.on_each(&old.name, reached, "sudo -n true"));

    let from = steps.len();
    steps.push(at.drain(&old.name));
    steps.push(at.delete(&old.name, None));
    steps.extend(starts(new, folder));

    let mut back = vec![at.delete(&old.name, None), fetches_startup(old, folder)];
    back.extend(starts(old, folder));

    Plan {
        steps,
        rollback: Some(Rollback {
            from,
            steps: back,
            before: "the job runs as before",
            end: "the former job runs again",
            mend: format!(
                "`status gce` lists the machines that are left; after `cancel gce`, `submit gce` with the settings in {} \
                 starts the former job again from its last checkpoint",
                old.description_url()
            ),
        }),
        end: "the job goes on from its last checkpoint".to_owned(),
        look: look(new),
    }
}

/// Returns the steps that write and upload the start-up script and the description.
fn describes(job: &MachinesJob, bootstrap: &Bootstrap, folder: &Path) -> Vec<Step> {
    let script = startup(bootstrap, job);
    let mut steps = job.written(folder, &startup_url(job), &script).to_vec();
    steps.extend(job.describes(folder));
    steps
}

fn startup_url(job: &MachinesJob) -> String {
    job.url(job.startup.as_deref().unwrap_or_default(), STARTUP)
}

fn startup_file(folder: &Path) -> PathBuf {
    scripts_folder(folder).join(STARTUP)
}

/// Returns the step that copies the start-up script of the former job back to this machine, as it was.
fn fetches_startup(job: &MachinesJob, folder: &Path) -> Step {
    let file = startup_file(folder).display().to_string();
    let project = format!("--project={}", job.cloud.project);
    let url = startup_url(job);
    let command = ["gcloud", "storage", "cp", &project, &url, &file];
    Step::run("fetches the former start-up script", command)
}

/// Returns the steps that create the machines and wait for the job. The start-up script is in its file.
fn starts(job: &MachinesJob, folder: &Path) -> Vec<Step> {
    let at = zone(job);
    let script = startup_file(folder);
    let creates = (0..job.processes).map(|number| create(job, number, &script));
    let waits = (0..job.processes).map(|number| {
        let name = machine(&job.name, number);
        let action = Action::RunUntil {
            command: at.ssh(&name, &question()),
            limit: READY_LIMIT,
        };
        Step::new(format!("waits until the job on {name} works"), action)
    });
    creates.chain(waits).collect()
}

/// Returns the places where a job is looked at.
fn look(job: &MachinesJob) -> Vec<(&'static str, String)> {
    let first = machine(&job.name, 0);
    let status = format!(
        "gcloud compute ssh {first} --tunnel-through-iap -- -L {STATUS_PORT}:localhost:{STATUS_PORT}, then http://localhost:{STATUS_PORT}"
    );

    vec![
        ("status", status),
        ("logs", format!("journalctl -u order-analytics on {first}")),
        ("checkpoints", job.checkpoints().to_owned()),
        ("settings", job.description_url()),
    ]
}

fn create(job: &MachinesJob, number: u16, script: &Path) -> Step {
    let name = machine(&job.name, number);
    let machines = &job.place;
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
        format!(
            "--metadata=process={number},job={},enable-oslogin=true,serial-port-logging-enable=true",
            job.description_url()
        ),
        format!("--metadata-from-file=startup-script={}", script.display()),
    ]);

    Step::new(format!("creates the machine {name}"), Action::Run(command))
}

/// Returns the name of the machine of a process.
fn machine(job: &str, number: u16) -> String {
    format!("{job}-{number}")
}

/// Returns a command for a machine that succeeds if the job works.
pub fn question() -> String {
    format!("curl -sf localhost:{STATUS_PORT}/health/ready")
}

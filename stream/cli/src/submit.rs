//! The commands that run a job elsewhere than in this terminal: `submit`, `status`, `logs`, `cancel`, `rescale`, `upgrade`.
//!
//! Each makes a plan, a list of steps as data, and then carries it out; `--dry-run` prints the plan instead. A target is a
//! function from the flags to a plan: [`local`] for this machine, [`google`] for machines and for Dataproc.

mod carry_out;
mod google;
mod local;
mod plan;
mod variables;
mod yarn;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use clap::{ArgMatches, Args, Subcommand};
use sha2::{Digest, Sha256};

pub use self::google::Bootstrap;
use self::google::{CloudFlags, CloudJob, ClusterFlags, MachineFlags, ZoneFlags};
use self::local::{Folder, Release, usual_folder};
use self::plan::{Plan, words};
use self::variables::{Installed, Variables};
use crate::commands::print;
use crate::error::CommandError;
use crate::flags::RunFlags;
use crate::job::JobDefinition;
use crate::logs;

const UNREADABLE: &str = "cannot read the program";

/// Submits a job to one of these places.
#[derive(Subcommand)]
pub enum SubmitTo<D: JobDefinition> {
    /// This machine, in the background, below a supervisor
    Local(Box<SubmitLocal<D>>),
    /// Machines of Google Compute Engine, one for each process
    Gce(Box<SubmitGce<D>>),
    /// A Dataproc cluster, as a YARN application
    Dataproc(Box<SubmitDataproc<D>>),
}

/// A job for this machine.
#[derive(Args)]
#[group(skip)]
pub struct SubmitLocal<D: JobDefinition> {
    #[command(flatten)]
    pub place: PlaceFlags,

    #[command(flatten)]
    pub run: RunFlags<D>,
}

/// A job for machines of Google Compute Engine.
#[derive(Args)]
#[group(skip)]
pub struct SubmitGce<D: JobDefinition> {
    #[command(flatten)]
    pub place: PlaceFlags,

    #[command(flatten)]
    pub cloud: CloudFlags,

    #[command(flatten)]
    pub machines: MachineFlags,

    #[command(flatten)]
    pub run: RunFlags<D>,
}

/// A job for a Dataproc cluster.
#[derive(Args)]
#[group(skip)]
pub struct SubmitDataproc<D: JobDefinition> {
    #[command(flatten)]
    pub place: PlaceFlags,

    #[command(flatten)]
    pub cloud: CloudFlags,

    #[command(flatten)]
    pub cluster: ClusterFlags,

    #[command(flatten)]
    pub run: RunFlags<D>,
}

/// Flags of the folder that a job has on this machine, and of the way in which a plan is carried out.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct PlaceFlags {
    /// Print what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// With --dry-run, as JSON, for scripts
    #[arg(long, requires = "dry_run")]
    pub json: bool,

    /// Folder of the job on this machine [default: ~/.local/state/tidemark/JOB]
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// Which job on this machine.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct LocalFlags {
    #[command(flatten)]
    pub place: PlaceFlags,

    /// The job's name
    #[arg(long, env = "TIDEMARK_JOB", value_name = "NAME")]
    pub job: String,
}

/// Which job on machines of Google Compute Engine.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct GceFlags {
    #[command(flatten)]
    pub local: LocalFlags,

    #[command(flatten)]
    pub at: ZoneFlags,

    /// Number of processes, each on a machine of its own
    #[arg(
        long,
        env = "TIDEMARK_PROCESSES",
        default_value_t = 1,
        value_name = "PROCESSES"
    )]
    pub processes: u16,
}

/// How many processes and workers a job has from now on.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct RescaleFlags {
    #[command(flatten)]
    pub local: LocalFlags,

    /// Number of processes [default: as it is]
    #[arg(long, value_name = "PROCESSES")]
    pub processes: Option<u16>,

    /// Worker threads of each process [default: as it is]
    #[arg(long, value_name = "WORKERS")]
    pub workers: Option<u16>,
}

/// Which job gets another program.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct UpgradeFlags {
    #[command(flatten)]
    pub local: LocalFlags,

    /// The new program [default: this one]
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// A job whose program is replaced.
#[derive(Clone, Debug, Subcommand)]
pub enum UpgradeAt {
    /// This machine
    Local(UpgradeFlags),
}

/// A place that a job was submitted to.
#[derive(Clone, Debug, Subcommand)]
pub enum CancelAt {
    /// This machine
    Local(LocalFlags),
    /// Machines of Google Compute Engine, which are deleted
    Gce(Box<GceFlags>),
}

/// A job that is looked at.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct LookFlags {
    /// Folder of the job on this machine [default: ~/.local/state/tidemark/JOB]
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,

    /// The job's name
    #[arg(long, env = "TIDEMARK_JOB", value_name = "NAME")]
    pub job: String,
}

/// A job that is named, on this machine.
#[derive(Clone, Debug, Subcommand)]
pub enum LookAt {
    /// This machine
    Local(LookFlags),
}

/// A job whose size changes.
#[derive(Clone, Debug, Subcommand)]
pub enum RescaleAt {
    /// This machine
    Local(RescaleFlags),
}

/// Submits the job to a place. `matches` are those of the place's own command.
pub fn submit<D: JobDefinition>(
    to: &SubmitTo<D>,
    command: &clap::Command,
    matches: &ArgMatches,
    bootstrap: Option<Bootstrap>,
) -> Result<u8, CommandError> {
    let variables = Variables::of(command, matches);
    match to {
        SubmitTo::Local(flags) => submit_local(flags, variables),
        SubmitTo::Gce(flags) => {
            let bootstrap = needed(bootstrap)?;
            let job = &flags.run.job.job;
            let folder = folder(flags.place.folder.as_deref(), job);
            let release = this_program()?;
            let run = script(bootstrap.run, &folder.0);
            let scripts = (&run, bootstrap.run);
            let job = cloud_job(&flags.run, &flags.cloud, &release, scripts, variables)?;
            let plan = google::submit_gce(&job, &flags.machines, &bootstrap, &folder.0);
            follow(&plan, &flags.place)
        }
        SubmitTo::Dataproc(flags) => {
            let bootstrap = needed(bootstrap)?;
            let folder = folder(flags.place.folder.as_deref(), &flags.run.job.job);
            let release = this_program()?;
            let run = script(bootstrap.run, &folder.0);
            let scripts = (&run, bootstrap.run);
            let job = cloud_job(&flags.run, &flags.cloud, &release, scripts, variables)?;
            follow(&google::submit_dataproc(&job, &flags.cluster), &flags.place)
        }
    }
}

fn submit_local<D: JobDefinition>(
    flags: &SubmitLocal<D>,
    variables: Variables,
) -> Result<u8, CommandError> {
    let folder = folder(flags.place.folder.as_deref(), &flags.run.job.job);
    if let Ok(installed) = installed(&folder)
        && is_running(&folder, &installed)
    {
        return Err(refused(format!(
            "the job runs already, in {}: `upgrade local` replaces its program, `rescale local` changes its size, and \
             `cancel local` ends it",
            folder.0.display()
        )));
    }

    let release = this_program()?;
    let mut variables = folder.complete(variables);
    variables.set("TIDEMARK_JOB", flags.run.job.job.clone());
    let installed = Installed {
        release: release.hash.clone(),
        processes: flags.run.members.processes,
        variables,
    };
    follow(&folder.submit(&release, &installed), &flags.place)
}

/// Drains the job and ends it.
pub fn cancel(at: &CancelAt) -> Result<u8, CommandError> {
    match at {
        CancelAt::Local(flags) => {
            let folder = folder(flags.place.folder.as_deref(), &flags.job);
            let installed = running(&folder)?;
            follow(&folder.cancel(&installed), &flags.place)
        }
        CancelAt::Gce(flags) => {
            let job = &flags.local.job;
            let plan = google::cancel_gce(&flags.at, job, flags.processes);
            follow(&plan, &flags.local.place)
        }
    }
}

/// Gives the job another number of processes or workers.
pub fn rescale(at: &RescaleAt) -> Result<u8, CommandError> {
    let RescaleAt::Local(flags) = at;
    let folder = folder(flags.local.place.folder.as_deref(), &flags.local.job);
    let old = running(&folder)?;

    let mut new = old.clone();
    new.processes = flags.processes.unwrap_or(old.processes);
    if let Some(workers) = flags.workers {
        new.variables.set("TIDEMARK_WORKERS", workers.to_string());
    }
    follow(&folder.replace(None, &old, &new), &flags.local.place)
}

/// Replaces the program of the job. If the job is not ready then, the old program takes over again.
pub fn upgrade(at: UpgradeAt) -> Result<u8, CommandError> {
    let UpgradeAt::Local(flags) = at;
    let folder = folder(flags.local.place.folder.as_deref(), &flags.local.job);
    let old = running(&folder)?;
    let release = match flags.program {
        Some(program) => release(program).map_err(CommandError::system(UNREADABLE))?,
        None => this_program()?,
    };
    if release.hash == old.release {
        print("the job runs this program already\n")?;
        return Ok(0);
    }

    let new = Installed {
        release: release.hash.clone(),
        ..old.clone()
    };
    follow(
        &folder.replace(Some(&release), &old, &new),
        &flags.local.place,
    )
}

/// Prints which processes of the job live, and whether they work. Returns 1 unless all do.
pub fn status(at: &LookAt) -> Result<u8, CommandError> {
    let LookAt::Local(flags) = at;
    let folder = folder(flags.folder.as_deref(), &flags.job);
    let installed = installed(&folder)?;
    let mut works = true;
    for process in 0..installed.processes {
        let address = local::status(&installed, process);
        let lives = carry_out::pid_of(&folder.pid(process)).is_some();
        let is_ready = lives && carry_out::is_ready(address);
        works &= is_ready;

        let state = match (lives, is_ready) {
            (false, _) => "does not run",
            (true, false) => "runs and is not ready",
            (true, true) => "works",
        };
        print(&format!("process {process} {state}: http://{address}\n"))?;
    }

    print(&format!(
        "release {}, logs in {}\n",
        installed.release,
        folder.log(0).display()
    ))?;
    Ok(u8::from(!works))
}

/// Follows the logs of the job's processes.
pub fn logs(at: &LookAt) -> Result<u8, CommandError> {
    let LookAt::Local(flags) = at;
    let folder = folder(flags.folder.as_deref(), &flags.job);
    let installed = installed(&folder)?;
    let files = (0..installed.processes).map(|process| folder.log(process).display().to_string());
    let command = words(
        ["tail", "-n", "100", "-F"]
            .map(str::to_owned)
            .into_iter()
            .chain(files),
    );

    let status = Command::new(&command[0]).args(&command[1..]).status();
    let status = status.map_err(CommandError::system("cannot run tail"))?;
    Ok(u8::from(!status.success()))
}

/// Prints the plan, or carries it out.
fn follow(plan: &Plan, place: &PlaceFlags) -> Result<u8, CommandError> {
    if place.dry_run {
        match place.json {
            true => print(&format!("{}\n", plan.to_json()))?,
            false => print(&plan.to_string())?,
        }
        return Ok(0);
    }

    let count = plan.steps.len();
    let mut number = 0;
    carry_out::carry_out(plan, &mut |about| {
        number += 1;
        // The steps of a rollback are not counted.
        logs::note(&format!("[{}/{count}] {about}", number.min(count)));
    })
    .map_err(|error| CommandError::Other(Box::new(error)))?;

    print(&format!("{}\n", plan.end))?;
    for (name, at) in &plan.look {
        print(&format!("  {name}: {at}\n"))?;
    }
    Ok(0)
}

fn folder(named: Option<&Path>, job: &str) -> Folder {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = env::var_os("HOME").map(PathBuf::from);
    let usual = || usual_folder(state.as_deref(), home.as_deref(), job);
    Folder(named.map_or_else(usual, Path::to_path_buf))
}

/// Reads the description of the installed job.
fn installed(folder: &Folder) -> Result<Installed, CommandError> {
    let path = folder.record();
    let missing = |reason: String| {
        refused(format!(
            "no job was submitted to {}: {reason}; name it by --job or --folder",
            folder.0.display()
        ))
    };
    let text = fs::read_to_string(&path).map_err(|error| missing(error.to_string()))?;
    serde_json::from_str(&text)
        .map_err(|error| refused(format!("{} cannot be read: {error}", path.display())))
}

/// Does the same, and fails if the job does not run.
fn running(folder: &Folder) -> Result<Installed, CommandError> {
    let installed = installed(folder)?;
    if is_running(folder, &installed) {
        return Ok(installed);
    }
    Err(refused(format!(
        "the job in {} does not run: `submit local` starts it",
        folder.0.display()
    )))
}

fn is_running(folder: &Folder, installed: &Installed) -> bool {
    (0..installed.processes).any(|process| carry_out::pid_of(&folder.pid(process)).is_some())
}

fn this_program() -> Result<Release, CommandError> {
    let program = env::current_exe().map_err(CommandError::system(UNREADABLE))?;
    release(program).map_err(CommandError::system(UNREADABLE))
}

fn release(program: PathBuf) -> std::io::Result<Release> {
    let content = fs::read(&program)?;
    Ok(Release {
        hash: hash(&content),
        program,
    })
}

/// Names a script that the plan writes, by its content.
fn script(content: &str, folder: &Path) -> Release {
    Release {
        program: google::scripts_folder(folder).join("run.sh"),
        hash: hash(content.as_bytes()),
    }
}

fn hash(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cloud_job<'a, D: JobDefinition>(
    run: &'a RunFlags<D>,
    cloud: &'a CloudFlags,
    release: &'a Release,
    (script, content): (&'a Release, &'static str),
    variables: Variables,
) -> Result<CloudJob<'a>, CommandError> {
    let checkpoints = &run.job.settings.checkpoints;
    if !checkpoints.starts_with("gs://") {
        return Err(refused(format!(
            "machines share no {checkpoints}: --checkpoints gs://bucket/prefix is needed"
        )));
    }

    Ok(CloudJob {
        name: &run.job.job,
        release,
        run: script,
        script: content,
        processes: run.members.processes,
        workers: run.job.settings.workers,
        variables,
        cloud,
    })
}

fn needed(bootstrap: Option<Bootstrap>) -> Result<Bootstrap, CommandError> {
    bootstrap.ok_or_else(|| {
        refused(
            "this program has no scripts for Google Cloud: add them by Program::bootstrap"
                .to_owned(),
        )
    })
}

fn refused(reason: String) -> CommandError {
    CommandError::Other(reason.into())
}

#[cfg(test)]
mod tests;

//! The command lines of `submit` and of the commands on a submitted job: places, and the flags of each.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};

use super::applications::RegionFlags;
use super::google::{CloudFlags, ClusterFlags, MachineFlags};
use super::hadoop::ContainerFlags;
use super::kubernetes::{ClusterPlace, PodFlags};
use super::machines::ZoneFlags;
use crate::flags::RunFlags;
use crate::job::JobDefinition;
use crate::job_name;

/// Submits a job to one of these places.
#[derive(Subcommand)]
pub enum SubmitTo<D: JobDefinition> {
    /// This machine, in the background, below a supervisor
    Local(Box<SubmitLocal<D>>),
    /// Machines of Google Compute Engine, one for each process
    Gce(Box<SubmitGce<D>>),
    /// A Dataproc cluster, as a YARN application
    Dataproc(Box<SubmitDataproc<D>>),
    /// A Hadoop cluster, as a YARN application, from a machine with `yarn` and `hadoop`
    Yarn(Box<SubmitYarn<D>>),
    /// A Kubernetes cluster, as a stateful set, by `kubectl`
    Kubernetes(Box<SubmitKubernetes<D>>),
}

/// A job for this machine.
#[derive(Args)]
#[group(skip)]
pub struct SubmitLocal<D: JobDefinition> {
    #[command(flatten)]
    pub place: PlaceFlags,

    /// Further variables of this terminal that the job gets, such as keys of its own; set them for rescale and upgrade, too
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub pass: Vec<String>,

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

/// A job for a Hadoop cluster.
#[derive(Args)]
#[group(skip)]
pub struct SubmitYarn<D: JobDefinition> {
    #[command(flatten)]
    pub place: PlaceFlags,

    #[command(flatten)]
    pub containers: ContainerFlags,

    #[command(flatten)]
    pub run: RunFlags<D>,
}

/// A job for a Kubernetes cluster.
#[derive(Args)]
#[group(skip)]
pub struct SubmitKubernetes<D: JobDefinition> {
    #[command(flatten)]
    pub place: PlaceFlags,

    #[command(flatten)]
    pub at: ClusterPlace,

    #[command(flatten)]
    pub pods: PodFlags,

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

/// The flags that name a job on this machine.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct LocalFlags {
    #[command(flatten)]
    pub place: PlaceFlags,

    /// The job's name
    #[arg(long, env = "TIDEMARK_JOB", value_name = "NAME", value_parser = job_name::parse)]
    pub job: String,
}

/// The flags that name a job on machines of Google Compute Engine.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct GceFlags {
    #[command(flatten)]
    pub local: LocalFlags,

    #[command(flatten)]
    pub at: ZoneFlags,
}

/// The flags that name a job on a Dataproc cluster.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct DataprocFlags {
    #[command(flatten)]
    pub local: LocalFlags,

    #[command(flatten)]
    pub at: RegionFlags,
}

/// The flags that name a job on a Kubernetes cluster.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct KubernetesFlags {
    #[command(flatten)]
    pub local: LocalFlags,

    #[command(flatten)]
    pub at: ClusterPlace,
}

/// The flags that name a job on a Dataproc cluster that is to end.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct CancelDataprocFlags {
    #[command(flatten)]
    pub job: DataprocFlags,

    /// End the job at once, without a drain
    #[arg(long)]
    pub kill: bool,
}

/// A new size: processes and workers.
#[derive(Args, Clone, Copy, Debug)]
#[group(skip)]
pub struct SizeFlags {
    /// Number of processes [default: as it is]
    #[arg(long, value_name = "PROCESSES", value_parser = value_parser!(u16).range(1..))]
    pub processes: Option<u16>,

    /// Worker threads of each process [default: as it is]
    #[arg(long, value_name = "WORKERS", value_parser = value_parser!(u16).range(1..))]
    pub workers: Option<u16>,
}

/// A new program.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct ProgramFlags {
    /// The new program [default: this one]
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// A new image.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct ImageFlags {
    /// The new image, whose entry point is the new program
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
}

/// The place of a copy of a checkpoint.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct CopyFlags {
    /// The name of another job, at the same URL; or another URL, for the same job
    #[arg(long, value_name = "JOB|URL")]
    pub to: String,
}

/// The flags of a job, and those of a change.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Change<F: Args, C: Args> {
    #[command(flatten)]
    pub job: F,

    #[command(flatten)]
    pub change: C,
}

/// A job on one of the places, with the flags of a change, which are others on Kubernetes if a program is an image there.
#[derive(Clone, Debug, Subcommand)]
pub enum ChangeAt<C: Args, K: Args = C> {
    /// This machine
    Local(Change<LocalFlags, C>),
    /// Machines of Google Compute Engine
    Gce(Box<Change<GceFlags, C>>),
    /// A Dataproc cluster
    Dataproc(Box<Change<DataprocFlags, C>>),
    /// A Hadoop cluster
    Yarn(Box<Change<LocalFlags, C>>),
    /// A Kubernetes cluster
    Kubernetes(Box<Change<KubernetesFlags, K>>),
}

/// A place that a job was submitted to.
#[derive(Clone, Debug, Subcommand)]
pub enum CancelAt {
    /// This machine
    Local(LocalFlags),
    /// Machines of Google Compute Engine, which are deleted
    Gce(Box<GceFlags>),
    /// A Dataproc cluster
    Dataproc(Box<CancelDataprocFlags>),
    /// A Hadoop cluster
    Yarn(LocalFlags),
    /// A Kubernetes cluster
    Kubernetes(Box<KubernetesFlags>),
}

/// The flags that name a job whose status or logs are shown.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct LookFlags {
    /// Folder of the job on this machine [default: ~/.local/state/tidemark/JOB]
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,

    /// The job's name
    #[arg(long, env = "TIDEMARK_JOB", value_name = "NAME", value_parser = job_name::parse)]
    pub job: String,
}

/// The flags that name a job on machines of Google Compute Engine whose status or logs are shown.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct LookGceFlags {
    /// The job's name
    #[arg(long, env = "TIDEMARK_JOB", value_name = "NAME", value_parser = job_name::parse)]
    pub job: String,

    #[command(flatten)]
    pub at: ZoneFlags,
}

/// The flags that name a job on a Dataproc cluster whose status or logs are shown.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct LookDataprocFlags {
    /// The job's name
    #[arg(long, env = "TIDEMARK_JOB", value_name = "NAME", value_parser = job_name::parse)]
    pub job: String,

    #[command(flatten)]
    pub at: RegionFlags,
}

/// The flags that name a job on a Kubernetes cluster whose status or logs are shown.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct LookKubernetesFlags {
    /// The job's name
    #[arg(long, env = "TIDEMARK_JOB", value_name = "NAME")]
    pub job: String,

    #[command(flatten)]
    pub at: ClusterPlace,
}

/// The place of a job whose status or logs are shown.
#[derive(Clone, Debug, Subcommand)]
pub enum LookAt {
    /// This machine
    Local(LookFlags),
    /// Machines of Google Compute Engine
    Gce(LookGceFlags),
    /// A Dataproc cluster
    Dataproc(LookDataprocFlags),
    /// A Hadoop cluster
    Yarn(LookFlags),
    /// A Kubernetes cluster
    Kubernetes(LookKubernetesFlags),
}

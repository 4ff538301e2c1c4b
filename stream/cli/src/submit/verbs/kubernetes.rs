//! The verbs on a job on Kubernetes.

use super::follow::{folder, folder_of, follow, refused};
use crate::commands::print;
use crate::error::CommandError;
use crate::job::JobDefinition;
use crate::submit::kubernetes::{ClusterPlace, PodsJob, parse, states};
use crate::submit::look::{all, answer};
use crate::submit::random::secret;
use crate::submit::targets::{
    Change, ImageFlags, KubernetesFlags, LookKubernetesFlags, SizeFlags, SubmitKubernetes,
};
use crate::submit::variables::Variables;

/// Variables that the pods get from their number or from the plan.
const OF_ONE_PROCESS: [&str; 4] = [
    "TIDEMARK_HOSTS",
    "TIDEMARK_PROCESS",
    "TIDEMARK_PROCESSES",
    "TIDEMARK_STATUS_ADDRESS",
];

pub fn submit<D: JobDefinition>(
    flags: &SubmitKubernetes<D>,
    mut variables: Variables,
) -> Result<u8, CommandError> {
    let checkpoints = &flags.run.job.settings.checkpoints;
    if checkpoints.starts_with("memory:") || checkpoints.starts_with("file:") {
        return Err(refused(format!(
            "pods cannot share checkpoints at {checkpoints}: set --checkpoints s3://bucket/prefix or gs://bucket/prefix"
        )));
    }

    for own in OF_ONE_PROCESS {
        variables.remove(own);
    }
    variables.set_default("TIDEMARK_CLUSTER_SECRET", secret()?);
    let secrets = variables.take_secrets();

    let job = PodsJob {
        name: flags.run.job.job.clone(),
        processes: flags.run.members.processes,
        variables,
        at: flags.at.clone(),
        pods: flags.pods.clone(),
    };
    let folder = folder(flags.place.folder.as_deref(), &job.name);
    follow(&job.submit(&secrets, &folder.0), &flags.place)
}

pub fn cancel(flags: &KubernetesFlags) -> Result<u8, CommandError> {
    let local = &flags.local;
    follow(&flags.at.cancel(&local.job), &local.place)
}

pub fn rescale(flags: &Change<KubernetesFlags, SizeFlags>) -> Result<u8, CommandError> {
    let SizeFlags { processes, workers } = flags.change;
    replace(&flags.job, |job| {
        job.processes = processes.unwrap_or(job.processes);
        if let Some(workers) = workers {
            job.variables.set("TIDEMARK_WORKERS", workers.to_string());
        }
    })
}

pub fn upgrade(flags: &Change<KubernetesFlags, ImageFlags>) -> Result<u8, CommandError> {
    replace(&flags.job, |job| {
        job.pods.image.clone_from(&flags.change.image);
    })
}

fn replace(flags: &KubernetesFlags, change: impl FnOnce(&mut PodsJob)) -> Result<u8, CommandError> {
    let local = &flags.local;
    let old = found(&flags.at, &local.job)?;
    let mut new = old.clone();
    change(&mut new);
    follow(&old.replace(&new, &folder_of(local).0), &local.place)
}

/// Prints which pods of the job work. Returns 1 unless all do.
pub fn status(flags: &LookKubernetesFlags) -> Result<u8, CommandError> {
    let answer = answer(&flags.at.pods(&flags.job))?;
    let unreadable = || refused("kubectl's answer cannot be read".to_owned());
    let (lines, works) = states(&answer).ok_or_else(unreadable)?;
    for line in &lines {
        print(&format!("{line}\n"))?;
    }
    if lines.is_empty() {
        print(&absent(&flags.at, &flags.job))?;
        print("\n")?;
    }
    Ok(u8::from(!works))
}

pub fn logs(flags: &LookKubernetesFlags) -> Result<u8, CommandError> {
    let none = absent(&flags.at, &flags.job);
    all(vec![flags.at.logs(&flags.job)], none)
}

/// Finds the description of the job in the cluster.
pub fn found(at: &ClusterPlace, job: &str) -> Result<PodsJob, CommandError> {
    let answer = answer(&at.describe(job))?;
    parse(&answer).ok_or_else(|| refused(absent(at, job)))
}

fn absent(at: &ClusterPlace, job: &str) -> String {
    let namespace = &at.namespace;
    format!("job {job} is not in namespace {namespace}: `submit kubernetes` starts it")
}

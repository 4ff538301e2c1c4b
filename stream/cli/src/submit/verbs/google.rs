//! The verbs on a job on Google Cloud: each finds the description of the job by its machines or its entry in Dataproc, and makes
//! a plan. What is read on the way changes nothing.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::follow::{folder, folder_of, follow, follow_change, refused, this_program};
use crate::error::CommandError;
use crate::flags::RunFlags;
use crate::job::JobDefinition;
use crate::submit::applications::{self, ClusterJob, ClusterReplacement, Master, RegionFlags};
use crate::submit::google::{Bootstrap, CloudFlags, CloudJob, DESCRIPTION, cat, described};
use crate::submit::look::answer;
use crate::submit::machines::{self, MachinesJob, MachinesReplacement, ZoneFlags};
use crate::submit::release::{Release, hash};
use crate::submit::targets::{
    CancelDataprocFlags, DataprocFlags, GceFlags, LocalFlags, SizeFlags, SubmitDataproc, SubmitGce,
};
use crate::submit::variables::Variables;

/// The change of a running job.
#[derive(Clone, Copy, Debug)]
pub enum NewForm<'a> {
    Size(SizeFlags),
    Program(&'a Release),
}

/// Describes a job that is to be submitted to this place.
fn describe<D: JobDefinition, P>(
    run: &RunFlags<D>,
    (cloud, place): (CloudFlags, P),
    release: &Release,
    bootstrap: &Bootstrap,
    mut variables: Variables,
) -> Result<CloudJob<P>, CommandError> {
    let checkpoints = &run.job.settings.checkpoints;
    if !checkpoints.starts_with("gs://") {
        return Err(refused(format!(
            "machines cannot share checkpoints at {checkpoints}: set --checkpoints gs://bucket/prefix"
        )));
    }

    variables.set("TIDEMARK_WORKERS", run.job.settings.workers.to_string());
    Ok(CloudJob {
        name: run.job.job.clone(),
        release: release.hash.clone(),
        run: hash(bootstrap.run.as_bytes()),
        startup: None,
        processes: run.members.processes,
        variables: described(variables),
        cloud,
        place,
    })
}

/// Submits the job to machines of its own.
pub fn submit_machines<D: JobDefinition>(
    flags: &SubmitGce<D>,
    variables: Variables,
    bootstrap: Option<Bootstrap>,
) -> Result<u8, CommandError> {
    let bootstrap = needed(bootstrap)?;
    let folder = folder(flags.place.folder.as_deref(), &flags.run.job.job);
    let release = this_program()?;
    let place = (flags.cloud.clone(), flags.machines.clone());
    let job = describe(&flags.run, place, &release, &bootstrap, variables)?;
    let job = machines::with_startup(job, &bootstrap);
    let plan = machines::submit(&job, &release, &bootstrap, &folder.0);
    follow(&plan, &flags.place)
}

/// Submits the job to a cluster.
pub fn submit_application<D: JobDefinition>(
    flags: &SubmitDataproc<D>,
    variables: Variables,
    bootstrap: Option<Bootstrap>,
) -> Result<u8, CommandError> {
    let bootstrap = needed(bootstrap)?;
    let folder = folder(flags.place.folder.as_deref(), &flags.run.job.job);
    let release = this_program()?;
    let place = (flags.cloud.clone(), flags.cluster.clone());
    let job = describe(&flags.run, place, &release, &bootstrap, variables)?;
    let master = master(&applications::region(&job), &job.place.cluster)?;
    let plan = applications::submit(&job, &release, &master, &bootstrap, &folder.0);
    follow(&plan, &flags.place)
}

pub fn cancel_machines(flags: &GceFlags) -> Result<u8, CommandError> {
    let LocalFlags { job, place } = &flags.local;
    follow(&flags.at.cancel(job), place)
}

pub fn cancel_application(flags: &CancelDataprocFlags) -> Result<u8, CommandError> {
    let LocalFlags { job, place } = &flags.job.local;
    let at = &flags.job.at;
    if flags.kill {
        return follow(&at.kill(job), place);
    }

    let found = on_cluster(at, job)?;
    let master = master(at, &found.place.cluster)?;
    follow(&at.cancel(job, &master), place)
}

/// Gives the job on machines another form.
pub fn replace_machines(
    flags: &GceFlags,
    form: NewForm<'_>,
    bootstrap: Option<Bootstrap>,
) -> Result<u8, CommandError> {
    let bootstrap = needed(bootstrap)?;
    let LocalFlags { job, place } = &flags.local;
    let old = on_machines(&flags.at, job)?;
    let Some(new) = changed(&old, form, &bootstrap) else {
        return follow_change(None, place);
    };

    let plan = machines::replace(&MachinesReplacement {
        release: form.release(),
        old: &old,
        new: &machines::with_startup(new, &bootstrap),
        bootstrap: &bootstrap,
        folder: &folder_of(&flags.local).0,
    });
    follow(&plan, place)
}

/// Gives the job on a cluster another form.
pub fn replace_application(
    flags: &DataprocFlags,
    form: NewForm<'_>,
    bootstrap: Option<Bootstrap>,
) -> Result<u8, CommandError> {
    let bootstrap = needed(bootstrap)?;
    let LocalFlags { job, place } = &flags.local;
    let old = on_cluster(&flags.at, job)?;
    let Some(new) = changed(&old, form, &bootstrap) else {
        return follow_change(None, place);
    };

    let plan = applications::replace(&ClusterReplacement {
        release: form.release(),
        old: &old,
        new: &new,
        master: &master(&flags.at, &old.place.cluster)?,
        bootstrap: &bootstrap,
        folder: &folder_of(&flags.local).0,
    });
    follow(&plan, place)
}

fn needed(bootstrap: Option<Bootstrap>) -> Result<Bootstrap, CommandError> {
    bootstrap.ok_or_else(|| {
        refused(
            "this program has no scripts for Google Cloud: add them with Program::bootstrap"
                .to_owned(),
        )
    })
}

/// Finds the job on machines.
pub fn on_machines(at: &ZoneFlags, job: &str) -> Result<MachinesJob, CommandError> {
    let listed = answer(&at.list(job, "json(name,metadata.items)"))?;
    let place = format!("has no machines in {}: `submit gce` starts it", at.zone);
    let first = first(&listed, job, &place)?;

    let items = first["metadata"]["items"].as_array();
    let is_description = |item: &&Value| item["key"] == "job";
    let item = items.and_then(|items| items.iter().find(is_description));
    description(job, item.map(|item| &item["value"]), &at.project)
}

/// Finds the job on a cluster.
pub fn on_cluster(at: &RegionFlags, job: &str) -> Result<ClusterJob, CommandError> {
    let listed = answer(&at.list(job, "json(reference.jobId,hadoopJob.fileUris)"))?;
    let place = format!(
        "is not active in {}: `submit dataproc` starts it",
        at.region
    );
    let first = first(&listed, job, &place)?;

    let files = first["hadoopJob"]["fileUris"].as_array();
    let is_description = |file: &&Value| {
        file.as_str()
            .is_some_and(|url| url.ends_with(&format!("/{DESCRIPTION}")))
    };
    let url = files.and_then(|files| files.iter().find(is_description));
    description(job, url, &at.project)
}

/// Finds the master of a cluster.
fn master(at: &RegionFlags, cluster: &str) -> Result<Master, CommandError> {
    let answer = answer(&at.masters(cluster))?;
    let unknown = || refused(format!("cluster {cluster} has no master in {}", at.region));
    Master::parse(&answer).ok_or_else(unknown)
}

impl<'a> NewForm<'a> {
    fn release(self) -> Option<&'a Release> {
        match self {
            Self::Program(release) => Some(release),
            Self::Size(_) => None,
        }
    }
}

/// Returns the job in its new form; none if its program is the new one already.
fn changed<P: Clone + serde::Serialize>(
    old: &CloudJob<P>,
    form: NewForm<'_>,
    bootstrap: &Bootstrap,
) -> Option<CloudJob<P>> {
    match form {
        NewForm::Size(size) => Some(old.resized(size.processes, size.workers)),
        NewForm::Program(release) if release.hash == old.release => None,
        NewForm::Program(release) => Some(CloudJob {
            release: release.hash.clone(),
            run: hash(bootstrap.run.as_bytes()),
            ..old.clone()
        }),
    }
}

/// Returns the first entry of a list in JSON.
fn first(listed: &str, job: &str, place: &str) -> Result<Value, CommandError> {
    let listed: Vec<Value> = serde_json::from_str(listed)
        .map_err(|error| refused(format!("gcloud's answer cannot be read: {error}")))?;
    let none = || refused(format!("job {job} {place}"));
    listed.into_iter().next().ok_or_else(none)
}

/// Reads the description at a URL.
fn description<P: DeserializeOwned>(
    job: &str,
    url: Option<&Value>,
    project: &str,
) -> Result<CloudJob<P>, CommandError> {
    let url = url.and_then(Value::as_str).ok_or_else(|| {
        refused(format!(
            "job {job} has no description: another program submitted it, which has to resize, replace or end it"
        ))
    })?;

    let text = answer(&cat(url, project))?;
    serde_json::from_str(&text).map_err(|error| refused(format!("{url} cannot be read: {error}")))
}

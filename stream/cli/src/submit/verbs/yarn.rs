//! The verbs on a job on a Hadoop cluster.

use std::{env, fs};

use super::follow::{folder, folder_of, follow, follow_change, new_program, refused, this_program};
use super::local::this_folder;
use crate::commands::print;
use crate::error::CommandError;
use crate::job::JobDefinition;
use crate::submit::hadoop::{YarnFolder, YarnReplacement};
use crate::submit::installed::Installed;
use crate::submit::local::Folder;
use crate::submit::look::{all, answer, succeeds};
use crate::submit::random::secret;
use crate::submit::targets::{Change, LocalFlags, LookFlags, ProgramFlags, SizeFlags, SubmitYarn};
use crate::submit::terminal::Terminal;
use crate::submit::variables::Variables;

/// Variables that hadoop.sh sets in each container.
const OF_ONE_PROCESS: [&str; 4] = [
    "TIDEMARK_HOSTS",
    "TIDEMARK_PROCESS",
    "TIDEMARK_PROCESSES",
    "TIDEMARK_STATUS_ADDRESS",
];

pub fn submit<D: JobDefinition>(
    flags: &SubmitYarn<D>,
    mut variables: Variables,
) -> Result<u8, CommandError> {
    let checkpoints = &flags.run.job.settings.checkpoints;
    if checkpoints.starts_with("memory:") {
        return Err(refused(
            "checkpoints in memory are lost with their container: set --checkpoints to a place that all nodes reach".to_owned(),
        ));
    }

    for own in OF_ONE_PROCESS {
        variables.remove(own);
    }
    let job = &flags.run.job.job;
    variables.set("TIDEMARK_JOB", job);
    variables.set(
        "TIDEMARK_WORKERS",
        flags.run.job.settings.workers.to_string(),
    );
    variables.set_default("TIDEMARK_LOG", "info");
    variables.set_default("TIDEMARK_CLUSTER_SECRET", secret()?);
    flags.containers.record(&mut variables);

    let release = this_program()?;
    let terminal = Terminal::of(this_folder()?, env::vars_os(), &[], &mut variables);
    let installed = Installed {
        release: release.hash.clone(),
        processes: flags.run.members.processes,
        variables,
        terminal,
    };
    let folder = folder(flags.place.folder.as_deref(), job);
    follow(&at(&folder, job).submit(&release, &installed), &flags.place)
}

pub fn cancel(flags: &LocalFlags) -> Result<u8, CommandError> {
    let folder = folder_of(flags);
    follow(&at(&folder, &flags.job).cancel(), &flags.place)
}

/// Gives the job another size. A job that has ended starts again.
pub fn rescale(flags: &Change<LocalFlags, SizeFlags>) -> Result<u8, CommandError> {
    let folder = folder_of(&flags.job);
    let at = at(&folder, &flags.job.job);
    let old = installed(&at)?;
    let mut new = old.clone();
    new.processes = flags.change.processes.unwrap_or(old.processes);
    if let Some(workers) = flags.change.workers {
        new.variables.set("TIDEMARK_WORKERS", workers.to_string());
    }

    if answer(&at.applications())?.is_empty() {
        return follow(&at.start(&new), &flags.job.place);
    }
    let replacement = YarnReplacement {
        release: None,
        old: &old,
        new: &new,
    };
    follow(&at.replace(&replacement), &flags.job.place)
}

pub fn upgrade(flags: &Change<LocalFlags, ProgramFlags>) -> Result<u8, CommandError> {
    let folder = folder_of(&flags.job);
    let at = at(&folder, &flags.job.job);
    let old = installed(&at)?;
    let release = new_program(&flags.change)?;
    if release.hash == old.release {
        return follow_change(None, &flags.job.place);
    }

    let new = Installed {
        release: release.hash.clone(),
        ..old.clone()
    };
    let replacement = YarnReplacement {
        release: Some(&release),
        old: &old,
        new: &new,
    };
    follow(&at.replace(&replacement), &flags.job.place)
}

/// Prints the applications of the job and whether its processes work. Returns 1 unless one application works.
pub fn status(flags: &LookFlags) -> Result<u8, CommandError> {
    let folder = folder(flags.folder.as_deref(), &flags.job);
    let at = at(&folder, &flags.job);
    let ids = answer(&at.applications())?;
    let state = match ids.lines().count() {
        0 => format!(
            "job {} does not run: `rescale yarn` starts it again\n",
            flags.job
        ),
        1 if succeeds(&at.are_ready(&installed(&at)?))? => {
            print(&format!("{} works\n", ids.trim()))?;
            return Ok(0);
        }
        1 => format!("{} runs and is not ready\n", ids.trim()),
        _ => format!(
            "the job runs more than once, as {}\n",
            ids.trim().replace('\n', ", ")
        ),
    };
    print(&state)?;
    Ok(1)
}

/// Prints the logs of the job's containers.
pub fn logs(flags: &LookFlags) -> Result<u8, CommandError> {
    let folder = folder(flags.folder.as_deref(), &flags.job);
    let ids = answer(&at(&folder, &flags.job).applications())?;
    let command = |id: &str| {
        ["yarn", "logs", "-applicationId", id]
            .map(str::to_owned)
            .to_vec()
    };
    let none = format!("job {} does not run", flags.job);
    all(ids.lines().map(command).collect(), none)
}

/// Reads the description of the job.
pub fn described(flags: &LocalFlags) -> Result<Installed, CommandError> {
    let folder = folder_of(flags);
    installed(&at(&folder, &flags.job))
}

fn at<'a>(folder: &'a Folder, job: &'a str) -> YarnFolder<'a> {
    YarnFolder {
        folder: &folder.0,
        job,
    }
}

fn installed(at: &YarnFolder<'_>) -> Result<Installed, CommandError> {
    let path = at.record();
    let missing = |reason: String| {
        refused(format!(
            "no job was submitted from {}: {reason}; name it by --job or --folder",
            at.folder.display()
        ))
    };
    let text = fs::read_to_string(&path).map_err(|error| missing(error.to_string()))?;
    serde_json::from_str(&text)
        .map_err(|error| refused(format!("{} cannot be read: {error}", path.display())))
}

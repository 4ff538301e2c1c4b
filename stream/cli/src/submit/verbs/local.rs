//! The verbs on a job on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::follow::{folder, folder_of, follow, follow_change, new_program, refused, this_program};
use crate::commands::print;
use crate::error::CommandError;
use crate::job::JobDefinition;
use crate::status::{self as pages, StatusAddress};
use crate::submit::installed::Installed;
use crate::submit::local::{self, Folder, Replacement};
use crate::submit::plan::words;
use crate::submit::targets::{Change, LocalFlags, LookFlags, ProgramFlags, SizeFlags, SubmitLocal};
use crate::submit::terminal::Terminal;
use crate::submit::variables::Variables;
use crate::submit::{answers, processes};

pub fn submit<D: JobDefinition>(
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
    let terminal = Terminal::of(this_folder()?, env::vars_os(), &flags.pass, &mut variables);
    let installed = Installed {
        release: release.hash.clone(),
        processes: flags.run.members.processes,
        variables,
        terminal,
    };

    can_start(&installed)?;
    follow(&folder.submit(&release, &installed), &flags.place)
}

/// Drains the job and ends it.
pub fn cancel(flags: &LocalFlags) -> Result<u8, CommandError> {
    let folder = folder_of(flags);
    let installed = running(&folder)?;
    let plan = folder.cancel(&installed, started(&folder, &installed));
    follow(&plan, &flags.place)
}

pub fn rescale(flags: &Change<LocalFlags, SizeFlags>) -> Result<u8, CommandError> {
    let folder = folder_of(&flags.job);
    let old = installed(&folder)?;
    can_start(&old)?;

    let mut new = old.clone();
    new.processes = flags.change.processes.unwrap_or(old.processes);
    if let Some(workers) = flags.change.workers {
        new.variables.set("TIDEMARK_WORKERS", workers.to_string());
    }

    let replacement = Replacement {
        release: None,
        old: &old,
        new: &new,
        running: started(&folder, &old),
    };

    follow(&folder.replace(&replacement), &flags.job.place)
}

pub fn upgrade(flags: &Change<LocalFlags, ProgramFlags>) -> Result<u8, CommandError> {
    let folder = folder_of(&flags.job);
    let old = running(&folder)?;
    let release = new_program(&flags.change)?;
    if release.hash == old.release {
        return follow_change(None, &flags.job.place);
    }

    can_start(&old)?;
    let new = Installed {
        release: release.hash.clone(),
        ..old.clone()
    };

    let replacement = Replacement {
        release: Some(&release),
        old: &old,
        new: &new,
        running: started(&folder, &old),
    };

    follow(&folder.replace(&replacement), &flags.job.place)
}

pub fn status(flags: &LookFlags) -> Result<u8, CommandError> {
    let folder = folder(flags.folder.as_deref(), &flags.job);
    let installed = installed(&folder)?;
    let mut works = true;
    for process in 0..installed.processes {
        let address = local::status(&installed, process);
        let lives = processes::pid_of(&folder.pid(process)).is_some();
        let is_ready = lives && answers::is_ready(address);
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

pub fn logs(flags: &LookFlags) -> Result<u8, CommandError> {
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

/// Reads the description of the installed job.
pub fn installed(folder: &Folder) -> Result<Installed, CommandError> {
    let path = folder.record();
    let missing = |reason: String| {
        refused(format!(
            "no job was submitted to {}: {reason}; name it by --job or --folder",
            folder.0.display()
        ))
    };

    let text = fs::read_to_string(&path).map_err(|error| missing(error.to_string()))?;
    let installed: Installed = serde_json::from_str(&text)
        .map_err(|error| refused(format!("{} cannot be read: {error}", path.display())))?;
    Ok(installed.in_terminal(this_folder()?, env::vars_os()))
}

/// Fails if this terminal does not have the variables that the job's processes get from it.
pub fn can_start(installed: &Installed) -> Result<(), CommandError> {
    let is_set = |name: &str| env::var_os(name).is_some();
    let missing = installed.terminal.missing(is_set);
    missing.map_or(Ok(()), |reason| Err(refused(reason)))
}

pub fn this_folder() -> Result<PathBuf, CommandError> {
    env::current_dir().map_err(CommandError::system("cannot find the working folder"))
}

/// Reads the description of the installed job, and fails if the job does not run.
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

/// Returns the number of processes that may be running. These are more than the job has if its replacement failed.
fn started(folder: &Folder, installed: &Installed) -> u16 {
    let is_none = |process: &u16| !folder.pid(*process).exists();
    let end = (installed.processes..u16::MAX).find(is_none);
    end.unwrap_or(u16::MAX)
}

fn is_running(folder: &Folder, installed: &Installed) -> bool {
    (0..started(folder, installed)).any(|process| processes::pid_of(&folder.pid(process)).is_some())
}

/// Fails if the job is running, as far as this machine can find out: by a process that was submitted here with these
/// checkpoints, or by a status page of the job. It would write further checkpoints, and its next start would go on
/// from these.
pub fn ensure_stopped(
    job: &str,
    checkpoints: &str,
    status: Option<StatusAddress>,
) -> Result<(), CommandError> {
    let place = checkpoints.strip_prefix("file://").map(Path::new);
    let folder = place.and_then(|path| Some(Folder(path.parent()?.to_path_buf())));
    let is_here = |folder: &Folder| installed(folder).is_ok_and(|job| is_running(folder, &job));

    if let Some(folder) = folder.filter(is_here) {
        let path = folder.0.display();
        return Err(refused(format!(
            "the job in {path} is running: end it by `cancel local --folder {path}` before it starts over"
        )));
    }

    let address = pages::asked(status);
    let served = address.filter(|address| answers::job_at(*address).as_deref() == Some(job));
    served.map_or(Ok(()), |address| {
        Err(refused(format!(
            "job {job:?} is running: its status is served at http://{address}; end it before it starts over"
        )))
    })
}

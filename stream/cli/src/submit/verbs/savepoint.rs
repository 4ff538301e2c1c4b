//! The verb that copies the newest checkpoint of a job, which runs on.

use std::env;

use super::follow::{folder_of, follow};
use super::{google, kubernetes, local, yarn};
use crate::error::CommandError;
use crate::submit::installed::Installed;
use crate::submit::plan::{Action, Plan, Step, Surroundings, words};
use crate::submit::targets::{ChangeAt, CopyFlags, LocalFlags};

/// Copies the newest checkpoint of the job to another place.
pub fn savepoint(at: &ChangeAt<CopyFlags>) -> Result<u8, CommandError> {
    match at {
        ChangeAt::Local(flags) => {
            let installed = local::installed(&folder_of(&flags.job))?;
            of_installed(&flags.job, &installed, &flags.change)
        }
        ChangeAt::Yarn(flags) => {
            let installed = yarn::described(&flags.job)?;
            of_installed(&flags.job, &installed, &flags.change)
        }
        ChangeAt::Gce(flags) => {
            let local = &flags.job.local;
            let found = google::on_machines(&flags.job.at, &local.job)?;
            of_described(local, found.checkpoints(), &flags.change)
        }
        ChangeAt::Dataproc(flags) => {
            let local = &flags.job.local;
            let found = google::on_cluster(&flags.job.at, &local.job)?;
            of_described(local, found.checkpoints(), &flags.change)
        }
        ChangeAt::Kubernetes(flags) => {
            let local = &flags.job.local;
            let found = kubernetes::found(&flags.job.at, &local.job)?;
            of_described(local, found.checkpoints(), &flags.change)
        }
    }
}

/// Copies with the surroundings of the job.
fn of_installed(
    flags: &LocalFlags,
    installed: &Installed,
    to: &CopyFlags,
) -> Result<u8, CommandError> {
    local::can_start(installed)?;
    let url = installed.variables.get("TIDEMARK_CHECKPOINTS");
    let action = Action::RunWith {
        command: copies(&flags.job, url.unwrap_or_default(), to)?,
        surroundings: Surroundings {
            variables: installed.variables.clone(),
            terminal: installed.terminal.clone(),
        },
    };
    follow(&copying(action), &flags.place)
}

/// Copies with the surroundings of this terminal.
fn of_described(flags: &LocalFlags, url: &str, to: &CopyFlags) -> Result<u8, CommandError> {
    let command = copies(&flags.job, url, to)?;
    follow(&copying(Action::Run(command)), &flags.place)
}

/// Returns the command of this program that copies the newest checkpoint.
fn copies(job: &str, url: &str, to: &CopyFlags) -> Result<Vec<String>, CommandError> {
    let program = env::current_exe().map_err(CommandError::system("cannot find this program"))?;
    let program = program.display().to_string();
    Ok(words([
        &*program,
        "checkpoints",
        "--checkpoints",
        url,
        "--job",
        job,
        "copy",
        "--to",
        &to.to,
    ]))
}

fn copying(action: Action) -> Plan {
    Plan {
        steps: vec![Step::new("copies the newest checkpoint", action)],
        end: "the checkpoint is copied; the job runs on".to_owned(),
        ..Plan::default()
    }
}

//! The commands that run a job elsewhere than in this terminal: `submit`, `status`, `logs`, `cancel`, `savepoint`, `rescale`,
//! `upgrade`.
//!
//! Each makes a plan, a list of steps as data, and then carries it out; `--dry-run` prints the plan instead. A target is a
//! function from the flags to a plan: [`local`] for this machine, [`machines`] for Google Compute Engine, [`applications`] for
//! Dataproc, [`hadoop`] for YARN, [`kubernetes`]. The [`verbs`] find a job at its place, and [`look`] shows its state.

mod answers;
mod applications;
mod carry_out;
mod files;
mod google;
mod hadoop;
mod installed;
mod kubernetes;
mod local;
mod log_end;
mod look;
mod machines;
mod pid;
mod plan;
mod processes;
mod random;
mod release;
mod targets;
mod terminal;
mod variables;
mod verbs;
mod yarn;

use clap::ArgMatches;

pub use self::carry_out::PlanError;
pub use self::google::Bootstrap;
pub use self::targets::{
    CancelAt, ChangeAt, CopyFlags, ImageFlags, LookAt, ProgramFlags, SizeFlags, SubmitTo,
};
use self::variables::Variables;
pub use self::verbs::local::ensure_stopped;
use crate::error::CommandError;
use crate::job::JobDefinition;

/// Submits the job to a place. `matches` are the arguments of the place's own command.
pub fn submit<D: JobDefinition>(
    to: &SubmitTo<D>,
    command: &clap::Command,
    matches: &ArgMatches,
    bootstrap: Option<Bootstrap>,
) -> Result<u8, CommandError> {
    let variables = Variables::of(command, matches);
    match to {
        SubmitTo::Local(flags) => verbs::local::submit(flags, variables),
        SubmitTo::Gce(flags) => verbs::google::submit_machines(flags, variables, bootstrap),
        SubmitTo::Dataproc(flags) => verbs::google::submit_application(flags, variables, bootstrap),
        SubmitTo::Yarn(flags) => verbs::yarn::submit(flags, variables),
        SubmitTo::Kubernetes(flags) => verbs::kubernetes::submit(flags, variables),
    }
}

/// Drains the job and ends it.
pub fn cancel(at: &CancelAt) -> Result<u8, CommandError> {
    match at {
        CancelAt::Local(flags) => verbs::local::cancel(flags),
        CancelAt::Gce(flags) => verbs::google::cancel_machines(flags),
        CancelAt::Dataproc(flags) => verbs::google::cancel_application(flags),
        CancelAt::Yarn(flags) => verbs::yarn::cancel(flags),
        CancelAt::Kubernetes(flags) => verbs::kubernetes::cancel(flags),
    }
}

/// Gives the job another number of processes or workers.
pub fn rescale(at: &ChangeAt<SizeFlags>, bootstrap: Option<Bootstrap>) -> Result<u8, CommandError> {
    match at {
        ChangeAt::Local(flags) => verbs::local::rescale(flags),
        ChangeAt::Gce(flags) => {
            let form = verbs::google::NewForm::Size(flags.change);
            verbs::google::replace_machines(&flags.job, form, bootstrap)
        }
        ChangeAt::Dataproc(flags) => {
            let form = verbs::google::NewForm::Size(flags.change);
            verbs::google::replace_application(&flags.job, form, bootstrap)
        }
        ChangeAt::Yarn(flags) => verbs::yarn::rescale(flags),
        ChangeAt::Kubernetes(flags) => verbs::kubernetes::rescale(flags),
    }
}

/// Replaces the program of the job. If the job is not ready then, the former program takes over again.
pub fn upgrade(
    at: &ChangeAt<ProgramFlags, ImageFlags>,
    bootstrap: Option<Bootstrap>,
) -> Result<u8, CommandError> {
    match at {
        ChangeAt::Local(flags) => verbs::local::upgrade(flags),
        ChangeAt::Gce(flags) => {
            let release = verbs::follow::new_program(&flags.change)?;
            let form = verbs::google::NewForm::Program(&release);
            verbs::google::replace_machines(&flags.job, form, bootstrap)
        }
        ChangeAt::Dataproc(flags) => {
            let release = verbs::follow::new_program(&flags.change)?;
            let form = verbs::google::NewForm::Program(&release);
            verbs::google::replace_application(&flags.job, form, bootstrap)
        }
        ChangeAt::Yarn(flags) => verbs::yarn::upgrade(flags),
        ChangeAt::Kubernetes(flags) => verbs::kubernetes::upgrade(flags),
    }
}

/// Copies the newest checkpoint of the job to another place, while the job runs on.
pub fn savepoint(at: &ChangeAt<CopyFlags>) -> Result<u8, CommandError> {
    verbs::savepoint::savepoint(at)
}

/// Prints which processes of the job live, and whether they work. Returns 1 unless all do.
pub fn status(at: &LookAt) -> Result<u8, CommandError> {
    match at {
        LookAt::Local(flags) => verbs::local::status(flags),
        LookAt::Gce(flags) => look::machines(&flags.at, &flags.job),
        LookAt::Dataproc(flags) => look::applications(&flags.at, &flags.job),
        LookAt::Yarn(flags) => verbs::yarn::status(flags),
        LookAt::Kubernetes(flags) => verbs::kubernetes::status(flags),
    }
}

/// Follows the logs of the job's processes.
pub fn logs(at: &LookAt) -> Result<u8, CommandError> {
    match at {
        LookAt::Local(flags) => verbs::local::logs(flags),
        LookAt::Gce(flags) => look::logs_of_machines(&flags.at, &flags.job),
        LookAt::Dataproc(flags) => look::logs_of_applications(&flags.at, &flags.job),
        LookAt::Yarn(flags) => verbs::yarn::logs(flags),
        LookAt::Kubernetes(flags) => verbs::kubernetes::logs(flags),
    }
}

#[cfg(test)]
mod failures;
#[cfg(test)]
mod interrupted;
#[cfg(test)]
mod stopped;
#[cfg(test)]
mod tests;

//! The command line of a job's program: its commands, and the flags of a run.

use clap::{Parser, Subcommand};

use crate::flags::{CheckpointsFlags, DoctorFlags, RunFlags};
use crate::job::JobDefinition;
use crate::submit::{
    CancelAt, ChangeAt, CopyFlags, ImageFlags, LookAt, ProgramFlags, SizeFlags, SubmitTo,
};

/// The whole command line.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub struct CommandLine<D: JobDefinition> {
    #[command(subcommand)]
    pub command: Option<Command<D>>,

    #[command(flatten)]
    pub run: RunFlags<D>,
}

/// The commands that every job has.
#[derive(Subcommand)]
pub enum Command<D: JobDefinition> {
    /// Runs the job in a process of its own and starts it again when it dies or hangs
    Supervise(Box<RunFlags<D>>),
    /// Runs the job in the background, on this machine or elsewhere
    #[command(subcommand)]
    Submit(SubmitTo<D>),
    /// Prints whether a submitted job works
    #[command(subcommand)]
    Status(LookAt),
    /// Follows the logs of a submitted job
    #[command(subcommand)]
    Logs(LookAt),
    /// Ends a submitted job after a last checkpoint
    #[command(subcommand)]
    Cancel(CancelAt),
    /// Copies the newest checkpoint of a submitted job, which runs on, to another job or URL
    #[command(subcommand)]
    Savepoint(ChangeAt<CopyFlags>),
    /// Gives a submitted job another number of processes or workers
    #[command(subcommand)]
    Rescale(ChangeAt<SizeFlags>),
    /// Replaces the program of a submitted job; if the job does not work then, the program before
    /// takes over again
    #[command(subcommand)]
    Upgrade(ChangeAt<ProgramFlags, ImageFlags>),
    /// Checks everything that the job needs, and names for each fault the owner of the setting and the
    /// remedy; changes nothing
    Doctor(Box<DoctorFlags<D>>),
    /// Shows, verifies, prunes, copies and reads the job's checkpoints
    Checkpoints(CheckpointsFlags<D>),
    /// Lets the next start read the topic from its beginning and replace all results; the job must
    /// not be running, and a job that is found to run on this machine is refused
    StartOver(Box<RunFlags<D>>),
}

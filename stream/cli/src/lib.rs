//! The `main` of a stream job: command line, logs, signals, status page, supervision, and commands
//! for checkpoints.
//!
//! A job is a function that completes a [`Job`]; its program is one call:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::time::Duration;
//! use record_log::Record;
//! use stream::{Count, Job, JobError, Output, Pipeline, Rejected, Windows};
//!
//! fn visits(job: Job) -> Result<Pipeline<u64, Count>, JobError> {
//!     Ok(job
//!         .source("visits", |record: &Record<'_>| {
//!             let text = std::str::from_utf8(record.value.unwrap_or_default());
//!             let visitor = text.map_err(Rejected::because)?.parse();
//!             Ok((record.log_time_ms, visitor.map_err(Rejected::because)?))
//!         })
//!         .window(Windows::tumbling(Duration::from_secs(60))?)
//!         .aggregate(|visitor: u64| [(visitor, Count(1))])
//!         .sink("visit-counts", |row, output: &mut Output| {
//!             output.key.extend(row.key.to_string().bytes());
//!             output.value.extend(row.aggregate.0.to_string().bytes());
//!         }))
//! }
//!
//! fn main() -> ExitCode {
//!     stream_cli::main("visits", visits)
//! }
//! ```
//!
//! The program then has these commands, and a flag and an environment variable for each setting:
//!
//! ```text
//! visits                                         runs the job until it is stopped
//! visits --until-end                             … until the ends that the partitions have now
//! visits --input file:///folder                  … on files, one record a line
//! visits --generate 1000000                      … on generated records, if the program has a generator
//! visits --output gs://bucket/prefix             … and publishes to files, exactly once by name
//! visits doctor                                  checks the needs of the job, and names each fault's remedy
//! visits submit local | gce | dataproc | yarn | kubernetes    in the background; status, logs, cancel, savepoint, rescale, upgrade
//! visits supervise                               starts it again whenever it dies or hangs
//! visits checkpoints list | show | verify | prune | copy | read
//! visits start-over                              the next start reads everything again
//! visits --help                                  every setting
//! ```
//!
//! With `--input`, any job reads files instead of its topic. [`guide`] begins with two empty files and
//! ends with a job on your Kafka.
//!
//! The program ends with exit code 0 when it is done or stopped, 1 if it cannot work as it is set up, and 2 if a flag
//! is wrong. The code is 75 (`EX_TEMPFAIL`) if its supervisor should start it again, and 141 if the reader of its
//! output has gone, as in `visits checkpoints list | head -1`.
//!
//! A job with flags of its own implements [`JobDefinition`] on a struct of them, and its program is
//! a [`Program`] of this struct. Further commands, and records to try the job with, are added to
//! the [`Program`].

mod announcement;
mod checkpoints;
mod command_line;
mod commands;
mod doctor;
mod error;
mod flags;
mod generator;
pub mod guide;
mod help;
mod job;
mod job_name;
mod logs;
mod members;
mod memory;
mod output_format;
mod program;
mod sample;
mod settings;
mod status;
mod submit;
mod supervise;
mod usage;

use std::process::ExitCode;

use stream::{AnyPipeline, Job, JobError};

pub use error::CommandError;
pub use flags::{Client, LogFilter, LogFlags, RunFlags};
pub use generator::{Amount, GeneratorFlags};
pub use job::{JobDefinition, JobSettings, NoFlags};
pub use logs::LogFormat;
pub use members::MembershipFlags;
pub use output_format::OutputFormat;
pub use program::Program;
pub use sample::SampleRecord;
pub use settings::{GuaranteeFlag, SettingsFlags, UnreadableBatchesFlag};
pub use status::{InvalidStatusAddress, StatusAddress, StatusPages, status_pages};
pub use submit::Bootstrap;
pub use usage::exit as exit_with_usage;

/// Runs the program of a job without flags of its own, and returns its exit code. `name` is the
/// program's name, and the job's unless `--job` sets another one.
pub fn main<P: Into<AnyPipeline>>(
    name: &'static str,
    define: impl FnOnce(Job) -> Result<P, JobError> + 'static,
) -> ExitCode {
    Program::of(name, define).main()
}

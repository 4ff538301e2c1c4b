//! The program of a job: it parses the command line, runs one command, and returns the exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches};
use record_log::generated::GeneratedRecord;
use stream::{AnyPipeline, EXIT_START_AGAIN, Job, JobError};

use crate::command_line::{Command, CommandLine};
use crate::commands;
use crate::doctor;
use crate::error::{CommandError, EXIT_PIPE};
use crate::flags::{LogFlags, RunFlags};
use crate::generator::Generator;
use crate::help;
use crate::job::{JobDefinition, NoFlags};
use crate::logs;
use crate::memory;
use crate::sample::{self, Published, Sample, SampleRecord};
use crate::submit::{self, Bootstrap};
use crate::usage;

/// The program of a job.
///
/// ```
/// # use std::time::Duration;
/// use stream_cli::{CommandError, NoFlags, Program, SampleRecord};
/// # use stream::{Count, Job, JobError, Pipeline, Windows};
/// # fn visits(job: Job) -> Result<Pipeline<u64, Count>, JobError> {
/// #     Ok(job
/// #         .source("visits", |record: &record_log::Record<'_>| Ok((record.log_time_ms, 7)))
/// #         .window(Windows::tumbling(Duration::from_secs(60))?)
/// #         .aggregate(|visitor: u64| [(visitor, Count(1))])
/// #         .sink("visit-counts", |_, _| {}))
/// # }
///
/// fn program() -> Program<NoFlags> {
///     Program::of("visits", visits)
///         .about("Counts visits, every minute")
///         .sample(|| vec![SampleRecord { key: Vec::new(), value: b"7".to_vec() }])
///         .command("greet", "Greets", |_: NoFlags| Ok(3))
/// }
///
/// // A program ends with `program().main()`.
/// let run = |arguments: &[&str]| program().run(arguments.iter().map(Into::into));
/// assert_eq!(run(&["visits", "greet"])?, 3);
/// assert_eq!(run(&["visits", "start-over"]).map_err(|error| error.exit_code()), Err(1));
/// # Ok::<(), CommandError>(())
/// ```
pub struct Program<D: JobDefinition> {
    name: &'static str,
    about: &'static str,
    version: &'static str,
    define: Define<D>,
    samples: Vec<Box<dyn FnOnce() -> Sample>>,
    generator: Option<Generator>,
    bootstrap: Option<Bootstrap>,
    own: Vec<OwnCommand>,
}

type Define<D> = Box<dyn FnOnce(&D, Job) -> Result<AnyPipeline, JobError>>;

type RunCommand = Box<dyn FnOnce(&ArgMatches) -> Result<u8, CommandError>>;

/// A command that only this job has.
struct OwnCommand {
    command: clap::Command,
    run: RunCommand,
}

/// The flags that name a Kafka. If none of them is given, results are printed.
const OF_KAFKA: [&str; 3] = ["brokers", "client", "properties"];

impl<D: JobDefinition> Default for Program<D> {
    fn default() -> Self {
        Self {
            name: D::NAME,
            about: D::ABOUT,
            version: env!("CARGO_PKG_VERSION"),
            define: Box::new(|own: &D, job| own.define(job)),
            samples: Vec::new(),
            generator: None,
            bootstrap: None,
            own: Vec::new(),
        }
    }
}

impl Program<NoFlags> {
    /// Creates the program of a job without flags of its own. `name` is the program's name, and the
    /// job's unless `--job` sets another one.
    pub fn of<P: Into<AnyPipeline>>(
        name: &'static str,
        define: impl FnOnce(Job) -> Result<P, JobError> + 'static,
    ) -> Self {
        Self {
            name,
            define: Box::new(|_, job| define(job).map(Into::into)),
            ..Self::default()
        }
    }
}

impl<D: JobDefinition> Program<D> {
    /// Sets the sentence that the help begins with.
    #[must_use]
    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Sets the version that `--version` prints.
    #[must_use]
    pub fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// Adds records to try the job with. If no flag and no variable names a Kafka, the job reads
    /// these records from memory, and the program prints its results and ends.
    #[must_use]
    pub fn sample(self, records: impl FnOnce() -> Vec<SampleRecord> + 'static) -> Self {
        self.with_sample(None, records)
    }

    /// Adds records to try the job with to one of its source topics, if it reads several.
    #[must_use]
    pub fn sample_of(
        self,
        topic: &'static str,
        records: impl FnOnce() -> Vec<SampleRecord> + 'static,
    ) -> Self {
        self.with_sample(Some(topic), records)
    }

    fn with_sample(
        mut self,
        topic: Option<&'static str>,
        records: impl FnOnce() -> Vec<SampleRecord> + 'static,
    ) -> Self {
        let sample = move || Sample {
            topic,
            records: records(),
        };
        self.samples.push(Box::new(sample));
        self
    }

    /// Sets the function that makes a record from the topic's name, a seed and the record's number. It must return the
    /// same record for the same arguments. With `--generate`, the job then reads these records.
    ///
    /// ```
    /// use record_log::generated::GeneratedRecord;
    /// use stream_cli::{NoFlags, Program};
    ///
    /// # use stream::{Count, Job, JobError, Pipeline, Windows};
    /// # fn visits(job: Job) -> Result<Pipeline<u64, Count>, JobError> {
    /// #     Ok(job
    /// #         .source("visits", |record: &record_log::Record<'_>| Ok((record.log_time_ms, 7)))
    /// #         .window(Windows::tumbling(std::time::Duration::from_secs(60))?)
    /// #         .aggregate(|visitor: u64| [(visitor, Count(1))])
    /// #         .sink("visit-counts", |_, _| {}))
    /// # }
    /// let program = Program::of("visits", visits).generator(|_topic, seed, number| GeneratedRecord {
    ///     value: (seed + number).to_string().into_bytes(),
    ///     ..GeneratedRecord::default()
    /// });
    /// # let _: Program<NoFlags> = program;
    /// ```
    #[must_use]
    pub fn generator(
        self,
        generate: impl Fn(&str, u64, u64) -> GeneratedRecord + Send + Sync + 'static,
    ) -> Self {
        Self {
            generator: Some(Arc::new(generate)),
            ..self
        }
    }

    /// Sets the scripts by which `submit` starts the job on Google Cloud.
    #[must_use]
    pub fn bootstrap(self, bootstrap: Bootstrap) -> Self {
        Self {
            bootstrap: Some(bootstrap),
            ..self
        }
    }

    /// Adds a command of the job's own. `run` receives the command's flags, and returns the exit
    /// code of the process. [`RunFlags`] has the flags of a run.
    #[must_use]
    pub fn command<A: Args>(
        mut self,
        name: &'static str,
        about: &'static str,
        run: impl FnOnce(A) -> Result<u8, CommandError> + 'static,
    ) -> Self {
        let command = A::augment_args(clap::Command::new(name)).about(about);
        let run = |matches: &ArgMatches| match A::from_arg_matches(matches) {
            Ok(flags) => run(flags),
            Err(error) => error.exit(),
        };

        self.own.push(OwnCommand {
            command,
            run: Box::new(run),
        });

        self
    }

    /// Runs the command that the process's command line names. An error is printed in one line to
    /// standard error. Returns the exit code.
    pub fn main(self) -> ExitCode {
        let name = self.name;
        memory::bound_arenas();
        match self.run(std::env::args_os()) {
            Ok(code) => ExitCode::from(code),
            Err(error) if error.is_of_reader() => ExitCode::from(EXIT_PIPE),
            Err(error) => {
                let code = error.exit_code();
                logs::report(name, &error.on_one_line(), code == EXIT_START_AGAIN);
                ExitCode::from(code)
            }
        }
    }

    /// Runs the command that these arguments name; the first of them is the program. Returns the
    /// exit code.
    ///
    /// # Errors
    /// [`CommandError`]. If an argument is wrong, or help is requested, the process ends here.
    pub fn run(
        mut self,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<u8, CommandError> {
        let command = self.command_line();
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let matches = command
            .clone()
            .try_get_matches_from(&arguments)
            .unwrap_or_else(|error| usage::exit(&error, &command, &arguments));
        if let Some((name, matches)) = matches.subcommand() {
            let is_named = |own: &OwnCommand| own.command.get_name() == name;
            if let Some(at) = self.own.iter().position(is_named) {
                return (self.own.remove(at).run)(matches);
            }
        }

        let line = CommandLine::<D>::from_arg_matches(&matches);
        let CommandLine { command: verb, run } = line.unwrap_or_else(|error| error.exit());
        match verb {
            None if is_printed(&matches, &run.records) => self.read_own_records(run),
            None if self.is_sampled(&matches) && run.records.output.is_none() => self.try_out(run),
            None => {
                let generator = self.generator.clone();
                commands::work(run, generator.as_ref(), |run| self.define(run))
            }
            Some(Command::Supervise(run)) => commands::keep_working(&*run),
            Some(Command::Submit(to)) => {
                let (command, matches) = leaf(&command, &matches);
                submit::submit(&to, command, matches, self.bootstrap)
            }
            Some(Command::Status(at)) => submit::status(&at),
            Some(Command::Logs(at)) => submit::logs(&at),
            Some(Command::Cancel(at)) => submit::cancel(&at),
            Some(Command::Savepoint(at)) => submit::savepoint(&at),
            Some(Command::Rescale(at)) => submit::rescale(&at, self.bootstrap),
            Some(Command::Upgrade(at)) => submit::upgrade(&at, self.bootstrap),
            Some(Command::Doctor(flags)) => doctor::run(*flags, |run| self.define(run)),
            Some(Command::Checkpoints(flags)) => commands::checkpoints(flags, self.define),
            Some(Command::StartOver(run)) => {
                let pipeline = self.define(&*run)?;
                let checkpoints = &run.job.settings.checkpoints;
                submit::ensure_stopped(&run.job.job, checkpoints, run.status_address)?;
                commands::start_over(&pipeline, checkpoints)
            }
        }
    }

    /// Returns the command line: all commands and flags, with the names of this program and job.
    pub fn command_line(&self) -> clap::Command {
        let command = CommandLine::<D>::command()
            .name(self.name)
            .about(self.about)
            .version(self.version)
            .subcommands(self.own.iter().map(|own| own.command.clone()));
        // `mut_subcommand` would move the command to the end of the help.
        let command =
            with_job(command, self.name).mut_subcommands(|command| match command.get_name() {
                "doctor" => command.after_help(doctor::help()),
                _ => command,
            });

        let command = match &self.generator {
            Some(_) => command,
            None => without_generator(command),
        };

        let mut end = help::examples(self.name);
        if !self.samples.is_empty() {
            end += "\nWithout --brokers, the job reads sample records from memory, prints its results and ends.";
        }

        help::grouped(command).after_help(end)
    }

    fn define(self, run: &RunFlags<D>) -> Result<AnyPipeline, CommandError> {
        Ok((self.define)(&run.job.own, Job::new(&run.job.job))?)
    }

    fn is_sampled(&self, matches: &ArgMatches) -> bool {
        !self.samples.is_empty() && is_without_kafka(matches)
    }

    /// Runs the job on files or generated records, and prints its results.
    fn read_own_records(self, run: RunFlags<D>) -> Result<u8, CommandError> {
        run.start_logs();
        let generator = self.generator.clone();
        let pipeline = self.define(&run)?;
        let settings = run.job.settings.into();

        let stop = commands::stop_on_signals()?;
        let generator = generator.as_ref();
        let published =
            sample::run_own_records(pipeline, settings, &run.records, generator, &stop)?;
        show(&published)
    }

    fn try_out(mut self, run: RunFlags<D>) -> Result<u8, CommandError> {
        run.start_logs();
        let samples = std::mem::take(&mut self.samples).into_iter();
        let samples: Vec<Sample> = samples.map(|sample| sample()).collect();
        let pipeline = self.define(&run)?;
        let stop = commands::stop_on_signals()?;
        let published = sample::run(pipeline, run.job.settings.into(), &samples, &stop)?;
        show(&published)
    }
}

/// Returns the innermost command that was given, and its arguments.
fn leaf<'a>(
    mut command: &'a clap::Command,
    mut matches: &'a ArgMatches,
) -> (&'a clap::Command, &'a ArgMatches) {
    while let Some((name, inner)) = matches.subcommand() {
        let Some(below) = command.find_subcommand(name) else {
            break;
        };
        command = below;
        matches = inner;
    }
    (command, matches)
}

/// Returns whether the job's results are printed, because it reads files or generated records and neither a Kafka nor an
/// output is named.
fn is_printed(matches: &ArgMatches, records: &LogFlags) -> bool {
    is_without_kafka(matches) && records.has_own_records() && records.output.is_none()
}

/// Returns whether no flag and no variable names a Kafka.
fn is_without_kafka(matches: &ArgMatches) -> bool {
    let is_given = |id: &&str| {
        let source = matches.value_source(id);
        !matches!(source, None | Some(ValueSource::DefaultValue))
    };
    !OF_KAFKA.iter().any(is_given)
}

/// Prints results to standard output, a line each, and warnings to standard error.
fn show(published: &Published) -> Result<u8, CommandError> {
    for line in &published.results {
        commands::print(&format!("{line}\n"))?;
    }
    for warning in &published.warnings {
        logs::note(warning);
    }
    Ok(0)
}

/// Leaves the flags of generated records out of the help of all commands.
fn without_generator(command: clap::Command) -> clap::Command {
    let is_of_generator = |argument: &clap::Arg| argument.get_id().as_str().starts_with("generate");
    command
        .mut_args(|argument| match is_of_generator(&argument) {
            true => argument.hide(true),
            false => argument,
        })
        .mut_subcommands(without_generator)
}

/// Makes `job` the default of `--job`, in all commands.
fn with_job(command: clap::Command, job: &'static str) -> clap::Command {
    command
        .mut_args(|argument| {
            if argument.get_id() == "job" {
                argument.default_value(job).required(false)
            } else {
                argument
            }
        })
        .mut_subcommands(|command| with_job(command, job))
}

#[cfg(test)]
mod tests;

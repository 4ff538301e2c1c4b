//! The program of a job: it parses the command line, runs one command, and returns the exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches};
use stream::{AnyPipeline, EXIT_START_AGAIN, Job, JobError};

use crate::command_line::{Command, CommandLine};
use crate::commands;
use crate::doctor;
use crate::error::CommandError;
use crate::flags::{LogFlags, RunFlags};
use crate::job::{JobDefinition, NoFlags};
use crate::logs;
use crate::memory;
use crate::sample::{self, Published, Sample, SampleRecord};
use crate::submit::{self, Bootstrap};

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

    /// Adds such records for one of the source topics, if the job reads several.
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

    /// Sets the scripts by which `submit` starts the job on Google Cloud.
    #[must_use]
    pub fn bootstrap(self, bootstrap: Bootstrap) -> Self {
        Self {
            bootstrap: Some(bootstrap),
            ..self
        }
    }

    /// Adds a command of the job's own. `run` receives the command's flags, and returns the exit
    /// code of the process. [`RunFlags`] are those of a run.
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
        let matches = command.clone().get_matches_from(arguments);
        if let Some((name, matches)) = matches.subcommand() {
            let is_named = |own: &OwnCommand| own.command.get_name() == name;
            if let Some(at) = self.own.iter().position(is_named) {
                return (self.own.remove(at).run)(matches);
            }
        }

        let line = CommandLine::<D>::from_arg_matches(&matches);
        let CommandLine { command: verb, run } = line.unwrap_or_else(|error| error.exit());
        match verb {
            None if prints_files(&matches, &run.records) => self.read_files(run),
            None if self.is_sampled(&matches) => self.try_out(run),
            None => commands::work(run, |run| self.define(run)),
            Some(Command::Supervise(run)) => commands::keep_working(&*run),
            Some(Command::Submit(to)) => {
                let (command, matches) = leaf(&command, &matches);
                submit::submit(&to, command, matches, self.bootstrap)
            }
            Some(Command::Status(at)) => submit::status(&at),
            Some(Command::Logs(at)) => submit::logs(&at),
            Some(Command::Cancel(at)) => submit::cancel(&at),
            Some(Command::Rescale(at)) => submit::rescale(&at),
            Some(Command::Upgrade(at)) => submit::upgrade(at),
            Some(Command::Doctor(flags)) => doctor::run(*flags, |run| self.define(run)),
            Some(Command::Checkpoints(flags)) => commands::checkpoints(flags),
            Some(Command::StartOver(run)) => {
                let pipeline = self.define(&*run)?;
                commands::start_over(&pipeline, &run.job.settings.checkpoints)
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

        if self.samples.is_empty() {
            return command;
        }
        command.after_help(
            "Without --brokers, the job reads sample records from memory, prints its results and ends.",
        )
    }

    fn define(self, run: &RunFlags<D>) -> Result<AnyPipeline, CommandError> {
        Ok((self.define)(&run.job.own, Job::new(&run.job.job))?)
    }

    fn is_sampled(&self, matches: &ArgMatches) -> bool {
        !self.samples.is_empty() && is_without_kafka(matches)
    }

    /// Runs the job on files, and prints its results.
    fn read_files(self, run: RunFlags<D>) -> Result<u8, CommandError> {
        run.start_logs();
        let pipeline = self.define(&run)?;
        let Some(files) = run.records.files() else {
            return Ok(0);
        };

        let stop = commands::stop_on_signals()?;
        let published = sample::run_files(pipeline, run.job.settings.into(), &files, &stop)?;
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

/// Returns whether the job's results are printed, because it reads files and no Kafka is named.
fn prints_files(matches: &ArgMatches, records: &LogFlags) -> bool {
    is_without_kafka(matches) && records.input.is_some()
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
        eprintln!("{warning}");
    }
    Ok(0)
}

/// Makes `job` the default of `--job`, in all commands.
fn with_job(command: clap::Command, job: &'static str) -> clap::Command {
    command
        .mut_args(|argument| {
            if argument.get_id() == "job" {
                argument.default_value(job)
            } else {
                argument
            }
        })
        .mut_subcommands(|command| with_job(command, job))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use record_log::Record;
    use record_log::files::FilesSettings;
    use stream::{Count, Pipeline, Rejected, Stop, Windows};

    use super::*;

    /// Counts each text in windows of a minute.
    fn words(job: Job) -> Result<Pipeline<u64, Count>, JobError> {
        Ok(job
            .source("words", |record: &Record<'_>| {
                let text = std::str::from_utf8(record.value.unwrap_or_default());
                let word: u64 = text
                    .map_err(Rejected::because)?
                    .parse()
                    .map_err(Rejected::because)?;
                Ok((record.log_time_ms, word))
            })
            .window(Windows::tumbling(Duration::from_secs(60))?)
            .aggregate(|word| [(word, Count(1))])
            .sink("word-counts", |row, output| {
                let line = format!("{} {}", row.key, row.aggregate.0);
                output.value.extend(line.bytes());
            }))
    }

    fn program() -> Program<NoFlags> {
        Program::of("words", words)
    }

    fn sample() -> Vec<SampleRecord> {
        let record = |word: &&str| SampleRecord {
            key: Vec::new(),
            value: word.as_bytes().to_vec(),
        };
        ["3", "17", "3", "no number"].iter().map(record).collect()
    }

    fn run(program: Program<NoFlags>, arguments: &[&str]) -> Result<u8, CommandError> {
        let line = ["words"].iter().chain(arguments).map(OsString::from);
        program.run(line)
    }

    /// Returns the default of a flag of a command, or none if the command has no such flag.
    fn default_of(command: &clap::Command, flag: &str) -> Option<String> {
        let argument = command.get_arguments().find(|arg| arg.get_id() == flag)?;
        let default = argument.get_default_values().first()?;
        Some(default.to_string_lossy().into_owned())
    }

    #[test]
    fn the_command_line_is_well_formed_with_commands_of_the_job_too() {
        program().command_line().debug_assert();
        program()
            .sample(sample)
            .command::<RunFlags<NoFlags>>("look", "Looks around", |_| Ok(0))
            .command_line()
            .debug_assert();
    }

    #[test]
    fn every_command_takes_the_job_s_name_from_the_program() {
        let command = program()
            .command::<RunFlags<NoFlags>>("look", "Looks around", |_| Ok(0))
            .command_line();
        assert_eq!(default_of(&command, "job").as_deref(), Some("words"));

        for name in ["supervise", "checkpoints", "start-over", "doctor", "look"] {
            let command = command.find_subcommand(name).unwrap();
            let job = default_of(command, "job");
            assert_eq!(job.as_deref(), Some("words"), "{name}");
        }
    }

    #[test]
    fn a_command_of_the_job_s_own_gets_its_flags_and_gives_the_exit_code() {
        #[derive(clap::Args)]
        struct Flags {
            #[arg(long)]
            code: u8,
        }

        let own = || program().command("give", "Gives a code", |flags: Flags| Ok(flags.code));
        assert_eq!(run(own(), &["give", "--code", "7"]).unwrap(), 7);

        let failing = program().command("fail", "Fails", |_: Flags| {
            Err(CommandError::Other("it failed".into()))
        });
        let error = run(failing, &["fail", "--code", "7"]).unwrap_err();
        assert_eq!(
            (error.on_one_line().as_str(), error.exit_code()),
            ("it failed", 1)
        );
    }

    #[test]
    fn sample_records_are_read_only_if_no_kafka_is_named() {
        let is_sampled = |program: &Program<NoFlags>, arguments: &[&str]| {
            let line = ["words"].iter().chain(arguments);
            program.is_sampled(&program.command_line().get_matches_from(line))
        };

        let with = program().sample(sample);
        assert!(is_sampled(&with, &[]) && is_sampled(&with, &["--workers", "1"]));
        for kafka in [
            ["--brokers", "localhost:9092"],
            ["--client", "native"],
            ["--property", "client.id=me"],
        ] {
            assert!(!is_sampled(&with, &kafka), "{kafka:?}");
        }
        assert!(!is_sampled(&program(), &[]), "without sample records");
    }

    #[test]
    fn the_results_of_sample_records_are_those_of_the_job() {
        let pipeline = words(Job::new("words")).unwrap().into();
        let samples = [Sample {
            topic: None,
            records: sample(),
        }];
        let published = sample::run(pipeline, Default::default(), &samples, &Stop::default());
        assert_eq!(published.unwrap(), expected());
    }

    /// The job's output for the sample records.
    fn expected() -> Published {
        let warning = "1 rejected records were not counted; \
                       the first: invalid digit found in string: no number";
        Published {
            results: vec!["17 1".to_owned(), "3 2".to_owned()],
            warnings: vec![warning.to_owned()],
        }
    }

    /// Writes the sample records to two files of a folder, below a header each.
    fn sample_files() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, lines) in [("a", "word\n3\n17"), ("b", "word\n\n3\nno number\n")] {
            std::fs::write(folder.path().join(name), lines).unwrap();
        }
        folder
    }

    #[test]
    fn the_results_of_files_are_those_of_the_same_records() {
        let folder = sample_files();
        let files = FilesSettings {
            path: folder.path().to_owned(),
            has_header: true,
        };
        let settings = |workers, checkpoints: &str| stream::Settings {
            workers,
            checkpoints: checkpoints.to_owned(),
            ..Default::default()
        };
        let run = |settings| {
            let pipeline = words(Job::new("words")).unwrap().into();
            sample::run_files(pipeline, settings, &files, &Stop::default())
        };

        for workers in 1..=3 {
            assert_eq!(run(settings(workers, "memory:///")).unwrap(), expected());
        }
        let error = run(settings(1, "file:///checkpoints")).unwrap_err();
        assert!(error.on_one_line().contains("--checkpoints"), "{error}");
    }

    #[test]
    fn files_are_read_without_a_kafka_and_without_sample_records() {
        let folder = sample_files();
        let url = format!("file://{}", folder.path().display());
        let missing = format!("{url}/missing");

        // The sample records would be read without an error.
        let program = program().sample(sample);
        let error = run(program, &["--input", &missing]).unwrap_err();
        assert!(error.on_one_line().contains("missing: "), "{error}");
    }

    #[test]
    fn the_results_of_files_are_printed_only_if_no_kafka_is_named() {
        let are_printed = |arguments: &[&str]| {
            let command = program().command_line();
            let matches = command.get_matches_from(["words"].iter().chain(arguments));
            let line = CommandLine::<NoFlags>::from_arg_matches(&matches).unwrap();
            prints_files(&matches, &line.run.records)
        };
        let files = ["--input", "/data"];
        let kafka = ["--brokers", "localhost:9092"];
        assert!(are_printed(&files));
        assert!(!are_printed(&[]) && !are_printed(&kafka));
        assert!(!are_printed(&[files, kafka].concat()));
    }

    #[test]
    fn start_over_needs_checkpoints_that_outlive_a_process() {
        let error = run(program(), &["start-over"]).unwrap_err();
        assert!(error.on_one_line().contains("--checkpoints"), "{error}");

        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let arguments = ["start-over", "--job", "of-today", "--checkpoints", &url];
        assert_eq!(run(program(), &arguments).unwrap(), 0);

        let show = [
            "checkpoints",
            "--job",
            "of-today",
            "--checkpoints",
            &url,
            "show",
        ];
        assert_eq!(run(program(), &show).unwrap(), 0);

        let show = ["checkpoints", "--checkpoints", &url, "show"];
        assert!(run(program(), &show).is_err(), "the job words has none");
    }

    #[test]
    fn flags_of_a_job_are_those_of_its_program_and_secrets_are_not_shown() {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            run: RunFlags<NoFlags>,
        }

        let secret = "sasl.password=open sesame";
        let line = Line::parse_from(["words", "--property", secret, "--job", "of-today"]);
        assert_eq!(line.run.job.job, "of-today");

        let shown = format!("{:?}", line.run);
        assert!(shown.contains("sasl.password") && !shown.contains("sesame"));
    }
}

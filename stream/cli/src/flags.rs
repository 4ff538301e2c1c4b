//! The command line of a job's program.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use record_log::files::{FilesLog, FilesSettings};
use record_log::simulated::SimulatedLog;
use record_log::{LogError, LogSettings, RecordLog};
use stream::FileSink;
use tracing_subscriber::EnvFilter;

use crate::checkpoints::CheckpointsVerb;
use crate::generator::{Generator, GeneratorFlags, open_generated};
use crate::job::{JobDefinition, JobSettings};
use crate::job_name;
use crate::logs::{self, LogFormat};
use crate::members::MembershipFlags;
use crate::output_format::OutputFormat;
use crate::status::StatusAddress;

/// The settings of the job that is examined, and how the findings are printed.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct DoctorFlags<D: JobDefinition> {
    #[command(flatten)]
    pub run: RunFlags<D>,

    /// Print the findings as JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

/// The place of a job's checkpoints, and a start without them.
#[derive(Args)]
#[group(skip)]
pub struct CheckpointsFlags<D: JobDefinition> {
    /// URL of the folder that holds the checkpoints
    #[arg(
        long,
        env = "TIDEMARK_CHECKPOINTS",
        value_name = "URL",
        global = true,
        default_value = "memory:///"
    )]
    pub checkpoints: String,

    /// The job's name
    #[arg(
        long,
        env = "TIDEMARK_JOB",
        value_parser = job_name::parse,
        default_value = D::NAME,
        value_name = "NAME",
        global = true
    )]
    pub job: String,

    #[command(subcommand)]
    pub command: CheckpointsVerb<D>,
}

/// All settings of a run of a job.
///
/// ```
/// use clap::Parser;
/// use stream::{Guarantee, Settings};
/// use stream_cli::{Client, GuaranteeFlag, InvalidStatusAddress, LogFilter, LogFlags, LogFormat, MembershipFlags, NoFlags};
/// use stream_cli::{OutputFormat, RunFlags, SettingsFlags, StatusAddress, UnreadableBatchesFlag};
///
/// #[derive(Parser)]
/// struct Line {
///     #[command(flatten)]
///     run: RunFlags<NoFlags>,
/// }
///
/// let flags = ["job", "--guarantee", "at-least-once", "--processes", "3"];
/// let RunFlags { records, status_address, log, log_format, members, job } = Line::parse_from(flags).run;
/// assert_eq!(status_address, None);
/// assert_eq!("off".parse(), Ok(StatusAddress::Off));
/// assert_eq!("5006".parse::<StatusAddress>(), Err(InvalidStatusAddress));
///
/// let LogFlags { brokers, client, output_format, .. } = records;
/// assert_eq!((&*brokers, client, output_format), ("localhost:9092", Client::Native, OutputFormat::Ndjson));
///
/// let MembershipFlags { processes, .. } = members;
/// let settings: SettingsFlags = job.settings;
/// assert_eq!((processes, settings.guarantee), (3, GuaranteeFlag::AtLeastOnce));
/// assert_eq!(settings.unreadable_batches, UnreadableBatchesFlag::Stop);
/// assert_eq!(Settings::from(settings).guarantee, Guarantee::AtLeastOnce);
///
/// let _: (LogFilter, LogFormat) = (log, log_format);
/// ```
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct RunFlags<D: JobDefinition> {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub records: LogFlags,

    /// Address that serves the status page, health and metrics, or off [default: port 5006 of this machine, for process
    /// n the port n above, and a free port if that is taken]
    #[arg(long, env = "TIDEMARK_STATUS_ADDRESS", value_name = "IP:PORT|off")]
    pub status_address: Option<StatusAddress>,

    /// Log level (error, warn, info, debug), or a level for one module as in
    /// `stream=debug`
    #[arg(
        long,
        env = "TIDEMARK_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: LogFilter,

    /// Format of the logs: auto is text on a terminal, and JSON with a field `severity` elsewhere
    #[arg(
        long,
        env = "TIDEMARK_LOG_FORMAT",
        default_value = "auto",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub log_format: LogFormat,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub members: MembershipFlags,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub job: JobSettings<D>,
}

/// The Kafka that a job reads and publishes to, and the files that it may read and write instead.
#[derive(Args, Clone)]
#[group(skip)]
pub struct LogFlags {
    /// Kafka brokers, host:port, comma separated
    #[arg(long, env = "TIDEMARK_BROKERS", default_value = "localhost:9092")]
    pub brokers: String,

    /// Client of Kafka: this project's own, or librdkafka
    #[arg(
        long,
        env = "TIDEMARK_CLIENT",
        value_enum,
        default_value_t = Client::Native
    )]
    pub client: Client,

    /// Further property, by librdkafka's name, such as security.protocol=SASL_SSL; repeat the flag,
    /// or put one property on each line of the variable
    ///
    /// --client native takes: security.protocol; sasl.mechanism (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER),
    /// sasl.username, sasl.password, sasl.oauthbearer.token.file and sasl.oauthbearer.token.source (its own: google, or
    /// msk-iam for Amazon MSK, with sasl.oauthbearer.token.region); ssl.ca.location, ssl.certificate.location,
    /// ssl.key.location (or .pem), ssl.endpoint.identification.algorithm; client.id; socket.timeout.ms,
    /// socket.connection.setup.timeout.ms, socket.keepalive.enable, socket.send.buffer.bytes,
    /// socket.receive.buffer.bytes; fetch.wait.max.ms, fetch.min.bytes, fetch.max.bytes, max.partition.fetch.bytes,
    /// queued.max.messages.kbytes; transaction.timeout.ms
    #[arg(long = "property", env = "TIDEMARK_PROPERTIES", hide_env_values = true, value_delimiter = '\n', value_parser = parse_property, value_name = "NAME=VALUE")]
    pub properties: Vec<(String, String)>,

    /// Read the job's records from files in place of its topic, one record a line: file:///folder,
    /// or a file; the job ends when it has read them
    ///
    /// Each file of the folder is a partition, in the order of their names; names that begin with a dot are left out.
    /// Results are published to Kafka if --brokers, --client or --property is given, otherwise they are printed.
    #[arg(long, env = "TIDEMARK_INPUT", value_parser = parse_input, value_name = "URL")]
    pub input: Option<PathBuf>,

    /// The first line of each file of --input is a header, as in CSV files, and not a record
    #[arg(long, env = "TIDEMARK_INPUT_HEADER")]
    pub input_header: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub generator: GeneratorFlags,

    /// Publish to files in place of Kafka: file:///folder, gs://bucket/prefix or s3://bucket/prefix
    ///
    /// Each topic is a folder there, and each window a folder in that of the results. A file has the records of one
    /// transaction, exactly once by name: it never changes. Of two records with the same key, the one in the file
    /// with the greater name is valid. The folder _transactions belongs to the job. With --input or --generate, no Kafka is
    /// needed.
    #[arg(long, env = "TIDEMARK_OUTPUT", value_parser = parse_output, value_name = "URL")]
    pub output: Option<String>,

    /// Format of the files of --output: ndjson, or parquet, with a column for each field of the
    /// rows, for DuckDB, Spark or pandas
    ///
    /// The columns of a Parquet file follow from its rows, so files of a topic may differ, and readers unite their columns
    /// by name (DuckDB: union_by_name).
    #[arg(
        long,
        env = "TIDEMARK_OUTPUT_FORMAT",
        value_enum,
        default_value_t = OutputFormat::Ndjson,
        requires = "output",
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub output_format: OutputFormat,
}

/// A client of Kafka.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Client {
    /// librdkafka
    Rdkafka,
    /// This project's own, for reading and publishing; it rejects properties that it does not support
    Native,
}

/// Properties hold passwords and keys, so only their names are shown.
impl std::fmt::Debug for LogFlags {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings().fmt(formatter)
    }
}

impl LogFlags {
    /// Opens the log. If the flags name files, the source topics are read from them: one topic from these files, and
    /// each of several topics from the file or folder of its name below the folder that the flags name. If the flags
    /// name an output, all other topics are files there.
    ///
    /// # Errors
    /// [`LogError::Settings`] if a property, the files or the output cannot be used.
    pub fn open(&self, source_topics: &[String]) -> Result<Arc<dyn RecordLog>, LogError> {
        self.open_with(source_topics, None)
    }

    /// Opens the log as [`LogFlags::open`] does, with the program's generator.
    pub(crate) fn open_with(
        &self,
        source_topics: &[String],
        generator: Option<&Generator>,
    ) -> Result<Arc<dyn RecordLog>, LogError> {
        let rest: Arc<dyn RecordLog> = if self.has_own_records() && self.output.is_some() {
            Arc::new(SimulatedLog::default())
        } else {
            record_log::open(&self.settings())?
        };

        let mut log = self.open_own_records(source_topics, generator, rest)?;
        if let Some(url) = &self.output {
            let files = FileSink::open(url, source_topics, log)?;
            log = Arc::new(files.with_format(self.output_format.into()));
        }

        Ok(log)
    }

    /// Opens the source topics as files or as generated records beside the topics of `rest`, if the flags name any.
    pub(crate) fn open_own_records(
        &self,
        source_topics: &[String],
        generator: Option<&Generator>,
        rest: Arc<dyn RecordLog>,
    ) -> Result<Arc<dyn RecordLog>, LogError> {
        if let Some(files) = self.files() {
            return open_files(&files, source_topics, rest);
        }
        match self.generator.settings() {
            Some(settings) => open_generated(settings, generator, source_topics, rest),
            None => Ok(rest),
        }
    }

    /// Returns whether the source topics are files or generated.
    pub(crate) fn has_own_records(&self) -> bool {
        self.input.is_some() || self.generator.generate.is_some()
    }

    /// Returns whether the source topics end: nothing is ever added to files.
    pub(crate) fn ends(&self) -> bool {
        self.input.is_some() || self.generator.ends()
    }

    /// Returns the files that the source topics are read from, if the flags name any.
    pub fn files(&self) -> Option<FilesSettings> {
        let path = self.input.clone()?;
        Some(FilesSettings {
            path,
            has_header: self.input_header,
        })
    }

    /// Returns the settings of the log.
    pub fn settings(&self) -> LogSettings {
        let brokers = self.brokers.clone();
        self.client.settings(brokers, self.properties.clone())
    }
}

impl Client {
    /// Returns the name that `--client` takes.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no client is hidden");
        value.get_name().to_owned()
    }

    /// Returns the settings of a log that this client reads and publishes.
    pub fn settings(self, brokers: String, properties: Vec<(String, String)>) -> LogSettings {
        match self {
            Self::Rdkafka => LogSettings::Kafka {
                brokers,
                properties,
            },
            Self::Native => LogSettings::NativeKafka {
                brokers,
                properties,
            },
        }
    }
}

/// Opens files as the source topics beside the topics of `rest`.
///
/// # Errors
/// [`LogError::Settings`] if there are no files, or one of them cannot be read as lines.
pub fn open_files(
    files: &FilesSettings,
    source_topics: &[String],
    rest: Arc<dyn RecordLog>,
) -> Result<Arc<dyn RecordLog>, LogError> {
    let is_one = source_topics.len() == 1;
    let mut log = rest;
    for topic in source_topics {
        let path = if is_one {
            files.path.clone()
        } else {
            files.path.join(topic)
        };
        let own = FilesSettings {
            path,
            ..files.clone()
        };
        log = Arc::new(FilesLog::open(&own, topic, log)?);
    }

    Ok(log)
}

/// The log filter, as it was given on the command line.
#[derive(Clone, Debug)]
pub struct LogFilter(String);

impl std::str::FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

impl<D: JobDefinition> RunFlags<D> {
    /// Logs to standard error from now on.
    pub(crate) fn start_logs(&self) {
        logs::start(EnvFilter::new(&self.log.0), self.log_format);
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses the URL of a file or folder. A path without a scheme is accepted, too.
fn parse_input(text: &str) -> Result<PathBuf, String> {
    let path = match text.split_once("://") {
        Some(("file", path)) if path.starts_with('/') => path,
        Some(_) => return Err("file:///folder is expected".to_owned()),
        None => text,
    };

    if path.is_empty() {
        return Err("file:///folder is expected".to_owned());
    }

    Ok(PathBuf::from(path))
}

/// Parses the URL of the files to publish to.
fn parse_output(text: &str) -> Result<String, String> {
    let is_known = ["file:///", "gs://", "s3://"].iter().any(|begin| {
        let rest = text.strip_prefix(begin);
        rest.is_some_and(|rest| !rest.is_empty())
    });

    if !is_known {
        return Err(
            "file:///folder, gs://bucket/prefix or s3://bucket/prefix is expected".to_owned(),
        );
    }

    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn files_have_a_header_if_the_flag_is_given() {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            records: LogFlags,
        }

        let files = |flags: &[&str]| {
            let line = Line::parse_from(["words"].iter().chain(flags));
            line.records.files()
        };

        let expected = |has_header| FilesSettings {
            path: PathBuf::from("/data"),
            has_header,
        };

        assert_eq!(files(&[]), None);
        assert_eq!(files(&["--input", "/data"]), Some(expected(false)));
        let with = files(&["--input", "/data", "--input-header"]);
        assert_eq!(with, Some(expected(true)));
    }

    #[test]
    fn each_of_several_topics_is_read_from_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        for (topic, names) in [("orders", &["a", "b"][..]), ("payments", &["a"])] {
            let of_topic = folder.path().join(topic);
            std::fs::create_dir(&of_topic).unwrap();
            for name in names {
                std::fs::write(of_topic.join(name), "1\n").unwrap();
            }
        }

        let files = FilesSettings {
            path: folder.path().to_owned(),
            has_header: false,
        };

        let topics = ["orders", "payments"].map(str::to_owned);
        let log = open_files(&files, &topics, Arc::new(SimulatedLog::default())).unwrap();
        assert_eq!(log.partitions("orders").unwrap(), 2);
        assert_eq!(log.partitions("payments").unwrap(), 1);
    }

    #[test]
    fn an_input_is_the_url_of_a_folder_or_its_path() {
        for text in ["file:///data/orders", "/data/orders"] {
            assert_eq!(parse_input(text), Ok(PathBuf::from("/data/orders")));
        }

        assert_eq!(parse_input("orders"), Ok(PathBuf::from("orders")));

        for text in ["", "file://", "file://host/orders", "s3://bucket/orders"] {
            let refused = parse_input(text).unwrap_err();
            assert!(refused.contains("file:///folder"), "{text}: {refused}");
        }
    }
    #[test]
    fn an_output_is_a_place_that_outlives_the_process() {
        for url in ["file:///data/results", "gs://bucket/prefix", "s3://bucket"] {
            assert_eq!(parse_output(url), Ok(url.to_owned()));
        }

        for url in [
            "",
            "results",
            "/results",
            "file:///",
            "file://host/x",
            "memory:///x",
            "gs://",
        ] {
            let refused = parse_output(url).unwrap_err();
            assert!(refused.contains("file:///folder"), "{url}: {refused}");
        }
    }
}

//! Generated records: their flags, and the program's function that makes them.

use std::sync::Arc;

use clap::Args;
use record_log::generated::{GeneratedRecord, GeneratorLog, GeneratorSettings};
use record_log::{LogError, RecordLog};

/// Returns the record of a topic, a seed and a number.
pub type Generator = Arc<dyn Fn(&str, u64, u64) -> GeneratedRecord + Send + Sync>;

/// The records that are generated for a job whose program can make them.
///
/// ```
/// use clap::Parser;
/// use stream_cli::{Amount, GeneratorFlags, LogFlags};
///
/// #[derive(Parser)]
/// struct Line {
///     #[command(flatten)]
///     records: LogFlags,
/// }
///
/// let flags = ["job", "--generate", "endless", "--generate-rate", "1000"];
/// let GeneratorFlags { generate, generate_rate, .. } = Line::parse_from(flags).records.generator;
/// assert_eq!((generate, generate_rate), (Some(Amount::Endless), Some(1000)));
/// ```
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct GeneratorFlags {
    /// Read generated records in place of the job's topics: this many in each topic, or `endless`
    ///
    /// Record n of a partition is always the same for a seed, so a job goes on from its checkpoint. Results are published
    /// to Kafka if --brokers, --client or --property is given, to files with --output, and printed otherwise.
    #[arg(
        long,
        env = "TIDEMARK_GENERATE",
        value_name = "RECORDS",
        value_parser = parse_amount,
        conflicts_with = "input"
    )]
    pub generate: Option<Amount>,

    /// Generated records a second in each topic; all at once if absent
    #[arg(long, env = "TIDEMARK_GENERATE_RATE", value_name = "RECORDS")]
    pub generate_rate: Option<u64>,

    /// Partitions of each generated topic
    #[arg(
        long,
        env = "TIDEMARK_GENERATE_PARTITIONS",
        value_name = "NUMBER",
        default_value_t = 4
    )]
    pub generate_partitions: u32,

    /// Seed of generated records
    #[arg(
        long,
        env = "TIDEMARK_GENERATE_SEED",
        value_name = "NUMBER",
        default_value_t = 1
    )]
    pub generate_seed: u64,
}

/// The number of records that are generated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Amount {
    /// This many records.
    Records(u64),
    /// Records without end.
    Endless,
}

impl GeneratorFlags {
    /// Returns the settings of each topic, if records are to be generated.
    pub(crate) fn settings(&self) -> Option<GeneratorSettings> {
        Some(GeneratorSettings {
            partitions: self.generate_partitions,
            records: match self.generate? {
                Amount::Records(records) => Some(records),
                Amount::Endless => None,
            },
            per_second: self.generate_rate,
            seed: self.generate_seed,
        })
    }

    /// Returns whether a limited number of records is generated.
    pub(crate) fn ends(&self) -> bool {
        matches!(self.generate, Some(Amount::Records(_)))
    }
}

/// Opens the source topics as generated ones beside the topics of `rest`.
///
/// # Errors
/// [`LogError::Settings`] if the program generates no records, or the settings cannot work.
pub fn open_generated(
    settings: GeneratorSettings,
    generator: Option<&Generator>,
    source_topics: &[String],
    rest: Arc<dyn RecordLog>,
) -> Result<Arc<dyn RecordLog>, LogError> {
    let Some(generator) = generator else {
        let sentence = "this program generates no records: leave out --generate";
        return Err(LogError::Settings(sentence.into()));
    };

    let mut log = rest;
    for topic in source_topics {
        let generator = Arc::clone(generator);
        let name = topic.clone();
        let generate = Arc::new(move |seed, number| generator(&name, seed, number));
        log = Arc::new(GeneratorLog::open(settings, topic, generate, log)?);
    }

    Ok(log)
}

fn parse_amount(text: &str) -> Result<Amount, String> {
    if text == "endless" {
        return Ok(Amount::Endless);
    }
    let records = text.parse();
    records
        .map(Amount::Records)
        .map_err(|_| "a number or \"endless\" is expected".to_owned())
}

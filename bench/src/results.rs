//! The common form of a command's figures: every sample of each measured quantity, and the circumstances.
//!
//! A measuring command returns [`Table`]s ([`Measurement`]). [`Measured`] gives each of these commands the flag `--json`
//! and writes the tables with their circumstances. `bench report` reads such files, and makes its page of nothing else.
//!
//! Files hold samples, not medians, so that runs can be joined. A sample that is not a finite number is `null` in JSON
//! and is left out when it is read. Fields that a file lacks have defaults, so that files of earlier versions stay
//! readable; a file of a later format is refused.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use crate::machine::Circumstances;
use crate::peers::Peer;

/// The newest format of the files.
const FORMAT: u32 = 1;

/// A command that measures.
pub trait Measurement: clap::Args {
    /// The command's name.
    const NAME: &'static str;
    /// The reason why there are no figures.
    type Error: Error + 'static;

    /// Returns the programs whose versions belong to the figures.
    fn peers(&self) -> Vec<Peer>;

    /// Measures, prints for people, and returns the figures.
    ///
    /// # Errors
    /// The reason why there are none, or why they are not valid.
    fn measure(self) -> Result<Vec<Table>, Self::Error>;
}

/// A measuring command, and the file for its figures.
#[derive(Debug, clap::Args)]
pub struct Measured<M: Measurement> {
    #[command(flatten)]
    command: M,
    /// Also writes the figures to this file, as JSON for `bench report --from`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The figures of a command, and their circumstances.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Results {
    /// The format of the file.
    pub format: u32,
    /// The command's name.
    pub command: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Machine, commit and versions, and the load at the start.
    #[serde(default)]
    pub circumstances: Circumstances,
    /// The load of the machine at the end.
    #[serde(default)]
    pub load_after: Option<f64>,
    /// Duration of all runs together, in seconds.
    #[serde(default)]
    pub took_s: Option<f64>,
    /// The reason why figures are missing; none if none are.
    #[serde(default)]
    pub failure: Option<String>,
    /// The figures.
    #[serde(default)]
    pub tables: Vec<Table>,
}

/// Figures of the same kind, for several programs, settings or cases.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Table {
    /// Its title, by which tables of several runs are joined.
    pub title: String,
    /// The columns.
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// The rows.
    #[serde(default)]
    pub rows: Vec<Row>,
}

/// A measured quantity.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// The unit; empty for a number of things.
    #[serde(default)]
    pub unit: String,
    /// `true` for work done in a second, which may grow with workers and partitions.
    #[serde(default)]
    pub is_rate: bool,
}

/// The samples of one program or case.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Row {
    /// The program or case.
    pub name: String,
    /// Its settings that are numbers, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, f64>,
    /// The samples of each measure, by its name.
    #[serde(default)]
    pub samples: BTreeMap<String, Samples>,
}

/// The samples of a quantity, in the order in which they were measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Samples(Vec<f64>);

/// The reason why a file of figures cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It does not contain figures.
    #[error("{path}: not a file of figures: {source}")]
    Malformed {
        /// Its path.
        path: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// A later version of the harness wrote it.
    #[error(
        "{path}: format {format} is later than {FORMAT}; read it with the version of `bench` that wrote it"
    )]
    Later {
        /// Its path.
        path: String,
        /// Its format.
        format: u32,
    },
}

impl<M: Measurement> Measured<M> {
    /// Measures, and writes the file if one is chosen.
    ///
    /// # Errors
    /// The measurement's error, or [`ResultsError`].
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let Some(file) = self.json else {
            return Ok(self.command.measure().map(drop)?);
        };

        let circumstances = Circumstances::now(&self.command.peers());
        let began = Instant::now();
        let tables = self.command.measure()?;
        let results = Results {
            format: FORMAT,
            command: M::NAME.to_owned(),
            arguments: arguments_without_file(std::env::args().skip(2)),
            circumstances,
            load_after: crate::machine::load(),
            took_s: Some(began.elapsed().as_secs_f64()),
            failure: None,
            tables,
        };
        Ok(results.write(&file)?)
    }
}

/// Returns the arguments without `--json FILE`, which has no effect on the figures.
fn arguments_without_file(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut is_file = false;
    for argument in arguments {
        if !is_file && argument != "--json" && !argument.starts_with("--json=") {
            kept.push(argument.clone());
        }
        is_file = argument == "--json";
    }
    kept
}

impl Results {
    /// Returns the results of a command that failed.
    pub fn failed(command: &str, arguments: &[String], failure: String) -> Self {
        Self {
            format: FORMAT,
            command: command.to_owned(),
            arguments: arguments.to_vec(),
            circumstances: Circumstances::now(&[]),
            failure: Some(failure),
            ..Self::default()
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ResultsError`].
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let text = fs::read_to_string(path).map_err(io_error(path))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses the text of a file at this path.
    ///
    /// # Errors
    /// [`ResultsError::Malformed`], [`ResultsError::Later`].
    pub fn parse(text: &str, path: &str) -> Result<Self, ResultsError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }

        let malformed = |source| ResultsError::Malformed {
            path: path.to_owned(),
            source,
        };
        // A later format may differ in every other field.
        let head: Head = serde_json::from_str(text).map_err(malformed)?;
        if head.format > FORMAT {
            return Err(ResultsError::Later {
                path: path.to_owned(),
                format: head.format,
            });
        }
        serde_json::from_str(text).map_err(malformed)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), ResultsError> {
        let text = serde_json::to_string_pretty(self).expect("figures are plain data");
        fs::write(path, text + "\n").map_err(io_error(path))
    }

    /// Adds the samples of another run of the same command.
    pub fn join(&mut self, other: Self) {
        self.took_s = match (self.took_s, other.took_s) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self.load_after = other.load_after.or(self.load_after);
        self.failure = self.failure.take().or(other.failure);

        for table in other.tables {
            match self.tables.iter_mut().find(|own| own.title == table.title) {
                Some(own) => own.join(table),
                None => self.tables.push(table),
            }
        }
    }
}

impl Table {
    /// Returns a table without rows.
    pub fn new(title: &str, measures: &[Measure]) -> Self {
        Self {
            title: title.to_owned(),
            measures: measures.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds one sample of each measure to the row with this name and these settings. A sample that is not a finite number
    /// is left out.
    ///
    /// # Panics
    /// If there are not as many samples as measures.
    pub fn add(&mut self, name: &str, settings: &[(&str, f64)], samples: &[f64]) {
        assert_eq!(samples.len(), self.measures.len(), "a sample a measure");
        let names = self.measures.iter().map(|measure| measure.name.clone());
        let finite = |sample: &f64| {
            Samples(
                Some(*sample)
                    .filter(|one| one.is_finite())
                    .into_iter()
                    .collect(),
            )
        };
        let samples = std::iter::zip(names, samples.iter().map(finite));
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value));

        let row = Row {
            name: name.to_owned(),
            settings: settings.collect(),
            samples: samples.collect(),
        };
        self.add_row(row);
    }

    fn add_row(&mut self, row: Row) {
        let is_same = |own: &&mut Row| own.name == row.name && own.settings == row.settings;
        let Some(own) = self.rows.iter_mut().find(is_same) else {
            self.rows.push(row);
            return;
        };
        for (measure, samples) in row.samples {
            own.samples.entry(measure).or_default().0.extend(samples.0);
        }
    }

    fn join(&mut self, other: Self) {
        for measure in other.measures {
            if self.measures.iter().all(|own| own.name != measure.name) {
                self.measures.push(measure);
            }
        }
        other.rows.into_iter().for_each(|row| self.add_row(row));
    }
}

impl Measure {
    /// Returns a quantity in this unit.
    pub fn new(name: &str, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            is_rate: false,
        }
    }

    /// Returns work done in a second.
    pub fn rate(name: &str, unit: &str) -> Self {
        Self {
            is_rate: true,
            ..Self::new(name, unit)
        }
    }
}

impl Row {
    /// Returns the samples of a measure.
    pub fn of(&self, measure: &Measure) -> &[f64] {
        let samples = self.samples.get(&measure.name);
        samples.map_or(&[], |samples| &samples.0)
    }
}

impl<'de> Deserialize<'de> for Samples {
    /// Leaves out what is not a finite number, which JSON holds as `null`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let samples = Vec::<Option<f64>>::deserialize(deserializer)?;
        let finite = samples.into_iter().flatten().filter(|one| one.is_finite());
        Ok(Self(finite.collect()))
    }
}

/// Returns the time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Converts a count for a sample.
#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub fn number(count: impl TryInto<u64>) -> f64 {
    count.try_into().map_or(f64::NAN, |count| count as f64)
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> ResultsError {
    let path = path.display().to_string();
    move |source| ResultsError::Io { path, source }
}

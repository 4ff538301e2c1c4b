//! The formats of the files that a job publishes to.

use clap::ValueEnum;
use stream::FileFormat;

/// A format of the files of `--output`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum OutputFormat {
    /// A JSON object in each line
    Ndjson,
    /// A column for each field of the rows
    #[cfg(feature = "parquet")]
    Parquet,
}

impl From<OutputFormat> for FileFormat {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Ndjson => Self::Ndjson,
            #[cfg(feature = "parquet")]
            OutputFormat::Parquet => Self::Parquet,
        }
    }
}

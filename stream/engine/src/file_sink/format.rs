//! The formats of files.

use bytes::Bytes;

/// The format of the files that a [`FileSink`](crate::FileSink) writes.
///
/// It may change between two starts: files that are there stay as they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FileFormat {
    /// A JSON object in each line, with the record's key, value and headers.
    #[default]
    Ndjson,
    /// Parquet, with a column for each field of the values that are JSON objects, for DuckDB, Spark or pandas.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl FileFormat {
    /// Returns the content of a file with the records of these lines.
    pub(super) fn content(self, lines: Vec<u8>) -> Bytes {
        match self {
            Self::Ndjson => lines.into(),
            #[cfg(feature = "parquet")]
            Self::Parquet => super::parquet::file_of(&lines).into(),
        }
    }
}

/// Returns the extension of a file's name, by the file's content: a transaction of an earlier start may have files of
/// another format.
pub fn extension(content: &[u8]) -> &'static str {
    // A line begins with a brace.
    if content.starts_with(b"PAR1") {
        "parquet"
    } else {
        "ndjson"
    }
}

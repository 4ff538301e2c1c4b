//! A topic that is read from files, one record for each line. All other topics are those of another
//! log.
//!
//! A backfill is read in this way. Each file is a partition: the files of a folder in the order of
//! their names. The offset of a record is the byte at which its line begins, so a position is found
//! without an index. A record has no key and no headers; its value is the line without its end.
//!
//! Invariants: the topic has the content of the files at the time when the log was opened. Lines that are
//! appended later are not read. A file that has become shorter is an error that names it.

mod reader;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::beside::{Beside, TopicSource};
use crate::{LogError, Offset, OffsetRange, Reader, RecordLimit, RecordLog};
use reader::FilesReader;

/// The longest line that is read.
pub const LINE_LIMIT_BYTES: usize = 16 << 20;

/// The extensions of compressed files, which are refused because their bytes are not lines.
const COMPRESSED: [&str; 6] = ["gz", "zst", "bz2", "xz", "lz4", "zip"];

/// The files that a topic is read from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilesSettings {
    /// A file, or a folder. Names that begin with a dot are left out.
    pub path: PathBuf,
    /// If `true`, the first line of each file is a header, as in CSV files, and not a record.
    pub has_header: bool,
}

/// A log whose topic is read from files.
pub type FilesLog = Beside<FilesTopic>;

/// A topic that is read from files.
pub struct FilesTopic {
    files: Arc<[SourceFile]>,
    has_header: bool,
}

/// A file as it was when the log was opened.
#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    size_bytes: u64,
    modified_ms: u64,
}

impl FilesLog {
    /// Opens the files as the topic `topic` beside the topics of `rest`.
    ///
    /// # Errors
    /// [`LogError::Settings`] if there are no files, or one of them cannot be read as lines.
    pub fn open(
        settings: &FilesSettings,
        topic: &str,
        rest: Arc<dyn RecordLog>,
    ) -> Result<Self, LogError> {
        let files = list(&settings.path).map_err(|reason| LogError::Settings(reason.into()))?;
        let source = FilesTopic {
            files: files.into(),
            has_header: settings.has_header,
        };
        Ok(Self::new(topic, source, rest))
    }
}

impl TopicSource for FilesTopic {
    const IS: &'static str = "is read from files";

    fn record_limit(&self) -> RecordLimit {
        RecordLimit {
            bytes: LINE_LIMIT_BYTES,
            setting: "nothing (files have a fixed limit)",
        }
    }

    fn ranges(&self) -> Vec<OffsetRange> {
        let whole = |file: &SourceFile| OffsetRange {
            start: 0,
            end: file.size_bytes,
        };
        self.files.iter().map(whole).collect()
    }

    fn reader(&self, topic: &str, from: &[(u32, Offset)]) -> Result<Box<dyn Reader>, LogError> {
        let reader = FilesReader::new(topic, &self.files, self.has_header, from)?;
        Ok(Box::new(reader))
    }
}

/// Returns the file, or the files of the folder in the order of their names.
fn list(path: &Path) -> Result<Vec<SourceFile>, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![SourceFile::at(path.to_owned())?]);
    }

    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();

    if paths.is_empty() {
        return Err(format!("folder {} contains no file", path.display()));
    }
    paths.into_iter().map(SourceFile::at).collect()
}

impl SourceFile {
    fn at(path: PathBuf) -> Result<Self, String> {
        let found = fs::metadata(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;

        if !found.is_file() {
            return Err(format!(
                "{} is not a regular file: move it out of the folder, or give it a name that begins with a dot",
                path.display()
            ));
        }
        if has_compressed_name(&path) {
            return Err(format!(
                "{} is compressed: decompress it first",
                path.display()
            ));
        }

        let modified = found.modified().ok();
        let since_epoch = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            path,
            size_bytes: found.len(),
            modified_ms: since_epoch.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0)),
        })
    }
}

fn has_compressed_name(path: &Path) -> bool {
    path.extension().is_some_and(|end| {
        COMPRESSED
            .iter()
            .any(|known| end.eq_ignore_ascii_case(known))
    })
}

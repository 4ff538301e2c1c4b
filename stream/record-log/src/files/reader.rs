//! Reads the lines of files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::{LINE_LIMIT_BYTES, SourceFile};
use crate::clock::system_now_ms;
use crate::{LogError, LogTimeType, Offset, Polled, Reader, Record, Refusal, Wake};

/// Size of the buffer of each file.
const BUFFER_BYTES: usize = 256 << 10;
/// The mark that some programs write at the beginning of a text file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) struct FilesReader {
    topic: String,
    files: Arc<[SourceFile]>,
    has_header: bool,
    places: BTreeMap<u32, Place>,
    line: Vec<u8>,
}

/// The position in a file. The file is opened when it is first read.
struct Place {
    next: Offset,
    opened: Option<BufReader<File>>,
}

impl FilesReader {
    pub(super) fn new(
        topic: &str,
        files: &Arc<[SourceFile]>,
        has_header: bool,
        from: &[(u32, Offset)],
    ) -> Result<Self, LogError> {
        let mut places = BTreeMap::new();
        for (partition, offset) in from {
            let file = files.get(*partition as usize);
            let file = file.ok_or_else(|| unknown(topic, *partition))?;
            if *offset > file.size_bytes {
                return Err(LogError::OffsetOutOfRange {
                    topic: topic.to_owned(),
                    partition: *partition,
                    offset: *offset,
                });
            }

            let place = Place {
                next: *offset,
                opened: None,
            };
            places.insert(*partition, place);
        }

        Ok(Self {
            topic: topic.to_owned(),
            files: Arc::clone(files),
            has_header,
            places,
            line: Vec::new(),
        })
    }
}

impl Reader for FilesReader {
    fn poll(
        &mut self,
        partition: u32,
        max: usize,
        each: &mut dyn FnMut(Record<'_>),
    ) -> Result<Polled, LogError> {
        let now_ms = system_now_ms();
        let place = self.places.get_mut(&partition);
        let place = place.ok_or_else(|| unknown(&self.topic, partition))?;
        let file = &self.files[partition as usize];
        let no_headers: Vec<(String, Vec<u8>)> = Vec::new();
        let mut records = 0;

        while records < max && place.next < file.size_bytes {
            let offset = place.next;
            place.read_line(file, &mut self.line)?;
            let is_header = self.has_header && offset == 0;
            let value = text(&self.line, offset);
            if is_header || value.is_empty() {
                continue;
            }

            each(Record {
                partition,
                offset,
                log_time_ms: file.modified_ms,
                log_time_type: LogTimeType::Create,
                key: None,
                value: Some(value),
                headers: &no_headers,
            });
            records += 1;
        }

        Ok(Polled {
            records,
            next_offset: place.next,
            end_as_of_ms: (place.next >= file.size_bytes).then_some(now_ms),
        })
    }

    /// Wakes the reader once: everything is readable from the beginning.
    fn on_readable(&mut self, wake: Wake) {
        wake();
    }
}

impl Place {
    /// Reads the next line with its line end, and moves the position behind it.
    fn read_line(&mut self, file: &SourceFile, line: &mut Vec<u8>) -> Result<(), LogError> {
        let refused = |sentence: String| LogError::Refused(Refusal::new(sentence));
        let path = file.path.display();
        let failed = |error: io::Error| refused(format!("cannot read {path}: {error}"));
        let opened = match &mut self.opened {
            Some(opened) => opened,
            none => none.insert(open(file, self.next).map_err(failed)?),
        };

        // One byte more than a line may have, so that a longer one is noticed.
        let limit = LINE_LIMIT_BYTES as u64 + 1;
        line.clear();
        opened
            .take(limit.min(file.size_bytes - self.next))
            .read_until(b'\n', line)
            .map_err(failed)?;

        if line.is_empty() {
            return Err(refused(format!(
                "{path} ends at byte {}, and had {} bytes when it was opened: files must not change while they are read",
                self.next, file.size_bytes
            )));
        }
        if line.len() > LINE_LIMIT_BYTES {
            return Err(refused(format!(
                "the line at byte {} of {path} is longer than {LINE_LIMIT_BYTES} bytes: shorten it",
                self.next
            )));
        }

        self.next += line.len() as u64;
        Ok(())
    }
}

fn open(file: &SourceFile, at: Offset) -> io::Result<BufReader<File>> {
    let mut opened = File::open(&file.path)?;
    opened.seek(SeekFrom::Start(at))?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, opened))
}

/// Returns a line without its end, and without a byte order mark if the file begins with one.
fn text(line: &[u8], offset: Offset) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if offset > 0 {
        return line;
    }
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
}

fn unknown(topic: &str, partition: u32) -> LogError {
    LogError::UnknownPartition {
        topic: topic.to_owned(),
        partition,
    }
}

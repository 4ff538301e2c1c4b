//! The independent reader: Kafka's Java client, which prints the committed rows of the topic while the schedules run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;
use std::{io, thread};

use super::rows::{Books, NumberedRow};
use crate::counterparts::kafka::versions;
use crate::counterparts::{self, Cache, CounterpartError};

const SOURCE: &str = include_str!("../../counterparts/kafka/CommittedRows.java");
/// The line that ends complete output.
const COMPLETE: &str = "complete";

/// A running reader. Dropping it ends it.
pub struct Reader {
    child: Child,
    /// The reader goes on until this is closed.
    input: Option<ChildStdin>,
    books: Option<JoinHandle<io::Result<Read>>>,
}

/// The result of reading.
#[derive(Debug, Default)]
pub struct Read {
    pub books: Books,
    /// The partitions in which a transaction stays open, in the reader's words.
    pub open: Vec<String>,
}

impl Reader {
    /// Starts to read a topic from its beginning.
    ///
    /// # Errors
    /// If Java or Kafka's jars are missing.
    pub fn start(
        cache: &Cache,
        folder: &Path,
        brokers: &str,
        topic: &str,
    ) -> Result<Self, CounterpartError> {
        counterparts::provision(counterparts::JAVA)?;
        let jars = versions::newest(cache)?;
        Self::spawn(&jars, folder, [brokers, topic]).map_err(|source| CounterpartError::Io {
            what: "starting the Java reader".to_owned(),
            source,
        })
    }

    fn spawn(jars: &Path, folder: &Path, arguments: [&str; 2]) -> io::Result<Self> {
        let source = folder.join("CommittedRows.java");
        std::fs::write(&source, SOURCE)?;
        let log = File::create(folder.join("reader.log"))?;

        // Java compiles and runs a program of one source file.
        let mut child = Command::new("java")
            .args(["-Xmx256m", "-XX:+UseSerialGC"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-cp")
            .arg(jars.join("*"))
            .arg(&source)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;

        let input = child.stdin.take();
        let output = child.stdout.take().expect("its output is a pipe");
        let books = thread::spawn(move || collect(BufReader::new(output)));
        Ok(Self {
            child,
            input,
            books: Some(books),
        })
    }

    /// Reads to the end, which must not move any more.
    ///
    /// # Errors
    /// If the reader failed before the end.
    pub fn finish(mut self) -> io::Result<Read> {
        if let Some(mut input) = self.input.take() {
            input.write_all(b"finish\n")?;
        }
        let books = self.books.take().expect("it is taken once");
        books.join().expect("collecting rows does not panic")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(output: impl BufRead) -> io::Result<Read> {
    let mut read = Read::default();
    for line in output.lines() {
        let line = line?;
        match line.split_once(' ') {
            None if line == COMPLETE => return Ok(read),
            Some(("row", name)) if let Some(row) = NumberedRow::parse(name) => read.books.add(row),
            Some(("open", partition)) => read.open.push(partition.to_owned()),
            _ => {
                return Err(io::Error::other(format!(
                    "the Java reader printed {line:?}"
                )));
            }
        }
    }
    Err(io::Error::other(
        "the Java reader ended early; its log is reader.log",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_output_is_accepted() {
        let read =
            collect(&b"row 1/2/3/0\nopen rows-1 at 5 of 9\nrow 1/2/3/1\ncomplete\n"[..]).unwrap();
        assert_eq!(
            (read.books.len(), &*read.open),
            (2, &["rows-1 at 5 of 9".to_owned()][..])
        );
        for output in [
            "row 1/2/3/0\n",
            "row 1/2/3\ncomplete\n",
            "rows 1/2/3/4\ncomplete\n",
            "\n",
        ] {
            assert!(collect(output.as_bytes()).is_err(), "{output:?}");
        }
    }
}

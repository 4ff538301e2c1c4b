//! The runs of the chosen comparisons: each a child of this program, one after the other.
//!
//! A comparison that measures several times by itself (`--runs`) does so, because it takes turns with its peers. Others
//! are run several times, and their samples are joined. Each writes what it prints to a file, and this program prints
//! it too.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::ReportError;
use crate::process::{Lifetime, Process};
use crate::results::Results;

/// The time between two looks at the output of a run.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A chosen comparison.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chosen {
    /// The command and its arguments.
    pub words: Vec<String>,
    /// The number of times that it is run.
    pub times: u32,
}

/// Returns the commands of `--run`: one command with its arguments if there is a space, otherwise names separated by
/// commas.
pub fn words(text: &str) -> Vec<Vec<String>> {
    if text.contains(char::is_whitespace) {
        return vec![text.split_whitespace().map(str::to_owned).collect()];
    }
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| vec![name.to_owned()]).collect()
}

impl Chosen {
    /// Runs the comparison, writes its results into the folder, and returns them. A failure is part of the results.
    ///
    /// # Errors
    /// [`ReportError`] if a file cannot be written.
    pub fn run(&self, folder: &Path, number: usize) -> Result<Results, ReportError> {
        let name = format!("{number:02}-{}", self.words[0]);
        let mut all: Option<Results> = None;
        for time in 1..=self.times {
            if self.times > 1 {
                println!("  run {time} of {}", self.times);
            }
            let results = self.run_once(folder, &format!("{name}-{time}"))?;
            match &mut all {
                None => all = Some(results),
                Some(all) => all.join(results),
            }
        }

        let all = all.unwrap_or_else(|| {
            Results::failed(
                &self.words[0],
                &self.words[1..],
                "it was not run".to_owned(),
            )
        });
        all.write(&folder.join(format!("{name}.json")))?;
        Ok(all)
    }

    fn run_once(&self, folder: &Path, name: &str) -> Result<Results, ReportError> {
        let log = folder.join(format!("{name}.log"));
        let figures = folder.join(format!("{name}.json"));
        remove_older(&figures)?;

        let mut child = Command::new(std::env::current_exe()?);
        let output = File::create(&log)?;
        child
            .args(&self.words)
            .arg("--json")
            .arg(&figures)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);

        let mut process = Process::start(child, Lifetime::OfItsThread)?;
        let mut printed = Printed::of(&log)?;
        let ended = loop {
            let ended = process.wait_for(LOOK_EVERY)?;
            printed.print_new()?;
            if let Some(ended) = ended {
                break ended;
            }
        };

        let failed = |reason: String| Results::failed(&self.words[0], &self.words[1..], reason);
        if !ended.status.success() {
            let last = printed.last_error();
            return Ok(failed(format!("{last} ({})", ended.status)));
        }
        let results = Results::read(&figures).unwrap_or_else(|error| failed(error.to_string()));
        remove_older(&figures)?;
        Ok(results)
    }
}

/// Removes a file, if it exists: an older one must not count as this run's.
fn remove_older(file: &PathBuf) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The output of a run so far.
struct Printed {
    file: File,
    text: String,
    shown: usize,
}

impl Printed {
    fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            text: String::new(),
            shown: 0,
        })
    }

    /// Prints the lines that are new.
    fn print_new(&mut self) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        self.text = String::from_utf8_lossy(&bytes).into_owned();

        let whole = self
            .text
            .lines()
            .count()
            .saturating_sub(usize::from(!self.text.ends_with('\n')));
        for line in self.text.lines().take(whole).skip(self.shown) {
            println!("  {line}");
        }
        self.shown = whole.max(self.shown);
        Ok(())
    }

    /// Returns the error with which the run ended, or its last line.
    fn last_error(&self) -> String {
        let lines = || {
            self.text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
        };
        let reported = lines().find_map(|line| {
            line.strip_prefix("bench: ")
                .or_else(|| line.strip_prefix("error: "))
        });
        let last = reported.or_else(|| lines().next_back());
        last.unwrap_or("it printed nothing").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_marks_a_command_with_arguments() {
        assert_eq!(words("throughput,latency"), [["throughput"], ["latency"]]);
        assert_eq!(words("gateway,,"), [["gateway"]]);
        assert_eq!(
            words(" throughput  --client native,rdkafka "),
            [["throughput", "--client", "native,rdkafka"]]
        );
        assert!(words("").is_empty());
    }
}

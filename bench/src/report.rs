//! `bench report`: runs chosen comparisons, or reads kept results, and makes one page of them.
//!
//! ```text
//! bench throughput --json …  ─┐
//! bench latency --json …     ─┼─▶ files of results ─▶ report.html, report.md
//! bench gateway --json …     ─┘
//! ```
//!
//! The page has no figure that is not in a file of results, and the files stay beside it. A comparison that fails is
//! named on the page with its error, and the command then fails, after it has written the page.

mod markdown;
pub mod model;
pub mod page;
mod plot;
mod runs;
pub mod scaling;
pub mod text;

use std::path::PathBuf;

use crate::machine;
use crate::results::{Results, ResultsError};
use page::Content;
use runs::Chosen;

/// Runs comparisons, or reads their kept results, and writes one page of tables and plots.
#[derive(Debug, clap::Parser)]
#[command(group(clap::ArgGroup::new("input").required(true).args(["run", "from"])))]
pub struct Args {
    /// Comparisons to run, one after the other: names separated by commas, or one command with its arguments in
    /// quotes; repeat the flag for more
    #[arg(long, value_name = "COMMANDS")]
    run: Vec<String>,
    /// Number of measurements of each comparison
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "from")]
    runs: u32,
    /// Files of results that `--json` or an earlier report wrote
    #[arg(long, num_args = 1.., value_name = "FILES")]
    from: Vec<PathBuf>,
    /// Folder for `report.html`, `report.md` and the results
    #[arg(long, default_value = "target/report", value_name = "FOLDER")]
    out: PathBuf,
}

/// The reason why there is no page, or why it is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A comparison cannot be run.
    #[error("--run {0}: {1}")]
    NotRunnable(String, String),
    /// Results are missing.
    #[error("{failures} of {all} results are missing or failed; {page} names them")]
    Incomplete {
        /// The number of missing results.
        failures: usize,
        /// The number of results that were wanted.
        all: usize,
        /// The path of the page.
        page: String,
    },
    /// A file of results cannot be written.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Args {
    /// Runs or reads, and writes the page. `check` returns an error for words that are not a measuring command.
    ///
    /// # Errors
    /// [`ReportError::Incomplete`] if a result is missing, after the page was written; others before.
    pub fn run(self, check: impl Fn(&[String]) -> Result<(), String>) -> Result<(), ReportError> {
        let chosen = self.chosen(check)?;
        std::fs::create_dir_all(&self.out)?;
        let content = if self.from.is_empty() {
            self.measure(&chosen)?
        } else {
            self.read()
        };

        let page = self.out.join("report.html");
        std::fs::write(&page, content.html())?;
        std::fs::write(self.out.join("report.md"), content.markdown())?;
        println!("{}", page.display());

        match content.failures() {
            0 => Ok(()),
            failures => Err(ReportError::Incomplete {
                failures,
                all: content.results.len() + content.unread.len(),
                page: page.display().to_string(),
            }),
        }
    }

    /// Returns the comparisons, each checked before the first is run.
    fn chosen(
        &self,
        check: impl Fn(&[String]) -> Result<(), String>,
    ) -> Result<Vec<Chosen>, ReportError> {
        let mut chosen = Vec::new();
        for text in &self.run {
            let commands = runs::words(text);
            if commands.is_empty() {
                let reason = "no command is named".to_owned();
                return Err(ReportError::NotRunnable(format!("'{text}'"), reason));
            }
            for words in commands {
                check(&words)
                    .map_err(|reason| ReportError::NotRunnable(words.join(" "), reason))?;
                chosen.push(self.with_runs(words, &check));
            }
        }
        Ok(chosen)
    }

    /// Leaves the number of runs to a command that has a flag for it.
    fn with_runs(
        &self,
        words: Vec<String>,
        check: impl Fn(&[String]) -> Result<(), String>,
    ) -> Chosen {
        let runs = self.runs.to_string();
        let with_flag = [&words[..], &["--runs".to_owned(), runs]].concat();
        let has_own = words.iter().any(|word| word.starts_with("--runs"));
        match check(&with_flag) {
            _ if has_own => Chosen { words, times: 1 },
            Ok(()) => Chosen {
                words: with_flag,
                times: 1,
            },
            Err(_) => Chosen {
                words,
                times: self.runs,
            },
        }
    }

    fn measure(&self, chosen: &[Chosen]) -> Result<Content, ReportError> {
        println!("{}", machine::describe());
        let mut content = Content::default();
        for (place, comparison) in chosen.iter().enumerate() {
            let number = place + 1;
            println!(
                "[{number}/{}] bench {}",
                chosen.len(),
                comparison.words.join(" ")
            );
            let results = comparison.run(&self.out, number)?;
            match &results.failure {
                Some(failure) => println!("  FAILED: {failure}"),
                None => println!("  done in {:.0} s", results.took_s.unwrap_or_default()),
            }
            content.results.push(results);
        }
        Ok(content)
    }

    fn read(&self) -> Content {
        let mut content = Content::default();
        for file in &self.from {
            match Results::read(file) {
                Ok(results) => content.results.push(results),
                Err(error) => content.unread.push(error.to_string()),
            }
        }
        content
    }
}

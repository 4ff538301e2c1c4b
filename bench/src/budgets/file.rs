//! The file of budgets, and the comparison of figures with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The change, in percent, at which a figure is not within its budget any more.
const TOLERANCE: f64 = 3.0;

/// The reason why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Its path.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// It is not a file of budgets.
    #[error("{path}: {source}")]
    Malformed {
        /// Its path.
        path: String,
        /// The cause.
        source: serde_json::Error,
    },
}

/// The budgets, and the tools for which they are valid.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Budgets {
    /// The tools with which the figures were counted.
    pub tools: Tools,
    /// The figures, in the order of the stages.
    pub stages: Vec<Figure>,
}

/// The tools on which the number of a program's instructions depends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    /// The compiler and its version.
    pub rustc: String,
    /// The target that it compiles for.
    pub target: String,
    /// The features of the processor by which programs choose their instructions.
    pub processor: String,
    /// The C library, which copies and allocates memory.
    pub libc: String,
    /// Valgrind's version.
    pub valgrind: String,
}

/// The instructions of a stage.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The stage's name.
    pub stage: String,
    /// The number of instructions for one unit, with one decimal.
    pub instructions: f64,
    /// The unit.
    pub per: String,
    /// A sentence about the work.
    pub about: String,
}

/// A figure that is not within its budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The stage's name.
    pub stage: String,
    /// Its budget; none if it has none.
    pub budget: Option<f64>,
    /// Its figure; none if there is no such stage any more.
    pub figure: Option<f64>,
}

impl Budgets {
    /// Returns the path of the file.
    pub fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("budgets.json")
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = fs::read(path).map_err(io_error(path))?;
        serde_json::from_slice(&text).map_err(|source| FileError::Malformed {
            path: path.display().to_string(),
            source,
        })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let text = serde_json::to_string_pretty(self).expect("budgets are plain data");
        fs::write(path, text + "\n").map_err(io_error(path))
    }

    /// Returns the figures that are not within their budgets, new stages, and stages that are gone.
    pub fn changes(&self, figures: &[Figure]) -> Vec<Change> {
        let budget_of = |name: &str| self.stages.iter().find(|budget| budget.stage == name);
        let changed = figures.iter().map(|figure| Change {
            stage: figure.stage.clone(),
            budget: budget_of(&figure.stage).map(|budget| budget.instructions),
            figure: Some(figure.instructions),
        });

        let is_gone = |budget: &&Figure| figures.iter().all(|figure| figure.stage != budget.stage);
        let gone = self.stages.iter().filter(is_gone).map(|budget| Change {
            stage: budget.stage.clone(),
            budget: Some(budget.instructions),
            figure: None,
        });

        let is_outside = |change: &Change| {
            let percent = change.percent();
            percent.is_none_or(|percent| percent.abs() >= TOLERANCE)
        };
        changed.chain(gone).filter(is_outside).collect()
    }
}

impl Change {
    /// Returns the percentage of its budget by which the figure is greater; none without a budget
    /// or a figure.
    pub fn percent(&self) -> Option<f64> {
        let percent = (self.figure? / self.budget? - 1.0) * 100.0;
        Some((percent * 10.0).round() / 10.0)
    }

    /// Returns `true` if the stage takes less than its budget.
    pub fn is_less(&self) -> bool {
        self.percent().is_some_and(|percent| percent < 0.0)
    }

    /// Returns the change as a sentence, with its remedy.
    pub fn sentence(&self) -> String {
        let stage = &self.stage;
        match (self.budget, self.figure, self.percent()) {
            (Some(budget), Some(figure), Some(percent)) if percent > 0.0 => format!(
                "{stage} takes {figure} instructions, {percent} % more than its budget of {budget}: make it cheaper, or \
                 write the new budget with `bench budgets --keep` and give the reason in the commit"
            ),
            (Some(budget), Some(figure), Some(percent)) => format!(
                "{stage} takes {figure} instructions, {} % less than its budget of {budget}: write the new budget with \
                 `bench budgets --keep`, so that it holds from now on",
                percent.abs()
            ),
            (None, ..) => {
                format!("{stage} has no budget: write one with `bench budgets --keep`")
            }
            (Some(_), ..) => format!(
                "{stage} has a budget and is not a stage any more: remove it with `bench budgets --keep`"
            ),
        }
    }
}

impl Tools {
    /// Returns the tools of this machine. `valgrind` is its version.
    ///
    /// # Errors
    /// The reason why a tool's version could not be read.
    pub fn here(valgrind: String) -> Result<Self, std::io::Error> {
        let rustc = printed("rustc", &["-vV"])?;
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
        Ok(Self {
            rustc: rustc.lines().next().unwrap_or_default().to_owned(),
            target: host.unwrap_or_default().to_owned(),
            processor: processor().to_owned(),
            libc: printed("getconf", &["GNU_LIBC_VERSION"])?.trim().to_owned(),
            valgrind,
        })
    }

    /// Returns the differences between these tools and those in `here`, as a sentence; none if
    /// there are none.
    pub fn difference(&self, here: &Self) -> Option<String> {
        let pairs = [
            (&self.rustc, &here.rustc),
            (&self.target, &here.target),
            (&self.processor, &here.processor),
            (&self.libc, &here.libc),
            (&self.valgrind, &here.valgrind),
        ];

        let differing = pairs.iter().filter(|(kept, here)| kept != here);
        let differing: Vec<_> = differing
            .map(|(kept, here)| format!("{kept}, not {here}"))
            .collect();
        (!differing.is_empty()).then(|| format!("the budgets are for {}", differing.join("; ")))
    }
}

/// Returns the output of a command. It runs in the repository, whose toolchain built this program.
fn printed(command: &str, arguments: &[&str]) -> Result<String, std::io::Error> {
    let output = Command::new(command)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the features of valgrind's simulated processor. It has AVX2 if the real one has, and is
/// otherwise always the same.
fn processor() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    return if std::arch::is_x86_feature_detected!("avx2") {
        "x86_64 with AVX2"
    } else {
        "x86_64 without AVX2"
    };
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let path = path.display().to_string();
    move |source| FileError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(stage: &str, instructions: f64) -> Figure {
        Figure {
            stage: stage.to_owned(),
            instructions,
            per: "order".to_owned(),
            about: String::new(),
        }
    }

    fn tools() -> Tools {
        let text = |text: &str| text.to_owned();
        Tools {
            rustc: text("rustc 1.95.0"),
            target: text("x86_64"),
            processor: text("AVX2"),
            libc: text("glibc 2.36"),
            valgrind: text("valgrind-3.19.0"),
        }
    }

    fn sentences(figures: &[Figure]) -> Vec<String> {
        let budgets = Budgets {
            tools: tools(),
            stages: vec![figure("decode", 1_000.0), figure("fold", 100.0)],
        };
        let changes = budgets.changes(figures);
        changes.iter().map(Change::sentence).collect()
    }

    #[test]
    fn a_stage_may_change_by_less_than_three_percent() {
        assert!(sentences(&[figure("fold", 102.9), figure("decode", 970.6)]).is_empty());
    }

    #[test]
    fn a_stage_that_takes_more_is_named_with_both_figures() {
        let found = sentences(&[figure("decode", 1_030.0), figure("fold", 100.0)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(
            "decode takes 1030 instructions, 3 % more than its budget of 1000: make it cheaper"
        ));
    }

    #[test]
    fn a_stage_that_takes_less_needs_a_new_budget() {
        let found = sentences(&[figure("decode", 1_000.0), figure("fold", 50.0)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("fold takes 50 instructions, 50 % less"));
        assert!(found[0].contains("--keep"));
    }

    #[test]
    fn less_is_no_regression_and_everything_else_is_one() {
        let budgets = Budgets {
            tools: tools(),
            stages: vec![
                figure("decode", 1_000.0),
                figure("fold", 100.0),
                figure("gone", 1.0),
            ],
        };
        let figures = [
            figure("decode", 900.0),
            figure("fold", 104.0),
            figure("new", 1.0),
        ];
        let changes = budgets.changes(&figures);
        let less: Vec<&str> = changes
            .iter()
            .filter(|change| change.is_less())
            .map(|change| &*change.stage)
            .collect();
        assert_eq!((changes.len(), less), (4, vec!["decode"]));
    }

    #[test]
    fn missing_budgets_and_missing_stages_are_named() {
        let found = sentences(&[figure("decode", 1_000.0), figure("close", 5.0)]);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("close has no budget"));
        assert!(found[1].starts_with("fold has a budget and is not a stage"));
    }

    #[test]
    fn other_tools_are_named_and_the_same_ones_are_no_difference() {
        assert_eq!(tools().difference(&tools()), None);
        let newer = Tools {
            rustc: "rustc 1.96.0".to_owned(),
            ..tools()
        };
        assert_eq!(
            tools().difference(&newer).unwrap(),
            "the budgets are for rustc 1.95.0, not rustc 1.96.0"
        );
    }
}

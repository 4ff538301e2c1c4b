//! `bench budgets`: the instructions of each stage of the hot path, beside its budget.
//!
//! Times on a shared machine differ by a third from one run to the next; counts of instructions, by less than a hundredth.
//! Each stage is a program of its own under valgrind's callgrind, which passes once and then twice over the same input.
//! The difference, divided by the units of a pass, is compared with the file `budgets.json`.
//!
//! The figures depend on the compiler and a few other tools, which the file names. With other tools nothing can be
//! compared; the figures are printed, and the outcome states why.
//!
//! The crate gungraun (formerly iai-callgrind) does much of this and was rejected: it needs a second program of exactly
//! its own version on the machine, and keeps its figures below `target` and not in the tree, where a review sees them.

mod callgrind;
mod client;
mod file;
mod inputs;
mod jobs;
mod log;
mod records;
mod stages;

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::counterparts::{self, Cache, CounterpartError};
use crate::peers::Peer;
use crate::results::{Measure, Measurement, Table};
use callgrind::CallgrindError;
use file::{Budgets, Change, Figure, FileError, Tools};
use stages::{STAGES, Stage};

/// No stage handles a unit with fewer instructions.
const LEAST_INSTRUCTIONS: f64 = 1.0;

/// Counts the instructions of each stage of the hot path, and compares them with the budgets.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Writes the figures as the new budgets.
    #[arg(long, conflicts_with = "stage")]
    keep: bool,
    /// Only these stages; they are printed and not compared.
    #[arg(long, value_parser = stage_name)]
    stage: Vec<&'static str>,
    /// Does the work of a stage, whose instructions another process counts.
    #[arg(long, hide = true, value_parser = stage_name, requires = "passes")]
    work: Option<&'static str>,
    /// The number of passes of that work.
    #[arg(long, hide = true)]
    passes: Option<u64>,
}

/// The reason why figures exceed their budgets, or could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// Stages are not within their budgets.
    #[error("{}", sentences(.0))]
    Changed(Vec<Change>),
    /// A stage failed.
    #[error("the stage {stage}: {reason}")]
    Stage {
        /// Its name.
        stage: &'static str,
        /// The reason.
        reason: String,
    },
    /// Instructions could not be counted.
    #[error(transparent)]
    Callgrind(#[from] CallgrindError),
    /// The file of budgets cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program or a folder is not available.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// A tool's version could not be determined.
    #[error("the version of a tool cannot be determined: {0}")]
    Version(std::io::Error),
}

/// The result of a comparison in which nothing failed.
pub enum Comparison {
    /// Each stage is within its budget.
    Kept,
    /// The figures were counted and not compared, for this reason.
    NotCompared(String),
}

impl Measurement for Args {
    const NAME: &'static str = "budgets";
    type Error = BudgetError;

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Valgrind]
    }

    fn measure(self) -> Result<Vec<Table>, BudgetError> {
        let mut table = table();
        self.count_into(&mut table)?;
        Ok(vec![table])
    }
}

impl Args {
    /// Counts, prints, and compares or writes.
    ///
    /// # Errors
    /// [`BudgetError`].
    pub fn run(self) -> Result<Comparison, BudgetError> {
        self.count_into(&mut table())
    }

    /// As [`Args::run`], and adds the figures to a table.
    fn count_into(self, table: &mut Table) -> Result<Comparison, BudgetError> {
        if let Some(name) = self.work {
            work(stage(name), self.passes.unwrap_or(1))?;
            return Ok(Comparison::NotCompared("a stage's work alone".to_owned()));
        }

        counterparts::provision(counterparts::VALGRIND)?;
        let tools = Tools::here(callgrind::version()?).map_err(BudgetError::Version)?;
        let wanted = |stage: &&Stage| self.stage.is_empty() || self.stage.contains(&stage.name);
        let stages: Vec<_> = STAGES.iter().filter(wanted).collect();
        let figures = count(&stages)?;

        if self.keep {
            let path = Budgets::path();
            print(&figures, None);
            let budgets = Budgets {
                tools,
                stages: figures,
            };
            budgets.write(&path)?;
            println!("written to {}", path.display());
            return Ok(Comparison::Kept);
        }

        let budgets = Budgets::read(&Budgets::path())?;
        let again = |name: &str| Ok(count(&[stage(name)])?.remove(0).instructions);
        let figures = steadied(figures, &budgets, again)?;
        print(&figures, Some(&budgets));
        for figure in &figures {
            let name = format!("{}, for each {}", figure.stage, figure.per);
            table.add(&name, &[], &[figure.instructions]);
        }
        if !self.stage.is_empty() {
            return Ok(Comparison::NotCompared("only some stages".to_owned()));
        }
        judge(&budgets, &figures, &tools)
    }
}

fn table() -> Table {
    Table::new("Instructions by stage", &[Measure::new("instructions", "")])
}

fn stage_name(text: &str) -> Result<&'static str, String> {
    let found = STAGES.iter().find(|stage| stage.name == text);
    found.map(|stage| stage.name).ok_or_else(|| {
        let names: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
        format!("one of {}", names.join(", "))
    })
}

fn stage(name: &str) -> &'static Stage {
    let found = STAGES.iter().find(|stage| stage.name == name);
    found.expect("names of stages are checked when they are read")
}

/// Does a stage's work in this process. It fails if fewer than all units are handled, because that
/// would be cheaper.
fn work(stage: &Stage, passes: u64) -> Result<(), BudgetError> {
    let failed = |reason: String| BudgetError::Stage {
        stage: stage.name,
        reason,
    };

    let expected = stage.units * passes;
    let handled = (stage.run)(stage.units, passes).map_err(|error| failed(error.to_string()))?;
    if handled == expected {
        Ok(())
    } else {
        Err(failed(format!(
            "it handled {handled} of {expected} {}s",
            stage.unit
        )))
    }
}

/// Counts the instructions of the stages, several at a time. They do not affect each other's
/// counts.
fn count(stages: &[&Stage]) -> Result<Vec<Figure>, BudgetError> {
    let cache = Cache::open()?;
    let folder = cache.scratch("budgets")?;
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..stages.len()).collect());
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    };

    let count_some = || -> Result<Vec<(usize, Figure)>, BudgetError> {
        let mut counted = Vec::new();
        while let Some(place) = next() {
            counted.push((place, count_one(stages[place], folder.path())?));
        }
        Ok(counted)
    };

    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut figures = thread::scope(|scope| {
        let counting: Vec<_> = (0..threads).map(|_| scope.spawn(count_some)).collect();
        let mut all = Vec::new();
        for thread in counting {
            all.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok::<_, BudgetError>(all)
    })?;

    figures.sort_by_key(|(place, _)| *place);
    Ok(figures.into_iter().map(|(_, figure)| figure).collect())
}

/// Returns the figures. A figure above its budget is counted again, and is the median of three
/// counts, because the threads of a job may have waited for each other more often by chance.
fn steadied(
    mut figures: Vec<Figure>,
    budgets: &Budgets,
    again: impl Fn(&str) -> Result<f64, BudgetError>,
) -> Result<Vec<Figure>, BudgetError> {
    let changes = budgets.changes(&figures);
    let is_above = |figure: &Figure| {
        let mut of_stage = changes.iter().filter(|change| change.stage == figure.stage);
        of_stage.any(|change| change.percent().is_some_and(|percent| percent > 0.0))
    };

    for figure in figures.iter_mut().filter(|figure| is_above(figure)) {
        let name = figure.stage.clone();
        let mut counts = [figure.instructions, again(&name)?, again(&name)?];
        counts.sort_by(f64::total_cmp);
        println!("{name} was counted three times: {counts:?}");
        figure.instructions = counts[1];
    }
    Ok(figures)
}

/// Counts the instructions for one unit of a stage.
fn count_one(stage: &Stage, folder: &Path) -> Result<Figure, BudgetError> {
    let program = std::env::current_exe().map_err(|source| CallgrindError::Io {
        what: "the path of this program".to_owned(),
        source,
    })?;

    let of_passes = |passes: &str| {
        let arguments = ["budgets", "--work", stage.name, "--passes", passes];
        let file = format!("{}-{passes}", stage.name);
        callgrind::instructions(&program, &arguments, folder, &file)
    };
    figure(stage, of_passes("1")?, of_passes("2")?)
}

/// Returns the figure of a stage from the instructions of its program with one pass and with two.
/// It fails if a pass does no work, because such a stage would be within any budget.
fn figure(stage: &Stage, once: u64, twice: u64) -> Result<Figure, BudgetError> {
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    let instructions = twice.saturating_sub(once) as f64 / stage.units as f64;
    let instructions = (instructions * 10.0).round() / 10.0;
    if instructions < LEAST_INSTRUCTIONS {
        return Err(BudgetError::Stage {
            stage: stage.name,
            reason: format!(
                "a pass takes {instructions} instructions for each {}, so it does no work",
                stage.unit
            ),
        });
    }

    Ok(Figure {
        stage: stage.name.to_owned(),
        instructions,
        per: stage.unit.to_owned(),
        about: stage.about.to_owned(),
    })
}

fn print(figures: &[Figure], budgets: Option<&Budgets>) {
    println!(
        "{:<12} {:>12} {:>10}  per",
        "stage", "instructions", "budget"
    );
    for figure in figures {
        let kept = budgets.map_or(&[][..], |budgets| &budgets.stages);
        let kept = kept.iter().find(|budget| budget.stage == figure.stage);
        let budget = kept.map_or_else(String::new, |budget| format!("{:.1}", budget.instructions));
        println!(
            "{:<12} {:>12.1} {budget:>10}  {}: {}",
            figure.stage, figure.instructions, figure.per, figure.about
        );
    }
}

fn judge(budgets: &Budgets, figures: &[Figure], here: &Tools) -> Result<Comparison, BudgetError> {
    if let Some(difference) = budgets.tools.difference(here) {
        println!("not compared: {difference}; `bench budgets --keep` writes new ones");
        return Ok(Comparison::NotCompared(difference));
    }

    let changes = budgets.changes(figures).into_iter();
    let (less, others): (Vec<_>, Vec<_>) = changes.partition(Change::is_less);
    // A build of one crate alone unifies features differently, which can explain the difference.
    for change in less {
        println!("{}", change.sentence());
    }

    if others.is_empty() {
        Ok(Comparison::Kept)
    } else {
        Err(BudgetError::Changed(others))
    }
}

fn sentences(changes: &[Change]) -> String {
    let sentences: Vec<_> = changes.iter().map(Change::sentence).collect();
    sentences.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_a_name_of_its_own_and_does_its_work() {
        for (place, stage) in STAGES.iter().enumerate() {
            let is_new = STAGES[..place].iter().all(|other| other.name != stage.name);
            assert!(is_new, "{}", stage.name);

            let units = stage.units / 10;
            for passes in [1, 2] {
                assert_eq!(
                    (stage.run)(units, passes).unwrap(),
                    units * passes,
                    "{}",
                    stage.name
                );
            }
        }
    }

    #[test]
    fn a_stage_that_does_less_than_its_work_fails() {
        let lazy = Stage {
            name: "lazy",
            unit: "order",
            about: "",
            units: 10,
            run: |units, passes| Ok(units * passes - 1),
        };
        assert_eq!(
            work(&lazy, 2).unwrap_err().to_string(),
            "the stage lazy: it handled 19 of 20 orders"
        );
    }

    #[test]
    fn a_stage_whose_passes_take_no_instructions_fails() {
        let stage = &STAGES[0];
        let figure = |once, twice| figure(stage, once, twice);
        assert!(figure(1_000, 1_000).is_err());
        assert!(figure(1_000, 900).is_err());
        assert!(figure(1_000, 1_000 + stage.units / 2).is_err());
        let found = figure(1_000, 1_000 + 70 * stage.units).unwrap();
        assert!((found.instructions - 70.0).abs() < 0.1);
    }

    #[test]
    fn a_figure_above_its_budget_is_the_median_of_three_counts() {
        let budgets = Budgets::read(&Budgets::path()).unwrap();
        let kept = budgets.stages[0].instructions;
        let counted = |times: f64, others: &[f64]| {
            let mut figures = budgets.stages.clone();
            figures[0].instructions = times * kept;
            let asked = std::cell::Cell::new(0);
            let again = |name: &str| {
                assert_eq!(name, budgets.stages[0].stage);
                asked.set(asked.get() + 1);
                Ok(others[asked.get() - 1] * kept)
            };
            let figures = steadied(figures, &budgets, again).unwrap();
            assert_eq!(figures[1..], budgets.stages[1..]);
            (figures[0].instructions / kept, asked.get())
        };

        let close = |(found, asked): (f64, usize), expected: f64, times: usize| {
            assert!((found - expected).abs() < 1e-9, "{found}");
            assert_eq!(asked, times);
        };
        close(counted(1.08, &[1.0, 1.01]), 1.01, 2);
        close(counted(1.08, &[1.07, 1.0]), 1.07, 2);
        close(counted(1.08, &[1.08, 1.09]), 1.08, 2);
        close(counted(1.02, &[]), 1.02, 0);
        close(counted(0.9, &[]), 0.9, 0);
    }

    #[test]
    fn a_file_without_stages_keeps_no_budget() {
        let budgets = Budgets::read(&Budgets::path()).unwrap();
        let figures = budgets.stages.clone();
        let here = budgets.tools.clone();
        assert!(matches!(
            judge(&budgets, &figures, &here),
            Ok(Comparison::Kept)
        ));

        let empty = Budgets {
            stages: Vec::new(),
            ..budgets
        };
        let missing = judge(&empty, &figures, &here);
        assert!(matches!(missing, Err(BudgetError::Changed(all)) if all.len() == figures.len()));
    }

    #[test]
    fn each_stage_has_a_budget() {
        let budgets = Budgets::read(&Budgets::path()).unwrap();
        let kept: Vec<_> = budgets.stages.iter().map(|budget| &*budget.stage).collect();
        let stages: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
        assert_eq!(kept, stages);
    }
}

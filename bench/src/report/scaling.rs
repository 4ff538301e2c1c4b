//! Rates by the number of workers, processes, partitions or replicas, gathered from all results of one machine and
//! commit, with a model for each program.

use std::collections::BTreeMap;

use super::model::{Fit, Point};
use super::text::{Statistic, number};
use crate::results::{Measure, Results, Row, Table};

/// The settings over which rates are drawn.
const SIZES: [&str; 4] = ["workers", "processes", "partitions", "replicas"];
/// Sizes above the number of cores measure the machine, not the program.
const BOUNDED_BY_CORES: [&str; 2] = ["workers", "processes"];

/// Rates of a command by one setting.
#[derive(Clone, Debug)]
pub struct Scaling {
    /// The command.
    pub command: String,
    /// The rate.
    pub measure: Measure,
    /// The setting.
    pub setting: &'static str,
    /// The rates of each program.
    pub series: Vec<Series>,
}

/// The rates of one program.
#[derive(Clone, Debug)]
pub struct Series {
    /// The program, with its settings that stay the same.
    pub name: String,
    /// The sizes in ascending order, each with its rate.
    pub rates: Vec<(f64, Statistic)>,
    /// The model, or the reason why there is none.
    pub fit: Result<Fit, String>,
    /// The number of sizes that exceed the machine's cores and are not part of the fit.
    pub beyond_cores: usize,
}

/// The things that rows of a plot have in common: machine and commit, command, table.
type Common = (String, String, String);

/// Returns the scalings that were measured: at least two sizes of the same program.
pub fn all(results: &[Results]) -> Vec<Scaling> {
    let mut commons: Vec<Common> = results.iter().flat_map(commons).collect();
    commons.sort();
    commons.dedup();

    let mut scalings = Vec::new();
    for common in &commons {
        let of_common = || results.iter().flat_map(|one| tables(one, common));
        let Some((first, table)) = of_common().next() else {
            continue;
        };

        for measure in table.measures.iter().filter(|measure| measure.is_rate) {
            for setting in SIZES {
                let rows = of_common().flat_map(|(_, table)| &table.rows);
                let cores = BOUNDED_BY_CORES
                    .contains(&setting)
                    .then_some(first.circumstances.cores)
                    .flatten();
                let series = series(rows, measure, setting, cores);
                if !series.is_empty() {
                    scalings.push(Scaling {
                        command: first.command.clone(),
                        measure: measure.clone(),
                        setting,
                        series,
                    });
                }
            }
        }
    }
    scalings
}

fn commons(results: &Results) -> impl Iterator<Item = Common> + '_ {
    let tables = results.tables.iter();
    tables.map(|table| (place(results), results.command.clone(), table.title.clone()))
}

fn place(results: &Results) -> String {
    let of = &results.circumstances;
    format!("{} {:?} {} {}", of.processor, of.cores, of.tree(), of.build)
}

fn tables<'a>(results: &'a Results, common: &Common) -> Vec<(&'a Results, &'a Table)> {
    let is_common = |table: &&Table| {
        (place(results), &results.command, &table.title) == (common.0.clone(), &common.1, &common.2)
    };
    results
        .tables
        .iter()
        .filter(is_common)
        .map(|table| (results, table))
        .collect()
}

fn series<'a>(
    rows: impl Iterator<Item = &'a Row>,
    measure: &Measure,
    setting: &str,
    cores: Option<u64>,
) -> Vec<Series> {
    // Sizes are positive numbers, so that their bits have the same order.
    let mut programs: BTreeMap<String, BTreeMap<u64, Vec<f64>>> = BTreeMap::new();
    for row in rows {
        let size = row
            .settings
            .get(setting)
            .copied()
            .filter(|size| *size > 0.0);
        if let Some(size) = size {
            let sizes = programs.entry(name_without(row, setting)).or_default();
            sizes
                .entry(size.to_bits())
                .or_default()
                .extend(row.of(measure));
        }
    }

    let all = programs.into_iter().map(|(name, sizes)| {
        let spreads = sizes
            .into_iter()
            .filter_map(|(bits, samples)| Some((f64::from_bits(bits), Statistic::of(&samples)?)));
        one(name, spreads.collect(), cores)
    });
    all.filter(|series| series.rates.len() > 1).collect()
}

fn one(name: String, rates: Vec<(f64, Statistic)>, cores: Option<u64>) -> Series {
    #[allow(clippy::cast_precision_loss, reason = "cores are few")]
    let most = cores.map_or(f64::INFINITY, |cores| cores as f64);
    let within = rates.iter().filter(|(size, _)| *size <= most);
    let points: Vec<Point> = within
        .map(|(size, spread)| Point {
            size: *size,
            rate: spread.median,
        })
        .collect();

    Series {
        name,
        beyond_cores: rates.len() - points.len(),
        fit: Fit::of(&points),
        rates,
    }
}

fn name_without(row: &Row, setting: &str) -> String {
    let others = row.settings.iter().filter(|(name, _)| *name != setting);
    let others: Vec<String> = others
        .map(|(name, value)| format!("{} {name}", number(*value)))
        .collect();
    if others.is_empty() {
        row.name.clone()
    } else {
        format!("{} ({})", row.name, others.join(", "))
    }
}

impl Series {
    /// Returns the sentences about the model, and about sizes that it leaves out.
    pub fn sentences(&self, unit: &str) -> String {
        let model = match &self.fit {
            Ok(fit) => fit.sentences(unit),
            Err(reason) => reason.clone(),
        };
        match self.beyond_cores {
            0 => model,
            1 => format!("{model} 1 size exceeds the machine's cores and is left out of the fit."),
            more => format!(
                "{model} {more} sizes exceed the machine's cores and are left out of the fit."
            ),
        }
    }
}

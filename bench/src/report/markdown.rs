//! The same tables in Markdown, for `bench/README.md`.

use std::fmt::Write;

use super::page::{Content, command_line, usual};
use super::scaling;
use super::text::{Statistic, heading, in_markdown, number, row_name};
use crate::machine::Circumstances;
use crate::results::{Results, Table};

impl Content {
    /// Returns the tables of all results, each below its command and circumstances.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for results in &self.results {
            text += &one(results);
        }

        for scaling in scaling::all(&self.results) {
            let title = format!("{} by {}", heading(&scaling.measure), scaling.setting);
            let _ = writeln!(
                text,
                "Scaling of `{}`, {}:\n",
                scaling.command,
                in_markdown(&title)
            );
            for series in &scaling.series {
                let sentences = series.sentences(&scaling.measure.unit);
                let _ = writeln!(
                    text,
                    "- {}: {}",
                    in_markdown(&series.name),
                    in_markdown(&sentences)
                );
            }
            text.push('\n');
        }
        for unread in &self.unread {
            let _ = writeln!(text, "Not read: {}\n", in_markdown(unread));
        }
        text
    }
}

fn one(results: &Results) -> String {
    let mut text = format!(
        "`{}` ({}).\n\n",
        code(&command_line(results)),
        in_markdown(&conditions(results))
    );
    if let Some(failure) = &results.failure {
        let _ = writeln!(text, "Failed: {}\n", in_markdown(failure));
    }
    for table in results.tables.iter().filter(|table| !table.rows.is_empty()) {
        text += &rows(table);
    }
    text
}

/// Returns the text without the sign that ends code in Markdown.
fn code(text: &str) -> String {
    text.replace('`', "'").replace('\n', " ")
}

fn conditions(results: &Results) -> String {
    let of: &Circumstances = &results.circumstances;
    let load =
        |load: Option<f64>| load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}"));
    let cores = of
        .cores
        .map_or_else(|| "?".to_owned(), |cores| cores.to_string());
    format!(
        "commit {}, {} build, {cores} cores of {}, {}, load {} before and {} after",
        of.tree(),
        of.build,
        of.processor,
        of.memory,
        load(of.load),
        load(results.load_after)
    )
}

fn rows(table: &Table) -> String {
    let usual = usual(table);
    let samples = match usual {
        0 | 1 => String::new(),
        more => format!(" (medians of {more}, least–most)"),
    };
    let mut text = format!("{}{samples}:\n\n| |", in_markdown(&table.title));
    for measure in &table.measures {
        let _ = write!(text, " {} |", in_markdown(&heading(measure)));
    }
    text += "\n|---|";
    text += &"---|".repeat(table.measures.len());
    text.push('\n');

    for row in &table.rows {
        let _ = write!(text, "| {} |", in_markdown(&row_name(row, &table.rows)));
        for measure in &table.measures {
            let cell = Statistic::of(row.of(measure))
                .map_or_else(|| number(f64::NAN), |spread| spread.cell(usual));
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text + "\n"
}

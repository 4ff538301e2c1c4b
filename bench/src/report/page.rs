//! The page: one HTML file without scripts, fonts or other files, made of results and nothing else.
//!
//! Everything that comes from results is escaped. The page is well-formed XML too, so that any parser reads it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::plot;
use super::scaling::{self, Scaling};
use super::text::{Statistic, escaped, heading, number, row_name};
use crate::machine::Circumstances;
use crate::results::{Results, Table};

const STYLE: &str = include_str!("page.css");
/// The style of a program in a plot of scaling.
const STYLES: usize = 6;

/// The content of a page.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// The results, in the order of the page.
    pub results: Vec<Results>,
    /// One sentence for each file that could not be read.
    pub unread: Vec<String>,
}

impl Content {
    /// Returns the number of results that are missing: commands that failed, and files that could not be read.
    pub fn failures(&self) -> usize {
        let failed = self.results.iter().filter(|one| one.failure.is_some());
        failed.count() + self.unread.len()
    }

    /// Returns the different circumstances, without load and time, in the order of the results.
    pub fn places(&self) -> Vec<Circumstances> {
        let mut places: Vec<Circumstances> = Vec::new();
        for results in &self.results {
            let place = place(&results.circumstances);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    /// Returns the page.
    pub fn html(&self) -> String {
        let places = self.places();
        let scalings = scaling::all(&self.results);
        let mut body = self.head(&places);
        body += &self.contents(&scalings);

        for (number, results) in self.results.iter().enumerate() {
            body += &section(number, results, &places);
        }
        if !scalings.is_empty() {
            body += &scaled(&scalings);
        }

        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
             <title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n{body}</main></body></html>\n",
            title = escaped(&title(&places))
        )
    }

    fn head(&self, places: &[Circumstances]) -> String {
        let mut head = format!("<h1>{}</h1>\n", escaped(&title(places)));
        if self.results.is_empty() {
            head += &alarm("No figures", "There are no results to show.");
        }
        if self.failures() > 0 {
            let all = self.results.len() + self.unread.len();
            head += &alarm(
                "Incomplete",
                &format!(
                    "{} of {all} results failed or could not be read.",
                    self.failures()
                ),
            );
        }
        for unread in &self.unread {
            head += &alarm("Not read", unread);
        }

        if places.len() > 1 {
            head += &alarm(
                "Several circumstances",
                "The results are of different machines, commits or builds. Compare only those with the same letter.",
            );
        }
        for (number, place) in places.iter().enumerate() {
            head += &circumstances(place, letter(number, places));
        }
        head
    }

    fn contents(&self, scalings: &[Scaling]) -> String {
        if self.results.len() + scalings.len() < 2 {
            return String::new();
        }
        let mut links = String::new();
        for (number, results) in self.results.iter().enumerate() {
            let failed = if results.failure.is_some() {
                " (failed)"
            } else {
                ""
            };
            let name = escaped(&command_line(results));
            let _ = write!(links, "<li><a href=\"#r{number}\">{name}{failed}</a></li>");
        }
        if !scalings.is_empty() {
            links += "<li><a href=\"#scaling\">scaling</a></li>";
        }
        format!("<nav aria-label=\"Results\"><ul>{links}</ul></nav>\n")
    }
}

/// Returns the circumstances that results may share: all but load and time, and the versions that only some have.
fn place(of: &Circumstances) -> Circumstances {
    let compiler = of.versions.get_key_value("Rust");
    Circumstances {
        load: None,
        began_at: String::new(),
        versions: compiler
            .into_iter()
            .map(|(name, version)| (name.clone(), version.clone()))
            .collect(),
        ..of.clone()
    }
}

fn title(places: &[Circumstances]) -> String {
    match places {
        [one] => format!("Figures of Tidemark at commit {}", or_unknown(&one.tree())),
        [] => "Figures of Tidemark".to_owned(),
        several => format!("Figures of Tidemark in {} circumstances", several.len()),
    }
}

/// Returns the name of circumstances; none if there is only one.
fn letter(number: usize, places: &[Circumstances]) -> Option<char> {
    let letter = u8::try_from(number)
        .ok()
        .and_then(|number| b'A'.checked_add(number));
    letter.filter(|_| places.len() > 1).map(char::from)
}

fn circumstances(place: &Circumstances, letter: Option<char>) -> String {
    let mut rows = vec![
        ("Processor", place.processor.clone()),
        (
            "Cores",
            place
                .cores
                .map_or_else(String::new, |cores| cores.to_string()),
        ),
        ("Memory", place.memory.clone()),
        ("Kernel", place.kernel.clone()),
        ("Commit", place.tree()),
        ("Build", place.build.clone()),
    ];
    rows.extend(
        place
            .versions
            .values()
            .map(|version| ("Compiler", version.clone())),
    );

    let line = |(name, value): (&str, String)| {
        format!(
            "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>",
            escaped(&or_unknown(&value))
        )
    };
    let lines: String = rows.into_iter().map(line).collect();
    let name = letter.map_or_else(
        || "Circumstances".to_owned(),
        |letter| format!("Circumstances {letter}"),
    );
    let mut html =
        format!("<h3>{name}</h3>\n<table class=\"words\"><tbody>{lines}</tbody></table>\n");

    if place.build == "debug" {
        html += &alarm(
            "Debug build",
            "Its times and memory are not those of a release build.",
        );
    }
    if place.is_changed {
        html += &alarm(
            "Changed tree",
            "Files differed from the commit, so the figures are not those of the commit.",
        );
    }
    html
}

fn section(number: usize, results: &Results, places: &[Circumstances]) -> String {
    let mut html = format!(
        "<section aria-labelledby=\"r{number}\"><h2 id=\"r{number}\">{}</h2>\n<p><code>bench {}</code></p>\n{}",
        escaped(&or_unknown(&results.command)),
        escaped(&command_line(results)),
        conditions(results, places)
    );

    if let Some(failure) = &results.failure {
        html += &alarm("Failed", failure);
    }
    let has_samples = results.tables.iter().any(|table| usual(table) > 0);
    if !has_samples && results.failure.is_none() {
        html += &alarm("Empty", "The results contain no samples.");
    }
    for (place, table) in results.tables.iter().enumerate() {
        html += &figures(table, &format!("r{number}t{place}"));
    }
    html + "</section>\n"
}

/// Returns the lines about time, load and versions of a section.
fn conditions(results: &Results, places: &[Circumstances]) -> String {
    let of = &results.circumstances;
    let own = place(of);
    let index = places.iter().position(|place| *place == own).unwrap_or(0);
    let load =
        |load: Option<f64>| load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.2}"));

    let mut facts = Vec::new();
    facts.extend(letter(index, places).map(|letter| format!("Circumstances {letter}")));
    facts.push(format!(
        "Load {} at the start, {} at the end",
        load(of.load),
        load(results.load_after)
    ));
    facts.extend(
        results
            .took_s
            .map(|took| format!("took {} s", number(took))),
    );
    if !of.began_at.is_empty() {
        facts.push(format!("began {}", of.began_at));
    }

    let others: BTreeMap<_, _> = of
        .versions
        .iter()
        .filter(|(name, _)| *name != "Rust")
        .collect();
    facts.extend(
        others
            .iter()
            .map(|(name, version)| format!("{name}: {version}")),
    );
    let mut html = format!("<p class=\"quiet\">{}</p>\n", escaped(&facts.join("; ")));

    #[allow(clippy::cast_precision_loss, reason = "cores are few")]
    let is_busy = of
        .load
        .zip(of.cores)
        .is_some_and(|(load, cores)| load >= cores as f64);
    if is_busy {
        html += &alarm(
            "Busy machine",
            "At the start, other programs used all cores; times are longer than on an idle machine.",
        );
    }
    html
}

/// Returns a table with its plots.
fn figures(table: &Table, id: &str) -> String {
    let mut html = format!(
        "<h3 id=\"{id}\">{}</h3>\n{}",
        escaped(&table.title),
        rows(table, id)
    );
    let plots: Vec<String> = table
        .measures
        .iter()
        .enumerate()
        .filter_map(|(number, measure)| {
            let drawn = plot::bars(table, measure, &format!("{id}p{number}"))?;
            Some(format!(
                "<figure><figcaption>{}</figcaption>{drawn}</figure>",
                escaped(&heading(measure))
            ))
        })
        .collect();

    if !plots.is_empty() {
        let _ = writeln!(html, "<div class=\"plots\">{}</div>", plots.concat());
    }
    html
}

fn rows(table: &Table, id: &str) -> String {
    let usual = usual(table);
    let mut head = "<th scope=\"col\">of</th>".to_owned();
    for measure in &table.measures {
        let _ = write!(
            head,
            "<th scope=\"col\">{}</th>",
            escaped(&heading(measure))
        );
    }

    let mut body = String::new();
    for row in &table.rows {
        let _ = write!(
            body,
            "<tr><th scope=\"row\">{}</th>",
            escaped(&row_name(row, &table.rows))
        );
        for measure in &table.measures {
            let cell = Statistic::of(row.of(measure))
                .map_or_else(|| "–".to_owned(), |spread| spread.cell(usual));
            let _ = write!(body, "<td>{}</td>", escaped(&cell));
        }
        body += "</tr>";
    }

    let samples = match usual {
        0 | 1 => String::new(),
        more => format!("<p class=\"quiet\">Medians of {more} samples (least–most).</p>\n"),
    };
    format!(
        "{samples}{}<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{id}\"><table>\
         <thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n",
        settings(table)
    )
}

/// Returns the line with the settings that all rows share.
fn settings(table: &Table) -> String {
    let Some(first) = table.rows.first() else {
        return "<p class=\"quiet\">There are no rows.</p>\n".to_owned();
    };
    let is_shared = |name: &String, value: &f64| {
        table
            .rows
            .iter()
            .all(|row| row.settings.get(name) == Some(value))
    };
    let shared = first
        .settings
        .iter()
        .filter(|(name, value)| is_shared(name, value));
    let shared: Vec<String> = shared
        .map(|(name, value)| format!("{} {name}", number(*value)))
        .collect();
    if shared.is_empty() {
        return String::new();
    }
    format!("<p class=\"quiet\">{}</p>\n", escaped(&shared.join(", ")))
}

/// Returns the number of samples that most cells have; of several, the greatest.
pub fn usual(table: &Table) -> usize {
    let rows = table.rows.iter();
    let counts = rows.flat_map(|row| table.measures.iter().map(|measure| row.of(measure).len()));
    let mut cells: BTreeMap<usize, usize> = BTreeMap::new();
    for count in counts.filter(|count| *count > 0) {
        *cells.entry(count).or_default() += 1;
    }
    let usual = cells.into_iter().max_by_key(|(_, cells)| *cells);
    usual.map_or(0, |(count, _)| count)
}

fn scaled(scalings: &[Scaling]) -> String {
    let mut html =
        "<section aria-labelledby=\"scaling\"><h2 id=\"scaling\">Scaling</h2>\n".to_owned();
    for (number, scaling) in scalings.iter().enumerate() {
        let id = format!("s{number}");
        let title = format!(
            "{}: {} by {}",
            scaling.command,
            heading(&scaling.measure),
            scaling.setting
        );
        let title = escaped(&title);
        let _ = write!(
            html,
            "<h3 id=\"{id}\">{title}</h3>\n<div class=\"plots\"><figure><figcaption>{title}</figcaption>{}{}</figure></div>\n{}",
            plot::scaling(scaling, &format!("{id}p")),
            legend(scaling),
            rates(scaling, &id)
        );
    }
    html + "</section>\n"
}

fn legend(scaling: &Scaling) -> String {
    let line = |(number, series): (usize, &scaling::Series)| {
        let style = number % STYLES;
        format!(
            "<li><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path class=\"point s{style}\" d=\"{}\"/></svg>{}: {}</li>",
            plot::mark(style, 8.0, 8.0),
            escaped(&series.name),
            escaped(&series.sentences(&scaling.measure.unit))
        )
    };
    let lines: String = scaling.series.iter().enumerate().map(line).collect();
    format!("<ul class=\"legend\">{lines}</ul>")
}

/// Returns the rates of a plot as a table, with those of the model.
fn rates(scaling: &Scaling, id: &str) -> String {
    let mut body = String::new();
    for series in &scaling.series {
        for (size, spread) in &series.rates {
            let model = series
                .fit
                .as_ref()
                .map_or_else(|_| "–".to_owned(), |fit| number(fit.rate(*size)));
            let _ = write!(
                body,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{model}</td></tr>",
                escaped(&series.name),
                number(*size),
                spread.cell(spread.count)
            );
        }
    }
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{id}\"><table><thead><tr><th scope=\"col\">of</th>\
         <th scope=\"col\">{}</th><th scope=\"col\">{}</th><th scope=\"col\">by the model</th></tr></thead>\
         <tbody>{body}</tbody></table></div>\n",
        escaped(scaling.setting),
        escaped(&heading(&scaling.measure))
    )
}

/// Returns the command with its arguments.
pub fn command_line(results: &Results) -> String {
    let quoted = |argument: &String| {
        let is_plain = !argument.is_empty() && !argument.contains(char::is_whitespace);
        if is_plain {
            argument.clone()
        } else {
            format!("'{argument}'")
        }
    };
    let arguments = results.arguments.iter().map(quoted);
    let words: Vec<String> = std::iter::once(results.command.clone())
        .chain(arguments)
        .collect();
    words.join(" ")
}

fn or_unknown(text: &str) -> String {
    if text.trim().is_empty() {
        "unknown".to_owned()
    } else {
        text.to_owned()
    }
}

fn alarm(what: &str, text: &str) -> String {
    format!(
        "<p class=\"alarm\"><strong>{what}.</strong> {}</p>\n",
        escaped(text)
    )
}

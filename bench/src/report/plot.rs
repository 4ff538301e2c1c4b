//! The plots, as SVG: bars with ranges, and rates by size with their models.
//!
//! They are drawn here and not by a crate. The page needs two kinds of plots whose colours follow the reader's light or
//! dark setting by style sheet, and whose titles and descriptions screen readers find. Crates of plots (plotters,
//! charming) write fixed colours, no descriptions, and bring fonts or a JavaScript engine with them.
//!
//! A plot is 420 units wide and is shown at about that width in pixels, on a phone too, so its text stays readable.

use std::fmt::Write;

use super::scaling::{Scaling, Series};
use super::text::{Statistic, escaped, heading, number, row_name};
use crate::results::{Measure, Table};

const WIDTH: f64 = 420.0;
const BAR_ROW: f64 = 42.0;
/// The longest name of a bar in characters; its figure stands beside it.
const LONGEST_NAME: usize = 44;

const HEIGHT: f64 = 280.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// The number of lines across a plot, about.
const LINES: f64 = 4.0;
/// No plot has as many lines across.
const MOST_LINES: u32 = 12;
/// The number of parts of a model's curve.
const CURVE: u32 = 48;
/// The number of styles of programs.
const STYLES: usize = 6;

/// Returns bars of the medians of a measure with lines from the least to the most; none for fewer than two bars.
pub fn bars(table: &Table, measure: &Measure, id: &str) -> Option<String> {
    let spreads = table.rows.iter().filter_map(|row| {
        let spread = Statistic::of(row.of(measure))?;
        Some((row_name(row, &table.rows), spread))
    });
    let bars: Vec<(String, Statistic)> = spreads.collect();
    if bars.len() < 2 {
        return None;
    }

    let least = bars
        .iter()
        .map(|(_, spread)| spread.least)
        .fold(0.0, f64::min);
    let most = bars
        .iter()
        .map(|(_, spread)| spread.most)
        .fold(0.0, f64::max);
    let x = |value: f64| share(value, least, most) * (WIDTH - 2.0) + 1.0;

    let mut drawn = String::new();
    let mut top = 0.0;
    for (name, spread) in &bars {
        drawn += &bar(name, spread, top, &x);
        top += BAR_ROW;
    }

    let about = "Each bar is a median; the line on it goes from the least to the most.";
    Some(svg(id, &heading(measure), about, top, &drawn))
}

fn bar(name: &str, spread: &Statistic, top: f64, x: &dyn Fn(f64) -> f64) -> String {
    let from = x(0.0).min(x(spread.median));
    let width = (x(0.0) - x(spread.median)).abs();
    let middle = top + 26.0;

    let mut drawn = format!(
        "<text x=\"0\" y=\"{:.1}\">{}</text><text class=\"figure\" x=\"{WIDTH}\" y=\"{:.1}\">{}</text>",
        top + 14.0,
        escaped(&shortened(name)),
        top + 14.0,
        number(spread.median)
    );
    drawn += &format!(
        "<rect class=\"bar\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\"/>",
        top + 20.0
    );
    if spread.count > 1 {
        drawn += &range(x(spread.least), middle, x(spread.most), middle);
    }
    drawn
}

/// Draws a range as a line with a short stroke at both ends.
fn range(from_x: f64, from_y: f64, to_x: f64, to_y: f64) -> String {
    let is_level = (from_y - to_y).abs() < f64::EPSILON;
    let across = |x: f64, y: f64| {
        if is_level {
            format!("M{x:.1} {:.1}v8", y - 4.0)
        } else {
            format!("M{:.1} {y:.1}h8", x - 4.0)
        }
    };
    format!(
        "<path class=\"range\" d=\"M{from_x:.1} {from_y:.1}L{to_x:.1} {to_y:.1}{}{}\"/>",
        across(from_x, from_y),
        across(to_x, to_y)
    )
}

/// Returns the rates of each program by size: points with their ranges, and the curves of the models.
pub fn scaling(scaling: &Scaling, id: &str) -> String {
    let rates = || scaling.series.iter().flat_map(|series| &series.rates);
    let largest = rates().map(|(size, _)| *size).fold(1.0, f64::max);
    let highest = rates().map(|(_, spread)| spread.most).fold(0.0, f64::max);
    let step = step(highest);
    let most = step
        * (1..MOST_LINES)
            .map(f64::from)
            .find(|lines| step * lines >= highest)
            .unwrap_or(LINES);

    let x = |size: f64| LEFT + share(size, 0.0, largest) * (WIDTH - LEFT - RIGHT);
    let y = |rate: f64| HEIGHT - BOTTOM - share(rate, 0.0, most) * (HEIGHT - TOP - BOTTOM);
    let place = Place {
        x: &x,
        y: &y,
        largest,
        most,
    };

    let mut drawn = axes(scaling, &place, step);
    for (number, series) in scaling.series.iter().enumerate() {
        drawn += &curve(series, number % STYLES, &place);
        drawn += &points(series, number % STYLES, &place);
    }

    let title = format!("{} by {}", heading(&scaling.measure), scaling.setting);
    let about = "Points are medians with lines from the least to the most; dashed curves are the fitted models.";
    svg(id, &title, about, HEIGHT, &drawn)
}

/// The places of values in a plot.
struct Place<'a> {
    x: &'a dyn Fn(f64) -> f64,
    y: &'a dyn Fn(f64) -> f64,
    largest: f64,
    most: f64,
}

fn axes(scaling: &Scaling, place: &Place<'_>, step: f64) -> String {
    let mut drawn = String::new();
    // Counted, because a sum of steps may never pass the end of odd numbers.
    let values = (0..MOST_LINES).map(|line| f64::from(line) * step);
    for value in values.take_while(|value| *value <= place.most * 1.001) {
        let y = (place.y)(value);
        drawn += &format!(
            "<path class=\"line\" d=\"M{LEFT} {y:.1}H{:.1}\"/><text class=\"figure\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            number(value)
        );
    }

    let mut sizes: Vec<f64> = scaling
        .series
        .iter()
        .flat_map(|series| &series.rates)
        .map(|(size, _)| *size)
        .collect();
    sizes.sort_by(f64::total_cmp);
    let mut last = f64::NEG_INFINITY;
    for size in sizes {
        let x = (place.x)(size);
        // Labels that would lie on each other are left out.
        if x - last >= 26.0 {
            drawn += &format!(
                "<text class=\"size\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                HEIGHT - BOTTOM + 18.0,
                number(size)
            );
            last = x;
        }
    }
    drawn
        + &format!(
            "<text class=\"size\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 6.0,
            escaped(scaling.setting)
        )
}

fn curve(series: &Series, style: usize, place: &Place<'_>) -> String {
    let Ok(fit) = &series.fit else {
        return String::new();
    };
    let mut path = String::new();
    for part in 0..=CURVE {
        let size = 1.0 + (place.largest - 1.0) * f64::from(part) / f64::from(CURVE);
        let rate = fit.rate(size).min(place.most);
        let letter = if part == 0 { 'M' } else { 'L' };
        let _ = write!(
            path,
            "{letter}{:.1} {:.1}",
            (place.x)(size),
            (place.y)(rate)
        );
    }
    format!("<path class=\"curve s{style}\" d=\"{path}\"/>")
}

fn points(series: &Series, style: usize, place: &Place<'_>) -> String {
    let point = |(size, spread): &(f64, Statistic)| {
        let x = (place.x)(*size);
        let y = (place.y)(spread.median);
        let mut drawn = String::new();
        if spread.count > 1 {
            drawn += &range(x, (place.y)(spread.least), x, (place.y)(spread.most));
        }
        drawn
            + &format!(
                "<path class=\"point s{style}\" d=\"{}\"/>",
                mark(style, x, y)
            )
    };
    series.rates.iter().map(point).collect()
}

/// Returns the mark of a style, so that programs differ by more than a colour.
pub fn mark(style: usize, x: f64, y: f64) -> String {
    match style {
        0 => format!("M{:.1} {y:.1}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z", x - 5.0),
        1 => format!("M{:.1} {:.1}h9v9h-9z", x - 4.5, y - 4.5),
        2 => format!("M{x:.1} {:.1}l6 10h-12z", y - 6.0),
        3 => format!("M{x:.1} {:.1}l6 6l-6 6l-6 -6z", y - 6.0),
        4 => format!("M{x:.1} {:.1}l6 -10h-12z", y + 6.0),
        _ => format!(
            "M{:.1} {:.1}l10 10M{:.1} {:.1}l-10 10",
            x - 5.0,
            y - 5.0,
            x + 5.0,
            y - 5.0
        ),
    }
}

/// Returns the place of a value between two others, from 0 to 1.
fn share(value: f64, from: f64, to: f64) -> f64 {
    let width = to - from;
    if width > 0.0 && width.is_finite() {
        ((value - from) / width).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// Returns a round distance of lines: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    if !most.is_finite() || most <= 0.0 {
        return 1.0;
    }
    let rough = most / LINES;
    let power = 10_f64.powf(rough.log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    round
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    let start: String = name.chars().take(LONGEST_NAME - 1).collect();
    start + "…"
}

fn svg(id: &str, title: &str, about: &str, height: f64, drawn: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-about\">\
         <title id=\"{id}-title\">{}</title><desc id=\"{id}-about\">{about} The figures are in the table.</desc>{drawn}</svg>",
        escaped(title)
    )
}

//! The charts of the last hour, each a line of SVG with its newest and its greatest value.

use stream::units::{duration, size};

use super::html::{count, unknown};
use crate::status::history::{History, Moment};

/// The width and height of a chart, in its own units.
const WIDTH: u64 = 300;
const HEIGHT: u64 = 60;
/// The time that the width stands for.
const SHOWN_MS: u64 = 3_600_000;

/// A figure, its name, and the format of its values.
struct Figure {
    name: &'static str,
    value: fn(&Moment) -> Option<u64>,
    format: fn(u64) -> String,
}

const FIGURES: [Figure; 5] = [
    Figure {
        name: "records a second",
        value: |sample| sample.records_per_second,
        format: |value| count(value),
    },
    Figure {
        name: "records behind",
        value: |sample| sample.lag_records,
        format: |value| count(value),
    },
    Figure {
        name: "watermark behind the clock",
        value: |sample| sample.watermark_delay_ms,
        format: duration,
    },
    Figure {
        name: "size of the checkpoint",
        value: |sample| sample.checkpoint_bytes,
        format: size,
    },
    Figure {
        name: "time to write it, ms",
        value: |sample| sample.checkpoint_took_ms,
        format: |value| count(value),
    },
];

/// Draws the figures of the hour before `now_ms`.
pub(super) fn charts(history: &History, now_ms: u64) -> String {
    let charts: String = FIGURES
        .iter()
        .map(|figure| chart(figure, history, now_ms))
        .collect();
    format!("<div class=\"charts\">\n{charts}</div>\n")
}

fn chart(figure: &Figure, history: &History, now_ms: u64) -> String {
    let values = history
        .samples()
        .filter_map(|sample| (figure.value)(sample));
    let most = values.max();
    let newest = history.samples().last().and_then(figure.value);
    let shown = |value: Option<u64>| value.map_or_else(unknown, figure.format);

    let begin = now_ms.saturating_sub(SHOWN_MS);
    let point = |sample: &Moment| {
        let value = (figure.value)(sample)?;
        let x = sample.at_ms.checked_sub(begin)?.min(SHOWN_MS) * WIDTH / SHOWN_MS;
        let height = u128::from(value) * u128::from(HEIGHT) / u128::from(most.unwrap_or(1).max(1));
        Some(format!("{x} {}", u128::from(HEIGHT) - height))
    };

    format!(
        "<figure><figcaption>{} <b>{}</b><small>at most {}</small></figcaption>\
         <svg viewBox=\"-1 -1 {} {}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} in the last hour\">\
         <path d=\"{}\"/></svg></figure>\n",
        figure.name,
        shown(newest),
        shown(most),
        WIDTH + 2,
        HEIGHT + 2,
        figure.name,
        path(history.samples().map(point))
    )
}

/// Returns a path through the points, with a gap where there is none.
fn path(points: impl Iterator<Item = Option<String>>) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    for point in points {
        if let Some(point) = &point {
            path.push(if is_drawing { 'L' } else { 'M' });
            path.push_str(point);
        }
        is_drawing = point.is_some();
    }
    path
}

#[cfg(test)]
mod tests {
    use stream::Status;

    use super::*;

    const NOW_MS: u64 = 10 * SHOWN_MS;

    fn history(lags: &[(u64, Option<u64>)]) -> History {
        let mut history = History::default();
        for (before_ms, lag) in lags {
            history.add(&Status {
                now_ms: NOW_MS - before_ms,
                lag_records: *lag,
                ..Status::of("counts")
            });
        }
        history
    }

    #[test]
    fn a_line_goes_from_an_hour_ago_to_now_and_up_to_its_most() {
        let drawn = chart(
            &FIGURES[1],
            &history(&[
                (SHOWN_MS, Some(0)),
                (SHOWN_MS / 2, Some(4_000)),
                (0, Some(1_000)),
            ]),
            NOW_MS,
        );
        assert!(drawn.contains("d=\"M0 60L150 0L300 45\""), "{drawn}");
        assert!(drawn.contains("<b>1\u{202f}000</b>"), "{drawn}");
        assert!(drawn.contains("at most 4\u{202f}000"), "{drawn}");
    }

    #[test]
    fn an_unknown_figure_is_a_gap_and_none_at_all_an_empty_chart() {
        let gap = history(&[(SHOWN_MS, Some(1)), (SHOWN_MS / 2, None), (0, Some(1))]);
        let drawn = chart(&FIGURES[1], &gap, NOW_MS);
        assert!(drawn.contains("d=\"M0 0M300 0\""), "{drawn}");

        let drawn = charts(&History::default(), NOW_MS);
        assert_eq!(drawn.matches("d=\"\"").count(), FIGURES.len(), "{drawn}");
        assert!(drawn.contains("<b>–</b>"), "{drawn}");
    }

    #[test]
    fn the_greatest_values_do_not_overflow() {
        let drawn = chart(&FIGURES[1], &history(&[(0, Some(u64::MAX))]), NOW_MS);
        assert!(drawn.contains("d=\"M300 0\""), "{drawn}");
    }
}

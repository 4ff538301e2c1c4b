//! The drawing of the job's dataflow, as SVG.

use stream::Status;

use super::html::{brief, count, escape, unknown};

/// Draws the path of the records.
pub(super) fn dataflow(status: &Status) -> String {
    let ways: String = WAYS
        .iter()
        .map(|way| format!("<path class=\"way\" d=\"{way}\"/>\n"))
        .collect();
    let nodes: String = nodes(status).map(|node| node.draw()).collect();

    format!(
        "<div class=\"wide\"><svg viewBox=\"0 0 960 230\" role=\"img\" aria-label=\"The dataflow of the job\">\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>\n{ways}{nodes}</svg></div>\n"
    )
}

/// The edges: from left to right, then the branches of the sink, then the path through the
/// checkpoints.
const WAYS: [&str; 9] = [
    "M160 25H196",
    "M360 25H396",
    "M560 25H596",
    "M760 25H796",
    "M780 25V85H796",
    "M780 85V145H796",
    "M780 145V205H796",
    "M480 49V96",
    "M560 124H680V53",
];

fn nodes(status: &Status) -> impl Iterator<Item = Node<'_>> {
    steps(status).into_iter().chain(topics(status))
}

/// Returns the operators and the store of checkpoints.
fn steps(status: &Status) -> [Node<'_>; 4] {
    let workers = status.workers.iter();
    let open: usize = workers.clone().map(|worker| worker.open_entries).sum();
    let kept: usize = workers.map(|worker| worker.state_entries).sum();

    let committed = status
        .commit_took_ms
        .map_or_else(unknown, |took| format!("{took} ms"));
    let durable = status
        .checkpoint
        .as_ref()
        .map_or_else(unknown, |checkpoint| brief(checkpoint.boundary_ms));

    let step = |x, name, about| Node {
        x,
        y: 1,
        class: "step",
        name,
        about,
    };

    [
        step(200, "source", format!("open keys: {}", count(open))),
        step(400, "windows", format!("entries: {}", count(kept))),
        step(600, "sink", format!("last commit: {committed}")),
        Node {
            x: 400,
            y: 100,
            class: "store",
            name: "checkpoints",
            about: durable,
        },
    ]
}

/// Returns the topic that is read, and those that are published to, below each other.
fn topics(status: &Status) -> [Node<'_>; 5] {
    let topics = &status.topics;
    let summaries = topics.summaries.as_deref().unwrap_or("no summaries");
    let topic = |x, y, name, about| Node {
        x,
        y,
        class: "topic",
        name,
        about,
    };

    let records = format!("records: {}", count(status.records));
    let rows = format!("rows: {}", count(status.rows));
    let late = format!("too late: {}", count(status.too_late));
    let rejected = format!("rejected: {}", count(status.rejected));
    [
        topic(0, 1, &topics.input, records),
        topic(800, 1, &topics.results, rows),
        topic(800, 61, summaries, "totals of windows".to_owned()),
        topic(800, 121, &topics.late, late),
        topic(800, 181, &topics.dead_letters, rejected),
    ]
}

/// A box of the drawing.
struct Node<'a> {
    x: u32,
    y: u32,
    class: &'static str,
    name: &'a str,
    about: String,
}

impl Node<'_> {
    fn draw(&self) -> String {
        let Self {
            x,
            y,
            class,
            name,
            about,
        } = self;

        let middle = x + 80;
        let name = shortened(name);
        let fitted = fitted(&name);
        let name = escape(&name);
        let about = escape(about);
        let name_y = y + 21;
        let about_y = y + 37;

        format!(
            "<g class=\"{class}\"><rect x=\"{x}\" y=\"{y}\" width=\"160\" height=\"48\" rx=\"8\"/>\
             <text x=\"{middle}\" y=\"{name_y}\"{fitted}>{name}</text>\
             <text class=\"about\" x=\"{middle}\" y=\"{about_y}\">{about}</text></g>\n"
        )
    }
}

/// Returns the attributes that squeeze a long name into its box, in any font.
fn fitted(name: &str) -> &'static str {
    if name.chars().count() > 17 {
        " textLength=\"144\" lengthAdjust=\"spacingAndGlyphs\""
    } else {
        ""
    }
}

/// Shortens a name so that it fits into a box.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 20 {
        name.to_owned()
    } else {
        name.chars().take(19).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_fit_their_boxes() {
        assert_eq!(
            shortened("a-topic-with-a-very-long-name"),
            "a-topic-with-a-very…"
        );
        assert_eq!(fitted("orders"), "");
        assert!(fitted("analytics-summaries").contains("textLength"));
    }
}

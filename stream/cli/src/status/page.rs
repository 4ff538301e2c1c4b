//! The status page: one document without scripts, in the system's colour scheme, reloaded every two
//! seconds.

use std::fmt::Display;

use stream::units::{duration, instant, size};
use stream::{CheckpointStatus, PartitionStatus, Status, Trouble, WorkerStatus};

const STYLE: &str = include_str!("page.css");

/// Renders the whole document.
pub fn render(status: &Status) -> String {
    let job = escape(&status.job);
    let body = [
        head(status),
        tiles(status),
        section("Dataflow", &dataflow(status)),
        section("Partitions of this process", &partitions(status)),
        section("Workers of this process", &workers(&status.workers)),
        section("Newest checkpoint", &checkpoint(status.checkpoint.as_ref())),
        section("Last troubles", &troubles(&status.troubles)),
    ];

    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"2\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{job}</title>\n\
         <style>\n{STYLE}</style></head>\n<body><main>\n{}</main></body></html>\n",
        body.concat()
    )
}

fn head(status: &Status) -> String {
    let (class, state) = match (status.is_running, status.attempt) {
        (true, Some(attempt)) if status.unanswered.is_some() => {
            ("bad", format!("attempt {attempt} waits for partitions"))
        }
        (true, Some(attempt)) => ("good", format!("attempt {attempt} is running")),
        (_, Some(attempt)) => ("bad", format!("attempt {attempt} has ended")),
        (_, None) => ("bad", "no attempt has begun".to_owned()),
    };

    let since = status
        .began_at_ms
        .map(|began| format!(" for {}", duration(status.now_ms.saturating_sub(began))));
    let since = since.filter(|_| status.is_running).unwrap_or_default();
    let now = instant(status.now_ms);

    let unanswered = status
        .unanswered
        .as_ref()
        .map(|sentence| format!("<p class=\"bad\">{}</p>\n", escape(sentence)));

    format!(
        "<header><h1>{}</h1><span class=\"state {class}\">{state}{since}</span><time>{now}</time></header>\n{}",
        escape(&status.job),
        unanswered.unwrap_or_default()
    )
}

fn tiles(status: &Status) -> String {
    let tile = |name: &str, value: String, about: String| {
        format!(
            "<div class=\"tile\"><b>{value}</b><span>{name}</span><small>{about}</small></div>\n"
        )
    };

    let rate = status.records_per_second.map_or_else(unknown, count);
    let bytes = status
        .bytes_per_second
        .map_or_else(String::new, |bytes| format!("{}/s", size(bytes)));
    let checkpoint = status.checkpoint.as_ref();

    let tiles = [
        tile("records a second", rate, bytes),
        tile(
            "records behind",
            status.lag_records.map_or_else(unknown, count),
            "as of the last look".to_owned(),
        ),
        tile(
            "watermark behind the clock",
            status.watermark_delay_ms.map_or_else(unknown, duration),
            status.watermark_ms.map_or_else(String::new, brief),
        ),
        tile(
            "since the newest checkpoint",
            checkpoint.map_or_else(unknown, |checkpoint| duration(checkpoint.age_ms)),
            checkpoint.map_or_else(String::new, |checkpoint| size(checkpoint.size_bytes)),
        ),
        tile(
            "restarts of this process",
            count(status.restarts),
            format!("troubles: {}", status.troubles.len()),
        ),
    ];

    format!("<div class=\"tiles\">\n{}</div>\n", tiles.concat())
}

/// Draws the path of the records.
fn dataflow(status: &Status) -> String {
    let ways: String = WAYS
        .iter()
        .map(|way| format!("<path class=\"way\" d=\"{way}\"/>\n"))
        .collect();
    let nodes: String = nodes(status).iter().map(Node::draw).collect();

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

fn nodes(status: &Status) -> [Node<'_>; 9] {
    let topics = &status.topics;
    let open: usize = status
        .workers
        .iter()
        .map(|worker| worker.open_entries)
        .sum();

    let kept: usize = status
        .workers
        .iter()
        .map(|worker| worker.state_entries)
        .sum();

    let committed = status
        .commit_took_ms
        .map_or_else(unknown, |took| format!("{took} ms"));

    let durable = status
        .checkpoint
        .as_ref()
        .map_or_else(unknown, |checkpoint| brief(checkpoint.boundary_ms));

    let node = |x, y, class, name, about| Node {
        x,
        y,
        class,
        name,
        about,
    };

    [
        node(
            0,
            1,
            "topic",
            &topics.input,
            format!("records: {}", count(status.records)),
        ),
        node(
            200,
            1,
            "step",
            "source",
            format!("open keys: {}", count(open)),
        ),
        node(
            400,
            1,
            "step",
            "windows",
            format!("entries: {}", count(kept)),
        ),
        node(600, 1, "step", "sink", format!("last commit: {committed}")),
        node(400, 100, "store", "checkpoints", durable),
        node(
            800,
            1,
            "topic",
            &topics.results,
            format!("rows: {}", count(status.rows)),
        ),
        node(
            800,
            61,
            "topic",
            topics.summaries.as_deref().unwrap_or("no summaries"),
            "totals of windows".to_owned(),
        ),
        node(
            800,
            121,
            "topic",
            &topics.late,
            format!("too late: {}", count(status.too_late)),
        ),
        node(
            800,
            181,
            "topic",
            &topics.dead_letters,
            format!("rejected: {}", count(status.rejected)),
        ),
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

fn partitions(status: &Status) -> String {
    let most = status
        .partitions
        .iter()
        .filter_map(|partition| partition.lag_records)
        .max()
        .unwrap_or(0)
        .max(1);

    let row = |partition: &PartitionStatus| {
        let lag = partition.lag_records.unwrap_or(0);
        let bar = format!("<meter min=\"0\" max=\"{most}\" value=\"{lag}\"></meter>");
        let behind = partition
            .newest_event_ms
            .map(|newest| duration(status.now_ms.saturating_sub(newest)));

        [
            partition.partition.to_string(),
            count(partition.next_offset),
            known_end(partition).map_or_else(unknown, count),
            format!(
                "{bar} {}",
                partition.lag_records.map_or_else(unknown, count)
            ),
            partition.newest_event_ms.map_or_else(unknown, instant),
            behind.map_or_else(unknown, |behind| format!("{behind} ago")),
        ]
    };
    let rows = status.partitions.iter().map(row);

    table(
        ["partition", "position", "end", "behind", "newest event", ""],
        rows,
        "nothing has been read yet",
    )
}

/// Returns the end as it is known by now: the log is read seldom, and reading may have passed its
/// answer.
fn known_end(partition: &PartitionStatus) -> Option<u64> {
    let end = partition.end_offset?;
    Some(end.max(partition.next_offset))
}

fn workers(workers: &[WorkerStatus]) -> String {
    let row = |worker: &WorkerStatus| {
        [
            worker.worker.to_string(),
            worker.watermark_ms.map_or_else(unknown, instant),
            count(worker.open_entries),
            count(worker.open_panes),
            count(worker.state_entries),
        ]
    };

    let names = [
        "worker",
        "watermark",
        "keys in open panes",
        "panes kept",
        "entries kept",
    ];

    table(
        names,
        workers.iter().map(row),
        "no worker has closed a pane yet",
    )
}

fn checkpoint(checkpoint: Option<&CheckpointStatus>) -> String {
    let row = |checkpoint: &CheckpointStatus| {
        [
            instant(checkpoint.boundary_ms),
            format!("{} ago", duration(checkpoint.age_ms)),
            format!("{} ms", checkpoint.took_ms),
            count(checkpoint.parts),
            count(checkpoint.entries),
            size(checkpoint.size_bytes),
        ]
    };

    let rows = checkpoint.into_iter();
    let lost = rows.clone().filter(|checkpoint| checkpoint.line > 0).map(|checkpoint| {
        format!(
            "<p class=\"bad\">Checkpoints were lost or left behind; this is line {} of the job's history.</p>\n",
            checkpoint.line
        )
    });
    let lost: String = lost.collect();
    let names = ["boundary", "written", "took", "parts", "entries", "size"];

    lost + &table(names, rows.map(row), "this process has written none yet")
}

fn troubles(troubles: &[Trouble]) -> String {
    let row = |trouble: &Trouble| [instant(trouble.at_ms), escape(&trouble.message)];
    format!(
        "<div class=\"said\">{}</div>",
        table(["when", "what"], troubles.iter().map(row), "none")
    )
}

fn section(name: &str, content: &str) -> String {
    format!("<section><h2>{name}</h2>\n{content}</section>\n")
}

/// Formats rows of cells that are HTML already. Without rows, returns the text `nothing`.
fn table<const N: usize>(
    names: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    nothing: &str,
) -> String {
    let row = |cells: [String; N]| {
        format!(
            "<tr>{}</tr>\n",
            cells.map(|cell| format!("<td>{cell}</td>")).concat()
        )
    };
    let rows: String = rows.map(row).collect();

    if rows.is_empty() {
        return format!("<p class=\"none\">{nothing}</p>\n");
    }

    let names = names.map(|name| format!("<th>{name}</th>")).concat();
    format!(
        "<div class=\"wide\"><table><thead><tr>{names}</tr></thead><tbody>\n{rows}</tbody></table></div>\n"
    )
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }

    escaped
}

/// Shortens a name so that it fits into a box.
/// Returns the attributes that squeeze a long name into its box, in any font.
fn fitted(name: &str) -> &'static str {
    if name.chars().count() > 17 {
        " textLength=\"144\" lengthAdjust=\"spacingAndGlyphs\""
    } else {
        ""
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= 20 {
        name.to_owned()
    } else {
        name.chars().take(19).chain(['…']).collect()
    }
}

/// Formats an instant, without milliseconds if they are zero.
fn brief(ms: u64) -> String {
    instant(ms).replace(".000Z", "Z")
}

fn unknown() -> String {
    "–".to_owned()
}

/// Formats a number in groups of three digits.
fn count(number: impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }

    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the status of a job that has run for a minute.
    fn status() -> Status {
        Status {
            now_ms: 1_795_341_660_000,
            attempt: Some(7),
            is_running: true,
            began_at_ms: Some(1_795_341_600_000),
            watermark_ms: Some(1_795_341_540_000),
            watermark_delay_ms: Some(120_000),
            partitions: vec![PartitionStatus {
                next_offset: 1_234_567,
                newest_event_ms: Some(1_795_341_599_000),
                ..PartitionStatus::default()
            }],
            workers: vec![WorkerStatus {
                watermark_ms: Some(1_795_341_540_000),
                ..WorkerStatus::default()
            }],
            troubles: vec![Trouble {
                at_ms: 1_795_341_601_000,
                message: "\"broker\" <b>away</b> & 'gone'".to_owned(),
            }],
            ..Status::of("<job>")
        }
    }

    #[test]
    fn the_page_shows_the_state_of_the_job() {
        let page = render(&status());
        for text in [
            "attempt 7 is running for 1m",
            "1\u{202f}234\u{202f}567",
            "2026-11-22T09:59:00.000Z",
            "<b>2m</b>",
        ] {
            assert!(page.contains(text), "{text} is not in {page}");
        }
    }

    #[test]
    fn whatever_others_wrote_is_text_and_no_markup() {
        let page = render(&status());
        assert!(page.contains("<title>&lt;job&gt;</title>") && !page.contains("<job>"));
        assert!(page.contains("&quot;broker&quot; &lt;b&gt;away&lt;/b&gt; &amp; &#39;gone&#39;"));
        assert!(
            !page.contains("<script") && !page.contains("http://") && !page.contains("https://")
        );
    }

    #[test]
    fn a_job_that_has_not_begun_has_a_page_too() {
        let page = render(&Status::of("counts"));
        assert!(
            page.contains("no attempt has begun") && page.contains("nothing has been read yet"),
            "{page}"
        );
    }

    #[test]
    fn a_partition_is_never_read_beyond_its_end() {
        let partition = |next_offset, end_offset| PartitionStatus {
            next_offset,
            end_offset,
            ..PartitionStatus::default()
        };
        assert_eq!(known_end(&partition(11, Some(9))), Some(11));
        assert_eq!(known_end(&partition(5, Some(9))), Some(9));
        assert_eq!(known_end(&partition(5, None)), None);
    }

    #[test]
    fn numbers_stand_in_groups_and_long_names_fit_their_boxes() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!(
            shortened("a-topic-with-a-very-long-name"),
            "a-topic-with-a-very…"
        );
        assert_eq!(fitted("orders"), "");
        assert!(fitted("analytics-summaries").contains("textLength"));
    }
}

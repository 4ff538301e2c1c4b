//! The status page: one document without scripts, in the system's colour scheme, reloaded every two
//! seconds.

mod charts;
mod checkpoints;
mod dataflow;
mod html;
mod operators;

use stream::units::{duration, instant, size};
use stream::{CheckpointStatus, PartitionStatus, SideOutputStatus, Status, Trouble, WorkerStatus};

use self::charts::charts;
pub use self::checkpoints::{checkpoints, manifest};
use self::dataflow::dataflow;
use self::html::{brief, count, escape, section, table, unknown};
use self::operators::operators;
use super::history::History;

const STYLE: &str = include_str!("page.css");
const REFRESH: &str = "<meta http-equiv=\"refresh\" content=\"2\">";

/// Renders the whole document.
pub fn render(status: &Status, history: &History) -> String {
    let job = escape(&status.job);
    let body = [
        head(status),
        tiles(status),
        section("Dataflow", &dataflow(status)),
        section("The last hour", &charts(history, status.now_ms)),
        section(
            "Operators of this process, last seconds",
            &operators(status),
        ),
        section("Partitions of this process", &partitions(status)),
        section("Workers of this process", &workers(&status.workers)),
        section("Newest checkpoint", &checkpoint(status.checkpoint.as_ref())),
        section("Last side outputs", &side_outputs(&status.side_outputs)),
        section("Last troubles", &troubles(&status.troubles)),
    ];

    document(&job, REFRESH, &body.concat())
}

/// Renders a document. `more` are elements of its head.
fn document(title: &str, more: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">{more}\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\n\
         <style>\n{STYLE}</style></head>\n<body><main>\n{body}</main></body></html>\n"
    )
}

fn head(status: &Status) -> String {
    let (class, state) = match (status.is_running, status.attempt) {
        (true, Some(attempt)) if status.unanswered.is_some() => (
            "bad",
            format!("attempt {attempt} waits for partitions, running"),
        ),
        (true, Some(attempt)) => ("good", format!("attempt {attempt}, running")),
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
            "records left out",
            count(status.left_out + status.copies),
            format!(
                "copies: {}, not for this job: {}",
                count(status.copies),
                count(status.left_out)
            ),
        ),
        tile(
            "restarts of this process",
            count(status.restarts),
            format!("troubles: {}", status.troubles.len()),
        ),
    ];

    format!("<div class=\"tiles\">\n{}</div>\n", tiles.concat())
}

fn partitions(status: &Status) -> String {
    let most = status
        .partitions
        .iter()
        .filter_map(|partition| partition.lag_records)
        .max()
        .unwrap_or(0)
        .max(1);

    let topics: Vec<&str> = status.topics.input.split(", ").collect();
    let row = |partition: &PartitionStatus| {
        let lag = partition.lag_records.unwrap_or(0);
        let bar = format!("<meter min=\"0\" max=\"{most}\" value=\"{lag}\"></meter>");
        let behind = partition
            .newest_event_ms
            .map(|newest| duration(status.now_ms.saturating_sub(newest)));

        [
            topics
                .get(partition.source)
                .filter(|_| topics.len() > 1)
                .map_or_else(
                    || partition.partition.to_string(),
                    |topic| format!("{topic}/{}", partition.partition),
                ),
            count(partition.next_offset),
            known_end(partition).map_or_else(unknown, count),
            format!(
                "{bar} {}",
                partition.lag_records.map_or_else(unknown, count)
            ),
            partition.newest_event_ms.map_or_else(unknown, instant),
            behind.map_or_else(unknown, |behind| format!("{behind} ago")),
            format!(
                "{}{}",
                partition.watermark_ms.map_or_else(unknown, instant),
                pace(partition)
            ),
        ]
    };

    let rows = status.partitions.iter().map(row);
    let names = [
        "partition",
        "position",
        "end",
        "behind",
        "newest event",
        "",
        "watermark",
    ];

    table(names, rows, "nothing has been read yet")
}

/// Returns a remark on a partition that determines the event time of the job, or does not because it is idle.
fn pace(partition: &PartitionStatus) -> &'static str {
    match (partition.holds_back, partition.is_idle) {
        (true, true) => " <b class=\"held\">sets the job's, though idle</b>",
        (true, false) => " <b class=\"held\">sets the job's</b>",
        (false, true) => " idle",
        (false, false) => "",
    }
}

/// Returns the end of the partition, or the position if that is greater: the end is queried seldom,
/// and reading may have passed it since.
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

    let all = "<p><a href=\"checkpoints\">all checkpoints</a> · <a href=\"checkpoints/newest\">the newest in words</a></p>\n";

    lost + &table(names, rows.map(row), "this process has written none yet") + all
}

fn side_outputs(side_outputs: &[SideOutputStatus]) -> String {
    let row = |side: &SideOutputStatus| {
        [
            instant(side.at_ms),
            escape(&side.topic),
            format!("{}@{}", escape(&side.partition), side.offset),
            escape(&side.reason),
        ]
    };
    format!(
        "<div class=\"said\">{}</div>",
        table(
            ["when", "topic", "read from", "reason"],
            side_outputs.iter().map(row),
            "none"
        )
    )
}

fn troubles(troubles: &[Trouble]) -> String {
    let row = |trouble: &Trouble| [instant(trouble.at_ms), escape(&trouble.message)];
    format!(
        "<div class=\"said\">{}</div>",
        table(["when", "what"], troubles.iter().map(row), "none")
    )
}

#[cfg(test)]
mod tests;

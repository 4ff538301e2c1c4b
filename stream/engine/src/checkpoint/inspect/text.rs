//! Formats the results of commands as text.

use crate::checkpoint::inspect::copy::Copied;
use crate::checkpoint::inspect::prune::Plan;
use crate::checkpoint::inspect::survey::{Listed, Shown, Verified};
use crate::checkpoint::manifest::{Fingerprint, Manifest, PartInfo};
use crate::inputs;
use crate::units::{duration, instant, size};

/// Formats the table of all checkpoints.
pub fn list(listed: &[Listed]) -> String {
    let head = [
        "ID",
        "BOUNDARY",
        "AGE",
        "PARTITIONS",
        "PARTS",
        "ENTRIES",
        "SIZE",
        "WHOLE",
    ]
    .map(str::to_owned);

    let row = |checkpoint: &Listed| {
        [
            checkpoint.id.clone(),
            instant(checkpoint.boundary_ms),
            duration(checkpoint.age_ms),
            checkpoint.partitions.to_string(),
            checkpoint.parts.to_string(),
            checkpoint.entries.to_string(),
            size(checkpoint.size_bytes),
            checkpoint
                .flaw
                .as_ref()
                .map_or_else(|| "yes".to_owned(), |flaw| format!("no: {flaw}")),
        ]
    };

    table(std::iter::once(head).chain(listed.iter().map(row)))
}

/// Formats the outcome of a copy.
pub fn copy(copied: &Copied) -> String {
    let Copied {
        id, job, to_job, ..
    } = copied;
    let content = format!("{} parts, {}", copied.parts, size(copied.size_bytes));
    if job == to_job {
        return format!(
            "copied checkpoint {id} of job {job:?} ({content}); start the job from one of the two places only\n"
        );
    }
    format!(
        "copied checkpoint {id} of job {job:?} to job {to_job:?} ({content}); it publishes the windows that close or are \
         corrected from {} on\n",
        instant(copied.boundary_ms)
    )
}

/// Formats one checkpoint in full.
pub fn show(shown: &Shown) -> String {
    let written = format!(
        "{}, {} ago",
        instant(shown.written_at_ms),
        duration(shown.age_ms)
    );

    let mut facts = vec![
        ["checkpoint".to_owned(), shown.id.clone()],
        ["written".to_owned(), written],
    ];

    facts.extend(
        shown
            .flaws
            .iter()
            .map(|flaw| ["damaged".to_owned(), flaw.clone()]),
    );

    let Some(manifest) = &shown.manifest else {
        return table(facts);
    };

    facts.extend(facts_of(manifest));
    format!(
        "{}\n{}\n{}",
        table(facts),
        partitions(manifest),
        parts(&manifest.parts)
    )
}

/// Returns the job that wrote a checkpoint, its windows and its history.
fn facts_of(manifest: &Manifest) -> Vec<[String; 2]> {
    let fingerprint = &manifest.fingerprint;
    let mut facts = vec![
        ["job".to_owned(), manifest.job.clone()],
        ["attempt".to_owned(), manifest.attempt.to_string()],
        ["boundary".to_owned(), instant(manifest.boundary)],
        ["topic".to_owned(), fingerprint.topics().join(", ")],
        windows(fingerprint),
    ];

    facts.extend(manifest.copied_from.iter().map(|origin| {
        let id = format!("{}-{}", origin.attempt, origin.boundary);
        let origin = format!("checkpoint {id} of job {:?}", origin.job);
        ["copied from".to_owned(), origin]
    }));

    facts.extend(manifest.lineage.branches().iter().map(|branch| {
        let from = instant(branch.from);
        let until = instant(branch.until);
        [
            "history".to_owned(),
            format!(
                "line {} from {from}, replaces results up to {until}",
                branch.line
            ),
        ]
    }));

    facts
}

/// Returns the kind of windows with its durations.
fn windows(fingerprint: &Fingerprint) -> [String; 2] {
    let window = duration(fingerprint.window_ms);
    let pane = duration(fingerprint.pane_ms);
    if let Some(gap_ms) = fingerprint.session_gap_ms {
        let gap = duration(gap_ms);
        let about = format!("gap {gap}, cut every {window}, in panes of {pane}");
        return ["sessions".to_owned(), about];
    }

    let slide = duration(fingerprint.slide_ms);
    let offset = offset(fingerprint.offset_ms);
    let about = format!("{window}, one every {slide}{offset}, in panes of {pane}");
    ["windows".to_owned(), about]
}

/// Returns a partition's number, and its topic before it if there are several.
fn label(fingerprint: &Fingerprint, id: u32) -> String {
    let topics = fingerprint.topics();
    let partition = inputs::partition_of(id);
    match topics.get(inputs::source_of(id)) {
        Some(topic) if topics.len() > 1 => format!("{topic}/{partition}"),
        _ => partition.to_string(),
    }
}

fn partitions(manifest: &Manifest) -> String {
    let head = ["PARTITION", "RESUME", "CUT", "NEWEST EVENT"].map(str::to_owned);
    let rows = manifest.partitions.iter().map(|cut| {
        let newest = cut
            .newest
            .map_or_else(|| "–".to_owned(), |newest| instant(newest.event_ms));
        [
            label(&manifest.fingerprint, cut.partition),
            cut.resume.to_string(),
            cut.cut.to_string(),
            newest,
        ]
    });

    table(std::iter::once(head).chain(rows))
}

fn parts(parts: &[PartInfo]) -> String {
    let head = ["PART", "FIRST PANE", "LAST PANE", "ENTRIES", "SIZE"].map(str::to_owned);
    let row = |part: &PartInfo| {
        let entries = part.entries.to_string();
        let size = size(part.size_bytes);
        [
            part.name.clone(),
            instant(part.first),
            instant(part.last),
            entries,
            size,
        ]
    };

    table(std::iter::once(head).chain(parts.iter().map(row)))
}

/// Formats one line for each whole checkpoint and for each flaw.
pub fn verify(verified: &Verified) -> String {
    let mut lines = Vec::new();
    for checked in &verified.checkpoints {
        match &checked.flaws[..] {
            [] => lines.push(format!("{}: whole", checked.id)),
            flaws => lines.extend(flaws.iter().map(|flaw| format!("{}: {flaw}", checked.id))),
        }
    }

    if verified.checkpoints.is_empty() {
        lines.push("there are no checkpoints".to_owned());
    }

    if verified.unnamed_parts > 0 {
        lines.push(format!(
            "{} are named by no checkpoint",
            count(verified.unnamed_parts, "part")
        ));
    }

    lines.join("\n") + "\n"
}

/// Formats the list of deleted objects, or of those that would be deleted.
pub fn prune(plan: &Plan, dry_run: bool) -> String {
    let mut lines = vec![format!("kept: {}", plan.kept.join(", "))];
    if !plan.left.is_empty() {
        lines.push(format!(
            "left, though damaged, because their missing objects may be restored: {}",
            plan.left.join(", ")
        ));
    }

    let checkpoints = count(plan.checkpoints.len(), "checkpoint");
    let parts = count(plan.parts.len(), "part");
    let size = size(plan.parts.values().sum());
    let attempts = count(plan.attempts.len(), "marker");

    let deleted = if dry_run {
        "would be deleted"
    } else {
        "deleted"
    };

    lines.push(format!(
        "{deleted}: {checkpoints}, {parts} of {size}, {attempts} of old attempts"
    ));

    lines.extend(
        plan.checkpoints
            .iter()
            .map(|id| format!("  checkpoint {id}")),
    );

    lines.extend(plan.parts.keys().map(|name| format!("  part {name}")));
    lines.join("\n") + "\n"
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Formats rows in columns as wide as their widest cells. All columns are aligned to the left.
/// Numbers would be easier to compare on the right, but all cells are short.
fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();

    let line = |row: &[String; N]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };

    rows.iter().map(line).collect()
}

/// Returns the offset of windows, if there is one.
fn offset(offset_ms: u64) -> String {
    match offset_ms {
        0 => String::new(),
        offset_ms => format!(" with offset {}", duration(offset_ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [["ID", "SIZE"], ["12", "1 B"], ["7", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(rows), "ID  SIZE\n12  1 B\n7\n");
    }
}

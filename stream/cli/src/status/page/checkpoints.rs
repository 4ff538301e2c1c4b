//! The documents of a job's checkpoints.

use serde::Deserialize;
use stream::units::{duration, instant, size};

use super::document;
use super::html::{count, escape, section, table};

/// A checkpoint in the JSON of `checkpoints list`.
#[derive(Deserialize)]
struct Listed {
    id: String,
    boundary_ms: u64,
    age_ms: u64,
    partitions: usize,
    parts: usize,
    entries: u64,
    size_bytes: u64,
    flaw: Option<String>,
}

/// Renders the list, from the JSON of `checkpoints list`.
///
/// # Errors
/// If the JSON has another form.
pub fn checkpoints(job: &str, list: &str) -> serde_json::Result<String> {
    let listed: Vec<Listed> = serde_json::from_str(list)?;
    let row = |checkpoint: &Listed| {
        let id = escape(&checkpoint.id);
        [
            format!("<a href=\"checkpoints/{id}\">{id}</a>"),
            instant(checkpoint.boundary_ms),
            format!("{} ago", duration(checkpoint.age_ms)),
            count(checkpoint.partitions),
            count(checkpoint.parts),
            count(checkpoint.entries),
            size(checkpoint.size_bytes),
            match &checkpoint.flaw {
                None => "yes".to_owned(),
                Some(flaw) => format!("<span class=\"bad\">no: {}</span>", escape(flaw)),
            },
        ]
    };

    let names = [
        "checkpoint",
        "boundary",
        "written",
        "partitions",
        "parts",
        "entries",
        "size",
        "whole",
    ];
    let table = table(names, listed.iter().map(row), "there are none");
    Ok(within(job, "Checkpoints", "./", &table))
}

/// Renders a manifest, from the text of `checkpoints show`.
pub fn manifest(job: &str, text: &str) -> String {
    let content = format!("<div class=\"wide\"><pre>{}</pre></div>\n", escape(text));
    within(job, "Checkpoint", "../checkpoints", &content)
}

/// Renders a document of one section, with a link back. Links are relative: a proxy may serve the pages below a path.
fn within(job: &str, name: &str, back: &str, content: &str) -> String {
    let job = escape(job);
    let head = format!("<header><h1>{job}</h1><a href=\"{back}\">back</a></header>\n");
    document(&job, "", &(head + &section(name, content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_links_its_checkpoints_and_shows_their_flaws() {
        let list = r#"[{"id": "2-60000", "attempt": 2, "boundary_ms": 60000, "age_ms": 61000, "partitions": 4,
            "parts": 1200, "entries": 9, "size_bytes": 2048, "flaw": "part <7> is missing"}]"#;
        let shown = checkpoints("counts", list).unwrap();
        for text in [
            "<a href=\"checkpoints/2-60000\">2-60000</a>",
            "1\u{202f}200",
            "no: part &lt;7&gt; is missing",
        ] {
            assert!(shown.contains(text), "{text} is not in {shown}");
        }
        assert!(
            !shown.contains("http-equiv"),
            "it is not read again and again"
        );
        assert!(checkpoints("counts", "{}").is_err(), "another form");
    }
}

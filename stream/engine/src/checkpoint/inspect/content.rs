//! Writes the content of a checkpoint as NDJSON: a line for the checkpoint, one for each entry, and a last one
//! with the counts.
//!
//! Parts are read one after the other, and entries are decoded one by one, so memory is needed for one part only. A
//! checkpoint is a list of panes that closed: a key has several entries for a pane if its events arrived at several
//! panes, or if several workers' parts have some. Their merged aggregates are the key's aggregate in the pane.

use std::io::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::aggregate::{Aggregate, Key};
use crate::checkpoint::inspect::InspectError;
use crate::checkpoint::inspect::survey::read_manifest;
use crate::checkpoint::manifest::{Fingerprint, Manifest, PartInfo};
use crate::checkpoint::part::{self, PartError};
use crate::checkpoint::recover::{Flaw, read_part};
use crate::checkpoint::store::{CheckpointStore, ManifestId};
use crate::flow::{Entry, SideOutput};
use crate::pane::EventTimeMs;

/// The numbers of written lines.
#[derive(Default)]
struct Counts {
    panes: u64,
    entries: u64,
    late: u64,
}

/// Writes the content of one checkpoint, by default the newest, to `output`.
pub async fn write<K: Key, A: Aggregate>(
    store: &CheckpointStore,
    id: Option<ManifestId>,
    output: &mut dyn Write,
) -> Result<(), InspectError> {
    let ids = store.manifests().await?;
    let id = match id {
        Some(id) if !ids.contains(&id) => return Err(InspectError::Unknown(id)),
        Some(id) => id,
        None => *ids
            .first()
            .ok_or_else(|| InspectError::Empty(store.job().to_owned()))?,
    };
    let damaged = |flaw| InspectError::Damaged {
        checkpoint: id,
        flaw: Box::new(flaw),
    };
    let manifest = read_manifest(store, id).await.map_err(damaged)?;
    check_types::<K, A>(id, &manifest.fingerprint)?;
    line(output, &head(id, &manifest))?;

    let mut counts = Counts::default();
    for info in &manifest.parts {
        let bytes = read_part(store, info.name.clone()).await.map_err(damaged)?;
        let written = write_part::<K, A>(&bytes, info, &manifest.fingerprint, &mut counts, output)?;
        written.map_err(|source| {
            damaged(Flaw::Part {
                name: info.name.clone(),
                source,
            })
        })?;
    }

    let Counts {
        panes,
        entries,
        late,
    } = counts;
    line(
        output,
        &json!({ "panes": panes, "entries": entries, "late_entries": late }),
    )?;
    output.flush().map_err(InspectError::Output)
}

/// Compares the types of the checkpoint with those of the program: other types could be decoded by chance.
fn check_types<K: Key, A: Aggregate>(
    id: ManifestId,
    fingerprint: &Fingerprint,
) -> Result<(), InspectError> {
    let own = fingerprint.clone().keeping::<K, A>();
    match fingerprint.differences(&own).first() {
        None => Ok(()),
        Some(difference) => Err(InspectError::OtherTypes {
            checkpoint: id,
            difference: difference.to_string(),
        }),
    }
}

fn head(id: ManifestId, manifest: &Manifest) -> Value {
    let fingerprint = &manifest.fingerprint;
    json!({
        "checkpoint": id.to_string(),
        "job": manifest.job,
        "boundary_ms": manifest.boundary,
        "window_ms": fingerprint.window_ms,
        "slide_ms": fingerprint.slide_ms,
        "pane_ms": fingerprint.pane_ms,
        "key_type": fingerprint.key,
        "aggregate_type": fingerprint.aggregate,
    })
}

/// Writes the entries of a part that the manifest counts. The inner error is damage of the part.
fn write_part<K: Key, A: Aggregate>(
    bytes: &[u8],
    info: &PartInfo,
    fingerprint: &Fingerprint,
    counts: &mut Counts,
    output: &mut dyn Write,
) -> Result<Result<(), PartError>, InspectError> {
    let mut body = match part::verify(bytes) {
        Ok(body) => body,
        Err(error) => return Ok(Err(error)),
    };

    while !body.is_empty() {
        let pane = write_pane::<K, A>(&mut body, info, fingerprint, counts, output);
        match pane {
            Ok(()) => {}
            Err(Interrupted::Encoding(error)) => return Ok(Err(PartError::Foreign(error))),
            Err(Interrupted::Output(error)) => return Err(error),
        }
    }
    Ok(Ok(()))
}

/// The reason why a pane was not written.
enum Interrupted {
    Encoding(postcard::Error),
    Output(InspectError),
}

impl From<postcard::Error> for Interrupted {
    fn from(error: postcard::Error) -> Self {
        Self::Encoding(error)
    }
}

/// Takes a pane from the front of `body`. It is encoded as its arrival, then the number of its entries and each
/// of them, then the same for its side outputs.
fn write_pane<K: Key, A: Aggregate>(
    body: &mut &[u8],
    info: &PartInfo,
    fingerprint: &Fingerprint,
    counts: &mut Counts,
    output: &mut dyn Write,
) -> Result<(), Interrupted> {
    let arrival: EventTimeMs = take(body)?;
    let is_counted = arrival <= info.last;
    counts.panes += u64::from(is_counted);

    for _ in 0..take::<u64>(body)? {
        let entry: Entry<K, A> = take(body)?;
        if !is_counted {
            continue;
        }
        counts.entries += 1;
        counts.late += u64::from(entry.pane < arrival);
        line(output, &line_of(arrival, &entry, fingerprint)).map_err(Interrupted::Output)?;
    }

    for _ in 0..take::<u64>(body)? {
        take::<SideOutput>(body)?;
    }
    Ok(())
}

fn take<T: DeserializeOwned>(body: &mut &[u8]) -> postcard::Result<T> {
    let (value, rest) = postcard::take_from_bytes(body)?;
    *body = rest;
    Ok(value)
}

/// Describes an entry. A window is named if the pane belongs to one only.
fn line_of<K: Key, A: Aggregate>(
    arrival: EventTimeMs,
    entry: &Entry<K, A>,
    fingerprint: &Fingerprint,
) -> Value {
    let mut described = json!({
        "pane_ms": entry.pane,
        "arrival_ms": arrival,
        "key": value_of(&entry.key),
        "aggregate": value_of(&entry.aggregate),
    });

    let is_tumbling = fingerprint.slide_ms == fingerprint.window_ms;
    if is_tumbling && fingerprint.session_gap_ms.is_none() {
        let offset_ms = fingerprint.offset_ms;
        let within_ms = entry.pane.saturating_sub(offset_ms) % fingerprint.window_ms;
        described["window_start_ms"] = (entry.pane - within_ms).into();
    }
    described
}

/// Returns the JSON of a key or an aggregate. A value that JSON cannot express, such as a map
/// whose keys are not texts, becomes its debug text.
fn value_of<T: Serialize + std::fmt::Debug>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_else(|_| format!("{value:?}").into())
}

fn line(output: &mut dyn Write, value: &Value) -> Result<(), InspectError> {
    writeln!(output, "{value}").map_err(InspectError::Output)
}

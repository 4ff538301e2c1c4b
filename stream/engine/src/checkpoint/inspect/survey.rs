//! Reads the store and describes its checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use serde::Serialize;

use crate::checkpoint::inspect::InspectError;
use crate::checkpoint::manifest::{Manifest, PartInfo};
use crate::checkpoint::recover::{Flaw, READS_AT_ONCE, read_part};
use crate::checkpoint::store::{CheckpointStore, Contents, ManifestId};
use crate::pane::EventTimeMs;

/// A checkpoint as its listing and manifest describe it.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// The attempt that wrote it.
    pub attempt: u64,
    /// Its boundary.
    pub boundary_ms: EventTimeMs,
    /// The time since it was written.
    pub age_ms: u64,
    /// The number of partitions in its manifest.
    pub partitions: usize,
    /// The number of parts that it names.
    pub parts: usize,
    /// The number of entries in those parts.
    pub entries: u64,
    /// The total size of those parts.
    pub size_bytes: u64,
    /// The first flaw that names and sizes reveal, if any.
    pub flaw: Option<String>,
}

/// A checkpoint in full.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// When it was written, in milliseconds since the epoch.
    pub written_at_ms: u64,
    /// The time since then.
    pub age_ms: u64,
    /// Its manifest; none if it cannot be read.
    pub manifest: Option<Manifest>,
    /// The flaws that names and sizes reveal.
    pub flaws: Vec<String>,
}

/// The result of reading every object of every checkpoint.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// True if every object of every checkpoint is as it was written.
    pub is_sound: bool,
    /// The checkpoints, the newest first.
    pub checkpoints: Vec<Checked>,
    /// The number of parts that no checkpoint names: written by attempts that died, or not named
    /// yet.
    pub unnamed_parts: usize,
}

/// A checkpoint that was verified.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Its id.
    pub id: String,
    /// Its flaws; empty if it is whole.
    pub flaws: Vec<String>,
}

/// Returns the objects of a job that has at least one checkpoint.
async fn some(store: &CheckpointStore) -> Result<Contents, InspectError> {
    let contents = store.contents().await?;
    if contents.manifests.is_empty() {
        return Err(InspectError::Empty(store.job().to_owned()));
    }
    Ok(contents)
}

/// Lists the checkpoints, the newest first.
///
/// # Errors
/// [`InspectError::Empty`], because a mistyped job or address looks the same; [`InspectError::Store`].
pub async fn list(store: &CheckpointStore, now_ms: u64) -> Result<Vec<Listed>, InspectError> {
    let contents = some(store).await?;
    let mut listed = Vec::new();
    for (id, written_at_ms) in &contents.manifests {
        let read = read_manifest(store, *id).await;
        let (manifest, flaw) = match read {
            Ok(manifest) => {
                let flaw = flaws_by_listing(&manifest, &contents).next();
                (Some(manifest), flaw)
            }
            Err(flaw) => (None, Some(flaw.to_string())),
        };

        let parts = manifest
            .as_ref()
            .map_or(&[][..], |manifest| &manifest.parts);

        listed.push(Listed {
            id: id.to_string(),
            attempt: id.attempt,
            boundary_ms: id.boundary,
            age_ms: now_ms.saturating_sub(*written_at_ms),
            partitions: manifest
                .as_ref()
                .map_or(0, |manifest| manifest.partitions.len()),
            parts: parts.len(),
            entries: parts.iter().map(|part| part.entries).sum(),
            size_bytes: parts.iter().map(|part| part.size_bytes).sum(),
            flaw,
        });
    }

    Ok(listed)
}

/// Shows one checkpoint, by default the newest.
pub async fn show(
    store: &CheckpointStore,
    id: Option<ManifestId>,
    now_ms: u64,
) -> Result<Shown, InspectError> {
    let contents = store.contents().await?;
    let found = contents
        .manifests
        .iter()
        .find(|(known, _)| id.is_none_or(|id| id == *known));

    let missing = || {
        id.map_or_else(
            || InspectError::Empty(store.job().to_owned()),
            InspectError::Unknown,
        )
    };
    let (id, written_at_ms) = *found.ok_or_else(missing)?;

    let (manifest, flaws) = match read_manifest(store, id).await {
        Ok(manifest) => {
            let flaws = flaws_by_listing(&manifest, &contents).collect();
            (Some(manifest), flaws)
        }
        Err(flaw) => (None, vec![flaw.to_string()]),
    };

    Ok(Shown {
        id: id.to_string(),
        written_at_ms,
        age_ms: now_ms.saturating_sub(written_at_ms),
        manifest,
        flaws,
    })
}

/// Verifies every object that any checkpoint names, reading each part once.
///
/// # Errors
/// [`InspectError::Empty`], so that a mistyped job does not count as sound; [`InspectError::Store`].
pub async fn verify(store: &CheckpointStore) -> Result<Verified, InspectError> {
    let contents = some(store).await?;
    let mut manifests = Vec::new();
    for (id, _) in &contents.manifests {
        manifests.push((*id, read_manifest(store, *id).await));
    }

    let readable = manifests
        .iter()
        .filter_map(|(_, manifest)| manifest.as_ref().ok());

    let named: BTreeSet<&str> = readable
        .flat_map(|manifest| &manifest.parts)
        .map(|part| part.name.as_str())
        .collect();

    let read = |name| async move { (name, read_part(store, String::from(name)).await) };
    // Futures that are made while others are awaited would keep this one on its thread.
    let reads: Vec<_> = named.iter().copied().map(read).collect();

    let sizes = stream::iter(reads)
        .buffered(READS_AT_ONCE)
        .map(|(name, read)| match read {
            Ok(bytes) => (name, Ok(bytes.len() as u64)),
            Err(flaw) => (name, Err(flaw.to_string())),
        });
    let sizes: BTreeMap<&str, Result<u64, String>> = sizes.collect().await;

    let flaw = |part: &PartInfo| match &sizes[part.name.as_str()] {
        Ok(size_bytes) => wrong_size(part, *size_bytes),
        Err(flaw) => Some(flaw.clone()),
    };

    let checked = |(id, manifest): &(ManifestId, Result<Manifest, Flaw>)| Checked {
        id: id.to_string(),
        flaws: match manifest {
            Ok(manifest) => manifest.parts.iter().filter_map(flaw).collect(),
            Err(flaw) => vec![flaw.to_string()],
        },
    };
    let checkpoints: Vec<Checked> = manifests.iter().map(checked).collect();

    let unnamed_parts = contents
        .parts
        .keys()
        .filter(|name| !named.contains(name.as_str()))
        .count();

    Ok(Verified {
        is_sound: checkpoints.iter().all(|checked| checked.flaws.is_empty()),
        checkpoints,
        unnamed_parts,
    })
}

/// Reads a manifest without its parts.
pub async fn read_manifest(store: &CheckpointStore, id: ManifestId) -> Result<Manifest, Flaw> {
    Ok(Manifest::from_bytes(
        &store.manifest(id).await?,
        store.job(),
    )?)
}

fn flaws_by_listing<'a>(
    manifest: &'a Manifest,
    contents: &'a Contents,
) -> impl Iterator<Item = String> + use<'a> {
    manifest
        .parts
        .iter()
        .filter_map(|part| match contents.parts.get(&part.name) {
            None => Some(format!("part {} is missing", part.name)),
            Some(size_bytes) => wrong_size(part, *size_bytes),
        })
}

fn wrong_size(part: &PartInfo, size_bytes: u64) -> Option<String> {
    let is_right = size_bytes == part.size_bytes;
    (!is_right).then(|| {
        format!(
            "part {} has {size_bytes} bytes, not {}",
            part.name, part.size_bytes
        )
    })
}

//! Collects the cuts and parts of all workers, and plans the next manifest.
//!
//! Crossings and parts are recorded as they are made; the frontier gives the boundary up to which
//! they are complete. Further boundaries may pass while a manifest is being written; the next
//! manifest covers them all.
//!
//! Invariants: a manifest at boundary `b` has a cut that holds at `b` for every partition
//! that was ever cut. It names every part with panes before `b` that a row committed from now on
//! can depend on.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::manifest::{Manifest, PartInfo, PartitionCut};
use crate::checkpoint::merge;
use crate::cut::Crossing;
use crate::pane::EventTimeMs;

/// The records of the worker that writes manifests.
pub struct Ledger {
    /// The newest durable manifest; at first, the one adopted from the last attempt.
    newest: Manifest,
    /// The time after its start during which a pane can matter, allowed lateness included.
    memory_ms: u64,
    crossings: Vec<Crossing>,
    parts: Vec<PartInfo>,
    /// The finished merge that no durable manifest names yet, if there is one.
    merged: Option<Merged>,
    /// The number of finished merges.
    merges: u64,
    /// Parts that are not merged.
    left_alone: BTreeSet<String>,
}

/// The result of a merge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Merged {
    /// The names of the parts that were merged.
    pub parts: Vec<String>,
    /// The part that contains the panes of all of them.
    pub into: PartInfo,
}

/// A merge that is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MergePlan {
    /// The name of the part to make.
    pub name: String,
    /// The parts to make it of.
    pub parts: Vec<PartInfo>,
}

/// The decision about a boundary.
#[derive(Debug, Eq, PartialEq)]
pub enum ManifestPlan {
    /// Write this manifest.
    Write(Box<Manifest>),
    /// Write nothing: nothing has happened since the newest manifest and none of its parts can
    /// produce further rows, so it serves for this boundary too.
    Nothing,
}

impl Ledger {
    /// Creates a ledger that starts from `newest`.
    pub fn new(newest: Manifest, memory_ms: u64) -> Self {
        Self {
            newest,
            memory_ms,
            crossings: Vec::new(),
            parts: Vec::new(),
            merged: None,
            merges: 0,
            left_alone: BTreeSet::new(),
        }
    }

    /// Plans a merge of parts of the newest durable manifest, if it names too many. Plans none while
    /// the last merged part is not in a durable manifest.
    pub fn plan_merge(&self) -> Option<MergePlan> {
        if self.merged.is_some() {
            return None;
        }

        let Manifest {
            attempt,
            boundary,
            parts,
            ..
        } = &self.newest;
        let mut parts = parts.clone();
        parts.retain(|part| !self.left_alone.contains(&part.name));
        let parts = merge::choose(&parts, *boundary, self.memory_ms)?;
        let name = merge::name(*attempt, self.merges, &parts);
        Some(MergePlan { name, parts })
    }

    /// Records a merge whose part is durable. The next manifest names that part.
    pub fn record_merge(&mut self, merged: Merged) {
        self.merges += 1;
        self.merged = Some(merged);
    }

    /// Records parts that cannot be merged.
    pub fn leave_alone(&mut self, parts: Vec<String>) {
        self.left_alone.extend(parts);
    }

    /// Returns whether the newest durable manifest names the part.
    pub fn is_named(&self, part: &str) -> bool {
        self.newest.parts.iter().any(|named| named.name == part)
    }

    /// Returns all known parts, with a merged part in the place of those that it was made of.
    fn known_parts(&self) -> Vec<PartInfo> {
        let newest = self.newest.parts.iter();
        let mut parts: Vec<PartInfo> = newest.chain(&self.parts).cloned().collect();
        let Some(merged) = &self.merged else {
            return parts;
        };

        let count = parts.len();
        parts.retain(|part| !merged.parts.contains(&part.name));
        // If manifests have dropped all of them meanwhile, the merged part is not needed either.
        if parts.len() < count {
            parts.push(merged.into.clone());
        }
        parts
    }

    /// Records a worker's crossing.
    pub fn record_crossing(&mut self, crossing: Crossing) {
        self.crossings.push(crossing);
    }

    /// Records a part that is durable.
    pub fn record_part(&mut self, part: PartInfo) {
        self.parts.push(part);
    }

    /// Returns the boundary of the newest durable manifest.
    pub fn boundary(&self) -> EventTimeMs {
        self.newest.boundary
    }

    /// Returns the furthest boundary that any worker has crossed, at least that of the newest
    /// manifest.
    pub fn furthest(&self) -> EventTimeMs {
        self.crossings
            .iter()
            .map(|crossing| crossing.to)
            .max()
            .unwrap_or(0)
            .max(self.newest.boundary)
    }

    /// Plans the manifest at `boundary`. Every worker must have crossed `boundary`, and every pane
    /// before it must be in a part. Results before `committed` will not be needed again.
    pub fn plan(&self, boundary: EventTimeMs, committed: EventTimeMs) -> ManifestPlan {
        let partitions = self.partitions_at(boundary);
        let fresh = self.parts.iter().any(|part| part.first < boundary);
        let closed_by = |part: &PartInfo| part.last + self.newest.fingerprint.settles_within_ms();

        let rows_may_come = self
            .newest
            .parts
            .iter()
            .any(|part| closed_by(part) > self.newest.boundary);

        if !fresh && !rows_may_come && same_positions(&partitions, &self.newest.partitions) {
            return ManifestPlan::Nothing;
        }

        let known = self.known_parts().into_iter();
        let known = known.filter(|part| part.first < boundary);
        let floor = boundary.min(committed);
        let memory = self.newest.memory.clone();
        let memory = memory.map(|memory| memory.dropping(floor, self.memory_ms));

        let mut parts: Vec<PartInfo> = known
            .filter(|part| part.last + self.memory_ms > floor)
            .collect();
        parts.sort_by(|one, other| (one.first, &one.name).cmp(&(other.first, &other.name)));

        ManifestPlan::Write(Box::new(Manifest {
            boundary,
            partitions,
            parts,
            committed: self.newest.committed.max(floor),
            memory,
            merges: self.merges,
            ..self.newest.clone()
        }))
    }

    /// Records that a planned manifest is durable.
    pub fn written(&mut self, manifest: Manifest) {
        let boundary = manifest.boundary;
        self.crossings.retain(|crossing| crossing.to > boundary);
        self.parts.retain(|part| part.first >= boundary);
        if manifest.merges == self.merges {
            self.merged = None;
        }
        self.newest = manifest;
    }

    fn partitions_at(&self, boundary: EventTimeMs) -> Vec<PartitionCut> {
        let mut partitions: BTreeMap<u32, PartitionCut> = self
            .newest
            .partitions
            .iter()
            .map(|cut| (cut.partition, cut.clone()))
            .collect();

        let mut crossings: Vec<&Crossing> = self
            .crossings
            .iter()
            .filter(|crossing| crossing.from < boundary)
            .collect();
        crossings.sort_by_key(|crossing| crossing.from);

        for cut in crossings.into_iter().flat_map(|crossing| &crossing.cuts) {
            let resume = cut.resume(boundary);
            let at = PartitionCut {
                partition: cut.partition,
                cut: cut.next_offset,
                resume,
                ids_from: cut.ids_from.filter(|offset| *offset < resume),
                newest: cut.newest,
                anchor: cut.anchor,
                ceilings: cut.ceilings.clone(),
                decoder: cut.decoder,
                pending: Some(cut.pending.clone()).filter(|pending| pending.from < cut.next_offset),
            };
            partitions.insert(cut.partition, at);
        }

        partitions.into_values().collect()
    }
}

/// Returns whether both have the same offsets, so that no record was read in between. Clocks may
/// have advanced.
fn same_positions(one: &[PartitionCut], other: &[PartitionCut]) -> bool {
    let positions = |cuts: &[PartitionCut]| -> Vec<_> {
        cuts.iter()
            .map(|cut| (cut.partition, cut.cut, cut.resume))
            .filter(|(_, cut, _)| *cut > 0)
            .collect()
    };
    positions(one) == positions(other)
}

#[cfg(test)]
mod tests;

//! The manifest of a checkpoint: one small JSON object that lists everything that belongs to the
//! checkpoint.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use record_log::Offset;

use crate::aggregate::{Aggregate, Key};
use crate::checkpoint::lineage::Lineage;
use crate::checkpoint::memory::Memory;
pub use crate::checkpoint::part_info::PartInfo;
use crate::cut::{Anchor, Ceiling, Start};
use crate::flow::Slots;
use crate::pane::{EventTimeMs, Windows};
use crate::sink::progress::SideProgress;
use crate::sink::sides::Pending;
use crate::units::duration;
use crate::watermark::Newest;

/// The version of the format that this program reads and writes.
pub const VERSION: u32 = 1;

/// A checkpoint at a boundary.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Manifest {
    /// The version of the format.
    pub version: u32,
    /// The job's name.
    pub job: String,
    /// The attempt that wrote the manifest.
    pub attempt: u64,
    /// The boundary: the parts contain everything that arrived before it.
    pub boundary: EventTimeMs,
    /// The settings under which the parts are valid.
    pub fingerprint: Fingerprint,
    /// The branches of the job's history, one for each time that it lost checkpoints.
    #[serde(default, skip_serializing_if = "Lineage::is_straight")]
    pub lineage: Lineage,
    /// The number of publishers that had committed a progress when the manifest was written: each
    /// publisher below this number has one, or the log has lost it. 0 for a job that is about to
    /// commit for the first time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub publishers_kept: u32,
    /// The number of fixed sink slots of earlier versions that had committed a progress. 0 once their progress was
    /// taken over by the publishers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slots_kept: u32,
    /// The time before which everything that arrived was committed when the manifest was written.
    /// Rows of later panes can be made from the parts; parts of earlier panes may be missing.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub committed: EventTimeMs,
    /// The furthest progress of results that publishers are known to have committed, as a number, by
    /// publisher. The log holds this progress or a further one, or has lost it. Publishers of other
    /// processes than the writer's have the progress that the attempt found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub furthest: BTreeMap<u32, u64>,
    /// The time from which on the parts are complete; none in manifests of programs that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// The number of merges of parts that the attempt had finished. A later manifest of the attempt
    /// names no part of an earlier merge that this one does not name.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub merges: u64,
    /// The place from which each partition is resumed; partitions that were never cut are absent.
    pub partitions: Vec<PartitionCut>,
    /// The parts, ordered by their first pane.
    pub parts: Vec<PartInfo>,
    /// The checkpoint of another job that this job began from, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<Origin>,
}

/// A checkpoint of another job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Origin {
    /// The other job.
    pub job: String,
    /// The checkpoint's attempt.
    pub attempt: u64,
    /// The checkpoint's boundary.
    pub boundary: EventTimeMs,
}

/// Returns whether to leave the field out, as earlier versions did.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Returns whether to leave the field out, as earlier versions did.
fn is_zero_u64(number: &u64) -> bool {
    *number == 0
}

/// Settings that must not change while a checkpoint is in use.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fingerprint {
    /// The source topic; the first one if there are several.
    pub topic: String,
    /// The other source topics, in the order of their sources' numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_topics: Vec<String>,
    /// The length of windows.
    pub window_ms: u64,
    /// The distance between the starts of windows.
    pub slide_ms: u64,
    /// The length of panes.
    pub pane_ms: u64,
    /// The time from a multiple of the slide to the next start of a window.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub offset_ms: u64,
    /// The gap that ends a session, if windows are sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_gap_ms: Option<u64>,
    /// The number of fixed sink slots, in manifests of earlier versions, which stored progress by
    /// slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<Slots>,
    /// The longest time from the start of a row's window to that of a row that a stage derives from it.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub stages_reach_ms: u64,
    /// The settings of the process function, if the job has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSettings>,
    /// The type of keys; none in manifests of programs that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The type of aggregates; none in manifests of programs that did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<String>,
    /// The earlier types of aggregates whose encoding the job reads, too: parts that an earlier
    /// program wrote may contain them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_aggregates: Vec<String>,
    /// The limit by which an event's time may exceed its time in the log; none in manifests of programs that did not
    /// record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_future_skew_ms: Option<u64>,
}

/// The settings of a process function that must not change while a checkpoint is in use.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProcessSettings {
    /// The time after which a key that did not change is written again.
    pub refresh_ms: u64,
    /// The version of the state.
    pub state_version: u32,
}

/// A setting that differs between the checkpoint and the job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The setting's name.
    pub setting: &'static str,
    /// The checkpoint's value.
    pub of_checkpoint: String,
    /// The job's value.
    pub of_job: String,
}

/// The place from which a partition is resumed at the boundary.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PartitionCut {
    /// The partition's number.
    pub partition: u32,
    /// The offset below which all records with a pane before the boundary are in the parts.
    pub cut: Offset,
    /// The first offset that must be read again so that nothing is lost.
    pub resume: Offset,
    /// The oldest record whose event id was held, if it lies before `resume`. Records between the
    /// two are read again only for their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids_from: Option<Offset>,
    /// The newest event at the time of the cut.
    pub newest: Option<Newest>,
    /// The last record before the cut, which identifies the partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Anchor>,
    /// The ceilings of the offsets that are read again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ceilings: Vec<Ceiling>,
    /// The version of the decoder that decided about the records below the cut; 0 in manifests of
    /// programs that did not record it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decoder: u32,
    /// The side outputs below the cut that were not published when it was made, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
}

impl PartitionCut {
    /// Returns how to resume the partition when the log holds it from `oldest` on. The anchor and
    /// the records with event ids are read again if they are still there. Side outputs are
    /// published as far as `published`.
    pub fn start(&self, oldest: Offset, published: SideProgress) -> Start {
        let Self {
            cut,
            newest,
            anchor,
            ref ceilings,
            ..
        } = *self;
        let none_pending = || Pending::none_below(cut);
        let anchor = anchor.filter(|anchor| anchor.offset >= oldest);
        let resume = anchor.map_or(self.resume, |anchor| anchor.offset.min(self.resume));
        let ids_from = self.ids_from.map_or(resume, |offset| offset.max(oldest));
        let resume = resume.min(ids_from);

        Start {
            resume,
            cut,
            needed_from: self.resume,
            newest,
            anchor,
            ceilings: ceilings.clone(),
            pending: self.pending.clone().unwrap_or_else(none_pending),
            published,
            decoder: self.decoder,
            disorder_ms: None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            of_checkpoint,
            of_job,
        } = self;

        write!(
            f,
            "the {setting} was {of_checkpoint:?} and is now {of_job:?}"
        )
    }
}

/// The reason why an object cannot be used as a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The object is not the JSON of a manifest.
    #[error("the manifest is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// The checksum does not match.
    #[error("the manifest is damaged: its checksum does not match")]
    Checksum,
    /// A newer version of this program wrote it.
    #[error(
        "the manifest has format version {0}, this program reads version {VERSION}: use the program that wrote it, or a newer one"
    )]
    Version(u32),
    /// The manifest belongs to another job.
    #[error("the manifest is of job {0:?}")]
    Foreign(String),
}

impl Fingerprint {
    /// Creates the fingerprint of a job that reads one topic, without types and skew.
    pub fn new(topic: &str, windows: &Windows) -> Self {
        Self {
            topic: topic.to_owned(),
            more_topics: Vec::new(),
            window_ms: windows.size_ms(),
            slide_ms: windows.slide_ms(),
            pane_ms: windows.pane_ms(),
            offset_ms: windows.offset_ms(),
            session_gap_ms: windows.gap_ms(),
            slots: None,
            stages_reach_ms: 0,
            process: None,
            key: None,
            aggregate: None,
            earlier_aggregates: Vec::new(),
            max_future_skew_ms: None,
        }
    }

    /// Adds further source topics.
    #[must_use]
    pub fn reading(self, more_topics: Vec<String>) -> Self {
        Self {
            more_topics,
            ..self
        }
    }

    /// Returns the source topics in the order of their sources' numbers.
    pub fn topics(&self) -> Vec<&str> {
        let more = self.more_topics.iter().map(String::as_str);
        std::iter::once(&*self.topic).chain(more).collect()
    }

    /// Adds the types: keys of type `K` and aggregates of type `A`.
    #[must_use]
    pub fn keeping<K: Key, A: Aggregate>(self) -> Self {
        Self {
            key: Some(K::signature()),
            aggregate: Some(A::signature()),
            earlier_aggregates: A::earlier_signatures(),
            ..self
        }
    }

    /// Adds the reach of stages.
    #[must_use]
    pub fn reaching(self, stages_reach_ms: u64) -> Self {
        Self {
            stages_reach_ms,
            ..self
        }
    }

    /// Adds the settings of the process function.
    #[must_use]
    pub fn processing(self, process: Option<ProcessSettings>) -> Self {
        Self { process, ..self }
    }

    /// Adds the limit by which an event's time may exceed its time in the log.
    #[must_use]
    pub fn believing(self, max_future_skew_ms: u64) -> Self {
        Self {
            max_future_skew_ms: Some(max_future_skew_ms),
            ..self
        }
    }

    /// Returns the settings in which `job` differs from this fingerprint, the checkpoint's.
    /// Optional settings are compared only if both have them.
    pub fn differences(&self, job: &Self) -> Vec<Difference> {
        let mut differences = Differences::default();
        self.compare_topics(job, &mut differences);
        self.compare_windows(job, &mut differences);
        self.compare_types(job, &mut differences);
        if let Some((skew, of_job)) = self.max_future_skew_ms.zip(job.max_future_skew_ms) {
            differences.of_durations("max future skew", skew, of_job);
        }

        differences.0
    }

    fn compare_topics(&self, job: &Self, differences: &mut Differences) {
        let own = self.topics();
        let of_job = job.topics();
        // A source that is added behind the others begins like a partition that is added.
        if of_job.starts_with(&own) {
            return;
        }

        let is_one = own.len() == 1 && of_job.len() == 1;
        let setting = if is_one {
            "source topic"
        } else {
            "source topics"
        };
        differences.of_texts(setting, own.join(", "), of_job.join(", "));
    }

    fn compare_windows(&self, job: &Self, differences: &mut Differences) {
        let gap = |gap: Option<u64>| gap.map_or("none".to_owned(), duration);
        let own_gap = gap(self.session_gap_ms);
        differences.of_texts("session gap", own_gap, gap(job.session_gap_ms));

        let window = if job.session_gap_ms.is_some() {
            "session limit"
        } else {
            "window"
        };
        differences.of_durations(window, self.window_ms, job.window_ms);
        differences.of_durations("slide", self.slide_ms, job.slide_ms);
        differences.of_durations("pane", self.pane_ms, job.pane_ms);
        differences.of_durations("window offset", self.offset_ms, job.offset_ms);
        if job.stages_reach_ms > self.stages_reach_ms {
            let setting = "reach of stages";
            differences.of_durations(setting, self.stages_reach_ms, job.stages_reach_ms);
        }
    }

    fn compare_types(&self, job: &Self, differences: &mut Differences) {
        if let Some((process, of_job)) = self.process.zip(job.process) {
            let version = |process: ProcessSettings| process.state_version.to_string();
            differences.of_texts("state version", version(process), version(of_job));
            differences.of_durations("state refresh", process.refresh_ms, of_job.refresh_ms);
        }

        if let Some((key, of_job)) = self.key.as_ref().zip(job.key.as_ref()) {
            differences.of_texts("key type", key.clone(), of_job.clone());
        }

        let aggregates = self.aggregate.as_ref().zip(job.aggregate.as_ref());
        let is_read = |kind: &String| job.earlier_aggregates.contains(kind);
        if let Some((aggregate, of_job)) = aggregates.filter(|(kind, _)| !is_read(kind)) {
            differences.of_texts("aggregate type", aggregate.clone(), of_job.clone());
        }
    }

    /// Returns how long after its start a pane can still produce rows, if nothing follows it.
    pub fn settles_within_ms(&self) -> u64 {
        let window_ms = self.session_gap_ms.map_or(self.window_ms, |gap_ms| {
            self.window_ms.min(gap_ms + self.pane_ms)
        });
        match self.stages_reach_ms {
            0 => window_ms,
            reach_ms => self.window_ms + reach_ms,
        }
    }
}

/// The differences that a comparison has found.
#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn of_texts(&mut self, setting: &'static str, of_checkpoint: String, of_job: String) {
        if of_checkpoint != of_job {
            self.0.push(Difference {
                setting,
                of_checkpoint,
                of_job,
            });
        }
    }

    fn of_durations(&mut self, setting: &'static str, of_checkpoint_ms: u64, of_job_ms: u64) {
        self.of_texts(setting, duration(of_checkpoint_ms), duration(of_job_ms));
    }
}

/// The fields that are read in every version, before the rest.
#[derive(Deserialize)]
struct Head {
    version: u32,
    job: String,
}

impl Manifest {
    /// Encodes the object: a line of JSON, and a line with its CRC-32 in hexadecimal.
    ///
    /// # Panics
    /// Never: a manifest is plain data.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a manifest is plain data");
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(format!("\n{checksum:08x}\n").into_bytes());
        bytes
    }

    /// Returns how long after their end windows are kept for corrections.
    pub fn lateness_ms(&self) -> u64 {
        self.memory.as_ref().map_or(0, Memory::lateness_ms)
    }

    /// Returns the time from which on the parts contain everything.
    pub fn complete_from(&self) -> EventTimeMs {
        self.memory
            .as_ref()
            .map_or(0, |memory| memory.complete_from)
    }

    /// Returns the time from which on all panes are in the parts.
    pub fn kept_from(&self) -> EventTimeMs {
        self.memory.as_ref().map_or(0, Memory::kept_from)
    }

    /// Decodes a manifest of `job`.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn from_bytes(bytes: &[u8], job: &str) -> Result<Self, ManifestError> {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let json = lines.next().unwrap_or_default();
        let checksum = lines.next().unwrap_or_default();

        if format!("{:08x}", crc32fast::hash(json)).as_bytes() != checksum {
            return Err(ManifestError::Checksum);
        }

        let head: Head = serde_json::from_slice(json)?;
        if head.version != VERSION {
            return Err(ManifestError::Version(head.version));
        }
        if head.job != job {
            return Err(ManifestError::Foreign(head.job));
        }

        Ok(serde_json::from_slice(json)?)
    }
}

#[cfg(test)]
mod tests;

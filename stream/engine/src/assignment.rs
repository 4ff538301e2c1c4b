//! Divides an attempt's work: assigns to each worker the partitions that it reads, the slots that
//! it commits, and the panes of the checkpoint that it sends.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use record_log::{LogError, Offset, Publisher, RecordLimit};

use crate::aggregate::{Aggregate, Key};
use crate::checkpoint::manifest::{Manifest, PartInfo};
use crate::checkpoint::part;
use crate::checkpoint::share::Share;
use crate::cluster::Members;
use crate::cut::{Intake, Rules, Start};
use crate::error::JobError;
use crate::flow::ClosedPane;
use crate::inputs::{self, Input};
use crate::pane::EventTimeMs;
use crate::recovery::Recovered;
use crate::run::{Run, millis};
use crate::settings::UnreadableBatches;
use crate::sink::progress::{HORIZONS_MAX, SinkProgress};
use crate::sink::side::SideLimits;
use crate::sink::sides::SideQueue;
use crate::sink::transaction::{FormerPart, SinkStart};
use crate::source::limits::{InputLimits, Limits};
use crate::source::partitions::Partitions;
use crate::stages;
use crate::topics;
use crate::watermark::Pace;
use crate::worker::Own;

/// The work of all workers of this process together.
struct Work {
    starts: BTreeMap<u32, Start>,
    of_inputs: Arc<[InputLimits]>,
    /// The ends up to which a job reads that ends by itself.
    ends: Option<BTreeMap<u32, Offset>>,
    /// The end of the last window that the checkpoint can still emit.
    windows_end: EventTimeMs,
    /// The contents of the checkpoint's parts, by name.
    parts: BTreeMap<String, Bytes>,
    progress: SinkProgress,
    attempt: u64,
}

impl<K: Key, A: Aggregate> Run<K, A> {
    /// Returns the number of workers of all processes together.
    pub(crate) fn peers(&self) -> usize {
        usize::from(self.settings.workers) * self.members.as_ref().map_or(1, Members::processes)
    }

    /// Returns this process's workers by their index among all workers.
    pub(crate) fn own_workers(&self) -> Range<usize> {
        let workers = usize::from(self.settings.workers);
        let first = workers
            * self
                .members
                .as_ref()
                .map_or(0, |members| usize::from(members.process));
        first..first + workers
    }

    /// Assigns to every worker of this process its partitions, its slots and its share of the
    /// checkpoint.
    ///
    /// # Errors
    /// [`JobError::Position`] if the log does not hold the records that the checkpoint refers to;
    /// [`JobError::Log`].
    pub(crate) fn assign(&self, recovered: &mut Recovered) -> Result<Vec<Own<K, A>>, JobError> {
        let starts = self.starts(
            &recovered.partitions,
            &recovered.adopted,
            &recovered.progress,
        )?;
        let of_inputs: Arc<[InputLimits]> = self.limits_of_inputs()?.into();

        let ends = if self.settings.until_end {
            Some(self.ends()?)
        } else {
            None
        };

        let reach_ms = stages::reach_ms(&self.pipeline.stages);
        let windows_end = recovered
            .adopted
            .parts
            .iter()
            .map(|part| part.last + self.pipeline.windows.size_ms() + reach_ms)
            .max();

        let parts = recovered
            .checkpoint
            .take()
            .map(|checkpoint| checkpoint.parts)
            .unwrap_or_default();

        let line = recovered.adopted.lineage.line();
        let progress = recovered.progress.clone().on_line(line);

        let work = Work {
            starts,
            of_inputs,
            ends,
            windows_end: windows_end.unwrap_or(0),
            parts,
            progress,
            attempt: recovered.number,
        };

        let publishers = &mut recovered.publishers;
        let adopted = &recovered.adopted;
        self.own_workers()
            .map(|worker| {
                let publisher = publishers.remove(&worker);
                let publisher = publisher.expect("each worker's publisher was opened");
                self.of_worker(worker, publisher, adopted, &work)
            })
            .collect()
    }

    /// Returns the share of one worker.
    fn of_worker(
        &self,
        worker: usize,
        publisher: Box<dyn Publisher>,
        adopted: &Manifest,
        work: &Work,
    ) -> Result<Own<K, A>, JobError> {
        let peers = self.peers();
        let is_own = |id: &u32| inputs::reader_of(*id, peers) == worker;
        let starts = work.starts.iter().filter(|(id, _)| is_own(id));
        let starts = starts.map(|(id, start)| (*id, start.clone())).collect();
        let published = work.progress.sides.clone().into_iter();
        let published = published.filter(|(id, _)| is_own(id)).collect();
        let sides = SideQueue::new(self.settings.side_output_bytes(), published);

        let mut partitions = self
            .partitions(adopted, starts, sides.clone(), Arc::clone(&work.of_inputs))?
            .until(work.ends.clone());
        partitions.expect_windows_until(work.windows_end);

        let mut restored = Vec::new();
        let mut former = Vec::new();
        for part in Share::new(worker..worker + 1, peers).of(&adopted.parts) {
            let panes = panes_of(part, &work.parts)?;
            former.extend(FormerPart::of(
                part,
                &panes,
                &work.progress,
                &adopted.lineage,
            ));
            restored.extend(panes);
        }

        let groups = self.settings.sink_slots.groups_of_worker(worker, peers);
        Ok(Own {
            partitions,
            restored,
            sink: SinkStart {
                publisher,
                progress: work.progress.clone(),
                groups: groups.collect(),
                attempt: work.attempt,
                sides,
                former,
                max_rows: self.settings.max_transaction_rows as usize,
            },
        })
    }

    /// Reads the limits of each source topic and of the topics of its side outputs.
    fn limits_of_inputs(&self) -> Result<Vec<InputLimits>, LogError> {
        let inputs = &self.pipeline.inputs;
        let limits = inputs.iter().map(|input| {
            let log = self.log.as_ref();
            Ok(InputLimits {
                may_lose_anchors: topics::may_lose_records(log, &input.topic)?,
                sides: self.side_limits(input)?,
            })
        });
        limits.collect()
    }

    /// Reads the limits for records of the topics of side outputs.
    fn side_limits(&self, input: &Input) -> Result<SideLimits, LogError> {
        let limit = |topic: &str| match self.log.describe(topic) {
            Ok(description) => Ok(description.record_limit.bytes),
            // The check of the topics at the start has logged the refusal.
            Err(LogError::Refused(_)) => Ok(RecordLimit::ASSUMED_BYTES),
            Err(error) => Err(error),
        };
        let limits = SideLimits {
            late_bytes: limit(&input.late_topic)?,
            dead_letter_bytes: limit(&input.dead_letter_topic)?,
        };

        Ok(match self.pipeline.inputs.source_topic_of(input) {
            Some(topic) => limits.leaving_room_for_topic(topic),
            None => limits,
        })
    }

    fn partitions(
        &self,
        adopted: &Manifest,
        starts: Vec<(u32, Start)>,
        sides: SideQueue,
        of_inputs: Arc<[InputLimits]>,
    ) -> Result<Partitions<K, A>, JobError> {
        let from: Vec<_> = starts
            .iter()
            .map(|(id, start)| (*id, start.resume))
            .collect();
        let reader = self.pipeline.inputs.reader(self.log.as_ref(), &from)?;
        let windows = self.pipeline.windows;
        let settings = &self.settings;

        let rules = Rules {
            windows,
            allowed_lateness_ms: self.lateness_ms(),
            max_future_skew_ms: millis(settings.max_future_skew),
            pace: Pace {
                disorder_ms: millis(settings.disorder),
                max_clock_skew_ms: millis(settings.max_clock_skew),
                idle_after_ms: millis(settings.idle_after),
            },
        };

        let intake = Intake::new(rules, adopted.boundary, starts)
            .remembering_from(adopted.complete_from())
            .holding_ids_within(settings.event_id_memory.as_bytes())
            .decoding_by(self.pipeline.decoder);

        // The slowest partition must be able to read on until its watermark passes its oldest open
        // pane.
        let needed_panes = self.disorder_panes() + 2;
        let limits = Limits {
            windows,
            is_passing: self.pipeline.pass_through.is_some(),
            reach_ms: stages::reach_ms(&self.pipeline.stages),
            of_inputs,
            max_open_panes: usize::from(settings.max_open_panes)
                + usize::try_from(needed_panes).unwrap_or(usize::MAX / 2),
            sets_aside: settings.unreadable_batches == UnreadableBatches::SetAside,
            max_horizons: HORIZONS_MAX / self.peers(),
        };

        Ok(Partitions::new(
            intake,
            reader,
            Arc::clone(&self.pipeline.decode),
            limits,
            sides,
        ))
    }

    /// Returns the number of panes in the greatest disorder of any topic. Without a window, panes are
    /// intervals of the clock and no event is late.
    fn disorder_panes(&self) -> u64 {
        if self.pipeline.pass_through.is_some() {
            return 0;
        }

        let of_inputs = self.pipeline.inputs.iter();
        let disorders = of_inputs.filter_map(|input| input.disorder.map(millis));
        let greatest_ms = disorders.fold(millis(self.settings.disorder), u64::max);
        greatest_ms / self.pipeline.windows.pane_ms()
    }

    /// Returns the position from which to read each partition: the checkpoint's, or else the oldest
    /// record.
    fn starts(
        &self,
        partitions: &[u32],
        adopted: &Manifest,
        progress: &SinkProgress,
    ) -> Result<BTreeMap<u32, Start>, JobError> {
        let published = |id| {
            let side = progress.sides.get(&id).cloned();
            side.filter(|side| side.line == adopted.lineage.line())
                .unwrap_or_default()
        };
        let inputs = &self.pipeline.inputs;
        let ranges = inputs.offsets(self.log.as_ref())?;
        let range = |id: u32| ranges.get(&id).copied();
        let disorder_ms = |id: u32| inputs.of_id(id).disorder.map(millis);
        let mut starts: BTreeMap<u32, Start> = BTreeMap::new();

        for id in inputs::ids(partitions) {
            let oldest = range(id).map_or(0, |range| range.start);
            starts.insert(
                id,
                Start {
                    resume: oldest,
                    published: published(id),
                    disorder_ms: disorder_ms(id),
                    ..Start::default()
                },
            );
        }

        for cut in adopted.partitions.iter().filter(|cut| cut.cut > 0) {
            let held = range(cut.partition).map_or((0, 0), |range| (range.start, range.end));
            if cut.resume < held.0 || cut.cut > held.1 {
                return Err(JobError::Position(format!(
                    "the checkpoint reads {} from offset {} and has counted up to {}, but the log holds {} to {}: \
                     the topic was deleted, recreated or has expired. Restore it, or start over under another --job name",
                    inputs.name_of(cut.partition),
                    cut.resume,
                    cut.cut,
                    held.0,
                    held.1
                )));
            }

            let start = Start {
                disorder_ms: disorder_ms(cut.partition),
                ..cut.start(held.0, published(cut.partition))
            };
            starts.insert(cut.partition, start);
        }

        Ok(starts)
    }

    fn ends(&self) -> Result<BTreeMap<u32, Offset>, LogError> {
        let ranges = self.pipeline.inputs.offsets(self.log.as_ref())?;
        Ok(ranges
            .into_iter()
            .map(|(id, range)| (id, range.end))
            .collect())
    }
}

/// Reads the panes of a part up to the last pane that counts. Any worker may send any pane.
fn panes_of<K: Key, A: Aggregate>(
    part: &PartInfo,
    parts: &BTreeMap<String, Bytes>,
) -> Result<Vec<ClosedPane<K, A>>, JobError> {
    let name = &part.name;
    let unread = || JobError::Position(format!("part {name} of the checkpoint was not read"));
    let bytes = parts.get(name).ok_or_else(unread)?;
    part::read(bytes, part.last + 1).map_err(|error| JobError::Position(error.to_string()))
}

//! The partitions of one worker: reads their records, decides about each record, and aggregates it
//! until its pane closes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use record_log::{LogError, LogTimeType, Offset, Polled, Reader, Record, Wake};
use timely::scheduling::activate::SyncActivator;

use crate::aggregate::{Aggregate, Key};
use crate::cut::{Anchor, Crossing, Cut, Intake};
use crate::inputs;
use crate::job::Decode;
use crate::metrics::counts::BatchCounts;
use crate::metrics::operators::Activity;
use crate::pane::EventTimeMs;
use crate::sink::sides::SideQueue;
use crate::source::admission::{Counted, RecordAdmission, reading_of};
use crate::source::fold::Group;
use crate::source::limits::Limits;
use crate::source::on_time::OnTimeRun;
use crate::source::open::Open;
use crate::source::position::Position;
use crate::watermark::Claim;

/// The number of records that are read from a partition before the next one has its turn. It is
/// more than a reader holds ready.
const BATCH_RECORDS: usize = 32_768;

/// The greatest age of a confirmed end at which its partition counts as being at its end.
const END_LIMIT_MS: u64 = 5_000;

/// The bytes of records that a job without a window reads within one of its intervals.
const INTERVAL_BYTES: usize = 32 << 20;

/// The partitions of one worker.
pub struct Partitions<K, A> {
    intake: Intake,
    reader: Box<dyn Reader>,
    decode: Decode<K, A>,
    limits: Limits,
    /// The offsets at which reading ends, if the job is to end.
    ends: Option<BTreeMap<u32, Offset>>,
    open: Open<K, A>,
    /// Empty between polls.
    on_time: OnTimeRun<K, A>,
    sides: SideQueue,
    /// The bytes of side outputs per record in the last batch.
    side_bytes_per_record: usize,
    /// Panes that were sent and are not known to be committed.
    sent: BTreeSet<EventTimeMs>,
    /// The offsets from which a restart would resume, at boundaries whose results are not known to be
    /// committed.
    resumes: VecDeque<(EventTimeMs, Vec<(u32, Offset)>)>,
    /// A partition that is not the one that the checkpoint describes.
    foreign: Option<u32>,
    /// The time at which each partition last made progress: a poll returned a record or a later confirmed end, or the
    /// partition was not to be read.
    heard: BTreeMap<u32, u64>,
    /// The obstacles of partitions whose last poll made no progress, where the log has named one.
    obstacles: BTreeMap<u32, Arc<str>>,
    /// The origin of the times of the records that were read, by source: producers, if they set any.
    log_time_types: BTreeMap<usize, LogTimeType>,
    /// The reason why the last poll left out a partition that has more to read.
    held_by: Option<Activity>,
}

/// The moment of a poll.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The boundary up to which results are committed.
    pub committed: EventTimeMs,
    /// The time as of which all partitions of the job were at their ends; 0 if one never was.
    pub all_at_end_ms: u64,
    /// The reader's clock.
    pub now_ms: u64,
}

/// The findings in the records of one poll.
#[derive(Default)]
struct Seen {
    batch: BatchCounts,
    /// The last record.
    last: Option<Anchor>,
    /// True if a record differs from the one that the checkpoint describes.
    is_foreign: bool,
    /// The origin of the records' times: producers, if they set any.
    log_time_type: Option<LogTimeType>,
    /// The bytes of side outputs.
    side_bytes: usize,
}

impl Seen {
    #[inline]
    fn note(&mut self, record: &Record<'_>, intake: &mut Intake) {
        if self.log_time_type != Some(LogTimeType::Create) {
            self.log_time_type = Some(record.log_time_type);
        }

        let anchor = Anchor {
            offset: record.offset,
            log_time_ms: record.log_time_ms,
        };
        self.is_foreign |= !intake.recognizes(record.partition, anchor);
        self.last = Some(anchor);
    }
}

impl<K: Key, A: Aggregate> Partitions<K, A> {
    /// Creates partitions that `reader` reads from the positions of `intake`. Records that are not
    /// counted go to `sides`.
    pub fn new(
        intake: Intake,
        reader: Box<dyn Reader>,
        decode: Decode<K, A>,
        limits: Limits,
        sides: SideQueue,
    ) -> Self {
        let open = Open::from(intake.capability());

        Self {
            intake,
            reader,
            decode,
            limits,
            ends: None,
            open,
            on_time: OnTimeRun::default(),
            sides,
            side_bytes_per_record: 1,
            sent: BTreeSet::new(),
            resumes: VecDeque::new(),
            foreign: None,
            heard: BTreeMap::new(),
            obstacles: BTreeMap::new(),
            log_time_types: BTreeMap::new(),
            held_by: None,
        }
    }

    /// Sets the offsets at which reading ends, if given.
    #[must_use]
    pub fn until(self, ends: Option<BTreeMap<u32, Offset>>) -> Self {
        Self { ends, ..self }
    }

    /// Schedules the operator behind `activator` when there may be something to read.
    pub fn wake_by(&mut self, activator: SyncActivator) {
        let wake: Wake = Arc::new(move || {
            // Activation fails only if the worker is gone; then nothing is left to read.
            let _ = activator.activate();
        });
        self.sides.when_free(Arc::clone(&wake));
        self.reader.on_readable(wake);
    }

    /// Notes that the windows of the checkpoint's panes end by `boundary`.
    pub fn expect_windows_until(&mut self, boundary: EventTimeMs) {
        self.open.windows_end = self.open.windows_end.max(boundary);
    }

    /// The worker's capability: nothing sent from now on travels before this boundary.
    pub fn capability(&self) -> EventTimeMs {
        self.intake.capability()
    }

    fn ids(&self) -> Vec<u32> {
        self.intake.positions().map(|(id, _)| id).collect()
    }

    /// Returns the reading position of each partition. `all` is the claim of the partitions of all workers.
    pub fn positions(&self, all: Claim) -> impl Iterator<Item = Position> {
        self.intake
            .positions()
            .map(move |(partition, next_offset)| {
                let newest = self.intake.newest(partition);
                let claim = self.intake.claim_of(partition);
                Position {
                    partition,
                    next_offset,
                    newest_event_ms: newest.map(|newest| newest.event_ms),
                    heard_at_ms: self.heard.get(&partition).copied(),
                    end_as_of_ms: self.intake.end_as_of_ms(partition),
                    obstacle: self.obstacles.get(&partition).cloned(),
                    claim,
                    holds_back: !self.has_ended(partition) && claim.holds_back(all),
                }
            })
    }

    /// Returns what a partition was not read for at the last poll, if there was one.
    pub fn held_by(&self) -> Option<Activity> {
        self.held_by
    }

    /// Returns the combined claim of the partitions that have not been read to their ends.
    pub fn claim(&self) -> Claim {
        self.intake.claim(|partition| !self.has_ended(partition))
    }

    /// Returns the boundary by which all windows end, once everything that was to be read has been
    /// read.
    pub fn finished(&self) -> Option<EventTimeMs> {
        let is_finished =
            self.ends.is_some() && self.intake.positions().all(|(id, _)| self.has_ended(id));
        is_finished.then_some(self.open.windows_end.max(self.intake.capability()))
    }

    /// Returns whether all side outputs of the records that were read are published.
    pub fn has_no_side_outputs(&self) -> bool {
        self.sides.size_bytes() == 0
    }

    /// Returns the number of entries in open panes.
    pub fn open_entries(&self) -> usize {
        self.open.fold.entries()
    }

    /// Returns the origin of the times of the records that were read, by source, once any were.
    pub fn log_time_types(&self) -> &BTreeMap<usize, LogTimeType> {
        &self.log_time_types
    }

    /// Reads a batch from each partition that may be read, and returns the totals. A failing
    /// partition does not stop the others.
    ///
    /// # Errors
    /// The first error of [`Reader::poll`], with the totals of the records that were read.
    pub fn poll(&mut self, moment: Moment) -> Result<BatchCounts, (BatchCounts, LogError)> {
        self.sent = self.sent.split_off(&moment.committed);
        self.settle(moment.committed);
        self.held_by = None;
        let last_allowed = self.last_allowed_pane();
        let mut total = BatchCounts::default();
        let mut first_error = None;

        for id in self.ids() {
            self.obstacles.remove(&id);
            let records = self.readable_records();
            let has_ended = self.has_ended(id);
            if records == 0 || has_ended || !self.may_be_read(id, last_allowed, moment) {
                self.heard.insert(id, moment.now_ms);
                if !has_ended {
                    self.held_by = Some(self.reason_of_hold(records));
                }
                continue;
            }
            match self.poll_partition(id, records, moment.now_ms) {
                Ok(batch) => total += batch,
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }

        match first_error {
            Some(error) => Err((total, error)),
            None => Ok(total),
        }
    }

    /// Advances the capability to the last boundary at or before `time`. Returns the crossing and
    /// the groups that leave with it, in the order of their panes.
    pub fn advance(&mut self, time: EventTimeMs) -> Option<(Crossing, Vec<Group<K, A>>)> {
        let pending = |partition, cut| self.sides.pending(partition, cut);
        let crossing = self.intake.advance(time, pending)?;
        let resume = |cut: &Cut| (cut.partition, cut.resume(crossing.to));
        let resumes = crossing.cuts.iter().map(resume).collect();
        self.resumes.push_back((crossing.to, resumes));

        let leaving = self.open.take_before(crossing.to);
        self.sent.extend(leaving.iter().map(Group::arrival));
        Some((crossing, leaving))
    }

    /// Takes back a group that has left.
    pub fn reuse(&mut self, group: Group<K, A>) {
        self.open.fold.reuse(group);
    }

    /// Notes that no restart will read the records before the cuts of the boundaries up to
    /// `committed` again.
    fn settle(&mut self, committed: EventTimeMs) {
        while let Some((_, resumes)) = self.resumes.pop_front_if(|(to, _)| *to <= committed) {
            for (partition, resume) in resumes {
                self.sides.settle(partition, resume);
            }
        }
    }

    /// Returns the number of records that may be read now so that their side outputs have room, if
    /// these arrive at the rate of the last batch. While there is any room, it is at least one
    /// record of any size.
    fn readable_records(&self) -> usize {
        // Each boundary may add a horizon; those that are committed are forgotten.
        let may_forget = !self.resumes.is_empty();
        if may_forget && self.sides.horizons() > self.limits.max_horizons {
            return 0;
        }
        match self.sides.room_bytes() {
            0 => 0,
            room => (room / self.side_bytes_per_record.max(1)).clamp(1, BATCH_RECORDS),
        }
    }

    /// Returns the last pane that may be read while the limit of open and uncommitted panes is
    /// reached; none if it is not reached.
    fn last_allowed_pane(&self) -> Option<EventTimeMs> {
        let mut open = self.sent.clone();
        open.extend(self.open.fold.arrivals());
        open.iter().nth(self.limits.max_open_panes - 1).copied()
    }

    /// Returns the reason why a partition is not read, where `records` could be read.
    fn reason_of_hold(&self, records: usize) -> Activity {
        if records == 0 && self.sides.room_bytes() == 0 {
            return Activity::AwaitsSideOutputs;
        }
        match self.sent.is_empty() {
            true => Activity::AwaitsEventTime,
            false => Activity::AwaitsCommits,
        }
    }

    /// Returns a partition that is not the one that the checkpoint describes, if one was found.
    pub fn foreign(&self) -> Option<u32> {
        self.foreign
    }

    fn may_be_read(
        &self,
        partition: u32,
        last_allowed: Option<EventTimeMs>,
        moment: Moment,
    ) -> bool {
        // At the ends of all partitions, records come only as fast as they are produced, and event
        // time waits only for a lag.
        let oldest_end_ms = moment.now_ms.saturating_sub(END_LIMIT_MS);
        let own_end_ms = self.intake.end_as_of_ms(partition).unwrap_or(0);
        let is_live = own_end_ms.min(moment.all_at_end_ms) >= oldest_end_ms;

        if self.limits.is_passing {
            let has_room = self.sent.len() < self.limits.max_open_panes
                && self.open.passed_bytes < INTERVAL_BYTES;
            return has_room || self.intake.is_awaited(partition);
        }

        if is_live || self.intake.is_awaited(partition) {
            return true;
        }

        let (Some(last), Some(newest)) = (last_allowed, self.intake.newest(partition)) else {
            return true;
        };

        newest.event_ms < last + self.limits.windows.pane_ms()
    }

    /// Returns the offset at which reading of the partition ends, if it is to end.
    fn end(&self, partition: u32) -> Option<Offset> {
        self.ends.as_ref()?.get(&partition).copied()
    }

    fn has_ended(&self, partition: u32) -> bool {
        let end = self.end(partition);
        end.is_some_and(|end| self.intake.next_offset(partition) >= end)
    }

    fn poll_partition(
        &mut self,
        partition: u32,
        records: usize,
        now_ms: u64,
    ) -> Result<BatchCounts, LogError> {
        let end = self.end(partition).unwrap_or(Offset::MAX);
        let mut seen = Seen::default();
        let intake = &mut self.intake;
        let open = &mut self.open;
        let on_time = &mut self.on_time;
        let decode = &self.decode;
        let limits = &self.limits;
        let sides = &self.sides;

        let polled = self.reader.poll(partition, records, &mut |record| {
            if record.offset < end {
                let reading = reading_of(&record, now_ms);
                intake.read(&reading);
                seen.note(&record, intake);

                let mut admission = RecordAdmission {
                    record: &record,
                    reading,
                    intake,
                    open,
                    on_time,
                    sides,
                    limits,
                    batch: &mut seen.batch,
                    side_bytes: &mut seen.side_bytes,
                    counted: Counted::Not,
                };
                admission.decide(decode);
            }
        });

        // Events that were on time may wait for their decision, even if the reader has failed since.
        open.settle(partition, on_time, intake, limits, &mut seen.batch);

        let polled = match polled {
            Err(LogError::Unreadable { .. }) if limits.sets_aside => {
                return self.set_aside(partition, now_ms);
            }
            polled => polled?,
        };
        self.note(partition, &seen, &polled);
        self.intake.skip_to(partition, polled.next_offset.min(end));

        let may_lose_anchors = self.limits.of_input(partition).may_lose_anchors;
        let is_foreign = !may_lose_anchors && self.intake.misses_anchor(partition);
        let is_foreign = seen.is_foreign || is_foreign;
        self.foreign = self.foreign.or(is_foreign.then_some(partition));
        self.hear(partition, &polled, now_ms);

        Ok(seen.batch)
    }

    /// Notes what the records of a poll have in common.
    fn note(&mut self, partition: u32, seen: &Seen, polled: &Polled) {
        if let Some(log_time_type) = seen.log_time_type {
            let source = inputs::source_of(partition);
            let known = self.log_time_types.entry(source).or_insert(log_time_type);
            if log_time_type == LogTimeType::Create {
                *known = log_time_type;
            }
        }
        if let Some(anchor) = seen.last {
            self.intake.anchor(partition, anchor);
        }
        if let Some(per_record) = seen.side_bytes.checked_div(polled.records) {
            self.side_bytes_per_record = per_record;
        }
    }

    /// Notes the end that a poll confirmed, and the partition's progress or obstacle.
    fn hear(&mut self, partition: u32, polled: &Polled, now_ms: u64) {
        let is_end_news = polled.end_as_of_ms > self.intake.end_as_of_ms(partition);
        if let Some(as_of_ms) = polled.end_as_of_ms {
            self.intake.at_end(partition, as_of_ms);
        }
        if polled.records > 0 || is_end_news {
            self.heard.insert(partition, now_ms);
        } else if let Some(obstacle) = self.reader.obstacle(partition) {
            self.obstacles.insert(partition, obstacle);
        }
    }
}

mod damage;
#[cfg(test)]
mod tests;

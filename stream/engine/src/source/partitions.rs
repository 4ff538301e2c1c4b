//! The partitions of one worker: reads them, decides about each record, and keeps what came of it until its pane closes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use record_log::{LogError, LogTimeType, Offset, Reader, Record};
use timely::scheduling::activate::SyncActivator;

use crate::aggregate::{Aggregate, Key};
use crate::cut::{Anchor, Crossing, Intake, Reading, Verdict};
use crate::flow::{Aside, ClosedPane, Entry, Reason};
use crate::job::{Admission, Decode, Rejected};
use crate::metrics::Batch;
use crate::pane::{EventTimeMs, Windows};
use crate::seen::EventId;
use crate::source::fold::Fold;
use crate::units::instant;
use crate::watermark::Claim;

/// How many records are read from a partition before the next one has its turn: more than a reader holds ready.
const BATCH_RECORDS: usize = 32_768;

/// How old the date of an end may be for its partition to be at its end.
const END_LIMIT_MS: u64 = 5_000;

/// What decides about reading.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The job's windows.
    pub windows: Windows,
    /// The topic may lose single records (compaction), the anchors too.
    pub may_lose_anchors: bool,
    /// How many panes a worker may have that hold something and are not committed.
    pub max_open_panes: usize,
}

/// The partitions of one worker.
pub struct Partitions<K, A> {
    intake: Intake,
    reader: Box<dyn Reader>,
    decode: Decode<K, A>,
    limits: Limits,
    /// Where reading ends, if the job is to end.
    ends: Option<BTreeMap<u32, Offset>>,
    open: Open<K, A>,
    /// Panes that were sent, and are not known to be committed.
    sent: BTreeSet<EventTimeMs>,
    /// A partition that is another one than that of the checkpoint.
    foreign: Option<u32>,
    /// When each partition was last heard of: a record, the confirmation of its end, or that it was not to be read.
    heard: BTreeMap<u32, u64>,
    /// Who set the times of the records that were read; producers, if they set some.
    log_time_type: Option<LogTimeType>,
}

/// How far a partition has been read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset to be read next.
    pub next_offset: Offset,
    /// The time of its newest event.
    pub newest_event_ms: Option<EventTimeMs>,
    /// When it was last heard of.
    pub heard_at_ms: Option<u64>,
    /// The date of its last confirmed end.
    pub end_as_of_ms: Option<u64>,
}

/// The moment of a poll.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Results before it are committed.
    pub committed: EventTimeMs,
    /// As of when all partitions of the job were at their ends; 0 if one is not.
    pub all_at_end_ms: u64,
    /// The clock.
    pub now_ms: u64,
}

/// What has been read and not sent.
struct Open<K, A> {
    fold: Fold<K, A>,
    asides: BTreeMap<EventTimeMs, Vec<Aside>>,
    /// The boundary by which every window that holds something ends.
    windows_end: EventTimeMs,
}

/// What leaves a source at one pane.
pub struct Leaving<K, A> {
    /// The pane.
    pub arrival: EventTimeMs,
    /// What is counted, each key of a pane once.
    pub entries: Vec<Entry<K, A>>,
    /// What is not.
    pub asides: Vec<Aside>,
}

impl<K, A> From<ClosedPane<K, A>> for Leaving<K, A> {
    fn from(
        ClosedPane {
            arrival,
            entries,
            asides,
        }: ClosedPane<K, A>,
    ) -> Self {
        Self {
            arrival,
            entries,
            asides,
        }
    }
}

impl<K: Key, A: Aggregate> Partitions<K, A> {
    /// Partitions that `reader` reads from where `intake` says, up to `ends` if given.
    pub fn new(
        intake: Intake,
        reader: Box<dyn Reader>,
        decode: Decode<K, A>,
        limits: Limits,
        ends: Option<BTreeMap<u32, Offset>>,
    ) -> Self {
        let open = Open {
            fold: Fold::default(),
            asides: BTreeMap::new(),
            windows_end: intake.capability(),
        };

        Self {
            intake,
            reader,
            decode,
            limits,
            ends,
            open,
            sent: BTreeSet::new(),
            foreign: None,
            heard: BTreeMap::new(),
            log_time_type: None,
        }
    }

    /// Has the operator behind `activator` scheduled when there may be something to read.
    pub fn wake_by(&mut self, activator: SyncActivator) {
        self.reader.on_readable(Arc::new(move || {
            // A worker that is gone reads no more.
            let _ = activator.activate();
        }));
    }

    /// Windows of what a checkpoint holds end by `boundary`.
    pub fn expect_windows_until(&mut self, boundary: EventTimeMs) {
        self.open.windows_end = self.open.windows_end.max(boundary);
    }

    /// The boundary that nothing sent from now on may travel before.
    pub fn capability(&self) -> EventTimeMs {
        self.intake.capability()
    }

    fn ids(&self) -> Vec<u32> {
        self.intake.positions().map(|(id, _)| id).collect()
    }

    /// How far each partition has been read.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        self.intake.positions().map(|(partition, next_offset)| {
            let newest = self.intake.newest(partition);
            Position {
                partition,
                next_offset,
                newest_event_ms: newest.map(|newest| newest.event_ms),
                heard_at_ms: self.heard.get(&partition).copied(),
                end_as_of_ms: self.intake.end_as_of_ms(partition),
            }
        })
    }

    /// What the partitions that are still read claim together.
    pub fn claim(&self) -> Claim {
        self.intake.claim(|partition| !self.has_ended(partition))
    }

    /// When everything that was to be read has been, the boundary by which all windows end.
    pub fn finished(&self) -> Option<EventTimeMs> {
        let is_finished =
            self.ends.is_some() && self.intake.positions().all(|(id, _)| self.has_ended(id));
        is_finished.then_some(self.open.windows_end.max(self.intake.capability()))
    }

    /// How many keys are kept in open panes.
    pub fn open_entries(&self) -> usize {
        self.open.fold.entries()
    }

    /// Who set the times of the records that were read, once some were.
    pub fn log_time_type(&self) -> Option<LogTimeType> {
        self.log_time_type
    }

    /// Reads a batch from each partition that may be read, and returns what it came to. A partition that fails keeps the
    /// others from nothing.
    ///
    /// # Errors
    /// As [`Reader::poll`], the first one; what was read beside it is kept.
    pub fn poll(&mut self, moment: Moment) -> Result<Batch, (Batch, LogError)> {
        self.sent = self.sent.split_off(&moment.committed);
        let last_allowed = self.last_allowed_pane();
        let mut total = Batch::default();
        let mut first_error = None;

        for id in self.ids() {
            if self.has_ended(id) || !self.may_be_read(id, last_allowed, moment) {
                self.heard.insert(id, moment.now_ms);
                continue;
            }
            match self.poll_partition(id, moment.now_ms) {
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

    /// Takes the capability to the last boundary at or before `time`: the crossing, and what leaves with it.
    pub fn advance(&mut self, time: EventTimeMs) -> Option<(Crossing, Vec<Leaving<K, A>>)> {
        let crossing = self.intake.advance(time)?;
        let leaving = self.open.take_before(crossing.to);
        self.sent.extend(leaving.iter().map(|pane| pane.arrival));
        Some((crossing, leaving))
    }

    /// The last pane of which more may be read while so many hold something that is not committed.
    fn last_allowed_pane(&self) -> Option<EventTimeMs> {
        let mut open = self.sent.clone();
        open.extend(self.open.fold.arrivals());
        open.iter().nth(self.limits.max_open_panes - 1).copied()
    }

    /// A partition that was found to be another one than that of the checkpoint.
    pub fn foreign(&self) -> Option<u32> {
        self.foreign
    }

    fn may_be_read(
        &self,
        partition: u32,
        last_allowed: Option<EventTimeMs>,
        moment: Moment,
    ) -> bool {
        // At the ends of all partitions records come as fast as they are produced, and event time waits only for a lag.
        let oldest_end_ms = moment.now_ms.saturating_sub(END_LIMIT_MS);
        let own_end_ms = self.intake.end_as_of_ms(partition).unwrap_or(0);
        let is_live = own_end_ms.min(moment.all_at_end_ms) >= oldest_end_ms;

        if is_live || self.intake.is_awaited(partition) {
            return true;
        }

        let (Some(last), Some(newest)) = (last_allowed, self.intake.newest(partition)) else {
            return true;
        };

        newest.event_ms < last + self.limits.windows.pane_ms()
    }

    fn has_ended(&self, partition: u32) -> bool {
        self.ends.as_ref().is_some_and(|ends| {
            ends.get(&partition)
                .is_some_and(|end| self.intake.next_offset(partition) >= *end)
        })
    }

    fn poll_partition(&mut self, partition: u32, now_ms: u64) -> Result<Batch, LogError> {
        let end = self
            .ends
            .as_ref()
            .and_then(|ends| ends.get(&partition))
            .copied()
            .unwrap_or(Offset::MAX);

        let mut batch = Batch::default();
        let mut last = None;
        let mut is_foreign = false;
        let mut log_time_type = self.log_time_type;
        let intake = &mut self.intake;
        let open = &mut self.open;
        let decode = &self.decode;
        let limits = &self.limits;

        let polled = self.reader.poll(partition, BATCH_RECORDS, &mut |record| {
            if record.offset < end {
                let reading = Reading {
                    partition,
                    offset: record.offset,
                    appended_ms: (record.log_time_type == LogTimeType::Append)
                        .then_some(record.log_time_ms),
                    now_ms,
                };
                intake.read(&reading);
                if log_time_type != Some(LogTimeType::Create) {
                    log_time_type = Some(record.log_time_type);
                }

                let anchor = Anchor {
                    offset: record.offset,
                    log_time_ms: record.log_time_ms,
                };
                is_foreign |= !intake.recognizes(partition, anchor);
                last = Some(anchor);

                let mut admission = RecordAdmission {
                    record: &record,
                    reading,
                    intake,
                    open,
                    limits,
                    batch: &mut batch,
                    id: None,
                    counted: None,
                };
                admission.decide(decode);
            }
        })?;

        self.log_time_type = log_time_type;
        if let Some(anchor) = last {
            self.intake.anchor(partition, anchor);
        }
        self.intake.skip_to(partition, polled.next_offset.min(end));
        is_foreign |= !self.limits.may_lose_anchors && self.intake.misses_anchor(partition);
        self.foreign = self.foreign.or(is_foreign.then_some(partition));

        let is_end_news = polled.end_as_of_ms > self.intake.end_as_of_ms(partition);
        if let Some(as_of_ms) = polled.end_as_of_ms {
            self.intake.at_end(partition, as_of_ms);
        }
        if polled.records > 0 || is_end_news {
            self.heard.insert(partition, now_ms);
        }

        Ok(batch)
    }
}

/// The decision about one record.
struct RecordAdmission<'a, 'r, K, A> {
    record: &'a Record<'r>,
    reading: Reading,
    intake: &'a mut Intake,
    open: &'a mut Open<K, A>,
    limits: &'a Limits,
    batch: &'a mut Batch,
    /// The event's id, if it has one.
    id: Option<EventId>,
    /// Where it is counted: the pane at which it travels, and the one it belongs to.
    counted: Option<(EventTimeMs, EventTimeMs)>,
}

impl<K: Key, A: Aggregate> RecordAdmission<'_, '_, K, A> {
    fn decide(&mut self, decode: &Decode<K, A>) {
        self.batch.records += 1;
        let size =
            self.record.key.map_or(0, <[u8]>::len) + self.record.value.map_or(0, <[u8]>::len);
        self.batch.bytes += size as u64;

        if let Err(Rejected(reason)) = decode(self.record, self) {
            let arrival = self
                .intake
                .admit_rejected(self.record.partition, self.record.offset);
            self.batch.rejected += u64::from(arrival.is_some());
            self.set_aside(arrival, Reason::Rejected(reason));
        }
    }

    fn set_aside(&mut self, arrival: Option<EventTimeMs>, reason: Reason) {
        if let Some(arrival) = arrival {
            self.open
                .asides
                .entry(arrival)
                .or_default()
                .push(Aside::of(self.record, reason));
            self.open.windows_end = self
                .open
                .windows_end
                .max(arrival + self.limits.windows.pane_ms());
        }
    }
}

impl<K: Key, A: Aggregate> Admission<K, A> for RecordAdmission<'_, '_, K, A> {
    fn identify(&mut self, id: EventId) {
        self.id = Some(id);
    }

    fn admit(&mut self, event_ms: EventTimeMs) -> Result<bool, Rejected> {
        if let Err(limit_ms) = self.intake.believe(&self.reading, event_ms) {
            return Err(Rejected(format!(
                "the event time lies in the future: {} is after {}, {}",
                instant(event_ms),
                instant(limit_ms),
                match self.reading.appended_ms {
                    Some(_) => "the append time and --max-future-skew",
                    None => "the reader's clock and --max-future-skew",
                }
            )));
        }

        match self.intake.admit_once(&self.reading, event_ms, self.id) {
            Verdict::Counted { arrival, pane } => {
                self.batch.corrections += u64::from(arrival != pane);
                self.counted = Some((arrival, pane));
                let end = self
                    .limits
                    .windows
                    .last_end(pane)
                    .max(arrival + self.limits.windows.pane_ms());
                self.open.windows_end = self.open.windows_end.max(end);
            }
            Verdict::TooLate { arrival } => {
                self.batch.too_late += 1;
                self.set_aside(Some(arrival), Reason::Late);
            }
            Verdict::Copy => self.batch.copies += 1,
            Verdict::SeenBefore => {}
        }

        Ok(self.counted.is_some())
    }

    fn add(&mut self, key: K, aggregate: A) {
        if let Some((arrival, pane)) = self.counted {
            self.open.fold.add(arrival, pane, key, aggregate);
        }
    }
}

impl<K: Key, A: Aggregate> Open<K, A> {
    /// Takes out, in order, what travels before `boundary`.
    fn take_before(&mut self, boundary: EventTimeMs) -> Vec<Leaving<K, A>> {
        let later = self.asides.split_off(&boundary);
        let asides = std::mem::replace(&mut self.asides, later);
        let mut leaving: Vec<Leaving<K, A>> = Vec::new();

        leaving.extend(asides.into_iter().map(|(arrival, asides)| Leaving {
            arrival,
            entries: Vec::new(),
            asides,
        }));

        let entries = self.fold.take_before(boundary).into_iter();
        leaving.extend(entries.map(|(arrival, entries)| Leaving {
            arrival,
            entries,
            asides: Vec::new(),
        }));

        leaving.sort_by_key(|pane| pane.arrival);
        leaving
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use record_log::simulated::{Call, Fault, SimulatedLog};
    use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};

    use super::*;
    use crate::aggregate::Count;
    use crate::cut::{Rules, Start};
    use crate::watermark::{Newest, Pace};

    /// A log whose records are event times, by partition; the first poll of partition 1 fails.
    fn log(times: [&[u64]; 2]) -> SimulatedLog {
        let log = SimulatedLog::new(|| 1_000_000);
        let retention = Duration::from_secs(60);
        let topic = TopicSpec {
            name: "events".to_owned(),
            partitions: 2,
            cleanup: Cleanup::Delete,
            retention,
        };
        log.ensure_topics(&[topic]).unwrap();

        let mut publisher = log.publisher("generator", Delivery::Transactional).unwrap();
        for (partition, times) in (0..).zip(times) {
            for time in times {
                let value = time.to_string();
                let partition = Some(partition);
                let value = Some(value.as_bytes());

                publisher
                    .send(NewRecord {
                        topic: "events",
                        partition,
                        key: None,
                        value,
                        headers: &[],
                    })
                    .unwrap();
            }
        }

        publisher.commit(&[]).unwrap();
        let has_failed = AtomicBool::new(false);
        log.process(move |call| {
            let fails = matches!(call, Call::Poll { partition: 1, .. })
                && !has_failed.swap(true, Ordering::SeqCst);
            if fails {
                Fault::Unavailable
            } else {
                Fault::None
            }
        })
    }

    #[test]
    fn a_partition_that_a_restart_waits_for_is_read_however_much_the_others_hold_open() {
        let log = log([&[100, 110, 120, 130, 140], &[10, 200]]);
        let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
        let newest = Some(Newest {
            event_ms: 200,
            read_at_ms: 0,
            lag_ms: None,
        });

        let starts = [
            (0, Start::default()),
            (
                1,
                Start {
                    resume: 1,
                    cut: 2,
                    newest,
                    ..Start::default()
                },
            ),
        ];

        let reader = log.reader("events", &[(0, 0), (1, 1)]).unwrap();
        let decode: Decode<u64, Count> = Arc::new(|record, admission| {
            let time = std::str::from_utf8(record.value.unwrap())
                .unwrap()
                .parse()
                .unwrap();

            if admission.admit(time)? {
                admission.add(1, Count(1));
            }

            Ok(())
        });

        let limits = Limits {
            windows,
            may_lose_anchors: false,
            max_open_panes: 2,
        };

        let rules = Rules {
            windows,
            allowed_lateness_ms: 0,
            max_future_skew_ms: 0,
            pace: Pace {
                disorder_ms: 0,
                max_clock_skew_ms: 0,
                idle_after_ms: 1_000,
            },
        };

        let moment = Moment {
            committed: 100,
            all_at_end_ms: 0,
            now_ms: 0,
        };

        let mut partitions = Partitions::new(
            Intake::new(rules, 100, starts),
            reader,
            decode,
            limits,
            None,
        );

        assert!(
            partitions.poll(moment).is_err(),
            "partition 0 has been read, partition 1 has not"
        );

        assert_eq!(
            (partitions.open_entries(), partitions.advance(140).is_some()),
            (5, false)
        );

        assert!(partitions.poll(moment).is_ok());
        assert_eq!(
            (partitions.open_entries(), partitions.advance(140).is_some()),
            (6, true)
        );
    }
}

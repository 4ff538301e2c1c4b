//! The decision about one record: it is decoded, and then counted, rejected, too late, or a copy.

use record_log::{LogTimeType, Record};

use crate::aggregate::{Aggregate, Key};
use crate::cut::{Intake, Reading, Verdict};
use crate::flow::{Reason, SideOutput};
use crate::job::{Admission, Decode, Rejected};
use crate::metrics::counts::BatchCounts;
use crate::pane::EventTimeMs;
use crate::seen::EventId;
use crate::sink::sides::SideQueue;
use crate::source::limits::Limits;
use crate::source::on_time::OnTimeRun;
use crate::source::open::Open;
use crate::units::instant;

/// The decision about one record.
pub struct RecordAdmission<'a, 'r, K, A> {
    pub record: &'a Record<'r>,
    pub reading: Reading,
    pub intake: &'a mut Intake,
    pub open: &'a mut Open<K, A>,
    pub on_time: &'a mut OnTimeRun<K, A>,
    pub sides: &'a SideQueue,
    pub limits: &'a Limits,
    pub batch: &'a mut BatchCounts,
    pub side_bytes: &'a mut usize,
    pub counted: Counted,
}

/// The decision whether a record is counted.
pub enum Counted {
    Not,
    /// The record is counted if its id and the published side outputs allow it.
    OnTime,
    /// The record is counted. The pane at which it travels, and the pane to which it belongs.
    At(EventTimeMs, EventTimeMs),
}

/// Returns the place and the times of a record that is read at `now_ms`.
#[inline]
pub fn reading_of(record: &Record<'_>, now_ms: u64) -> Reading {
    let is_appended = record.log_time_type == LogTimeType::Append;
    Reading {
        partition: record.partition,
        offset: record.offset,
        appended_ms: is_appended.then_some(record.log_time_ms),
        now_ms,
    }
}

impl<K: Key, A: Aggregate> RecordAdmission<'_, '_, K, A> {
    /// Decodes the record and decides about it.
    pub fn decide(&mut self, decode: &Decode<K, A>) {
        self.batch.records += 1;
        self.batch.bytes += self.size_bytes() as u64;

        if let Err(Rejected(reason)) = decode(self.record, self) {
            let Record {
                partition, offset, ..
            } = *self.record;
            if self.intake.admit_rejected(partition, offset) {
                self.batch.rejected += 1;
                self.publish(Reason::Rejected(reason), 0);
            }
        }
    }

    /// Decides about an event whose time is accepted, after those that were read before it. Returns whether it is counted.
    fn admit_at_once(&mut self, event_ms: EventTimeMs, id: Option<EventId>) -> bool {
        self.settle();
        match self.intake.admit_once(&self.reading, event_ms, id) {
            Verdict::Counted { arrival, pane } => {
                self.batch.corrections += u64::from(arrival != pane);
                self.counted = Counted::At(arrival, pane);
                self.open.expect(arrival, pane, self.limits);
            }
            Verdict::TooLate { horizon } => {
                self.batch.too_late += 1;
                self.publish(Reason::Late, horizon);
            }
            Verdict::Copy => self.batch.copies += 1,
            Verdict::SeenBefore => {}
        }

        matches!(self.counted, Counted::At(..))
    }

    /// Decides about the events that were read before this record.
    fn settle(&mut self) {
        let partition = self.reading.partition;
        self.open.settle(
            partition,
            self.on_time,
            self.intake,
            self.limits,
            self.batch,
        );
    }

    fn size_bytes(&self) -> usize {
        self.record.key.map_or(0, <[u8]>::len) + self.record.value.map_or(0, <[u8]>::len)
    }

    fn publish(&mut self, reason: Reason, horizon: EventTimeMs) {
        let limits = self.limits.of_input(self.record.partition).sides;
        let output = SideOutput::of(self.record, reason, limits);
        *self.side_bytes += output.size_bytes();
        self.sides.push(output, horizon);
    }
}

impl<K: Key, A: Aggregate> Admission<K, A> for RecordAdmission<'_, '_, K, A> {
    fn admit(&mut self, event_ms: EventTimeMs, id: Option<EventId>) -> Result<bool, Rejected> {
        if let Err(limit_ms) = self.intake.believe(&self.reading, event_ms) {
            return Err(in_the_future(event_ms, limit_ms, &self.reading));
        }

        if let Some(id) = id
            && let Some(pane) = self.intake.on_time(&self.reading, event_ms)
        {
            if self.on_time.is_full() {
                self.settle();
            }
            self.on_time.push(self.reading.offset, pane, id);
            self.counted = Counted::OnTime;
            return Ok(true);
        }

        Ok(self.admit_at_once(event_ms, id))
    }

    #[cold]
    fn leave_out(&mut self) {
        self.batch.left_out += 1;
    }

    fn pass(&mut self, event_ms: EventTimeMs) -> bool {
        if let Verdict::Counted { arrival, pane } = self.intake.pass(&self.reading, event_ms) {
            self.counted = Counted::At(arrival, pane);
            let end = arrival + self.limits.windows.pane_ms();
            self.open.windows_end = self.open.windows_end.max(end);
            self.open.passed_bytes += self.size_bytes();
        }
        matches!(self.counted, Counted::At(..))
    }

    fn add(&mut self, key: K, aggregate: A) {
        match self.counted {
            Counted::Not => {}
            Counted::OnTime => self.on_time.add(key, aggregate),
            Counted::At(arrival, pane) => self.open.fold.add(arrival, pane, key, aggregate),
        }
    }
}

#[cold]
fn in_the_future(event_ms: EventTimeMs, limit_ms: EventTimeMs, reading: &Reading) -> Rejected {
    Rejected::because(format_args!(
        "the event time lies in the future: {} is after {}, {}",
        instant(event_ms),
        instant(limit_ms),
        match reading.appended_ms {
            Some(_) => "the append time and --max-future-skew",
            None => "the reader's clock and --max-future-skew",
        }
    ))
}

//! A partition as its leader keeps it: its batches, the state of their producers, and its transactions.
//!
//! The rules are those of Kafka (`ProducerStateManager`, `ProducerAppendInfo`): an older epoch is refused, sequences have
//! no gaps, and the last five batches of a producer are remembered, so that a repeated batch is not appended again.

use std::collections::{BTreeMap, VecDeque};

use crate::native::api::Code;
use crate::native::batch::Next;

/// The number of batches of a producer that are remembered.
const REMEMBERED: usize = 5;
const NO_SEQUENCE: i32 = -1;
/// The places of fields in a batch.
const LEADER_EPOCH_AT: usize = 12;
const PRODUCER_AT: usize = 43;
const ATTRIBUTES: [u8; 2] = 0x30_i16.to_be_bytes();

/// The end of a transaction, from its marker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    Commit,
    Abort,
}

/// The producer's fields of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Produced {
    pub id: i64,
    pub epoch: i16,
    pub first: i32,
    pub last: i32,
    pub is_transactional: bool,
}

/// A batch or a marker in the log.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub base: i64,
    pub next: i64,
    pub bytes: Vec<u8>,
    pub producer: Produced,
    /// The end that a marker writes; none for a batch of records.
    pub marker: Option<Ending>,
}

#[derive(Clone, Debug)]
struct Known {
    epoch: i16,
    /// The last batches in this epoch: first and last sequence, and the offset behind.
    batches: VecDeque<(i32, i32, i64)>,
    /// The first offset of the open transaction.
    open_from: Option<i64>,
}

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbortedRange {
    pub producer_id: i64,
    pub first: i64,
    pub last: i64,
}

#[derive(Default)]
pub(super) struct Partition {
    pub leader: Option<usize>,
    /// The time from which the broker acts as the leader. Clients may have its id earlier, from another broker.
    pub led_from_us: u64,
    pub epoch: i32,
    /// The previous leader and epoch.
    pub before: Option<(Option<usize>, i32)>,
    pub log: Vec<Stored>,
    /// The end of the records that the followers have.
    pub high_watermark: i64,
    pub aborted: Vec<AbortedRange>,
    known: BTreeMap<i64, Known>,
}

/// Reads the producer's fields of the only batch in `bytes`.
pub(super) fn produced(bytes: &[u8]) -> Result<Produced, Code> {
    let Next::Whole(batch, length) = Next::read(bytes) else {
        return Err(Code::CORRUPT_MESSAGE);
    };
    if length != bytes.len() || batch.check().is_err() {
        return Err(Code::CORRUPT_MESSAGE);
    }

    let field = |from: usize| &bytes[from..];
    let id = i64::from_be_bytes(*field(PRODUCER_AT).first_chunk().unwrap());
    let epoch = i16::from_be_bytes(*field(PRODUCER_AT + 8).first_chunk().unwrap());
    let first = i32::from_be_bytes(*field(PRODUCER_AT + 10).first_chunk().unwrap());
    Ok(Produced {
        id,
        epoch,
        first,
        last: first.wrapping_add(batch.header.last_offset_delta) & i32::MAX,
        is_transactional: batch.header.is_transactional(),
    })
}

impl Partition {
    pub fn led_by(node: usize) -> Self {
        Self {
            leader: Some(node),
            ..Self::default()
        }
    }

    pub fn end(&self) -> i64 {
        self.log.last().map_or(0, |stored| stored.next)
    }

    /// Returns the end of the records that readers of committed records see.
    pub fn stable_end(&self) -> i64 {
        let open = self.known.values().filter_map(|known| known.open_from);
        open.min()
            .map_or(self.high_watermark, |open| open.min(self.high_watermark))
    }

    /// Returns `true` if a transaction of the producer is open here, in this epoch.
    pub fn has_open(&self, producer: Produced) -> bool {
        let known = self.known.get(&producer.id);
        known.is_some_and(|known| known.epoch == producer.epoch && known.open_from.is_some())
    }

    /// Appends a batch, unless it is already there. Returns the end behind it.
    pub fn append(&mut self, bytes: &[u8], producer: Produced) -> Result<i64, Code> {
        if let Some(end) = self.remembered(producer) {
            return Ok(end);
        }
        self.check(producer)?;

        let base = self.end();
        let mut bytes = bytes.to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&self.epoch.to_be_bytes());
        let Next::Whole(batch, _) = Next::read(&bytes) else {
            return Err(Code::CORRUPT_MESSAGE);
        };
        let next = batch.header.next_offset();
        self.store(Stored {
            base,
            next,
            bytes,
            producer,
            marker: None,
        });
        Ok(next)
    }

    /// Returns the end of a batch that is already there.
    fn remembered(&self, producer: Produced) -> Option<i64> {
        let known = self.known.get(&producer.id)?;
        let is_it =
            |batch: &&(i32, i32, i64)| (batch.0, batch.1) == (producer.first, producer.last);
        let found = known.batches.iter().find(is_it);
        found
            .filter(|_| known.epoch == producer.epoch)
            .map(|batch| batch.2)
    }

    fn check(&self, producer: Produced) -> Result<(), Code> {
        let Some(known) = self.known.get(&producer.id) else {
            return Ok(());
        };
        if producer.epoch < known.epoch {
            return Err(Code::INVALID_PRODUCER_EPOCH);
        }

        let last = known.batches.back().map_or(NO_SEQUENCE, |batch| batch.1);
        let is_next = match producer.epoch == known.epoch {
            true => producer.first == last.wrapping_add(1) & i32::MAX,
            false => producer.first == 0,
        };
        match is_next {
            true => Ok(()),
            false => Err(Code::OUT_OF_ORDER_SEQUENCE_NUMBER),
        }
    }

    /// Ends the producer's transaction. The followers have the marker, and so all records before it.
    pub fn mark(&mut self, id: i64, epoch: i16, ending: Ending, time_ms: u64) {
        if self.known.get(&id).is_some_and(|known| epoch < known.epoch) {
            return;
        }

        let base = self.end();
        let producer = Produced {
            id,
            epoch,
            first: NO_SEQUENCE,
            last: NO_SEQUENCE,
            is_transactional: true,
        };
        self.store(Stored {
            base,
            next: base + 1,
            bytes: marker(base, self.epoch, producer, ending, time_ms),
            producer,
            marker: Some(ending),
        });
        self.high_watermark = self.end();
    }

    fn store(&mut self, stored: Stored) {
        self.learn(&stored);
        self.log.push(stored);
    }

    /// Updates the state of a producer from a batch or a marker.
    fn learn(&mut self, stored: &Stored) {
        let producer = stored.producer;
        let known = self.known.entry(producer.id).or_insert_with(|| Known {
            epoch: producer.epoch,
            batches: VecDeque::new(),
            open_from: None,
        });
        if known.epoch != producer.epoch {
            known.epoch = producer.epoch;
            known.batches.clear();
        }

        let Some(ending) = stored.marker else {
            let batch = (producer.first, producer.last, stored.next);
            known.batches.push_back(batch);
            if known.batches.len() > REMEMBERED {
                known.batches.pop_front();
            }
            if producer.is_transactional {
                known.open_from.get_or_insert(stored.base);
            }
            return;
        };

        let opened = known.open_from.take();
        if let (Some(first), Ending::Abort) = (opened, ending) {
            self.aborted.push(AbortedRange {
                producer_id: producer.id,
                first,
                last: stored.base,
            });
        }
    }

    /// Moves the partition to another leader. If `is_cut`, it lacks the batches that not all followers had.
    pub fn move_to(&mut self, leader: Option<usize>, is_cut: bool) {
        self.before = Some((self.leader, self.epoch));
        self.leader = leader;
        self.epoch += 1;
        if !is_cut {
            self.high_watermark = self.end();
            return;
        }

        self.log.retain(|stored| stored.next <= self.high_watermark);
        self.known.clear();
        self.aborted.clear();
        for stored in std::mem::take(&mut self.log) {
            self.store(stored);
        }
    }
}

/// Returns the bytes of a marker: a control batch of one record.
fn marker(
    base: i64,
    leader_epoch: i32,
    producer: Produced,
    ending: Ending,
    time_ms: u64,
) -> Vec<u8> {
    use crate::native::batch::checksum;
    use crate::native::codec::Output;

    let mut record = Vec::new();
    let mut output = Output(&mut record);
    output.i8(0);
    output.signed_long(0);
    output.signed(0);
    output.signed_long(4);
    output.i16(0);
    output.i16(i16::from(ending == Ending::Commit));
    output.signed_long(6);
    output.i16(0);
    output.i32(0);
    output.signed_long(0);

    let mut covered = Vec::new();
    let mut output = Output(&mut covered);
    output.raw(&ATTRIBUTES);
    output.i32(0);
    output.i64(time_ms.cast_signed());
    output.i64(time_ms.cast_signed());
    output.i64(producer.id);
    output.i16(producer.epoch);
    output.i32(-1);
    output.i32(1);
    output.signed_long(record.len() as i64);
    output.raw(&record);

    let mut bytes = Vec::new();
    let mut output = Output(&mut bytes);
    output.i64(base);
    output.i32(i32::try_from(4 + 1 + 4 + covered.len()).unwrap());
    output.i32(leader_epoch);
    output.i8(2);
    output.u32(checksum(&covered));
    output.raw(&covered);
    bytes
}

//! A walk over the batches of a fetched partition, as a reader of committed records sees them.
//!
//! A broker sends the records below the last stable offset, aborted ones included, with a list of the aborted
//! transactions: for each the producer and its first offset. From that offset on the producer's records are left out,
//! up to the marker that aborted them. Markers are control batches and are never handed over.

use super::compression::{self, Unpacked, unpack};
use super::records::{Place, RawRecord, Records};
use super::{Batch, BatchError, Next, length_of_next};
use crate::native::codec::{Input, Malformed};

/// An aborted transaction that fetched batches overlap with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// A walk over the fetched bytes of one partition. It can be interrupted at any record and continued.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The offset to be handed over next.
    pub next_offset: i64,
    /// The leader's epoch of the batch read last; -1 if none was read.
    pub leader_epoch: i32,
    at_byte: usize,
    /// The place of the walk within the batch at `at_byte`.
    within: Option<Place>,
    /// Transactions whose first offset was not reached yet, the next one last.
    aborted: Vec<Aborted>,
    /// Producers whose records are being left out.
    aborting: Vec<i64>,
}

/// Memory for one unpacked batch, and the identity of the batch in it: its walk and its byte.
#[derive(Default)]
pub(crate) struct Scratch {
    unpacked: Unpacked,
    holds: Option<(u64, usize)>,
}

/// The error for a batch that cannot be read; the reading of its partition stops there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the batch at offset {offset} cannot be read: {source}")]
pub(crate) struct Unreadable {
    pub offset: i64,
    pub source: BatchError,
}

/// The place of the first batch that can be read behind those that cannot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Behind {
    /// It begins at this offset.
    At(i64),
    /// The fetched bytes end before it.
    NotFetched,
    /// A length on the way to it is damaged.
    NotFound,
}

/// The bytes of a walk, and its place in them.
pub(crate) struct Fetched<'a> {
    /// A number that no other fetched bytes have.
    pub id: u64,
    pub bytes: &'a [u8],
    /// The most records to be handed over.
    pub max: usize,
}

impl Walk {
    pub fn new(next_offset: i64, leader_epoch: i32, mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self {
            next_offset,
            leader_epoch,
            at_byte: 0,
            within: None,
            aborted,
            aborting: Vec::new(),
        }
    }

    /// Returns `true` if the walk has reached the end of `bytes`.
    pub fn is_done(&self, bytes: &[u8]) -> bool {
        self.at_byte >= bytes.len()
    }

    /// Hands over at most `max` records and returns their number. Fewer than `max` mean that no further record follows.
    ///
    /// # Errors
    /// [`Unreadable`], at each call: the walk does not go beyond the batch.
    pub fn run(
        &mut self,
        fetched: &Fetched<'_>,
        scratch: &mut Scratch,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, Unreadable> {
        let mut handed = 0;
        while handed < fetched.max && self.at_byte < fetched.bytes.len() {
            match Next::read(&fetched.bytes[self.at_byte..]) {
                Next::Whole(batch, length) => {
                    let left = Fetched {
                        max: fetched.max - handed,
                        ..*fetched
                    };
                    let walked = self.batch(&batch, &left, scratch, each);
                    handed += walked.map_err(|source| self.unreadable(&batch, source))?;

                    if self.within.is_some() {
                        break;
                    }

                    self.at_byte += length;
                    self.leader_epoch = batch.header.leader_epoch;
                }
                // The whole batch is fetched next.
                Next::Cut(_) => self.at_byte = fetched.bytes.len(),
                Next::Bad(offset, source) => return Err(Unreadable { offset, source }),
            }
        }

        Ok(handed)
    }

    /// Returns the place of the first batch that can be read behind those, from the walk's place on, that cannot.
    ///
    /// The header of a batch is believed only if the checksum of the batch is right. Otherwise the next batch whose
    /// checksum is right shows where the damage ends; lengths lead from one batch to the next.
    pub fn behind_unreadable(&self, bytes: &[u8]) -> Behind {
        let mut rest = &bytes[self.at_byte..];
        if let Next::Whole(batch, _) = Next::read(rest)
            && batch.check().is_ok()
        {
            return Behind::At(batch.header.next_offset());
        }

        while !rest.is_empty() {
            let Some(length) = length_of_next(rest) else {
                return Behind::NotFound;
            };
            rest = rest.get(length..).unwrap_or_default();

            if let Next::Whole(batch, _) = Next::read(rest)
                && batch.check().is_ok()
                && batch.header.base_offset > self.next_offset
            {
                return Behind::At(batch.header.base_offset);
            }
        }

        Behind::NotFetched
    }

    fn unreadable(&self, batch: &Batch<'_>, source: BatchError) -> Unreadable {
        Unreadable {
            offset: batch.header.base_offset.max(self.next_offset),
            source,
        }
    }

    fn batch(
        &mut self,
        batch: &Batch<'_>,
        fetched: &Fetched<'_>,
        scratch: &mut Scratch,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, BatchError> {
        let header = batch.header;
        if self.within.is_none() {
            batch.check()?;
        }

        if header.is_control() {
            self.marker(batch)?;
        } else {
            self.begin_aborted(header.next_offset());
            let is_aborted =
                header.is_transactional() && self.aborting.contains(&header.producer_id);

            // A batch that was left between two records is continued, even if its header gives a smaller last offset.
            let is_ahead = self.within.is_some() || header.next_offset() > self.next_offset;
            if !is_aborted && is_ahead {
                return self.records(batch, fetched, scratch, each);
            }
        }

        self.next_offset = self.next_offset.max(header.next_offset());
        Ok(0)
    }

    fn records(
        &mut self,
        batch: &Batch<'_>,
        fetched: &Fetched<'_>,
        scratch: &mut Scratch,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<usize, BatchError> {
        let plain = scratch.plain(batch, (fetched.id, self.at_byte))?;
        let place = self.within.take().unwrap_or_default();
        let mut records = Records::resume(batch.header, plain, place)?;
        let mut handed = 0;

        while let Some(record) = records.next()? {
            // A fetch from an offset within a batch returns the whole batch.
            if record.offset >= self.next_offset {
                each(record);
                handed += 1;
                self.next_offset = record.offset + 1;
            }
            if handed == fetched.max && !records.is_at_last() {
                self.within = Some(records.place());
                return Ok(handed);
            }
        }

        self.next_offset = self.next_offset.max(batch.header.next_offset());
        Ok(handed)
    }

    /// Leaves out the records of the transactions that begin before `offset`.
    fn begin_aborted(&mut self, offset: i64) {
        while let Some(transaction) = self.aborted.last()
            && transaction.first_offset < offset
        {
            self.aborting.push(transaction.producer_id);
            self.aborted.pop();
        }
    }

    /// Ends the transaction of the marker's producer.
    fn marker(&mut self, batch: &Batch<'_>) -> Result<(), BatchError> {
        self.begin_aborted(batch.header.next_offset());
        let mut records = Records::resume(batch.header, batch.payload(), Place::default())?;
        while let Some(record) = records.next()? {
            let mut key = Input::new(record.key.ok_or(Malformed("a marker has no key"))?);
            key.i16()?;
            // 0 aborts and 1 commits; other control records are not about transactions.
            if key.i16()? == 0 {
                self.aborting.retain(|id| *id != batch.header.producer_id);
            }
        }

        Ok(())
    }
}

impl Scratch {
    /// Returns the records of the batch, unpacked.
    fn plain<'a>(
        &'a mut self,
        batch: &Batch<'a>,
        which: (u64, usize),
    ) -> Result<&'a [u8], BatchError> {
        let codec = batch.header.compression();
        if codec == compression::NONE {
            return Ok(batch.payload());
        }

        if self.holds != Some(which) {
            self.holds = None;
            unpack(codec, batch.payload(), &mut self.unpacked)?;
            self.holds = Some(which);
        }

        Ok(self.unpacked.bytes())
    }
}

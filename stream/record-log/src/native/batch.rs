//! Record batches of format 2, as the log, answers to Fetch and Produce requests contain them.
//!
//! ```text
//! base offset i64 │ length i32 │ leader epoch i32 │ magic i8 = 2 │ CRC-32C u32 │      the rest is under the checksum
//! attributes i16 │ last offset delta i32 │ base time i64 │ max time i64 │ producer id i64, epoch i16, sequence i32 │
//! number of records i32 │ records (compressed all together, if at all)
//! ```
//!
//! [`Header`] reads the bytes before the records; `records` walks them in place; `compression` unpacks them; `build`
//! writes batches; `walk` goes over all batches of a fetched partition and leaves out aborted records.
//!
//! Invariants: no byte sequence makes the decoders panic, loop without end, or allocate more than
//! [`UNPACKED_LIMIT`]; a batch that cannot be read is an error that names its offset. It is skipped only when the reader's
//! caller sets it aside.

pub(super) mod build;
pub(super) mod compression;
pub(super) mod lz4;
pub(super) mod records;
pub(super) mod walk;

use crc_fast::CrcAlgorithm::Crc32Iscsi;

use super::codec::{Input, Malformed};
use crate::LogTimeType;

/// The number of bytes before the records of a batch.
pub(super) const HEADER_BYTES: usize = 61;
/// The place of the batch's length, and the number of bytes before those that it counts.
const LENGTH_AT: usize = 8;
const PREFIX_BYTES: usize = 12;
/// The place of the checksum, and the place where the bytes that it covers begin.
const CRC_AT: usize = 17;
const COVERED_FROM: usize = 21;
/// The largest unpacked size of a batch. Brokers accept 1 MiB by default.
pub(super) const UNPACKED_LIMIT: usize = 256 << 20;

/// The largest batch that is read.
pub(super) const BATCH_LIMIT: usize = 64 << 20;

const COMPRESSION_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// The fields before the records of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_time_ms: i64,
    pub max_time_ms: i64,
    pub producer_id: i64,
    pub records: i32,
}

/// The reason why a batch cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum BatchError {
    #[error(
        "its message format is {0}, which is older than Kafka 0.11; let its producer write format 2"
    )]
    OldFormat(i8),
    #[error("its checksum is {expected:08x}, but its bytes have {computed:08x}")]
    Checksum { expected: u32, computed: u32 },
    #[error("it is malformed: {0}")]
    Malformed(#[from] Malformed),
    #[error("it cannot be unpacked: {0}")]
    Packed(String),
}

/// A batch in fetched bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub header: Header,
    /// The whole batch.
    bytes: &'a [u8],
}

/// The result of reading the batch at the beginning of some bytes.
#[derive(Clone, Debug)]
pub(super) enum Next<'a> {
    /// A whole batch, and its length.
    Whole(Batch<'a>, usize),
    /// A batch whose end was not fetched, with its whole length in bytes; none if not even its length was fetched.
    Cut(Option<usize>),
    /// A batch at this offset that cannot be read.
    Bad(i64, BatchError),
}

impl Next<'_> {
    /// Reads the batch at the beginning of `bytes`. Its checksum is not compared.
    pub fn read(bytes: &[u8]) -> Next<'_> {
        let mut input = Input::new(bytes);
        let (Ok(base_offset), Ok(length)) = (input.i64(), input.i32()) else {
            return Next::Cut(None);
        };

        // The magic byte has the same place in all formats.
        if let Some(magic @ ..2) = bytes.get(CRC_AT - 1).map(|byte| byte.cast_signed()) {
            return Next::Bad(base_offset, BatchError::OldFormat(magic));
        }

        let whole = usize::try_from(length).map(|length| length + PREFIX_BYTES);
        match whole {
            Ok(whole) if whole < HEADER_BYTES => {
                malformed(base_offset, "it is shorter than its header")
            }
            Err(_) => malformed(base_offset, "its length is negative"),
            Ok(whole) if whole > BATCH_LIMIT => malformed(base_offset, "it is longer than 64 MiB"),
            Ok(whole) => match bytes.get(..whole) {
                None => Next::Cut(Some(whole)),
                Some(bytes) => match Header::read(bytes) {
                    Ok(header) => Next::Whole(Batch { header, bytes }, whole),
                    Err(error) => Next::Bad(base_offset, error),
                },
            },
        }
    }
}

/// Returns the length of the batch at the beginning of `bytes`, of any format; none if no batch has that length.
fn length_of_next(bytes: &[u8]) -> Option<usize> {
    let Some(length) = bytes.get(LENGTH_AT..PREFIX_BYTES) else {
        return Some(bytes.len());
    };
    let length = i32::from_be_bytes(length.try_into().ok()?);
    let whole = usize::try_from(length).ok()? + PREFIX_BYTES;
    (CRC_AT..=BATCH_LIMIT).contains(&whole).then_some(whole)
}

fn malformed(offset: i64, reason: &'static str) -> Next<'static> {
    Next::Bad(offset, BatchError::Malformed(Malformed(reason)))
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, BatchError> {
        let mut input = Input::new(bytes);
        let base_offset = input.i64()?;
        input.i32()?;

        let leader_epoch = input.i32()?;
        let magic = input.i8()?;
        if magic != 2 {
            return Err(Malformed("its message format is newer than 2").into());
        }

        let header = Self {
            base_offset,
            leader_epoch,
            crc: input.u32()?,
            attributes: input.i16()?,
            last_offset_delta: input.i32()?,
            base_time_ms: input.i64()?,
            max_time_ms: input.i64()?,
            producer_id: {
                let id = input.i64()?;
                input.take(6)?;
                id
            },
            records: input.i32()?,
        };

        let is_sound = base_offset >= 0
            && header.last_offset_delta >= 0
            && header.records >= 0
            && base_offset
                .checked_add(i64::from(header.last_offset_delta) + 1)
                .is_some();

        if is_sound {
            Ok(header)
        } else {
            Err(Malformed("an offset or the number of records is negative").into())
        }
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub fn compression(&self) -> i16 {
        self.attributes & COMPRESSION_MASK
    }

    /// Returns the clock that set the times of the batch's records: the producer's or the broker's.
    #[inline]
    pub fn time_type(&self) -> LogTimeType {
        if self.attributes & LOG_APPEND_TIME != 0 {
            LogTimeType::Append
        } else {
            LogTimeType::Create
        }
    }

    /// Returns the time at which a record of the batch was appended or produced; the topic decides which.
    #[inline]
    pub fn time_ms(&self, delta_ms: i64) -> i64 {
        match self.time_type() {
            LogTimeType::Append => self.max_time_ms,
            LogTimeType::Create => self.base_time_ms.saturating_add(delta_ms),
        }
    }
}

impl<'a> Batch<'a> {
    /// Compares the checksum, which covers all bytes that follow it.
    pub fn check(&self) -> Result<(), BatchError> {
        let computed = checksum(&self.bytes[COVERED_FROM..]);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Checksum {
                expected: self.header.crc,
                computed,
            })
        }
    }

    /// Returns the records as they were sent, compressed or not.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }
}

/// CRC-32C (Castagnoli), by the processor's instructions where it has them.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests;

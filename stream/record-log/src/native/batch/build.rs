//! Building a batch: records are encoded as they are sent, and packed when the batch is sealed.

use super::lz4::Packer;
use super::{
    COVERED_FROM, CRC_AT, HEADER_BYTES, PREFIX_BYTES, TRANSACTIONAL, checksum, compression,
};
use crate::native::codec::Output;

/// Below this, packing costs more than it saves.
const PACKED_FROM: usize = 1 << 10;

/// The producer of a batch, and the batch's number within its partition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Producer {
    pub id: i64,
    pub epoch: i16,
    /// The number of the batch's first record since the epoch began, by partition.
    pub sequence: i32,
    pub is_transactional: bool,
}

/// The parts of a record to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Records of a partition that become one batch. The memory is used again for the next batch.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    plain: Vec<u8>,
    count: i32,
    base_time_ms: i64,
    max_time_ms: i64,
}

impl Builder {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn count(&self) -> i32 {
        self.count
    }

    /// Returns the time of the first record, if there is one.
    pub fn base_time_ms(&self) -> Option<i64> {
        (self.count > 0).then_some(self.base_time_ms)
    }

    /// Returns the size of the records in bytes, unpacked.
    pub fn len(&self) -> usize {
        self.plain.len()
    }

    /// Adds a record that was made at `time_ms`.
    pub fn push(&mut self, parts: &Parts<'_>, time_ms: i64) {
        if self.count == 0 {
            self.base_time_ms = time_ms;
            self.max_time_ms = time_ms;
        }

        self.max_time_ms = self.max_time_ms.max(time_ms);
        let time_delta_ms = time_ms - self.base_time_ms;
        let length = 1
            + width(time_delta_ms)
            + width(i64::from(self.count))
            + bytes_width(parts.key)
            + bytes_width(parts.value)
            + headers_width(parts.headers);

        let mut output = Output(&mut self.plain);
        output.signed_long(length as i64);
        output.i8(0);
        output.signed_long(time_delta_ms);
        output.signed(self.count);
        write_bytes(&mut output, parts.key);
        write_bytes(&mut output, parts.value);
        output.signed_long(parts.headers.len() as i64);

        for (name, value) in parts.headers {
            write_bytes(&mut output, Some(name.as_bytes()));
            write_bytes(&mut output, Some(value));
        }
        self.count += 1;
    }

    /// Drops the records.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.count = 0;
    }

    /// Appends the batch to `into`, packed by lz4 if that makes it smaller, and empties the builder.
    pub fn seal(&mut self, producer: Producer, packer: &mut Packer, into: &mut Vec<u8>) {
        let start = into.len();
        self.write_header(producer, compression::LZ4, into);
        let is_worth_it = self.plain.len() >= PACKED_FROM;

        if is_worth_it {
            packer.pack(&self.plain, into);
        }

        // Records that do not get smaller stay plain, so that no batch is larger than its records.
        if !is_worth_it || into.len() - start - HEADER_BYTES >= self.plain.len() {
            into.truncate(start);
            self.write_header(producer, compression::NONE, into);
            into.extend_from_slice(&self.plain);
        }

        sign(&mut into[start..]);
        self.clear();
    }

    fn write_header(&self, producer: Producer, packing: i16, into: &mut Vec<u8>) {
        let transactional = if producer.is_transactional {
            TRANSACTIONAL
        } else {
            0
        };

        let start = into.len();
        let mut output = Output(into);
        output.i64(0);

        // The length and the checksum are filled in when everything else is written; the broker writes the leader's
        // epoch.
        output.i32(0);
        output.i32(-1);
        output.i8(2);
        output.u32(0);
        output.i16(packing | transactional);
        output.i32(self.count - 1);
        output.i64(self.base_time_ms);
        output.i64(self.max_time_ms);
        output.i64(producer.id);
        output.i16(producer.epoch);
        output.i32(producer.sequence);
        output.i32(self.count);
        debug_assert_eq!(into.len() - start, HEADER_BYTES);
    }
}

/// Fills in the length and the checksum of a whole batch.
fn sign(batch: &mut [u8]) {
    let length = i32::try_from(batch.len() - PREFIX_BYTES).unwrap_or(i32::MAX);
    batch[8..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    let crc = checksum(&batch[COVERED_FROM..]);
    batch[CRC_AT..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
}

// It is called twice for each record.
#[inline(always)]
fn write_bytes(output: &mut Output<'_>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            output.signed_long(bytes.len() as i64);
            output.raw(bytes);
        }
        None => output.signed(-1),
    }
}

fn headers_width(headers: &[(&str, &[u8])]) -> usize {
    let each = |(name, value): &(&str, &[u8])| {
        bytes_width(Some(name.as_bytes())) + bytes_width(Some(value))
    };
    width(headers.len() as i64) + headers.iter().map(each).sum::<usize>()
}

fn bytes_width(bytes: Option<&[u8]>) -> usize {
    match bytes {
        Some(bytes) => width(bytes.len() as i64) + bytes.len(),
        None => width(-1),
    }
}

/// Returns the number of bytes that a number takes as a zigzag varint.
#[inline]
fn width(value: i64) -> usize {
    let zigzag = (value << 1 ^ value >> 63).cast_unsigned();
    match zigzag {
        // Nearly all numbers are that short.
        ..0x80 => 1,
        0x80..0x4000 => 2,
        _ => (70 - zigzag.leading_zeros() as usize) / 7,
    }
}

//! Packing and unpacking the records of a batch: gzip, snappy, lz4 and zstd.
//!
//! Snappy has two framings: raw blocks, which librdkafka and others write, and the blocks of the Java library `xerial`,
//! which begin with magic bytes of their own.

use std::io::Read;

use super::{BatchError, UNPACKED_LIMIT, lz4};
use crate::native::codec::Input;

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// The size of the magic, a version and the oldest compatible version.
const XERIAL_HEADER_BYTES: usize = 16;

/// The codes of the attributes.
pub(crate) const NONE: i16 = 0;
pub(crate) const GZIP: i16 = 1;
pub(crate) const SNAPPY: i16 = 2;
pub(crate) const LZ4: i16 = 3;
pub(crate) const ZSTD: i16 = 4;

/// Memory into which batches are unpacked, one after another. It is not cleared in between.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    memory: Vec<u8>,
    length: usize,
}

impl Unpacked {
    /// Returns the batch that was unpacked last.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }

    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }
}

/// Unpacks `packed`, and replaces the content of `into`.
pub(crate) fn unpack(codec: i16, packed: &[u8], into: &mut Unpacked) -> Result<(), BatchError> {
    unpack_within(codec, packed, into, UNPACKED_LIMIT)
}

pub(super) fn unpack_within(
    codec: i16,
    packed: &[u8],
    into: &mut Unpacked,
    limit: usize,
) -> Result<(), BatchError> {
    let Unpacked { memory, length } = into;
    *length = 0;
    if codec == LZ4
        && let Some(unpacked) = lz4::unpack(packed, memory, limit)
    {
        *length = unpacked;
        return Ok(());
    }

    memory.clear();
    let unpacked = unpack_any(codec, packed, memory, limit);
    *length = memory.len();
    unpacked
}

fn unpack_any(
    codec: i16,
    packed: &[u8],
    into: &mut Vec<u8>,
    limit: usize,
) -> Result<(), BatchError> {
    match codec {
        GZIP => read_all(flate2::read::MultiGzDecoder::new(packed), into, limit),
        SNAPPY => unpack_snappy(packed, into, limit),
        LZ4 => read_all(lz4_flex::frame::FrameDecoder::new(packed), into, limit),
        ZSTD => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|error| packed_badly(&error))?;
            read_all(decoder, into, limit)
        }
        other => Err(BatchError::Packed(format!(
            "the compression code {other} is unknown"
        ))),
    }
}

fn read_all(from: impl Read, into: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    let read = from
        .take(limit as u64 + 1)
        .read_to_end(into)
        .map_err(|error| packed_badly(&error))?;

    if read > limit {
        Err(too_large(limit))
    } else {
        Ok(())
    }
}

fn unpack_snappy(packed: &[u8], into: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    if !packed.starts_with(XERIAL_MAGIC) {
        return unpack_snappy_block(packed, into, limit);
    }

    let mut input = Input::new(packed);
    input.take(XERIAL_HEADER_BYTES)?;
    while !input.is_empty() {
        let length = usize::try_from(input.i32()?).unwrap_or(usize::MAX);
        unpack_snappy_block(input.take(length)?, into, limit)?;
    }

    Ok(())
}

fn unpack_snappy_block(block: &[u8], into: &mut Vec<u8>, limit: usize) -> Result<(), BatchError> {
    // The length is not trusted: a byte of snappy unpacks to fewer than 32.
    let claimed = snap::raw::decompress_len(block).map_err(|error| packed_badly(&error))?;
    if claimed > block.len().saturating_mul(32) {
        return Err(BatchError::Packed(format!(
            "{} bytes of snappy cannot hold {claimed}",
            block.len()
        )));
    }

    let start = into.len();
    if start + claimed > limit {
        return Err(too_large(limit));
    }

    into.resize(start + claimed, 0);
    let unpacked = snap::raw::Decoder::new()
        .decompress(block, &mut into[start..])
        .map_err(|error| packed_badly(&error))?;
    into.truncate(start + unpacked);

    Ok(())
}

fn packed_badly(error: &impl ToString) -> BatchError {
    BatchError::Packed(error.to_string())
}

fn too_large(limit: usize) -> BatchError {
    BatchError::Packed(format!("it holds more than {limit} bytes"))
}

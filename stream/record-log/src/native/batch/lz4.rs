//! lz4 frames ([format]), packed and unpacked block by block, without the copies that `lz4_flex`'s reader and writer of
//! frames make.
//!
//! ```text
//! magic 04 22 4d 18 │ flags 60: version 1, independent blocks, no checksums │ greatest block │ checksum of the two │
//! (length u32, little-endian, its highest bit set if the block is not packed │ block)… │ length 0
//! ```
//!
//! [`unpack`] reads frames of this form, which this publisher, librdkafka and Java's clients write. It declines all
//! other frames and all damaged bytes, which are then passed to `lz4_flex`'s reader of frames. So both accept the same
//! bytes. The checksums that the form leaves out are not needed, because a batch has a checksum over all of its bytes.
//!
//! [format]: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};

/// The heads of frames of this form, each with the size of the largest block.
const HEADS: [([u8; 7], usize); 4] = [
    ([0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82], 64 << 10),
    ([0x04, 0x22, 0x4d, 0x18, 0x60, 0x50, 0xfb], 256 << 10),
    ([0x04, 0x22, 0x4d, 0x18, 0x60, 0x60, 0x51], 1 << 20),
    ([0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73], 4 << 20),
];

/// The bit of a block's length that marks a block that is not packed.
const NOT_PACKED: u32 = 1 << 31;
/// The most bytes that a byte of a packed block unpacks to.
const MOST_BY_BYTE: usize = 255;
/// The size of the blocks that are written. Such blocks stay in the processor's cache, and their table has entries of
/// 16 bits.
const BLOCK_BYTES: usize = u16::MAX as usize - 1;

/// Packs frames. The memory is used again for the next frame.
pub(crate) struct Packer {
    table: CompressTable,
    block: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Self {
        Self {
            table: CompressTable::small(),
            block: vec![0; get_maximum_output_size(BLOCK_BYTES)],
        }
    }
}

impl Packer {
    /// Compresses `plain`, and appends the frame to `into`.
    pub fn pack(&mut self, plain: &[u8], into: &mut Vec<u8>) {
        into.extend_from_slice(&HEADS[0].0);
        for block in plain.chunks(BLOCK_BYTES) {
            let packed = compress_into_with_table(block, &mut self.block, &mut self.table)
                .expect("the memory holds the greatest packed block");

            if packed < block.len() {
                push_block(&self.block[..packed], 0, into);
            } else {
                push_block(block, NOT_PACKED, into);
            }
        }
        into.extend_from_slice(&0_u32.to_le_bytes());
    }
}

fn push_block(block: &[u8], flag: u32, into: &mut Vec<u8>) {
    let length = u32::try_from(block.len()).expect("blocks are small");
    into.extend_from_slice(&(length | flag).to_le_bytes());
    into.extend_from_slice(block);
}

/// Unpacks a frame of the form into the front of `into`, which grows as needed and is not emptied, and returns the
/// number of bytes. None if the frame has another form, is not whole, or holds more than `limit` bytes.
pub(super) fn unpack(frame: &[u8], into: &mut Vec<u8>, limit: usize) -> Option<usize> {
    let (head, mut rest) = frame.split_first_chunk::<7>()?;
    let (_, greatest) = HEADS.iter().find(|(known, _)| known == head)?;
    let mut unpacked = 0;

    loop {
        let (length, blocks) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length == 0 {
            return blocks.is_empty().then_some(unpacked);
        }

        let (block, others) = blocks.split_at_checked((length & !NOT_PACKED) as usize)?;
        rest = others;

        let room = block.len().saturating_mul(MOST_BY_BYTE).min(*greatest);
        if into.len() < unpacked + room {
            into.resize(unpacked + room, 0);
        }

        unpacked += if length & NOT_PACKED != 0 {
            into.get_mut(unpacked..unpacked + room)?
                .get_mut(..block.len())?
                .copy_from_slice(block);
            block.len()
        } else {
            decompress_into(block, &mut into[unpacked..unpacked + room]).ok()?
        };

        if unpacked > limit {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use lz4_flex::frame::{BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 24;

    /// Unpacks the bytes with the reader of frames.
    fn by_reader(frame: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        let read = FrameDecoder::new(frame)
            .take(LIMIT as u64 + 1)
            .read_to_end(&mut plain);
        (read.is_ok() && plain.len() <= LIMIT).then_some(plain)
    }

    fn by_blocks(frame: &[u8]) -> Option<Vec<u8>> {
        // Bytes of an earlier batch must not show.
        let mut into = vec![0xaa; 100];
        let length = unpack(frame, &mut into, LIMIT)?;
        into.truncate(length);
        Some(into)
    }

    fn text(length: usize, seed: u32) -> Vec<u8> {
        let word = |n: u32| format!("{{\"user_id\":{},", n.wrapping_mul(2_654_435_761) % 997);
        let words = (seed..).flat_map(|n| word(n).into_bytes());
        words.take(length).collect()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let bytes = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        bytes.take(length).collect()
    }

    #[test]
    fn both_readers_unpack_a_packed_frame() {
        let mut packer = Packer::default();
        for length in [0, 1, 20, 65_533, 65_534, 65_535, 65_536, 200_000, 1_000_000] {
            for plain in [text(length, 7), noise(length), vec![b'x'; length]] {
                let mut frame = b"before".to_vec();
                packer.pack(&plain, &mut frame);

                let frame = frame.strip_prefix(b"before").unwrap();
                assert!(by_reader(frame).as_ref() == Some(&plain), "{length}");
                assert!(by_blocks(frame) == Some(plain), "{length}");
            }
        }
    }

    #[test]
    fn frames_of_each_size_of_blocks_are_unpacked_by_their_blocks() {
        let sizes = [
            BlockSize::Max64KB,
            BlockSize::Max256KB,
            BlockSize::Max1MB,
            BlockSize::Max4MB,
        ];

        for size in sizes {
            let info = FrameInfo::new().block_size(size);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            let plain = [text(3_000_000, 1), noise(70_000)].concat();
            encoder.write_all(&plain).unwrap();
            let frame = encoder.finish().unwrap();
            assert!(by_blocks(&frame) == Some(plain), "{size:?}");
        }
    }

    #[test]
    fn frames_of_another_form_are_declined() {
        let infos = [
            FrameInfo::new().block_checksums(true),
            FrameInfo::new().content_checksum(true),
            FrameInfo::new().content_size(Some(5_000)),
            FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked),
        ];

        for info in infos {
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&text(5_000, 1)).unwrap();
            assert_eq!(by_blocks(&encoder.finish().unwrap()), None);
        }

        let mut frame = Vec::new();
        Packer::default().pack(&text(5_000, 1), &mut frame);
        let twice = frame.repeat(2);
        assert_eq!(by_blocks(&twice), None, "two frames");
        assert_eq!(unpack(&frame, &mut Vec::new(), 4_999), None, "the limit");
        assert_eq!(unpack(&frame, &mut Vec::new(), 5_000), Some(5_000));
    }

    #[test]
    fn a_small_frame_takes_little_memory_for_any_head() {
        let mut frame = HEADS[3].0.to_vec();
        push_block(&[0x10, b'x'], 0, &mut frame);
        frame.extend_from_slice(&[0; 4]);

        let mut into = Vec::new();
        assert_eq!(unpack(&frame, &mut into, LIMIT), Some(1));
        assert!(into.capacity() <= 2 * MOST_BY_BYTE, "{}", into.capacity());
    }

    proptest! {
        /// Bytes that are unpacked block by block give the same result as the reader of frames.
        #[test]
        fn mutated_frames_are_declined_or_unpacked_alike(
            length in 0_usize..3_000,
            seed: u32,
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<proptest::sample::Index>(),
            is_cut: bool,
        ) {
            let mut frame = Vec::new();
            Packer::default().pack(&text(length, seed), &mut frame);
            for (at, value) in flips {
                let at = at.index(frame.len());
                frame[at] ^= value;
            }
            if is_cut {
                frame.truncate(cut.index(frame.len()));
            }

            if let Some(plain) = by_blocks(&frame) {
                prop_assert_eq!(by_reader(&frame), Some(plain));
            }
        }
    }
}

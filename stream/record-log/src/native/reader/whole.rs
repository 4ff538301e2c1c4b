//! The whole batches in fetched bytes, which may end within a batch.

use super::fetch::Wanted;
use crate::native::batch::{BATCH_LIMIT, Next};

/// The least number of bytes that is requested of a partition.
pub(super) const LEAST_BYTES: i32 = 16 << 10;

/// The content of fetched bytes.
pub(super) struct Batches {
    /// The bytes up to the end of the last whole batch, or to the end of one that cannot be read.
    pub length: usize,
    pub next: i64,
    pub epoch: i32,
    pub is_bad: bool,
    /// The number of bytes to request for a whole batch.
    pub needed: i32,
}

pub(super) fn whole_batches(bytes: &[u8], asked: &Wanted) -> Batches {
    let mut batches = Batches {
        length: 0,
        next: asked.offset,
        epoch: asked.fetched_epoch,
        is_bad: false,
        needed: 0,
    };

    while batches.length < bytes.len() {
        match Next::read(&bytes[batches.length..]) {
            Next::Whole(batch, length) => {
                batches.length += length;
                batches.next = batches.next.max(batch.header.next_offset());
                batches.epoch = batch.header.leader_epoch;
            }
            Next::Cut(whole) => {
                let doubled = asked.max_bytes.saturating_mul(2);
                let whole = whole.map_or(doubled, |whole| i32::try_from(whole).unwrap_or(i32::MAX));
                let most = i32::try_from(BATCH_LIMIT).unwrap_or(i32::MAX);
                batches.needed = whole.clamp(LEAST_BYTES, most);
                break;
            }
            Next::Bad(..) => {
                batches.is_bad = true;
                batches.length = bytes.len();
            }
        }
    }

    batches
}

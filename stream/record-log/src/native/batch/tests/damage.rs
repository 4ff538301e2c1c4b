//! The end of damage: no bit that flips makes a reader pass over a batch that can be read.

use super::{PLAIN, batch};
use crate::native::batch::walk::{Behind, Fetched, Scratch, Walk};
use crate::native::batch::{CRC_AT, LENGTH_AT, PREFIX_BYTES};

/// Three batches of three records, and the place of the second one.
fn batches() -> (Vec<u8>, std::ops::Range<usize>) {
    let values: [&[u8]; 3] = [b"one", b"two", b"three"];
    let mut bytes = batch(10, PLAIN, &values);
    let from = bytes.len();
    bytes.extend(batch(13, PLAIN, &values));
    let until = bytes.len();
    bytes.extend(batch(16, PLAIN, &values));
    (bytes, from..until)
}

/// Walks until a batch cannot be read. Returns the offsets that were read, and the place behind the damage, if there is any.
fn walk(bytes: &[u8]) -> (Vec<i64>, Option<Behind>) {
    let mut walk = Walk::new(10, -1, Vec::new());
    let mut offsets = Vec::new();
    let fetched = Fetched {
        id: 1,
        bytes,
        max: usize::MAX,
    };
    let walked = walk.run(&fetched, &mut Scratch::default(), &mut |record| {
        offsets.push(record.offset);
    });
    (offsets, walked.err().map(|_| walk.behind_unreadable(bytes)))
}

#[test]
fn no_flipped_bit_makes_a_reader_pass_over_a_whole_batch() {
    let (whole, second) = batches();
    let mut found = 0;
    // No checksum covers the base offset and the leader's epoch.
    let covered = (LENGTH_AT..PREFIX_BYTES).chain(CRC_AT - 1..second.len());
    for bit in covered.flat_map(|byte| (0..8).map(move |bit| (second.start + byte, bit))) {
        let mut bytes = whole.clone();
        bytes[bit.0] ^= 1 << bit.1;

        let (offsets, behind) = walk(&bytes);
        assert_eq!(offsets, [10, 11, 12], "{bit:?}");
        match behind {
            Some(Behind::At(offset)) => assert_eq!(offset, 16, "{bit:?}"),
            // A damaged length: the batch seems to be cut off, or leads nowhere.
            None | Some(Behind::NotFetched | Behind::NotFound) => {
                let length = second.start + LENGTH_AT..second.start + PREFIX_BYTES;
                assert!(length.contains(&bit.0), "{bit:?}: {behind:?}");
            }
        }
        found += usize::from(behind == Some(Behind::At(16)));
    }
    assert!(found > 8 * (second.len() - CRC_AT - 1), "{found}");
}

#[test]
fn the_end_of_damage_is_unknown_until_the_next_batch_is_there() {
    let (mut bytes, second) = batches();
    bytes[second.end - 1] ^= 1;
    for length in second.end..bytes.len() {
        assert_eq!(walk(&bytes[..length]).1, Some(Behind::NotFetched));
    }
    assert_eq!(walk(&bytes).1, Some(Behind::At(16)));

    // Nor does a damaged batch show it.
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(walk(&bytes).1, Some(Behind::NotFetched));
}

#[test]
fn a_batch_with_a_right_checksum_shows_its_own_end() {
    // Its records are cut, but its header is whole.
    let mut bytes = batch(10, PLAIN, &[b"value"]);
    bytes[super::HEADER_BYTES] = 0xff;
    assert_eq!(walk(&super::signed(bytes)).1, Some(Behind::At(11)));
}

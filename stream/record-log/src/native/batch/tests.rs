//! Tests of record batches: what the builder writes, the reader reads; mutated batches are read or refused.

mod codecs;
mod damage;
mod reading;

use proptest::prelude::*;

use super::build::{Builder, Parts, Producer};
use super::compression::{self, Unpacked, unpack, unpack_within};
use super::lz4::Packer;
use super::walk::{Aborted, Fetched, Scratch, Unreadable, Walk};
use super::{
    BatchError, CONTROL, COVERED_FROM, CRC_AT, HEADER_BYTES, LOG_APPEND_TIME, Next, checksum,
};
use crate::{Headers, NewRecord};

type Made = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(String, Vec<u8>)>,
);

const PLAIN: Producer = Producer {
    id: -1,
    epoch: -1,
    sequence: -1,
    is_transactional: false,
};

fn transactional(id: i64) -> Producer {
    Producer {
        id,
        epoch: 0,
        sequence: 0,
        is_transactional: true,
    }
}

/// Returns a batch of the values at `offset`.
fn batch(offset: i64, producer: Producer, values: &[&[u8]]) -> Vec<u8> {
    let mut builder = Builder::default();
    for value in values {
        let parts = Parts {
            key: None,
            value: Some(value),
            headers: &[],
        };
        builder.push(&parts, 1_000);
    }

    let mut bytes = Vec::new();
    builder.seal(producer, &mut Packer::default(), &mut bytes);
    bytes[..8].copy_from_slice(&offset.to_be_bytes());

    bytes
}

fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = checksum(&bytes[COVERED_FROM..]);
    bytes[CRC_AT..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Returns all records from `from` on, `max` at a time.
fn walk_all(
    bytes: &[u8],
    from: i64,
    aborted: &[Aborted],
    max: usize,
) -> Result<(Vec<Made>, i64), Unreadable> {
    let mut walk = Walk::new(from, -1, aborted.to_vec());
    let mut scratch = Scratch::default();
    let mut made = Vec::new();
    let fetched = Fetched { id: 1, bytes, max };

    while !walk.is_done(bytes) {
        let before = (made.len(), walk.next_offset, walk.is_done(bytes));
        walk.run(&fetched, &mut scratch, &mut |record| {
            let mut headers = Vec::new();
            record
                .headers
                .for_each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));

            let key = record.key.map(<[u8]>::to_vec);
            made.push((
                record.offset,
                key,
                record.value.map(<[u8]>::to_vec),
                headers,
            ));
        })?;

        let after = (made.len(), walk.next_offset, walk.is_done(bytes));
        assert_ne!(
            before, after,
            "a run that returns no record never returns one"
        );
    }

    Ok((made, walk.next_offset))
}

/// Bytes of any length and one value each: drawing more takes longer than the test.
fn filled(most: usize) -> impl Strategy<Value = Vec<u8>> {
    (0..most, any::<u8>()).prop_map(|(length, byte)| vec![byte; length])
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![Just(None), filled(200).prop_map(Some)]
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = (0_usize..12).prop_map(|length| "é".repeat(length));
    proptest::collection::vec((name, filled(40)), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn records_come_back_as_they_were_pushed(
        records in proptest::collection::vec((field(), field(), headers()), 1..40),
        base in 0_i64..1 << 50,
        max in 1_usize..70,
    ) {
        let mut builder = Builder::default();
        for (key, value, headers) in &records {
            let headers: Vec<(&str, &[u8])> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()))
                .collect();
            let parts = Parts { key: key.as_deref(), value: value.as_deref(), headers: &headers };
            builder.push(&parts, 1_790_000_000_000);
        }
        let mut bytes = Vec::new();
        builder.seal(PLAIN, &mut Packer::default(), &mut bytes);
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        let expected: Vec<Made> = records
            .into_iter()
            .zip(base..)
            .map(|((key, value, headers), offset)| (offset, key, value, headers))
            .collect();
        let end = base + expected.len() as i64;
        prop_assert_eq!(walk_all(&bytes, base, &[], max), Ok((expected, end)));
    }

    /// The checksum is corrected after each mutation, so that the checks behind it are reached.
    #[test]
    fn mutated_batches_are_read_or_refused_and_end(
        sizes in proptest::collection::vec(0_usize..300, 1..20),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<proptest::sample::Index>(),
        is_cut: bool,
    ) {
        let made: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
        let parts: Vec<&[u8]> = made.iter().map(Vec::as_slice).collect();
        let mut bytes = batch(5, PLAIN, &parts);
        for (at, value) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()).max(1));
        }
        if bytes.len() > COVERED_FROM {
            bytes = signed(bytes);
        }
        // Of such bytes only this is certain: at most one record for each byte, and no panic.
        if let Ok((made, _)) = walk_all(&bytes, 0, &[], 3) {
            prop_assert!(made.len() <= bytes.len().max(sizes.len()));
        }
    }

    #[test]
    fn any_bytes_are_unpacked_within_the_limit_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        codec in -1_i16..8,
    ) {
        let mut into = Unpacked::default();
        if unpack_within(codec, &bytes, &mut into, 1 << 16).is_ok() {
            prop_assert!(into.bytes().len() <= 1 << 16);
        }
    }
}

/// One builder and one packer seal batch after batch, as a publisher's do: no byte of one may be left in the next.
#[test]
fn a_builder_that_is_used_again_writes_the_same_bytes() {
    let values: Vec<Vec<u8>> = (0..40_u32)
        .map(|n| match n % 3 {
            0 => vec![n as u8; 70_000],
            1 => n.to_string().into_bytes(),
            _ => noise(n, 3_000),
        })
        .collect();

    let mut builder = Builder::default();
    let mut packer = Packer::default();
    let mut bytes = Vec::new();
    let mut offset = 0;

    for values in values.chunks(7) {
        let parts: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        for value in &parts {
            let parts = Parts {
                key: None,
                value: Some(value),
                headers: &[],
            };
            builder.push(&parts, 1_000);
        }

        let start = bytes.len();
        builder.seal(transactional(7), &mut packer, &mut bytes);
        bytes[start..start + 8].copy_from_slice(&i64::to_be_bytes(offset));
        assert!(bytes[start..] == batch(offset, transactional(7), &parts)[..]);
        assert_eq!((builder.count(), builder.len()), (0, 0));
        offset += parts.len() as i64;
    }

    let (made, _) = walk_all(&bytes, 0, &[], 100).unwrap();
    assert!(
        made.into_iter()
            .map(|(_, _, value, _)| value.unwrap())
            .eq(values)
    );
}

/// A topic's limit counts the bytes of a batch as it is sent: packing must never make it larger.
#[test]
fn incompressible_records_stay_plain() {
    for length in [10, 1_000, 5_000, 200_000] {
        let value = noise(length, length as usize);
        let plain = NewRecord {
            topic: "",
            partition: None,
            key: None,
            value: Some(&value),
            headers: &[],
        };
        let bytes = batch(0, PLAIN, &[&value]);
        assert!(bytes.len() <= plain.size_bytes());

        let Next::Whole(read, _) = Next::read(&bytes) else {
            panic!("it is whole");
        };
        assert_eq!(read.header.compression(), compression::NONE);
        assert_eq!(read.check(), Ok(()));
    }

    let packable = batch(0, PLAIN, &[&[b'x'; 200_000]]);
    assert!(packable.len() < 5_000, "{}", packable.len());
}

#[test]
fn a_batch_has_the_layout_of_the_format() {
    let mut builder = Builder::default();
    let full = Parts {
        key: Some(b"42"),
        value: Some(b"value"),
        headers: &[("ce_id", b"7"), ("empty", b"")],
    };
    let tombstone = Parts {
        key: Some(b"43"),
        value: None,
        headers: &[],
    };
    builder.push(&full, 1_790_000_000_000);
    builder.push(&tombstone, 1_790_000_000_300);

    let mut bytes = Vec::new();
    let producer = Producer {
        id: 0x0102_0304,
        epoch: 5,
        sequence: 6,
        is_transactional: true,
    };
    builder.seal(producer, &mut Packer::default(), &mut bytes);

    // Written by hand from the description of the format (KIP-98), field by field.
    let covered = [
        &[0, 0b1_0000][..], // transactional, not packed
        &[0, 0, 0, 1],      // last offset delta
        &1_790_000_000_000_i64.to_be_bytes(),
        &1_790_000_000_300_i64.to_be_bytes(),
        &0x0102_0304_i64.to_be_bytes(),
        &[0, 5],
        &[0, 0, 0, 6],
        &[0, 0, 0, 2],
        &[56, 0, 0, 0, 4], // length, attributes, time, offset, key of 2
        b"42\x0avalue\x04\x0ace_id\x027\x0aempty\x00",
        &[18, 0, 0xd8, 0x04, 2, 4],
        b"43\x01\x00",
    ]
    .concat();
    let prefix = [
        &[0; 8][..],
        &i32::try_from(covered.len() + 9).unwrap().to_be_bytes(),
        &[0xff; 4],
        &[2],
        &checksum(&covered).to_be_bytes(),
    ]
    .concat();
    assert_eq!(bytes, [prefix, covered].concat());

    // The checksum of Castagnoli, from RFC 3720.
    assert_eq!(checksum(b"123456789"), 0xe306_9283);
}

/// Bytes that no codec makes smaller.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

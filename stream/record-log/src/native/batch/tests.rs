//! Tests of record batches: what the builder writes, the reader reads; mutated batches are read or refused.

use proptest::prelude::*;

use super::build::{Builder, Parts, Producer};
use super::compression::{self, Unpacked, unpack, unpack_within};
use super::lz4::Packer;
use super::walk::{Aborted, Fetched, Scratch, Unreadable, Walk};
use super::{BatchError, COVERED_FROM, CRC_AT, HEADER_BYTES, Next, checksum};
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

/// A batch of the values at `offset`.
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

/// A marker that ends the producer's transaction.
fn marker(offset: i64, producer_id: i64, kind: i16) -> Vec<u8> {
    let mut builder = Builder::default();
    let key = [[0; 2], kind.to_be_bytes()].concat();
    let parts = Parts {
        key: Some(&key),
        value: Some(&[0; 6]),
        headers: &[],
    };
    builder.push(&parts, 1_000);

    let mut bytes = Vec::new();
    builder.seal(
        transactional(producer_id),
        &mut Packer::default(),
        &mut bytes,
    );
    bytes[..8].copy_from_slice(&offset.to_be_bytes());

    with_attributes(bytes, |attributes| attributes | super::CONTROL)
}

/// The batch with other attributes and the checksum that they need.
fn with_attributes(mut bytes: Vec<u8>, change: impl Fn(i16) -> i16) -> Vec<u8> {
    let attributes = change(i16::from_be_bytes([bytes[21], bytes[22]]));
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    signed(bytes)
}

fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = checksum(&bytes[COVERED_FROM..]);
    bytes[CRC_AT..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// All records from `from` on, `max` at a time.
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
            "a run that goes nowhere goes nowhere for ever"
        );
    }

    Ok((made, walk.next_offset))
}

fn values(bytes: &[u8], from: i64, aborted: &[Aborted]) -> Vec<String> {
    let (made, _) = walk_all(bytes, from, aborted, 100).unwrap();
    made.into_iter()
        .map(|(_, _, value, _)| String::from_utf8(value.unwrap()).unwrap())
        .collect()
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

    /// The checksum is made right again, so that the checks behind it are reached.
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
        // At most one record a byte, and no panic. Nothing more is certain of such bytes.
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

/// One builder and one packer seal batch after batch, as a publisher's do: nothing of one may be left in the next.
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
fn what_packing_does_not_make_smaller_stays_plain() {
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
fn a_batch_is_laid_out_as_the_format_says() {
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

    // By hand from the description of the format (KIP-98), field by field.
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

    // The checksum of Castagnoli, as RFC 3720 has it.
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

#[test]
fn every_compression_is_unpacked() {
    let plain: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| (n / 7).to_be_bytes())
        .collect();
    let mut gzip = flate2::read::GzEncoder::new(&plain[..], flate2::Compression::fast());
    let mut gzipped = Vec::new();
    std::io::Read::read_to_end(&mut gzip, &mut gzipped).unwrap();

    let raw_snappy = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let mut xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in plain.chunks(32 << 10) {
        let packed = snap::raw::Encoder::new().compress_vec(block).unwrap();
        xerial.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        xerial.extend_from_slice(&packed);
    }

    let mut lz4 = Vec::new();
    Packer::default().pack(&plain, &mut lz4);
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();

    let packed = [
        (compression::GZIP, gzipped),
        (compression::SNAPPY, raw_snappy),
        (compression::SNAPPY, xerial),
        (compression::LZ4, lz4),
        (compression::ZSTD, zstd),
    ];

    let mut into = Unpacked::default();
    for (codec, bytes) in packed {
        unpack(codec, &bytes, &mut into).unwrap();
        assert!(into.bytes() == plain, "codec {codec}");
        let bounded = unpack_within(codec, &bytes, &mut into, plain.len() - 1);

        assert!(
            matches!(bounded, Err(BatchError::Packed(_))),
            "codec {codec}"
        );

        let torn = unpack(codec, &bytes[..bytes.len() / 2], &mut into);
        assert!(torn.is_err(), "codec {codec}");
    }
}

#[test]
fn snappy_that_claims_more_than_it_can_hold_is_refused() {
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let mut into = Unpacked::default();
    let refused = unpack(compression::SNAPPY, &claim, &mut into).unwrap_err();
    assert!(refused.to_string().contains("cannot hold"), "{refused}");
    assert_eq!(into.capacity(), 0);
}

#[test]
fn aborted_transactions_are_left_out_up_to_their_marker() {
    let bytes = [
        batch(0, PLAIN, &[b"plain"]),
        batch(1, transactional(7), &[b"aborted"]),
        batch(2, transactional(8), &[b"of another producer"]),
        batch(3, transactional(7), &[b"aborted too"]),
        marker(4, 7, 0),
        batch(5, transactional(7), &[b"committed later"]),
        marker(6, 8, 1),
        marker(7, 7, 1),
    ]
    .concat();

    let aborted = [Aborted {
        producer_id: 7,
        first_offset: 1,
    }];

    assert_eq!(
        values(&bytes, 0, &aborted),
        ["plain", "of another producer", "committed later"]
    );
    assert_eq!(walk_all(&bytes, 0, &aborted, 100).unwrap().1, 8);
}

#[test]
fn a_transaction_that_is_aborted_twice_is_left_out_twice() {
    let bytes = [
        batch(0, transactional(7), &[b"first"]),
        marker(1, 7, 0),
        batch(2, transactional(7), &[b"kept"]),
        marker(3, 7, 1),
        batch(4, transactional(7), &[b"second"]),
        marker(5, 7, 0),
    ]
    .concat();

    // Brokers do not promise an order.
    let aborted = [4, 0].map(|first_offset| Aborted {
        producer_id: 7,
        first_offset,
    });
    assert_eq!(values(&bytes, 0, &aborted), ["kept"]);
}

#[test]
fn records_below_the_position_are_passed_over() {
    let bytes = batch(10, PLAIN, &[b"a", b"b", b"c"]);
    assert_eq!(values(&bytes, 11, &[]), ["b", "c"]);
    assert_eq!(walk_all(&bytes, 13, &[], 100).unwrap(), (Vec::new(), 13));
}

#[test]
fn compacted_gaps_move_the_position_on() {
    // Of a batch of five, compaction kept none but the header.
    let mut emptied = batch(10, PLAIN, &[b"a", b"b", b"c", b"d", b"e"]);
    emptied.truncate(HEADER_BYTES);
    emptied[8..12].copy_from_slice(&(HEADER_BYTES as i32 - 12).to_be_bytes());
    emptied[57..61].copy_from_slice(&0_i32.to_be_bytes());

    let bytes = [signed(emptied), batch(20, PLAIN, &[b"f"])].concat();
    assert_eq!(values(&bytes, 10, &[]), ["f"]);
    let emptied_alone = &bytes[..HEADER_BYTES];
    assert_eq!(walk_all(emptied_alone, 10, &[], 1).unwrap().1, 15);
}

#[test]
fn a_batch_with_a_record_behind_its_last_offset_stops_the_walk() {
    let mut bytes = batch(0, PLAIN, &[b"a", b"b", b"c"]);
    // The header gives the second record's offset delta as the last, and the walk is left there.
    bytes[23..27].copy_from_slice(&1_i32.to_be_bytes());
    let stopped = walk_all(&signed(bytes), 0, &[], 2).unwrap_err();
    assert!(stopped.to_string().contains("out of order"), "{stopped}");
}

#[test]
fn old_formats_are_refused_by_name_and_offset() {
    for magic in [0, 1] {
        let mut bytes = batch(42, PLAIN, &[b"a"]);
        bytes[16] = magic;
        let refused = walk_all(&bytes, 0, &[], 1).unwrap_err();
        assert_eq!(refused.offset, 42);
        assert_eq!(refused.source, BatchError::OldFormat(magic.cast_signed()));
    }
}

#[test]
fn a_wrong_checksum_stops_at_its_batch_each_time() {
    let mut damaged = batch(1, PLAIN, &[b"b"]);
    let last = damaged.len() - 2;
    damaged[last] ^= 1;

    let bytes = [batch(0, PLAIN, &[b"a"]), damaged, batch(2, PLAIN, &[b"c"])].concat();
    let mut walk = Walk::new(0, -1, Vec::new());
    let fetched = Fetched {
        id: 1,
        bytes: &bytes,
        max: 10,
    };

    for _ in 0..3 {
        let stopped = walk
            .run(&fetched, &mut Scratch::default(), &mut |record| {
                assert_eq!(record.offset, 0);
            })
            .unwrap_err();
        assert_eq!(stopped.offset, 1);
        assert!(matches!(stopped.source, BatchError::Checksum { .. }));
    }
}

#[test]
fn a_batch_whose_end_was_not_fetched_says_how_long_it_is() {
    let bytes = batch(0, PLAIN, &[b"a", b"b"]);
    let cut = Next::read(&bytes[..bytes.len() - 1]);
    assert!(matches!(cut, Next::Cut(Some(whole)) if whole == bytes.len()));
    assert!(matches!(Next::read(&bytes[..11]), Next::Cut(None)));
    assert!(matches!(Next::read(&[]), Next::Cut(None)));
}

#[test]
fn times_are_the_brokers_where_the_topic_says_so() {
    let read = |bytes: &[u8]| {
        let mut time = 0;
        Walk::new(0, -1, Vec::new())
            .run(
                &Fetched {
                    id: 1,
                    bytes,
                    max: 9,
                },
                &mut Scratch::default(),
                &mut |record| {
                    time = record.time_ms;
                },
            )
            .unwrap();

        time
    };

    let produced = batch(0, PLAIN, &[b"a"]);
    assert_eq!(read(&produced), 1_000);
    let mut appended = with_attributes(produced, |attributes| attributes | super::LOG_APPEND_TIME);
    appended[35..43].copy_from_slice(&2_000_i64.to_be_bytes());

    assert_eq!(read(&signed(appended)), 2_000);
}

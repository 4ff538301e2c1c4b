//! Tests of reading fetched batches: the records that a walk returns, and the batches at which it stops.

use super::*;

fn values(bytes: &[u8], from: i64, aborted: &[Aborted]) -> Vec<String> {
    let (made, _) = walk_all(bytes, from, aborted, 100).unwrap();
    made.into_iter()
        .map(|(_, _, value, _)| String::from_utf8(value.unwrap()).unwrap())
        .collect()
}

/// Returns a marker that ends the producer's transaction.
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

    with_attributes(bytes, |attributes| attributes | CONTROL)
}

/// Returns the batch with other attributes and the matching checksum.
fn with_attributes(mut bytes: Vec<u8>, change: impl Fn(i16) -> i16) -> Vec<u8> {
    let attributes = change(i16::from_be_bytes([bytes[21], bytes[22]]));
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    signed(bytes)
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

    // Brokers do not guarantee an order.
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
    // Compaction left only the header of a batch of five.
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
fn a_batch_whose_end_was_not_fetched_has_its_length() {
    let bytes = batch(0, PLAIN, &[b"a", b"b"]);
    let cut = Next::read(&bytes[..bytes.len() - 1]);
    assert!(matches!(cut, Next::Cut(Some(whole)) if whole == bytes.len()));
    assert!(matches!(Next::read(&bytes[..11]), Next::Cut(None)));
    assert!(matches!(Next::read(&[]), Next::Cut(None)));
}

#[test]
fn times_are_the_brokers_if_the_topic_is_set_so() {
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
    let mut appended = with_attributes(produced, |attributes| attributes | LOG_APPEND_TIME);
    appended[35..43].copy_from_slice(&2_000_i64.to_be_bytes());

    assert_eq!(read(&signed(appended)), 2_000);
}

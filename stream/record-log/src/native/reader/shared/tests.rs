//! Tests of the state that the threads of a reader share: waiting bytes are bounded, and so is the memory of any
//! number of partitions.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use super::plan::Plan;
use super::{Fetched, Fetching, Piecewise, Shared, Slot, State, Taken, Wanted};
use crate::native::api::Code;
use crate::native::batch::build::{Builder, Parts, Producer};
use crate::native::batch::lz4::Packer;
use crate::native::cluster::{Leader, Topic};
use crate::native::wire::Frame;
use crate::runtime::{Runtime, System};

pub const NODE: i32 = 1;
const PARTITIONS: u32 = 64;

pub fn shared(partitions: u32) -> Shared {
    with(partitions, &Fetching::default())
}

fn with(partitions: u32, fetching: &Fetching) -> Shared {
    let leader = Leader {
        node: NODE,
        epoch: 0,
    };

    let topic = Topic {
        id: [7; 16],
        leaders: vec![leader; partitions as usize],
    };

    let from: Vec<(u32, i64)> = (0..partitions).map(|partition| (partition, 0)).collect();
    let runtime: Arc<dyn Runtime> = Arc::new(System);
    let shared = Shared::new(&runtime, "topic", &topic, fetching, &from);
    for slot in &mut shared.state().slots {
        slot.leader = Some(leader);
        slot.has_confirmed_end = true;
    }

    shared
}

/// Returns a batch of one record of half a MiB that no codec makes smaller.
fn large_batch() -> Vec<u8> {
    batch(512 << 10)
}

/// Returns a batch of one record with this number of bytes, which no codec makes smaller.
pub fn batch(value_bytes: usize) -> Vec<u8> {
    let mut random = 0x2545_f491_u32;
    let value: Vec<u8> = (0..value_bytes)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            random as u8
        })
        .collect();

    let mut builder = Builder::default();
    let parts = Parts {
        key: None,
        value: Some(&value),
        headers: &[],
    };
    builder.push(&parts, 0);

    let producer = Producer {
        id: -1,
        epoch: -1,
        sequence: -1,
        is_transactional: false,
    };

    let mut bytes = Vec::new();
    builder.seal(producer, &mut Packer::default(), &mut bytes);
    bytes
}

/// Returns the part of the next request to this broker that is about the partition.
pub fn wanted(shared: &Shared, node: i32, partition: i32) -> Wanted {
    let plan = shared.state().plan(node).unwrap();
    let mut wanted = plan.wanted.into_iter();
    wanted.find(|wanted| wanted.partition == partition).unwrap()
}

/// Returns an answer for the partition. Its records are the first `records_bytes` bytes of its frame.
pub fn fetched(partition: i32, records_bytes: usize, high_watermark: i64) -> Fetched {
    Fetched {
        partition,
        code: Code::NONE,
        high_watermark,
        stable_end: high_watermark,
        aborted: Vec::new(),
        records: 0..records_bytes,
        diverged_at: None,
        follower: None,
    }
}

fn store(shared: &Shared, partition: i32, bytes: &[u8]) {
    store_before(shared, partition, bytes, 1);
}

/// Stores bytes of a partition with this end.
fn store_before(shared: &Shared, partition: i32, bytes: &[u8], end: i64) {
    let asked = wanted(shared, NODE, partition);
    let fetched = fetched(partition, bytes.len(), end);
    let frame = shared.frames.share(Frame::of(bytes));
    assert!(shared.state().store(&asked, fetched, &frame, 1));
}

#[test]
fn an_answer_for_a_position_that_was_left_is_dropped() {
    let shared = shared(1);
    let asked = wanted(&shared, NODE, 0);
    shared.fetch_from(0, 9, 0);

    let batch = batch(100);
    let frame = shared.frames.share(Frame::of(&batch));
    let late = fetched(0, batch.len(), 20);
    assert!(!shared.state().store(&asked, late, &frame, 1));
    assert!(matches!(shared.take(0), Taken::Nothing { .. }));
    assert_eq!(wanted(&shared, NODE, 0).offset, 9);
}

fn waiting_bytes(state: &State) -> usize {
    state.slots.iter().map(Slot::waiting_bytes).sum()
}

#[test]
fn waiting_bytes_are_bounded_and_dropped_ones_come_again() {
    let shared = shared(PARTITIONS);
    let batch = large_batch();
    for partition in 0..PARTITIONS.cast_signed() {
        store(&shared, partition, &batch);
        assert!(waiting_bytes(&shared.state()) <= Fetching::default().waiting_bytes);
    }

    let dropped: Vec<usize> = (0..PARTITIONS as usize)
        .filter(|slot| shared.state().slots[*slot].is_parked)
        .collect();
    assert!(dropped.len() >= 48, "{} of them fit", 64 - dropped.len());

    assert!(
        shared.state().plan(NODE).is_none(),
        "until the reader comes"
    );

    let slot = dropped[0];
    assert!(matches!(shared.take(slot), Taken::Nothing { .. }));
    let plan = shared.state().plan(NODE).unwrap();
    let [again] = &plan.wanted[..] else {
        panic!("one partition is wanted: {:?}", plan.wanted)
    };

    assert_eq!((again.partition as usize, again.offset), (slot, 0));
    store(&shared, again.partition, &batch);
    assert!(matches!(shared.take(slot), Taken::Piece(piece) if piece.next == 1));
}

#[test]
fn a_batch_that_does_not_fit_is_requested_whole() {
    let shared = shared(PARTITIONS);
    let batch = large_batch();
    store(&shared, 3, &batch[..1_000]);
    let plan = shared.state().plan(NODE).unwrap();
    assert_eq!(plan.wanted[3].offset, 0);
    assert_eq!(plan.wanted[3].max_bytes as usize, batch.len());
}

#[test]
fn a_partition_that_lags_alone_gets_whole_answers() {
    let shared = shared(PARTITIONS);
    let answer_bytes = Fetching::default().answer_bytes;
    let share = answer_bytes / PARTITIONS.cast_signed();
    let requested = |shared: &Shared| -> Vec<i32> {
        let plan = shared.state().plan(NODE).unwrap();
        plan.wanted.iter().map(|wanted| wanted.max_bytes).collect()
    };
    assert_eq!(requested(&shared), [share; PARTITIONS as usize]);

    // The others are read to their ends. Their part of the request does not change; otherwise it would be sent again
    // each time.
    for partition in (0..PARTITIONS.cast_signed()).filter(|partition| *partition != 3) {
        shared.state().confirm_end(partition, 1);
    }
    let mut expected = [share; PARTITIONS as usize];
    expected[3] = answer_bytes;
    assert_eq!(requested(&shared), expected);
}

#[test]
fn a_partition_that_is_taken_alone_gets_whole_answers() {
    let shared = shared(4);
    let mut piece = batch(200 << 10);
    let share = Fetching::default().answer_bytes / 4;
    for partition in 0..4 {
        store_before(&shared, partition, &piece, 100);
    }

    // The others have fetched bytes that the reader has not come for.
    assert!(matches!(shared.take(1), Taken::Piece(_)));
    assert_eq!(wanted(&shared, NODE, 1).max_bytes, 4 * share);

    // A whole answer of the partition waits. The next one is smaller by so much that nothing has to be dropped for it.
    piece = batch(1000 << 10);
    store_before(&shared, 1, &piece, 100);
    assert!(matches!(shared.take(2), Taken::Piece(_)));
    let beside = usize::try_from(wanted(&shared, NODE, 2).max_bytes).unwrap();
    let fit = Fetching::default().waiting_bytes - waiting_bytes(&shared.state());
    assert!((fit / 2..=fit).contains(&beside), "{beside} of {fit}");
}

#[test]
fn a_share_that_the_settings_state_stays() {
    let shared = with(
        4,
        &Fetching {
            partition_bytes: Some(70_000),
            ..Fetching::default()
        },
    );
    store_before(&shared, 0, &batch(1_000), 100);
    store_before(&shared, 1, &batch(1_000), 100);
    let plan = shared.state().plan(NODE).unwrap();
    let requested: Vec<i32> = plan.wanted.iter().map(|wanted| wanted.max_bytes).collect();
    assert_eq!(requested, [70_000; 2]);
}

/// Returns the bytes of an answer to the plan. Each of these partitions has as many whole batches as the plan and the
/// answer allow; the others have none.
fn answer(
    plan: &Plan,
    batch: &[u8],
    fetching: &Fetching,
    has_records: impl Fn(i32) -> bool,
) -> (Vec<u8>, Vec<Fetched>) {
    let mut bytes = Vec::new();
    let mut fetched = Vec::new();

    for wanted in &plan.wanted {
        let room = usize::try_from(fetching.answer_bytes).unwrap() - bytes.len();
        let most = room.min(usize::try_from(wanted.max_bytes).unwrap());
        let start = bytes.len();
        let has_records = has_records(wanted.partition);
        let batches = if has_records { most / batch.len() } else { 0 };
        for _ in 0..batches {
            bytes.extend_from_slice(batch);
        }

        let end = if has_records { i64::MAX } else { wanted.offset };
        fetched.push(Fetched {
            records: start..bytes.len(),
            ..self::fetched(wanted.partition, 0, end)
        });
    }

    (bytes, fetched)
}

/// Fetches as a fetcher does, into memory that is used again.
fn fetch(shared: &Shared, batch: &[u8], has_records: impl Fn(i32) -> bool) {
    let Some(plan) = shared.state().plan(NODE) else {
        return;
    };
    let (bytes, fetched) = answer(&plan, batch, &shared.fetching, has_records);

    let mut frame = shared.frames.take();
    let mut rest = &bytes[..];
    let mut read = |into: &mut [u8]| io::Read::read_exact(&mut rest, into);
    frame.fill(bytes.len(), &mut read).unwrap();

    let frame = shared.frames.share(frame);
    let mut state = shared.state();
    for (wanted, fetched) in plan.wanted.iter().zip(fetched) {
        state.store(wanted, fetched, &frame, 1);
    }
}

fn copied_bytes<'a>(pieces: impl Iterator<Item = &'a Piecewise>) -> usize {
    let copied = |piece: &Piecewise| match &piece.piece {
        super::Piece::Copied(bytes) => bytes.len(),
        super::Piece::Shared(..) => 0,
    };
    pieces.map(copied).sum()
}

/// The reader takes the fetched bytes of all partitions, and begins one piece that it never finishes. This is the worst
/// case, because each frame then has a piece that is kept.
fn take_all(shared: &Shared, begun: &mut HashMap<usize, Piecewise>, kept: usize) {
    let slots = shared.state().slots.len();
    for slot in 0..slots {
        if let Taken::Piece(piece) = shared.take(slot)
            && slot == kept % slots
        {
            begun.insert(slot, piece);
        }
    }
}

#[test]
fn memory_is_bounded_for_1_64_and_1000_partitions() {
    let fetching = Fetching::default();
    let answer = usize::try_from(fetching.answer_bytes).unwrap();
    let batch = batch(15 << 10);

    for partitions in [1_u32, 64, 1_000] {
        // The bound is the sum of the frames in use or kept for later, the waiting bytes, and the piece that the reader
        // has begun of each partition.
        let begun_bytes = answer.max(partitions as usize * (16 << 10));
        let bound = 4 * answer + fetching.waiting_bytes + begun_bytes;

        let shared = shared(partitions);
        let mut begun: HashMap<usize, Piecewise> = HashMap::new();
        for round in 0..90 {
            fetch(&shared, &batch, |_| true);
            // In most rounds more bytes wait before the reader takes them.
            if round % 3 > 0 {
                fetch(&shared, &batch, |_| true);
                take_all(&shared, &mut begun, round);
            }

            let state = shared.state();
            assert!(waiting_bytes(&state) <= fetching.waiting_bytes);
            let waiting = state.slots.iter().filter_map(|slot| slot.fetched.as_ref());
            let copied = copied_bytes(waiting.chain(begun.values()));
            let held = shared.frames.held_bytes() + copied;
            assert!(held <= bound, "{held} bytes of {bound} at {partitions}");
        }

        assert!(
            begun.len() >= partitions.min(60) as usize / 2,
            "{} pieces are begun",
            begun.len()
        );
    }
}

/// An answer is a little larger than its records. If its memory were not kept, the system would clear all pages of the
/// next frame.
#[test]
fn the_frame_of_a_full_answer_is_used_again() {
    for answer_bytes in [100_000, 1 << 20, 4 << 20] {
        let fetching = Fetching {
            answer_bytes,
            ..Fetching::default()
        };
        let shared = with(1, &fetching);
        let full = usize::try_from(answer_bytes).unwrap() + 500;

        let mut frame = Frame::default();
        for length in [full / 3, full - 1_000, full] {
            frame.fill(length, &mut |_| Ok(())).unwrap();
            shared.frames.give(frame);
            frame = shared.frames.take();
            assert!(frame.capacity() >= length, "{length} bytes are not kept");
        }
    }
}

/// The worst case of pieces that are larger than their partition's share: one partition after the other gets records,
/// and the reader begins a piece of each and never finishes it.
#[test]
fn memory_is_bounded_when_each_partition_lags_alone() {
    let fetching = Fetching::default();
    let answer = usize::try_from(fetching.answer_bytes).unwrap();
    let batch = batch(15 << 10);

    for partitions in [4_u32, 64, 1_000] {
        let begun_bytes = answer.max(partitions as usize * (16 << 10));
        let bound = 5 * answer + 2 * fetching.waiting_bytes + begun_bytes;

        let shared = shared(partitions);
        let mut begun: HashMap<usize, Piecewise> = HashMap::new();
        let mut largest = 0;
        for slot in 0..partitions as usize {
            for _ in 0..3 {
                fetch(&shared, &batch, |partition| partition as usize == slot);
                if let Taken::Piece(piece) = shared.take(slot) {
                    largest = largest.max(piece.piece.bytes().len());
                    begun.insert(slot, piece);
                }
            }

            let state = shared.state();
            let waiting = state.slots.iter().filter_map(|slot| slot.fetched.as_ref());
            let copied = copied_bytes(waiting.chain(begun.values()));
            let held = shared.frames.held_bytes() + copied;
            assert!(held <= bound, "{held} bytes of {bound} at {partitions}");
        }
        assert!(largest > answer / 2, "no piece was large: {largest}");
    }
}

#[test]
fn a_throttle_is_named_until_the_next_answer_or_another_leader() {
    let shared = shared(1);
    let next: [&dyn Fn(); 3] = [
        &|| {
            let asked = wanted(&shared, NODE, 0);
            let frame = shared.frames.share(Frame::of(&[]));
            shared.state().store(&asked, fetched(0, 0, 0), &frame, 1);
        },
        &|| shared.state().confirm_end(0, 1),
        &|| shared.state().slots[0].lose_leader(None),
    ];

    for answer in next {
        shared.state().throttle(0, &"a quota".into());
        assert_eq!(shared.throttled(0).as_deref(), Some("a quota"));
        answer();
        assert_eq!(shared.throttled(0), None);
    }
}

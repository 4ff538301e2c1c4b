//! Tests of the state that the threads of a reader share: waiting bytes are bounded, and so is the memory of any number
//! of
//!  partitions.

use std::collections::HashMap;
use std::io;

use super::{Fetched, Fetching, Piecewise, Shared, Slot, State, Taken, Wanted};
use crate::native::api::Code;
use crate::native::batch::build::{Builder, Parts, Producer};
use crate::native::batch::lz4::Packer;
use crate::native::cluster::{Leader, Topic};
use crate::native::wire::Frame;

pub const NODE: i32 = 1;
const PARTITIONS: u32 = 64;

pub fn shared(partitions: u32) -> Shared {
    let leader = Leader {
        node: NODE,
        epoch: 0,
    };

    let topic = Topic {
        id: [7; 16],
        leaders: vec![leader; partitions as usize],
    };

    let from: Vec<(u32, i64)> = (0..partitions).map(|partition| (partition, 0)).collect();
    let shared = Shared::new("topic", &topic, &Fetching::default(), &from);
    for slot in &mut shared.state().slots {
        slot.leader = Some(leader);
        slot.has_confirmed_end = true;
    }

    shared
}

/// A batch of one record of half a MiB that does not pack.
fn large_batch() -> Vec<u8> {
    batch(512 << 10)
}

/// A batch of one record of that many bytes, which do not pack.
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

/// The next request for the partition at this broker.
pub fn wanted(shared: &Shared, node: i32, partition: i32) -> Wanted {
    let plan = shared.state().plan(node).unwrap();
    let mut wanted = plan.wanted.into_iter();
    wanted.find(|wanted| wanted.partition == partition).unwrap()
}

/// An answer for the partition, whose records are that many first bytes of its frame.
pub fn fetched(partition: i32, records_bytes: usize, high_watermark: i64) -> Fetched {
    Fetched {
        partition,
        code: Code::NONE,
        high_watermark,
        aborted: Vec::new(),
        records: 0..records_bytes,
        diverged_at: None,
        follower: None,
    }
}

fn store(shared: &Shared, partition: i32, bytes: &[u8]) {
    let asked = wanted(shared, NODE, partition);
    let fetched = fetched(partition, bytes.len(), 1);
    let frame = shared.frames.share(Frame::of(bytes));
    assert!(shared.state().store(&asked, fetched, &frame, 1));
}

fn waiting_bytes(state: &State) -> usize {
    state.slots.iter().map(Slot::waiting_bytes).sum()
}

#[test]
fn what_waits_is_bounded_and_what_was_dropped_comes_again() {
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
fn a_batch_that_does_not_fit_is_asked_for_whole() {
    let shared = shared(PARTITIONS);
    let batch = large_batch();
    store(&shared, 3, &batch[..1_000]);
    let plan = shared.state().plan(NODE).unwrap();
    assert_eq!(plan.wanted[3].offset, 0);
    assert_eq!(plan.wanted[3].max_bytes as usize, batch.len());
}

/// The bytes of an answer to the plan: of each partition as many whole batches as it and the answer may hold.
fn answer(plan: &super::Plan, batch: &[u8], fetching: &Fetching) -> (Vec<u8>, Vec<Fetched>) {
    let mut bytes = Vec::new();
    let mut fetched = Vec::new();

    for wanted in &plan.wanted {
        let room = usize::try_from(fetching.answer_bytes).unwrap() - bytes.len();
        let most = room.min(usize::try_from(wanted.max_bytes).unwrap());
        let start = bytes.len();
        for _ in 0..most / batch.len() {
            bytes.extend_from_slice(batch);
        }

        fetched.push(Fetched {
            records: start..bytes.len(),
            ..self::fetched(wanted.partition, 0, i64::MAX)
        });
    }

    (bytes, fetched)
}

/// Reads as a fetcher does: into memory that is used again.
fn fetch(shared: &Shared, batch: &[u8]) {
    let Some(plan) = shared.state().plan(NODE) else {
        return;
    };
    let (bytes, fetched) = answer(&plan, batch, &shared.fetching);

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
///  case,
/// because each frame then has a piece that is kept.
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
        // Frames that pieces keep or that are kept for later, waiting bytes, and the piece that the reader has begun of
        // each
        //  partition.
        let begun_bytes = answer.max(partitions as usize * (16 << 10));
        let bound = 4 * answer + fetching.waiting_bytes + begun_bytes;

        let shared = shared(partitions);
        let mut begun: HashMap<usize, Piecewise> = HashMap::new();
        for round in 0..90 {
            fetch(&shared, &batch);
            // Sometimes much waits before the reader comes.
            if round % 3 > 0 {
                fetch(&shared, &batch);
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

//! Mutated answers, for the tests of all decoders: bytes are changed, inserted, removed and repeated, and answers are
//! cut. A decoder must read or refuse each of them, and it must not panic.
//!
//! `TIDEMARK_TEST_MUTATIONS` sets the number of mutations of each answer, for runs by hand.

use super::codec::{Input, Malformed, Output};

const MUTATIONS: u64 = 3_000;
/// The most changes of one answer.
const MOST_CHANGES: u64 = 4;
/// Bytes at which lengths, varints and signs change.
const ODD: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// Writes an answer.
pub fn written(write: impl FnOnce(&mut Output<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut Output(&mut bytes));
    bytes
}

/// Checks that a decoder reads this answer to its end, refuses each of its beginnings, and survives its mutations.
pub fn assert_survived<T>(answer: &[u8], read: impl Fn(&mut Input<'_>) -> Result<T, Malformed>) {
    let mut input = Input::new(answer);
    if let Err(error) = read(&mut input) {
        panic!("the answer is not read: {error:?}");
    }
    assert!(input.is_empty(), "{} bytes are left", input.rest().len());
    for length in 0..answer.len() {
        let cut = &answer[..length];
        assert!(
            read(&mut Input::new(cut)).is_err(),
            "the first {length} bytes are read"
        );
    }

    let mut refused = 0;
    let mut is_read = 0;
    each(answer, |mutated| match read(&mut Input::new(mutated)) {
        Ok(_) => is_read += 1,
        Err(_) => refused += 1,
    });
    assert!(
        is_read > 0 && refused > is_read / 20,
        "{refused} refused, {is_read} read"
    );
}

/// Passes the mutations of an answer to `read`.
pub fn each(answer: &[u8], mut read: impl FnMut(&[u8])) {
    let set = std::env::var("TIDEMARK_TEST_MUTATIONS");
    let number = set.map_or(MUTATIONS, |number| number.parse().unwrap());
    for seed in 0..number {
        let state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        read(&Mutation(state).of(answer));
    }
}

/// Draws the changes of one answer.
struct Mutation(u64);

impl Mutation {
    fn of(mut self, answer: &[u8]) -> Vec<u8> {
        let mut bytes = answer.to_vec();
        for _ in 0..=self.draw(MOST_CHANGES) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let to = (at + 1 + self.below(8)).min(bytes.len());
        let odd = ODD[self.below(ODD.len())];
        match self.draw(6) {
            0 if at < to => bytes[at] ^= 1 << self.draw(8),
            1 if at < to => bytes[at] = odd,
            2 => bytes[at..to].fill(odd),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let again = bytes[at..to].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.insert(at, odd),
        }
    }

    fn below(&mut self, below: usize) -> usize {
        self.draw(below as u64) as usize
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

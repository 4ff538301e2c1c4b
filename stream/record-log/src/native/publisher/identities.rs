//! The rule for InitProducerId on the wire, checked as requests leave the client in tests.
//!
//! A request without an identity fences the holder of its id, so only the opening of a publisher may send one. An open
//! publisher that needs another epoch names the identity of its last transaction. Brokers accept breaches of both as a
//! rule, and no record is lost by them unless a newer holder exists or a late request comes, so the logs rarely show
//! them.
//!
//! A publisher sends the requests to its coordinator on the thread of its caller, so each thread has its own books.

use std::cell::Cell;

use super::identity::Identity;
use crate::native::api::{ADD_PARTITIONS, END_TXN_1, INIT_PRODUCER_ID};
use crate::native::codec::{Input, Malformed};

thread_local! {
    static IS_OPENING: Cell<bool> = const { Cell::new(false) };
    /// The identity in the last request of this thread about a transaction, since a publisher was opened.
    static LAST: Cell<Option<Identity>> = const { Cell::new(None) };
}

/// Opens a publisher by `open`. Meanwhile this thread may send InitProducerId without an identity.
pub(in crate::native) fn opening<T>(open: impl FnOnce() -> T) -> T {
    IS_OPENING.set(true);
    LAST.set(None);
    let opened = open();
    IS_OPENING.set(false);
    opened
}

/// Checks a request that this thread is about to send, with its length in front.
///
/// # Panics
/// If it is an InitProducerId that fences without an opening, or that names another identity than the publisher's.
pub(in crate::native) fn check(request: &[u8]) {
    let key = i16::from_be_bytes([request[4], request[5]]);
    let mut input = Input::new(&request[12..]);
    match key {
        key if key == INIT_PRODUCER_ID.key => check_init(identity_of_init(&mut input).unwrap()),
        key if key == END_TXN_1.key || key == ADD_PARTITIONS.key => {
            LAST.set(Some(identity_of_transaction(&mut input).unwrap()));
        }
        _ => {}
    }
}

fn check_init(named: Identity) {
    let is_opening = IS_OPENING.get();
    assert_eq!(
        named == Identity::NONE,
        is_opening,
        "InitProducerId names {named:?}, and a publisher is being opened: {is_opening}"
    );
    if let Some(last) = LAST.get() {
        assert_eq!(named, last, "the identity that InitProducerId names");
    }
}

fn identity_of_init(input: &mut Input<'_>) -> Result<Identity, Malformed> {
    skip_header(input)?;
    input.nullable_string()?;
    input.i32()?;
    read_identity(input)
}

fn identity_of_transaction(input: &mut Input<'_>) -> Result<Identity, Malformed> {
    skip_header(input)?;
    input.string()?;
    read_identity(input)
}

/// Skips the client's name and the tags.
fn skip_header(input: &mut Input<'_>) -> Result<(), Malformed> {
    let name = input.i16()?;
    input.take(usize::try_from(name).unwrap_or(0))?;
    input.skip_tags()
}

fn read_identity(input: &mut Input<'_>) -> Result<Identity, Malformed> {
    Ok(Identity {
        id: input.i64()?,
        epoch: input.i16()?,
    })
}

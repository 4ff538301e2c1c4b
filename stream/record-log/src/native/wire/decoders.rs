//! The decoders of headers, versions and logins meet mutated answers.

use super::session::{Authenticated, read_offered};
use super::{Versions, read_header};
use crate::native::api::METADATA;
use crate::native::codec::Input;
use crate::native::mutations::{assert_survived, written};

#[test]
fn a_mutated_header_is_read_or_refused() {
    let header = written(|output| {
        output.i32(7);
        output.raw(&[1, 5, 3, 1, 2, 3]);
    });
    assert_survived(&header, |input| {
        let length = read_header(input.rest(), METADATA, 7)?;
        input.take(length).map(drop)
    });
    assert!(read_header(&header, METADATA, 8).is_err());
}

#[test]
fn mutated_versions_are_read_or_refused() {
    let features = written(|output| {
        output.length(1);
        output.string("transaction.version");
        output.i16(2);
        output.i16(0);
        output.no_tags();
    });
    let answer = written(|output| {
        output.i16(0);
        output.array([0, 1, 3, 22].into_iter(), |output, key| {
            output.i16(key);
            output.i16(0);
            output.i16(12);
            output.no_tags();
        });
        output.i32(0);
        output.raw(&[1, 2]);
        output.unsigned(u32::try_from(features.len()).unwrap());
        output.raw(&features);
    });

    let read = Versions::read(&mut Input::new(&answer)).unwrap();
    assert_eq!((read.ranges.len(), read.transactions), (4, 2));
    assert_survived(&answer, Versions::read);
}

#[test]
fn mutated_answers_to_logins_are_read_or_refused() {
    let offered = written(|output| {
        output.i16(33);
        output.i32(2);
        for name in ["PLAIN", "SCRAM-SHA-512"] {
            output.i16(i16::try_from(name.len()).unwrap());
            output.raw(name.as_bytes());
        }
    });
    assert_survived(&offered, read_offered);

    let answered = written(|output| {
        output.i16(58);
        output.nullable_string(Some("wrong password"));
        output.bytes(b"r=nonce,s=c2FsdA==,i=4096");
        output.i64(3_600_000);
        output.no_tags();
    });
    assert_survived(&answered, Authenticated::read);
}

//! The decoders of settings, created topics, offsets and positions of groups meet mutated answers.

use super::groups::{read_commit, read_committed};
use super::{read_created, read_described, read_partitions};
use crate::native::codec::Output;
use crate::native::mutations::{assert_survived, written};

/// Writes a topic with two partitions.
fn topic(output: &mut Output<'_>, mut partition: impl FnMut(&mut Output<'_>)) {
    output.length(1);
    output.string("orders");
    output.array(0..2, |output, number| {
        output.i32(number);
        partition(output);
        output.no_tags();
    });
    output.no_tags();
}

#[test]
fn mutated_settings_are_read_or_refused() {
    let answer = written(|output| {
        output.i32(0);
        output.length(1);
        output.i16(0);
        output.nullable_string(None);
        output.i8(2);
        output.string("orders");
        let settings = [("cleanup.policy", Some("delete")), ("password", None)];
        output.array(settings.into_iter(), |output, (name, value)| {
            output.string(name);
            output.nullable_string(value);
            output.raw(&[0, 5, 0]);
            output.length(1);
            output.string("log.cleanup.policy");
            output.nullable_string(value);
            output.i8(5);
            output.no_tags();
            output.i8(7);
            output.nullable_string(None);
            output.no_tags();
        });
        output.no_tags();
        output.no_tags();
    });
    assert_survived(&answer, read_described);
}

#[test]
fn mutated_answers_about_created_topics_are_read_or_refused() {
    let answer = written(|output| {
        output.i32(250);
        output.length(1);
        output.string("orders");
        output.i16(36);
        output.nullable_string(Some("it exists"));
        output.i32(4);
        output.i16(3);
        output.length(1);
        output.string("cleanup.policy");
        output.nullable_string(Some("delete"));
        output.raw(&[0, 5, 0]);
        output.no_tags();
        output.no_tags();
        output.no_tags();
    });
    assert_survived(&answer, read_created);
}

#[test]
fn mutated_offsets_and_positions_are_read_or_refused() {
    let listed = written(|output| {
        output.i32(0);
        topic(output, |output| {
            output.i16(0);
            output.i64(-1);
            output.i64(500);
            output.i32(3);
        });
        output.no_tags();
    });
    assert_survived(&listed, read_partitions);

    let fetched = written(|output| {
        output.i32(0);
        topic(output, |output| {
            output.i64(500);
            output.i32(3);
            output.nullable_string(Some("metadata"));
            output.i16(0);
        });
        output.i16(0);
        output.no_tags();
    });
    assert_survived(&fetched, read_committed);

    let stored = written(|output| {
        output.i32(0);
        topic(output, |output| output.i16(0));
        output.no_tags();
    });
    assert_survived(&stored, read_commit);
}

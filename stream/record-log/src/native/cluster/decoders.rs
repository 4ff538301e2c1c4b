//! The decoders of metadata and coordinators meet mutated answers.

use super::{read_coordinator, read_metadata};
use crate::native::mutations::{assert_survived, written};

#[test]
fn mutated_metadata_is_read_or_refused() {
    let answer = written(|output| {
        output.i32(0);
        output.array(
            [(1, "kafka-1"), (2, "kafka-2")].into_iter(),
            |output, (node, host)| {
                output.i32(node);
                output.string(host);
                output.i32(9092);
                output.nullable_string(Some("rack"));
                output.no_tags();
            },
        );
        output.nullable_string(Some("cluster"));
        output.i32(1);

        output.length(1);
        output.i16(0);
        output.nullable_string(Some("orders"));
        output.raw(&[9; 16]);
        output.bool(false);
        output.array(0..2, |output, partition| {
            output.i16(0);
            output.i32(partition);
            output.i32(1 + partition);
            output.i32(7);
            for replicas in [&[1, 2][..], &[1, 2], &[]] {
                output.array(replicas.iter(), |output, replica| output.i32(*replica));
            }
            output.no_tags();
        });
        output.i32(0);
        output.no_tags();
        output.no_tags();
    });
    assert_survived(&answer, read_metadata);
}

#[test]
fn a_mutated_coordinator_is_read_or_refused() {
    let answer = written(|output| {
        output.i32(0);
        output.i16(0);
        output.nullable_string(Some("none"));
        output.i32(1);
        output.string("kafka-1");
        output.i32(9092);
        output.no_tags();
    });
    assert_survived(&answer, read_coordinator);
}

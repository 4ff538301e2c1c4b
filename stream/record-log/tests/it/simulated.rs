//! Tests of the simulated log alone: faults occur where the plan has them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use record_log::progress::of_number;
use record_log::simulated::{Call, Crashed, Fault, SimulatedLog};
use record_log::{LogError, LogTimeType, PublishError, RecordLog};

use crate::subject::{assert_values, publish, record, topic, transactional};

/// Returns another process, at whose commits the fault occurs.
fn failing_at_commit(log: &SimulatedLog, fault: Fault) -> SimulatedLog {
    log.process(move |call| {
        if matches!(call, Call::Commit { .. }) {
            fault
        } else {
            Fault::None
        }
    })
}

/// Sends a record and commits it, in a process with the fault.
fn commit_with(log: &SimulatedLog, topic: &str, fault: Fault) -> Result<(), PublishError> {
    let process = failing_at_commit(log, fault);
    let mut publisher = transactional(&process, "publisher");
    publisher.send(record(topic, 0, b"x")).unwrap();
    publisher.commit(&of_number(1))
}

#[test]
fn an_unavailable_log_publishes_nothing_and_fails() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    assert!(matches!(
        commit_with(&log, &topic, Fault::Unavailable),
        Err(PublishError::NotPublished(_))
    ));

    assert_values(&log, &topic, 0, &[]);
    assert_eq!(transactional(&log, "publisher").progress(), None);
}

#[test]
fn a_lost_reply_leaves_it_open_and_the_next_holder_learns_it() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    assert!(matches!(
        commit_with(&log, &topic, Fault::LoseReply),
        Err(PublishError::MayHaveHappened(_))
    ));

    assert_values(&log, &topic, 0, &["x"]);
    assert_eq!(
        transactional(&log, "publisher").progress(),
        Some(&of_number(1)[..])
    );
}

#[test]
fn a_crash_kills_its_process_and_no_other() {
    for (fault, expected) in [(Fault::CrashBefore, 0), (Fault::CrashAfter, 1)] {
        let log = SimulatedLog::default();
        let topic = topic(&log, 1);
        let process = failing_at_commit(&log, fault);
        let mut publisher = transactional(&process, "publisher");
        publisher.send(record(&topic, 0, b"x")).unwrap();

        let crash = catch_unwind(AssertUnwindSafe(|| publisher.commit(&of_number(1)))).unwrap_err();
        assert!(crash.is::<Crashed>() && process.is_dead() && !log.is_dead());
        assert!(catch_unwind(AssertUnwindSafe(|| process.partitions(&topic))).is_err());
        assert_eq!(log.records(&topic).len(), expected);
    }
}

#[test]
fn polls_and_questions_fail_as_planned() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    publish(&log, &topic, 0, &[b"x"]);

    let process = log.process(|call| match call {
        Call::Poll { .. } | Call::Offsets { .. } => Fault::Unavailable,
        _ => Fault::None,
    });

    assert!(matches!(
        process.offsets(&topic),
        Err(LogError::Unavailable(_))
    ));

    let polled = process
        .reader(&topic, &[(0, 0)])
        .unwrap()
        .poll(0, 1, &mut |_| panic!("the poll fails"));
    assert!(matches!(polled, Err(LogError::Unavailable(_))));
}

#[test]
fn a_refusal_is_named_and_not_transient() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    let process = log.process(|call| match call {
        Call::Poll { .. } | Call::Send { .. } => Fault::Refused,
        _ => Fault::None,
    });

    let polled = process
        .reader(&topic, &[(0, 0)])
        .unwrap()
        .poll(0, 1, &mut |_| panic!("the poll is refused"))
        .unwrap_err();

    assert_eq!(
        (polled.is_transient(), polled.to_string()),
        (
            false,
            format!("READ on topic {topic:?} is denied to this principal: grant it")
        )
    );

    let sent = transactional(&process, "publisher")
        .send(record(&topic, 0, b"x"))
        .unwrap_err();

    assert_eq!(
        (sent.is_transient(), sent.to_string()),
        (
            false,
            format!("WRITE on topic {topic:?} is denied to this principal: grant it")
        )
    );
}

#[test]
fn limits_and_lost_progress_are_as_the_test_has_them() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    log.limit_records(&topic, 200);
    log.stamp_by(&topic, LogTimeType::Create);

    assert_eq!(
        log.describe(&topic).unwrap().log_time_type,
        LogTimeType::Create
    );

    let mut publisher = transactional(&log, "kept");
    let refused = publisher.send(record(&topic, 0, &[0; 200])).unwrap_err();
    assert!(
        refused.to_string().contains("larger than the 200 bytes"),
        "{refused}"
    );

    for id in ["kept", "lost"] {
        transactional(&log, id).commit(b"1").unwrap();
    }
    log.lose_progress(|id| id == "lost");

    assert_eq!(transactional(&log, "kept").progress(), Some(&b"1"[..]));
    assert_eq!(transactional(&log, "lost").progress(), None);
}

#[test]
fn records_are_stamped_by_the_clock_of_the_test() {
    let now_ms = Arc::new(AtomicU64::new(5_000));
    let clock = Arc::clone(&now_ms);
    let log = SimulatedLog::new(move || clock.load(Ordering::SeqCst));
    let topic = topic(&log, 1);
    publish(&log, &topic, 0, &[b"x"]);
    now_ms.store(6_000, Ordering::SeqCst);
    publish(&log, &topic, 0, &[b"y"]);

    let stamps: Vec<u64> = log
        .records(&topic)
        .iter()
        .map(|record| record.log_time_ms)
        .collect();
    assert_eq!(stamps, [5_000, 6_000]);
}

#[test]
fn expired_offsets_and_new_partitions_are_seen() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    publish(&log, &topic, 0, &[b"x", b"y"]);
    log.expire(&topic, 0, 1);
    log.grow(&topic, 3);

    let lost = log
        .reader(&topic, &[(0, 0)])
        .unwrap()
        .poll(0, 1, &mut |_| panic!("it expired"));

    assert!(matches!(
        lost,
        Err(LogError::OffsetOutOfRange { offset: 0, .. })
    ));

    assert_values(&log, &topic, 0, &["y"]);
    assert_eq!(log.partitions(&topic).unwrap(), 3);
}

#[test]
fn records_behind_an_open_transaction_are_not_committed() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    publish(&log, &topic, 0, &[b"x", b"y"]);
    let end = |log: &SimulatedLog| log.offsets(&topic).unwrap()[0].end;

    log.hold_back(&topic, 0, Some(1));
    assert_eq!(end(&log), 1);
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let mut read = 0;
    for _ in 0..2 {
        let polled = reader.poll(0, 10, &mut |_| read += 1).unwrap();
        assert_eq!((polled.next_offset, polled.end_as_of_ms), (1, None));
    }
    assert_eq!(read, 1);

    log.hold_back(&topic, 0, None);
    assert_eq!(end(&log), 3);
    assert_values(&log, &topic, 0, &["x", "y"]);
}

#[test]
fn aborted_records_take_offsets_and_a_recreated_topic_begins_again() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    publish(&log, &topic, 0, &[b"x"]);
    log.abort(&topic, 0, 3);
    publish(&log, &topic, 0, &[b"y"]);

    let offsets = |log: &SimulatedLog| {
        let records = log.records(&topic);
        records.iter().map(|it| it.offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(&log), [0, 6]);
    assert_values(&log, &topic, 0, &["x", "y"]);

    log.abort(&topic, 0, 0);
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    let polled = reader.poll(0, 10, &mut |_| ()).unwrap();
    assert_eq!((polled.records, polled.next_offset), (2, 9));
    assert!(polled.is_at_end(), "nothing that can be read is left");

    log.recreate(&topic);
    assert_eq!(log.offsets(&topic).unwrap()[0].end, 0);
    publish(&log, &topic, 0, &[b"z"]);
    assert_eq!(offsets(&log), [0]);
}

#[test]
fn a_record_has_the_time_that_its_producer_gave_it() {
    let log = SimulatedLog::default();
    let topic = topic(&log, 1);
    log.append_at(&topic, 0, b"x", (7, LogTimeType::Create));
    let mut read = None;
    let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
    reader
        .poll(0, 10, &mut |record| {
            read = Some((record.log_time_ms, record.log_time_type));
        })
        .unwrap();

    assert_eq!(read, Some((7, LogTimeType::Create)));
}

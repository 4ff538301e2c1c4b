//! What only the simulated log promises: faults where the plan wants them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use record_log::progress::of_number;
use record_log::simulated::{Call, Crashed, Fault, SimulatedLog};
use record_log::{LogError, PublishError, RecordLog};

use crate::subject::{assert_values, publish, record, topic, transactional};

/// Another process, at whose commits the fault happens.
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
fn an_unavailable_log_publishes_nothing_and_says_so() {
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

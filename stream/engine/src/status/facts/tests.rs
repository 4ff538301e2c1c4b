//! Tests of the facts behind the status.

use super::*;
use crate::pane::EventTimeMs;
use crate::watermark::Claim;

fn position(partition: u32, next_offset: Offset, newest_event_ms: Option<EventTimeMs>) -> Position {
    Position {
        partition,
        next_offset,
        newest_event_ms,
        heard_at_ms: Some(900),
        end_as_of_ms: None,
        obstacle: None,
        claim: Claim::Unread,
        holds_back: false,
    }
}

fn facts() -> Facts {
    let mut facts = Facts::new("counts");
    facts.sources = vec!["orders".to_owned()];
    facts.attempt_began(3, 500);
    facts.position(position(0, 40, Some(900)));
    facts.position(position(2, 7, None));
    facts.worker(0).watermark_ms = Some(800);
    facts.worker(1).watermark_ms = Some(700);

    facts
}

#[test]
fn a_status_is_what_the_facts_come_to_at_a_moment() {
    let mut facts = facts();
    let ends = (0..).zip([50, 60, 5].map(|end| OffsetRange { start: 0, end }));
    facts.ends(&ends.collect(), 47, 470);

    let status = facts.status(
        BatchCounts {
            records: 47,
            ..BatchCounts::default()
        },
        1000,
    );

    assert_eq!(
        (status.watermark_ms, status.watermark_delay_ms),
        (Some(700), Some(300))
    );

    assert_eq!(
        status.lag_records,
        Some(10),
        "partition 1 is another process's, partition 2 was read since"
    );

    assert_eq!(
        status
            .partitions
            .iter()
            .map(|partition| partition.partition)
            .collect::<Vec<_>>(),
        [0, 2]
    );

    assert_eq!(
        (status.attempt, status.restarts, status.records),
        (Some(3), 0, 47)
    );
}

#[test]
fn a_partition_that_is_silent_for_too_long_is_named_until_it_answers() {
    let mut facts = facts();
    facts.topics.input = "orders".to_owned();
    facts.answer_limit_ms = 10_000;

    let unanswered =
        |facts: &Facts, now_ms| facts.status(BatchCounts::default(), now_ms).unanswered;
    assert_eq!(unanswered(&facts, 10_900), None);
    let alone = Position {
        heard_at_ms: Some(10_900),
        ..position(2, 7, None)
    };
    facts.position(alone.clone());

    let sentence = unanswered(&facts, 10_901).unwrap();
    for said in [
        "partition 0 of topic \"orders\"",
        "since 1970-01-01T00:00:00.900Z",
        "up to offset 40",
        "never confirmed",
    ] {
        assert!(sentence.contains(said), "{said} is not in {sentence}");
    }

    assert!(!sentence.contains("nor has"), "partition 2 answered");
    let both = unanswered(&facts, 20_901).unwrap();
    assert!(both.contains("nor has partition 2:"), "{both}");

    let answered = Position {
        heard_at_ms: Some(20_800),
        ..alone.clone()
    };

    for partition in [0, 2] {
        facts.position(Position {
            partition,
            ..answered.clone()
        });
    }

    assert_eq!(unanswered(&facts, 20_901), None);
    facts.is_running = false;
    assert_eq!(unanswered(&facts, 90_000), None, "nobody reads");
}

/// Facts of two topics of two partitions each, all of which were heard one after the other.
fn facts_of_two_topics() -> Facts {
    let mut facts = Facts::new("counts");
    facts.sources = vec!["orders".to_owned(), "payments".to_owned()];
    facts.attempt_began(3, 500);
    facts.answer_limit_ms = 10_000;
    let ids = [(1, 1), (0, 1), (1, 0), (0, 0)].map(|(source, own)| inputs::id_of(source, own));
    for (order, id) in (0..).zip(ids) {
        facts.position(Position {
            heard_at_ms: Some(1_000 + order * 100),
            end_as_of_ms: Some(700 + order),
            ..position(id, 40, None)
        });
    }

    facts
}

#[test]
fn all_silent_partitions_are_named_with_their_topics() {
    let mut facts = facts_of_two_topics();
    let unanswered = |facts: &Facts| facts.status(BatchCounts::default(), 20_000).unanswered;
    let sentence = unanswered(&facts).unwrap();
    for said in [
        "partition 1 of topic \"payments\" has given neither",
        "since 1970-01-01T00:00:01Z, nor have partitions orders/0, orders/1, payments/0: it is read",
        "and its end was confirmed as of 1970-01-01T00:00:00.700Z;",
    ] {
        let sentence = sentence.replace(".000Z", "Z");
        assert!(sentence.contains(said), "{said} is not in {sentence}");
    }

    let range = |end| OffsetRange { start: 0, end };
    for (end, said) in [
        (40, "its end was confirmed as of"),
        (
            41,
            "and the log ended at offset 41 when it was last read; its broker",
        ),
    ] {
        facts.ends(&BTreeMap::from([(inputs::id_of(1, 1), range(end))]), 0, 0);
        let sentence = unanswered(&facts).unwrap();
        assert!(sentence.contains(said), "{said} is not in {sentence}");
    }
}

#[test]
fn a_partition_s_status_has_all_that_its_position_has() {
    let facts = facts_of_two_topics();
    let status = facts.status(BatchCounts::default(), 5_000);
    let found = status.partitions.iter().map(|it| {
        let PartitionStatus {
            source, partition, ..
        } = *it;
        let times = (it.heard_at_ms, it.silence_ms, it.end_as_of_ms);
        (source, partition, times)
    });
    let expected = |heard, end| (Some(heard), Some(5_000 - heard), Some(end));
    let expected = [
        (0, 0, expected(1_300, 703)),
        (0, 1, expected(1_100, 701)),
        (1, 0, expected(1_200, 702)),
        (1, 1, expected(1_000, 700)),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn the_log_s_reason_of_a_silence_replaces_the_guesses() {
    let mut facts = facts();
    facts.answer_limit_ms = 10_000;
    let throttled =
        "broker 1 throttles this client for 2200 ms: raise its quota consumer_byte_rate";
    let mut silent = position(0, 40, None);
    silent.obstacle = Some(throttled.into());
    facts.position(silent.clone());

    let status = |facts: &Facts| facts.status(BatchCounts::default(), 20_000);
    let named = status(&facts);
    let sentence = named.unanswered.unwrap();
    assert!(sentence.ends_with(&format!("; {throttled}")), "{sentence}");
    assert_eq!(named.partitions[0].obstacle.as_deref(), Some(throttled));

    silent.obstacle = None;
    facts.position(silent);
    let unnamed = status(&facts);
    let sentence = unnamed.unanswered.unwrap();
    assert!(sentence.ends_with(UNNAMED_OBSTACLE), "{sentence}");
    assert_eq!(unnamed.partitions[0].obstacle, None);
}

#[test]
fn a_log_that_takes_no_results_for_too_long_is_named_until_it_does() {
    let mut facts = Facts::new("counts");
    facts.attempt_began(3, 500);
    facts.answer_limit_ms = 10_000;
    let unanswered =
        |facts: &Facts, now_ms| facts.status(BatchCounts::default(), now_ms).unanswered;

    for (worker, at_ms, reason) in [
        (1, 1_000, "the first reason"),
        (0, 2_000, "of another worker"),
        (1, 9_000, "too few replicas"),
    ] {
        facts.publishes(worker, at_ms);
        facts.not_published(worker, reason.to_owned());
    }
    assert_eq!(unanswered(&facts, 11_000), None);
    let sentence = unanswered(&facts, 11_001).unwrap();
    let since = "the log has not taken the output of the job since 1970-01-01T00:00:01.000Z";
    let expected = format!("{since}: the first reason; and last: too few replicas");
    assert_eq!(sentence, expected);

    facts.publishes(1, 10_000);
    facts.not_published(1, "the first reason".to_owned());
    let sentence = unanswered(&facts, 11_001).unwrap();
    assert_eq!(sentence, format!("{since}: the first reason"), "once");

    facts.published(1);
    assert_eq!(unanswered(&facts, 12_000), None);
    assert!(
        unanswered(&facts, 12_001)
            .unwrap()
            .contains("of another worker")
    );
    facts.attempt_began(4, 12_002);
    assert_eq!(unanswered(&facts, 99_000), None, "it may take them now");
}

#[test]
fn a_slow_transaction_is_reported_before_it_fails() {
    let mut facts = Facts::new("counts");
    facts.attempt_began(3, 500);
    facts.answer_limit_ms = 10_000;
    let unanswered =
        |facts: &Facts, now_ms| facts.status(BatchCounts::default(), now_ms).unanswered;

    facts.publishes(1, 1_000);
    facts.publishes(0, 2_000);
    assert_eq!(unanswered(&facts, 11_000), None);
    let sentence = unanswered(&facts, 11_001).unwrap();
    let since = "the log has not taken the output of the job since 1970-01-01T00:00:01.000Z";
    assert!(sentence.starts_with(since), "{sentence}");
    for named in ["not answered", "frozen", "producer_byte_rate"] {
        assert!(sentence.contains(named), "{named} in {sentence}");
    }

    facts.not_published(1, "too few replicas".to_owned());
    let sentence = unanswered(&facts, 11_001).unwrap();
    assert_eq!(sentence, format!("{since}: too few replicas"));

    facts.published(1);
    facts.publishes(1, 11_500);
    assert_eq!(unanswered(&facts, 12_000), None);
    assert!(unanswered(&facts, 12_001).is_some(), "of the other worker");
}

#[test]
fn another_attempt_is_a_restart_and_knows_nothing_of_partitions_yet() {
    let mut facts = facts();
    assert!(facts.attempt_began(5, 600));
    let status = facts.status(BatchCounts::default(), 1000);

    assert_eq!(
        (
            status.restarts,
            status.partitions.len(),
            status.workers.len()
        ),
        (1, 0, 0)
    );
}

#[test]
fn the_last_troubles_are_remembered_each_once() {
    let mut facts = facts();
    for number in 0..30 {
        facts.trouble(number, format!("trouble {}", number % 12));
    }

    let status = facts.status(BatchCounts::default(), 1000);
    let messages: Vec<_> = status
        .troubles
        .iter()
        .map(|trouble| (trouble.at_ms, &*trouble.message))
        .collect();
    assert_eq!(messages.len(), TROUBLES);
    assert_eq!(messages[..2], [(29, "trouble 5"), (28, "trouble 4")]);
}

//! A client that its brokers throttle: no end is dated while records wait behind it, and the quota is named,
//! also the one that throttles the creation of topics.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use record_log::Signal;

use crate::broker::{Client, spec};
use crate::subject::{record, topic, transactional, unique};
use crate::throttle::Quota;

/// A time limit that is longer than any working operation.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before another poll: a quota wakes no reader.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The quota of the test's client, in bytes a second. Brokers allow ten seconds' worth at once.
const BYTES_A_SECOND: f64 = 5_000.0;
/// The quota of creations, in partitions a second.
const CREATIONS_A_SECOND: f64 = 1.0;
/// The number of batches: three times the bytes that brokers allow at once, in batches that fit the quota.
const BATCHES: usize = 15;
const BATCH_BYTES: usize = 10_000;

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// Returns bytes that no codec makes smaller.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..BATCH_BYTES).map(|_| next()).collect()
}

#[test]
fn a_throttled_client_dates_no_end_early_and_names_the_quota() {
    let Some(subject) = crate::subject::kafka() else {
        return;
    };
    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").unwrap();
    let topic = topic(&*subject.log, 1);
    let mut publisher = transactional(&*subject.log, &unique("publisher"));
    for seed in 1..=BATCHES as u64 {
        publisher.send(record(&topic, 0, &noise(seed))).unwrap();
        publisher.commit(b"").unwrap();
    }
    drop(publisher);
    let published_ms = now_ms();

    for client in Client::ALL {
        let quota = Quota::set(&brokers, "consumer_byte_rate", BYTES_A_SECOND);
        let log = client.open(&brokers, &[("client.id", &quota.client_id)]);
        let mut reader = log.reader(&topic, &[(0, 0)]).unwrap();
        let signal = Signal::default();
        reader.on_readable(signal.wake());

        let begun = Instant::now();
        let mut read = 0;
        let sentence = loop {
            let polled = reader.poll(0, 1_000, &mut |_| read += 1).unwrap();
            // Brokers apply a quota a moment after it is set. If all was read before, the reader begins again.
            let is_whole = read == BATCHES;
            let is_behind = polled.end_as_of_ms.is_some_and(|date| date >= published_ms);
            assert!(
                is_whole || !is_behind,
                "{client:?}: {read} of {BATCHES}, {polled:?}"
            );

            match reader.obstacle(0) {
                Some(sentence) if read > 0 && !is_whole && polled.records == 0 => break sentence,
                _ => assert!(
                    begun.elapsed() < PATIENCE,
                    "{client:?}: {read} of {BATCHES}"
                ),
            }

            if is_whole {
                reader = log.reader(&topic, &[(0, 0)]).unwrap();
                reader.on_readable(signal.wake());
                read = 0;
            }
            signal.wait(LOOK_AGAIN);
        };

        for named in ["broker 1 throttles this client for", "consumer_byte_rate"] {
            assert!(
                sentence.contains(named),
                "{client:?}: {named} in {sentence}"
            );
        }
    }
}

#[test]
fn a_quota_of_creations_is_named() {
    let Some(_subject) = crate::subject::kafka() else {
        return;
    };
    let brokers = std::env::var("TIDEMARK_TEST_BROKERS").unwrap();
    let quota = Quota::set(&brokers, "controller_mutation_rate", CREATIONS_A_SECOND);
    let log = Client::Native.open(&brokers, &[("client.id", &quota.client_id)]);

    // A topic of many partitions uses the quota up for a long time. Brokers apply the quota a moment after it is set, so a
    // topic before it may be created too.
    let begun = Instant::now();
    let (topic, refused) = loop {
        let topic = unique("creation");
        match log.ensure_topics(&[spec(&topic, 40)]) {
            Err(refused) => break (topic, refused),
            Ok(()) => assert!(begun.elapsed() < PATIENCE, "no topic is refused"),
        }
    };
    assert!(refused.is_transient(), "{refused}");
    let refused = refused.to_string();
    for named in [
        &*brokers,
        "throttles CreateTopics",
        "raise its quota controller_mutation_rate",
    ] {
        assert!(refused.contains(named), "{named} in {refused}");
    }
    assert!(log.partitions(&topic).is_err(), "it is not created");
}

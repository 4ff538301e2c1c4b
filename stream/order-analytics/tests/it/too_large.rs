//! A side output that its topic does not take whole is carried in part, and nothing waits for it.

use events::Timestamp;
use sha2::{Digest, Sha256};
use stream_cli::Client;

use crate::raw::{Raw, Shop, brokers};

/// The time of the first order: some while ago.
const FIRST_MS: u64 = 1_790_000_000_000;

/// The codecs of records, one after the other.
const CODECS: [&str; 5] = ["gzip", "lz4", "zstd", "snappy", "none"];

/// An order of user 7, placed this many seconds after the first one, with a note.
fn order(number: u64, second: u64, note: &str) -> Raw {
    let created_at = Timestamp::from_ms(FIRST_MS + second * 1000).unwrap();
    let value = format!(
        r#"{{"event_id":"{}","event_type":"order.created","order_id":{number},"user_id":7,"total_cents":100,"currency":"USD","items":[],"created_at":"{created_at}","note":"{note}"}}"#,
        uuid::Uuid::now_v7()
    );
    Raw {
        key: Some(b"7".to_vec()),
        value: Some(value.into_bytes()),
        headers: Vec::new(),
    }
}

/// Bytes that no codec makes smaller, none of which is JSON.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3] | 0x80
    };
    (0..length).map(|_| next()).collect()
}

fn bad(value: Vec<u8>) -> Raw {
    Raw {
        key: Some(b"7".to_vec()),
        value: Some(value),
        headers: vec![("ce_id".to_owned(), b"1".to_vec())],
    }
}

/// The hexadecimal digits of a SHA-256.
fn digits(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs the job over bad records between good orders, and returns the side outputs. Every good order is counted, and
/// each bad one is carried once, by either client and with every codec.
fn dead_letters(limits: (Option<u32>, Option<u32>), bad: &[Raw]) -> Vec<Raw> {
    let brokers = brokers().expect("the caller has asked");
    let mut found = Vec::new();
    for client in [Client::Rdkafka, Client::Native] {
        let shop = Shop::open(&brokers, limits.0, limits.1);
        shop.produce("none", &[order(1, 0, "")]);
        for (record, codec) in bad.iter().zip(CODECS.iter().cycle()) {
            shop.produce(codec, std::slice::from_ref(record));
        }
        let good: Vec<Raw> = (2..12).map(|number| order(number, number, "")).collect();
        shop.produce("none", &good);

        shop.run(client);
        shop.run(client);
        assert_eq!(shop.counted(), 11, "{client:?}");
        assert_eq!(shop.read("late").len(), 0, "{client:?}");
        found = shop.read("dead");
        let offsets: Vec<_> = found.iter().map(|it| it.header("source_offset")).collect();
        let expected: Vec<String> = (1..=bad.len()).map(|offset| offset.to_string()).collect();
        assert!(
            offsets.iter().flatten().eq(&expected),
            "{client:?}: {offsets:?}"
        );
        assert!(
            found
                .iter()
                .all(|it| it.header("source_partition") == Some("0"))
        );
        assert!(
            found
                .iter()
                .all(|it| it.header("reason").is_some_and(|it| it != "late"))
        );
    }
    found
}

/// Checks that a value is carried in part: as much of it as a topic with that limit takes.
fn assert_cut(carried: &Raw, original: &Raw, limit: usize) {
    let kept = carried.value.as_deref().unwrap();
    let whole = original.value.as_deref().unwrap();

    assert!(whole.starts_with(kept), "it is the beginning");
    assert!(
        kept.len() < limit && kept.len() + 2_000 > limit,
        "{} of {limit}",
        kept.len()
    );

    assert_eq!(
        carried.header("value_size"),
        Some(&*whole.len().to_string())
    );

    assert_eq!(carried.header("value_sha256"), Some(&*digits(whole)));
}

#[test]
fn a_malformed_value_of_any_codec_is_carried_in_part() {
    if brokers().is_none() {
        return;
    }

    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(3_000_000));
    let large = bad(large.into_bytes());
    let small = bad(b"?".to_vec());
    let bad = [
        large.clone(),
        large.clone(),
        large.clone(),
        large.clone(),
        small,
    ];
    let carried = dead_letters((None, None), &bad);
    for carried in &carried[..4] {
        assert_cut(carried, &large, 1_048_588);
        assert_eq!(carried.header("ce_id"), Some("1"));
        assert_eq!(carried.key, large.key);
    }
    assert_eq!(carried[4].value, bad[4].value);
    assert_eq!(carried[4].header("value_size"), None, "it is whole");
}

#[test]
fn the_limit_is_that_of_the_topic_whether_lower_or_higher() {
    if brokers().is_none() {
        return;
    }

    let bad = [
        bad(noise(3_000_000)),
        bad(noise(100_000)),
        bad(noise(10_000)),
    ];
    let low = dead_letters((Some(5_000_000), Some(20_000)), &bad);
    assert_cut(&low[0], &bad[0], 20_000);
    assert_cut(&low[1], &bad[1], 20_000);
    assert_eq!(low[2].value, bad[2].value);

    let high = dead_letters((Some(5_000_000), Some(5_000_000)), &bad);
    for (carried, original) in high.iter().zip(&bad) {
        assert!(carried.value == original.value, "it is whole");
        assert_eq!(carried.header("value_size"), None);
    }
}

#[test]
fn dead_letters_carry_huge_keys_and_headers_as_far_as_they_fit() {
    if brokers().is_none() {
        return;
    }

    let key = Raw {
        key: Some(noise(2_000_000)),
        ..bad(b"?".to_vec())
    };
    let headers = Raw {
        headers: (0..20_000)
            .map(|n| (format!("h{n}"), vec![b'h'; 100]))
            .collect(),
        ..bad(b"?".to_vec())
    };
    let tombstone = Raw {
        value: None,
        ..bad(Vec::new())
    };
    let carried = dead_letters((Some(5_000_000), None), &[key.clone(), headers, tombstone]);

    assert_eq!(carried[0].key, None, "a part of it would be another key");
    assert_eq!(carried[0].header("key_size"), Some("2000000"));
    let sum = digits(key.key.as_deref().unwrap());
    assert_eq!(carried[0].header("key_sha256"), Some(&*sum));
    assert_eq!(carried[0].value.as_deref(), Some(&b"?"[..]));

    let left_out: usize = carried[1]
        .header("headers_left_out")
        .unwrap()
        .parse()
        .unwrap();
    let kept = carried[1]
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with('h'))
        .count()
        - 1;
    assert_eq!(left_out + kept, 20_000);
    assert!(kept > 8_000, "{kept} headers fit");
    assert_eq!(carried[1].key.as_deref(), Some(&b"7"[..]));

    assert_eq!(carried[2].value, None);
}

#[test]
fn a_late_order_that_is_too_large_is_carried_in_part() {
    let Some(brokers) = brokers() else {
        return;
    };

    let shop = Shop::open(&brokers, None, Some(50_000));
    shop.produce("none", &[order(1, 100, ""), order(2, 200, "")]);
    shop.run(Client::Rdkafka);

    let late = [order(3, 5, &"x".repeat(3_000_000)), order(4, 6, "")];
    shop.produce("gzip", &late);
    shop.produce("none", &[order(5, 300, "")]);
    shop.run(Client::Rdkafka);
    shop.run(Client::Native);

    let carried = shop.read("late");
    assert_eq!(carried.len(), 2);
    assert_cut(&carried[0], &late[0], 50_000);
    assert_eq!(carried[1].value, late[1].value);
    assert!(carried.iter().all(|it| it.header("reason") == Some("late")));
    assert_eq!(shop.counted(), 3);
    assert_eq!(shop.read("dead").len(), 0);
}

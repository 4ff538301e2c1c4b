//! Tests of manifests.

use std::time::Duration;

use super::*;
use crate::aggregate::{Count, Max, Sum};
use crate::pane::SessionWindows;

/// Returns the cut of a partition, which also holds ids of earlier records.
fn cut() -> PartitionCut {
    PartitionCut {
        partition: 0,
        cut: 9,
        resume: 7,
        ids_from: Some(3),
        newest: None,
        anchor: None,
        ceilings: Vec::new(),
        decoder: 0,
        pending: None,
    }
}

fn manifest() -> Manifest {
    let windows = Windows::tumbling(Duration::from_secs(60)).unwrap();

    let part = PartInfo {
        name: "a".to_owned(),
        first: 0,
        last: 0,
        entries: 1,
        size_bytes: 20,
    };

    Manifest {
        version: VERSION,
        job: "counts".to_owned(),
        attempt: 3,
        boundary: 60_000,
        fingerprint: Fingerprint::new("orders", &windows),
        lineage: Lineage::default(),
        publishers_kept: 0,
        slots_kept: 0,
        committed: 0,
        furthest: BTreeMap::new(),
        memory: None,
        merges: 0,
        partitions: vec![cut()],
        parts: vec![part],
        copied_from: None,
    }
}

#[test]
fn a_manifest_reads_back_as_it_was_written() {
    assert_eq!(
        Manifest::from_bytes(&manifest().to_bytes(), "counts").unwrap(),
        manifest()
    );
}

#[test]
fn nothing_that_a_manifest_can_hold_is_lost() {
    let windows = Windows::tumbling(Duration::from_secs(60)).unwrap();
    let mut whole = Manifest {
        publishers_kept: 3,
        slots_kept: 4,
        committed: 59_000,
        furthest: BTreeMap::from([(0, 58_001), (2, 1 << 48)]),
        merges: 5,
        memory: Some(Memory::inferred(&windows, 60_000, &manifest().parts)),
        ..manifest()
    };
    whole.partitions[0] = PartitionCut {
        newest: Some(Newest {
            event_ms: 58_000,
            read_at_ms: 58_100,
            lag_ms: Some(40),
        }),
        anchor: Some(Anchor {
            offset: 8,
            log_time_ms: 58_040,
        }),
        ceilings: vec![Ceiling {
            from: 2,
            limit_ms: 99_000,
        }],
        decoder: 6,
        pending: Some(Pending {
            from: 4,
            late: vec![5],
        }),
        ..whole.partitions[0].clone()
    };

    let read = Manifest::from_bytes(&whole.to_bytes(), "counts").unwrap();
    assert_eq!(read, whole);

    let start = read.partitions[0].start(0, SideProgress::default());
    assert_eq!(start.ceilings, whole.partitions[0].ceilings);
    assert_eq!(start.pending.late, [5]);
    assert_eq!((start.cut, start.decoder), (9, 6));
}

#[test]
fn a_shorter_reach_of_stages_is_kept_and_a_longer_one_is_named() {
    let windows = Windows::tumbling(Duration::from_secs(60)).unwrap();
    let of = |reach_ms| Fingerprint::new("orders", &windows).reaching(reach_ms);
    assert_eq!(of(60_000).differences(&of(60_000)), []);
    assert_eq!(of(60_000).differences(&of(0)), []);

    let named = of(60_000).differences(&of(120_000));
    assert_eq!(named.len(), 1);
    let named = named[0].to_string();
    assert_eq!(named, "the reach of stages was \"1m\" and is now \"2m\"");
}

#[test]
fn a_pane_settles_with_its_window_session_or_derived_rows() {
    let second = Duration::from_secs(1);
    let tumbling = Fingerprint::new("orders", &Windows::tumbling(second * 60).unwrap());
    assert_eq!(tumbling.settles_within_ms(), 60_000);
    assert_eq!(tumbling.clone().reaching(5_000).settles_within_ms(), 65_000);

    let sessions = |gap, limit| {
        let sessions = SessionWindows::new(gap, limit).unwrap().cut_to();
        Fingerprint::new("orders", &sessions)
    };
    let short = sessions(second * 60, second * 3_600);
    assert_eq!(short.settles_within_ms(), 60_000 + short.pane_ms);
    let long = sessions(second * 3_600, second * 3_600);
    assert_eq!(
        long.settles_within_ms(),
        3_600_000,
        "a session ends at its limit"
    );
}

#[test]
fn each_setting_that_results_depend_on_is_named_when_it_changes() {
    let of = |window, topic: &str| {
        let windows = Windows::tumbling(Duration::from_secs(window)).unwrap();
        Fingerprint::new(topic, &windows)
            .keeping::<u64, (Count, Max<u64>)>()
            .believing(60_000)
    };
    let own = of(60, "orders");

    let named = |job: &Fingerprint| -> Vec<String> {
        own.differences(job)
            .iter()
            .map(Difference::to_string)
            .collect()
    };
    assert_eq!(named(&own), [] as [String; 0]);

    assert_eq!(
        named(&of(60, "sales")),
        ["the source topic was \"orders\" and is now \"sales\""]
    );

    assert!(named(&of(120, "orders"))[0].contains("the window was \"1m\" and is now \"2m\""));

    assert_eq!(
        named(&own.clone().keeping::<u64, (Count, Sum)>()),
        ["the aggregate type was \"(count, max u64)\" and is now \"(count, sum)\""]
    );

    let reading_it = Fingerprint {
        earlier_aggregates: vec!["tally of u64".to_owned(), "(count, max u64)".to_owned()],
        ..own.clone().keeping::<u64, (Count, Sum)>()
    };
    assert_eq!(named(&reading_it), [] as [String; 0]);
    assert_eq!(
        reading_it.differences(&own).len(),
        1,
        "an earlier program does not read what a later one wrote"
    );

    assert_eq!(
        named(&own.clone().keeping::<String, (Count, Max<u64>)>()),
        ["the key type was \"u64\" and is now \"string\""]
    );

    assert!(named(&own.clone().believing(1000))[0].contains("max future skew"));
    let day = Duration::from_secs(86_400);
    let sessions = SessionWindows::new(Duration::from_secs(60), day)
        .unwrap()
        .cut_to();
    let sessions = Fingerprint::new("orders", &sessions);
    assert!(named(&sessions)[0].contains("the session gap was \"none\" and is now \"1m\""));

    let older = Fingerprint {
        key: None,
        aggregate: None,
        earlier_aggregates: Vec::new(),
        max_future_skew_ms: None,
        ..own.clone()
    };

    assert_eq!(
        older.differences(&own),
        [],
        "what it does not say is not compared"
    );
}

#[test]
fn a_partition_is_taken_up_at_its_anchor_if_the_log_still_holds_it() {
    let anchor = Some(Anchor {
        offset: 8,
        log_time_ms: 5,
    });

    let at = |resume, oldest| {
        let cut = PartitionCut {
            partition: 0,
            cut: 9,
            resume,
            ids_from: None,
            newest: None,
            anchor,
            ceilings: Vec::new(),
            decoder: 0,
            pending: None,
        };
        let start = cut.start(oldest, SideProgress::default());

        (start.resume, start.anchor.is_some())
    };

    assert_eq!(
        [at(9, 0), at(9, 8), at(9, 9), at(4, 0)],
        [(8, true), (8, true), (9, false), (4, true)]
    );

    let cut = PartitionCut {
        anchor,
        resume: 9,
        ..manifest().partitions[0].clone()
    };
    let start = cut.start(0, SideProgress::default());
    assert_eq!(start.resume, 3, "the ids and the anchor are read again");
    assert_eq!(start.needed_from, 9, "their records are decided");
}

#[test]
fn ids_are_read_again_as_far_back_as_the_log_still_holds_them() {
    let resume = |oldest| cut().start(oldest, SideProgress::default()).resume;
    assert_eq!([0, 3, 5, 7].map(resume), [3, 3, 5, 7]);
}

#[test]
fn a_part_that_reaches_beyond_a_boundary_counts_up_to_it() {
    let part = PartInfo {
        name: "a".to_owned(),
        first: 0,
        last: 120_000,
        entries: 3,
        size_bytes: 60,
    };
    assert_eq!(part.clone().before(120_000).last, 119_999);
    assert_eq!(part.clone().before(180_000), part);
}

#[test]
fn flipped_bits_truncation_other_jobs_and_other_versions_are_refused() {
    let bytes = manifest().to_bytes();
    for byte in 0..bytes.len() - 1 {
        let mut flipped = bytes.clone();
        flipped[byte] ^= 1;
        assert!(
            Manifest::from_bytes(&flipped, "counts").is_err(),
            "byte {byte}"
        );

        assert!(
            Manifest::from_bytes(&bytes[..byte], "counts").is_err(),
            "length {byte}"
        );
    }

    assert!(
        matches!(Manifest::from_bytes(&bytes, "sums"), Err(ManifestError::Foreign(job)) if job == "counts")
    );

    for other in [VERSION - 1, VERSION + 1] {
        let versioned = Manifest {
            version: other,
            ..manifest()
        };
        let refused = Manifest::from_bytes(&versioned.to_bytes(), "counts");
        assert!(matches!(refused, Err(ManifestError::Version(found)) if found == other));
    }
}

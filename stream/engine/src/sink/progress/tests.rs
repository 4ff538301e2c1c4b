//! Tests of the sink's progress.

use super::*;

fn horizons(steps: &[(Offset, EventTimeMs)]) -> Horizons {
    Horizons(steps.to_vec())
}

fn number(line: u32, before: EventTimeMs) -> u64 {
    Progress { line, before }.number()
}

fn kept(numbers: &[u64]) -> Vec<FormerSlot> {
    numbers.iter().copied().map(FormerSlot::kept).collect()
}

#[test]
fn progress_reads_back_as_it_was_written_and_is_small() {
    let mut progress = SinkProgress {
        publishers: 6,
        ..SinkProgress::default()
    };
    let pane = Progress {
        line: 2,
        before: 1_795_341_600_001,
    };

    (0..1024)
        .filter(|group| group % 16 < 3)
        .for_each(|group| progress.groups.advance(group, pane));

    let side = SideProgress {
        attempt: 9,
        line: 2,
        published: 1 << 40,
        settled: 1 << 39,
        horizons: horizons(&[(1 << 39, 1_795_341_600_000)]),
    };

    progress.sides = (0..100).map(|id| (id, side.clone())).collect();
    let bytes = progress.to_bytes();
    let read = PublisherProgress::from_bytes("counts-sink-0", &bytes).unwrap();

    assert_eq!(read, PublisherProgress::Sink(Box::new(progress)));
    assert!(bytes.len() < 8_000, "{} bytes", bytes.len());
}

#[test]
fn earlier_progress_is_read_and_that_of_later_versions_refused() {
    let number = number(1, 81);
    let of = |bytes: &[u8]| PublisherProgress::from_bytes("counts-sink-3", bytes);
    let bytes = number.to_be_bytes();
    let kept = FormerSlot::kept(number);
    let expiring = FormerSlot {
        is_kept: false,
        ..kept
    };

    assert_eq!(of(&bytes), Ok(PublisherProgress::Slot(expiring)));
    let formatted = [&[FORMAT_OF_ONE_SLOT][..], &bytes].concat();

    assert_eq!(of(&formatted), Ok(PublisherProgress::Slot(kept)));
    for line in [256, 512] {
        let bytes = self::number(line, 81).to_be_bytes();
        assert!(
            matches!(of(&bytes), Ok(PublisherProgress::Slot(_))),
            "line {line}"
        );
    }

    for unknown in [&[][..], &[3; 9], &[3; 20], &[2, 255], &[1; 10], &[1; 7]] {
        let error = of(unknown).unwrap_err().to_string();
        assert!(error.contains("counts-sink-3"), "{error}");
    }
}

#[test]
fn groups_take_over_what_their_slot_had_committed() {
    let slots = kept(&[number(0, 11), 0, number(1, 5)]);
    let progress = SinkProgress::default().with_former_slots(slots);
    let of = |group| progress.groups.of(group).map(Progress::number);
    assert_eq!([of(0), of(341)], [Some(number(0, 11)); 2]);
    assert_eq!([of(342), of(682)], [None; 2]);
    assert_eq!([of(683), of(1023)], [Some(number(1, 5)); 2]);
    assert_eq!(progress.furthest(), Some(number(1, 5)));
    assert_eq!(SinkProgress::default().furthest(), None);
}

#[test]
fn groups_go_on_from_what_is_known_to_be_committed() {
    let lineage = Lineage::default().branched(0, 50, 50);
    let slots = kept(&[
        number(0, 11),
        0,
        number(0, 45),
        number(0, 90),
        number(1, 30),
    ]);

    let progress = SinkProgress::default().with_former_slots(slots);
    let known = progress.at_least(&lineage, 40);
    let before = [0, 205, 410, 615, 820].map(|group| {
        let progress = known.groups.of(group).unwrap();
        lineage.committed_before(progress)
    });

    assert_eq!(before, [40, 40, 45, 50, 40]);
    assert!(known.is_kept);

    let new = SinkProgress::default().at_least(&Lineage::default(), 0);
    assert_eq!(new.furthest(), None);
}

#[test]
fn what_publishers_carry_merges_to_the_furthest() {
    let side = |attempt, published| SideProgress {
        attempt,
        published,
        ..SideProgress::default()
    };
    let one = SinkProgress {
        publishers: 6,
        sides: BTreeMap::from([(0, side(3, 7)), (1, side(2, 9))]),
        former_parts: BTreeMap::from([("a".to_owned(), 2)]),
        ..SinkProgress::default().with_former_slots(kept(&[number(0, 11), number(0, 41)]))
    };

    let other = SinkProgress {
        publishers: 3,
        sides: BTreeMap::from([(1, side(4, 10)), (2, side(4, 1))]),
        former_parts: BTreeMap::from([("a".to_owned(), 1)]),
        ..SinkProgress::default().with_former_slots(kept(&[number(0, 31)]))
    };

    let merged = [(one.clone(), other.clone()), (other, one.clone())].map(|(mut a, b)| {
        a.merge(b);
        a
    });

    for SinkProgress {
        publishers,
        groups,
        sides,
        former_parts,
        ..
    } in merged
    {
        assert_eq!(publishers, 6);
        assert_eq!(groups.of(0).unwrap().before, 31);
        assert_eq!(groups.of(1023).unwrap().before, 41);
        assert_eq!(
            sides,
            BTreeMap::from([(0, side(3, 7)), (1, side(4, 10)), (2, side(4, 1))])
        );
        assert_eq!(former_parts["a"], 2);
    }
}

#[test]
fn a_late_record_is_published_if_its_pane_is_before_the_horizon() {
    let side = SideProgress {
        published: 50,
        settled: 10,
        horizons: horizons(&[(10, 0), (20, 100), (40, 300)]),
        ..SideProgress::default()
    };

    let late = |offset, pane| side.has_late(offset, pane);
    assert_eq!(
        [late(19, 99), late(20, 99), late(20, 100)],
        [false, true, false]
    );

    assert_eq!([late(45, 299), late(50, 299)], [true, false]);
    assert_eq!(
        [side.has_rejected(49), side.has_rejected(50)],
        [true, false]
    );
}

#[test]
fn the_largest_progress_is_one_that_a_log_stores() {
    let mut progress = SinkProgress::default();
    for group in 0..1024 {
        let before = 1_795_341_600_001 + u64::from(group) * 60_000;
        progress.groups.advance(group, Progress { line: 2, before });
    }

    let steps = HORIZONS_MAX as u64 / 100;
    for id in 0..100 {
        let step = |n| ((1 << 40) + n * 9_000, 1_795_341_600_000 + n * 3_600_000);
        let side = SideProgress {
            attempt: 900,
            line: 2,
            published: 1 << 41,
            settled: 1 << 40,
            horizons: Horizons((0..steps).map(step).collect()),
        };
        progress.sides.insert(id, side);
    }

    let bytes = progress.to_bytes();
    assert!(
        bytes.len() < record_log::PROGRESS_MAX_BYTES,
        "{}",
        bytes.len()
    );

    let read = PublisherProgress::from_bytes("counts-sink-0", &bytes).unwrap();
    assert_eq!(read, PublisherProgress::Sink(Box::new(progress)));
}

#[test]
fn horizons_below_what_is_settled_are_dropped_and_the_others_stay() {
    let all = horizons(&[(0, 100), (30, 400), (60, 300), (80, 500)]);
    for settled in 0..100 {
        let mut kept = all.clone();
        kept.settle(settled);
        assert!((settled..100).all(|offset| kept.at(offset) == all.at(offset)));
        let encoded: Vec<(u64, i64)> = kept.clone().into();
        assert_eq!(Horizons::from(encoded), kept);
    }
    let mut kept = all.clone();
    kept.settle(75);
    assert_eq!(kept.count(), 2);
}

#[test]
fn of_two_attempts_each_counts_as_far_as_it_came() {
    let first = horizons(&[(0, 100), (30, 400)]);
    let second = horizons(&[(10, 200)]);
    let merged = second.with(20, (&first, 40), 5);

    for offset in 5..60 {
        let of_first = if offset < 40 { first.at(offset) } else { 0 };
        let of_second = if offset < 20 { second.at(offset) } else { 0 };
        assert_eq!(
            merged.at(offset),
            of_first.max(of_second),
            "offset {offset}"
        );
    }

    assert_eq!(merged.at(4), 0, "settled long ago");
    assert_eq!(merged, merged.with(60, (&Horizons::default(), 0), 5));
}

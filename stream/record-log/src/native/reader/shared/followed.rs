//! Tests of the state of a partition that is read from a follower: only its leader dates its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tests::{NODE, batch, fetched, shared, wanted};
use super::{End, Fetched, Found, Shared, Taken};
use crate::native::api::Code;
use crate::native::cluster::{Cluster, Leader};
use crate::native::reader::fetch::Answer;
use crate::native::reader::fetcher::Fetcher;
use crate::native::settings::Settings;
use crate::native::wire::Frame;

const FOLLOWER: i32 = 2;
const LEADER: Leader = Leader {
    node: NODE,
    epoch: 0,
};

/// Returns a reader's state with one partition, whose leader has named a follower.
fn followed() -> Shared {
    let shared = shared(1);
    shared.state().follow(0, Some(FOLLOWER));
    shared
}

/// Stores an answer of the follower with these bytes and this end.
fn answer(shared: &Shared, bytes: &[u8], end: i64, as_of_ms: u64) {
    let frame = shared.frames.share(Frame::of(bytes));
    let asked = wanted(shared, FOLLOWER, 0);
    let fetched = fetched(0, bytes.len(), end);
    shared.state().store(&asked, fetched, &frame, as_of_ms);
}

fn end(shared: &Shared) -> Option<End> {
    match shared.take(0) {
        Taken::Nothing { end, .. } => end,
        Taken::Piece(_) => panic!("nothing was fetched"),
    }
}

#[test]
fn a_partition_is_fetched_from_its_follower_alone() {
    let shared = followed();
    let plan = shared.state().plan(FOLLOWER).unwrap();
    assert_eq!(plan.wanted.len(), 1);
    assert!(plan.unconfirmed.is_empty(), "a follower states no ends");

    let of_leader = shared.state().plan(NODE).unwrap();
    assert!(of_leader.wanted.is_empty());
    assert_eq!(of_leader.unconfirmed, [(0, LEADER.epoch)]);
}

#[test]
fn the_end_of_a_follower_is_never_dated() {
    let shared = followed();
    answer(&shared, &[], 0, 5);
    assert_eq!(end(&shared), None);

    // An answer of its session that leaves the partition out gives no date either.
    let stated = End {
        offset: 0,
        as_of_ms: 6,
    };
    assert!(shared.state().take_end(0, LEADER, stated));
    shared.state().confirm_end(0, 7);
    assert_eq!(end(&shared), Some(stated));
}

#[test]
fn the_leader_dates_the_end_when_the_follower_has_nothing() {
    let shared = followed();
    for as_of_ms in [10, 20, 30] {
        assert!(shared.state().plan(NODE).is_some());
        let stated = End {
            offset: 0,
            as_of_ms,
        };
        shared.state().take_end(0, LEADER, stated);
        assert_eq!(end(&shared), Some(stated));
        assert!(
            shared.state().plan(NODE).is_none(),
            "until it has nothing again"
        );
        answer(&shared, &[], 0, as_of_ms + 1);
    }

    // While records come, no end is requested.
    answer(&shared, &batch(10), 1, 40);
    assert!(shared.state().plan(NODE).is_none());
}

#[test]
fn an_answer_of_a_broker_that_is_read_no_more_is_left_out() {
    let shared = followed();
    assert!(shared.state().is_read_from(0, FOLLOWER));
    assert!(!shared.state().is_read_from(0, NODE));

    shared.state().slots[0].leave_follower(Instant::now());
    assert!(shared.state().is_read_from(0, NODE));
    let plan = shared.state().plan(NODE).unwrap();
    assert!(!plan.may_follow, "the leader would name it again");

    shared.state().slots[0].lose_leader(None);
    assert!(!shared.state().is_read_from(0, NODE));
}

/// Stores this answer of this broker to the next fetch.
fn distribute(shared: &Arc<Shared>, node: i32, throttle: Duration, partitions: Vec<Fetched>) {
    let settings = Settings::new("localhost:1", &[]).unwrap();
    let cluster = Arc::new(Cluster::new(settings.access, settings.brokers));
    let plan = shared.state().plan(node).unwrap();
    let answer = Answer {
        throttle,
        code: Code::NONE,
        session_id: 0,
        partitions,
    };

    let frame = shared.frames.share(Frame::of(&[]));
    Fetcher::new(&cluster, shared, node).distribute(&plan, answer, &(frame, 0), 1);
}

#[test]
fn a_throttled_follower_does_not_lag() {
    let shared = Arc::new(followed());
    let bytes = batch(1);
    answer(&shared, &bytes, 1, 1);
    assert!(matches!(shared.take(0), Taken::Piece(_)));

    let wants_end = || shared.state().slots[0].replica.wants_end();
    distribute(&shared, FOLLOWER, Duration::from_millis(1), Vec::new());
    assert!(!wants_end());
    distribute(&shared, FOLLOWER, Duration::ZERO, Vec::new());
    assert!(wants_end(), "it has nothing more");
}

/// Stores this broker's refusal of the next fetch of the partition. Returns the result for the reader.
fn refuse(shared: &Arc<Shared>, node: i32, code: Code, diverged_at: Option<i64>) -> Option<Found> {
    let refused = Fetched {
        code,
        diverged_at,
        ..fetched(0, 0, -1)
    };

    distribute(shared, node, Duration::ZERO, vec![refused]);
    match shared.take(0) {
        Taken::Nothing { found, .. } => found,
        Taken::Piece(_) => panic!("nothing was fetched"),
    }
}

/// A follower that lags may not have the offset yet, or may have a different log. So a position is lost only if the
/// leader does not have it.
#[test]
fn a_position_is_lost_only_where_the_leader_does_not_have_it() {
    for (code, diverged_at) in [
        (Code::OFFSET_OUT_OF_RANGE, None),
        (Code::NONE, Some(0)),
        (Code::UNKNOWN_LEADER_EPOCH, None),
    ] {
        let shared = Arc::new(followed());
        answer(&shared, &batch(10), 1, 5);
        assert!(matches!(shared.take(0), Taken::Piece(_)));
        let before = wanted(&shared, FOLLOWER, 0);

        assert!(refuse(&shared, FOLLOWER, code, diverged_at).is_none());
        assert!(shared.state().plan(FOLLOWER).is_none());
        let plan = shared.state().plan(NODE).unwrap();
        assert!(!plan.may_follow, "the leader would name it again");
        let [again] = &plan.wanted[..] else {
            panic!("one partition is wanted: {:?}", plan.wanted)
        };
        assert_eq!((again.offset, before.offset), (1, 1));
    }

    let shared = Arc::new(followed());
    shared.state().slots[0].leave_follower(Instant::now());
    let found = refuse(&shared, NODE, Code::OFFSET_OUT_OF_RANGE, None);
    assert!(matches!(found, Some(Found::Lost)), "{found:?}");
}

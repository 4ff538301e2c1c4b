//! Sessions: runs of events without a long gap between them.

use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::pane::EventTimeMs;

/// The exact sessions of a key in a window: events at most `GAP_MS` apart belong to the same
/// session.
///
/// A session that continues beyond its window is cut there. So a window bounds the length of a
/// session and the size of its state. A row contains all sessions of its window, and a late event
/// that joins two of them replaces the row: nothing has to be retracted. In return, sessions are
/// emitted when their window ends, not when the gap has passed; for that, see
/// [`SessionWindows`](crate::SessionWindows).
///
/// ```
/// use stream::{Aggregate, Count, Sessions};
///
/// /// Half an hour without an event ends a session.
/// type Visits = Sessions<Count, 1_800_000>;
///
/// let mut visits = Visits::of(1_000, Count(1));
/// visits.merge(&Visits::of(9_000_000, Count(1)));
/// visits.merge(&Visits::of(1_500_000, Count(1)));
/// let visits: Vec<_> = visits.all().iter().map(|visit| (visit.first_ms, visit.last_ms, visit.aggregate.0)).collect();
/// assert_eq!(visits, [(1_000, 1_500_000, 2), (9_000_000, 9_000_000, 1)]);
/// ```
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(bound = "A: Aggregate")]
pub struct Sessions<A, const GAP_MS: u64>(Vec<Session<A>>);

/// One session of a key. Merging two assumes that they belong to the same session.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(bound = "A: Aggregate")]
pub struct Session<A> {
    /// The time of the session's first event.
    pub first_ms: EventTimeMs,
    /// The time of the session's last event.
    pub last_ms: EventTimeMs,
    /// The aggregate of the session's events.
    pub aggregate: A,
}

impl<A: Aggregate> Session<A> {
    /// Creates a session of a single event.
    pub fn of(event_ms: EventTimeMs, aggregate: A) -> Self {
        Self {
            first_ms: event_ms,
            last_ms: event_ms,
            aggregate,
        }
    }
}

impl<A: Aggregate> Aggregate for Session<A> {
    fn merge(&mut self, other: &Self) {
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.aggregate.merge(&other.aggregate);
    }

    fn signature() -> String {
        format!("session of {}", A::signature())
    }

    fn earlier_signatures() -> Vec<String> {
        let earlier = A::earlier_signatures();
        let named = |kind: &String| format!("session of {kind}");
        earlier.iter().map(named).collect()
    }
}

impl<A: Aggregate, const GAP_MS: u64> Sessions<A, GAP_MS> {
    /// Creates a session of a single event.
    pub fn of(event_ms: EventTimeMs, aggregate: A) -> Self {
        Self(vec![Session::of(event_ms, aggregate)])
    }

    /// Returns the sessions, in order.
    pub fn all(&self) -> &[Session<A>] {
        &self.0
    }
}

impl<A: Aggregate, const GAP_MS: u64> Aggregate for Sessions<A, GAP_MS> {
    fn merge(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
        self.0.sort_by_key(|session| session.first_ms);
        self.0.dedup_by(|later, kept| {
            let is_same = later.first_ms <= kept.last_ms.saturating_add(GAP_MS);
            if is_same {
                kept.merge(later);
            }
            is_same
        });
    }

    fn signature() -> String {
        format!("sessions of {} by {GAP_MS} ms", A::signature())
    }

    fn earlier_signatures() -> Vec<String> {
        let earlier = A::earlier_signatures();
        let named = |kind: &String| format!("sessions of {kind} by {GAP_MS} ms");
        earlier.iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Count;

    #[test]
    fn an_event_between_two_sessions_makes_one_of_them() {
        let mut sessions: Sessions<Count, 10> = Sessions::of(0, Count(1));
        sessions.merge(&Sessions::of(20, Count(1)));
        assert_eq!(sessions.all().len(), 2);
        sessions.merge(&Sessions::of(10, Count(1)));

        assert_eq!(
            sessions.all(),
            [Session {
                first_ms: 0,
                last_ms: 20,
                aggregate: Count(3)
            }]
        );
    }
}

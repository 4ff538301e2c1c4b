//! The live feed: sends new and corrected counts to listeners once they are written.
//!
//! An event's id is a position in the two topics: for every partition, the offset that follows the last record sent. A
//! position means the same in every replica and after a restart. A listener that reconnects with the last id that it
//! received (`Last-Event-ID`) gets the events that it missed, if they are among the last [`KEPT`] events of this
//! process. Otherwise it gets a `reset` and must read the lists again. Every event is an upsert, so receiving one
//! twice does no harm.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use record_log::Offset;
use tokio::sync::broadcast;

/// Number of events kept for listeners that reconnect.
const KEPT: usize = 8_192;
/// Maximum number of events by which a listener may fall behind; beyond it, its stream ends and it must reconnect.
const BACKLOG: usize = 4_096;

/// For each partition of the two topics, the offset that follows the last record sent.
pub type FeedPosition = BTreeMap<(FeedTopic, u32), Offset>;

/// The topic from which an event came.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FeedTopic {
    /// `analytics-results`.
    Counts,
    /// `analytics-summaries`.
    Windows,
}

/// An event, as sent to listeners.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The position after it.
    pub id: String,
    /// The topic from which it came.
    pub topic: FeedTopic,
    /// The user whose count it is; `None` for a window.
    pub user_id: Option<u64>,
    /// The count or summary, as JSON.
    pub data: String,
    at: (u32, Offset),
}

/// The start of a listener's stream: the events it missed, and a receiver of new ones.
pub struct Subscription {
    /// The position at which the stream begins: the last id of the listener, or the current position if it has none or
    /// is reset. Empty until the topics are known.
    pub id: String,
    /// Whether some of the missed events are no longer kept, or the last id is not valid.
    pub is_reset: bool,
    /// The missed events that are still kept.
    pub missed: Vec<Arc<Event>>,
    /// Receives new events.
    pub live: broadcast::Receiver<Arc<Event>>,
}

/// The feed. Clones share its state.
#[derive(Clone)]
pub struct Feed(Arc<Mutex<Inner>>);

struct Inner {
    /// The position after the newest event.
    sent: FeedPosition,
    /// The position before the oldest event kept.
    kept_from: FeedPosition,
    kept: VecDeque<Arc<Event>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Default for Feed {
    fn default() -> Self {
        let (live, _) = broadcast::channel(BACKLOG);
        let inner = Inner {
            sent: FeedPosition::new(),
            kept_from: FeedPosition::new(),
            kept: VecDeque::new(),
            live,
        };
        Self(Arc::new(Mutex::new(inner)))
    }
}

impl Feed {
    /// Records the offsets from which events of `topic` are sent. Partitions that are already
    /// known keep their offsets.
    pub fn opened(&self, topic: FeedTopic, next: &[(u32, Offset)]) {
        let mut inner = self.inner();
        for (partition, offset) in next {
            inner.sent.entry((topic, *partition)).or_insert(*offset);
            inner
                .kept_from
                .entry((topic, *partition))
                .or_insert(*offset);
        }
    }

    /// Sends the content of the record at `(partition, offset)` to the listeners. A record that is
    /// consumed again is not sent again.
    pub fn send(&self, topic: FeedTopic, at: (u32, Offset), user_id: Option<u64>, data: String) {
        let mut inner = self.inner();
        let sent = inner.sent.entry((topic, at.0)).or_insert(at.1);
        if *sent > at.1 {
            return;
        }

        *sent = at.1 + 1;
        let event = Arc::new(Event {
            id: format_position(&inner.sent),
            topic,
            user_id,
            data,
            at,
        });
        inner.kept.push_back(Arc::clone(&event));
        if inner.kept.len() > KEPT {
            inner.forget_oldest();
        }

        // An error means that there are no listeners, which is fine.
        drop(inner.live.send(event));
    }

    /// Subscribes a listener. With `last_id`, the stream starts after that position, and otherwise with the next event.
    pub fn subscribe(&self, last_id: Option<&str>) -> Subscription {
        let inner = self.inner();
        let live = inner.live.subscribe();
        let Some(seen) = last_id.and_then(parse_position) else {
            return Subscription {
                id: format_position(&inner.sent),
                is_reset: last_id.is_some(),
                missed: Vec::new(),
                live,
            };
        };

        let before = |key: &(FeedTopic, u32)| seen.get(key).copied().unwrap_or(0);
        let is_reset = inner
            .kept_from
            .iter()
            .any(|(key, kept_from)| before(key) < *kept_from);

        let is_missed = |event: &&Arc<Event>| event.at.1 >= before(&(event.topic, event.at.0));
        let id = if is_reset { &inner.sent } else { &seen };
        Subscription {
            id: format_position(id),
            is_reset,
            missed: inner.kept.iter().filter(is_missed).cloned().collect(),
            live,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.kept_from
                .insert((oldest.topic, oldest.at.0), oldest.at.1 + 1);
        }
    }
}

/// Formats a position, as in `c0-17.c1-9.w0-4`: topic and partition, then the offset.
fn format_position(position: &FeedPosition) -> String {
    let mut text = String::new();
    for ((topic, partition), offset) in position {
        let separator = if text.is_empty() { "" } else { "." };
        write!(text, "{separator}{}{partition}-{offset}", topic.letter())
            .expect("a String takes all");
    }

    text
}

fn parse_position(text: &str) -> Option<FeedPosition> {
    text.split('.').map(parse_entry).collect()
}

fn parse_entry(text: &str) -> Option<((FeedTopic, u32), Offset)> {
    let (letter, rest) = text.split_at_checked(1)?;
    let topic = [FeedTopic::Counts, FeedTopic::Windows]
        .into_iter()
        .find(|topic| topic.letter() == letter)?;
    let (partition, offset) = rest.split_once('-')?;
    Some(((topic, partition.parse().ok()?), offset.parse().ok()?))
}

impl FeedTopic {
    fn letter(self) -> &'static str {
        match self {
            Self::Counts => "c",
            Self::Windows => "w",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(events: std::ops::Range<u64>) -> Feed {
        let feed = Feed::default();
        feed.opened(FeedTopic::Counts, &[(0, events.start), (1, 0)]);
        feed.opened(FeedTopic::Windows, &[(0, 0)]);

        events.for_each(|offset| {
            feed.send(
                FeedTopic::Counts,
                (0, offset),
                Some(offset),
                offset.to_string(),
            );
        });

        feed
    }

    fn missed(feed: &Feed, last_id: &str) -> (bool, Vec<String>) {
        let subscription = feed.subscribe(Some(last_id));
        (
            subscription.is_reset,
            subscription
                .missed
                .iter()
                .map(|event| event.data.clone())
                .collect(),
        )
    }

    #[tokio::test]
    async fn a_listener_hears_what_comes() {
        let feed = feed(0..2);
        let mut subscription = feed.subscribe(None);
        feed.send(FeedTopic::Windows, (0, 0), None, "w".to_owned());

        let heard = subscription.live.recv().await.unwrap();
        assert_eq!(
            (heard.id.as_str(), heard.data.as_str()),
            ("c0-2.c1-0.w0-1", "w")
        );
        assert!(subscription.missed.is_empty() && !subscription.is_reset);
    }

    #[test]
    fn a_listener_that_returns_gets_what_it_missed() {
        let feed = feed(0..3);
        feed.send(FeedTopic::Counts, (1, 0), None, "other".to_owned());
        assert_eq!(
            missed(&feed, "c0-1.c1-0.w0-0"),
            (false, vec!["1".into(), "2".into(), "other".into()])
        );
        assert_eq!(missed(&feed, "c0-3.c1-1.w0-0"), (false, vec![]));
    }

    #[test]
    fn a_listener_is_told_when_what_it_missed_is_gone() {
        assert!(missed(&feed(5..8), "c0-4.c1-0.w0-0").0);
        assert!(!missed(&feed(5..8), "c0-5.c1-0.w0-0").0);
        assert!(missed(&feed(0..KEPT as u64 + 2), "c0-1.c1-0.w0-0").0);
        assert!(!missed(&feed(0..KEPT as u64 + 2), "c0-2.c1-0.w0-0").0);
        assert!(missed(&feed(0..1), "nonsense").0);
    }

    #[test]
    fn a_record_that_is_consumed_again_is_not_sent_again() {
        let feed = feed(0..3);
        feed.opened(FeedTopic::Counts, &[(0, 1), (1, 0)]);
        feed.send(FeedTopic::Counts, (0, 1), None, "again".to_owned());
        assert_eq!(missed(&feed, "c0-0.c1-0.w0-0").1, ["0", "1", "2"]);
    }
}

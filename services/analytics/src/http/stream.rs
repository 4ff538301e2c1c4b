//! `GET /analytics/stream`: the feed as server-sent events.
//!
//! The first event is sent at once: `ready`, or `reset`, which means that events were missed and that the lists must
//! be read again. Its id is the position at which the stream begins. The event `count` contains a new or corrected
//! count, and `window` the summary of a window. The stream ends at a shutdown, when the listener is too slow, or when
//! the token of its request expires. A client reconnects by sending the last id that it received as `Last-Event-ID`;
//! browsers do so by themselves.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use chassis::auth::{Admin, Until};
use chassis::{Query, Result};
use futures::{Stream, StreamExt, future, stream};
use serde::Deserialize;
use tokio::sync::broadcast;

use super::Analytics;
use crate::feed::{Event, FeedTopic};

/// Interval of keep-alive comments on a stream without events: shorter than the timeouts of proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The header that makes proxies such as nginx forward each event at once.
const UNBUFFERED: [(&str, &str); 1] = [("x-accel-buffering", "no")];

/// The query of the stream.
#[derive(Debug, Deserialize)]
pub(super) struct StreamQuery {
    /// If given, only this user's counts are sent; windows are sent in any case.
    user_id: Option<u64>,
}

pub(super) async fn stream(
    _: Admin,
    token: Until,
    State(analytics): State<Analytics>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<impl IntoResponse> {
    let last_id = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok());
    let subscription = analytics.feed.subscribe(last_id);

    let first = first(subscription.is_reset, &subscription.id);

    let is_wanted = move |event: &Arc<Event>| {
        let wanted =
            query.user_id.is_none() || event.user_id.is_none() || event.user_id == query.user_id;
        std::future::ready(wanted)
    };

    let events = stream::iter(subscription.missed)
        .chain(live(subscription.live))
        .filter(is_wanted);
    let sent = stream::once(future::ready(first)).chain(events.map(|event| sent(&event)));
    let shutdown = analytics.shutdown.clone();

    let end = async move {
        tokio::select! {
            () = shutdown.requested() => {}
            () = token.passed() => {}
        }
    };
    let sent = sent.take_until(Box::pin(end)).map(Ok::<_, Infallible>);
    let events = Sse::new(sent).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok((UNBUFFERED, events))
}

/// Returns the new events. The stream ends when the listener falls too far behind.
fn live(receiver: broadcast::Receiver<Arc<Event>>) -> impl Stream<Item = Arc<Event>> {
    stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await.ok()?;
        Some((event, receiver))
    })
}

/// Returns the first event of a stream that begins at the position `id`.
fn first(is_reset: bool, id: &str) -> Sent {
    let name = if is_reset { "reset" } else { "ready" };
    let event = Sent::default().event(name).data("{}");
    if id.is_empty() { event } else { event.id(id) }
}

fn sent(event: &Event) -> Sent {
    let name = match event.topic {
        FeedTopic::Counts => "count",
        FeedTopic::Windows => "window",
    };
    Sent::default().event(name).id(&event.id).data(&event.data)
}

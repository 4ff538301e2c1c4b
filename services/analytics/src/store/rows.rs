//! Windows as DynamoDB items, and counts as earlier versions wrote them. Times are stored in milliseconds, expiry in seconds, as
//! DynamoDB requires.

use std::time::Duration;

use events::{Amount, Amounts, Timestamp, TopUser, WindowCount, WindowSummary};
use serde::{Deserialize, Serialize};

/// A count as an item of an earlier version.
#[derive(Debug, Deserialize)]
pub(super) struct CountRow {
    user_id: u64,
    #[serde(with = "as_ms")]
    window_start: Timestamp,
    #[serde(with = "as_ms")]
    window_end: Timestamp,
    order_count: u64,
    #[serde(flatten)]
    amounts: Amounts,
    revision: u32,
}

/// The summary of a window: the attributes of its item other than the key.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct SummaryRow {
    #[serde(with = "as_ms")]
    window_end: Timestamp,
    order_count: u64,
    user_count: u64,
    #[serde(flatten)]
    amounts: Amounts,
    top_users: Vec<TopUser>,
    revision: u32,
    expires_at: u64,
}

/// The item of a window: the levels of its chunks once it has counts, and its summary once that has arrived.
#[derive(Debug, Deserialize)]
pub(super) struct WindowRow {
    #[serde(with = "as_ms")]
    pub(super) window_start: Timestamp,
    #[serde(with = "as_ms")]
    pub(super) window_end: Timestamp,
    /// The levels of the chunks with counts of this minute.
    #[serde(default)]
    pub(super) levels: Vec<u8>,
    /// The levels of the chunks with late counts of this minute.
    #[serde(default)]
    pub(super) late_levels: Vec<u8>,
    /// Whether some of these windows start within the minute, not only with it.
    #[serde(default)]
    pub(super) has_inner: bool,
    /// The shards of the counts that an earlier version has written.
    #[serde(default)]
    pub(super) shards: Vec<u64>,
    order_count: Option<u64>,
    user_count: Option<u64>,
    total_cents: Option<u64>,
    totals: Option<Vec<Amount>>,
    top_users: Option<Vec<TopUser>>,
    revision: Option<u32>,
}

impl CountRow {
    pub(super) fn into_count(self) -> WindowCount {
        WindowCount {
            user_id: self.user_id,
            window_start: self.window_start,
            window_end: self.window_end,
            order_count: self.order_count,
            amounts: self.amounts,
            revision: self.revision,
        }
    }
}

impl SummaryRow {
    pub(super) fn new(summary: &WindowSummary, retention: Duration) -> Self {
        Self {
            window_end: summary.window_end,
            order_count: summary.order_count,
            user_count: summary.user_count,
            amounts: summary.amounts.clone(),
            top_users: summary.top_users.clone(),
            revision: summary.revision,
            expires_at: expires_at(summary.window_end, retention),
        }
    }
}

impl WindowRow {
    pub(super) fn into_summary(self) -> Option<WindowSummary> {
        Some(WindowSummary {
            window_start: self.window_start,
            window_end: self.window_end,
            order_count: self.order_count?,
            user_count: self.user_count?,
            amounts: Amounts::of_fields(self.total_cents, self.totals)?,
            top_users: self.top_users?,
            revision: self.revision?,
        })
    }
}

/// Returns the time at which a window's items may expire, in seconds since 1970.
pub(super) fn expires_at(window_end: Timestamp, retention: Duration) -> u64 {
    window_end.as_ms() / 1_000 + retention.as_secs()
}

/// Serialises instants as milliseconds.
mod as_ms {
    use events::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        instant: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(instant.as_ms())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let ms = u64::deserialize(deserializer)?;
        Timestamp::from_ms(ms)
            .ok_or_else(|| de::Error::custom("not an instant before the year 10000"))
    }
}

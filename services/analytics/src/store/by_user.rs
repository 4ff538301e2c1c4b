//! Lists the counts of one user, newest first.
//!
//! The user's chunks are in a bucket of each level, sorted by their labels. Hours that are merged are read from their
//! fine buckets, together with the late counts of these hours, and later times from the buckets of minutes (`hours`). The
//! counts of earlier versions are in a table of their own. All of these are read backwards together, page by page, until
//! the newest counts are known: those that start after all that is not read yet.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use events::{Timestamp, WindowCount};
use futures::future::try_join_all;

use super::buckets::{Bucket, LEVELS, Shelf, hash};
use super::by_window::Starts;
use super::hours::Hours;
use super::{Store, StoreError};

/// The fewest items of a page. Each further page has four times as many as the one before.
const FIRST_PAGE: usize = 32;

/// The counts of a user that are in one place.
struct History {
    /// The bucket of the chunks; none for the table of earlier versions.
    bucket: Option<Bucket>,
    /// The part of the range that is read here.
    starts: Starts,
    read_to_ms: u64,
    next: Option<HashMap<String, AttributeValue>>,
    is_read: bool,
    page: usize,
}

impl Store {
    /// Returns at most `limit` counts of the user in the range, newest window first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn of_user(
        &self,
        user_id: u64,
        starts: Starts,
        limit: usize,
    ) -> Result<Vec<WindowCount>, StoreError> {
        if starts.upto_ms().is_none() {
            return Ok(Vec::new());
        }

        let hours = self.hours().await?;
        let mut histories = histories(&hours, user_id, starts, limit);
        let mut found: BTreeMap<Timestamp, WindowCount> = BTreeMap::new();
        loop {
            let unread = histories.iter().filter(|history| !history.is_read);
            let Some(read_to_ms) = unread.map(|history| history.read_to_ms).max() else {
                break;
            };

            let known = found.iter().rev();
            let newest = known.take_while(|(start, _)| start.as_ms() >= read_to_ms);
            if newest.count() >= limit {
                break;
            }

            // Those that hold the others up.
            let latest = histories
                .iter_mut()
                .filter(|history| !history.is_read && history.read_to_ms == read_to_ms);
            let pages = latest.map(|history| self.read_page(history, user_id));
            for count in try_join_all(pages).await?.into_iter().flatten() {
                keep_newest(&mut found, count);
            }
        }
        Ok(found.into_values().rev().take(limit).collect())
    }

    /// Reads the next page of a history, and returns the user's counts on it.
    async fn read_page(
        &self,
        history: &mut History,
        user_id: u64,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let starts = history.starts;
        let begin = history.next.take();
        let page = match history.bucket {
            Some(bucket) => self.backwards(bucket, starts, begin, history.page).await?,
            None => self.rows_of(user_id, starts, begin, history.page).await?,
        };

        history.page = history.page.saturating_mul(4);
        history.read_to_ms = page.read_to_ms.unwrap_or(history.read_to_ms);
        history.is_read = page.next.is_none();
        history.next = page.next;
        let own = page.counts.into_iter();
        Ok(own
            .filter(|count| count.user_id == user_id && starts.has(count.window_start))
            .collect())
    }
}

/// Returns the places that may have counts of the user in this range.
fn histories(hours: &Hours, user_id: u64, starts: Starts, limit: usize) -> Vec<History> {
    let hash = hash(user_id);
    let all = |shelf| (0..LEVELS).map(move |level| Bucket::of(shelf, level, hash));
    let merged = hours
        .levels
        .iter()
        .map(|level| Bucket::of(Shelf::Hours, *level, hash));

    let by_minute = starts.since_ms(hours.merged_ms);
    let by_hour = starts.before_ms(hours.merged_ms);
    let late = starts.before_ms(hours.closed_ms);
    let places = all(Shelf::Timely)
        .map(|bucket| (Some(bucket), by_minute))
        .chain(merged.map(|bucket| (Some(bucket), by_hour)))
        .chain(all(Shelf::Late).map(|bucket| (Some(bucket), late)))
        .chain([(None, starts)]);
    places
        .filter_map(|(bucket, starts)| History::unread(bucket, starts, limit))
        .collect()
}

impl History {
    /// Returns a history of which nothing is read; none if the range is empty.
    fn unread(bucket: Option<Bucket>, starts: Starts, limit: usize) -> Option<Self> {
        Some(Self {
            bucket,
            starts,
            read_to_ms: starts.upto_ms()?.saturating_add(1),
            next: None,
            is_read: false,
            page: limit.max(FIRST_PAGE),
        })
    }
}

fn keep_newest(found: &mut BTreeMap<Timestamp, WindowCount>, count: WindowCount) {
    let known = found.get(&count.window_start);
    if known.is_none_or(|known| known.revision < count.revision) {
        found.insert(count.window_start, count);
    }
}

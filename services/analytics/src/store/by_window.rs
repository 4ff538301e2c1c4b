//! Lists the counts of all users, newest window first.
//!
//! The windows' own table has the minutes with counts, and the levels of their chunks. Within a window users are in
//! the order of their hashes, so a page of a minute with many users reads a few neighbouring
//! buckets of each level, and not the whole minute.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use events::{Timestamp, WindowCount};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::buckets::{Bucket, MINUTE_MS, Shelf, hash, minute_ms, order};
use super::chunks::newest;
use super::rows::WindowRow;
use super::windows::WINDOWS_PAGE;
use super::{Store, StoreError};

/// Number of buckets of the finest level that are read for a page at a time.
const BUCKETS_AT_ONCE: u64 = 16;
/// Number of concurrent queries.
const READS_AT_ONCE: usize = 32;

/// A position in a list of counts: the count after which it continues. Windows are listed newest
/// first; within a window, by the users' hashes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Position {
    window_start_ms: u64,
    user_id: u64,
}

/// A range of windows: those that start from `from` on and before `to`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Starts {
    /// The first instant of the range.
    pub from: Timestamp,
    /// The first instant after the range; none if the range has no end.
    pub to: Option<Timestamp>,
}

/// A page of a list that is being read.
struct Wanted {
    starts: Starts,
    after: Option<Position>,
    limit: usize,
    found: Vec<WindowCount>,
}

/// A minute in which windows start, and where their counts are.
#[derive(Debug)]
struct Minute {
    start: Timestamp,
    levels: BTreeSet<u8>,
    late_levels: BTreeSet<u8>,
    /// Whether windows start within the minute, not only with it.
    has_inner: bool,
    /// The windows whose counts an earlier version has written, and their shelves.
    shelved: Vec<(Timestamp, Vec<u64>)>,
}

impl Starts {
    /// Returns the last millisecond of the range, or none if the range is empty.
    pub(super) fn upto_ms(self) -> Option<u64> {
        let upto_ms = self
            .to
            .map_or(Some(u64::MAX), |to| to.as_ms().checked_sub(1))?;
        (self.from.as_ms() <= upto_ms).then_some(upto_ms)
    }

    /// Returns the part of the range that starts before `to`.
    pub fn before(self, to: Timestamp) -> Self {
        let to = self.to.map_or(to, |end| end.min(to));
        Self {
            to: Some(to),
            ..self
        }
    }

    /// Returns the part of the range that starts before this instant.
    pub(super) fn before_ms(self, to_ms: u64) -> Self {
        Timestamp::from_ms(to_ms).map_or(self, |to| self.before(to))
    }

    /// Returns the part of the range that starts at this instant or later.
    pub(super) fn since_ms(self, from_ms: u64) -> Self {
        let from = Timestamp::from_ms(from_ms).unwrap_or(self.from);
        Self {
            from: self.from.max(from),
            ..self
        }
    }

    /// Returns whether the range has a window with this start.
    pub(super) fn has(self, start: Timestamp) -> bool {
        self.from <= start && self.to.is_none_or(|to| start < to)
    }
}

impl Position {
    /// Returns the start of the window that the position lies in.
    pub fn window_start(&self) -> Option<Timestamp> {
        Timestamp::from_ms(self.window_start_ms)
    }

    fn order(&self) -> Option<(Reverse<Timestamp>, u64, u64)> {
        let newest_first = Reverse(self.window_start()?);
        Some((newest_first, hash(self.user_id), self.user_id))
    }

    /// Returns the position after this count.
    pub fn after(count: &WindowCount) -> Self {
        Self {
            window_start_ms: count.window_start.as_ms(),
            user_id: count.user_id,
        }
    }
}

impl Store {
    /// Returns at most `limit` counts of the range, newest window first.
    ///
    /// # Errors
    /// Returns [`StoreError`] if DynamoDB fails or an item cannot be read.
    pub async fn recent(
        &self,
        starts: Starts,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let mut wanted = Wanted {
            starts,
            after,
            limit,
            found: Vec::new(),
        };
        let newest = starts.upto_ms();
        let begin = |newest: u64| after.map_or(newest, |after| after.window_start_ms.min(newest));
        let mut upto = newest.map(begin);

        while let Some(upto_ms) = upto {
            let (minutes, earlier) = self.minutes_upto(upto_ms).await?;
            for minute in minutes {
                if minute.start.as_ms() + MINUTE_MS <= starts.from.as_ms() {
                    return Ok(wanted.found);
                }

                self.read_minute(&minute, &mut wanted).await?;
                if wanted.is_complete() {
                    return Ok(wanted.found);
                }
            }
            upto = earlier;
        }
        Ok(wanted.found)
    }

    /// Returns the newest minutes with windows that start at or before `upto_ms`, newest first, and where to
    /// go on; none if there are no earlier ones.
    async fn minutes_upto(&self, upto_ms: u64) -> Result<(Vec<Minute>, Option<u64>), StoreError> {
        let mut page = WINDOWS_PAGE;
        loop {
            let windows = self.windows_upto(upto_ms, page).await?;
            let is_last = windows.len() < page;
            let mut minutes: Vec<Minute> = Vec::new();
            for window in windows {
                match minutes.last_mut() {
                    Some(minute) if minute.has(window.window_start) => minute.add(window),
                    _ => minutes.push(Minute::of(window)),
                }
            }

            if is_last {
                return Ok((minutes, None));
            }
            // The page may end within a minute.
            if minutes.len() > 1 {
                let begun = minutes.pop();
                return Ok((
                    minutes,
                    begun.map(|begun| begun.start.as_ms() + MINUTE_MS - 1),
                ));
            }
            page *= 2;
        }
    }

    /// Reads the counts of a minute that are wanted, in order.
    async fn read_minute(&self, minute: &Minute, wanted: &mut Wanted) -> Result<(), StoreError> {
        let after = wanted.after.filter(|after| minute.goes_on_from(after));
        let mut first = after.map_or(0, |after| hash(after.user_id));

        loop {
            let last = minute.last_read_with(first);
            let counts = self.counts_between(minute, first, last).await?;
            wanted.take(counts);
            if wanted.is_complete() || last == u64::MAX {
                return Ok(());
            }
            first = last + 1;
        }
    }

    /// Returns the counts of a minute, of users whose hashes are from `first` to `last`.
    async fn counts_between(
        &self,
        minute: &Minute,
        first: u64,
        last: u64,
    ) -> Result<Vec<WindowCount>, StoreError> {
        let mut buckets = Vec::new();
        for level in &minute.levels {
            buckets.extend(Bucket::between(Shelf::Timely, *level, first, last));
        }
        for level in &minute.late_levels {
            buckets.extend(Bucket::between(Shelf::Late, *level, first, last));
        }
        let reads = stream::iter(buckets).map(|bucket| self.labelled(bucket, minute.start));
        let mut counts: Vec<WindowCount> =
            reads.buffer_unordered(READS_AT_ONCE).try_concat().await?;

        for (start, shards) in &minute.shelved {
            counts.extend(self.on_shelves(*start, shards).await?);
        }
        counts.retain(|count| {
            minute.has(count.window_start) && (first..=last).contains(&hash(count.user_id))
        });
        Ok(newest(counts))
    }
}

impl Wanted {
    fn is_complete(&self) -> bool {
        self.found.len() == self.limit
    }

    /// Adds those of the counts that are wanted.
    fn take(&mut self, mut counts: Vec<WindowCount>) {
        let after = self.after.and_then(|after| after.order());
        counts.retain(|count| {
            self.starts.has(count.window_start) && after.is_none_or(|after| after < order(count))
        });
        counts.sort_unstable_by_key(order);
        counts.truncate(self.limit - self.found.len());
        self.found.append(&mut counts);
    }
}

impl Minute {
    fn of(window: WindowRow) -> Self {
        let start_ms = minute_ms(window.window_start);
        let mut minute = Self {
            start: Timestamp::from_ms(start_ms).unwrap_or(window.window_start),
            levels: BTreeSet::new(),
            late_levels: BTreeSet::new(),
            has_inner: false,
            shelved: Vec::new(),
        };
        minute.add(window);
        minute
    }

    fn add(&mut self, window: WindowRow) {
        self.levels.extend(window.levels);
        self.late_levels.extend(window.late_levels);
        self.has_inner |= window.has_inner;
        if !window.shards.is_empty() {
            self.shelved.push((window.window_start, window.shards));
        }
    }

    fn has(&self, start: Timestamp) -> bool {
        minute_ms(start) == self.start.as_ms()
    }

    /// Returns whether the minute is read from this position on, and not as a whole.
    fn goes_on_from(&self, after: &Position) -> bool {
        !self.is_read_at_once() && after.window_start() == Some(self.start)
    }

    /// Returns whether the order of the minute's counts is not that of the hashes alone, or they are in few items.
    fn is_read_at_once(&self) -> bool {
        self.has_inner || !self.shelved.is_empty() || self.finest_level() == 0
    }

    fn finest_level(&self) -> u8 {
        let levels = self.levels.union(&self.late_levels);
        levels.max().copied().unwrap_or(0)
    }

    /// Returns the last hash that is read together with `first`.
    fn last_read_with(&self, first: u64) -> u64 {
        if self.is_read_at_once() {
            return u64::MAX;
        }

        let bucket = Bucket::of(Shelf::Timely, self.finest_level(), first);
        bucket.further(BUCKETS_AT_ONCE - 1).last()
    }
}

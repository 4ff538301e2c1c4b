//! The arithmetic of event time, panes and windows.
//!
//! Event time is milliseconds since the Unix epoch. It is cut into fixed slices, *panes* (the word
//! is from Li et al., "No pane, no gain", SIGMOD Record 34(1), 2005). Panes are aligned to the
//! epoch and named by their first millisecond. A window `[start, end)` is a run of whole panes. A
//! *boundary* is the first millisecond of a pane, seen as the end of all panes before it.
//!
//! ```text
//! event time   0     10     20     30     40     50     60
//! panes        [  0  )[ 10  )[ 20  )[ 30  )[ 40  )[ 50  )
//! windows      [         0          )[         30         )        tumbling, 30 of 3 panes
//! ```
//!
//! An offset moves the starts of windows from the multiples of the slide; panes stay where they are.
//!
//! Sessions have no fixed windows, but no session reaches over a *cut*, a multiple of the longest
//! session. So they are kept, corrected and forgotten like tumbling windows of that length.

use std::time::Duration;

/// Milliseconds of event time since the Unix epoch.
pub type EventTimeMs = u64;

/// The windows of a job and the panes that make them up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Windows {
    size_ms: u64,
    slide_ms: u64,
    pane_ms: u64,
    /// The time from a multiple of the slide to the next start of a window; less than the slide.
    offset_ms: u64,
    /// The gap that ends a session, if these are the windows that sessions are cut to.
    gap_ms: Option<u64>,
}

/// Sessions: runs of a key's events without a long gap between them.
///
/// Events at most the gap apart belong to the same session. A session's window ends the gap after
/// its last event. Sessions are cut at multiples of a limit: one that continues beyond a multiple
/// is emitted as two sessions that touch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionWindows(Windows);

/// The durations do not form windows of whole panes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidWindows {
    /// A duration is under a millisecond.
    #[error("windows, slides and panes last at least a millisecond")]
    Zero,
    /// Windows would leave gaps.
    #[error("windows must not slide by more than their size: events in the gaps would be lost")]
    Gaps,
    /// Panes do not fill windows and slides.
    #[error("the pane must divide the window, the slide and the offset")]
    Uneven,
    /// Panes do not fill the gap and the limit of sessions.
    #[error("the pane must divide the gap of sessions and their limit")]
    UnevenSessions,
    /// A session would be cut before its gap has passed.
    #[error("the limit of sessions must not be less than their gap")]
    Limit,
}

impl Windows {
    /// Creates windows of `size` that follow each other without overlap. Each consists of one pane.
    ///
    /// # Errors
    /// [`InvalidWindows::Zero`].
    pub fn tumbling(size: Duration) -> Result<Self, InvalidWindows> {
        Self::sliding(size, size)
    }

    /// Creates windows of `size` that start at every multiple of `slide`. Panes are as large as
    /// they can be.
    ///
    /// # Errors
    /// [`InvalidWindows::Zero`], [`InvalidWindows::Gaps`].
    pub fn sliding(size: Duration, slide: Duration) -> Result<Self, InvalidWindows> {
        let size_ms = millis(size);
        let slide_ms = millis(slide);
        if size_ms == 0 || slide_ms == 0 {
            return Err(InvalidWindows::Zero);
        }

        if slide_ms > size_ms {
            return Err(InvalidWindows::Gaps);
        }

        Ok(Self {
            size_ms,
            slide_ms,
            pane_ms: greatest_common_divisor(size_ms, slide_ms),
            offset_ms: 0,
            gap_ms: None,
        })
    }

    /// Returns the same windows made of smaller panes. Late records are then recognized sooner, and
    /// checkpoints are written more often.
    ///
    /// # Errors
    /// [`InvalidWindows::Zero`], [`InvalidWindows::Uneven`].
    pub fn in_panes_of(self, pane: Duration) -> Result<Self, InvalidWindows> {
        let pane_ms = millis(pane);
        if pane_ms == 0 {
            return Err(InvalidWindows::Zero);
        }
        let divides = |ms: u64| ms.is_multiple_of(pane_ms);
        if !divides(self.size_ms) || !divides(self.slide_ms) || !divides(self.offset_ms) {
            return Err(InvalidWindows::Uneven);
        }

        Ok(Self { pane_ms, ..self })
    }

    /// Returns the same windows, each starting `offset` later. Panes become smaller if they do not
    /// divide the offset. An event before the first window is rejected.
    ///
    /// A day in a time zone is a window with an offset: midnight in UTC+05:30 is 18:30 in UTC.
    ///
    /// ```
    /// use {std::time::Duration, stream::Windows};
    ///
    /// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    /// let days_in_india = Windows::tumbling(minutes(24 * 60))?.offset(minutes(18 * 60 + 30));
    /// assert_eq!(days_in_india.offset_ms(), 66_600_000);
    /// # Ok::<(), stream::InvalidWindows>(())
    /// ```
    #[must_use]
    pub fn offset(self, offset: Duration) -> Self {
        let offset_ms = (self.offset_ms + millis(offset) % self.slide_ms) % self.slide_ms;
        Self {
            offset_ms,
            pane_ms: greatest_common_divisor(self.pane_ms, offset_ms),
            ..self
        }
    }

    /// The time from a multiple of the slide to the next start of a window. The first window starts
    /// at this time after the epoch.
    pub fn offset_ms(&self) -> u64 {
        self.offset_ms
    }

    /// The length of a window.
    pub fn size_ms(&self) -> u64 {
        self.size_ms
    }

    /// The distance between the starts of successive windows.
    pub fn slide_ms(&self) -> u64 {
        self.slide_ms
    }

    /// The gap that ends a session, if these are the windows that sessions are cut to.
    pub(crate) fn gap_ms(&self) -> Option<u64> {
        self.gap_ms
    }

    /// The length of a pane.
    pub fn pane_ms(&self) -> u64 {
        self.pane_ms
    }

    /// Returns the pane that contains `time`.
    #[doc(hidden)]
    pub fn pane_of(&self, time: EventTimeMs) -> EventTimeMs {
        time - time % self.pane_ms
    }

    /// Returns the starts of the windows that contain `pane`, in order.
    pub(crate) fn containing(
        &self,
        pane: EventTimeMs,
    ) -> impl Iterator<Item = EventTimeMs> + use<> {
        let since_start = self.since_start(pane);
        let steps = (self.size_ms - since_start - 1) / self.slide_ms;
        let slide_ms = self.slide_ms;
        (0..=steps)
            .rev()
            .filter_map(move |step| pane.checked_sub(since_start + step * slide_ms))
    }

    /// Returns the time from the last start of a window at or before `time` to `time`. The start may
    /// be before the epoch.
    fn since_start(&self, time: EventTimeMs) -> u64 {
        let since_multiple = time % self.slide_ms;
        if since_multiple >= self.offset_ms {
            since_multiple - self.offset_ms
        } else {
            since_multiple + self.slide_ms - self.offset_ms
        }
    }

    /// Returns the last start of a window at or before `time`; 0 if that is before the epoch.
    pub(crate) fn slide_of(&self, time: EventTimeMs) -> EventTimeMs {
        time.saturating_sub(self.since_start(time))
    }

    /// Returns whether a pane may be part of more than one window.
    pub(crate) fn share_panes(&self) -> bool {
        self.slide_ms < self.size_ms
    }

    /// Returns the first start of a window after `time`.
    pub(crate) fn next_start(&self, time: EventTimeMs) -> EventTimeMs {
        time + (self.slide_ms - self.since_start(time))
    }

    /// Returns the first pane of which all windows start at or after `time`.
    pub(crate) fn first_whole(&self, time: EventTimeMs) -> EventTimeMs {
        let first_start = match self.since_start(time) {
            0 => time,
            _ => self.next_start(time),
        };
        let last_broken = first_start.checked_sub(self.slide_ms);
        last_broken.map_or(0, |start| start + self.size_ms)
    }

    /// Returns the end of the last window that contains `pane`. After it, only corrections need the
    /// pane.
    pub(crate) fn last_end(&self, pane: EventTimeMs) -> EventTimeMs {
        pane + self.size_ms - self.since_start(pane)
    }

    /// Returns the end of the last window that shares a pane with the window that ends at `end`. A
    /// record that comes before it (plus the allowed lateness) may still change the window that
    /// ends at `end`, because a record is counted in all of its windows or in none.
    pub(crate) fn last_correction(&self, end: EventTimeMs) -> EventTimeMs {
        self.last_end(end - self.pane_ms)
    }

    /// The time after a pane's start during which the pane can matter to a window, not counting the
    /// allowed lateness.
    pub(crate) fn reach_ms(&self) -> u64 {
        if self.share_panes() {
            2 * self.size_ms - self.pane_ms
        } else {
            self.size_ms
        }
    }

    /// Returns the first boundary at which the window or session that starts at `start` can emit a
    /// row.
    pub(crate) fn first_row(&self, start: EventTimeMs) -> EventTimeMs {
        self.gap_ms
            .map_or(start + self.size_ms, |_| self.pane_of(start) + self.pane_ms)
    }

    /// Returns the pane at which the rows of all windows that start at or before `start` are emitted
    /// first.
    pub(crate) fn emitted_by(&self, start: EventTimeMs) -> EventTimeMs {
        self.pane_of(start.saturating_add(self.size_ms - self.pane_ms))
    }

    /// Returns the range of event time, and thereby of panes, of the window that starts at `start`.
    pub(crate) fn panes(&self, start: EventTimeMs) -> std::ops::Range<EventTimeMs> {
        start..start + self.size_ms
    }
}

impl SessionWindows {
    /// Creates sessions that end after `gap` without an event, or at the next multiple of `limit`.
    /// Panes are a tenth of the greatest common divisor of both, if that is a whole number, and the
    /// divisor itself otherwise. A session is emitted at most one pane after its end.
    ///
    /// # Errors
    /// [`InvalidWindows::Zero`], [`InvalidWindows::Limit`].
    pub fn new(gap: Duration, limit: Duration) -> Result<Self, InvalidWindows> {
        let gap_ms = millis(gap);
        if gap_ms == 0 {
            return Err(InvalidWindows::Zero);
        }

        let windows = Windows::tumbling(limit)?;
        if windows.size_ms < gap_ms {
            return Err(InvalidWindows::Limit);
        }

        let common_ms = greatest_common_divisor(windows.size_ms, gap_ms);
        let pane_ms = if common_ms.is_multiple_of(10) {
            common_ms / 10
        } else {
            common_ms
        };

        Ok(Self(Windows {
            pane_ms,
            gap_ms: Some(gap_ms),
            ..windows
        }))
    }

    /// Returns the same sessions made of other panes. Smaller panes emit a session sooner, and
    /// write checkpoints more often. A pane must not be longer than the gap, so that no session
    /// ends within a pane.
    ///
    /// # Errors
    /// [`InvalidWindows::Zero`], [`InvalidWindows::UnevenSessions`].
    pub fn in_panes_of(self, pane: Duration) -> Result<Self, InvalidWindows> {
        let pane_ms = millis(pane);
        if pane_ms == 0 {
            return Err(InvalidWindows::Zero);
        }

        let Windows {
            size_ms, gap_ms, ..
        } = self.0;

        if !size_ms.is_multiple_of(pane_ms)
            || gap_ms.is_none_or(|gap_ms| !gap_ms.is_multiple_of(pane_ms))
        {
            return Err(InvalidWindows::UnevenSessions);
        }

        Ok(Self(Windows { pane_ms, ..self.0 }))
    }

    /// Returns the windows that sessions are cut to.
    pub fn cut_to(&self) -> Windows {
        self.0
    }

    /// Returns the end of the window of a session with the given first and last event.
    pub fn end(&self, first_ms: EventTimeMs, last_ms: EventTimeMs) -> EventTimeMs {
        let cut = self.0.last_end(self.0.pane_of(first_ms));
        cut.min(last_ms.saturating_add(self.0.gap_ms.unwrap_or(0)))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests;

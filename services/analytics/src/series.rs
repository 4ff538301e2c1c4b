//! A time series: orders and totals by step of time. Pure logic, without input or output.
//!
//! A window belongs to the step in which it starts, so each window is in exactly one step. Steps without orders are
//! points, too. Steps begin at whole minutes, hours or days of UTC. Orders that the stream job has not counted yet are
//! added by minute, and their points are provisional. A series of all users adds up the sums of windows; it exists only
//! if each of these lies within a step. Sums of sessions are by day.

use std::time::Duration;

use events::{Amounts, Timestamp, WindowSummary};
use serde::{Deserialize, Serialize};

use crate::audit::StoredMinute;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Maximum number of points of a series: the minutes of 25 hours.
pub const MAX_POINTS: u64 = 1_500;
/// Maximum length of a range.
pub const MAX_RANGE_MS: u64 = 31 * DAY_MS;

/// The length of a step.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum Step {
    /// A minute.
    #[serde(rename = "1m")]
    Minute,
    /// An hour.
    #[default]
    #[serde(rename = "1h")]
    Hour,
    /// A day of UTC.
    #[serde(rename = "1d")]
    Day,
}

/// A range of whole steps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Steps {
    step_ms: u64,
    from_ms: u64,
    to_ms: u64,
}

/// The reason that a range has no series.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoSeries {
    /// The range is empty.
    #[error("the range must end after it begins")]
    Empty,
    /// The range has too many steps.
    #[error("the range has {points} steps, but a series has at most 1500: choose a longer step")]
    TooManyPoints {
        /// The number of steps.
        points: u64,
    },
    /// The range is too long.
    #[error("the range is longer than 31 days")]
    TooLong,
    /// The stream job's sums are for windows that do not lie within a step each.
    #[error(
        "the stream job's sums over all users are of {} each, which do not lie within a step each: choose a longer step, or name a user",
        humantime::format_duration(Duration::from_millis(*window_ms))
    )]
    NotBySteps {
        /// The length of a window, in milliseconds. Sessions are summed up by the job's limit of a session, a day.
        window_ms: u64,
    },
}

/// A point of a series.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Point {
    /// Its start in milliseconds since 1970.
    pub id: u64,
    /// The first instant of the step.
    pub start: Timestamp,
    /// The first instant after the step.
    pub end: Timestamp,
    /// The number of orders.
    pub orders: u64,
    /// Sums of their totals, by currency.
    #[serde(flatten)]
    pub amounts: Amounts,
    /// Whether the stream job has not counted the whole step yet.
    pub is_provisional: bool,
}

/// A series to which orders are added.
#[derive(Clone, Debug)]
pub struct Series {
    steps: Steps,
    sums: Vec<(u64, Amounts)>,
    /// The length of a window that does not lie within a step, if there is one.
    misfit_ms: Option<u64>,
}

impl Step {
    /// Returns its name in queries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    fn ms(self) -> u64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// Returns the length of the range if no start is given.
    fn usual_range_ms(self) -> u64 {
        match self {
            Self::Minute => HOUR_MS,
            Self::Hour => DAY_MS,
            Self::Day => 30 * DAY_MS,
        }
    }
}

impl Steps {
    /// Returns the steps that a range touches. Without an end, the range ends now. Without a start, it is an hour of
    /// minutes, a day of hours, or 30 days.
    ///
    /// # Errors
    /// Returns [`NoSeries`] if the range is empty or too long.
    pub fn touched_by(
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        step: Step,
        now: Timestamp,
    ) -> Result<Self, NoSeries> {
        let step_ms = step.ms();
        let to_ms = to.unwrap_or(now).as_ms();
        let usual_ms = to_ms.saturating_sub(step.usual_range_ms());
        let from_ms = from.map_or(usual_ms, Timestamp::as_ms);
        if from_ms >= to_ms {
            return Err(NoSeries::Empty);
        }

        let steps = Self {
            step_ms,
            from_ms: from_ms / step_ms * step_ms,
            to_ms: to_ms.div_ceil(step_ms) * step_ms,
        };

        let points = steps.len();
        if points > MAX_POINTS {
            Err(NoSeries::TooManyPoints { points })
        } else if to_ms - from_ms > MAX_RANGE_MS {
            Err(NoSeries::TooLong)
        } else {
            Ok(steps)
        }
    }

    /// Returns the first instant of each step and the first one after it, oldest first.
    pub fn each(self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let step_ms = usize::try_from(self.step_ms).unwrap_or(usize::MAX);
        let starts = (self.from_ms..self.to_ms).step_by(step_ms);
        starts.filter_map(move |start_ms| {
            let end = Timestamp::from_ms(start_ms + self.step_ms)?;
            Some((Timestamp::from_ms(start_ms)?, end))
        })
    }

    fn len(self) -> u64 {
        (self.to_ms - self.from_ms) / self.step_ms
    }

    /// Returns the first instant.
    pub fn from(self) -> Timestamp {
        Timestamp::from_ms(self.from_ms).unwrap_or(Timestamp::EPOCH)
    }

    /// Returns the first instant after the last step.
    pub fn to(self) -> Timestamp {
        Timestamp::from_ms(self.to_ms).unwrap_or(Timestamp::now())
    }

    /// Returns the minutes of the range that have begun and are not counted yet, at most the last day of them; none if
    /// all are counted.
    pub fn uncounted(
        self,
        counted_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        let counted_ms = counted_until.map_or(0, |until| until.as_ms().div_ceil(MINUTE_MS));
        let to_ms = self.to_ms.min((now.as_ms() / MINUTE_MS + 1) * MINUTE_MS);
        let from_ms = (counted_ms * MINUTE_MS).max(self.from_ms);
        let from_ms = from_ms.max(to_ms.saturating_sub(DAY_MS));

        let from = Timestamp::from_ms(from_ms)?;
        let to = Timestamp::from_ms(to_ms)?;
        (from < to).then_some((from, to))
    }
}

impl Series {
    /// Creates a series without orders.
    pub fn new(steps: Steps) -> Self {
        let points = usize::try_from(steps.len()).unwrap_or(0);
        Self {
            steps,
            sums: vec![(0, Amounts::default()); points],
            misfit_ms: None,
        }
    }

    /// Adds the orders of a window that starts at this instant, if it lies in the range.
    pub fn add(&mut self, start: Timestamp, orders: u64, amounts: &Amounts) {
        let Some(since_ms) = start.as_ms().checked_sub(self.steps.from_ms) else {
            return;
        };
        let at = usize::try_from(since_ms / self.steps.step_ms).unwrap_or(usize::MAX);
        if let Some(sum) = self.sums.get_mut(at) {
            sum.0 = sum.0.saturating_add(orders);
            sum.1.extend(amounts.as_slice().iter().copied());
        }
    }

    /// Adds the sums of a window, which must lie within a step. Otherwise the orders of several steps would be
    /// in its first one, and the others would be zero.
    pub fn add_window(&mut self, window: &WindowSummary) {
        let start_ms = window.window_start.as_ms();
        let step_start_ms = start_ms / self.steps.step_ms * self.steps.step_ms;
        let end_ms = window.window_end.as_ms();

        if end_ms > step_start_ms + self.steps.step_ms {
            self.misfit_ms = Some(end_ms - start_ms);
        }
        self.add(window.window_start, window.order_count, &window.amounts);
    }

    /// Returns the series if each window lies within a step.
    ///
    /// # Errors
    /// Returns [`NoSeries::NotBySteps`] otherwise.
    pub fn by_steps(self) -> Result<Self, NoSeries> {
        match self.misfit_ms {
            None => Ok(self),
            Some(window_ms) => Err(NoSeries::NotBySteps { window_ms }),
        }
    }

    /// Adds orders that are stored, but not counted yet.
    pub fn add_stored(&mut self, minutes: &[StoredMinute]) {
        for StoredMinute { minute, sum } in minutes {
            self.add(*minute, sum.orders, &sum.amounts);
        }
    }

    /// Returns the points, oldest first. Those that end after `counted_until` are provisional.
    pub fn into_points(self, counted_until: Option<Timestamp>) -> Vec<Point> {
        let point =
            |((start, end), (orders, amounts)): ((Timestamp, Timestamp), (u64, Amounts))| Point {
                id: start.as_ms(),
                start,
                end,
                orders,
                amounts,
                is_provisional: counted_until.is_none_or(|until| end > until),
            };

        self.steps.each().zip(self.sums).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use events::Amount;

    use super::*;
    use crate::audit::Sum;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn steps(from: &str, to: &str, step: Step) -> Result<Steps, NoSeries> {
        let now = at("2026-11-22T10:30:15Z");
        Steps::touched_by(Some(at(from)), Some(at(to)), step, now)
    }

    fn dollars(cents: u64) -> Amounts {
        let amount = Amount {
            currency: "USD".parse().unwrap(),
            minor_units: cents,
        };
        [amount].into_iter().collect()
    }

    #[test]
    fn a_range_is_widened_to_whole_steps() {
        let hours = steps("2026-11-22T08:59:59Z", "2026-11-22T10:00:01Z", Step::Hour).unwrap();
        assert_eq!(hours.from(), at("2026-11-22T08:00:00Z"));
        assert_eq!(hours.to(), at("2026-11-22T11:00:00Z"));

        let days = Steps::touched_by(None, None, Step::Day, at("2026-11-22T10:30:15Z")).unwrap();
        assert_eq!(days.from(), at("2026-10-23T00:00:00Z"));
        assert_eq!(days.to(), at("2026-11-23T00:00:00Z"));
    }

    #[test]
    fn ranges_that_are_empty_or_too_long_have_no_series() {
        let day = ("2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z");
        assert_eq!(
            steps(day.0, day.1, Step::Minute),
            Err(NoSeries::TooManyPoints { points: 2_880 })
        );

        assert!(steps(day.0, day.1, Step::Hour).is_ok());
        assert_eq!(steps(day.1, day.0, Step::Hour), Err(NoSeries::Empty));
        assert_eq!(steps(day.0, day.0, Step::Hour), Err(NoSeries::Empty));
        assert_eq!(
            steps("2026-09-01T00:00:00Z", day.1, Step::Day),
            Err(NoSeries::TooLong)
        );
    }

    #[test]
    fn a_window_is_in_the_step_of_its_start_and_empty_steps_remain() {
        let range = steps("2026-11-22T08:00:00Z", "2026-11-22T11:00:00Z", Step::Hour).unwrap();
        let mut series = Series::new(range);
        series.add(at("2026-11-22T07:59:00Z"), 1, &dollars(1));
        series.add(at("2026-11-22T08:00:00Z"), 2, &dollars(20));
        series.add(at("2026-11-22T08:59:59.999Z"), 3, &dollars(300));
        series.add(at("2026-11-22T10:00:00Z"), 4, &dollars(4_000));
        series.add(at("2026-11-22T11:00:00Z"), 5, &dollars(50_000));

        let points = series.into_points(Some(at("2026-11-22T10:00:00Z")));
        let essence: Vec<_> = points
            .iter()
            .map(|point| (point.orders, &point.amounts, point.is_provisional))
            .collect();
        assert_eq!(
            essence,
            [
                (5, &dollars(320), false),
                (0, &Amounts::default(), false),
                (4, &dollars(4_000), true)
            ]
        );
        assert_eq!(points[1].start, at("2026-11-22T09:00:00Z"));
        assert_eq!(points[1].end, points[2].start);
    }

    #[test]
    fn uncounted_minutes_begin_at_the_end_of_the_counted_ones() {
        let range = steps("2026-11-22T08:00:00Z", "2026-11-22T11:00:00Z", Step::Hour).unwrap();
        let now = at("2026-11-22T10:30:15Z");
        let until = |until| range.uncounted(Some(at(until)), now);

        let expected = (at("2026-11-22T10:29:00Z"), at("2026-11-22T10:31:00Z"));
        assert_eq!(until("2026-11-22T10:29:00Z"), Some(expected));
        assert_eq!(until("2026-11-22T10:28:20Z"), Some(expected));
        assert_eq!(until("2026-11-22T10:31:00Z"), None);
        assert_eq!(
            range.uncounted(None, now),
            Some((at("2026-11-22T08:00:00Z"), expected.1))
        );
    }

    #[test]
    fn stored_orders_are_added_to_the_step_of_their_minute() {
        let range = steps("2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z", Step::Hour).unwrap();
        let mut series = Series::new(range);
        series.add(at("2026-11-22T10:00:00Z"), 1, &dollars(1));
        series.add_stored(&[StoredMinute {
            minute: at("2026-11-22T10:30:00Z"),
            sum: Sum {
                orders: 2,
                amounts: dollars(20),
            },
        }]);

        let points = series.into_points(None);
        assert_eq!((points[0].orders, &points[0].amounts), (3, &dollars(21)));
        assert!(points[0].is_provisional);
    }
}

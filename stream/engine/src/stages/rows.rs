//! The definition of the rows that are derived from a job's rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use super::{Changes, Content, WindowRow};
use crate::aggregate::{Aggregate, Key, ToAggregates, Value, hash_bytes};
use crate::output::Output;
use crate::pane::{EventTimeMs, Windows};

/// Derives rows from others.
pub type Derivation<S, T> =
    Arc<dyn for<'scope> Fn(Changes<'scope, S>) -> Changes<'scope, T> + Send + Sync>;

/// Rows of type `T`, derived from the rows of a job, whose type is `S`. Each row belongs to a window.
///
/// Rows are a collection: when late records correct a row of the job, every row that was derived from it is corrected,
/// too. See [`Pipeline::stage`](crate::Pipeline::stage).
///
/// ```
/// # use std::time::Duration;
/// # use record_log::Record;
/// use stream::{Count, Job, Max, Rows, WindowRow, Windows};
///
/// // Of each product, the minute of an hour in which it was viewed most.
/// type Minute = WindowRow<u64, Count>;
/// type Best = WindowRow<u64, Max<(Count, u64)>>;
/// let hour = Windows::tumbling(Duration::from_secs(3600))?;
/// let job = Job::new("best-minutes")
///     .source("views", |record: &Record<'_>| {
///         Ok((record.log_time_ms, record.key.map_or(0, |key| key.len() as u64)))
///     })
///     .window(Windows::tumbling(Duration::from_secs(60))?)
///     .aggregate(|product: u64| [(product, Count(1))])
///     .sink("views-per-minute", |_, output| output.skip())
///     .stage(
///         "best-minutes",
///         move |rows: Rows<Minute, Minute>| -> Rows<Minute, Best> {
///             rows.filter(|row| row.aggregate.0 > 1)
///                 .window(hour, |row| [(row.key, Max((row.aggregate, row.window_start)))])
///         },
///         |best: &Best, output| {
///             let Max((Count(views), minute)) = best.aggregate;
///             output.key.extend(format!("{} {}", best.window_start, best.key).bytes());
///             output.value.extend(format!("{} at {minute}: {views}", best.key).bytes());
///         },
///     );
/// assert_eq!(job.name(), "best-minutes");
/// # Ok::<(), stream::JobError>(())
/// ```
pub struct Rows<S: 'static, T: 'static> {
    /// The windows of the job.
    base: Windows,
    /// The longest time from the start of a row of the job to that of a row derived from it.
    reach_ms: u64,
    plan: Derivation<S, T>,
}

/// A row of one of two sides.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
enum Side<T, U> {
    Left(T),
    Right(U),
}

impl<S: 'static, T: 'static> Clone for Rows<S, T> {
    fn clone(&self) -> Self {
        Self {
            base: self.base,
            reach_ms: self.reach_ms,
            plan: Arc::clone(&self.plan),
        }
    }
}

impl<S: Value> Rows<S, S> {
    /// Returns the rows of a job with these windows.
    pub(crate) fn of(base: Windows) -> Self {
        Self {
            base,
            reach_ms: 0,
            plan: plan(|changes| changes),
        }
    }
}

impl<S: Value, T: Value> Rows<S, T> {
    /// Keeps the rows for which `is_kept` returns true.
    #[must_use]
    pub fn filter(self, is_kept: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        let is_kept = Arc::new(is_kept);
        self.then(0, move |rows| {
            let is_kept = Arc::clone(&is_kept);
            rows.filter(move |(_, row)| is_kept(row))
        })
    }

    /// Turns each row into another one of the same window.
    #[must_use]
    pub fn map<U: Value>(self, map: impl Fn(T) -> U + Send + Sync + 'static) -> Rows<S, U> {
        self.flat_map(move |row| [map(row)])
    }

    /// Turns each row into any number of others of the same window.
    #[must_use]
    pub fn flat_map<U: Value, I: IntoIterator<Item = U>>(
        self,
        map: impl Fn(T) -> I + Send + Sync + 'static,
    ) -> Rows<S, U> {
        let map = Arc::new(map);
        self.then(0, move |rows| {
            let map = Arc::clone(&map);
            rows.flat_map(move |(start, row)| {
                let rows = map(row).into_iter().map(|row| (start, row));
                rows.collect::<Vec<_>>()
            })
        })
    }

    /// Merges the rows of each window by key. A window's rows are merged anew when one of them changes.
    #[must_use]
    pub fn aggregate<K: Key, A: Aggregate>(
        self,
        aggregate: impl ToAggregates<T, K, A>,
    ) -> Rows<S, WindowRow<K, A>> {
        let aggregate = Arc::new(aggregate);
        self.then(0, move |rows| {
            let aggregate = Arc::clone(&aggregate);
            merged(rows.flat_map(move |(start, row)| {
                let parts = aggregate(row).into_iter();
                let parts = parts.map(|(key, part)| ((start, key), part));
                parts.collect::<Vec<_>>()
            }))
        })
    }

    /// Groups rows by further windows, and merges them by key. A row belongs to the windows that
    /// contain the start of its own window. A window's rows are published when the rows of all windows
    /// that begin in it are.
    ///
    /// The job's checkpoints keep panes for the length of these windows, in addition to the allowed lateness.
    #[must_use]
    pub fn window<K: Key, A: Aggregate>(
        self,
        windows: Windows,
        aggregate: impl ToAggregates<T, K, A>,
    ) -> Rows<S, WindowRow<K, A>> {
        let base = self.base;
        let reach_ms = self.reach_ms + windows.size_ms();
        let aggregate = Arc::new(aggregate);

        self.then(windows.size_ms(), move |rows| {
            let aggregate = Arc::clone(&aggregate);
            let regrouped = rows.inner.flat_map(move |((start, row), pane, copies)| {
                let parts: Vec<(K, A)> = aggregate(row).into_iter().collect();
                let of = move |window: EventTimeMs| {
                    let complete_at = base.emitted_by(window.saturating_add(reach_ms - 1));
                    let pane = pane.max(complete_at);
                    let part = move |(key, part)| (((window, key), part), pane, copies);
                    parts.clone().into_iter().map(part)
                };
                windows.containing(windows.pane_of(start)).flat_map(of)
            });
            merged(regrouped.as_collection())
        })
    }

    /// Keeps one of equal rows of a window.
    #[must_use]
    pub fn distinct(self) -> Self {
        self.then(0, |rows| {
            let by_digest = rows.map(|(start, row)| ((start, digest(&row)), row));
            let distinct = by_digest.reduce(|_, rows, distinct| {
                distinct.extend(rows.iter().map(|(row, _)| ((*row).clone(), 1_isize)));
            });
            distinct.map(|((start, _), row)| (start, row))
        })
    }

    /// Keeps the first `count` rows of each window, with their ranks from 1 on. `rank` must be a total
    /// order; the least row comes first.
    #[must_use]
    pub fn top(
        self,
        count: usize,
        rank: impl Fn(&T, &T) -> Ordering + Send + Sync + 'static,
    ) -> Rows<S, (u32, T)> {
        let rank = Arc::new(rank);
        self.then(0, move |rows| {
            let rank = Arc::clone(&rank);
            rows.reduce(move |_, rows, top| {
                let mut ranked: Vec<&T> = Vec::new();
                for (row, copies) in rows {
                    let copies = usize::try_from(*copies).unwrap_or(0).min(count);
                    ranked.extend(std::iter::repeat_n(*row, copies));
                }
                ranked.sort_by(|one, other| rank(one, other));
                let numbered = (1..).zip(ranked.into_iter().take(count));
                top.extend(numbered.map(|(rank, row)| ((rank, row.clone()), 1_isize)));
            })
        })
    }

    /// Joins each row with the rows of `other` that have the same key in the same window. A row without
    /// such rows is joined with none.
    #[must_use]
    pub fn left_join<K: Key, U: Value>(
        self,
        other: Rows<S, U>,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        other_key: impl Fn(&U) -> K + Send + Sync + 'static,
    ) -> Rows<S, (T, Option<U>)> {
        let key = Arc::new(key);
        let other_key = Arc::new(other_key);
        let reach_ms = self.reach_ms.max(other.reach_ms);
        let left = self.plan;
        let right = other.plan;

        Rows {
            base: self.base,
            reach_ms,
            plan: plan(move |source| {
                let key = Arc::clone(&key);
                let other_key = Arc::clone(&other_key);
                let left = left(source.clone())
                    .map(move |(start, row)| ((start, key(&row)), Side::Left(row)));
                let right = right(source)
                    .map(move |(start, row)| ((start, other_key(&row)), Side::Right(row)));
                let joined = left
                    .concat(right)
                    .reduce(|_, rows, joined| pair(rows, joined));
                joined.map(|((start, _), pair)| (start, pair))
            }),
        }
    }

    /// Joins each row with the rows of `other` that have the same key in the same window.
    #[must_use]
    pub fn join<K: Key, U: Value>(
        self,
        other: Rows<S, U>,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        other_key: impl Fn(&U) -> K + Send + Sync + 'static,
    ) -> Rows<S, (T, U)> {
        let joined = self.left_join(other, key, other_key);
        joined.flat_map(|(row, other)| other.map(|other| (row, other)))
    }

    /// Returns the reach of the rows, and the plan of their records.
    pub(crate) fn encoded(
        self,
        encode: impl Fn(&T, &mut Output) + Send + Sync + 'static,
    ) -> (u64, Derivation<S, Content>) {
        let contents = self.flat_map(move |row| {
            let mut output = Output::default();
            encode(&row, &mut output);
            let is_nothing = output.is_nothing(false);
            (!is_nothing).then_some(Content {
                key: output.key,
                value: output.value,
                headers: output.headers,
            })
        });
        (contents.reach_ms, contents.plan)
    }

    fn then<U: 'static>(
        self,
        more_ms: u64,
        step: impl for<'scope> Fn(Changes<'scope, T>) -> Changes<'scope, U> + Send + Sync + 'static,
    ) -> Rows<S, U> {
        let before = self.plan;
        Rows {
            base: self.base,
            reach_ms: self.reach_ms + more_ms,
            plan: plan(move |source| step(before(source))),
        }
    }
}

fn plan<S: 'static, T: 'static>(
    plan: impl for<'scope> Fn(Changes<'scope, S>) -> Changes<'scope, T> + Send + Sync + 'static,
) -> Derivation<S, T> {
    Arc::new(plan)
}

/// Merges the aggregates of each window and key.
fn merged<'scope, K: Key, A: Aggregate>(
    parts: VecCollection<'scope, EventTimeMs, ((EventTimeMs, K), A)>,
) -> Changes<'scope, WindowRow<K, A>> {
    let merged = parts.reduce(|_, parts, merged| {
        let parts = parts.iter().flat_map(|(part, copies)| {
            std::iter::repeat_n(*part, usize::try_from(*copies).unwrap_or(0))
        });
        let mut whole: Option<A> = None;
        for part in parts {
            match &mut whole {
                Some(whole) => whole.merge(part),
                none => *none = Some(part.clone()),
            }
        }
        merged.extend(whole.map(|whole| (whole, 1_isize)));
    });

    merged.map(|((window_start, key), aggregate)| {
        let row = WindowRow {
            window_start,
            key,
            aggregate,
        };
        (window_start, row)
    })
}

/// Pairs the rows of both sides that have the same window and key.
fn pair<T: Value, U: Value>(
    rows: &[(&Side<T, U>, isize)],
    joined: &mut Vec<((T, Option<U>), isize)>,
) {
    let mut pairs: BTreeMap<(T, Option<U>), isize> = BTreeMap::new();
    let right: Vec<(&U, isize)> = rows
        .iter()
        .filter_map(|(row, copies)| match row {
            Side::Right(row) => Some((row, *copies)),
            Side::Left(_) => None,
        })
        .collect();

    for (row, copies) in rows {
        let Side::Left(row) = row else { continue };
        if right.is_empty() {
            *pairs.entry((row.clone(), None)).or_default() += copies;
        }
        for (other, others) in &right {
            let pair = (row.clone(), Some((*other).clone()));
            *pairs.entry(pair).or_default() += copies * others;
        }
    }
    joined.extend(pairs);
}

fn digest<T: Value>(row: &T) -> u64 {
    let bytes = postcard::to_allocvec(row).expect("rows are plain data");
    hash_bytes(&bytes)
}

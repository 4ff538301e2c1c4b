//! Joins of two streams by key and window, in the definition of a job.

use super::{Aggregated, Windowed};
use crate::aggregate::{Aggregate, IsRow, Joined, Key, ToAggregates};

/// A value of one of two streams: see [`Sourced::with`](crate::Sourced::with).
///
/// ```
/// use record_log::Record;
/// use stream::{Either, Job, Sourced};
///
/// let of_both: Sourced<Either<u64, String>> = Job::new("sales")
///     .source("orders", |record: &Record<'_>| Ok((record.log_time_ms, record.offset)))
///     .with(Sourced::of("payments", |record: &Record<'_>| Ok((record.log_time_ms, "cash".to_owned()))));
///
/// // Any function of values can tell them apart.
/// let some = of_both.filter(|value| match value {
///     Either::Left(order) => *order > 10,
///     Either::Right(payment) => payment == "cash",
/// });
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Either<V, W> {
    /// A value of the first stream.
    Left(V),
    /// A value of the second stream.
    Right(W),
}

impl<V: 'static, W: 'static> Windowed<Either<V, W>> {
    /// Joins two streams by key and window. Each side turns its values into any number of keys with
    /// an aggregate each. A key has a row in a window if both sides have events of it there.
    ///
    /// A late event of either side corrects the row, or is the one that makes it: its first row then
    /// has a revision greater than 0. To have a pair for each event, keep the events of a side in an
    /// aggregate such as [`DistinctExact`](crate::DistinctExact) or [`Top`](crate::Top).
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use record_log::{Record, RecordLog, simulated::SimulatedLog};
    /// use stream::{Count, Job, Joined, Min, Sourced, Windows};
    /// # use stream::{Rejected, Run, Settings, Stop};
    /// # fn text(record: &Record<'_>) -> Result<(u64, String), Rejected> {
    /// #     Ok((1000, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()))
    /// # }
    /// # fn person(record: &Record<'_>) -> Result<(u64, (String, String)), Rejected> {
    /// #     let (time_ms, text) = text(record)?;
    /// #     let (id, name) = text.split_once(' ').ok_or_else(|| Rejected::because("no name"))?;
    /// #     Ok((time_ms, (id.to_owned(), name.to_owned())))
    /// # }
    /// # use text as auction;
    ///
    /// // Persons who open auctions within the ten seconds in which they register.
    /// let job = Job::new("new-sellers")
    ///     .source("persons", person)
    ///     .with(Sourced::of("auctions", auction))
    ///     .window(Windows::tumbling(Duration::from_secs(10))?)
    ///     .join(|(id, name)| [(id, Min(name))], |seller| [(seller, Count(1))])
    ///     .sink("new-sellers", |row, output| {
    ///         if let Some((Min(name), Count(auctions))) = row.aggregate.both() {
    ///             output.value.extend(format!("{name} {auctions}").bytes());
    ///         }
    ///     });
    /// #
    /// # let log = SimulatedLog::default();
    /// # let topic = |name: &str| record_log::TopicSpec {
    /// #     name: name.to_owned(), partitions: 1, cleanup: record_log::Cleanup::Delete,
    /// #     retention: Duration::from_secs(60),
    /// # };
    /// # log.ensure_topics(&[topic("persons"), topic("auctions")]).unwrap();
    /// # let mut publisher = log.publisher("house", record_log::Delivery::Transactional).unwrap();
    /// # for (topic, value) in [("persons", "7 Ann"), ("persons", "8 Bo"), ("auctions", "7"), ("auctions", "9")] {
    /// #     publisher.send(record_log::NewRecord {
    /// #         topic, partition: None, key: None, value: Some(value.as_bytes()), headers: &[],
    /// #     }).unwrap();
    /// # }
    /// # publisher.commit(&[]).unwrap();
    /// # let settings = Settings { until_end: true, ..Settings::default() };
    /// # Run::new(job, settings, Arc::new(log.clone()))?.run(&Stop::default())?;
    /// # let rows = log.records("new-sellers");
    /// # assert_eq!(rows.len(), 1);
    /// # assert_eq!(rows[0].value.as_deref(), Some(&b"Ann 1"[..]));
    /// # Ok::<(), stream::JobError>(())
    /// ```
    pub fn join<K: Key, A: Aggregate, B: Aggregate>(
        self,
        left: impl ToAggregates<V, K, A>,
        right: impl ToAggregates<W, K, B>,
    ) -> Aggregated<K, Joined<A, B>> {
        self.joined(left, right, |joined| joined.both().is_some())
    }

    /// Joins two streams by key and window, as [`join`](Self::join) does. A key has a row in a window
    /// if the left side has events of it there.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use record_log::Record;
    /// use stream::{Job, Joined, Row, Sourced, Sum, Windows};
    /// # fn number(record: &Record<'_>) -> Result<(u64, (u64, u64)), stream::Rejected> {
    /// #     Ok((record.log_time_ms, (record.offset, 1)))
    /// # }
    /// # use {number as order, number as payment};
    ///
    /// // Of each order its price, and the sum that was paid within the same hour, if any.
    /// let job = Job::new("paid-orders")
    ///     .source("orders", order)
    ///     .with(Sourced::of("payments", payment))
    ///     .window(Windows::tumbling(Duration::from_secs(3600))?)
    ///     .left_join(|(id, cents)| [(id, Sum(cents))], |(id, cents)| [(id, Sum(cents))])
    ///     .sink("paid-orders", |row: &Row<u64, Joined<Sum, Sum>>, output| {
    ///         let price = row.aggregate.left.map_or(0, |Sum(cents)| cents);
    ///         let paid = row.aggregate.right.map_or(0, |Sum(cents)| cents);
    ///         output.value.extend(format!("{paid} of {price} cents").bytes());
    ///     });
    /// assert_eq!(job.name(), "paid-orders");
    /// # Ok::<(), stream::JobError>(())
    /// ```
    pub fn left_join<K: Key, A: Aggregate, B: Aggregate>(
        self,
        left: impl ToAggregates<V, K, A>,
        right: impl ToAggregates<W, K, B>,
    ) -> Aggregated<K, Joined<A, B>> {
        self.joined(left, right, |joined| joined.left.is_some())
    }

    fn joined<K: Key, A: Aggregate, B: Aggregate>(
        self,
        left: impl ToAggregates<V, K, A>,
        right: impl ToAggregates<W, K, B>,
        is_row: IsRow<Joined<A, B>>,
    ) -> Aggregated<K, Joined<A, B>> {
        let aggregated = self.aggregate(move |value| -> Vec<(K, Joined<A, B>)> {
            match value {
                Either::Left(value) => {
                    let parts = left(value).into_iter();
                    parts
                        .map(|(key, part)| (key, Joined::of_left(part)))
                        .collect()
                }
                Either::Right(value) => {
                    let parts = right(value).into_iter();
                    parts
                        .map(|(key, part)| (key, Joined::of_right(part)))
                        .collect()
                }
            }
        });

        Aggregated {
            is_row: Some(is_row),
            ..aggregated
        }
    }
}

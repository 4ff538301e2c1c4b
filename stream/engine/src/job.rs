//! The definition of a job: where its records come from, how they are windowed and aggregated, and
//! where the results go. It is independent of how the job is run.

mod joined;
mod passing;
mod processing;
mod rejected;
mod sourced;
mod stage;

use std::cmp::Ordering;
use std::sync::Arc;

use record_log::Record;

use crate::aggregate::{Aggregate, IsRow, Key, Session, ToAggregates};
use crate::flow::Row;
use crate::inputs::Inputs;
use crate::output::{Destination, Encode, Output};
use crate::pane::{EventTimeMs, SessionWindows, Windows};
use crate::process::Processor;
use crate::seen::EventId;
use crate::stages::Stage;
use crate::summary::{Ranked, Summary, Totals, ViewDestination};
use crate::window::sessions::Extent;

pub use joined::Either;
pub use passing::{PassThrough, Passing};
pub use processing::{Keyed, Processing};
pub use rejected::Rejected;
pub use sourced::Sourced;

/// A job without a source. Each step of its definition is a type.
///
/// ```
/// use std::time::Duration;
/// use record_log::Record;
/// use stream::{Aggregated, Count, Job, Pipeline, Rejected, Row, Sourced, Sum, Totals, Windowed, Windows};
///
/// /// Reads "<customer> <cents> <event time in ms>".
/// fn sale(record: &Record<'_>) -> Result<(u64, (u64, u64)), Rejected> {
///     let text = std::str::from_utf8(record.value.unwrap_or_default()).map_err(Rejected::because)?;
///     let fields: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(Rejected::because)?;
///     match *fields {
///         [customer, cents, time_ms] => Ok((time_ms, (customer, cents))),
///         _ => Err(Rejected::because("three numbers are expected")),
///     }
/// }
///
/// let sourced: Sourced<(u64, u64)> = Job::new("sales").source("sales", sale);
/// let windowed: Windowed<(u64, u64)> = sourced.window(Windows::tumbling(Duration::from_secs(60))?);
/// let aggregated: Aggregated<u64, (Count, Sum)> =
///     windowed.aggregate(|(customer, cents)| [(customer, (Count(1), Sum(cents)))]);
///
/// let job: Pipeline<u64, (Count, Sum)> = aggregated
///     .sink("sales-of-customers", |row: &Row<u64, (Count, Sum)>, output| {
///         let (Count(sales), Sum(cents)) = row.aggregate;
///         output.key.extend(row.key.to_string().bytes());
///         output.value.extend(format!("{sales} {cents} {}", row.revision).bytes());
///     })
///     .summarize(
///         "sales-of-all",
///         3,
///         |(_, first), (_, second)| second.cmp(first),
///         |totals: &Totals<u64, (Count, Sum)>, output| {
///             let Count(sales) = totals.aggregate.0;
///             output.value.extend(format!("{sales} sales to {} customers", totals.keys).bytes());
///         },
///     );
/// assert_eq!(job.name(), "sales");
/// # Ok::<(), stream::InvalidWindows>(())
/// ```
pub struct Job {
    name: String,
}

/// A job with a source and windows.
pub struct Windowed<V> {
    source: Sourced<V>,
    windows: Windows,
}

/// A job with a source, whose windows are sessions.
///
/// ```
/// use std::time::Duration;
/// use record_log::Record;
/// use stream::{Count, Job, Session, SessionWindows, Sessioned};
///
/// let half_an_hour = Duration::from_secs(1800);
/// let of_a_day_at_most = SessionWindows::new(half_an_hour, Duration::from_secs(24 * 3600))?;
/// let sessioned: Sessioned<u64> = Job::new("sessions")
///     .source("clicks", |record: &Record<'_>| Ok((record.log_time_ms, 7)))
///     .sessions(of_a_day_at_most);
///
/// let job = sessioned
///     .aggregate(|visitor| [(visitor, Count(1))])
///     .sink("sessions", |row, output| {
///         let Session { first_ms, last_ms, aggregate: Count(clicks) } = row.aggregate;
///         output.key.extend(row.key.to_string().bytes());
///         output.value.extend(format!("{clicks} from {first_ms} to {last_ms}").bytes());
///     });
/// # Ok::<(), stream::InvalidWindows>(())
/// ```
pub struct Sessioned<V> {
    source: Sourced<V>,
    sessions: SessionWindows,
}

/// A job with a source, windows and an aggregate.
pub struct Aggregated<K, A> {
    name: String,
    inputs: Inputs,
    windows: Windows,
    extent: Option<Extent<A>>,
    is_row: Option<IsRow<A>>,
    decode: Decode<K, A>,
}

/// A complete job, which can be run.
pub struct Pipeline<K, A> {
    pub(crate) name: String,
    /// The topics that the job reads.
    pub(crate) inputs: Inputs,
    pub(crate) windows: Windows,
    /// The times of the first and last event in an aggregate, if windows are sessions.
    pub(crate) extent: Option<Extent<A>>,
    /// Decides whether a key with an aggregate has a row; none if each key has one.
    pub(crate) is_row: Option<IsRow<A>>,
    pub(crate) decode: Decode<K, A>,
    pub(crate) decoder: u32,
    pub(crate) results: Destination<Row<K, A>>,
    pub(crate) views: Vec<Summary<K, A>>,
    pub(crate) stages: Vec<Stage<K, A>>,
    /// The parts that only a job without a window has.
    pub(crate) pass_through: Option<PassThrough<A>>,
    /// The process function; none if the job has windows or passes records through.
    pub(crate) processor: Option<Processor<K, A>>,
}

impl<K, A> Clone for Pipeline<K, A> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            inputs: self.inputs.clone(),
            windows: self.windows,
            extent: self.extent,
            is_row: self.is_row,
            decode: Arc::clone(&self.decode),
            decoder: self.decoder,
            results: self.results.clone(),
            views: self.views.clone(),
            stages: self.stages.clone(),
            pass_through: self.pass_through.clone(),
            processor: self.processor.clone(),
        }
    }
}

/// Decodes a record, and passes the event to the engine.
pub type Decode<K, A> =
    Arc<dyn Fn(&Record<'_>, &mut dyn Admission<K, A>) -> Result<(), Rejected> + Send + Sync>;

/// The engine's side of decoding: decides about the event and counts it.
pub trait Admission<K, A> {
    /// Decides by the event time and the event's id, if it has one, whether the record is counted. A duplicate of a
    /// counted event is not.
    fn admit(&mut self, event_ms: EventTimeMs, id: Option<EventId>) -> Result<bool, Rejected>;
    /// Notes that the record is not for this job.
    fn leave_out(&mut self);
    /// Admits the record of a job without a window, unless the checkpoint contains its effect.
    fn pass(&mut self, event_ms: EventTimeMs) -> bool;
    /// Counts an aggregate under a key, if the record was admitted.
    fn add(&mut self, key: K, aggregate: A);
}

impl Job {
    /// Creates a job. Its checkpoints and transactions are identified by the name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
        }
    }
}

impl<V: 'static> Windowed<V> {
    /// Turns each value into any number of keys with an aggregate each. Aggregates of the same key
    /// and window are merged.
    pub fn aggregate<K: Key, A: Aggregate>(
        self,
        aggregate: impl ToAggregates<V, K, A>,
    ) -> Aggregated<K, A> {
        let name = self.source.name.clone();
        let inputs = self.source.inputs.clone();
        let source = self.source;
        let windows = self.windows;

        let decode: Decode<K, A> = Arc::new(move |record, admission| {
            if let Some((_, value)) = source.admit(record, &windows, admission)? {
                aggregate(value)
                    .into_iter()
                    .for_each(|(key, aggregate)| admission.add(key, aggregate));
            }
            Ok(())
        });

        Aggregated {
            name,
            inputs,
            windows: self.windows,
            extent: None,
            is_row: None,
            decode,
        }
    }
}

impl<V: 'static> Sessioned<V> {
    /// Turns each value into any number of keys with an aggregate each. Aggregates of the same key
    /// and session are merged. A row contains the merged aggregate and the times of the session's
    /// first and last event.
    pub fn aggregate<K: Key, A: Aggregate>(
        self,
        aggregate: impl ToAggregates<V, K, A>,
    ) -> Aggregated<K, Session<A>> {
        let name = self.source.name.clone();
        let inputs = self.source.inputs.clone();
        let source = self.source;
        let windows = self.sessions.cut_to();

        let decode: Decode<K, Session<A>> = Arc::new(move |record, admission| {
            if let Some((event_ms, value)) = source.admit(record, &windows, admission)? {
                let kept = aggregate(value).into_iter();
                kept.for_each(|(key, aggregate)| {
                    admission.add(key, Session::of(event_ms, aggregate));
                });
            }
            Ok(())
        });
        let extent: Extent<Session<A>> = |session| (session.first_ms, session.last_ms);

        Aggregated {
            name,
            inputs,
            windows: self.sessions.cut_to(),
            extent: Some(extent),
            is_row: None,
            decode,
        }
    }
}

impl<K: Key, A: Aggregate> Aggregated<K, A> {
    /// Publishes a record to `topic` for each key of each window, and for each correction. `encode`
    /// fills key, value and headers, or [skips](Output::skip) the row. Late records go to the source's topic with the
    /// suffix `-late`, rejected ones to the topic with the suffix `-dead-letter`.
    pub fn sink(
        self,
        topic: &str,
        encode: impl Fn(&Row<K, A>, &mut Output) + Send + Sync + 'static,
    ) -> Pipeline<K, A> {
        Pipeline {
            name: self.name,
            inputs: self.inputs,
            windows: self.windows,
            extent: self.extent,
            is_row: self.is_row,
            decode: self.decode,
            decoder: 0,
            results: Destination {
                topic: topic.to_owned(),
                encode: Arc::new(encode),
            },
            views: Vec::new(),
            stages: Vec::new(),
            pass_through: None,
            processor: None,
        }
    }
}

impl<K: Key, A: Aggregate> Pipeline<K, A> {
    /// Also publishes the totals of each window over all keys to `topic`, with the first `top` keys
    /// in the order of `rank`. `rank` must be a total order; the least key comes first.
    #[must_use]
    pub fn summarize(
        mut self,
        topic: &str,
        top: usize,
        rank: impl Fn((&K, &A), (&K, &A)) -> Ordering + Send + Sync + 'static,
        encode: impl Fn(&Totals<K, A>, &mut Output) + Send + Sync + 'static,
    ) -> Self {
        let destination = Destination {
            topic: topic.to_owned(),
            encode: Arc::new(encode) as Encode<_>,
        };

        self.views.push(Summary {
            top,
            rank: Arc::new(rank),
            destination: ViewDestination::Totals(destination),
        });

        self
    }

    /// Also publishes the first `count` keys of each window to `topic`, in the order of `rank`: a
    /// record for each rank. `rank` must be a total order; the least key comes first. Whenever late
    /// records correct the window, all of its ranks are published again with the next revision.
    ///
    /// The record's key must name the window and the rank: the topic is compacted. A ranking that is
    /// added to a job begins with the windows that the job has not committed yet.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use record_log::Record;
    /// use std::cmp::Reverse;
    /// use stream::{Count, Job, Ranked, Windows};
    ///
    /// // The ten products that were viewed most, every minute.
    /// let job = Job::new("hot-products")
    ///     .source("views", |record: &Record<'_>| {
    ///         Ok((record.log_time_ms, record.key.map_or(0, |key| key.len() as u64)))
    ///     })
    ///     .window(Windows::tumbling(Duration::from_secs(60))?)
    ///     .aggregate(|product: u64| [(product, Count(1))])
    ///     .sink("views-per-product", |_, output| output.skip())
    ///     .top(
    ///         "hot-products",
    ///         10,
    ///         |(one, count), (other, than)| (Reverse(count), one).cmp(&(Reverse(than), other)),
    ///         |ranked: &Ranked<u64, Count>, output| {
    ///             let place = format!("{} {}", ranked.window_start, ranked.rank);
    ///             output.key.extend(place.bytes());
    ///             output.value.extend(format!("{} {}", ranked.key, ranked.aggregate.0).bytes());
    ///         },
    ///     );
    /// # Ok::<(), stream::JobError>(())
    /// ```
    #[must_use]
    pub fn top(
        mut self,
        topic: &str,
        count: usize,
        rank: impl Fn((&K, &A), (&K, &A)) -> Ordering + Send + Sync + 'static,
        encode: impl Fn(&Ranked<K, A>, &mut Output) + Send + Sync + 'static,
    ) -> Self {
        let destination = Destination {
            topic: topic.to_owned(),
            encode: Arc::new(encode) as Encode<_>,
        };

        self.views.push(Summary {
            top: count,
            rank: Arc::new(rank),
            destination: ViewDestination::Ranking(destination),
        });

        self
    }

    /// Sets the topics of the side outputs, late records and dead letters, for all sources. If there
    /// are several, the header `source_topic` names a record's topic.
    #[must_use]
    pub fn side_outputs(mut self, late_topic: &str, dead_letter_topic: &str) -> Self {
        self.inputs.side_outputs(late_topic, dead_letter_topic);
        self
    }

    /// Sets the version of the decoder; 0 by default. Increase it whenever the decoder accepts or rejects other records
    /// than before.
    ///
    /// A start under another version publishes the records that the new decoder rejects as dead letters. This includes
    /// records that are read again: the former decoder may have accepted them, and the checkpoint may not contain them.
    /// A record that both decoders reject may then be in the topic twice. A record that only the former one rejected is
    /// counted although it is in the topic.
    #[must_use]
    pub fn decoded_by(mut self, version: u32) -> Self {
        self.decoder = version;
        self
    }

    /// Returns the job's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

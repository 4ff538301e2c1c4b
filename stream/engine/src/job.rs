//! The definition of a job: where its records come from, how they are windowed and aggregated, and
//! where the results go. It is independent of how the job is run.

mod passing;
mod rejected;
mod stage;

use std::cmp::Ordering;
use std::sync::Arc;

use record_log::Record;

use crate::aggregate::{Aggregate, Key, Session};
use crate::flow::Row;
use crate::output::{Destination, Encode, Output};
use crate::pane::{EventTimeMs, SessionWindows, Windows};
use crate::seen::EventId;
use crate::stages::Stage;
use crate::summary::{Ranked, Summary, Totals, ViewDestination};
use crate::window::sessions::Extent;

pub use passing::{PassThrough, Passing};
pub use rejected::Rejected;

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

/// A job with a source, whose records are decoded to values of type `V`.
pub struct Sourced<V> {
    name: String,
    topic: String,
    decode: DecodeFn<V>,
    has_ids: bool,
}

/// A decoded record.
struct Event<V> {
    time_ms: EventTimeMs,
    id: Option<EventId>,
    value: V,
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
    topic: String,
    windows: Windows,
    extent: Option<Extent<A>>,
    decode: Decode<K, A>,
}

/// A complete job, which can be run.
pub struct Pipeline<K, A> {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) windows: Windows,
    /// The times of the first and last event in an aggregate, if windows are sessions.
    pub(crate) extent: Option<Extent<A>>,
    pub(crate) decode: Decode<K, A>,
    pub(crate) decoder: u32,
    pub(crate) results: Destination<Row<K, A>>,
    pub(crate) views: Vec<Summary<K, A>>,
    pub(crate) stages: Vec<Stage<K, A>>,
    /// What distinguishes the job if it has no window.
    pub(crate) pass_through: Option<PassThrough<A>>,
    pub(crate) late_topic: String,
    pub(crate) dead_letter_topic: String,
}

impl<K, A> Clone for Pipeline<K, A> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            topic: self.topic.clone(),
            windows: self.windows,
            extent: self.extent,
            decode: Arc::clone(&self.decode),
            decoder: self.decoder,
            results: self.results.clone(),
            views: self.views.clone(),
            stages: self.stages.clone(),
            pass_through: self.pass_through.clone(),
            late_topic: self.late_topic.clone(),
            dead_letter_topic: self.dead_letter_topic.clone(),
        }
    }
}

/// Decodes a record into the place of an event, where each step of the definition changes it. It is none before, and
/// stays none if the record is not for this job.
type DecodeFn<V> =
    Arc<dyn Fn(&Record<'_>, &mut Option<Event<V>>) -> Result<(), Rejected> + Send + Sync>;
/// Decodes a record, and passes the event to the engine.
pub type Decode<K, A> =
    Arc<dyn Fn(&Record<'_>, &mut dyn Admission<K, A>) -> Result<(), Rejected> + Send + Sync>;

/// The engine's side of decoding: decides about the event and counts it.
pub trait Admission<K, A> {
    /// Sets the event's id. A duplicate of a counted event is not admitted.
    fn identify(&mut self, id: EventId);
    /// Decides by the event time whether the record is counted.
    fn admit(&mut self, event_ms: EventTimeMs) -> Result<bool, Rejected>;
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

    /// Reads `topic`. `decode` returns each record's event time (milliseconds since the Unix epoch)
    /// and a value.
    pub fn source<V>(
        self,
        topic: &str,
        decode: impl Fn(&Record<'_>) -> Result<(EventTimeMs, V), Rejected> + Send + Sync + 'static,
    ) -> Sourced<V> {
        self.source_of_some(topic, move |record| decode(record).map(Some))
    }

    /// Reads a `topic` that has other records, too. `decode` returns none for them: they are neither
    /// counted nor rejected, and do not move event time.
    pub fn source_of_some<V>(
        self,
        topic: &str,
        decode: impl Fn(&Record<'_>) -> Result<Option<(EventTimeMs, V)>, Rejected>
        + Send
        + Sync
        + 'static,
    ) -> Sourced<V> {
        Sourced {
            name: self.name,
            topic: topic.to_owned(),
            decode: Arc::new(move |record, event| {
                if let Some((time_ms, value)) = decode(record)? {
                    *event = Some(Event {
                        time_ms,
                        id: None,
                        value,
                    });
                }
                Ok(())
            }),
            has_ids: false,
        }
    }
}

impl<V: 'static> Sourced<V> {
    /// Counts each event once: of records with the same id, key and event time, only the first is
    /// counted. An id is held while its window can change, if
    /// [`Settings::event_id_memory`](crate::Settings::event_id_memory) suffices.
    #[must_use]
    pub fn identified_by(
        self,
        identify: impl Fn(&V) -> Option<EventId> + Send + Sync + 'static,
    ) -> Self {
        let decode = self.decode;
        Self {
            decode: Arc::new(move |record, event| {
                decode(record, event)?;
                if let Some(event) = event {
                    event.id = identify(&event.value);
                }
                Ok(())
            }),
            has_ids: true,
            ..self
        }
    }

    /// Decodes a record, sets the event's id, and lets the engine decide about the event. Returns
    /// none if the event is not to be counted.
    fn admit<K, A>(
        &self,
        record: &Record<'_>,
        windows: &Windows,
        admission: &mut dyn Admission<K, A>,
    ) -> Result<Option<(EventTimeMs, V)>, Rejected> {
        let mut event = None;
        (self.decode)(record, &mut event)?;
        let Some(event) = event else {
            return Ok(None);
        };

        let event_ms = event.time_ms;
        let first_ms = windows.offset_ms();
        if event_ms < first_ms {
            return Err(Rejected(format!(
                "the event's time {event_ms} is before the first window, which starts at {first_ms}"
            )));
        }

        if let Some(id) = event.id {
            admission.identify(id);
        }
        let is_counted = admission.admit(event_ms)?;
        Ok(is_counted.then_some((event_ms, event.value)))
    }

    /// Groups events by windows.
    pub fn window(self, windows: Windows) -> Windowed<V> {
        Windowed {
            source: self,
            windows,
        }
    }

    /// Groups events by sessions. Each session is emitted as soon as it has ended, and again with
    /// the next revision when late records have changed it. A consumer keeps, for each key and
    /// start, the row with the highest revision, and drops rows that [are gone](Row::is_gone). It
    /// then has each emitted event in exactly one session at any time. The totals of a summary
    /// cover all sessions between two cuts.
    pub fn sessions(self, sessions: SessionWindows) -> Sessioned<V> {
        Sessioned {
            source: self,
            sessions,
        }
    }
}

impl<V: 'static> Windowed<V> {
    /// Turns each value into any number of keys with an aggregate each. Aggregates of the same key
    /// and window are merged.
    pub fn aggregate<K: Key, A: Aggregate, I: IntoIterator<Item = (K, A)>>(
        self,
        aggregate: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> Aggregated<K, A> {
        let name = self.source.name.clone();
        let topic = self.source.topic.clone();
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
            topic,
            windows: self.windows,
            extent: None,
            decode,
        }
    }
}

impl<V: 'static> Sessioned<V> {
    /// Turns each value into any number of keys with an aggregate each. Aggregates of the same key
    /// and session are merged. A row contains the merged aggregate and the times of the session's
    /// first and last event.
    pub fn aggregate<K: Key, A: Aggregate, I: IntoIterator<Item = (K, A)>>(
        self,
        aggregate: impl Fn(V) -> I + Send + Sync + 'static,
    ) -> Aggregated<K, Session<A>> {
        let name = self.source.name.clone();
        let topic = self.source.topic.clone();
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
            topic,
            windows: self.sessions.cut_to(),
            extent: Some(extent),
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
            late_topic: format!("{}-late", self.topic),
            dead_letter_topic: format!("{}-dead-letter", self.topic),
            name: self.name,
            topic: self.topic,
            windows: self.windows,
            extent: self.extent,
            decode: self.decode,
            decoder: 0,
            results: Destination {
                topic: topic.to_owned(),
                encode: Arc::new(encode),
            },
            views: Vec::new(),
            stages: Vec::new(),
            pass_through: None,
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

    /// Sets the topics of the side outputs: late records and dead letters.
    #[must_use]
    pub fn side_outputs(mut self, late_topic: &str, dead_letter_topic: &str) -> Self {
        late_topic.clone_into(&mut self.late_topic);
        dead_letter_topic.clone_into(&mut self.dead_letter_topic);
        self
    }

    /// Names the version of the decoder: the next number whenever it accepts or rejects other records
    /// than before. 0 if it is not named.
    ///
    /// A start under another version publishes the rejects of the new one as dead letters, for all
    /// records that it must read again: records that the former one accepted may be missing from the
    /// checkpoint.
    /// A record that both reject may be there twice then, and one that only the former one rejected
    /// is counted although it is there.
    #[must_use]
    pub fn decoded_by(mut self, version: u32) -> Self {
        self.decoder = version;
        self
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

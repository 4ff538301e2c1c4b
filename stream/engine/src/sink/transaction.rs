//! The transactions of one worker: the rows and side outputs of each, and its progress.

use record_log::{NewRecord, PublishError, Publisher};

use crate::aggregate::{Aggregate, Key};
use crate::checkpoint::lineage::{Lineage, Progress};
use crate::checkpoint::manifest::PartInfo;
use crate::emitted::Emitted;
use crate::flow::{ClosedPane, KEY_GROUPS, Reason, Row, SideOutput, group_of};
use crate::inputs::Inputs;
use crate::job::{PassThrough, Pipeline};
use crate::metrics::operators::{Activity, Timer};
use crate::output::{Destination, Encode, Output};
use crate::pane::EventTimeMs;
use crate::sink::batch::{Batch, PaneResults};
use crate::sink::progress::SinkProgress;
use crate::sink::row_limit::RowLimit;
use crate::sink::side::SOURCE_TOPIC;
use crate::sink::sides::{Side, SideQueue};
use crate::status::SIDE_OUTPUTS;

/// The size after which a transaction takes no further key group.
const TRANSACTION_BYTES: usize = 32 << 20;

/// The publisher of one worker, and everything that it commits.
pub struct Transactions {
    publisher: Box<dyn Publisher>,
    /// The progress: of all workers as the attempt found it, and of this one up to now.
    progress: SinkProgress,
    /// The key groups of this worker.
    groups: Vec<u16>,
    /// For each key group, the pane before which everything is committed.
    owed_since: Vec<EventTimeMs>,
    lineage: Lineage,
    attempt: u64,
    sides: SideQueue,
    inputs: Inputs,
    /// The side outputs that were taken from the queue and are not published.
    taken: Vec<Side>,
    /// The last of those that were published, until they are noted.
    published: Vec<Side>,
    former: Vec<FormerPart>,
    rows: RowLimit,
    /// The number of transactions that were committed.
    committed: u64,
    /// The record that is being encoded.
    output: Output,
    timer: Timer,
}

/// The start of a worker's transactions.
pub struct SinkStart {
    /// The worker's publisher.
    pub publisher: Box<dyn Publisher>,
    /// The progress of all publishers.
    pub progress: SinkProgress,
    /// The key groups of the worker.
    pub groups: Vec<u16>,
    /// The attempt's number.
    pub attempt: u64,
    /// The worker's side outputs.
    pub sides: SideQueue,
    /// The side outputs of parts that an earlier version wrote.
    pub former: Vec<FormerPart>,
    /// The limit for the rows of a transaction.
    pub max_rows: usize,
}

/// The side outputs of a part that an earlier version wrote.
pub struct FormerPart {
    /// The part's name.
    pub name: String,
    /// The side outputs in the order of the part.
    pub outputs: Vec<SideOutput>,
}

impl FormerPart {
    /// Returns the side outputs of a part that the slots of an earlier version may not have
    /// published; none if there are none.
    pub fn of<K, A>(
        part: &PartInfo,
        panes: &[ClosedPane<K, A>],
        progress: &SinkProgress,
        lineage: &Lineage,
    ) -> Option<Self> {
        let slots = &progress.former_slots;
        let is_owed = |arrival: EventTimeMs, output: &SideOutput| {
            let slot = (output.partition as usize).checked_rem(slots.len());
            let number = slot.map(|slot| slots[slot].number);
            let committed = number.filter(|number| *number > 0);
            let committed = committed.map(|number| lineage.committed_before(Progress::of(number)));
            arrival >= committed.unwrap_or(0)
        };

        let owed = panes.iter().flat_map(|pane| {
            let outputs = pane.side_outputs.iter();
            outputs.filter(move |output| is_owed(pane.arrival, output))
        });
        let outputs: Vec<SideOutput> = owed.cloned().collect();
        let name = format!("{}/{}", lineage.line(), part.name);

        (!outputs.is_empty()).then_some(Self { name, outputs })
    }
}

/// A transaction that is being filled.
struct Open {
    progress: SinkProgress,
    records: usize,
    size_bytes: usize,
}

/// Turns rows into records.
pub struct RowWriter<K, A> {
    topic: String,
    encode: Encode<Row<K, A>>,
    /// True if several keys share the windows of rows. A session belongs to one key.
    has_windows: bool,
    /// The unpacking of rows in a job without a window or with a process function; none for other jobs.
    pass_through: Option<PassThrough<A>>,
}

/// The place of a record of a pane: its key group, its container and its place in the container.
type Place = (u16, u32, u32);
/// The container of records for other topics than the results'.
const OUTGOING: u32 = u32::MAX;

impl Transactions {
    /// Creates the transactions of a worker on a line of history.
    pub fn new<K, A>(start: SinkStart, pipeline: &Pipeline<K, A>, lineage: &Lineage) -> Self {
        let SinkStart {
            publisher,
            progress,
            groups,
            attempt,
            sides,
            former,
            max_rows,
        } = start;
        let owed_since = |group| {
            let committed = progress.groups.of(group);
            committed.map_or(0, |committed| lineage.committed_before(committed))
        };
        let all = 0..u16::try_from(KEY_GROUPS).expect("there are few groups");
        Self {
            publisher,
            groups,
            owed_since: all.map(owed_since).collect(),
            progress,
            lineage: lineage.clone(),
            attempt,
            sides,
            inputs: pipeline.inputs.clone(),
            taken: Vec::new(),
            published: Vec::new(),
            former,
            rows: RowLimit::of(max_rows),
            committed: 0,
            output: Output::default(),
            timer: Timer::default(),
        }
    }

    /// Notes on `timer` that the thread waits for the log.
    #[must_use]
    pub fn timed_by(self, timer: Timer) -> Self {
        Self { timer, ..self }
    }

    /// Returns the worker's side outputs.
    pub fn sides(&self) -> &SideQueue {
        &self.sides
    }

    /// Commits the results of a batch that are not committed yet, and calls `next` before each transaction but the
    /// first. After an error, call it again with the same batch.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn commit<K: Key, A: Aggregate>(
        &mut self,
        batch: &Batch<K, A>,
        writer: &RowWriter<K, A>,
        next: &dyn Fn(),
    ) -> Result<(), PublishError> {
        let mut open = Open::of(&self.progress);
        for (pane, results) in batch {
            let progress = self.lineage.progress(*pane);
            for places in places(results).chunk_by(|one, next| one.0 == next.0) {
                let group = places[0].0;
                if *pane < self.owed_since[usize::from(group)] {
                    continue;
                }
                if open.is_full_for(places.len(), self.rows.now()) {
                    open = self.end(open)?;
                    next();
                }
                fetch_all(results, places);
                for place in places {
                    open.size_bytes += self.send(results, *place, writer)?;
                }
                open.records += places.len();
                open.progress.groups.advance(group, progress);
            }
            for group in &self.groups {
                open.progress.groups.advance(*group, progress);
            }
        }
        self.end(open).map(|_| ())
    }

    /// Publishes waiting side outputs, and returns whether there were any. After an error, call it
    /// again.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn publish_sides(&mut self) -> Result<bool, PublishError> {
        if !self.former.is_empty() {
            return self.publish_former().map(|()| true);
        }
        if self.taken.is_empty() {
            self.taken = self.sides.take();
        }
        if self.taken.is_empty() {
            return Ok(false);
        }
        for side in &self.taken {
            send_side(self.publisher.as_mut(), &side.output, &self.inputs)?;
        }

        let mut open = Open::of(&self.progress);
        let line = self.lineage.line();
        let progress = self.sides.progress_with(&self.taken, self.attempt, line);
        open.progress.sides.extend(progress);
        open.records = self.taken.len();
        self.end(open)?;
        self.sides.published(&self.taken);
        let before = self.taken.len().saturating_sub(SIDE_OUTPUTS);
        self.published = self.taken.split_off(before);
        self.taken.clear();
        Ok(true)
    }

    /// Returns the last side outputs that were published since the last call, each with its topic.
    pub fn take_published(&mut self) -> Vec<(String, SideOutput)> {
        let published = std::mem::take(&mut self.published).into_iter();
        let with_topic = |Side { output, .. }: Side| {
            let topic = topic_of(&output, &self.inputs).to_owned();
            (topic, output)
        };
        published.map(with_topic).collect()
    }

    /// Halves the row limit after a failed transaction that may be retried.
    pub fn shorten(&mut self) {
        self.rows.shorten();
    }

    /// Returns the number of transactions that were committed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Returns the furthest progress of results that these transactions have committed, as a number;
    /// none if there were none.
    pub fn furthest(&self) -> Option<u64> {
        let furthest = self.progress.furthest();
        furthest.filter(|_| self.committed > 0)
    }

    /// Publishes side outputs of one part of an earlier version.
    fn publish_former(&mut self) -> Result<(), PublishError> {
        let Some(FormerPart { name, outputs }) = self.former.last() else {
            return Ok(());
        };
        let mut open = Open::of(&self.progress);
        let count = open.progress.former_parts.entry(name.clone()).or_default();
        let published = usize::try_from(*count).unwrap_or(usize::MAX);
        let owed = outputs.iter().skip(published).take(self.rows.now());

        for output in owed {
            send_side(self.publisher.as_mut(), output, &self.inputs)?;
            open.records += 1;
            *count += 1;
        }

        let is_last = *count >= outputs.len() as u64;
        self.end(open)?;

        if is_last {
            self.former.pop();
        }

        Ok(())
    }

    fn send<K: Key, A: Aggregate>(
        &mut self,
        results: &PaneResults<K, A>,
        (_, container, place): Place,
        writer: &RowWriter<K, A>,
    ) -> Result<usize, PublishError> {
        if container == OUTGOING {
            let record = &results.outgoing[place as usize];
            let publisher = self.publisher.as_mut();
            return record.output.send(&record.topic, None, publisher);
        }

        let row = &results.rows[container as usize][place as usize];
        if let Some(PassThrough {
            emitted, branches, ..
        }) = &writer.pass_through
        {
            return self.send_emitted(emitted(&row.aggregate), &writer.topic, branches);
        }

        self.output.clear();
        (writer.encode)(row, &mut self.output);
        if self.output.is_nothing(row.is_correction()) {
            return Ok(0);
        }
        let window_start = writer.has_windows.then_some(row.window_start);
        let publisher = self.publisher.as_mut();
        self.output.send(&writer.topic, window_start, publisher)
    }

    /// Sends packed records, and returns their size.
    fn send_emitted(
        &mut self,
        emitted: &Emitted,
        topic: &str,
        branches: &[String],
    ) -> Result<usize, PublishError> {
        let publisher = self.publisher.as_mut();
        let mut size_bytes = 0;
        emitted.for_each(
            &mut self.output,
            |sink, output| -> Result<(), PublishError> {
                let topic = match usize::from(sink) {
                    0 => topic,
                    branch => &branches[branch - 1],
                };
                size_bytes += output.send(topic, None, publisher)?;
                Ok(())
            },
        )?;

        Ok(size_bytes)
    }

    /// Commits a transaction, if it is not empty, and returns the next one.
    fn end(&mut self, open: Open) -> Result<Open, PublishError> {
        if open.records > 0 {
            let progress = open.progress.to_bytes();
            self.timer.turn(Activity::AwaitsLog);
            let committed = self.publisher.commit(&progress);
            self.timer.turn(Activity::Busy);
            committed?;

            self.rows.lengthen();
            self.committed += 1;
            for (group, since) in (0..).zip(&mut self.owed_since) {
                let committed = open.progress.groups.of(group);
                *since = committed.map_or(0, |committed| self.lineage.committed_before(committed));
            }
            self.progress = open.progress;
        }
        Ok(Open::of(&self.progress))
    }
}

impl Open {
    fn of(progress: &SinkProgress) -> Self {
        Self {
            progress: progress.clone(),
            records: 0,
            size_bytes: 0,
        }
    }

    fn is_full_for(&self, more: usize, most: usize) -> bool {
        self.records > 0 && (self.records + more > most || self.size_bytes > TRANSACTION_BYTES)
    }
}

/// Returns the records of a pane in the order of their key groups, those of a group as they came: a
/// counting sort, since groups are few.
fn places<K: Key, A: Aggregate>(results: &PaneResults<K, A>) -> Vec<Place> {
    let count = results.rows.iter().map(Vec::len).sum::<usize>() + results.outgoing.len();
    let mut found: Vec<Place> = Vec::with_capacity(count);
    for (container, rows) in (0..).zip(&results.rows) {
        let group = |row: &Row<K, A>| group_of(row.key.stable_hash());
        found.extend(
            (0..)
                .zip(rows)
                .map(|(place, row)| (group(row), container, place)),
        );
    }
    let outgoing = (0..).zip(&results.outgoing);
    found.extend(outgoing.map(|(place, record)| (record.group, OUTGOING, place)));

    let mut next = first_of_each(&found);
    let mut sorted = vec![(0, 0, 0); found.len()];
    for place in found {
        let at = &mut next[usize::from(place.0)];
        sorted[*at] = place;
        *at += 1;
    }
    sorted
}

/// Reads a field of each row. The rows of a key group lie far apart in memory, so the processor would wait for each row
/// when it is encoded. Here it waits for all of them at once.
fn fetch_all<K, A>(results: &PaneResults<K, A>, places: &[Place]) {
    let rows = places.iter().filter(|place| place.1 != OUTGOING);
    let read = rows.fold(0, |read, (_, container, place)| {
        let row = &results.rows[*container as usize][*place as usize];
        read ^ row.window_start
    });
    std::hint::black_box(read);
}

/// Returns the index at which the places of each key group begin when they are sorted.
fn first_of_each(places: &[Place]) -> Vec<usize> {
    let mut first = vec![0; usize::try_from(KEY_GROUPS).expect("there are few groups")];
    for (group, _, _) in places {
        first[usize::from(*group)] += 1;
    }

    let mut before = 0;
    for count in &mut first {
        before += std::mem::replace(count, before);
    }
    first
}

/// Returns the topic that a side output is published to.
fn topic_of<'a>(output: &SideOutput, inputs: &'a Inputs) -> &'a str {
    let input = inputs.of_id(output.partition);
    match output.reason {
        Reason::Late => &input.late_topic,
        Reason::Rejected(_) => &input.dead_letter_topic,
    }
}

/// Sends a side output with the headers for its origin.
fn send_side(
    publisher: &mut dyn Publisher,
    output: &SideOutput,
    inputs: &Inputs,
) -> Result<(), PublishError> {
    let input = inputs.of_id(output.partition);
    let topic = inputs.source_topic_of(input);
    let topic = topic.map(|topic| (SOURCE_TOPIC, topic.as_bytes()));
    let origin = output.origin();
    let own = output
        .headers
        .iter()
        .map(|(name, value)| (&**name, &**value));
    let origin = origin.iter().map(|(name, value)| (*name, &**value));
    let headers: Vec<(&str, &[u8])> = own.chain(topic).chain(origin).collect();

    publisher.send(NewRecord {
        topic: topic_of(output, inputs),
        partition: None,
        key: output.key.as_deref(),
        value: output.value.as_deref(),
        headers: &headers,
    })
}

impl<K, A> RowWriter<K, A> {
    /// Creates the writer of a job's rows.
    pub fn of(pipeline: &Pipeline<K, A>) -> Self {
        let Destination { topic, encode } = pipeline.results.clone();
        Self {
            topic,
            encode,
            has_windows: pipeline.extent.is_none(),
            pass_through: pipeline.packing(),
        }
    }
}

impl<K, A> Clone for RowWriter<K, A> {
    fn clone(&self) -> Self {
        Self {
            topic: self.topic.clone(),
            encode: self.encode.clone(),
            has_windows: self.has_windows,
            pass_through: self.pass_through.clone(),
        }
    }
}

#[cfg(test)]
mod tests;

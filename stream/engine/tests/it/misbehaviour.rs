//! Faults of the log under the schedules besides failing calls: silent brokers, transactions that are open or
//! aborted, gaps, expired records, added partitions, damaged records, records that no side output takes whole, and a
//! recreated topic.
//!
//! Nothing here may change a result. A recreated topic ends the job with an error that names it.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use record_log::simulated::{Call, Fault};
use record_log::{Cleanup, Offset};
use stream::internals::PartitionCut;
use stream::{JobError, Settings, Stop, UnreadableBatches, Windows};

use crate::oracle::{SECOND, World, place, random};

/// Polls of a partition that return nothing.
const MAX_SILENT_POLLS: u32 = 3;

/// The size up to which the topics of side outputs take records after [`Misbehaviour::Oversize`].
const SIDE_LIMIT_BYTES: usize = 900;

/// A fault of the log before or during a life.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Misbehaviour {
    /// A partition returns nothing and confirms nothing for a while: its broker is cut off.
    CutOff,
    /// All partitions are silent: the broker is frozen.
    Frozen,
    /// A transaction that stays open for the whole life holds the readers of a partition back.
    OpenTransaction,
    /// A transaction with some records is aborted: its offsets hold nothing.
    AbortedTransaction,
    /// Compaction takes records away that were never read.
    CompactedGap,
    /// Compaction takes the record away by which the checkpoint recognizes a partition.
    AnchorCompacted,
    /// Retention deletes all records that the newest checkpoint does not read again.
    Expired,
    /// An operator adds a partition.
    PartitionAdded,
    /// Records that were never read cannot be read, because their bytes are damaged.
    Unreadable,
    /// Rejected and late records are larger than the topics of side outputs take.
    Oversize,
}

impl Misbehaviour {
    pub const ALL: [Self; 10] = [
        Self::CutOff,
        Self::Frozen,
        Self::OpenTransaction,
        Self::AbortedTransaction,
        Self::CompactedGap,
        Self::AnchorCompacted,
        Self::Expired,
        Self::PartitionAdded,
        Self::Unreadable,
        Self::Oversize,
    ];
}

/// The log's misbehaviour in one schedule.
pub struct Misbehaving {
    is_compacted: bool,
    /// True if a job may continue from an older checkpoint than the newest.
    falls_back: bool,
    /// The end of each partition when the last life ended, by its id. No life has read a record at or
    /// after it.
    ends: BTreeMap<u32, Offset>,
    drawn: BTreeMap<Misbehaviour, u64>,
}

impl Misbehaving {
    /// Draws whether the world's topic is compacted.
    pub fn new(world: &World, falls_back: bool, random: &mut SmallRng) -> Self {
        let is_compacted = random.random_bool(0.3);
        if is_compacted {
            let topics = world.topics().iter();
            topics.for_each(|topic| world.log.clean_up_by(topic, Cleanup::Compact));
        }

        Self {
            is_compacted,
            falls_back,
            ends: BTreeMap::new(),
            drawn: BTreeMap::new(),
        }
    }

    /// Returns the settings by which a job reads this world.
    pub fn settings(&self, settings: Settings) -> Settings {
        Settings {
            allow_compaction: self.is_compacted,
            unreadable_batches: UnreadableBatches::SetAside,
            ..settings
        }
    }

    /// Draws the faults of the log in the next life, and sets them. Records published since the last life were not read
    /// yet.
    pub fn begin(&mut self, world: &mut World, random: &mut SmallRng) -> Vec<Misbehaviour> {
        let drawn: Vec<_> = Misbehaviour::ALL
            .into_iter()
            .filter(|it| self.may(*it) && random.random_bool(0.2))
            .collect();

        for misbehaviour in &drawn {
            self.misbehave(*misbehaviour, world, random);
            *self.drawn.entry(*misbehaviour).or_default() += 1;
        }

        drawn
    }

    /// Lets the log behave again.
    pub fn end(&mut self, world: &World) {
        for (topic, partition) in world.ids().into_iter().map(place) {
            world.log.silence(topic, partition, 0);
            world.log.hold_back(topic, partition, None);
        }

        self.ends = world.ends();
    }

    /// Returns how often each misbehaviour was drawn.
    pub fn drawn(self) -> BTreeMap<Misbehaviour, u64> {
        self.drawn
    }

    fn may(&self, misbehaviour: Misbehaviour) -> bool {
        match misbehaviour {
            Misbehaviour::CompactedGap => self.is_compacted,
            Misbehaviour::AnchorCompacted => self.is_compacted && !self.falls_back,
            Misbehaviour::Expired => !self.falls_back,
            _ => true,
        }
    }

    fn misbehave(&self, misbehaviour: Misbehaviour, world: &mut World, random: &mut SmallRng) {
        let ids = world.ids();
        let id = ids[random.random_range(0..ids.len())];
        let (topic, partition) = place(id);
        let mut polls = || random.random_range(1..=MAX_SILENT_POLLS);

        match misbehaviour {
            Misbehaviour::CutOff => world.log.silence(topic, partition, polls()),
            Misbehaviour::Frozen => ids
                .into_iter()
                .map(place)
                .for_each(|(topic, partition)| world.log.silence(topic, partition, polls())),
            Misbehaviour::OpenTransaction => hold_back(world, id, random),
            Misbehaviour::AbortedTransaction => {
                world.log.abort(topic, partition, random.random_range(0..5));
            }
            Misbehaviour::CompactedGap => self.compact_unread(world, random),
            Misbehaviour::AnchorCompacted => compact_anchors(world),
            Misbehaviour::Expired => expire(world),
            Misbehaviour::PartitionAdded => world.add_partition(),
            Misbehaviour::Unreadable => self.damage_unread(world, random),
            Misbehaviour::Oversize => publish_oversize(world, id, random),
        }
    }

    /// Returns the places of the records that no life has read.
    fn unread(&self, world: &World) -> Vec<(u32, Offset)> {
        let read_to = |id: &u32| self.ends.get(id).copied().unwrap_or(0);
        let places = world.records.keys();
        places
            .filter(|(id, offset)| *offset >= read_to(id))
            .copied()
            .collect()
    }

    /// Damages some records that no life has read. The first of them is rejected for all.
    fn damage_unread(&self, world: &mut World, random: &mut SmallRng) {
        let unread = self.unread(world);
        let Some((id, first)) = unread.choose(random).copied() else {
            return;
        };

        let of_partition = unread.iter().filter(|(of, _)| *of == id);
        let last = of_partition.map(|(_, offset)| *offset).max();
        let behind = (first + random.random_range(1..5)).min(last.unwrap_or(first) + 1);
        let (topic, partition) = place(id);
        world.log.damage(topic, partition, first..behind);
        world
            .records
            .retain(|(of, offset), _| *of != id || !(first..behind).contains(offset));
        world.records.insert((id, first), None);
    }

    /// Takes records away that no life has read. They are in no result.
    fn compact_unread(&self, world: &mut World, random: &mut SmallRng) {
        let unread = self.unread(world);
        let count = random.random_range(0..=unread.len().min(5));
        for (id, offset) in unread.sample(random, count) {
            let (topic, partition) = place(*id);
            world.log.compact_away(topic, partition, *offset);
            world.records.remove(&(*id, *offset));
        }
    }
}

/// Holds a partition's readers back from an offset that no checkpoint has passed.
fn hold_back(world: &World, id: u32, random: &mut SmallRng) {
    let cut = newest_cuts(world)
        .iter()
        .find(|cut| cut.partition == id)
        .map_or(0, |cut| cut.cut);
    let end = world.ends()[&id];
    let from = random.random_range(cut..=end.max(cut));
    let (topic, partition) = place(id);
    world.log.hold_back(topic, partition, Some(from));
}

/// Publishes records that are no events and events that are probably late, all larger than the topics of side outputs
/// take.
fn publish_oversize(world: &mut World, id: u32, random: &mut SmallRng) {
    world.prepare(&Settings::default());
    for topic in world.topics() {
        for kind in ["late", "dead-letter"] {
            let topic = format!("{topic}-{kind}");
            world.log.limit_records(&topic, SIDE_LIMIT_BYTES);
        }
    }

    let padding = "x".repeat(3 * SIDE_LIMIT_BYTES);
    let malformed = (0..random.random_range(1..4)).map(|_| format!("? {padding}"));
    let early = (0..random.random_range(1..4)).map(|_| {
        format!(
            "1 {} {} {padding}",
            random.random_range(0..3),
            random.next_u64()
        )
    });
    let values = malformed.chain(early.collect::<Vec<_>>()).collect();
    world.put_values(id, values);
}

fn compact_anchors(world: &World) {
    for cut in newest_cuts(world) {
        let anchor = cut
            .anchor
            .filter(|anchor| anchor.offset < first_needed(&cut));
        if let Some(anchor) = anchor {
            let (topic, partition) = place(cut.partition);
            world.log.compact_away(topic, partition, anchor.offset);
        }
    }
}

fn expire(world: &World) {
    for cut in newest_cuts(world) {
        let (topic, partition) = place(cut.partition);
        world.log.expire(topic, partition, first_needed(&cut));
    }
}

/// The first offset that a start from the cut has to read.
fn first_needed(cut: &PartitionCut) -> Offset {
    cut.ids_from
        .map_or(cut.resume, |ids_from| ids_from.min(cut.resume))
}

/// The cuts of the newest manifest that can be read; none if there is none.
fn newest_cuts(world: &World) -> Vec<PartitionCut> {
    let mut newest_first = world.objects_in("manifests").into_iter().rev();
    newest_first
        .find_map(|path| world.readable_manifest(&path))
        .map_or_else(Vec::new, |manifest| manifest.partitions)
}

/// Recreates the topic under the newest checkpoint, shorter or longer than it was: the job must not read on. Returns
/// whether the checkpoint had a record by which that can be noticed.
pub fn recreate(world: &mut World, settings: &Settings, random: &mut SmallRng) -> bool {
    let cuts = newest_cuts(world);
    let mut of_first = cuts.iter().filter(|cut| cut.partition < SECOND);
    if !of_first.any(|cut| cut.anchor.is_some()) {
        return false;
    }

    let rows = world.log.records("counts").len();
    world.recreate_topic(0);
    world.publish(random.random_range(0..600), random);

    let refused = world.run(settings);
    let Err(JobError::Position(sentence)) = refused else {
        panic!("the job reads a recreated topic on: {refused:?}, {cuts:?}");
    };
    assert!(sentence.contains("recreated"), "{sentence}");
    assert_eq!(
        world.log.records("counts").len(),
        rows,
        "nothing was published"
    );

    true
}

/// A world whose job has counted some records of one partition, and the offset of the last of them.
fn counted_world() -> (World, Settings, Offset) {
    let mut random = random(3);
    let windows = Windows::tumbling(Duration::from_millis(10)).unwrap();
    let mut world = World::new(windows, 1);
    let settings = Settings {
        workers: 1,
        ..Settings::default()
    };
    world.publish(50, &mut random);
    world.run(&settings).unwrap();

    let anchor = newest_cuts(&world)[0].anchor.unwrap();
    (world, settings, anchor.offset)
}

#[test]
fn a_recreated_topic_with_a_marker_at_the_anchor_is_noticed() {
    let (mut world, settings, anchor) = counted_world();
    world.recreate_topic(0);
    // Aborted records and their marker take all offsets up to the anchor and some more.
    world.log.abort("events", 0, anchor + 3);
    world.publish(30, &mut random(4));

    let refused = world.run(&settings).unwrap_err().to_string();
    assert!(refused.contains("deleted and recreated"), "{refused}");
}

#[test]
fn an_anchor_that_compaction_took_stops_no_job_of_a_compacted_topic() {
    for (cleanup, is_refused) in [
        (Cleanup::Compact, false),
        (Cleanup::CompactAndDelete, false),
        (Cleanup::Delete, true),
    ] {
        let (mut world, settings, anchor) = counted_world();
        let settings = Settings {
            allow_compaction: true,
            ..settings
        };
        world.log.clean_up_by("events", cleanup);
        world.log.compact_away("events", 0, anchor);
        world.publish(30, &mut random(4));

        assert_eq!(world.run(&settings).is_err(), is_refused, "{cleanup:?}");
        if !is_refused {
            world.check();
        }
    }
}

#[test]
fn a_topic_that_may_not_be_described_may_be_compacted() {
    let (mut world, settings, anchor) = counted_world();
    world.log.compact_away("events", 0, anchor);
    world.publish(30, &mut random(4));

    let undescribed = world.log.process(|call| match call {
        Call::Describe { .. } => Fault::Refused,
        _ => Fault::None,
    });
    let job = world.job(undescribed, &settings);
    job.run(&Stop::default()).unwrap();
    world.check();
}

//! Holds records back until the group has consumed them.
//!
//! The gate compares the offsets of records with the group's stored positions. It reads the positions
//! only while it holds a record, and then at most every [`LOOK_SOON`]. No more records are read from a
//! partition of which it holds some, so it holds at most one batch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use record_log::{LogError, Offset, RecordLog};

use crate::Received;
use crate::positions::Positions;

/// The shortest pause between two reads of the stored positions.
pub(crate) const LOOK_SOON: Duration = Duration::from_millis(50);

/// Lets records pass once the group has consumed them.
pub(crate) struct Gate {
    log: Arc<dyn RecordLog>,
    group: &'static str,
    topic: &'static str,
    stored: Positions,
    looked: Option<Instant>,
    held: BTreeMap<u32, Held>,
}

/// The records of a partition that are held back; never empty between two calls.
struct Held {
    records: VecDeque<Received>,
    /// The offset to be read after them.
    next: Offset,
}

impl Gate {
    pub(crate) fn new(log: Arc<dyn RecordLog>, group: &'static str, topic: &'static str) -> Self {
        Self {
            log,
            group,
            topic,
            stored: Positions::new(),
            looked: None,
            held: BTreeMap::new(),
        }
    }

    /// Returns whether records of the partition are held back.
    pub(crate) fn holds(&self, partition: u32) -> bool {
        self.held.contains_key(&partition)
    }

    /// Returns whether no record is held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Holds the records that were read up to `next`, and returns those that may pass now. Then sets
    /// `next` of each of their partitions to the first record that is still held.
    pub(crate) fn pass(
        &mut self,
        found: Vec<Received>,
        next: &mut Positions,
    ) -> Result<Vec<Received>, LogError> {
        self.hold(found, next);
        if !self.held.is_empty() {
            self.look()?;
        }

        let mut records = Vec::new();
        for (partition, held) in &mut self.held {
            let stored = self.stored.get(partition).copied().unwrap_or(0);
            while let Some(record) = held.records.pop_front_if(|record| record.offset < stored) {
                records.push(record);
            }

            let waiting = held.records.front().map(|record| record.offset);
            next.insert(*partition, waiting.unwrap_or(held.next));
        }
        self.held.retain(|_, held| !held.records.is_empty());
        Ok(records)
    }

    fn hold(&mut self, records: Vec<Received>, next: &Positions) {
        for record in records {
            let held = self.held.entry(record.partition).or_insert_with(|| Held {
                records: VecDeque::new(),
                next: next[&record.partition],
            });
            held.records.push_back(record);
        }
    }

    fn look(&mut self) -> Result<(), LogError> {
        if self
            .looked
            .is_some_and(|looked| looked.elapsed() < LOOK_SOON)
        {
            return Ok(());
        }

        let stored = self.log.committed(self.group, self.topic)?;
        self.stored = stored.into_iter().collect();
        self.looked = Some(Instant::now());
        Ok(())
    }
}

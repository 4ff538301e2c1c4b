//! The offsets to read from: the group's stored positions, compared with the offsets that the log
//! still holds.

use std::collections::BTreeMap;

use record_log::{LogError, Offset, OffsetRange, Owned, RecordLog};

/// The offset to be read next, by partition.
pub(crate) type Positions = BTreeMap<u32, Offset>;

/// The state of a topic: the group's stored positions, and the offsets that the log holds.
pub(crate) struct Survey {
    stored: Positions,
    ranges: Vec<OffsetRange>,
}

impl Survey {
    /// Reads the state of the topic. The positions are read before the ends, because other members
    /// advance them meanwhile, and none may appear to be past an end.
    pub(crate) fn read(log: &dyn RecordLog, group: &str, topic: &str) -> Result<Self, LogError> {
        let stored = log.committed(group, topic)?;
        let ranges = log.offsets(topic)?;
        Ok(Self {
            stored: stored.into_iter().collect(),
            ranges,
        })
    }

    /// Returns the number of partitions of the topic.
    pub(crate) fn partitions(&self) -> usize {
        self.ranges.len()
    }

    /// Returns the positions to read the owned partitions from. `reached` takes precedence over the
    /// stored ones. A partition without a position that the log holds is read from its oldest record.
    pub(crate) fn begin(&self, owned: &Owned, reached: &Positions, topic: &str) -> Positions {
        let is_owned = |(partition, _): &(u32, &OffsetRange)| owned.contains(*partition);
        let position = |(partition, range): (u32, &OffsetRange)| {
            let known = reached
                .get(&partition)
                .or_else(|| self.stored.get(&partition));
            let next = known.map_or(range.start, |next| within(*next, *range, topic, partition));
            (partition, next)
        };

        (0..)
            .zip(&self.ranges)
            .filter(is_owned)
            .map(position)
            .collect()
    }

    /// Returns the number of records of all partitions that the group has not consumed. `next` takes
    /// precedence over the stored positions.
    pub(crate) fn lag(&self, next: &Positions) -> u64 {
        let behind = |(partition, range): (u32, &OffsetRange)| {
            let known = next.get(&partition).or_else(|| self.stored.get(&partition));
            range
                .end
                .saturating_sub(known.map_or(range.start, |next| (*next).max(range.start)))
        };
        (0..).zip(&self.ranges).map(behind).sum()
    }

    /// Returns whether a stored position is missing or lies before the one in `next`. Kafka removes the
    /// positions of a group that has stored none for a week, and a member that was replaced may have
    /// stored an older position late.
    pub(crate) fn is_behind(&self, next: &Positions) -> bool {
        let stored = |partition| self.stored.get(partition).copied().unwrap_or(0);
        next.iter()
            .any(|(partition, next)| stored(partition) < *next)
    }
}

/// Returns the positions with the numbers of their partitions, as the log stores them.
pub(crate) fn numbered(positions: &Positions) -> Vec<(u32, Offset)> {
    positions
        .iter()
        .map(|(partition, next)| (*partition, *next))
        .collect()
}

fn within(next: Offset, range: OffsetRange, topic: &str, partition: u32) -> Offset {
    if (range.start..=range.end).contains(&next) {
        return next;
    }

    let start = range.start;
    let end = range.end;
    tracing::error!(
        topic,
        partition,
        next,
        start,
        end,
        "the log does not hold the position: continuing with the oldest record"
    );

    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_behind_where_one_is_missing_or_lies_before() {
        let is_behind = |stored: &[(u32, Offset)], next: &[(u32, Offset)]| {
            let survey = Survey {
                stored: stored.iter().copied().collect(),
                ranges: Vec::new(),
            };
            survey.is_behind(&next.iter().copied().collect())
        };
        let next = [(0, 5), (1, 7)];

        assert!(!is_behind(&next, &next), "nothing has changed");
        assert!(!is_behind(&[(0, 5), (1, 8), (2, 0)], &next));
        assert!(!is_behind(&[], &[(0, 0)]), "nothing was read");
        assert!(is_behind(&[(0, 5), (1, 6)], &next), "the second");
        assert!(is_behind(&[(0, 4), (1, 7)], &next), "the first");
        assert!(is_behind(&[(0, 9), (1, 6)], &next), "one of them");
        assert!(is_behind(&[(0, 5)], &next), "one has expired");
        assert!(is_behind(&[], &next), "all have expired");
    }
}

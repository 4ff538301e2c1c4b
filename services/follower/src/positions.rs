//! The offsets to read from: the group's stored positions, compared with the offsets that the log
//! still holds.

use record_log::{LogError, Offset, OffsetRange, RecordLog};

/// The offset to be read next in each partition, by partition.
pub(crate) type Positions = Vec<Offset>;

/// Returns the group's positions on the topic. A partition is read from its oldest record if it has
/// no position, or one that the log does not hold.
pub(crate) fn load(log: &dyn RecordLog, group: &str, topic: &str) -> Result<Positions, LogError> {
    let ranges = log.offsets(topic)?;
    let remembered = log.committed(group, topic)?;
    let position = |partition: usize, range: &OffsetRange| {
        let found = remembered
            .iter()
            .find(|(number, _)| *number as usize == partition);
        found.map_or(range.start, |(_, next)| {
            within(*next, *range, topic, partition)
        })
    };

    Ok(ranges
        .iter()
        .enumerate()
        .map(|(partition, range)| position(partition, range))
        .collect())
}

/// Returns the number of records at or after the positions.
pub(crate) fn lag(positions: &Positions, ranges: &[OffsetRange]) -> u64 {
    let behind = |(partition, range): (usize, &OffsetRange)| {
        range
            .end
            .saturating_sub(positions.get(partition).copied().unwrap_or(range.start))
    };
    ranges.iter().enumerate().map(behind).sum()
}

/// Returns the positions with the numbers of their partitions, as the log stores them.
pub(crate) fn numbered(positions: &Positions) -> Vec<(u32, Offset)> {
    (0..).zip(positions.iter().copied()).collect()
}

fn within(next: Offset, range: OffsetRange, topic: &str, partition: usize) -> Offset {
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
        "the log no longer holds the position: going on with the oldest"
    );

    start
}

//! Records that cannot be read and are set aside: each range of offsets is one side output.

use record_log::{LogError, LogTimeType, Offset, Record, SetAside};

use super::Partitions;
use crate::aggregate::{Aggregate, Key};
use crate::flow::{Reason, SideOutput};
use crate::metrics::counts::BatchCounts;

impl<K: Key, A: Aggregate> Partitions<K, A> {
    /// Sets the records aside that a poll of `partition` could not read. The side output has the offset of the first of
    /// them, and is decided about like any rejected record. So a restart does not repeat it.
    ///
    /// # Errors
    /// As [`Reader::set_aside`](record_log::Reader::set_aside).
    pub(super) fn set_aside(
        &mut self,
        partition: u32,
        now_ms: u64,
    ) -> Result<BatchCounts, LogError> {
        let SetAside { offsets, reason } = self.reader.set_aside(partition)?;
        let end = self.end(partition).unwrap_or(Offset::MAX);
        let last = offsets.end.saturating_sub(1);
        tracing::error!(
            partition,
            first_offset = offsets.start,
            last_offset = last,
            reason,
            "records cannot be read and are set aside"
        );

        let mut batch = BatchCounts::default();
        if offsets.start < end && self.intake.admit_rejected(partition, offsets.start) {
            let record = Record {
                partition,
                offset: offsets.start,
                log_time_ms: 0,
                log_time_type: LogTimeType::default(),
                key: None,
                value: None,
                headers: &Vec::new(),
            };
            let reason = format!(
                "the records at offsets {} to {last} cannot be read: {reason}",
                offsets.start
            );
            let limits = self.limits.of_input(partition).sides;
            let output = SideOutput::of(&record, Reason::Rejected(reason), limits);
            self.sides.push(output, 0);
            batch.rejected += 1;
        }

        self.intake.skip_to(partition, offsets.end.min(end));
        self.heard.insert(partition, now_ms);
        Ok(batch)
    }
}

//! The counts of a batch of records.

/// The counts of a batch of records, added up by a source.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchCounts {
    /// The number of records read.
    pub records: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
    /// The number of rejected records.
    pub rejected: u64,
    /// The number of late records that were counted in a correction.
    pub corrections: u64,
    /// The number of records that were too late for a correction.
    pub too_late: u64,
    /// The number of copies of events that were already counted.
    pub copies: u64,
    /// The number of records that the decoder left out, because they are not for this job.
    pub left_out: u64,
}

impl std::ops::AddAssign for BatchCounts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.rejected += other.rejected;
        self.corrections += other.corrections;
        self.too_late += other.too_late;
        self.copies += other.copies;
        self.left_out += other.left_out;
    }
}

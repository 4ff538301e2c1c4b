//! The partitions of a worker by their numbers.

use super::partition::Partition;

/// Partitions in the order of their numbers. Records come in runs of one partition, so the one that
/// was used last is found at once.
pub(super) struct ByNumber {
    all: Vec<(u32, Partition)>,
    last: usize,
}

impl FromIterator<(u32, Partition)> for ByNumber {
    fn from_iter<I: IntoIterator<Item = (u32, Partition)>>(partitions: I) -> Self {
        let mut all: Vec<_> = partitions.into_iter().collect();
        all.sort_by_key(|(number, _)| *number);
        Self { all, last: 0 }
    }
}

impl ByNumber {
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Partition)> {
        self.all
            .iter()
            .map(|(number, partition)| (*number, partition))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Partition)> {
        self.all
            .iter_mut()
            .map(|(number, partition)| (*number, partition))
    }

    pub(super) fn get(&self, number: u32) -> Option<&Partition> {
        self.place(number).map(|place| &self.all[place].1)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Partition> {
        if self.all.get(self.last)?.0 != number {
            self.last = self.place(number)?;
        }
        Some(&mut self.all[self.last].1)
    }

    /// Returns a partition whose records are read.
    ///
    /// # Panics
    /// If the reader was not opened with it.
    #[inline]
    pub(super) fn own(&mut self, number: u32) -> &mut Partition {
        self.get_mut(number)
            .expect("readers hand over the partitions they were opened with")
    }

    fn place(&self, number: u32) -> Option<usize> {
        let found = self.all.binary_search_by_key(&number, |(known, _)| *known);
        found.ok()
    }
}

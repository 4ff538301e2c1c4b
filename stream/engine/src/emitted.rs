//! The records that a job without a window publishes for those that it reads, packed by source
//! partition.
//!
//! A record is encoded when it is read. The result is appended to the other records of its
//! partition and pane, so a record costs a copy and no entry of its own. Packed records travel, are
//! checkpointed and committed like the rows of any job: the partition is the key.
//!
//! Invariant: records of a partition keep the order of their offsets. A partition is read by
//! one worker, which hands over the records of each pane in one run, so runs never overlap.

use record_log::Offset;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::aggregate::{Aggregate, Key};
use crate::output::Output;

/// The partition of the source from which records come: the key of a job without a window.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SourcePartition(pub u32);

/// The records that a job without a window publishes for some records of one partition.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Emitted {
    /// The offset of the first record that they were made of.
    first: Offset,
    /// The number of records.
    count: u64,
    packed: Packed,
}

/// Records one after the other: the number of the sink (1 byte), key, value, the number of headers
/// (2 bytes), and the name and value of each. Bytes follow their length (4 bytes, little-endian).
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Packed(Vec<u8>);

impl Key for SourcePartition {
    /// Returns a number of ten bits. The first 64 partitions have key groups of their own, and they are spread evenly
    /// over any number of slots and workers.
    fn stable_hash(&self) -> u64 {
        let of_few = self.0 % 4;
        let of_some = (self.0 + self.0 / 16) % 16;
        let of_many = self.0 % 16;
        u64::from(of_few << 8 | of_some << 4 | of_many)
    }

    fn signature() -> String {
        "source partition".to_owned()
    }
}

impl Aggregate for Emitted {
    fn merge(&mut self, other: &Self) {
        if other.first < self.first {
            let later = std::mem::replace(self, other.clone());
            self.append(&later);
        } else {
            self.append(other);
        }
    }

    fn signature() -> String {
        "emitted records".to_owned()
    }
}

/// No records.
static NONE: Emitted = Emitted {
    first: 0,
    count: 0,
    packed: Packed(Vec::new()),
};

impl Emitted {
    /// Returns an empty run of records.
    pub(crate) fn none() -> &'static Self {
        &NONE
    }

    /// Creates an empty run of records that are made of the record at `offset`.
    pub(crate) fn at(offset: Offset) -> Self {
        Self {
            first: offset,
            count: 0,
            packed: Packed::default(),
        }
    }

    /// Returns the number of records.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Appends a record for the sink of this number.
    pub(crate) fn push(&mut self, sink: u8, output: &Output) {
        let Packed(bytes) = &mut self.packed;
        bytes.push(sink);
        append(bytes, &output.key);
        append(bytes, &output.value);

        let headers = u16::try_from(output.headers.len()).unwrap_or(u16::MAX);
        bytes.extend(headers.to_le_bytes());
        for (name, value) in output.headers.iter().take(usize::from(headers)) {
            append(bytes, name.as_bytes());
            append(bytes, value);
        }
        self.count += 1;
    }

    /// Calls `each` with the number of the sink and the content of every record, in order.
    ///
    /// # Errors
    /// The first error of `each`.
    pub(crate) fn for_each<E>(
        &self,
        output: &mut Output,
        mut each: impl FnMut(u8, &Output) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = Unpacking(&self.packed.0);
        while !rest.0.is_empty() {
            output.clear();
            let [sink] = rest.array();
            output.key.extend_from_slice(rest.bytes());
            output.value.extend_from_slice(rest.bytes());

            for _ in 0..u16::from_le_bytes(rest.array()) {
                let name = String::from_utf8_lossy(rest.bytes()).into_owned();
                output.headers.push((name, rest.bytes().to_vec()));
            }
            each(sink, output)?;
        }

        Ok(())
    }

    fn append(&mut self, later: &Self) {
        self.packed.0.extend_from_slice(&later.packed.0);
        self.count += later.count;
    }
}

fn append(packed: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a record is smaller than 4 GiB");
    packed.extend(length.to_le_bytes());
    packed.extend_from_slice(bytes);
}

/// Packed records that are read.
struct Unpacking<'a>(&'a [u8]);

impl<'a> Unpacking<'a> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (array, rest) = self
            .0
            .split_first_chunk()
            .expect("whole records are packed");
        self.0 = rest;
        *array
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = u32::from_le_bytes(self.array());
        let (bytes, rest) = self.0.split_at(length as usize);
        self.0 = rest;
        bytes
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Packed;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Packed, E> {
                Ok(Packed(bytes.to_vec()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Packed, E> {
                Ok(Packed(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(offset: Offset, values: &[&str]) -> Emitted {
        let mut emitted = Emitted::at(offset);
        for (sink, value) in (0..).zip(values) {
            let mut output = Output::default();
            output.key.resize(300, sink);
            output.value.extend(value.bytes());
            output
                .headers
                .push(("place".to_owned(), offset.to_string().into_bytes()));
            emitted.push(sink, &output);
        }
        emitted
    }

    fn values(emitted: &Emitted) -> Vec<(u8, String)> {
        let mut values = Vec::new();
        let each = |sink: u8, output: &Output| {
            assert_eq!(output.key, vec![sink; 300]);
            assert_eq!(output.headers[0].0, "place");
            values.push((sink, String::from_utf8(output.value.clone()).unwrap()));
            Ok::<(), ()>(())
        };
        emitted.for_each(&mut Output::default(), each).unwrap();
        values
    }

    #[test]
    fn runs_of_records_merge_in_the_order_of_their_offsets() {
        let runs = [
            emitted(3, &["a", ""]),
            emitted(4, &[]),
            emitted(7, &["b"]),
            emitted(9, &["c", "d"]),
        ];
        let merged = |order: [usize; 4]| {
            let mut all = runs[order[0]].clone();
            order[1..].iter().for_each(|at| all.merge(&runs[*at]));
            all
        };

        let whole = merged([0, 1, 2, 3]);
        let expected = [(0, "a"), (1, ""), (0, "b"), (0, "c"), (1, "d")];
        assert_eq!(
            values(&whole),
            expected.map(|(sink, value)| (sink, value.to_owned()))
        );
        assert_eq!((whole.count(), &whole), (5, &merged([3, 2, 1, 0])));
    }

    #[test]
    fn packed_records_survive_the_encodings_of_parts_and_of_the_wire() {
        let whole = emitted(3, &["a", "b"]);
        let part = postcard::to_allocvec(&whole).unwrap();
        assert_eq!(postcard::from_bytes::<Emitted>(&part).unwrap(), whole);
    }

    #[test]
    fn partitions_are_spread_over_any_number_of_slots_and_workers() {
        use std::collections::BTreeSet;

        for count in [2, 4, 16, 64, 1024] {
            let slots = crate::flow::Slots::new(count).unwrap();
            for workers in 2..=count.min(4) {
                let worker = |id| slots.of_key(&SourcePartition(id)) % workers;
                for own in 0..workers {
                    let partitions = (0..16).filter(|id| worker(*id) == own).count();
                    assert!(partitions >= 2, "{count} slots, worker {own} of {workers}");
                }
            }
        }

        let groups: BTreeSet<u64> = (0..64)
            .map(|id| SourcePartition(id).stable_hash())
            .collect();
        assert_eq!(groups.len(), 64);
    }
}

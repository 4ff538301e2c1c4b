//! The bytes of a part: closed panes of one worker, as stored in the object store.
//!
//! ```text
//! "TIDEPART" | version (1 byte) | closed pane (postcard) … | CRC-32 of all before (4 bytes, little-endian)
//! ```
//!
//! The encoding is postcard's (<https://postcard.jamesmunns.com/wire-format>).

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::encoded::append;
use crate::aggregate::{Aggregate, Key};
use crate::flow::{ClosedPane, Entry, SideOutput};
use crate::pane::EventTimeMs;

const MAGIC: &[u8; 8] = b"TIDEPART";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 1;
const CHECKSUM_BYTES: usize = 4;
/// The size of a part without its panes.
pub const OVERHEAD_BYTES: u64 = (HEADER_BYTES + CHECKSUM_BYTES) as u64;

/// The reason why an object cannot be used as a part.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The object does not begin with the magic bytes, or is too short.
    #[error("the object is not a part")]
    NotAPart,
    /// A newer version of this program wrote it.
    #[error(
        "the part has format version {0}, this program reads version {VERSION}: use the program that wrote it, or a newer one"
    )]
    Version(u8),
    /// Bits have changed or are missing.
    #[error("the part is damaged: its checksum does not match")]
    Damaged,
    /// The part contains keys or aggregates of another type.
    #[error("the part holds panes of another job: {0}")]
    Foreign(#[source] postcard::Error),
}

/// Builds a part.
pub struct PartBuilder {
    bytes: Vec<u8>,
    first: Option<EventTimeMs>,
    last: EventTimeMs,
    entries: usize,
}

impl Default for PartBuilder {
    fn default() -> Self {
        Self::with_room(0)
    }
}

impl PartBuilder {
    /// Creates a builder that does not grow before its part has so many bytes.
    pub fn with_room(part_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(part_bytes);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        Self {
            bytes,
            first: None,
            last: 0,
            entries: 0,
        }
    }

    /// Appends a closed pane.
    ///
    /// # Panics
    /// If a key or aggregate cannot be serialized.
    pub fn push<K: Key, A: Aggregate>(&mut self, closed: &ClosedPane<K, A>) {
        append(closed, &mut self.bytes);
        self.note(
            closed.arrival,
            closed.entries.len() + closed.side_outputs.len(),
        );
    }

    /// Notes a pane with this number of entries and side outputs.
    fn note(&mut self, arrival: EventTimeMs, entries: usize) {
        let first = self.first.unwrap_or(arrival);
        self.first = Some(first.min(arrival));
        self.last = self.last.max(arrival);
        self.entries += entries;
    }

    /// Appends the panes of another part that arrived before `boundary`, byte for byte, and returns
    /// true. Appends nothing and returns false if they have side outputs: the published ones
    /// are recorded under the name of their part.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn take_in<K: Key, A: Aggregate>(
        &mut self,
        part: &[u8],
        boundary: EventTimeMs,
    ) -> Result<bool, PartError> {
        let panes = outlines::<K, A>(part, boundary)?;
        if panes.iter().any(|(pane, _)| pane.side_outputs.count > 0) {
            return Ok(false);
        }

        for (pane, bytes) in panes {
            self.bytes.extend_from_slice(bytes);
            self.note(pane.arrival, pane.entries.count);
        }
        Ok(true)
    }

    /// Returns the first and the last pane of the part, if it has any.
    pub fn range(&self) -> Option<(EventTimeMs, EventTimeMs)> {
        self.first.map(|first| (first, self.last))
    }

    /// Returns the number of entries and side outputs in the part.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Returns the bytes of the complete part.
    pub fn finish(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.bytes);
        self.bytes.extend(checksum.to_le_bytes());
        self.bytes
    }
}

/// A closed pane whose entries were decoded, each by itself, and counted. A merge needs no more of
/// it, and all entries of a pane take several times the memory of their encoding.
#[derive(Deserialize)]
#[serde(bound = "")]
struct Outline<K: Key, A: Aggregate> {
    arrival: EventTimeMs,
    entries: Counted<Entry<K, A>>,
    side_outputs: Counted<SideOutput>,
}

/// A pane with its encoding.
type Outlined<'a, K, A> = (Outline<K, A>, &'a [u8]);

/// The number of elements of a sequence.
struct Counted<T> {
    count: usize,
    elements: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Counted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let none = Self {
            count: 0,
            elements: PhantomData,
        };
        deserializer.deserialize_seq(none)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Counted<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut elements: S) -> Result<Self, S::Error> {
        while elements.next_element::<T>()?.is_some() {
            self.count += 1;
        }
        Ok(self)
    }
}

/// Returns the panes of a part that arrived before `boundary`, each with its encoding.
fn outlines<K: Key, A: Aggregate>(
    part: &[u8],
    boundary: EventTimeMs,
) -> Result<Vec<Outlined<'_, K, A>>, PartError> {
    let mut body = verify(part)?;
    let mut panes = Vec::new();
    while !body.is_empty() {
        let (pane, rest) =
            postcard::take_from_bytes::<Outline<K, A>>(body).map_err(PartError::Foreign)?;
        let (bytes, _) = body.split_at(body.len() - rest.len());
        if pane.arrival < boundary {
            panes.push((pane, bytes));
        }
        body = rest;
    }

    Ok(panes)
}

/// Reads the panes of a part that arrived before `boundary`.
///
/// # Errors
/// [`PartError`], even if only later panes are damaged.
pub fn read<K: Key, A: Aggregate>(
    part: &[u8],
    boundary: EventTimeMs,
) -> Result<Vec<ClosedPane<K, A>>, PartError> {
    let mut body = verify(part)?;
    let mut panes = Vec::new();
    while !body.is_empty() {
        let (pane, rest) =
            postcard::take_from_bytes::<ClosedPane<K, A>>(body).map_err(PartError::Foreign)?;
        if pane.arrival < boundary {
            panes.push(pane);
        }
        body = rest;
    }

    Ok(panes)
}

/// Checks that the bytes are a whole part, and returns its body.
///
/// # Errors
/// [`PartError`].
pub fn verify(part: &[u8]) -> Result<&[u8], PartError> {
    if part.len() < HEADER_BYTES + CHECKSUM_BYTES || !part.starts_with(MAGIC) {
        return Err(PartError::NotAPart);
    }

    // The checksum is checked first and is at the same place in every version: otherwise a flipped
    // bit could pass for a future version.
    let (content, checksum) = part.split_at(part.len() - CHECKSUM_BYTES);
    if crc32fast::hash(content).to_le_bytes() != checksum {
        return Err(PartError::Damaged);
    }
    if part[MAGIC.len()] != VERSION {
        return Err(PartError::Version(part[MAGIC.len()]));
    }

    Ok(&content[HEADER_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Count;
    use crate::flow::Reason;

    /// Returns a part without side outputs.
    fn plain() -> Vec<u8> {
        let mut builder = PartBuilder::default();
        for arrival in [10, 20] {
            let entry = Entry {
                pane: arrival,
                key: 7_u64,
                aggregate: Count(arrival),
            };
            builder.push(&ClosedPane {
                arrival,
                entries: vec![entry],
                side_outputs: Vec::new(),
            });
        }
        builder.finish()
    }

    /// Returns a part of an earlier version, with side outputs.
    fn part() -> Vec<u8> {
        let mut builder = PartBuilder::default();
        for arrival in [10, 20] {
            let side_output = SideOutput {
                partition: 3,
                offset: arrival,
                reason: Reason::Rejected("no JSON".to_owned()),
                key: None,
                value: Some(b"{".to_vec()),
                headers: vec![("a".to_owned(), vec![1])],
            };

            let entries = vec![Entry {
                pane: arrival,
                key: 7_u64,
                aggregate: Count(arrival),
            }];

            builder.push(&ClosedPane {
                arrival,
                entries,
                side_outputs: vec![side_output],
            });
        }

        assert_eq!((builder.range(), builder.entries()), (Some((10, 20)), 4));
        builder.finish()
    }

    #[test]
    fn a_part_returns_its_entries_from_before_the_boundary() {
        let panes = read::<u64, Count>(&part(), 30).unwrap();
        assert_eq!(
            panes.iter().map(|pane| pane.arrival).collect::<Vec<_>>(),
            [10, 20]
        );

        assert_eq!(
            panes[1].entries[0],
            Entry {
                pane: 20,
                key: 7,
                aggregate: Count(20)
            }
        );

        assert_eq!(
            panes[1].side_outputs[0].headers,
            [("a".to_owned(), vec![1])]
        );
        assert_eq!(read::<u64, Count>(&part(), 20).unwrap().len(), 1);
    }

    #[test]
    fn a_part_takes_in_the_panes_of_others_up_to_their_boundaries() {
        let mut merged = PartBuilder::default();
        assert!(merged.take_in::<u64, Count>(&plain(), 20).unwrap());
        assert!(merged.take_in::<u64, Count>(&plain(), 30).unwrap());
        assert_eq!((merged.range(), merged.entries()), (Some((10, 20)), 3));

        let merged = merged.finish();
        let panes = read::<u64, Count>(&merged, 30).unwrap();
        let arrivals: Vec<_> = panes.iter().map(|pane| pane.arrival).collect();
        assert_eq!(arrivals, [10, 10, 20]);
        assert_eq!(panes[2], read::<u64, Count>(&plain(), 30).unwrap()[1]);

        let sizes = 3 * (plain().len() as u64 - OVERHEAD_BYTES);
        assert_eq!(2 * (merged.len() as u64 - OVERHEAD_BYTES), sizes);
    }

    #[test]
    fn damaged_and_foreign_parts_are_not_merged() {
        let mut merged = PartBuilder::default();
        assert!(!merged.take_in::<u64, Count>(&part(), 30).unwrap());

        let mut damaged = plain();
        damaged[20] ^= 1;
        let taken = merged.take_in::<u64, Count>(&damaged, 30);
        assert!(matches!(taken, Err(PartError::Damaged)));

        let taken = merged.take_in::<String, Count>(&plain(), 30);
        assert!(matches!(taken, Err(PartError::Foreign(_))));
        assert_eq!(merged.range(), None);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let part = part();
        for bit in 0..part.len() * 8 {
            let mut flipped = part.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&flipped).is_err(), "bit {bit}");
        }

        for length in 0..part.len() {
            assert!(verify(&part[..length]).is_err(), "length {length}");
        }

        // Too short for a version; the checksum is right.
        let mut short = MAGIC.to_vec();
        short.extend(crc32fast::hash(MAGIC).to_le_bytes());
        assert!(matches!(verify(&short), Err(PartError::NotAPart)));
    }

    #[test]
    fn a_part_of_a_future_version_says_so() {
        let mut part = part();
        part[8] = 9;
        assert!(matches!(verify(&part), Err(PartError::Damaged)));

        let content = part.len() - CHECKSUM_BYTES;
        let checksum = crc32fast::hash(&part[..content]).to_le_bytes();
        part[content..].copy_from_slice(&checksum);

        assert!(verify(&part).unwrap_err().to_string().contains("version 9"));
    }
}

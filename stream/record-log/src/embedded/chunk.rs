//! Chunks: the form in which the store keeps records.
//!
//! The records that one commit publishes to one partition are stored as one chunk (several if they
//! are large). SQLite therefore handles rows of a thousand records, and a reader passes over them
//! without a copy. A chunk is a sequence of entries, all numbers little-endian; a length of
//! `u32::MAX` marks an absent key or value:
//!
//! ```text
//! offset − base u32 │ key length u32 │ value length u32 │ headers length u32 │ key │ value │ headers
//! a header: name length u32 │ value length u32 │ name │ value
//! ```

use crate::{Headers, NewRecord};

/// A chunk that reaches this size is full. Larger records get chunks of their own.
pub(super) const FULL_BYTES: usize = 256 << 10;

const ABSENT: u32 = u32::MAX;

/// Records of one partition on their way to the store. The first one gets the offset of the
/// partition's end at the time of writing.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub(super) body: Vec<u8>,
    pub(super) records: u32,
}

/// One record within a chunk.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Its offset, counted from the chunk's base.
    pub(super) delta: u32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: EncodedHeaders<'a>,
}

/// Headers in the form in which a chunk keeps them.
#[derive(Clone, Copy)]
pub(super) struct EncodedHeaders<'a>(&'a [u8]);

/// An iterator over the entries of a chunk.
pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

/// The error for a file whose content this program did not write.
#[derive(Debug, thiserror::Error)]
#[error("the record log's file is damaged: a chunk ends within a record")]
pub(super) struct Damaged;

impl Chunk {
    pub(super) fn is_full(&self) -> bool {
        self.body.len() >= FULL_BYTES
    }

    /// Appends a record. Returns none if one of its parts does not fit 32 bits.
    pub(super) fn push(&mut self, record: &NewRecord<'_>) -> Option<()> {
        let headers_bytes: usize = record
            .headers
            .iter()
            .map(|(name, value)| 8 + name.len() + value.len())
            .sum();

        let key = length(record.key)?;
        let value = length(record.value)?;
        self.put_lengths([self.records, key, value, u32::try_from(headers_bytes).ok()?]);
        self.body.extend_from_slice(record.key.unwrap_or_default());
        self.body
            .extend_from_slice(record.value.unwrap_or_default());

        for (name, value) in record.headers {
            // Their sum fits, so each of them does.
            self.put_lengths([name.len() as u32, value.len() as u32]);
            self.body.extend_from_slice(name.as_bytes());
            self.body.extend_from_slice(value);
        }

        self.records += 1;
        Some(())
    }

    /// Appends an entry of another chunk with the same base, keeping its offset.
    pub(super) fn keep(&mut self, entry: &Entry<'_>) {
        let length_of = |part: Option<&[u8]>| part.map_or(ABSENT, |part| part.len() as u32);
        self.put_lengths([
            entry.delta,
            length_of(entry.key),
            length_of(entry.value),
            entry.headers.0.len() as u32,
        ]);

        self.body.extend_from_slice(entry.key.unwrap_or_default());
        self.body.extend_from_slice(entry.value.unwrap_or_default());
        self.body.extend_from_slice(entry.headers.0);
        self.records += 1;
    }

    fn put_lengths<const N: usize>(&mut self, lengths: [u32; N]) {
        lengths
            .iter()
            .for_each(|length| self.body.extend_from_slice(&length.to_le_bytes()));
    }
}

fn length(part: Option<&[u8]>) -> Option<u32> {
    let Some(part) = part else {
        return Some(ABSENT);
    };
    u32::try_from(part.len())
        .ok()
        .filter(|length| *length != ABSENT)
}

impl<'a> Entries<'a> {
    pub(super) fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Returns the bytes that follow the last entry returned.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&mut self) -> Option<Entry<'a>> {
        let [delta, key, value, headers] = take_lengths(&mut self.rest)?;
        let key = take_part(&mut self.rest, key)?;
        let value = take_part(&mut self.rest, value)?;
        let headers = EncodedHeaders(take(&mut self.rest, headers)?);

        Some(Entry {
            delta,
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }

        let entry = self.read().ok_or(Damaged);
        if entry.is_err() {
            self.rest = &[];
        }

        Some(entry)
    }
}

impl Headers for EncodedHeaders<'_> {
    /// Names were UTF-8 when they were written; a damaged name ends the iteration.
    fn for_each(&self, each: &mut dyn FnMut(&str, &[u8])) {
        let mut rest = self.0;
        while let Some([name, value]) = take_lengths(&mut rest) {
            let (Some(name), Some(value)) = (take(&mut rest, name), take(&mut rest, value)) else {
                return;
            };
            let Ok(name) = std::str::from_utf8(name) else {
                return;
            };

            each(name, value);
        }
    }
}

fn take_lengths<const N: usize>(rest: &mut &[u8]) -> Option<[u32; N]> {
    let mut lengths = [0; N];
    for length in &mut lengths {
        *length = u32::from_le_bytes(*rest.split_off(..4)?.as_array()?);
    }
    Some(lengths)
}

fn take<'a>(rest: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    rest.split_off(..length as usize)
}

fn take_part<'a>(rest: &mut &'a [u8], length: u32) -> Option<Option<&'a [u8]>> {
    if length == ABSENT {
        Some(None)
    } else {
        take(rest, length).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunk, Entries};
    use crate::{Headers, NewRecord};

    fn chunk_of_two() -> Chunk {
        let mut chunk = Chunk::default();
        let headers: &[(&str, &[u8])] = &[("ce_id", b"7"), ("empty", b"")];
        let full = NewRecord {
            topic: "t",
            partition: None,
            key: Some(b"k"),
            value: Some(b"value"),
            headers,
        };
        chunk.push(&full).unwrap();

        chunk
            .push(&NewRecord {
                key: Some(b""),
                value: None,
                headers: &[],
                ..full
            })
            .unwrap();

        chunk
    }

    #[test]
    fn entries_come_back_as_they_were_pushed() {
        let chunk = chunk_of_two();
        let entries: Vec<_> = Entries::of(&chunk.body).map(Result::unwrap).collect();
        assert_eq!(
            (entries[0].delta, entries[0].key, entries[0].value),
            (0, Some(&b"k"[..]), Some(&b"value"[..]))
        );

        assert_eq!(
            (entries[1].delta, entries[1].key, entries[1].value),
            (1, Some(&b""[..]), None)
        );

        let mut names = Vec::new();
        entries[0]
            .headers
            .for_each(&mut |name, value| names.push((name.to_owned(), value.to_vec())));

        assert_eq!(
            names,
            [
                ("ce_id".to_owned(), b"7".to_vec()),
                ("empty".to_owned(), Vec::new())
            ]
        );
    }

    #[test]
    fn every_truncation_is_found_to_be_damaged() {
        let chunk = chunk_of_two();
        let mut entries = Entries::of(&chunk.body);
        entries.next();

        let between = chunk.body.len() - entries.rest().len();
        for length in (1..chunk.body.len()).filter(|length| *length != between) {
            assert!(
                Entries::of(&chunk.body[..length]).any(|entry| entry.is_err()),
                "cut to {length} bytes"
            );
        }
    }
}

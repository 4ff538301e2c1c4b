//! A side output: a late or rejected record on its way to a topic of its own, whole or in part.
//!
//! A record that is larger than its topic's limit is carried in part. In this order, as much as fits
//! is kept: the record's position and the reason (headers `source_partition`, `source_offset`,
//! `reason`, and `source_topic` if the job reads several topics), its key, its own headers, its value. Further headers describe missing parts:
//!
//! - `value_size`, `value_sha256`: the size in bytes and the SHA-256 in hexadecimal digits of the
//!   whole value, if the value is cut.
//! - `key_size`, `key_sha256`: the same for the key. A key that does not fit is left out as a whole,
//!   because a part of it would be another key.
//! - `headers_left_out`: the number of the record's own headers that are missing.

use aws_lc_rs::digest::{SHA256, digest};
use record_log::Record;

use crate::flow::{Reason, SideOutput};
use crate::inputs::partition_of;

/// The most that a batch with one record adds to key, value and headers: the batch's head (61
/// bytes), and the record's length, attributes, time, offset, and the lengths of key, value and
/// headers as the longest numbers (36 bytes).
pub const RECORD_OVERHEAD_BYTES: usize = 61 + 36;
/// The most that a header adds to its name and value: their lengths as the longest numbers.
pub const HEADER_OVERHEAD_BYTES: usize = 10;
/// The limit for the length of a reason.
const REASON_MAX_BYTES: usize = 1024;
/// The number of digits that the greatest partition and offset have together.
const POSITION_BYTES: usize = 10 + 20;
/// The room reserved for each header that describes a missing part: longer than the longest one
/// with its overhead.
const NOTE_BYTES: usize = 96;

/// A header of each side output: the record's partition.
pub const SOURCE_PARTITION: &str = "source_partition";
/// A header of each side output of a job that reads several topics: the record's topic.
pub const SOURCE_TOPIC: &str = "source_topic";
/// A header of each side output: the record's offset.
pub const SOURCE_OFFSET: &str = "source_offset";
/// A header of each side output: `late`, or the reason why the record was rejected.
pub const REASON: &str = "reason";

/// The limits for records of the two topics of side outputs, each in a batch of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SideLimits {
    /// The limit of the late topic.
    pub late_bytes: usize,
    /// The limit of the dead-letter topic.
    pub dead_letter_bytes: usize,
}

impl SideLimits {
    /// Returns the limits for records that also have the header [`SOURCE_TOPIC`].
    #[must_use]
    pub fn leaving_room_for_topic(self, topic: &str) -> Self {
        let size_bytes = SOURCE_TOPIC.len() + topic.len() + HEADER_OVERHEAD_BYTES;
        Self {
            late_bytes: self.late_bytes.saturating_sub(size_bytes),
            dead_letter_bytes: self.dead_letter_bytes.saturating_sub(size_bytes),
        }
    }
}

impl SideOutput {
    /// Copies a record, or as much of it as its topic takes.
    pub fn of(record: &Record<'_>, reason: Reason, limits: SideLimits) -> Self {
        let limit = match reason {
            Reason::Late => limits.late_bytes,
            Reason::Rejected(_) => limits.dead_letter_bytes,
        };
        let mut headers = Vec::new();
        record
            .headers
            .for_each(&mut |name, value| headers.push((name.to_owned(), value.to_vec())));
        let mut whole = Self {
            partition: record.partition,
            offset: record.offset,
            reason: shortened(reason),
            key: None,
            value: None,
            headers,
        };
        let own_headers = whole.headers_size();
        let content = size(record.key) + size(record.value) + own_headers;

        if whole.frame_size() + content <= limit {
            whole.key = record.key.map(<[u8]>::to_vec);
            whole.value = record.value.map(<[u8]>::to_vec);
            return whole;
        }
        let room = limit.saturating_sub(whole.frame_size());
        whole.in_part(record, room)
    }

    /// Copies as much of the record as fits into `room` bytes.
    fn in_part(mut self, record: &Record<'_>, room: usize) -> Self {
        // At most five headers describe missing parts: two of the key, one of the headers, two of
        // the value.
        let mut room = room.saturating_sub(5 * NOTE_BYTES);
        let mut notes = Vec::new();

        if let Some(key) = record.key {
            if key.len() <= room {
                room -= key.len();
                self.key = Some(key.to_vec());
            } else {
                notes.extend(of_missing("key", key));
            }
        }

        let before = self.headers.len();
        self.headers.retain(|(name, value)| {
            let size = name.len() + value.len() + HEADER_OVERHEAD_BYTES;
            let fits = size <= room;
            room -= if fits { size } else { 0 };
            fits
        });
        let left_out = before - self.headers.len();
        if left_out > 0 {
            let count = left_out.to_string().into_bytes();
            notes.push(("headers_left_out".to_owned(), count));
        }

        if let Some(value) = record.value {
            let kept = value.len().min(room);
            self.value = Some(value[..kept].to_vec());
            if kept < value.len() {
                notes.extend(of_missing("value", value));
            }
        }
        self.headers.append(&mut notes);
        self
    }

    /// Returns the headers for the record's position and the reason.
    pub fn origin(&self) -> [(&'static str, Vec<u8>); 3] {
        [
            (
                SOURCE_PARTITION,
                partition_of(self.partition).to_string().into_bytes(),
            ),
            (SOURCE_OFFSET, self.offset.to_string().into_bytes()),
            (REASON, self.reason.text().as_bytes().to_vec()),
        ]
    }

    /// Returns the approximate memory that it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        let reason = match &self.reason {
            Reason::Late => 0,
            Reason::Rejected(reason) => reason.len(),
        };
        let content = size(self.key.as_deref()) + size(self.value.as_deref());
        // The allocator adds some bytes to each of up to three pieces, and to each header's two.
        let headers = self.headers_size() + self.headers.len() * 100;
        size_of::<Self>() + 64 + reason + content + headers
    }

    fn headers_size(&self) -> usize {
        let sizes = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + HEADER_OVERHEAD_BYTES);
        sizes.sum()
    }

    /// Returns the size of the batch, the record and the headers of its origin, without its content.
    fn frame_size(&self) -> usize {
        let reason = match &self.reason {
            Reason::Late => "late".len(),
            Reason::Rejected(reason) => reason.len(),
        };
        let names = SOURCE_PARTITION.len() + SOURCE_OFFSET.len() + REASON.len();
        RECORD_OVERHEAD_BYTES + names + POSITION_BYTES + reason + 3 * HEADER_OVERHEAD_BYTES
    }
}

fn size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(0, <[u8]>::len)
}

/// Shortens a reason that quotes too much of its record, between two characters.
fn shortened(reason: Reason) -> Reason {
    match reason {
        Reason::Rejected(mut text) if text.len() > REASON_MAX_BYTES => {
            let end = (0..=REASON_MAX_BYTES)
                .rev()
                .find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or(0));
            Reason::Rejected(text)
        }
        reason => reason,
    }
}

/// Returns the headers that describe bytes that are not carried whole.
fn of_missing(what: &str, bytes: &[u8]) -> [(String, Vec<u8>); 2] {
    let digest = digest(&SHA256, bytes);
    let mut digits = String::with_capacity(2 * digest.as_ref().len());
    for byte in digest.as_ref() {
        digits.push_str(&format!("{byte:02x}"));
    }
    [
        (format!("{what}_size"), bytes.len().to_string().into_bytes()),
        (format!("{what}_sha256"), digits.into_bytes()),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use record_log::simulated::SimulatedLog;
    use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};

    use super::*;

    const LIMIT: usize = 10_000;

    fn of(key: &[u8], value: &[u8], headers: &[(&str, usize)]) -> SideOutput {
        let log = SimulatedLog::default();
        let topic = TopicSpec {
            name: "events".to_owned(),
            partitions: 1,
            cleanup: Cleanup::Delete,
            retention: Duration::from_secs(60),
        };
        log.ensure_topics(&[topic]).unwrap();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, size)| (*name, vec![b'h'; *size]))
            .collect();
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let mut publisher = log.publisher("generator", Delivery::Transactional).unwrap();
        let record = NewRecord {
            topic: "events",
            partition: Some(0),
            key: Some(key),
            value: Some(value),
            headers: &headers,
        };
        publisher.send(record).unwrap();
        publisher.commit(&[]).unwrap();

        let limits = SideLimits {
            late_bytes: 0,
            dead_letter_bytes: LIMIT,
        };
        let mut side = None;
        let mut reader = log.reader("events", &[(0, 0)]).unwrap();
        let keep = &mut |record: Record<'_>| {
            let reason = Reason::Rejected("no JSON".to_owned());
            side = Some(SideOutput::of(&record, reason, limits));
        };
        reader.poll(0, 1, keep).unwrap();
        side.unwrap()
    }

    /// Returns the greatest size of a batch with this record alone.
    fn wire_size(side: &SideOutput) -> usize {
        let origin: usize = side
            .origin()
            .iter()
            .map(|(name, value)| name.len() + value.len() + HEADER_OVERHEAD_BYTES)
            .sum();
        RECORD_OVERHEAD_BYTES
            + size(side.key.as_deref())
            + size(side.value.as_deref())
            + side.headers_size()
            + origin
    }

    fn header<'a>(side: &'a SideOutput, name: &str) -> Option<&'a [u8]> {
        let found = side.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| &**value)
    }

    #[test]
    fn a_record_at_the_limit_is_whole_and_one_above_is_cut() {
        let room = LIMIT - of(b"7", b"", &[]).frame_size() - 1;
        for (length, is_whole) in [(room - 1, true), (room, true), (room + 1, false)] {
            let value: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let side = of(b"7", &value, &[]);
            let kept = side.value.as_deref().unwrap();
            assert_eq!(kept.len() == length, is_whole, "{length} bytes");
            assert!(value.starts_with(kept) && wire_size(&side) <= LIMIT);
            assert!(
                kept.len() + 6 * NOTE_BYTES >= room,
                "as much as fits: {}",
                kept.len()
            );
            assert_eq!(header(&side, "value_sha256").is_none(), is_whole);
        }
    }

    #[test]
    fn what_is_missing_of_a_value_is_described() {
        let side = of(b"7", &vec![b'x'; 1_000_000], &[("trace", 55)]);
        assert_eq!(header(&side, "value_size"), Some(&b"1000000"[..]));

        // printf 'x%.0s' $(seq 1000000) | sha256sum
        let sum = digest(&SHA256, &vec![b'x'; 1_000_000]);
        let sum: String = sum
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();

        assert_eq!(header(&side, "value_sha256"), Some(sum.as_bytes()));
        assert_eq!(sum.len(), 64);
        assert_eq!(header(&side, "trace").map(<[u8]>::len), Some(55));
        assert_eq!(side.key.as_deref(), Some(&b"7"[..]));
        assert!(wire_size(&side) <= LIMIT);
    }

    #[test]
    fn a_huge_key_is_left_out_and_described() {
        let side = of(&vec![b'k'; 20_000], b"value", &[]);
        assert_eq!(
            (side.key.as_deref(), side.value.as_deref()),
            (None, Some(&b"value"[..]))
        );
        assert_eq!(header(&side, "key_size"), Some(&b"20000"[..]));
        assert_eq!(header(&side, "value_size"), None, "the value is whole");
        assert!(wire_size(&side) <= LIMIT);
    }

    #[test]
    fn huge_headers_are_left_out_and_counted_and_the_others_stay() {
        let side = of(b"7", b"value", &[("a", 12_000), ("b", 10), ("c", 11_000)]);
        assert_eq!(header(&side, "headers_left_out"), Some(&b"2"[..]));
        assert_eq!(header(&side, "b").map(<[u8]>::len), Some(10));
        assert_eq!(side.value.as_deref(), Some(&b"value"[..]));
        let many: Vec<(String, usize)> = (0..5_000).map(|n| (n.to_string(), 3)).collect();
        let many: Vec<(&str, usize)> = many.iter().map(|(name, size)| (&**name, *size)).collect();
        let side = of(b"7", &[b'x'; 200], &many);
        assert!(wire_size(&side) <= LIMIT && side.headers.len() > 400);
    }

    #[test]
    fn everything_huge_at_once_fits_all_the_same() {
        for size in [0, 1, 4_000, 9_000, 9_900, 10_000, 40_000] {
            for other in [0, 1, 4_000, 9_500, 30_000] {
                let side = of(&vec![b'k'; size], &vec![b'v'; other], &[("h", other)]);
                assert!(wire_size(&side) <= LIMIT, "{size}, {other}");
            }
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let long = shortened(Reason::Rejected("é".repeat(2_000)));
        let Reason::Rejected(text) = long else {
            panic!("it stays rejected");
        };
        assert_eq!(text.len(), REASON_MAX_BYTES);
    }
}

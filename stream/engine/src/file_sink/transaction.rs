//! A transaction of a publisher: its progress, the content of its files, and their names.
//!
//! ```text
//! "TIDEFILE" | version (1 byte) | order (8 bytes, little-endian) | head (postcard) | contents of the files |
//! CRC-32 of all before (4 bytes, little-endian)
//! ```

use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pane::EventTimeMs;

const MAGIC: &[u8; 8] = b"TIDEFILE";
const VERSION: u8 = 1;
const BEGIN_BYTES: usize = MAGIC.len() + 1;
const ORDER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// The range of bytes that [`order_of`] reads.
pub const ORDER_RANGE: Range<u64> = 0..(BEGIN_BYTES + ORDER_BYTES) as u64;

/// A transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileTransaction {
    /// The order of the publisher's newest transaction with records: this one's, if it has records.
    pub order: u64,
    /// A number that no other holder of the publisher's id has.
    pub holder: u64,
    /// The progress; none if the publisher never committed one.
    pub progress: Option<Vec<u8>>,
    /// The content of each file.
    pub files: Vec<(FilePlace, Bytes)>,
}

/// The topic and the window of a file.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct FilePlace {
    /// The topic.
    pub topic: String,
    /// The start of the window; none for records without one.
    pub window_start: Option<EventTimeMs>,
}

/// The encoding of a transaction without the contents of files.
#[derive(Deserialize, Serialize)]
struct Head {
    holder: u64,
    progress: Option<Vec<u8>>,
    files: Vec<(FilePlace, usize)>,
}

/// The reason why an object cannot be read as a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransactionError {
    /// The object has another format.
    #[error(
        "it is not a transaction of this program's version: use the program that wrote it, or a newer one"
    )]
    Foreign,
    /// Bits have changed or are missing.
    #[error("it is damaged: its checksum does not match")]
    Damaged,
}

impl FilePlace {
    /// Returns the folders of the file.
    pub fn folders(&self) -> impl Iterator<Item = String> {
        let window = self.window_start.map(folder_of);
        std::iter::once(self.topic.clone()).chain(window)
    }
}

/// Returns the name of a transaction's file.
pub fn file_name(order: u64, publisher: &str, extension: &str) -> String {
    format!("{order:012}-{publisher}.{extension}")
}

/// Returns the folder of a window: its start as in ISO 8601, without colons, which some file systems refuse.
fn folder_of(window_start: EventTimeMs) -> String {
    let ms = i64::try_from(window_start).ok();
    let start = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    start.map_or_else(
        || window_start.to_string(),
        |start| start.strftime("%Y%m%dT%H%M%S%.3fZ").to_string(),
    )
}

impl FileTransaction {
    /// Encodes the transaction.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head {
            holder: self.holder,
            progress: self.progress.clone(),
            files: self
                .files
                .iter()
                .map(|(place, content)| (place.clone(), content.len()))
                .collect(),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend(self.order.to_le_bytes());

        let mut bytes = postcard::to_extend(&head, bytes).expect("a transaction is plain data");
        for (_, content) in &self.files {
            bytes.extend_from_slice(content);
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Decodes the result of [`FileTransaction::to_bytes`].
    ///
    /// # Errors
    /// [`TransactionError`].
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, TransactionError> {
        let order = order_of(bytes)?;
        let end = bytes
            .len()
            .checked_sub(CHECKSUM_BYTES)
            .ok_or(TransactionError::Damaged)?;
        let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
        if bytes[end..] != checksum {
            return Err(TransactionError::Damaged);
        }

        let encoded = bytes
            .get(BEGIN_BYTES + ORDER_BYTES..end)
            .ok_or(TransactionError::Damaged)?;
        let (head, contents): (Head, &[u8]) =
            postcard::take_from_bytes(encoded).map_err(|_| TransactionError::Foreign)?;
        let mut at = end - contents.len();
        let content = |(place, size): (FilePlace, usize)| {
            let from = at;
            at = from
                .checked_add(size)
                .filter(|to| *to <= end)
                .ok_or(TransactionError::Foreign)?;
            Ok((place, bytes.slice(from..at)))
        };
        let files = head
            .files
            .into_iter()
            .map(content)
            .collect::<Result<_, _>>()?;

        Ok(Self {
            order,
            holder: head.holder,
            progress: head.progress,
            files,
        })
    }
}

/// Returns the order of a transaction, by the first bytes of its object.
///
/// # Errors
/// [`TransactionError::Foreign`].
pub fn order_of(first: &[u8]) -> Result<u64, TransactionError> {
    let order = first
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.strip_prefix(&[VERSION]));
    let order = order.and_then(|rest| rest.first_chunk::<ORDER_BYTES>());
    order
        .map(|order| u64::from_le_bytes(*order))
        .ok_or(TransactionError::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> FileTransaction {
        let place = |window_start| FilePlace {
            topic: "counts".to_owned(),
            window_start,
        };
        FileTransaction {
            order: 7,
            holder: u64::MAX,
            progress: Some(vec![1, 2, 3]),
            files: vec![
                (place(None), Bytes::from_static(b"{}\n")),
                (place(Some(60_000)), Bytes::from_static(b"[]\n{}\n")),
            ],
        }
    }

    #[test]
    fn a_transaction_is_read_back_or_refused() {
        let bytes = Bytes::from(transaction().to_bytes());
        assert_eq!(FileTransaction::from_bytes(&bytes), Ok(transaction()));
        let first = bytes.slice(0..usize::try_from(ORDER_RANGE.end).unwrap());
        assert_eq!(order_of(&first), Ok(7));

        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(
                FileTransaction::from_bytes(&damaged.into()).is_err(),
                "byte {at}"
            );
            assert!(
                FileTransaction::from_bytes(&bytes.slice(..at)).is_err(),
                "{at} bytes"
            );
        }
    }

    #[test]
    fn names_of_files_sort_by_transaction_and_folders_by_window() {
        let [flat, of_window] = [None, Some(1_795_341_600_123)].map(|window_start| FilePlace {
            topic: "counts".to_owned(),
            window_start,
        });
        assert_eq!(flat.folders().collect::<Vec<_>>(), ["counts"]);
        assert_eq!(
            of_window.folders().collect::<Vec<_>>(),
            ["counts", "20261122T100000.123Z"]
        );

        assert_eq!(
            file_name(7, "counts-sink-0", "ndjson"),
            "000000000007-counts-sink-0.ndjson"
        );
        assert!(file_name(9, "b", "parquet") < file_name(10, "a", "ndjson"));
        assert_eq!(folder_of(u64::MAX), u64::MAX.to_string());
    }
}

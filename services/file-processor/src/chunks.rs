//! The bytes of a file, in pieces, and the reasons why reading may end early.
//!
//! Readers block: they pull pieces from an iterator on a thread of their own, while the next piece
//! is fetched. At most a few pieces of a file are in memory, whatever its size. Readers are plain
//! functions, so tests can pass them pieces from memory.

use std::io::{self, Read};

use bytes::{Buf, Bytes};

use crate::finding::Refusal;

/// The byte order mark of UTF-8, which some programs write.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A piece of a file, or the reason why there is none.
pub type Chunk = Result<Bytes, Stop>;

/// The reason why a reader stopped early.
#[derive(Debug)]
pub enum Stop {
    /// The file is refused.
    Refused(Refusal),
    /// The object store failed.
    Objects(object_store::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<object_store::Error> for Stop {
    fn from(error: object_store::Error) -> Self {
        Self::Objects(error)
    }
}

/// The pieces as one stream of bytes. A failure ends the stream and is stored in `failure`, because
/// [`io::Error`] would hide it.
pub struct ChunkReader<I> {
    chunks: I,
    current: Bytes,
    /// The failure of the source.
    pub failure: Option<Stop>,
}

impl<I: Iterator<Item = Chunk>> ChunkReader<I> {
    /// Creates a stream of these pieces.
    pub fn new(chunks: I) -> Self {
        Self {
            chunks,
            current: Bytes::new(),
            failure: None,
        }
    }
}

impl<I: Iterator<Item = Chunk>> Read for ChunkReader<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.next() {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => {
                    self.failure = Some(error);
                    return Err(io::Error::other("the object store failed"));
                }
                None => return Ok(0),
            }
        }

        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

//! The memory for received answers: few buffers, which are used again.
//!
//! A fetched partition keeps the whole frame that contains it. So that a slow partition with few bytes does not keep a
//! large frame, records are copied out of their frame if [`SHARED_FRAMES`] are already in use.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::native::cluster::lock;
use crate::native::wire::Frame;

/// The most frames that are kept for the pieces in them.
const SHARED_FRAMES: usize = 2;
/// Frames that wait to be used again.
pub(super) struct Frames {
    free: Mutex<Vec<Frame>>,
    in_use: AtomicUsize,
    /// The largest frame that is kept for later use.
    kept_bytes: usize,
    /// The bytes of all frames, those in use and those kept for later use.
    held_bytes: AtomicUsize,
}

/// A frame that is kept for later use when its last piece is dropped.
struct Returned {
    frame: Frame,
    home: Arc<Frames>,
}

/// Bytes of a received frame, shared or copied.
#[derive(Clone)]
pub(super) enum Piece {
    Shared(SharedFrame, Range<usize>),
    Copied(Arc<[u8]>),
}

/// A frame that contains several pieces.
#[derive(Clone)]
pub(super) struct SharedFrame(Arc<Returned>);

impl Frames {
    pub fn new(kept_bytes: usize) -> Self {
        Self {
            free: Mutex::default(),
            in_use: AtomicUsize::new(0),
            kept_bytes,
            held_bytes: AtomicUsize::new(0),
        }
    }

    /// Returns a frame to receive an answer into.
    pub fn take(&self) -> Frame {
        let frame = lock(&self.free).pop().unwrap_or_default();
        self.held_bytes
            .fetch_sub(frame.capacity(), Ordering::Relaxed);
        frame
    }

    /// Returns the bytes of all frames except those that an answer is being received into.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Gives back a frame without pieces.
    pub fn give(&self, frame: Frame) {
        let mut free = lock(&self.free);
        if free.len() < SHARED_FRAMES + 1 && frame.capacity() <= self.kept_bytes {
            self.held_bytes
                .fetch_add(frame.capacity(), Ordering::Relaxed);
            free.push(frame);
        }
    }

    /// Shares the frame among its pieces.
    pub fn share(self: &Arc<Self>, frame: Frame) -> SharedFrame {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        self.held_bytes
            .fetch_add(frame.capacity(), Ordering::Relaxed);
        let home = Arc::clone(self);
        SharedFrame(Arc::new(Returned { frame, home }))
    }

    /// Returns `true` if the most frames are in use, so that pieces of another must be copied.
    pub fn is_short(&self) -> bool {
        self.in_use.load(Ordering::Relaxed) > SHARED_FRAMES
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        let frame = std::mem::take(&mut self.frame);
        self.home.in_use.fetch_sub(1, Ordering::Relaxed);
        self.home
            .held_bytes
            .fetch_sub(frame.capacity(), Ordering::Relaxed);
        self.home.give(frame);
    }
}

impl SharedFrame {
    pub fn bytes(&self) -> &[u8] {
        self.0.frame.bytes()
    }

    /// Returns the bytes of a range. They either keep the frame or are copied out of it.
    pub fn piece(&self, range: Range<usize>) -> Piece {
        if self.0.home.is_short() {
            Piece::Copied(self.bytes()[range].into())
        } else {
            Piece::Shared(self.clone(), range)
        }
    }
}

impl Piece {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(frame, range) => &frame.bytes()[range.clone()],
            Self::Copied(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::{Frames, Piece, SHARED_FRAMES};

    #[test]
    fn pieces_are_copied_when_too_many_frames_are_kept() {
        let frames = Arc::new(Frames::new(1 << 20));
        let kept: Vec<Piece> = (0..SHARED_FRAMES)
            .map(|_| frames.share(frames.take()).piece(0..0))
            .collect();
        assert!(kept.iter().all(|piece| matches!(piece, Piece::Shared(..))));

        let another = frames.share(frames.take());
        assert!(matches!(another.piece(0..0), Piece::Copied(_)));
        drop((kept, another));

        assert_eq!(frames.in_use.load(Ordering::Relaxed), 0);
        assert!(frames.free.lock().unwrap().len() <= SHARED_FRAMES + 1);
    }
}

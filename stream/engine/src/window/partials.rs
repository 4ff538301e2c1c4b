//! Partial aggregates of windows that slide, so that a slide merges only new entries, and not every pane again.
//!
//! A *turn*, a boundary inside the window, divides the window's panes. Before the turn, each key has
//! the aggregates from the start of each slide up to the turn. From the turn on, it has one running
//! aggregate. Both merged are the window. These are the two stacks of Tangwongsan, Hirzel, Schneider
//! and Wu, "General incremental sliding-window aggregation", VLDB 8(7), 2015, for each key.
//!
//! ```text
//! window              [              )
//! slides              [ a  )[ b  )[ c  )[ d  )[ e  )
//! front, by slide       a+b+c b+c   c   |               aggregates up to the turn
//! back                                  | d+e           what came from the turn on
//!                                     turn
//! ```
//!
//! When a window starts at or after the turn, the front is used up: the turn moves to the window's
//! end, and the window's panes make a new front.
//!
//! Invariants: an entry is merged at most once when it arrives and once when the turn passes
//! it, and a row costs one merge more, however many slides a window has. A late entry is merged once
//! for each slide of its key between it and the oldest window that has not been read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::aggregate::Aggregate;
use crate::pane::{EventTimeMs, Windows};

/// The aggregate of some events of a key in a pane.
pub struct Piece<'a, K, A> {
    pub pane: EventTimeMs,
    pub key: &'a K,
    pub aggregate: &'a A,
}

/// The partial aggregates of all keys. Windows are read in the order of their starts.
pub struct Partials<K, A> {
    windows: Windows,
    /// None if there are no partial aggregates.
    turn: Option<EventTimeMs>,
    /// The end of the last window that was read.
    end: EventTimeMs,
    /// The window that can be read: nothing was added since it was reached.
    current: Option<EventTimeMs>,
    keys: BTreeMap<K, Partial<A>>,
}

/// The partial aggregates of a key.
struct Partial<A> {
    /// The aggregates from the start of a slide to the turn, the latest start first.
    front: Vec<(EventTimeMs, A)>,
    /// The aggregate from the turn on.
    back: Option<A>,
}

impl<K: Clone + Ord, A: Aggregate> Partials<K, A> {
    /// Creates partial aggregates of nothing.
    pub fn new(windows: Windows) -> Self {
        Self {
            windows,
            turn: None,
            end: 0,
            current: None,
            keys: BTreeMap::new(),
        }
    }

    /// Returns the window that can be read.
    pub fn current(&self) -> Option<EventTimeMs> {
        self.current
    }

    /// Adds an entry that arrived in a pane of a window that has not been read.
    pub fn add(&mut self, piece: &Piece<'_, K, A>) {
        self.current = None;
        let Some(turn) = self.turn else {
            return;
        };

        if piece.pane >= turn {
            self.partial(piece.key).append(piece.aggregate);
        } else if piece.pane >= self.first_unread() {
            self.insert(piece);
        }
    }

    /// Moves on to the window that starts at `start`, which ends after all others that were read.
    /// `pieces` are those of the whole window, the newest pane first; they are read only if the turn
    /// moves. All pieces from the turn on must have been added before.
    pub fn advance<'a>(&mut self, start: EventTimeMs, pieces: impl Iterator<Item = Piece<'a, K, A>>)
    where
        K: 'a,
        A: 'a,
    {
        self.end = start + self.windows.size_ms();
        self.current = Some(start);

        if self.turn.is_some_and(|turn| start < turn) {
            self.keys.retain(|_, partial| partial.keep_from(start));
        } else {
            self.turn_anew(start, pieces);
        }
    }

    /// Moves on as [`advance`](Self::advance) does, but without pieces that were added: reads the pieces that it needs
    /// from `pieces`, which returns those of a range of panes, the oldest first.
    pub fn sweep_to<'a, I>(
        &mut self,
        start: EventTimeMs,
        pieces: impl Fn(std::ops::Range<EventTimeMs>) -> I,
    ) where
        I: DoubleEndedIterator<Item = Piece<'a, K, A>>,
        K: 'a,
        A: 'a,
    {
        let window = self.windows.panes(start);
        if self.turn.is_some_and(|turn| start < turn) {
            pieces(self.end..window.end).for_each(|piece| self.add(&piece));
        }

        self.advance(start, pieces(window).rev());
    }

    /// Calls `each` with every key that has events in the current window, in order, and their
    /// aggregate.
    pub fn for_each(&self, each: &mut dyn FnMut(&K, Cow<'_, A>)) {
        for (key, partial) in &self.keys {
            if let Some(aggregate) = partial.whole() {
                each(key, aggregate);
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.turn = None;
        self.current = None;
        self.keys.clear();
    }

    /// Moves the turn to the end of the window; to its start if it shares no pane with the next
    /// one, which needs no front then.
    fn turn_anew<'a>(&mut self, start: EventTimeMs, pieces: impl Iterator<Item = Piece<'a, K, A>>)
    where
        K: 'a,
        A: 'a,
    {
        let is_shared = self.windows.share_panes();
        self.turn = Some(if is_shared { self.end } else { start });
        self.keys.values_mut().for_each(Partial::clear);

        for piece in pieces {
            if is_shared {
                self.insert(&piece);
            } else {
                self.partial(piece.key).append(piece.aggregate);
            }
        }

        self.keys.retain(|_, partial| !partial.is_empty());
    }

    /// The start of the first window after the last one that was read.
    fn first_unread(&self) -> EventTimeMs {
        self.end - self.windows.size_ms() + self.windows.slide_ms()
    }

    fn insert(&mut self, piece: &Piece<'_, K, A>) {
        let slide = self.windows.slide_of(piece.pane);
        self.partial(piece.key).insert(slide, piece.aggregate);
    }

    fn partial(&mut self, key: &K) -> &mut Partial<A> {
        self.keys.entry(key.clone()).or_default()
    }
}

impl<A: Aggregate> Partial<A> {
    /// Adds events from the turn on.
    fn append(&mut self, aggregate: &A) {
        match &mut self.back {
            Some(back) => back.merge(aggregate),
            none => *none = Some(aggregate.clone()),
        }
    }

    /// Adds events before the turn, of the slide that starts at `slide`: to the aggregates from this
    /// slide and from all earlier ones.
    fn insert(&mut self, slide: EventTimeMs, aggregate: &A) {
        let later = self.front.partition_point(|(start, _)| *start > slide);
        let is_new = self
            .front
            .get(later)
            .is_none_or(|(start, _)| *start < slide);

        if is_new && later == 0 {
            self.front.insert(0, (slide, aggregate.clone()));
            return self.merge_from(1, aggregate);
        }

        if is_new {
            let from_later = self.front[later - 1].1.clone();
            self.front.insert(later, (slide, from_later));
        }
        self.merge_from(later, aggregate);
    }

    fn merge_from(&mut self, index: usize, aggregate: &A) {
        for (_, front) in &mut self.front[index..] {
            front.merge(aggregate);
        }
    }

    /// Drops the aggregates from slides before `start`. Returns whether any are left.
    fn keep_from(&mut self, start: EventTimeMs) -> bool {
        while self.front.last().is_some_and(|(slide, _)| *slide < start) {
            self.front.pop();
        }
        !self.is_empty()
    }

    /// Returns the aggregate of the window.
    fn whole(&self) -> Option<Cow<'_, A>> {
        let front = self.front.last().map(|(_, front)| front);
        match (front, &self.back) {
            (Some(front), Some(back)) => {
                let mut whole = front.clone();
                whole.merge(back);
                Some(Cow::Owned(whole))
            }
            (front, back) => front.or(back.as_ref()).map(Cow::Borrowed),
        }
    }

    fn is_empty(&self) -> bool {
        self.front.is_empty() && self.back.is_none()
    }

    fn clear(&mut self) {
        self.front.clear();
        self.back = None;
    }
}

impl<A> Default for Partial<A> {
    fn default() -> Self {
        Self {
            front: Vec::new(),
            back: None,
        }
    }
}

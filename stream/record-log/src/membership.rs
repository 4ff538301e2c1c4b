//! Groups whose members share the partitions of a topic.
//!
//! A member only receives the partitions that it owns. It reads them with a
//! [`Reader`](crate::Reader) as any other partition, and positions are stored as without a group.

use std::collections::BTreeSet;

use crate::{LogError, Wake};

/// The partitions of a topic that a member of a group owns.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Owned {
    /// All partitions, including those that are added later. The log has no groups, so every member
    /// is alone.
    All,
    /// These partitions. The set is empty until the member has joined, and if there are more
    /// members than partitions.
    Only(BTreeSet<u32>),
}

/// A member of a group. Dropping it leaves the group, and its partitions go to other members at
/// once; those of a member that died go to others when its session has expired.
///
/// A partition has one owner at a time, with one exception: a member that was paused for longer
/// than its session still returns partitions that have a new owner.
pub trait Membership: Send {
    /// Returns the partitions that this member owns now. It does not block on the network.
    ///
    /// Each call shows the group that the member is alive. A partition goes to another member only
    /// after the call that returned without it, so store its position before the call. A member
    /// that does not call for five minutes loses all its partitions to the others.
    ///
    /// # Errors
    /// [`LogError::Refused`] if the right to the group is missing, until it is granted;
    /// [`LogError::Unavailable`] if this member has ended: join again.
    fn owned(&mut self) -> Result<Owned, LogError>;

    /// Calls `wake` whenever the next call of [`Membership::owned`] may return something else.
    /// `wake` must not block or call the log.
    fn on_change(&mut self, wake: Wake);
}

/// The member of a group in a log that has no groups.
pub(crate) struct Alone;

impl Membership for Alone {
    fn owned(&mut self) -> Result<Owned, LogError> {
        Ok(Owned::All)
    }

    fn on_change(&mut self, _: Wake) {}
}

impl Owned {
    /// Returns `true` if the partition is among them.
    pub fn contains(&self, partition: u32) -> bool {
        match self {
            Self::All => true,
            Self::Only(partitions) => partitions.contains(&partition),
        }
    }
}

//! A member of a group on a simulated log.
//!
//! A member receives a change at its next call, as a paused member of a Kafka group does. So two
//! members may own a partition for a moment, and tests find consumers that do not tolerate this.

use super::SimulatedLog;
use super::fault::Call;
use super::store::Store;
use crate::wakes::Registration;
use crate::{LogError, Membership, Owned, Wake};

/// A member of a group on a simulated log.
pub(super) struct SimulatedMembership {
    log: SimulatedLog,
    group: String,
    topic: String,
    id: u64,
    wake: Option<Registration>,
}

impl SimulatedMembership {
    pub(super) fn join(log: SimulatedLog, group: &str, topic: &str) -> Result<Self, LogError> {
        let place = (group.to_owned(), topic.to_owned());
        let id = log.ask(&Call::Join { group, topic }, |store| {
            Ok(store.groups.join(place, &log.process))
        })?;
        log.shared.wakes.raise(|_| true);

        Ok(Self {
            group: group.to_owned(),
            topic: topic.to_owned(),
            id,
            wake: None,
            log,
        })
    }

    /// Returns the partitions of this member. An expelled member joins again, as the last one.
    fn find(&mut self, store: &mut Store) -> Result<(Owned, bool), LogError> {
        let partitions = store.topic(&self.topic)?.partitions();
        let place = (self.group.clone(), self.topic.clone());
        if let Some(owned) = store.groups.owned(&place, self.id, partitions) {
            return Ok((owned, false));
        }

        self.id = store.groups.join(place.clone(), &self.log.process);
        let owned = store.groups.owned(&place, self.id, partitions);
        Ok((owned.expect("it has just joined"), true))
    }
}

impl Membership for SimulatedMembership {
    fn owned(&mut self) -> Result<Owned, LogError> {
        let log = self.log.clone();
        let group = self.group.clone();
        let topic = self.topic.clone();
        let call = Call::Owned {
            group: &group,
            topic: &topic,
        };

        let found = log.ask(&call, |store| self.find(store))?;
        if found.1 {
            log.shared.wakes.raise(|_| true);
        }
        Ok(found.0)
    }

    fn on_change(&mut self, wake: Wake) {
        self.wake = Some(self.log.shared.wakes.register(&self.topic, wake));
    }
}

impl Drop for SimulatedMembership {
    /// Leaves the group, unless the process has crashed: then its session goes on until a test ends it.
    fn drop(&mut self) {
        if !self.log.is_dead() {
            self.log.store().groups.leave(self.id);
            self.log.shared.wakes.raise(|_| true);
        }
    }
}

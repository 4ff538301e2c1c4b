//! Groups of the simulated broker. Partitions are dealt in turn to the members in the order in
//! which they joined, anew whenever one joins or leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Process;
use crate::Owned;

/// The members of all groups, by group and topic.
#[derive(Default)]
pub(super) struct Groups {
    next_id: u64,
    members: BTreeMap<(String, String), Vec<Member>>,
}

struct Member {
    id: u64,
    process: Arc<Process>,
}

impl Groups {
    pub(super) fn join(&mut self, place: (String, String), process: &Arc<Process>) -> u64 {
        self.next_id += 1;
        self.members.entry(place).or_default().push(Member {
            id: self.next_id,
            process: Arc::clone(process),
        });
        self.next_id
    }

    pub(super) fn leave(&mut self, id: u64) {
        let members = self.members.values_mut();
        members.for_each(|members| members.retain(|member| member.id != id));
    }

    /// Removes the members of a process from all groups.
    pub(super) fn expel(&mut self, process: &Arc<Process>) {
        let members = self.members.values_mut();
        members.for_each(|members| {
            members.retain(|member| !Arc::ptr_eq(&member.process, process));
        });
    }

    /// Returns the partitions of a member; none if it is not a member any more.
    pub(super) fn owned(
        &self,
        place: &(String, String),
        id: u64,
        partitions: u32,
    ) -> Option<Owned> {
        let members = self.members.get(place)?;
        let turn = members.iter().position(|member| member.id == id)?;
        let owned = (0..partitions).filter(|number| *number as usize % members.len() == turn);
        Some(Owned::Only(owned.collect()))
    }
}

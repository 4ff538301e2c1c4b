//! The wake-ups of readers, by topic: [`Reader::on_readable`](crate::Reader::on_readable) registers
//! them with the logs inside this process.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Wake;

/// The functions to call when a topic grows.
#[derive(Default)]
pub(crate) struct Wakes(Mutex<Registered>);

#[derive(Default)]
struct Registered {
    next_id: u64,
    wakes: Vec<(u64, String, Wake)>,
}

/// Keeps a wake-up registered until it is dropped.
pub(crate) struct Registration {
    wakes: Arc<Wakes>,
    id: u64,
}

impl Wakes {
    /// Calls `wake` whenever `topic` grows, until the registration is dropped.
    pub(crate) fn register(self: &Arc<Self>, topic: &str, wake: Wake) -> Registration {
        let mut registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = registered.next_id;
        registered.next_id += 1;
        registered.wakes.push((id, topic.to_owned(), wake));

        Registration {
            wakes: Arc::clone(self),
            id,
        }
    }

    /// Wakes the readers of the topics for which `grew` returns true. The lock is released first,
    /// because a reader may register again.
    pub(crate) fn raise(&self, grew: impl Fn(&str) -> bool) {
        let registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<Wake> = registered
            .wakes
            .iter()
            .filter(|(_, topic, _)| grew(topic))
            .map(|(_, _, wake)| Arc::clone(wake))
            .collect();

        drop(registered);
        due.iter().for_each(|wake| wake());
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.wakes
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wakes
            .retain(|(id, _, _)| *id != self.id);
    }
}

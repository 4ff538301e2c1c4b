//! Faults of a simulated process: at one of its calls on the log or on the object store it dies, or
//! the call fails. Both kinds of call are counted in one place, by name, so that a schedule names
//! the same point whatever the order of the threads.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use record_log::simulated::{Call, Crashed, Fault, SimulatedLog};
use record_log::{Delivery, NewRecord, RecordLog};

use crate::oracle::place;

/// The calls on the log that a job makes a countable number of times. (It polls, and reads the
/// ends, all the time.)
pub const LOG_CALLS: [&str; 7] = [
    "ensure topics",
    "describe topics",
    "ask for partitions",
    "open reader",
    "open publisher",
    "send",
    "commit",
];
/// The calls on the object store.
pub const STORE_CALLS: [&str; 10] = [
    "create attempts",
    "create manifests",
    "create parts",
    "read manifests",
    "read parts",
    "list attempts",
    "list manifests",
    "list parts",
    "delete manifests",
    "delete parts",
];
/// The calls on the object store of a job that publishes its counts to files.
pub const SINK_CALLS: [&str; 8] = [
    "create _transactions",
    "read _transactions",
    "list _transactions",
    "delete _transactions",
    "create counts",
    "read counts",
    "create events-late",
    "create events-dead-letter",
];
/// The calls on the object store of a job that merges parts.
pub const MERGE_CALLS: [&str; 3] = ["create merged parts", "read parts", "delete merged parts"];

/// The fault at a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blow {
    /// The process dies before the call has its effect.
    DieBefore,
    /// The process dies after the effect, before it gets the reply.
    DieAfter,
    /// The call has its effect, and fails.
    LoseReply,
    /// The call fails without an effect; the next one succeeds.
    Unavailable,
    /// The store refuses the call as not permitted, and the next one succeeds; the log is
    /// unavailable.
    Refuse,
    /// The store refuses this call and all later ones of its name.
    Forbid,
    /// An operator adds a partition before the call has its effect, and it gets records at once.
    AddPartition,
}

/// A call, by name and number, and its fault.
#[derive(Clone, Copy, Debug)]
pub struct Doom {
    pub call: &'static str,
    pub number: u64,
    pub blow: Blow,
}

/// The fault that one process meets, and the calls that it has made.
pub struct Fate {
    doom: Option<Doom>,
    /// The seed of the delays of calls on the store, and so of the order in which they happen.
    pace: Option<u64>,
    counts: Mutex<BTreeMap<String, u64>>,
    is_met: AtomicBool,
    is_dead: AtomicBool,
    /// The handle of an operator.
    log: OnceLock<SimulatedLog>,
}

impl fmt::Debug for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = formatter.debug_struct("Fate");
        fields.field("doom", &self.doom).field("pace", &self.pace);
        fields.finish_non_exhaustive()
    }
}

impl Blow {
    pub const DEATHS: [Self; 2] = [Self::DieBefore, Self::DieAfter];
    pub const ERRORS: [Self; 3] = [Self::LoseReply, Self::Unavailable, Self::Refuse];

    fn as_fault(self) -> Fault {
        match self {
            Self::DieBefore => Fault::CrashBefore,
            Self::DieAfter => Fault::CrashAfter,
            Self::LoseReply => Fault::LoseReply,
            Self::Unavailable | Self::Refuse | Self::Forbid => Fault::Unavailable,
            Self::AddPartition => Fault::None,
        }
    }
}

impl Doom {
    /// Draws one of `blows` at one of the calls.
    pub fn any(blows: &[Blow], random: &mut SmallRng) -> Self {
        let polls = ["poll", "ask for ends"];
        let call = *[&LOG_CALLS[..], &STORE_CALLS, &MERGE_CALLS, &polls]
            .concat()
            .choose(random)
            .unwrap();

        let furthest = if matches!(call, "send" | "poll") {
            60
        } else {
            random.random_range(1..8)
        };

        Self {
            call,
            number: random.random_range(0..furthest),
            blow: *blows.choose(random).unwrap(),
        }
    }
}

impl Fate {
    /// Creates the fate of a process that meets `doom`, if any, and whose store's delays are
    /// derived from `pace`.
    pub fn new(doom: Option<Doom>, pace: Option<u64>) -> Arc<Self> {
        let is_met = AtomicBool::new(false);
        let is_dead = AtomicBool::new(false);
        Arc::new(Self {
            doom,
            pace,
            counts: Mutex::default(),
            is_met,
            is_dead,
            log: OnceLock::new(),
        })
    }

    /// Returns whether the process has made the call of its doom.
    pub fn is_met(&self) -> bool {
        self.is_met.load(Ordering::SeqCst)
    }

    /// Returns whether the process died there.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Returns whether the store has begun to refuse a kind of call for good.
    pub fn is_forbidden(&self) -> bool {
        self.is_met() && self.doom.is_some_and(|doom| doom.blow == Blow::Forbid)
    }

    /// Returns the number of calls of that name that the process has made.
    pub fn calls(&self, call: &str) -> u64 {
        self.counts.lock().unwrap().get(call).copied().unwrap_or(0)
    }

    /// Returns the process's handle to a log. It reads few records at a time, so that a short life
    /// has many checkpoints.
    pub fn log(self: &Arc<Self>, log: &SimulatedLog) -> SimulatedLog {
        self.log.get_or_init(|| log.clone());
        let fate = Arc::clone(self);
        log.process(move |call| fate.next(name_of(call)).map_or(Fault::None, Blow::as_fault))
            .in_batches_of(4)
    }

    /// Counts a call and returns its fault. After a deadly call, every other call ends the thread
    /// that makes it.
    pub fn next(&self, call: &str) -> Option<Blow> {
        if self.is_dead() {
            die()
        }

        let number = {
            let mut counts = self.counts.lock().unwrap();
            let count = counts.entry(call.to_owned()).or_default();
            std::mem::replace(count, *count + 1)
        };

        let doom = self.doom.filter(|doom| {
            let is_due = match doom.blow {
                Blow::Forbid => number >= doom.number,
                _ => number == doom.number,
            };
            doom.call == call && is_due
        })?;
        self.is_met.store(true, Ordering::SeqCst);
        self.is_dead
            .store(Blow::DEATHS.contains(&doom.blow), Ordering::SeqCst);

        if let (Blow::AddPartition, Some(log)) = (doom.blow, self.log.get()) {
            add_partition(log);
        }
        Some(doom.blow)
    }

    /// Returns the delay of the next call of that name.
    pub fn delay(&self, call: &str) -> Option<Duration> {
        let mut hasher = DefaultHasher::new();
        (self.pace?, call, self.counts.lock().unwrap().get(call)).hash(&mut hasher);
        Some(Duration::from_millis(hasher.finish() % 4))
    }
}

/// Adds a partition to the topic of the first source. Its events are of windows that are closed, open and to come.
fn add_partition(log: &SimulatedLog) {
    let topic = place(0).0;
    let added = log.partitions(topic).unwrap();
    log.grow(topic, added + 1);

    let mut publisher = log.publisher("operator", Delivery::Transactional).unwrap();
    for time in [2, 25, 45, 60, 90, 200] {
        let value = format!("3 {time}");
        let record = NewRecord {
            topic,
            partition: Some(added),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        publisher.send(record).unwrap();
    }
    publisher.commit(&[]).unwrap();
}

/// Ends the thread without a message.
pub fn die() -> ! {
    std::panic::resume_unwind(Box::new(Crashed))
}

fn name_of(call: &Call<'_>) -> &'static str {
    match call {
        Call::EnsureTopics => "ensure topics",
        Call::Describe { .. } => "describe topics",
        Call::Partitions { .. } => "ask for partitions",
        Call::Offsets { .. } => "ask for ends",
        Call::OpenReader { .. } => "open reader",
        Call::Poll { .. } => "poll",
        Call::OpenPublisher { .. } => "open publisher",
        Call::Send { .. } => "send",
        Call::Commit { .. } => "commit",
        Call::Committed { .. } => "ask for positions",
        Call::CommitPositions { .. } => "commit positions",
        Call::Join { .. } => "join a group",
        Call::Owned { .. } => "ask for its partitions",
    }
}

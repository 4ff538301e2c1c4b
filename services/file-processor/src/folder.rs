//! Notifications for an object store that is a folder. A folder sends none, so it is scanned for
//! new files. A file that a scan finds is processed when it is complete ([`settling`]); one that was posted
//! to this service is processed at once.
//!
//! For each unfinished file, the [`Function`] is invoked with the event that S3 would send, one
//! file after another. A failed invocation is repeated a few times; then the file is left until the
//! next start. This replaces Lambda's dead-letter queue.

mod settling;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use chassis::Shutdown;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::event;
use crate::file::{self, File};
use crate::function::Function;
use crate::objects::{Object, Objects};
use crate::store::{Store, StoreError};
use settling::{Now, Settling, writers};

/// Interval between scans.
const PAUSE: Duration = Duration::from_secs(5);
/// Number of invocations per file, the same as Lambda's.
const TRIES: u32 = 3;
/// Capacity of the queue of posted files. Further files are found by the next scan.
const POSTED_AHEAD: usize = 64;

/// The queue of posted files. Clones share it.
#[derive(Clone, Debug)]
pub struct Posted(mpsc::Sender<Object>);

/// The folder, with the state of its files.
pub struct Folder {
    objects: Objects,
    store: Store,
    function: Function,
    posted: mpsc::Receiver<Object>,
    /// Remaining invocations for each file, by key and version.
    tries_left: HashMap<(String, String), u32>,
    settling: Settling,
}

impl Posted {
    /// Queues a file for processing. If the queue is full, a scan finds the file later.
    pub fn tell(&self, object: &Object) {
        if let Err(error) = self.0.try_send(object.clone()) {
            tracing::debug!(%error, "the posted file will be found in the folder");
        }
    }
}

impl Folder {
    /// Creates a folder whose files are processed by `function`. `store` contains the files that
    /// are finished.
    pub fn new(objects: Objects, store: Store, function: Function) -> (Self, Posted) {
        let (sender, posted) = mpsc::channel(POSTED_AHEAD);
        (
            Self {
                objects,
                store,
                function,
                posted,
                tries_left: HashMap::new(),
                settling: Settling::default(),
            },
            Posted(sender),
        )
    }

    /// Processes new files until a shutdown is requested. A file in progress is abandoned then; the
    /// next start finds it.
    pub async fn watch(mut self, shutdown: &Shutdown) {
        tokio::select! {
            () = self.run() => {}
            () = shutdown.requested() => {}
        }
    }

    async fn run(&mut self) {
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(object) = self.posted.recv() => self.process(&object).await,
                _ = ticks.tick() => self.look_through().await,
            }
        }
    }

    async fn look_through(&mut self) {
        match self.objects.uploads().await {
            Ok(found) => {
                for object in self.complete(found).await {
                    self.process(&object).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the folder of files cannot be scanned"),
        }
        self.function.rest();
    }

    /// Returns the files among `found` that are complete and have invocations left.
    async fn complete(&mut self, found: Vec<Object>) -> Vec<Object> {
        let mut still = self.settling.still(found, Now::read());
        still.retain(|object| self.tries_left(object) > 0);
        if still.is_empty() {
            return still;
        }

        // Of two catalogues, the one that was saved later must be imported later.
        still.sort_by_key(|object| object.uploaded_at.as_ms());
        let open = self.open_for_writing().await;
        self.settling.closed(still, &open)
    }

    /// Returns the keys of the files that a program is writing.
    async fn open_for_writing(&self) -> HashSet<String> {
        let Some(folder) = self.objects.folder().map(Path::to_owned) else {
            return HashSet::new();
        };
        let listed = spawn_blocking(move || writers::open_below(&folder)).await;
        listed.unwrap_or_else(|error| {
            tracing::warn!(%error, "the open files of this machine could not be listed");
            HashSet::new()
        })
    }

    fn tries_left(&self, object: &Object) -> u32 {
        let version = (object.key.clone(), object.version.clone());
        self.tries_left.get(&version).copied().unwrap_or(TRIES)
    }

    async fn process(&mut self, object: &Object) {
        let left = self.tries_left(object);
        if left == 0 {
            return;
        }

        let left = match self.is_finished(object).await {
            Ok(true) => 0,
            Ok(false) => self.invoke(object, left - 1).await,
            Err(error) => {
                tracing::warn!(key = object.key, %error, "cannot read whether a file is finished");
                left
            }
        };
        let version = (object.key.clone(), object.version.clone());
        self.tries_left.insert(version, left);
    }

    /// Returns `true` if this version is finished, usually by an earlier process.
    async fn is_finished(&self, object: &Object) -> Result<bool, StoreError> {
        let known = self
            .store
            .get(file::id(&object.key, &object.version))
            .await?;
        Ok(known.as_ref().is_some_and(File::is_finished))
    }

    /// Invokes the function for a file. Returns the remaining number of invocations: 0 after a
    /// success, `left` after a failure.
    async fn invoke(&mut self, object: &Object, left: u32) -> u32 {
        match self.function.invoke(event::created(object)).await {
            Ok(()) => 0,
            Err(error) => {
                tracing::warn!(key = object.key, %error, tries_left = left, "a file could not be processed");
                left
            }
        }
    }
}

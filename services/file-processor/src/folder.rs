//! Where the object store is a folder nobody sends notifications, so the folder is looked through instead: for what was
//! posted, which is told at once, and for what somebody put there.
//!
//! Of each file that is not finished the [`Function`] is told, as S3 tells it of an object, one after the other. What
//! fails is told again, a few times, and then left until the next start: the folder's own dead-letter queue.

use std::collections::HashMap;
use std::time::Duration;

use chassis::Shutdown;
use tokio::sync::mpsc;

use crate::event;
use crate::file::{self, File};
use crate::function::Function;
use crate::objects::{Object, Objects};
use crate::store::{Store, StoreError};

/// How often the folder is looked through.
const PAUSE: Duration = Duration::from_secs(5);
/// A file is left alone for so long after its last change: it may still be being written.
const SETTLED: Duration = Duration::from_secs(2);
/// How often a file is tried: as often as Lambda does.
const TRIES: u32 = 3;
/// How many posted files wait; what is more is found in the folder.
const POSTED_AHEAD: usize = 64;

/// Tells of what was posted. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Posted(mpsc::Sender<Object>);

/// The folder, and what is known of it.
pub struct Folder {
    objects: Objects,
    store: Store,
    function: Function,
    posted: mpsc::Receiver<Object>,
    /// Key and version of every file, with how often it is still to be tried.
    tries_left: HashMap<(String, String), u32>,
}

impl Posted {
    /// Tells of a file; it is enough that the folder has it.
    pub fn tell(&self, object: &Object) {
        if let Err(error) = self.0.try_send(object.clone()) {
            tracing::debug!(%error, "the posted file will be found in the folder");
        }
    }
}

impl Folder {
    /// A folder that is looked through for the function; what is finished, the store knows.
    pub fn new(objects: Objects, store: Store, function: Function) -> (Self, Posted) {
        let (sender, posted) = mpsc::channel(POSTED_AHEAD);
        (
            Self {
                objects,
                store,
                function,
                posted,
                tries_left: HashMap::new(),
            },
            Posted(sender),
        )
    }

    /// Processes what comes until a shutdown is requested. A file under way is given up then; the next start finds it.
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
        match self.objects.uploads(SETTLED).await {
            Ok(objects) => {
                for object in objects {
                    self.process(&object).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the folder of files cannot be looked through"),
        }
        self.function.rest();
    }

    async fn process(&mut self, object: &Object) {
        let version = (object.key.clone(), object.version.clone());
        let left = self.tries_left.get(&version).copied().unwrap_or(TRIES);
        if left == 0 {
            return;
        }

        let left = match self.is_finished(object).await {
            Ok(true) => 0,
            Ok(false) => self.invoke(object, left - 1).await,
            Err(error) => {
                tracing::warn!(key = object.key, %error, "it is not known whether a file is finished");
                left
            }
        };
        self.tries_left.insert(version, left);
    }

    /// Whether this version was finished before: by an earlier process, mostly.
    async fn is_finished(&self, object: &Object) -> Result<bool, StoreError> {
        let known = self
            .store
            .get(file::id(&object.key, &object.version))
            .await?;
        Ok(known.as_ref().is_some_and(File::is_finished))
    }

    /// Has the function process it, and says how often it is still to be tried: `left` times where this failed.
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

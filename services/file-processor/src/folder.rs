//! Where the object store is a folder nobody sends notifications, so the folder is looked through instead: for what was
//! posted, which is told at once, and for what somebody put there.
//!
//! Each file is handed to the same [`Processor`] as the Lambda's, one after the other. What fails is tried again, a few
//! times, and then left until the next start: the folder's own dead-letter queue.

use std::collections::HashMap;
use std::time::Duration;

use chassis::Shutdown;
use tokio::sync::mpsc;

use crate::event::Upload;
use crate::objects::Object;
use crate::processor::Processor;

/// How often the folder is looked through.
const PAUSE: Duration = Duration::from_secs(5);
/// A file is left alone for so long after its last change: it may still be being written.
const SETTLED: Duration = Duration::from_secs(2);
/// How often a file is tried.
const TRIES: u32 = 3;
/// How many posted files wait; what is more is found in the folder.
const POSTED_AHEAD: usize = 64;

/// Tells of what was posted. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Posted(mpsc::Sender<Upload>);

/// The folder, and what is known of it.
pub struct Folder {
    processor: Processor,
    posted: mpsc::Receiver<Upload>,
    /// Key and version of every file, with how often it is still to be tried.
    tries_left: HashMap<(String, String), u32>,
}

impl Posted {
    /// Tells of a file; it is enough that the folder has it.
    pub fn tell(&self, object: &Object) {
        if let Err(error) = self.0.try_send(Upload::of(object)) {
            tracing::debug!(%error, "the posted file will be found in the folder");
        }
    }
}

impl Upload {
    /// This very version.
    pub fn of(object: &Object) -> Self {
        Self {
            key: object.key.clone(),
            version_id: object.version_id().map(str::to_owned),
            version: Some(object.version.clone()),
        }
    }
}

impl Folder {
    /// A folder that is looked through for `processor`.
    pub fn new(processor: Processor) -> (Self, Posted) {
        let (sender, posted) = mpsc::channel(POSTED_AHEAD);
        (Self { processor, posted, tries_left: HashMap::new() }, Posted(sender))
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
                Some(upload) = self.posted.recv() => self.process(upload).await,
                _ = ticks.tick() => self.look_through().await,
            }
        }
    }

    async fn look_through(&mut self) {
        match self.processor.objects.uploads(SETTLED).await {
            Ok(objects) => {
                for object in objects {
                    self.process(Upload::of(&object)).await;
                }
            }
            Err(error) => tracing::warn!(%error, "the folder of files cannot be looked through"),
        }
    }

    async fn process(&mut self, upload: Upload) {
        let version = (upload.key.clone(), upload.version.clone().unwrap_or_default());
        let left = self.tries_left.entry(version).or_insert(TRIES);
        if *left == 0 {
            return;
        }
        match self.processor.process(&upload, None).await {
            Ok(_) => *left = 0,
            Err(error) => {
                *left -= 1;
                tracing::warn!(key = upload.key, %error, tries_left = *left, "a file could not be processed");
            }
        }
    }
}

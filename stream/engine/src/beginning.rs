//! The recovery of an attempt: decides which processes take part, fences earlier attempts, and
//! chooses the checkpoint to continue from.
//!
//! [`recover`] defines the order of the steps. Process 0, or a single process, takes all of them.
//! The others open their slots once process 0 has sent the attempt's number, and read the
//! checkpoint that process 0 has published for the attempt.

use record_log::Publisher;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::{JobError, Stop};
use crate::checkpoint::lineage::{Carried, Progress};
use crate::checkpoint::manifest::{Fingerprint, Manifest};
use crate::checkpoint::recover::{self, Checkpoint, RecoverError};
use crate::checkpoint::store::ManifestId;
use crate::cluster::mesh::Mesh;
use crate::cluster::rendezvous::{Follower, Lead};
use crate::cluster::{Members, Terms};
use crate::run::{Run, millis};
use crate::sink::committer::SlotPublisher;
use crate::topics;

/// What recovery produces for an attempt in one process.
pub struct Beginning {
    /// The attempt's number.
    pub number: u64,
    /// The number of partitions of the topic.
    pub partitions: u32,
    /// The manifest that the attempt starts from, published under its number.
    pub adopted: Manifest,
    /// The checkpoint with its parts; none if the job is new.
    pub checkpoint: Option<Checkpoint>,
    /// The open sink slots of this process.
    pub slots: Vec<SlotPublisher>,
    /// The links to the other processes, if there are any.
    pub mesh: Option<Mesh>,
}

impl<K: Key, A: Aggregate> Run<K, A> {
    /// Begins the next attempt. Returns none if a stop is requested before the topic exists.
    ///
    /// # Errors
    /// [`JobError`].
    pub(crate) async fn begin(&self, stop: &Stop) -> Result<Option<Beginning>, JobError> {
        match &self.members {
            Some(members) if members.process > 0 => self.follow(members).await.map(Some),
            members => self.lead(members.as_ref(), stop).await,
        }
    }

    async fn lead(
        &self,
        members: Option<&Members>,
        stop: &Stop,
    ) -> Result<Option<Beginning>, JobError> {
        topics::ensure(self.log.as_ref(), &self.pipeline, &self.settings)?;
        let until_end = self.settings.until_end;
        let partitions =
            topics::await_partitions(self.log.as_ref(), &self.pipeline.topic, until_end, stop)?;
        let Some(partitions) = partitions else {
            return Ok(None);
        };

        topics::check(self.log.as_ref(), &self.pipeline, &self.settings)?;
        let mut lead = Lead::gather(members, &self.terms()).await?;
        let number = self.store.claim_attempt().await?;
        lead.claimed(number).await?;

        let mut slots = self.open_slots()?;
        let carried = lead.all_fenced(carried(&slots)).await?;
        let fingerprint = self.fingerprint();
        let checkpoint = recover::newest(&self.store, number, &fingerprint).await?;

        let adopted = recover::adopt(
            checkpoint.as_ref(),
            number,
            self.pipeline.name(),
            &fingerprint,
        );
        let adopted = recover::reconcile(adopted, &carried)?;
        let lateness_ms = millis(self.settings.allowed_lateness);
        let mut adopted = recover::remembering(adopted, &self.pipeline.windows, lateness_ms);
        self.store.create_manifest(&adopted).await?;
        keep_progress(&mut slots, &mut adopted)?;

        let mesh = lead.begin(partitions, adopted.boundary).await?;
        Ok(Some(Beginning {
            number,
            partitions,
            adopted,
            checkpoint,
            slots,
            mesh,
        }))
    }

    async fn follow(&self, members: &Members) -> Result<Beginning, JobError> {
        let mut follower = Follower::join(members, &self.terms()).await?;
        let number = follower.attempt;
        let mut slots = self.open_slots()?;
        let (partitions, boundary) = follower.fenced(carried(&slots)).await?;

        let published = recover::load(
            &self.store,
            ManifestId {
                attempt: number,
                boundary,
            },
        )
        .await;
        let checkpoint = published.map_err(|flaw| RecoverError::Unreadable(Box::new(flaw)))?;
        let mut adopted = checkpoint.manifest.clone();

        // Process 0 writes the manifest that counts these slots only after all processes are
        // linked.
        keep_progress(&mut slots, &mut adopted)?;
        let mesh = Some(follower.link().await?);
        Ok(Beginning {
            number,
            partitions,
            adopted,
            checkpoint: Some(checkpoint),
            slots,
            mesh,
        })
    }

    /// Opens the publishers of this process's slots, which fences every earlier attempt.
    fn open_slots(&self) -> Result<Vec<SlotPublisher>, JobError> {
        let job = self.pipeline.name();
        let of_worker = |worker| self.settings.sink_slots.of_worker(worker, self.peers());
        let slots: Vec<u32> = self.own_workers().flat_map(of_worker).collect();

        let ids: Vec<String> = slots
            .iter()
            .map(|slot| format!("{job}-sink-{slot}"))
            .collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let publishers = self.log.publishers(&ids, self.settings.guarantee.into())?;

        let with_progress = |(slot, publisher): (u32, Box<dyn Publisher>)| {
            let carried = publisher.progress();
            let progress = carried.map(Progress::from_bytes).transpose();
            Ok(SlotPublisher {
                slot,
                progress: progress.map_err(RecoverError::Progress)?,
                is_kept: carried.is_some_and(Progress::is_of_this_version),
                publisher,
            })
        };

        slots
            .into_iter()
            .zip(publishers)
            .map(with_progress)
            .collect()
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new(
            &self.pipeline.topic,
            &self.pipeline.windows,
            self.settings.sink_slots,
        )
        .keeping::<K, A>()
        .believing(millis(self.settings.max_future_skew))
    }

    fn terms(&self) -> Terms {
        let settings = &self.settings;
        Terms {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            job: self.pipeline.name().to_owned(),
            processes: self.members.as_ref().map_or(1, Members::processes),
            workers: settings.workers,
            fingerprint: self.fingerprint(),
            disorder_ms: millis(settings.disorder),
            allowed_lateness_ms: millis(settings.allowed_lateness),
            max_future_skew_ms: millis(settings.max_future_skew),
            guarantee: settings.guarantee,
            until_end: settings.until_end,
            silence_limit_ms: self
                .members
                .as_ref()
                .map_or(0, |members| millis(members.silence_limit)),
        }
    }
}

/// Returns the progress that the slots carry.
fn carried(slots: &[SlotPublisher]) -> Carried {
    let progress = slots.iter().filter_map(|slot| slot.progress);
    Carried {
        furthest: progress.map(Progress::number).max(),
        without: slots
            .iter()
            .filter(|slot| !slot.is_kept)
            .map(|slot| slot.slot)
            .collect(),
    }
}

/// Makes every slot commit a progress before the first manifest that counts on it is written.
fn keep_progress(slots: &mut [SlotPublisher], adopted: &mut Manifest) -> Result<(), JobError> {
    for slot in slots {
        slot.keep_progress(&adopted.lineage, adopted.committed)?;
    }
    adopted.slots_kept = adopted.fingerprint.slots.count();
    Ok(())
}

//! The recovery of an attempt: decides which processes take part, fences earlier attempts, and
//! chooses the checkpoint to continue from.
//!
//! [`recover`] defines the order of the steps. Process 0, or a single process, takes all of them.
//! The others open their publishers once process 0 has sent the attempt's number, and read their
//! [shares](crate::checkpoint::share) of the checkpoints that process 0 names, until all shares of one
//! are whole. Then all begin from the manifest that process 0 has published for the attempt.

use std::collections::BTreeMap;

use record_log::Publisher;

use crate::aggregate::{Aggregate, Key};
use crate::attempt::Stop;
use crate::checkpoint::manifest::{Fingerprint, Manifest};
use crate::checkpoint::recover::{self, Checkpoint, Flaw};
use crate::checkpoint::share::Share;
use crate::checkpoint::store::ManifestId;
use crate::cluster::mesh::Mesh;
use crate::cluster::rendezvous::{Agreement, Follower, Instruction, Lead};
use crate::cluster::{Members, Terms};
use crate::error::JobError;
use crate::run::{Run, millis};
use crate::sink::fencing::{Opening, Publishers};
use crate::sink::progress::SinkProgress;
use crate::stages;
use crate::topics;
use crate::waiting::Waiting;

/// Open publishers, by the worker that they belong to.
type Open = BTreeMap<usize, Box<dyn Publisher>>;

/// The outcome of an attempt's recovery in one process.
pub struct Recovered {
    /// The attempt's number.
    pub number: u64,
    /// The number of partitions of each source topic.
    pub partitions: Vec<u32>,
    /// The manifest that the attempt starts from, published under its number.
    pub adopted: Manifest,
    /// The checkpoint with this process's share of its parts; none if the job is new.
    pub checkpoint: Option<Checkpoint>,
    /// The publishers of this process's workers, by worker.
    pub publishers: Open,
    /// The progress that all publishers of the job carry.
    pub progress: SinkProgress,
    /// The links to the other processes, if there are any.
    pub mesh: Option<Mesh>,
}

impl Recovered {
    /// Logs the position that the attempt starts from.
    pub fn log_beginning(&self) {
        let read = self.checkpoint.as_ref();

        tracing::info!(
            attempt = self.number,
            boundary_ms = self.adopted.boundary,
            partitions = self.partitions.iter().sum::<u32>(),
            parts = self.adopted.parts.len(),
            parts_read = read.map_or(0, |checkpoint| checkpoint.parts.len()),
            read_bytes = read.map_or(0, Checkpoint::read_bytes),
            "the attempt begins"
        );
    }
}

impl<K: Key, A: Aggregate> Run<K, A> {
    /// Begins the next attempt. Returns none if a stop is requested before all source topics exist.
    ///
    /// # Errors
    /// [`JobError`].
    pub(crate) async fn begin(&self, stop: &Stop) -> Result<Option<Recovered>, JobError> {
        match &self.members {
            Some(members) if members.process > 0 => self.follow(members).await.map(Some),
            members => self.lead(members.as_ref(), stop).await,
        }
    }

    async fn lead(
        &self,
        members: Option<&Members>,
        stop: &Stop,
    ) -> Result<Option<Recovered>, JobError> {
        let waiting = Waiting::report(&self.log, &self.metrics);
        topics::ensure(self.log.as_ref(), &self.pipeline, &self.settings)?;
        let until_end = self.settings.until_end;
        let inputs = &self.pipeline.inputs;
        let partitions = topics::await_all_partitions(self.log.as_ref(), inputs, until_end, stop)?;
        let Some(partitions) = partitions else {
            return Ok(None);
        };

        topics::check(self.log.as_ref(), &self.pipeline, &self.settings)?;
        drop(waiting);

        let mut lead = Lead::gather(members, &self.terms()).await?;
        let number = self.store.claim_attempt().await?;
        let known = recover::known_publishers(&self.store).await?;
        let registered = self.opening().register(self.peers(), known)?;
        lead.claimed(number).await?;

        let mut publishers = self.open_publishers(registered)?;
        let carried = lead.all_fenced(publishers.carried.clone()).await?;
        let fingerprint = self.fingerprint();
        let others = async |id| {
            let damage = lead.read_by_others(id).await?;
            Ok::<_, JobError>(damage.map(|(process, reason)| Flaw::Elsewhere { process, reason }))
        };
        let share = self.share();
        let checkpoint = recover::newest(&self.store, number, &fingerprint, &share, others).await?;

        let adopted = recover::adopt(
            checkpoint.as_ref().map(|checkpoint| &checkpoint.manifest),
            number,
            self.pipeline.name(),
            &fingerprint,
        );
        let adopted = recover::reconcile(adopted, &carried, self.log.progress_topic())?;
        let mut adopted = recover::remembering(adopted, &self.pipeline.windows, self.lateness_ms());
        let progress = carried
            .progress
            .at_least(&adopted.lineage, adopted.committed);
        self.store.create_manifest(&adopted).await?;
        publishers.keep(&progress)?;
        adopted.publishers_kept = progress.publishers;
        adopted.slots_kept = 0;

        let mesh = lead.begin(&partitions, adopted.boundary, &progress).await?;
        Ok(Some(Recovered {
            number,
            partitions,
            adopted,
            checkpoint,
            publishers: self.own(publishers.open),
            progress,
            mesh,
        }))
    }

    async fn follow(&self, members: &Members) -> Result<Recovered, JobError> {
        let mut follower = Follower::join(members, &self.terms()).await?;
        let number = follower.attempt;
        let mut publishers = self.opening().publishers(self.own_workers())?;
        follower.fenced(publishers.carried.clone()).await?;
        let (follower, agreement, checkpoint) = self.read_shares(follower).await?;
        let Agreement {
            partitions,
            boundary,
            progress,
        } = agreement;

        let id = ManifestId {
            attempt: number,
            boundary,
        };
        let adopted = recover::published(&self.store, id).await?;

        // Process 0 writes the manifest that counts these publishers only after all processes are
        // linked.
        publishers.keep(&progress)?;
        let mesh = Some(follower.link().await?);
        Ok(Recovered {
            number,
            partitions,
            adopted,
            checkpoint,
            publishers: self.own(publishers.open),
            progress,
            mesh,
        })
    }

    /// Reads this process's share of each checkpoint that process 0 names, until process 0 begins.
    /// Returns the last one, which all processes have found whole; none if the job is new.
    async fn read_shares<'a>(
        &self,
        mut follower: Follower<'a>,
    ) -> Result<(Follower<'a>, Agreement, Option<Checkpoint>), JobError> {
        let share = self.share();
        let mut checkpoint = None;
        loop {
            let id = match follower.instruction().await? {
                Instruction::Begin(agreement) => return Ok((follower, agreement, checkpoint)),
                Instruction::Read(id) => id,
            };

            // The parts of a checkpoint that was passed over are dropped before others are read.
            checkpoint = None;
            match recover::load_share(&self.store, id, &share).await {
                Ok(Ok(whole)) => {
                    checkpoint = Some(whole);
                    follower.has_read(None).await?;
                }
                Ok(Err(flaw)) => follower.has_read(Some(flaw.to_string())).await?,
                Err(error) => {
                    follower.cannot_read(error.to_string()).await?;
                    return Err(error.into());
                }
            }
        }
    }

    /// Returns this process's share of the parts of a checkpoint.
    fn share(&self) -> Share {
        Share::new(self.own_workers(), self.peers())
    }

    fn opening(&self) -> Opening<'_> {
        Opening {
            log: self.log.as_ref(),
            job: self.pipeline.name(),
            delivery: self.settings.guarantee.into(),
        }
    }

    /// Opens the publishers of process 0's workers, and those that no worker uses any more, which
    /// fences their earlier holders.
    fn open_publishers(&self, registered: Publishers) -> Result<Publishers, JobError> {
        let own = self.own_workers().skip(1);
        let known = registered.carried.progress.publishers as usize;
        let others = self.opening().publishers(own.chain(self.peers()..known))?;
        Ok(registered.and(others))
    }

    /// Returns those of the publishers that belong to workers of this process.
    fn own(&self, mut open: Open) -> Open {
        let own = self.own_workers();
        open.retain(|number, _| own.contains(number));
        open
    }

    /// Returns the lateness that is allowed: none in a job without a window, where nothing is late, and none in a
    /// job with a process function, which sees events in order.
    pub(crate) fn lateness_ms(&self) -> u64 {
        if self.pipeline.pass_through.is_some() || self.pipeline.processor.is_some() {
            return 0;
        }
        millis(self.settings.allowed_lateness)
    }

    fn fingerprint(&self) -> Fingerprint {
        topics::fingerprint(&self.pipeline.inputs, &self.pipeline.windows)
            .keeping::<K, A>()
            .reaching(stages::reach_ms(&self.pipeline.stages))
            .processing(self.pipeline.process_settings())
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
            slots: settings.sink_slots,
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

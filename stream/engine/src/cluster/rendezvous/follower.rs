//! The side of the processes other than 0 of an attempt's beginning.

use std::collections::BTreeMap;

use tokio::time::{Instant, sleep};

use super::absence::Absence;
use super::door::CALL_EVERY;
use super::links::{LOG_EVERY, introduce, link, reach};
use crate::checkpoint::share::Finding;
use crate::checkpoint::store::ManifestId;
use crate::cluster::line::{Line, Message, unexpected};
use crate::cluster::mesh::Mesh;
use crate::cluster::pulse::Pulse;
use crate::cluster::{ClusterError, Members, Terms};
use crate::pane::EventTimeMs;
use crate::sink::progress::{Carried, SinkProgress};

/// A process other than 0, and its line to process 0.
pub struct Follower<'a> {
    members: &'a Members,
    line: Pulse,
    /// The attempt that process 0 has claimed.
    pub attempt: u64,
}

/// An instruction of process 0 to the others once their publishers are open.
pub enum Instruction {
    /// Read the own share of a checkpoint, and report whether it is whole.
    Read(ManifestId),
    /// Begin.
    Begin(Agreement),
}

/// The start that all processes agree on.
pub struct Agreement {
    /// The number of partitions of each source topic.
    pub partitions: Vec<u32>,
    /// The boundary of the attempt's first checkpoint.
    pub boundary: EventTimeMs,
    /// The progress of all publishers.
    pub progress: SinkProgress,
}

impl<'a> Follower<'a> {
    /// Calls process 0 until it has claimed an attempt for all processes.
    ///
    /// # Errors
    /// [`ClusterError::Refused`], [`ClusterError::NotJoined`].
    pub async fn join(members: &'a Members, terms: &Terms) -> Result<Self, ClusterError> {
        let mut absence = Absence::new(members.join_limit);
        let mut logged_at = Instant::now();
        loop {
            let outcome = match absence.during(reach(members, 0)).await? {
                Ok(line) => {
                    absence.ends();
                    Self::wait(members, terms, line).await
                }
                Err(error) => Err(error),
            };

            match outcome {
                Ok(follower) => return Ok(follower),
                Err(ClusterError::Line { source, .. }) => {
                    if logged_at.elapsed() > LOG_EVERY {
                        tracing::warn!(address = members.hosts[0], error = %source, "waiting for process 0 of the job");
                        logged_at = Instant::now();
                    }
                    absence.during(sleep(CALL_EVERY)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits on a line to process 0, which is silent for as long as it waits for a topic.
    async fn wait(
        members: &'a Members,
        terms: &Terms,
        mut line: Line,
    ) -> Result<Self, ClusterError> {
        let broken = |source| ClusterError::Line { process: 0, source };
        introduce(members, 0, &mut line).await?;
        line.send(&Message::Card(Box::new(terms.clone())))
            .await
            .map_err(broken)?;

        let mut line = Pulse::of(line, members.silence_limit);
        match line.hear().await.map_err(broken)? {
            Message::Claimed { attempt } => Ok(Self {
                members,
                line,
                attempt,
            }),
            Message::Refused(reason) => Err(ClusterError::Refused(reason)),
            other => Err(broken(unexpected(&other))),
        }
    }

    /// Reports to process 0 that the publishers are open, and the progress that they carry.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn fenced(&mut self, carried: Carried) -> Result<(), ClusterError> {
        let carried = Box::new(carried);
        self.say(Message::Fenced { carried }).await
    }

    /// Waits for the next instruction of process 0.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn instruction(&mut self) -> Result<Instruction, ClusterError> {
        let broken = |source| ClusterError::Line { process: 0, source };
        match self.line.hear().await.map_err(broken)? {
            Message::Read { attempt, boundary } => {
                Ok(Instruction::Read(ManifestId { attempt, boundary }))
            }
            Message::Begin {
                partitions,
                boundary,
                progress,
            } => Ok(Instruction::Begin(Agreement {
                partitions,
                boundary,
                progress: *progress,
            })),
            other => Err(broken(unexpected(&other))),
        }
    }

    /// Reports to process 0 that the share of a checkpoint is whole, or the damage in it.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn has_read(&mut self, damage: Option<String>) -> Result<(), ClusterError> {
        let finding = damage.map_or(Finding::Whole, Finding::Damaged);
        self.say(Message::HasRead(finding)).await
    }

    /// Reports to process 0 why this process cannot read its share, and leaves the attempt.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn cannot_read(mut self, reason: String) -> Result<(), ClusterError> {
        self.say(Message::HasRead(Finding::Impossible(reason)))
            .await?;
        self.line.part().await;
        Ok(())
    }

    async fn say(&mut self, message: Message) -> Result<(), ClusterError> {
        let broken = |source| ClusterError::Line { process: 0, source };
        self.line.say(message).await.map_err(broken)
    }

    /// Links this process with all others.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn link(self) -> Result<Mesh, ClusterError> {
        link(self.members, self.attempt, BTreeMap::from([(0, self.line)])).await
    }
}

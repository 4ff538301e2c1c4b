//! Process 0's side of an attempt's beginning.

use std::collections::BTreeMap;

use tokio::time::timeout;

use super::absence::Absence;
use super::door::{Door, Greeting};
use super::links::{LOG_EVERY, link, others};
use crate::checkpoint::share::Finding;
use crate::checkpoint::store::ManifestId;
use crate::cluster::line::{Line, Message, unexpected};
use crate::cluster::mesh::Mesh;
use crate::cluster::pulse::Pulse;
use crate::cluster::{ClusterError, Members, Terms};
use crate::pane::EventTimeMs;
use crate::sink::progress::{Carried, SinkProgress};

/// Process 0 and its lines to the others; it has no lines when it is the only process.
pub struct Lead<'a> {
    members: Option<&'a Members>,
    lines: BTreeMap<u16, Pulse>,
    attempt: u64,
}

impl<'a> Lead<'a> {
    /// Waits until all other processes have called with the same terms.
    ///
    /// # Errors
    /// [`ClusterError::Line`] if this process can no longer listen, [`ClusterError::NotJoined`].
    pub async fn gather(members: Option<&'a Members>, terms: &Terms) -> Result<Self, ClusterError> {
        let mut lead = Self {
            members,
            lines: BTreeMap::new(),
            attempt: 0,
        };

        if let Some(members) = members {
            let mut absence = Absence::new(members.join_limit);
            absence.during(lead.await_calls(members, terms)).await??;
        }
        Ok(lead)
    }

    async fn await_calls(
        &mut self,
        members: &'a Members,
        terms: &Terms,
    ) -> Result<(), ClusterError> {
        let mut door = Door::open(members)?;
        while self.lines.len() + 1 < members.processes() {
            let Ok(Greeting {
                process,
                message,
                line,
            }) = timeout(LOG_EVERY, door.next()).await
            else {
                let awaited: Vec<u16> = others(members)
                    .filter(|other| !self.lines.contains_key(other))
                    .collect();
                tracing::warn!(processes = ?awaited, "waiting for other processes of the job");
                continue;
            };

            // A process that has gone since it called will call again.
            self.lines.retain(|_, line| line.is_alive());
            if let Message::Card(theirs) = message {
                self.take(
                    members,
                    process,
                    line,
                    refusal(members, process, terms, &theirs),
                )
                .await;
            }
        }

        Ok(())
    }

    async fn take(
        &mut self,
        members: &Members,
        process: u16,
        mut line: Line,
        refusal: Option<String>,
    ) {
        match refusal {
            None => drop(
                self.lines
                    .insert(process, Pulse::of(line, members.silence_limit)),
            ),
            Some(reason) => {
                tracing::error!(
                    process,
                    reason,
                    at = members.hosts.get(usize::from(process)),
                    "a process is not taken"
                );
                // If this message is lost, the process calls again and gets the reason then.
                let _ = line.send(&Message::Refused(reason)).await;
            }
        }
    }

    /// Sends the claimed attempt's number to all others.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn claimed(&mut self, attempt: u64) -> Result<(), ClusterError> {
        self.attempt = attempt;
        self.send(&Message::Claimed { attempt }).await
    }

    /// Waits until the publishers of all other processes are open, and returns the progress that
    /// all publishers carry. `own` is the progress of process 0's publishers.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn all_fenced(&mut self, own: Carried) -> Result<Carried, ClusterError> {
        let mut all = own;
        for (process, line) in &mut self.lines {
            let broken = |source| ClusterError::Line {
                process: *process,
                source,
            };
            match line.hear().await.map_err(broken)? {
                Message::Fenced { carried } => all.merge(*carried),
                other => return Err(broken(unexpected(&other))),
            }
        }

        Ok(all)
    }

    /// Makes all other processes read their shares of a checkpoint. Returns the damage that one of
    /// them found, and its number.
    ///
    /// # Errors
    /// [`ClusterError::Line`]; [`ClusterError::Unreadable`] if a process cannot read its share for
    /// another reason than damage.
    pub async fn read_by_others(
        &mut self,
        checkpoint: ManifestId,
    ) -> Result<Option<(u16, String)>, ClusterError> {
        let ManifestId { attempt, boundary } = checkpoint;
        self.send(&Message::Read { attempt, boundary }).await?;
        let mut damage = None;

        for (process, line) in &mut self.lines {
            let process = *process;
            let broken = |source| ClusterError::Line { process, source };
            match line.hear().await.map_err(broken)? {
                Message::HasRead(Finding::Whole) => {}
                Message::HasRead(Finding::Damaged(reason)) => damage = Some((process, reason)),
                Message::HasRead(Finding::Impossible(reason)) => {
                    return Err(ClusterError::Unreadable { process, reason });
                }
                other => return Err(broken(unexpected(&other))),
            }
        }

        Ok(damage)
    }

    /// Makes all others begin, and links all processes. Returns none if there are no others.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn begin(
        mut self,
        partitions: &[u32],
        boundary: EventTimeMs,
        progress: &SinkProgress,
    ) -> Result<Option<Mesh>, ClusterError> {
        let Some(members) = self.members else {
            return Ok(None);
        };

        self.send(&Message::Begin {
            partitions: partitions.to_vec(),
            boundary,
            progress: Box::new(progress.clone()),
        })
        .await?;

        link(members, self.attempt, self.lines).await.map(Some)
    }

    async fn send(&mut self, message: &Message) -> Result<(), ClusterError> {
        for (process, line) in &self.lines {
            line.say(message.clone())
                .await
                .map_err(|source| ClusterError::Line {
                    process: *process,
                    source,
                })?;
        }
        Ok(())
    }
}

/// Returns the reason why a process cannot take part, if there is one.
fn refusal(members: &Members, process: u16, own: &Terms, theirs: &Terms) -> Option<String> {
    if process == 0 || usize::from(process) >= members.processes() {
        return Some(format!(
            "there is no process {process} besides process 0 among {}",
            members.processes()
        ));
    }
    (own != theirs).then(|| format!("it runs with {theirs:?}, process 0 with {own:?}"))
}

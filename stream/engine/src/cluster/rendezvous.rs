//! Brings the processes of a job together for each attempt. [`Lead`] is process 0's side,
//! [`Follower`] the side of the others. A caller must [prove](super::secret) that it belongs to the
//! job before its messages are read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::line::{Line, Message, unexpected};
use super::mesh::Mesh;
use super::pulse::Pulse;
use super::secret::Trust;
use super::{ClusterError, Members, Terms, beyond_reach};
use crate::checkpoint::share::Finding;
use crate::checkpoint::store::ManifestId;
use crate::pane::EventTimeMs;
use crate::sink::progress::{Carried, SinkProgress};

/// The time limit for a caller to prove its identity and send its first message.
const GREETING_WITHIN: Duration = Duration::from_secs(5);
/// The number of callers that may do so at once; further callers wait.
const GREETINGS: usize = 64;
/// The time limit for linking once all processes are there.
const LINKS_WITHIN: Duration = Duration::from_secs(15);
/// The delay before a process that does not answer is called again.
const CALL_EVERY: Duration = Duration::from_millis(50);
/// The interval at which the missing processes are logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Accepts calls. A caller that sends nothing, or no valid proof, does not delay other callers.
struct Door<'a> {
    members: &'a Members,
    listener: TcpListener,
    greetings: JoinSet<std::io::Result<Option<Greeting>>>,
}

/// The first message of another process.
struct Greeting {
    process: u16,
    message: Message,
    line: Line,
}

/// Process 0 and its lines to the others; it has no lines when it is the only process.
pub struct Lead<'a> {
    members: Option<&'a Members>,
    lines: BTreeMap<u16, Pulse>,
    attempt: u64,
}

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
    /// The number of partitions of the topic.
    pub partitions: u32,
    /// The boundary of the attempt's first checkpoint.
    pub boundary: EventTimeMs,
    /// The progress of all publishers.
    pub progress: SinkProgress,
}

impl<'a> Door<'a> {
    fn open(members: &'a Members) -> Result<Self, ClusterError> {
        let listen = || {
            let listener = members.listener.try_clone()?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };

        let refuse = |source| ClusterError::Line {
            process: members.process,
            source,
        };

        Ok(Self {
            members,
            listener: listen().map_err(refuse)?,
            greetings: JoinSet::new(),
        })
    }

    /// Returns the first message of the next process that has called and proved its identity.
    async fn next(&mut self) -> Greeting {
        loop {
            tokio::select! {
                called = self.listener.accept(), if self.greetings.len() < GREETINGS => match called {
                    Ok((socket, from)) => self.answer(socket, from),
                    Err(error) => {
                        tracing::warn!(%error, "cannot answer another process");
                        sleep(CALL_EVERY).await;
                    }
                },
                Some(greeting) = self.greetings.join_next() => match greeting {
                    Ok(Ok(Some(greeting))) => return greeting,
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a caller was not a process of a job"),
                    Err(error) => tracing::error!(%error, "answering a call failed"),
                },
            }
        }
    }

    fn answer(&mut self, socket: TcpStream, from: SocketAddr) {
        if !self.members.trust.reaches(from.ip()) {
            tracing::error!(%from, "a call from another machine is not answered: the job has no secret");
            return;
        }

        self.greetings.spawn(greet(
            socket,
            Arc::clone(&self.members.trust),
            self.members.process,
        ));
    }
}

/// Authenticates a caller and reads its first message. Returns none if the caller cannot prove its
/// identity.
async fn greet(
    socket: TcpStream,
    trust: Arc<Trust>,
    own: u16,
) -> std::io::Result<Option<Greeting>> {
    let mut line = Line::of(socket)?;
    let greeting = async {
        let Some(process) = line.meet(&trust, own).await? else {
            return Ok(None);
        };

        let message = line.receive().await?;
        Ok(Some(Greeting {
            process,
            message,
            line,
        }))
    };

    timeout(GREETING_WITHIN, greeting).await?
}

impl<'a> Lead<'a> {
    /// Waits until all other processes have called with the same terms.
    ///
    /// # Errors
    /// [`ClusterError::Line`] if this process can no longer listen.
    pub async fn gather(members: Option<&'a Members>, terms: &Terms) -> Result<Self, ClusterError> {
        let mut lead = Self {
            members,
            lines: BTreeMap::new(),
            attempt: 0,
        };

        let Some(members) = members else {
            return Ok(lead);
        };

        let mut door = Door::open(members)?;
        while lead.lines.len() + 1 < members.processes() {
            let Ok(Greeting {
                process,
                message,
                line,
            }) = timeout(LOG_EVERY, door.next()).await
            else {
                let awaited: Vec<u16> = others(members)
                    .filter(|other| !lead.lines.contains_key(other))
                    .collect();
                tracing::warn!(processes = ?awaited, "waiting for other processes of the job");
                continue;
            };

            // A process that has gone since it called will call again.
            lead.lines.retain(|_, line| line.is_alive());
            if let Message::Card(theirs) = message {
                lead.take(
                    members,
                    process,
                    line,
                    refusal(members, process, terms, &theirs),
                )
                .await;
            }
        }

        Ok(lead)
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
        partitions: u32,
        boundary: EventTimeMs,
        progress: &SinkProgress,
    ) -> Result<Option<Mesh>, ClusterError> {
        let Some(members) = self.members else {
            return Ok(None);
        };

        self.send(&Message::Begin {
            partitions,
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

/// Returns why a process cannot take part, if it cannot.
fn refusal(members: &Members, process: u16, own: &Terms, theirs: &Terms) -> Option<String> {
    if process == 0 || usize::from(process) >= members.processes() {
        return Some(format!(
            "there is no process {process} besides process 0 among {}",
            members.processes()
        ));
    }
    (own != theirs).then(|| format!("it runs with {theirs:?}, process 0 with {own:?}"))
}

impl<'a> Follower<'a> {
    /// Calls process 0 until it has claimed an attempt for all processes.
    ///
    /// # Errors
    /// [`ClusterError::Refused`].
    pub async fn join(members: &'a Members, terms: &Terms) -> Result<Self, ClusterError> {
        let mut logged_at = tokio::time::Instant::now();
        loop {
            match Self::call(members, terms).await {
                Ok(follower) => return Ok(follower),
                Err(ClusterError::Line { source, .. }) => {
                    if logged_at.elapsed() > LOG_EVERY {
                        tracing::warn!(address = members.hosts[0], error = %source, "waiting for process 0 of the job");
                        logged_at = tokio::time::Instant::now();
                    }
                    sleep(CALL_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn call(members: &'a Members, terms: &Terms) -> Result<Self, ClusterError> {
        let broken = |source| ClusterError::Line { process: 0, source };
        let mut line = call(members, 0).await?;
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

/// Connects to a process, and authenticates both sides.
async fn call(members: &Members, process: u16) -> Result<Line, ClusterError> {
    let broken = |source| ClusterError::Line { process, source };
    let address = &members.hosts[usize::from(process)];
    let mut line = Line::call(address).await.map_err(broken)?;

    if !members.trust.reaches(line.peer().map_err(broken)?.ip()) {
        return Err(ClusterError::Membership(beyond_reach(process, address)));
    }

    let answer = line
        .introduce(&members.trust, members.process, process)
        .await
        .map_err(broken)?;
    answer.map(|()| line).map_err(ClusterError::Refused)
}

fn others(members: &Members) -> impl Iterator<Item = u16> {
    let own = members.process;
    (0..)
        .take(members.processes())
        .filter(move |process| *process != own)
}

/// Links all processes: each calls those with lower numbers, and is called by those with higher
/// ones.
async fn link(
    members: &Members,
    attempt: u64,
    pulses: BTreeMap<u16, Pulse>,
) -> Result<Mesh, ClusterError> {
    let mut lines: BTreeMap<u16, Line> = BTreeMap::new();
    let linking = async {
        for process in 0..members.process {
            lines.insert(process, call_for_link(members, process, attempt).await);
        }

        let mut door = Door::open(members)?;
        while lines.len() + 1 < members.processes() {
            let Greeting {
                process,
                message,
                mut line,
            } = door.next().await;
            let is_above = process > members.process && usize::from(process) < members.processes();

            if is_above && message == (Message::Link { attempt }) {
                line.send(&message)
                    .await
                    .map_err(|source| ClusterError::Line { process, source })?;
                lines.insert(process, line);
            }
        }

        Ok(())
    };
    let outcome = timeout(LINKS_WITHIN, linking).await;
    let missing = others(members).find(|process| !lines.contains_key(process));

    match (outcome, missing) {
        (Err(late), Some(process)) => Err(ClusterError::Line {
            process,
            source: late.into(),
        }),
        (Ok(Err(error)), _) => Err(error),
        _ => Mesh::of(members, lines, pulses),
    }
}

/// Calls a process until it agrees to be linked in this attempt.
async fn call_for_link(members: &Members, process: u16, attempt: u64) -> Line {
    let own = Message::Link { attempt };
    let broken = |source| ClusterError::Line { process, source };
    let linked = || async {
        let mut line = call(members, process).await?;
        line.send(&own).await.map_err(broken)?;
        let answer = line.receive().await.map_err(broken)?;

        if answer == own {
            Ok(line)
        } else {
            Err(broken(unexpected(&answer)))
        }
    };

    loop {
        match linked().await {
            Ok(line) => return line,
            Err(error) => tracing::debug!(process, %error, "not linked yet"),
        }
        sleep(CALL_EVERY).await;
    }
}

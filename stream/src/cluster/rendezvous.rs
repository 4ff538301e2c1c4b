//! How the processes of a job come together, attempt by attempt. [`Lead`] is process 0's side, [`Follower`] the others'.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::line::{Line, Message};
use super::mesh::Mesh;
use super::{ClusterError, Members, Terms};
use crate::pane::EventTimeMs;

/// How long somebody who called may take to say who it is.
const GREETING_WITHIN: Duration = Duration::from_secs(5);
/// How many may be saying so at once; further callers wait.
const GREETINGS: usize = 64;
/// How long it takes at most to link all processes once all are there.
const LINKS_WITHIN: Duration = Duration::from_secs(15);
/// How soon a process that does not answer is called again.
const CALL_EVERY: Duration = Duration::from_millis(50);
/// How often it is told who is still awaited.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Answers whoever calls. Who calls and says nothing holds nobody up.
struct Door {
    listener: TcpListener,
    greetings: JoinSet<std::io::Result<(Message, Line)>>,
}

/// Process 0 and its lines to the others; no lines when it is alone.
pub struct Lead<'a> {
    members: Option<&'a Members>,
    lines: BTreeMap<u16, Line>,
    attempt: u64,
}

/// Another process and its line to process 0.
pub struct Follower<'a> {
    members: &'a Members,
    line: Line,
    /// The attempt that process 0 has claimed.
    pub attempt: u64,
}

impl Door {
    fn open(members: &Members) -> Result<Self, ClusterError> {
        let listen = || {
            let listener = members.listener.try_clone()?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let refuse = |source| ClusterError::Line { process: members.process, source };
        Ok(Self { listener: listen().map_err(refuse)?, greetings: JoinSet::new() })
    }

    /// The next who has called and said something.
    async fn next(&mut self) -> (Message, Line) {
        loop {
            tokio::select! {
                called = self.listener.accept(), if self.greetings.len() < GREETINGS => match called {
                    Ok((socket, _)) => drop(self.greetings.spawn(greet(socket))),
                    Err(error) => {
                        tracing::warn!(%error, "cannot answer another process");
                        sleep(CALL_EVERY).await;
                    }
                },
                Some(greeting) = self.greetings.join_next() => match greeting {
                    Ok(Ok(greeting)) => return greeting,
                    Ok(Err(error)) => tracing::debug!(%error, "somebody called and was no process of a job"),
                    Err(error) => tracing::error!(%error, "answering a call failed"),
                },
            }
        }
    }
}

async fn greet(socket: TcpStream) -> std::io::Result<(Message, Line)> {
    let mut line = Line::of(socket)?;
    let message = timeout(GREETING_WITHIN, line.receive()).await??;
    Ok((message, line))
}

impl<'a> Lead<'a> {
    /// Waits until all other processes have called, on the same terms.
    ///
    /// # Errors
    /// [`ClusterError::Line`] when this process cannot listen any more.
    pub async fn gather(members: Option<&'a Members>, terms: &Terms) -> Result<Self, ClusterError> {
        let mut lead = Self { members, lines: BTreeMap::new(), attempt: 0 };
        let Some(members) = members else { return Ok(lead) };
        let mut door = Door::open(members)?;
        while lead.lines.len() + 1 < members.processes() {
            let Ok((message, line)) = timeout(TELL_EVERY, door.next()).await else {
                let awaited: Vec<u16> = others(members).filter(|other| !lead.lines.contains_key(other)).collect();
                tracing::warn!(processes = ?awaited, "waiting for other processes of the job");
                continue;
            };
            if let Message::Card { process, terms: theirs } = message {
                lead.take(members, process, line, refusal(members, process, terms, &theirs)).await;
            }
        }
        Ok(lead)
    }

    async fn take(&mut self, members: &Members, process: u16, mut line: Line, refusal: Option<String>) {
        match refusal {
            None => drop(self.lines.insert(process, line)),
            Some(reason) => {
                tracing::error!(
                    process,
                    reason,
                    at = members.hosts.get(usize::from(process)),
                    "a process is not taken"
                );
                // It learns the reason, or calls again and is told then.
                let _ = line.send(&Message::Refused(reason)).await;
            }
        }
    }

    /// Tells all others that the attempt is claimed.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn claimed(&mut self, attempt: u64) -> Result<(), ClusterError> {
        self.attempt = attempt;
        self.tell(&Message::Claimed { attempt }).await
    }

    /// Waits until the slots of all others are open, and returns the furthest progress of them all. `own` is that of
    /// process 0's.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn all_fenced(&mut self, own: Option<u64>) -> Result<Option<u64>, ClusterError> {
        let mut all = own;
        for (process, line) in &mut self.lines {
            let broken = |source| ClusterError::Line { process: *process, source };
            match line.receive().await.map_err(broken)? {
                Message::Fenced { furthest } => all = all.max(furthest),
                other => return Err(broken(unexpected(&other))),
            }
        }
        Ok(all)
    }

    /// Tells all others to begin, and links them; none when there are no others.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn begin(mut self, partitions: u32, boundary: EventTimeMs) -> Result<Option<Mesh>, ClusterError> {
        let Some(members) = self.members else { return Ok(None) };
        self.tell(&Message::Begin { partitions, boundary }).await?;
        link(members, self.attempt).await.map(Some)
    }

    async fn tell(&mut self, message: &Message) -> Result<(), ClusterError> {
        for (process, line) in &mut self.lines {
            line.send(message).await.map_err(|source| ClusterError::Line { process: *process, source })?;
        }
        Ok(())
    }
}

/// Why a process cannot take part, if it cannot.
fn refusal(members: &Members, process: u16, own: &Terms, theirs: &Terms) -> Option<String> {
    if process == 0 || usize::from(process) >= members.processes() {
        return Some(format!("there is no process {process} besides process 0 among {}", members.processes()));
    }
    (own != theirs).then(|| format!("it runs with {theirs:?}, process 0 with {own:?}"))
}

impl<'a> Follower<'a> {
    /// Calls process 0 until it has claimed an attempt for all.
    ///
    /// # Errors
    /// [`ClusterError::Refused`].
    pub async fn join(members: &'a Members, terms: &Terms) -> Result<Self, ClusterError> {
        let mut told = tokio::time::Instant::now();
        loop {
            match Self::call(members, terms).await {
                Ok(follower) => return Ok(follower),
                Err(ClusterError::Line { source, .. }) => {
                    if told.elapsed() > TELL_EVERY {
                        tracing::warn!(address = members.hosts[0], error = %source, "waiting for process 0 of the job");
                        told = tokio::time::Instant::now();
                    }
                    sleep(CALL_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn call(members: &'a Members, terms: &Terms) -> Result<Self, ClusterError> {
        let broken = |source| ClusterError::Line { process: 0, source };
        let mut line = Line::call(&members.hosts[0]).await.map_err(broken)?;
        let card = Message::Card { process: members.process, terms: terms.clone() };
        line.send(&card).await.map_err(broken)?;
        match line.receive().await.map_err(broken)? {
            Message::Claimed { attempt } => Ok(Self { members, line, attempt }),
            Message::Refused(reason) => Err(ClusterError::Refused(reason)),
            other => Err(broken(unexpected(&other))),
        }
    }

    /// Tells process 0 that the slots are open and how far they have come, and waits to be told from where to begin:
    /// partitions and boundary.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn fenced(&mut self, furthest: Option<u64>) -> Result<(u32, EventTimeMs), ClusterError> {
        let broken = |source| ClusterError::Line { process: 0, source };
        self.line.send(&Message::Fenced { furthest }).await.map_err(broken)?;
        match self.line.receive().await.map_err(broken)? {
            Message::Begin { partitions, boundary } => Ok((partitions, boundary)),
            other => Err(broken(unexpected(&other))),
        }
    }

    /// Links this process with all others.
    ///
    /// # Errors
    /// [`ClusterError::Line`].
    pub async fn link(self) -> Result<Mesh, ClusterError> {
        link(self.members, self.attempt).await
    }
}

fn others(members: &Members) -> impl Iterator<Item = u16> {
    let own = members.process;
    (0..).take(members.processes()).filter(move |process| *process != own)
}

/// Links all processes: each calls those below it, and is called by those above.
async fn link(members: &Members, attempt: u64) -> Result<Mesh, ClusterError> {
    let mut lines: BTreeMap<u16, Line> = BTreeMap::new();
    let linking = async {
        for process in 0..members.process {
            lines.insert(process, call_for_link(members, process, attempt).await);
        }
        let mut door = Door::open(members)?;
        while lines.len() + 1 < members.processes() {
            if let (Message::Link { attempt: theirs, process }, mut line) = door.next().await
                && theirs == attempt
                && process > members.process
            {
                let answer = Message::Link { attempt, process: members.process };
                line.send(&answer).await.map_err(|source| ClusterError::Line { process, source })?;
                lines.insert(process, line);
            }
        }
        Ok(())
    };
    let outcome = timeout(LINKS_WITHIN, linking).await;
    let missing = others(members).find(|process| !lines.contains_key(process));
    match (outcome, missing) {
        (Err(late), Some(process)) => Err(ClusterError::Line { process, source: late.into() }),
        (Ok(Err(error)), _) => Err(error),
        _ => Mesh::of(members.process, lines),
    }
}

/// Calls a process until it agrees to be linked in this attempt.
async fn call_for_link(members: &Members, process: u16, attempt: u64) -> Line {
    let own = Message::Link { attempt, process: members.process };
    let agreed = Message::Link { attempt, process };
    let call = || async {
        let mut line = Line::call(&members.hosts[usize::from(process)]).await?;
        line.send(&own).await?;
        let answer = line.receive().await?;
        if answer == agreed { Ok(line) } else { Err(unexpected(&answer)) }
    };
    loop {
        match call().await {
            Ok(line) => return line,
            Err(error) => tracing::debug!(process, %error, "not linked yet"),
        }
        sleep(CALL_EVERY).await;
    }
}

fn unexpected(message: &Message) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{message:?} was not expected"))
}

//! Accepts calls of other processes, and reads the first message of those that prove that they belong
//! to the job.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cluster::line::{Line, Message};
use crate::cluster::secret::Trust;
use crate::cluster::{ClusterError, Members};

/// The time limit for a caller to prove its identity and send its first message.
const GREETING_WITHIN: Duration = Duration::from_secs(5);
/// The number of callers that are greeted at once; further callers wait.
const GREETINGS: usize = 64;
/// The delay before a call is tried or accepted again.
pub const CALL_EVERY: Duration = Duration::from_millis(50);

/// Accepts calls. A caller that sends nothing, or no valid proof, does not delay other callers.
pub struct Door<'a> {
    members: &'a Members,
    listener: TcpListener,
    greetings: JoinSet<std::io::Result<Option<Greeting>>>,
}

/// The first message of another process.
pub struct Greeting {
    /// The process.
    pub process: u16,
    /// Its message.
    pub message: Message,
    /// The line to it.
    pub line: Line,
}

impl<'a> Door<'a> {
    pub fn open(members: &'a Members) -> Result<Self, ClusterError> {
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
    pub async fn next(&mut self) -> Greeting {
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

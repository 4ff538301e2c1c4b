//! A line between two processes: messages of a few kilobytes, encoded as length-prefixed JSON.
//!
//! Both sides [prove](super::secret) that they belong to the job before any other message is sent.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Terms;
use super::secret::{End, Meeting, Nonce, Proof, Trust};
use crate::checkpoint::share::Finding;
use crate::pane::EventTimeMs;
use crate::sink::progress::{Carried, SinkProgress};

/// The messages that processes exchange before timely has its links, and beside these links.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Message {
    /// The first message of the caller.
    Hello {
        /// The process that calls.
        process: u16,
        /// The process that the caller means to reach.
        to: u16,
        /// A number that was never used before.
        nonce: Nonce,
    },
    /// To the caller: a request for its proof.
    Challenge {
        /// A number that was never used before.
        nonce: Nonce,
    },
    /// From the caller: proof that it has the secret.
    Proof(Proof),
    /// To the caller: proof that the answerer has the secret too.
    Welcome(Proof),
    /// To process 0: the sender's terms.
    Card(Box<Terms>),
    /// To the caller: a refusal, with the reason.
    Refused(String),
    /// From process 0: the attempt is claimed; open the publishers.
    Claimed {
        /// The attempt's number.
        attempt: u64,
    },
    /// To process 0: the sender's publishers are open.
    Fenced {
        /// The progress that they carry.
        carried: Box<Carried>,
    },
    /// From process 0: read and verify your share of a checkpoint.
    Read {
        /// The attempt that wrote the checkpoint.
        attempt: u64,
        /// The boundary of the checkpoint.
        boundary: EventTimeMs,
    },
    /// To process 0: the result of the sender's read of its share.
    HasRead(Finding),
    /// From process 0: begin from the attempt's first checkpoint.
    Begin {
        /// The number of partitions of each source topic.
        partitions: Vec<u32>,
        /// The boundary of the checkpoint.
        boundary: EventTimeMs,
        /// The progress of all publishers.
        progress: Box<SinkProgress>,
    },
    /// From the higher process to the lower and back: this line becomes the link between them.
    Link {
        /// The attempt that the link is for.
        attempt: u64,
    },
    /// A sign of life.
    Beat,
    /// The sender has finished, and sends nothing more.
    Farewell,
}

/// The limit for a message's length: several times the greatest progress that a log stores.
const MAX_BYTES: u32 = 1024 * 1024;

/// The idle time before TCP keepalive probes. A silent machine is given up after about twelve
/// seconds.
const QUIET_FOR: Duration = Duration::from_secs(6);
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBES: u32 = 3;
/// The longest time for which sent data may stay unacknowledged.
const UNANSWERED_FOR: Duration = Duration::from_secs(12);

/// A line to another process.
pub struct Line(TcpStream);

impl Line {
    /// Connects to a process.
    pub async fn call(address: &str) -> Result<Self> {
        Self::of(TcpStream::connect(address).await?)
    }

    /// Wraps an accepted connection.
    pub fn of(stream: TcpStream) -> Result<Self> {
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new()
            .with_time(QUIET_FOR)
            .with_interval(PROBE_EVERY)
            .with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(UNANSWERED_FOR))?;
        socket.set_tcp_nodelay(true)?;

        Ok(Self(stream))
    }

    /// Introduces the caller to process `to`: both sides prove that they have the secret. The inner
    /// error is the reason if the other side refuses.
    pub async fn introduce(
        &mut self,
        trust: &Trust,
        own: u16,
        to: u16,
    ) -> Result<std::result::Result<(), String>> {
        let called_with = Nonce::drawn();
        self.send(&Message::Hello {
            process: own,
            to,
            nonce: called_with,
        })
        .await?;

        let answered_with = match self.receive().await? {
            Message::Challenge { nonce } => nonce,
            Message::Refused(reason) => return Ok(Err(reason)),
            other => return Err(unexpected(&other)),
        };

        let meeting = Meeting {
            caller: own,
            answerer: to,
            called_with,
            answered_with,
        };
        self.send(&Message::Proof(trust.prove(End::Caller, &meeting)))
            .await?;

        match self.receive().await? {
            Message::Welcome(proof) if trust.is_proved(&proof, End::Answerer, &meeting) => {
                Ok(Ok(()))
            }
            Message::Welcome(_) => Err(Error::new(
                ErrorKind::PermissionDenied,
                "it does not prove that it has the job's secret",
            )),
            Message::Refused(reason) => Ok(Err(reason)),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads the caller's number, and verifies its proof. If the proof fails, sends the caller a
    /// refusal and returns none.
    pub async fn meet(&mut self, trust: &Trust, own: u16) -> Result<Option<u16>> {
        let (process, to, called_with) = match self.receive().await? {
            Message::Hello { process, to, nonce } => (process, to, nonce),
            other => return Err(unexpected(&other)),
        };

        if to != own {
            self.send(&Message::Refused(format!(
                "this address is that of process {own}, not {to}"
            )))
            .await?;
            return Ok(None);
        }

        let answered_with = Nonce::drawn();
        self.send(&Message::Challenge {
            nonce: answered_with,
        })
        .await?;

        let meeting = Meeting {
            caller: process,
            answerer: own,
            called_with,
            answered_with,
        };

        let proof = match self.receive().await? {
            Message::Proof(proof) => proof,
            other => return Err(unexpected(&other)),
        };

        if !trust.is_proved(&proof, End::Caller, &meeting) {
            tracing::error!(process, from = %self.peer()?, "a caller without the job's secret is rejected");
            let reason =
                "it does not have the job's secret (TIDEMARK_CLUSTER_SECRET), or has another";
            self.send(&Message::Refused(reason.to_owned())).await?;
            return Ok(None);
        }

        self.send(&Message::Welcome(trust.prove(End::Answerer, &meeting)))
            .await?;
        Ok(Some(process))
    }

    /// Returns the address of the other side.
    pub fn peer(&self) -> Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &Message) -> Result<()> {
        send(&mut self.0, message).await
    }

    /// Reads a message.
    pub async fn receive(&mut self) -> Result<Message> {
        receive(&mut self.0).await
    }

    /// Returns the stream. Nothing beyond the messages has been read from it.
    pub fn into_stream(self) -> TcpStream {
        self.0
    }

    /// Returns the socket in blocking mode. Nothing beyond the messages has been read from it.
    pub fn into_socket(self) -> Result<std::net::TcpStream> {
        let socket = self.0.into_std()?;
        socket.set_nonblocking(false)?;
        Ok(socket)
    }
}

/// Sends a message.
pub async fn send(to: &mut (impl AsyncWrite + Unpin), message: &Message) -> Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(Error::other)?;
    to.write_all(&[&length.to_be_bytes()[..], &json].concat())
        .await
}

/// Reads a message.
pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> Result<Message> {
    let length = from.read_u32().await?;
    if length > MAX_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "this is not a process of a job",
        ));
    }

    let mut json = vec![0; length as usize];
    from.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

/// Returns the error for a message that the protocol does not allow at this point.
pub fn unexpected(message: &Message) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("{message:?} was not expected"),
    )
}

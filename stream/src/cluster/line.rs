//! A line between two processes: messages of a few hundred bytes, as JSON behind their length.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Terms;
use crate::pane::EventTimeMs;

/// What processes tell each other before timely has their links.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Message {
    /// To process 0: who I am, and on which terms I run.
    Card {
        /// The process.
        process: u16,
        /// Its terms.
        terms: Terms,
    },
    /// From process 0: the terms are not mine.
    Refused(String),
    /// From process 0: the attempt is claimed, open your slots.
    Claimed {
        /// Its number.
        attempt: u64,
    },
    /// To process 0: my slots are open.
    Fenced {
        /// The furthest progress that one of them carries.
        furthest: Option<u64>,
    },
    /// From process 0: begin from the attempt's first checkpoint.
    Begin {
        /// How many partitions the topic has.
        partitions: u32,
        /// The boundary of the checkpoint.
        boundary: EventTimeMs,
    },
    /// From the higher process to the lower and back: this line becomes the link between us.
    Link {
        /// The attempt it is for.
        attempt: u64,
        /// Who says so.
        process: u16,
    },
}

/// More than any message is long.
const MAX_BYTES: u32 = 64 * 1024;

/// A silent machine is given up after about twelve seconds.
const QUIET_FOR: Duration = Duration::from_secs(6);
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBES: u32 = 3;
/// How long what was sent may stay without an answer.
const UNANSWERED_FOR: Duration = Duration::from_secs(12);

/// A line to another process.
pub struct Line(TcpStream);

impl Line {
    /// Calls a process.
    pub async fn call(address: &str) -> Result<Self> {
        Self::of(TcpStream::connect(address).await?)
    }

    /// The line of somebody who called.
    pub fn of(stream: TcpStream) -> Result<Self> {
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(QUIET_FOR).with_interval(PROBE_EVERY).with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(UNANSWERED_FOR))?;
        socket.set_tcp_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Says something.
    pub async fn send(&mut self, message: &Message) -> Result<()> {
        let json = serde_json::to_vec(message)?;
        let length = u32::try_from(json.len()).map_err(Error::other)?;
        self.0.write_all(&[&length.to_be_bytes()[..], &json].concat()).await
    }

    /// Hears something.
    pub async fn receive(&mut self) -> Result<Message> {
        let length = self.0.read_u32().await?;
        if length > MAX_BYTES {
            return Err(Error::new(ErrorKind::InvalidData, "this is not a process of a job"));
        }
        let mut json = vec![0; length as usize];
        self.0.read_exact(&mut json).await?;
        Ok(serde_json::from_slice(&json)?)
    }

    /// The socket, blocking, with nothing of it read that was not a message.
    pub fn into_socket(self) -> Result<std::net::TcpStream> {
        let socket = self.0.into_std()?;
        socket.set_nonblocking(false)?;
        Ok(socket)
    }
}

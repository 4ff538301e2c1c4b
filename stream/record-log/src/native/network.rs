//! Streams of bytes to brokers: how they are opened, and the reasons why one cannot be opened.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::SockRef;

use super::fault::{Certificate, TlsRefusal};

/// The address of a broker.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
}

/// A stream of bytes to a broker.
pub(super) trait Socket: Read + Write + Send {
    /// Sets the time limit of one read or write.
    fn set_limit(&self, limit: Duration) -> io::Result<()>;
}

/// Opens connections. TLS and simulated networks implement it.
pub(super) trait Network: Send + Sync {
    /// Opens a stream to `address`, encrypted if the settings require it.
    ///
    /// # Errors
    /// An error that contains a [`Denied`] if trying again cannot help.
    fn connect(&self, address: &Address, limit: Duration) -> io::Result<Box<dyn Socket>>;

    /// Performs only the handshake. Returns the properties of the broker's certificate; none without TLS.
    ///
    /// # Errors
    /// [`TlsRefusal`] with the kind of the fault.
    fn examine(
        &self,
        _address: &Address,
        _limit: Duration,
    ) -> Result<Option<Certificate>, TlsRefusal> {
        Ok(None)
    }

    /// Returns the reason why a listener ended a stream before its first answer, if it can be determined.
    fn mismatch(&self, _address: &Address, _limit: Duration) -> Option<Denied> {
        None
    }
}

/// The reason why a broker cannot be used until a setting is changed. It continues the sentence "broker kafka-1:9094
/// …".
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Denied(pub String);

/// Options of TCP streams, by librdkafka's `socket.…` properties.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct SocketOptions {
    pub keepalive: bool,
    /// Sizes of the system's buffers in bytes; the system chooses those that are not set.
    pub send_buffer_bytes: Option<usize>,
    pub receive_buffer_bytes: Option<usize>,
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

impl Denied {
    /// Returns the denial inside an error, if there is one.
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Denied> for io::Error {
    fn from(denied: Denied) -> Self {
        Self::new(ErrorKind::PermissionDenied, denied)
    }
}

impl Socket for TcpStream {
    fn set_limit(&self, limit: Duration) -> io::Result<()> {
        // The system refuses a limit of zero.
        let limit = Some(limit.max(Duration::from_millis(1)));
        self.set_read_timeout(limit)?;
        self.set_write_timeout(limit)
    }
}

/// Opens a TCP stream to the first of the host's addresses that answers.
pub(super) fn dial(
    address: &Address,
    options: SocketOptions,
    limit: Duration,
) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for resolved in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, limit) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                options.apply(&stream)?;
                return Ok(stream);
            }
            Err(failed) => failure = failed,
        }
    }

    Err(failure)
}

impl SocketOptions {
    fn apply(self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        if self.keepalive {
            socket.set_keepalive(true)?;
        }
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }

        Ok(())
    }
}

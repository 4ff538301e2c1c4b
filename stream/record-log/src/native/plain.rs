//! TCP without encryption.

use std::io;
use std::time::Duration;

use super::network::{Address, Denied, Network, Socket, SocketOptions, dial};
use super::probe;

/// Plain TCP.
pub(super) struct Tcp(pub SocketOptions);

impl Network for Tcp {
    fn connect(&self, address: &Address, limit: Duration) -> io::Result<Box<dyn Socket>> {
        Ok(Box::new(dial(address, self.0, limit)?))
    }

    fn mismatch(&self, address: &Address, limit: Duration) -> Option<Denied> {
        probe::speaks_tls(address, limit).then(|| {
            Denied(
                "speaks TLS, and security.protocol is set to go without: set security.protocol to ssl or sasl_ssl, \
                 or use the port of a listener without TLS"
                    .to_owned(),
            )
        })
    }
}

//! Determines the protocol of a listener. If a broker ends a stream at once, either it restarts or it does not speak
//! the client's protocol. A second stream shows which.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::network::{Address, Socket, SocketOptions, dial};

/// ApiVersions, version 0, without a client id: length, key, version, correlation id 1, null. Every broker answers it.
const VERSIONS_REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
/// The answer's length and correlation id.
const ANSWER_HEAD: usize = 8;
/// The longest answer that is accepted; no broker's list of versions is longer.
const LONGEST_ANSWER: u32 = 1 << 20;

/// Returns `true` if the listener answers Kafka's protocol without TLS.
pub(super) fn speaks_plaintext(address: &Address, limit: Duration) -> bool {
    let answer = first_bytes::<ANSWER_HEAD>(address, &VERSIONS_REQUEST, limit);
    answer.is_ok_and(|[a, b, c, d, correlation @ ..]| {
        u32::from_be_bytes([a, b, c, d]) <= LONGEST_ANSWER && correlation == [0, 0, 0, 1]
    })
}

/// Returns `true` if the listener answers a TLS handshake, even if only with an alert.
pub(super) fn speaks_tls(address: &Address, limit: Duration) -> bool {
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;

    let Some(hello) = client_hello(&address.host) else {
        return false;
    };

    let answer = first_bytes::<2>(address, &hello, limit);
    matches!(answer, Ok([ALERT | HANDSHAKE, 3]))
}

/// Sends `request` on a stream of its own, and returns the first bytes of the answer.
fn first_bytes<const N: usize>(
    address: &Address,
    request: &[u8],
    limit: Duration,
) -> io::Result<[u8; N]> {
    let mut stream = dial(address, SocketOptions::default(), limit)?;
    stream.set_limit(limit)?;
    stream.write_all(request)?;

    let mut answer = [0; N];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Returns the first message of a TLS handshake; none if TLS cannot use the host's name.
fn client_hello(host: &str) -> Option<Vec<u8>> {
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        // The handshake ends before a certificate is verified.
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();

    let mut session = ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    session.write_tls(&mut hello).ok()?;
    Some(hello)
}

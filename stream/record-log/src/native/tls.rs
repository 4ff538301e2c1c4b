//! TLS (RFC 8446, RFC 5246) by rustls: the configuration that follows from the settings, and errors that name the
//! settings.
//!
//! The broker's certificate is always verified, and its name unless `ssl.endpoint.identification.algorithm=none`. The
//! name that the client connects by is sent with the handshake (SNI), so that a broker with several certificates can
//! choose.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    Error as TlsError, RootCertStore, SignatureScheme, StreamOwned,
};

use super::fault::{Certificate, TlsFault, TlsRefusal};
use super::network::{Address, Denied, Network, Socket, SocketOptions, dial};
use super::probe;

/// The authorities that the client trusts, and its own certificate.
pub(super) struct Identity {
    /// The authorities whose certificates are accepted.
    pub authorities: RootCertStore,
    /// The client's own certificate and its key.
    pub own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// The check that the certificate is for the name that the client connects by.
    pub names: Names,
}

/// The check of the names in a certificate (`ssl.endpoint.identification.algorithm`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Names {
    #[default]
    Verified,
    Any,
}

/// TLS over TCP.
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
    options: SocketOptions,
}

/// A time after the expiry of any certificate.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// The fault of a listener that does not encrypt.
const WITHOUT_TLS: &str = "answers without TLS, and security.protocol is set to use it: set security.protocol to plaintext or \
     sasl_plaintext, or use the port of a listener with TLS";

/// A verified stream.
struct TlsSocket(StreamOwned<ClientConnection, TcpStream>);

/// Verifies a certificate, except for its name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl Tls {
    /// # Errors
    /// If the key does not fit the certificate, or no authority is trusted.
    pub fn new(identity: Identity, options: SocketOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::new(identity.authorities),
            Arc::clone(&provider),
        );
        let verifier = verifier
            .build()
            .map_err(|error| TlsError::General(error.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = match identity.names {
            Names::Verified => verifier,
            Names::Any => Arc::new(AnyName(verifier)),
        };

        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier));
        let config = match identity.own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };

        Ok(Self {
            config: Arc::new(config),
            verifier,
            options,
        })
    }

    /// Connects, and prepares the handshake.
    fn prepare(&self, address: &Address, limit: Duration) -> io::Result<TlsSocket> {
        let name = name_of(address)?;
        let session = ClientConnection::new(Arc::clone(&self.config), name);
        let session = session.map_err(io::Error::other)?;

        let tcp = dial(address, self.options, limit)?;
        Ok(TlsSocket(StreamOwned::new(session, tcp)))
    }

    /// Returns the expiry of a session's verified certificate. The verifier's error contains it when it verifies the
    /// certificate for a later time.
    fn certificate(&self, session: &ClientConnection, address: &Address) -> Option<Certificate> {
        let chain = session.peer_certificates()?;
        let (own, intermediates) = chain.split_first()?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let later = UnixTime::since_unix_epoch(since + FAR_FUTURE);
        let name = name_of(address).ok()?;

        let verified = self
            .verifier
            .verify_server_cert(own, intermediates, &name, &[], later);
        let expires_at_s = match verified {
            Err(TlsError::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) => Some(not_after.as_secs()),
            _ => None,
        };
        Some(Certificate { expires_at_s })
    }
}

/// Returns the name that the broker's certificate must have.
fn name_of(address: &Address) -> Result<ServerName<'static>, Denied> {
    ServerName::try_from(address.host.clone()).map_err(|_| {
        Denied(
            "has a name that no certificate can be for: use a DNS name or an IP address".to_owned(),
        )
    })
}

impl Network for Tls {
    fn connect(&self, address: &Address, limit: Duration) -> io::Result<Box<dyn Socket>> {
        let mut socket = self.prepare(address, limit)?;
        match socket.shake_hands(limit) {
            Ok(()) => Ok(Box::new(socket)),
            Err(error) if is_misunderstood(&error) && probe::speaks_plaintext(address, limit) => {
                Err(Denied(WITHOUT_TLS.to_owned()).into())
            }
            Err(error) => Err(explained(error)),
        }
    }

    fn examine(
        &self,
        address: &Address,
        limit: Duration,
    ) -> Result<Option<Certificate>, TlsRefusal> {
        let failed = |error: &io::Error, sentence: String| TlsRefusal {
            fault: tls_error(error).map_or(TlsFault::Unanswered, TlsFault::of),
            sentence: format!("broker {address} {sentence}"),
        };
        let mut socket = self
            .prepare(address, limit)
            .map_err(|error| failed(&error, format!("cannot be connected to: {error}")))?;

        let error = match socket.shake_hands(limit) {
            Ok(()) => return Ok(self.certificate(&socket.0.conn, address)),
            Err(error) => error,
        };
        if is_misunderstood(&error) && probe::speaks_plaintext(address, limit) {
            return Err(TlsRefusal {
                fault: TlsFault::WithoutTls,
                sentence: format!("broker {address} {WITHOUT_TLS}"),
            });
        }

        let reason = tls_error(&error).and_then(reason);
        let sentence = reason.unwrap_or_else(|| format!("ends the TLS handshake: {error}"));
        Err(failed(&error, sentence))
    }
}

impl TlsSocket {
    fn shake_hands(&mut self, limit: Duration) -> io::Result<()> {
        let deadline = Instant::now() + limit;
        let StreamOwned { conn, sock } = &mut self.0;
        sock.set_limit(limit)?;

        while conn.is_handshaking() {
            if Instant::now() > deadline {
                return Err(ErrorKind::TimedOut.into());
            }

            while conn.wants_write() {
                conn.write_tls(sock)?;
            }
            if !conn.wants_read() {
                continue;
            }
            if conn.read_tls(sock)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }

            if let Err(error) = conn.process_new_packets() {
                // The alert carries the error to the broker's log. The error is returned even if the alert does not
                // arrive.
                conn.write_tls(sock).ok();
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }

        // With TLS 1.3, the client's last message is still to be sent.
        while conn.wants_write() {
            conn.write_tls(sock)?;
        }
        Ok(())
    }
}

impl Socket for TlsSocket {
    fn set_limit(&self, limit: Duration) -> io::Result<()> {
        self.0.sock.set_limit(limit)
    }
}

impl Read for TlsSocket {
    /// Reads from the stream. With TLS 1.3, a broker refuses the client's certificate only after the handshake.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).map_err(explained)
    }
}

impl Write for TlsSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(explained)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(explained)
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is checked last, so everything else is valid.
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Returns `true` if the other side does not seem to speak TLS, or closed the connection.
fn is_misunderstood(error: &io::Error) -> bool {
    match tls_error(error) {
        Some(error) => matches!(error, TlsError::InvalidMessage(_)),
        None => matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::TimedOut
                | ErrorKind::WouldBlock
        ),
    }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Returns the error with the settings to change, if it is about them.
fn explained(error: io::Error) -> io::Error {
    match tls_error(&error).and_then(reason) {
        Some(reason) => Denied(reason).into(),
        None => error,
    }
}

/// Returns the reason why every handshake fails; none if another may succeed.
fn reason(error: &TlsError) -> Option<String> {
    let reason = match error {
        TlsError::InvalidCertificate(error) => bad_certificate(error),
        TlsError::NoCertificatesPresented => {
            "presents no certificate: give its listener one (ssl.keystore.location)".to_owned()
        }
        TlsError::AlertReceived(alert) => refused_certificate(*alert)?,
        TlsError::PeerIncompatible(difference) => format!(
            "has no TLS in common with this client ({difference:?}): enable TLSv1.3 or TLSv1.2 in the broker's \
             ssl.enabled.protocols"
        ),
        _ => return None,
    };
    Some(reason)
}

fn bad_certificate(error: &CertificateError) -> String {
    use CertificateError as Bad;

    match error {
        Bad::UnknownIssuer | Bad::BadSignature => {
            "presents a certificate from an authority that this client does not trust: set ssl.ca.location to the file \
             of the authority that issued it"
                .to_owned()
        }
        Bad::Expired | Bad::ExpiredContext { .. } => {
            "presents a certificate that has expired: renew it at the broker, or correct this machine's clock".to_owned()
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "presents a certificate that is not valid yet: correct this machine's clock, or the broker's certificate"
                .to_owned()
        }
        Bad::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "presents a certificate for {}, and not for {:?}: connect by a name that it is for, issue it for this one, or \
             set ssl.endpoint.identification.algorithm to none",
            names_of(presented),
            expected.to_str()
        ),
        Bad::NotValidForName => {
            "presents a certificate for another name: connect by a name that it is for, or set \
             ssl.endpoint.identification.algorithm to none"
                .to_owned()
        }
        other => format!("presents a certificate that is refused: {other}; replace it at the broker"),
    }
}

/// Returns the names of a certificate, which rustls gives in the form `DnsName("kafka-1")`.
fn names_of(presented: &[String]) -> String {
    let name = |presented: &String| {
        let quoted = presented.split('"').nth(1);
        quoted.unwrap_or(presented).to_owned()
    };
    let names: Vec<String> = presented.iter().map(name).collect();
    match names.is_empty() {
        true => "no name".to_owned(),
        false => names.join(", "),
    }
}

/// Returns the meaning of a broker's alert for this client.
fn refused_certificate(alert: AlertDescription) -> Option<String> {
    use AlertDescription as Alert;

    match alert {
        Alert::BadCertificate
        | Alert::CertificateExpired
        | Alert::CertificateRequired
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied
        | Alert::NoCertificate => Some(format!(
            "refuses this client's certificate, or its lack of one ({alert:?}): set ssl.certificate.location and \
             ssl.key.location to a certificate from an authority in the broker's ssl.truststore.location"
        )),
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            Some(format!(
                "has no TLS in common with this client ({alert:?}): enable TLSv1.3 or TLSv1.2 and their usual ciphers at \
                 the broker (ssl.enabled.protocols, ssl.cipher.suites)"
            ))
        }
        Alert::UnrecognisedName => Some(
            "does not know the name that this client connects by: connect by a name that its certificates are for"
                .to_owned(),
        ),
        _ => None,
    }
}

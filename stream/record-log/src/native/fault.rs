//! The kinds of TLS faults, for programs that name the owner of the wrong setting. `tls` has the sentences.

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// The properties of a broker's certificate, whose chain and name were verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// The time of its expiry, in seconds since the Unix epoch; none if that is not known.
    pub expires_at_s: Option<u64>,
}

/// A kind of fault in a TLS handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsFault {
    /// The certificate is from an authority that this client does not trust.
    Authority,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for another name.
    Name,
    /// The broker refuses this client's certificate, or its lack of one.
    OwnCertificate,
    /// The two sides have no version of TLS or no cipher in common.
    NothingInCommon,
    /// The listener does not encrypt.
    WithoutTls,
    /// The broker did not complete the handshake.
    Unanswered,
    /// Any other fault of the certificate or the protocol.
    Other,
}

/// A TLS handshake that failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{sentence}")]
pub struct TlsRefusal {
    /// Its kind.
    pub fault: TlsFault,
    /// The broker, the fault and the remedy in one sentence.
    pub sentence: String,
}

impl TlsFault {
    pub(super) fn of(error: &TlsError) -> Self {
        match error {
            TlsError::InvalidCertificate(error) => Self::of_certificate(error),
            TlsError::AlertReceived(alert) => Self::of_alert(*alert),
            TlsError::PeerIncompatible(_) => Self::NothingInCommon,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        use CertificateError as Bad;

        match error {
            Bad::UnknownIssuer | Bad::BadSignature => Self::Authority,
            Bad::Expired | Bad::ExpiredContext { .. } => Self::Expired,
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => Self::NotYetValid,
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => Self::Name,
            _ => Self::Other,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        use AlertDescription as Alert;

        match alert {
            Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
                Self::NothingInCommon
            }
            Alert::UnrecognisedName => Self::Name,
            _ => Self::OwnCertificate,
        }
    }
}

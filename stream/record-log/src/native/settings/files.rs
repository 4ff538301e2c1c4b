//! Certificates and keys in PEM, from a file or from the property itself. They are read once, at the start.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_native_certs::CertificateResult;

use super::Refused;

/// The source of a PEM, and the property that names it.
pub(super) struct Pem {
    pub name: &'static str,
    source: Source,
}

enum Source {
    File(PathBuf),
    Text(Vec<u8>),
}

impl Pem {
    pub fn file(name: &'static str, path: &str) -> Self {
        let source = Source::File(PathBuf::from(path));
        Self { name, source }
    }

    pub fn text(name: &'static str, text: &str) -> Self {
        let source = Source::Text(text.as_bytes().to_vec());
        Self { name, source }
    }

    /// Returns the file, unless the PEM is in the property itself.
    fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::Text(_) => None,
        }
    }

    fn read(&self) -> Result<Vec<u8>, Refused> {
        match &self.source {
            Source::Text(text) => Ok(text.clone()),
            Source::File(path) => std::fs::read(path)
                .map_err(|error| self.refused(format!("which cannot be read: {error}"))),
        }
    }

    fn refused(&self, reason: String) -> Refused {
        Refused::File {
            name: self.name,
            path: self.path().unwrap_or(Path::new("PEM")).to_owned(),
            reason,
        }
    }

    fn malformed(&self, error: &PemError) -> Refused {
        self.refused(format!("which is not valid PEM: {error}"))
    }
}

/// Returns the trusted authorities: those in the PEM, or those of this machine.
pub(super) fn authorities(pem: Option<&Pem>) -> Result<RootCertStore, Refused> {
    let machine = Pem::file("ssl.ca.location", "probe");
    let pem = pem.unwrap_or(&machine);
    let path = pem.path();

    let certificates = if path == Some(Path::new("probe")) {
        found(pem, rustls_native_certs::load_native_certs())?
    } else if let Some(folder) = path.filter(|path| path.is_dir()) {
        let found_there = rustls_native_certs::load_certs_from_paths(None, Some(folder));
        found(pem, found_there)?
    } else {
        certificates(pem)?
    };

    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).map_err(|error| {
            pem.refused(format!(
                "which holds a certificate that cannot be used: {error}"
            ))
        })?;
    }
    Ok(store)
}

/// Returns the certificates of a store of many files. A file that cannot be read is left out with a warning.
fn found(pem: &Pem, found: CertificateResult) -> Result<Vec<CertificateDer<'static>>, Refused> {
    for error in &found.errors {
        tracing::warn!(%error, "an authority's certificate is left out");
    }
    if found.certs.is_empty() {
        return Err(pem.refused(
            "where no authority's certificate is found: set ssl.ca.location to the file of the broker's authority".to_owned(),
        ));
    }

    Ok(found.certs)
}

/// Returns the certificates of a chain, or of several authorities.
pub(super) fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Refused> {
    let bytes = pem.read()?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem.malformed(&error))?;

    if certificates.is_empty() {
        return Err(pem.refused("which holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

pub(super) fn key(pem: &Pem) -> Result<PrivateKeyDer<'static>, Refused> {
    let bytes = pem.read()?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        PemError::NoItemsFound => pem.refused(
            "which holds no private key in PEM without a password (PKCS #8, PKCS #1 or SEC1)"
                .to_owned(),
        ),
        error => pem.malformed(&error),
    })
}

//! Certificates of a test's own: an authority, and its certificates.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

/// Creates an authority, and writes its certificate.
pub fn authority(folder: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);

    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    Issuer::new(params, key)
}

/// Writes a certificate for `host` and its key, each alone and both together, as Kafka takes them.
pub fn issue(folder: &Path, issuer: &Issuer<'static, KeyPair>, name: &str, host: &str, until: i32) {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);

    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap().pem();
    let key = key.serialize_pem();
    let write = |ending: &str, text: &str| {
        std::fs::write(folder.join(format!("{name}.{ending}")), text).unwrap();
    };
    write("pem", &certificate);
    write("key", &key);
    write("both", &format!("{key}{certificate}"));
}

//! Certificates that a test issues: an authority, and its certificates.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

/// The authority of a broker's certificates, and one that its clients do not trust.
pub struct Authorities {
    pub own: Issuer<'static, KeyPair>,
    pub foreign: Issuer<'static, KeyPair>,
}

/// Creates the authorities `ca` and `foreign`, and certificates for a broker: a good one, an expired one, and one for
/// another host.
pub fn issue_for_broker(folder: &Path) -> Authorities {
    let own = authority(folder, "ca");
    issue(folder, &own, "good", "localhost", 2099);
    issue(folder, &own, "expired", "localhost", 2001);
    issue(folder, &own, "misnamed", "other.example", 2099);

    Authorities {
        own,
        foreign: authority(folder, "foreign"),
    }
}

/// Creates an authority, and writes its certificate.
fn authority(folder: &Path, name: &str) -> Issuer<'static, KeyPair> {
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

/// Writes a certificate for `host` and its key, each in a file and both in one, which is Kafka's form.
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

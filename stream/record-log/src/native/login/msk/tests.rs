//! Tests of tokens for MSK. Signatures are compared with those of AWS's own signer for Python
//! (aws-msk-iam-sasl-signer-python 1.0.2), of the same time and credentials.

use std::collections::BTreeMap;

use super::*;

/// 2023-11-14T22:13:20Z.
const NOW_MS: u64 = 1_700_000_000_000;
const SIGNATURE: &str = "a140b7c70715a8cdb238da496c97b7eb6f0f0b143b841c301e50506fac122db8";
const SIGNATURE_WITH_SESSION: &str =
    "d83949b5c72efd1043716a4972431d407554f7095f9f27898968d2f76660cee2";
const SESSION: &str = "FwoGZXIvYXdzEXAMPLE+/=token";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(NOW_MS)
}

/// Returns a signer whose credentials expire in `life_s` seconds, if it is set.
fn signer(session: Option<&str>, life_s: Option<u64>) -> Signer {
    let expiry = life_s.map(|life_s| now() + Duration::from_secs(life_s));
    let session = session.map(str::to_owned);
    let key = "AKIDEXAMPLE";
    let secret = "a secret of this test";
    Signer {
        region: "eu-central-1".to_owned(),
        credentials: Credentials::new(key, secret, session, expiry, "test"),
    }
}

/// Returns the address in a token, and its parameters, which stay encoded.
fn read(token: &Secret) -> (String, BTreeMap<String, String>) {
    assert!(!token.0.contains(['=', '+', '/']), "{}", token.0);
    let url = String::from_utf8(BASE64_URL.decode(&token.0).unwrap()).unwrap();
    let (address, query) = url.split_once('?').unwrap();
    let params = query.split('&').map(|param| {
        let (name, value) = param.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    (address.to_owned(), params.collect())
}

#[test]
fn tokens_are_those_of_the_signer_of_aws() {
    for (session, signature) in [(None, SIGNATURE), (Some(SESSION), SIGNATURE_WITH_SESSION)] {
        let token = signer(session, None).token(now()).unwrap();
        let (address, mut params) = read(&token);
        assert_eq!(address, "https://kafka.eu-central-1.amazonaws.com/");
        let agent = params.remove("User-Agent").unwrap();
        assert!(agent.starts_with("tidemark-record-log%2F"), "{agent}");

        let scope = "20231114%2Feu-central-1%2Fkafka-cluster%2Faws4_request";
        let mut expected = vec![
            ("Action", "kafka-cluster%3AConnect".to_owned()),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("AKIDEXAMPLE%2F{scope}")),
            ("X-Amz-Date", "20231114T221320Z".to_owned()),
            ("X-Amz-Expires", "900".to_owned()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
            ("X-Amz-Signature", signature.to_owned()),
        ];
        let encoded = "FwoGZXIvYXdzEXAMPLE%2B%2F%3Dtoken".to_owned();
        expected.extend(session.map(|_| ("X-Amz-Security-Token", encoded)));

        let expected = expected.into_iter();
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(params, expected.collect());
    }
}

#[test]
fn expired_credentials_sign_nothing_and_are_named() {
    for life_s in [1, 900] {
        assert!(signer(None, Some(life_s)).token(now()).is_ok());
    }

    let expired = signer(Some(SESSION), Some(0)).token(now()).unwrap_err();
    let sentence = expired.to_string();
    assert!(sentence.contains("AKIDEXAMPLE have expired"), "{sentence}");
    assert!(!sentence.contains("secret"), "{sentence}");
}

#[test]
fn temporary_credentials_are_kept_until_they_almost_expire() {
    let issuer = Msk::new(None);
    *issuer.newest() = Some(signer(None, Some(1_000)));
    let signed_at = |second: u64| {
        let token = issuer.token(NOW_MS + second * 1_000).unwrap();
        read(&token).1.remove("X-Amz-Date").unwrap()
    };
    assert_eq!(signed_at(0), "20231114T221320Z");
    assert_eq!(signed_at(699), "20231114T222459Z");

    let kept = signer(None, Some(1_000));
    let in_s = |second: u64| now() + Duration::from_secs(second);
    assert!(kept.is_good_for(RENEWED_BEFORE, in_s(699)));
    assert!(!kept.is_good_for(RENEWED_BEFORE, in_s(700)));
    assert!(!signer(None, None).is_good_for(RENEWED_BEFORE, now()));
}

#[test]
fn the_remedy_names_the_key_and_the_region_and_no_secret() {
    let issuer = Msk::new(Some("eu-west-1".to_owned()));
    assert!(!issuer.remedy().contains("access key"));
    *issuer.newest() = Some(signer(Some(SESSION), Some(1_000)));

    let remedy = issuer.remedy();
    for named in ["AKIDEXAMPLE", "eu-central-1", "kafka-cluster:Connect"] {
        assert!(remedy.contains(named), "{named:?} in {remedy}");
    }
    let shown = format!("{remedy} {issuer:?} {issuer:#?}");
    assert!(
        !shown.contains("secret") && !shown.contains(SESSION),
        "{shown}"
    );
}

#[test]
fn an_invalid_region_is_never_a_part_of_an_address() {
    for region in ["eu-central-1", "us-gov-west-1", "cn-north-1"] {
        assert_eq!(checked(region).unwrap(), region);
    }
    for wrong in ["", "eu-central-1.example.com/", "EU", "eu central"] {
        assert!(matches!(checked(wrong), Err(MskError::Region(_))));
    }
}

#[test]
fn a_connection_that_fails_passes_and_a_missing_file_does_not() {
    let failed = |kind: ErrorKind| refused(CredentialsError::provider_error(io::Error::from(kind)));
    for kind in [ErrorKind::ConnectionRefused, ErrorKind::TimedOut] {
        assert!(matches!(failed(kind), MskError::Unanswered(_)), "{kind}");
    }
    for kind in [ErrorKind::NotFound, ErrorKind::PermissionDenied] {
        assert!(matches!(failed(kind), MskError::Failed(_)), "{kind}");
    }

    let slow = CredentialsError::provider_timed_out(Duration::from_secs(5));
    assert!(matches!(refused(slow), MskError::Unanswered(_)));
    let none = CredentialsError::not_loaded("the variable is not set");
    let sentence = refused(none).to_string();
    assert!(sentence.contains("the variable is not set"), "{sentence}");
}

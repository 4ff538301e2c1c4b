//! Tests of SCRAM: the example of the RFC, a second implementation, and servers that are refused.

use super::{Challenge, First, Hash, Proven, ScramError};
use crate::native::mutations;

/// The example of RFC 7677, section 3.
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const PROOF: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

const PASSWORD: &str = "pencil";

fn first() -> First {
    First::new(Hash::Sha256, "user", NONCE.to_owned()).0
}

fn proven(server_first: &str) -> Result<(Proven, String), ScramError> {
    first().prove(PASSWORD, server_first)
}

#[test]
fn the_example_of_the_rfc_is_reproduced_word_for_word() {
    let (first, message) = First::new(Hash::Sha256, "user", NONCE.to_owned());
    assert_eq!(message, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");

    let (proven, message) = first.prove(PASSWORD, SERVER_FIRST).unwrap();
    assert_eq!(message, PROOF);
    assert_eq!(proven.verify(SERVER_FINAL), Ok(()));
}

/// The expected values were computed with Python's hashlib and hmac, after the RFC.
#[test]
fn sha_512_agrees_with_another_implementation() {
    let (first, _) = First::new(Hash::Sha512, "user", NONCE.to_owned());
    let (proven, message) = first.prove(PASSWORD, SERVER_FIRST).unwrap();
    let proof = message.rsplit_once(",p=").unwrap().1;
    assert_eq!(
        proof,
        "gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ=="
    );
    assert_eq!(proven.verify("v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw=="), Ok(()));
}

#[test]
fn mutated_messages_of_a_server_are_read_or_refused() {
    let mut refused = 0;
    mutations::each(SERVER_FIRST.as_bytes(), |mutated| {
        let message = String::from_utf8_lossy(mutated);
        match Challenge::read(&message, NONCE) {
            Ok(challenge) => assert!(challenge.nonce.starts_with(NONCE)),
            Err(_) => refused += 1,
        }
    });
    assert!(refused > 0);

    let (proven, _) = proven(SERVER_FIRST).unwrap();
    mutations::each(SERVER_FINAL.as_bytes(), |mutated| {
        let message = String::from_utf8_lossy(mutated);
        let is_whole = message == SERVER_FINAL || message.starts_with(&format!("{SERVER_FINAL},"));
        assert_eq!(proven.verify(&message).is_ok(), is_whole, "{message}");
    });
}

#[test]
fn names_that_hold_commas_and_equal_signs_are_escaped() {
    let (_, message) = First::new(Hash::Sha256, "a=b,c=2C", "n".to_owned());
    assert_eq!(message, "n,,n=a=3Db=2Cc=3D2C,r=n");
}

#[test]
fn a_server_without_the_user_s_keys_is_refused() {
    let (proven, _) = proven(SERVER_FIRST).unwrap();
    let refused = |message: &str| proven.verify(message).unwrap_err();

    let other = SERVER_FINAL.replace("6rri", "7rri");
    assert_eq!(refused(&other), ScramError::WrongSignature);
    assert_eq!(refused("v="), ScramError::WrongSignature);
    assert_eq!(refused("v=6rriTRBi23Wp"), ScramError::WrongSignature);

    assert!(matches!(refused("v=!"), ScramError::Garbled(_)));
    assert!(matches!(refused(""), ScramError::Garbled(_)));
    assert!(matches!(refused("p=6rri"), ScramError::Garbled(_)));
    assert_eq!(
        refused("e=unknown-user,v=x"),
        ScramError::Rejected("unknown-user".to_owned())
    );
}

#[test]
fn a_nonce_that_does_not_continue_the_client_s_is_refused() {
    let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    for nonce in ["", "x", NONCE, &NONCE[1..], &format!("x{NONCE}more")] {
        let refused = proven(&format!("r={nonce},{salt}")).err().unwrap();
        assert_eq!(refused, ScramError::ForeignNonce, "{nonce}");
    }
}

#[test]
fn iterations_are_bounded_on_both_sides() {
    let with = |iterations: &str| {
        let message = SERVER_FIRST.replace("i=4096", &format!("i={iterations}"));
        proven(&message).map(|_| ())
    };
    assert_eq!(with("4096"), Ok(()));

    for refused in [0, 1, 4095, 1_000_001, u32::MAX] {
        let found = with(&refused.to_string());
        assert_eq!(found, Err(ScramError::Iterations(refused)));
    }
    for garbled in ["", "-1", "4096.0", "99999999999"] {
        assert!(
            matches!(with(garbled), Err(ScramError::Garbled(_))),
            "{garbled}"
        );
    }
}

#[test]
fn messages_without_their_parts_are_refused() {
    let refused = |message: &str| proven(message).err().unwrap();
    assert_eq!(
        refused(&format!("m=must,{SERVER_FIRST}")),
        ScramError::Extension("m=must".to_owned())
    );

    let nonce = format!("r={NONCE}more");
    for message in [
        "".to_owned(),
        nonce.clone(),
        format!("{nonce},i=4096"),
        format!("{nonce},s=,i=4096"),
        format!("{nonce},s=!,i=4096"),
        format!("{nonce},s=W22ZaJ0SNY7soEsUEjb6gQ=="),
        format!("s=W22ZaJ0SNY7soEsUEjb6gQ==,{nonce},i=4096"),
    ] {
        assert!(
            matches!(refused(&message), ScramError::Garbled(_)),
            "{message}"
        );
    }
}

//! The second factor of an account: the codes of an authenticator app (TOTP, RFC 6238), and recovery codes for the day that the
//! app is lost. Pure.
//!
//! The app and the service share a secret of 160 bits, and each code is a function of it and of the half minute. So the
//! table has the secret itself, unlike the hash of a password. A code of the half minute before or after is accepted, for
//! clocks that differ. Recovery codes are random and are stored as hashes.

use argon2::password_hash::rand_core::{OsRng, RngCore};
use events::Timestamp;
use totp_rs::{Builder, Secret, Totp};

use crate::token;

/// The name of the shop in an authenticator app.
const ISSUER: &str = "Tidemark";
const SECRET_BYTES: usize = 20;
/// Number of recovery codes.
const RECOVERY_CODES: usize = 10;
const RECOVERY_BYTES: usize = 10;
/// Longest code that is compared, in bytes.
const MAX_CODE_BYTES: usize = 64;

/// A secret that an authenticator app shares with the service.
pub struct SharedSecret(Totp);

/// A code that a client sends: of an app, or a recovery code. Its text appears in no log.
#[derive(Clone, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Code(String);

/// The reason why a code is invalid; sent to the client.
#[derive(Debug, thiserror::Error)]
#[error("a code has 1 to {MAX_CODE_BYTES} characters: six digits of the app, or a recovery code")]
pub struct NoCode;

/// The reason why a stored secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("a stored secret of a second factor is damaged")]
pub struct DamagedSecret;

impl SharedSecret {
    /// Returns a new secret, for the account with this address.
    pub fn generate(email: &str) -> Self {
        let mut bytes = [0; SECRET_BYTES];
        OsRng.fill_bytes(&mut bytes);
        Self::new(Secret::from(bytes.to_vec()), email).expect("a secret of 160 bits")
    }

    /// Returns the secret that was stored as this text.
    pub fn of_base32(text: &str, email: &str) -> Result<Self, DamagedSecret> {
        let secret = Secret::try_from_base32(text).map_err(|_| DamagedSecret)?;
        Self::new(secret, email)
    }

    fn new(secret: Secret, email: &str) -> Result<Self, DamagedSecret> {
        // An address has no colon, which separates the names in a link.
        let builder = Builder::new()
            .with_secret(secret)
            .with_issuer(Some(ISSUER))
            .with_account_name(email);
        builder.build().map(Self).map_err(|_| DamagedSecret)
    }

    /// Returns the secret as an app takes it, and as it is stored.
    pub fn to_base32(&self) -> String {
        self.0.secret().to_base32()
    }

    /// Returns the link by which an app takes the secret: `otpauth://totp/…`.
    pub fn link(&self) -> Result<String, DamagedSecret> {
        self.0.to_url().map_err(|_| DamagedSecret)
    }

    /// Returns the number of the half minute whose code this is, or none if it is not one of now.
    pub fn step_of(&self, code: &Code, now: Timestamp) -> Option<u64> {
        self.0.check(&code.0, now.as_ms() / 1000)
    }
}

impl Code {
    /// Returns the hash by which a recovery code is stored.
    pub fn hash(&self) -> String {
        token::hash(&self.0)
    }
}

impl TryFrom<String> for Code {
    type Error = NoCode;

    /// Leaves out spaces and hyphens, with which people group characters.
    fn try_from(text: String) -> Result<Self, NoCode> {
        let plain: String = text.chars().filter(|c| !" -".contains(*c)).collect();
        let plain = plain.to_ascii_uppercase();
        let fits = (1..=MAX_CODE_BYTES).contains(&plain.len());
        fits.then_some(Self(plain)).ok_or(NoCode)
    }
}

/// Returns new recovery codes of 80 random bits each.
pub fn recovery_codes() -> Vec<String> {
    let code = || {
        let mut bytes = [0; RECOVERY_BYTES];
        OsRng.fill_bytes(&mut bytes);
        Secret::from(bytes.to_vec()).to_base32()
    };
    std::iter::repeat_with(code).take(RECOVERY_CODES).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_ms(seconds * 1000).unwrap()
    }

    fn code(text: &str) -> Code {
        Code::try_from(text.to_owned()).unwrap()
    }

    /// The secret `12345678901234567890` of RFC 6238, appendix B, whose codes are cut to six digits.
    fn of_rfc() -> SharedSecret {
        SharedSecret::of_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "ada@test.com").unwrap()
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        let vectors = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ];
        for (seconds, text) in vectors {
            let step = of_rfc().step_of(&code(text), at(seconds));
            assert_eq!(step, Some(seconds / 30), "{text}");
        }
    }

    #[test]
    fn a_code_is_good_in_its_half_minute_and_the_one_before_and_after() {
        let step_at = |seconds| of_rfc().step_of(&code("050471"), at(seconds));
        // Its half minute begins at 1111111110.
        for seconds in [1_111_111_080, 1_111_111_110, 1_111_111_169] {
            assert_eq!(step_at(seconds), Some(37_037_037), "{seconds}");
        }
        for seconds in [1_111_111_079, 1_111_111_170] {
            assert_eq!(step_at(seconds), None, "{seconds}");
        }
        for wrong in ["050472", "50471", "0504711", "05047a", "recovery"] {
            assert_eq!(of_rfc().step_of(&code(wrong), at(1_111_111_111)), None);
        }
    }

    #[test]
    fn people_may_group_the_characters_of_a_code() {
        assert!(
            of_rfc()
                .step_of(&code("050 471"), at(1_111_111_111))
                .is_some()
        );
        assert_eq!(code("abcd-efgh").hash(), code("ABCDEFGH").hash());
        for none in ["", " - ", &"1".repeat(65)] {
            assert!(Code::try_from(none.to_owned()).is_err(), "{none}");
        }
    }

    #[test]
    fn a_secret_is_stored_and_linked_and_no_two_are_alike() {
        let secret = SharedSecret::generate("ada+1@test.com");
        let text = secret.to_base32();
        assert_eq!(text.len(), 32);
        let link = secret.link().unwrap();
        assert!(
            link.starts_with("otpauth://totp/Tidemark:ada%2B1%40test.com?"),
            "{link}"
        );
        assert!(
            link.contains(&text) && link.contains("issuer=Tidemark"),
            "{link}"
        );

        let stored = SharedSecret::of_base32(&text, "ada@test.com").unwrap();
        assert_eq!(stored.to_base32(), text);
        assert_ne!(SharedSecret::generate("ada@test.com").to_base32(), text);
        assert!(SharedSecret::of_base32("no base 32!", "ada@test.com").is_err());
    }

    #[test]
    fn each_character_of_a_secret_is_random() {
        let secrets: Vec<String> = (0..32)
            .map(|_| SharedSecret::generate("ada@test.com").to_base32())
            .collect();
        // Each character has five bits. Fewer than eight values among 32 come by chance in one of 10^13 runs.
        for place in 0..secrets[0].len() {
            let values: HashSet<u8> = secrets.iter().map(|text| text.as_bytes()[place]).collect();
            assert!(values.len() >= 8, "character {place} has {values:?}");
        }
    }

    #[test]
    fn recovery_codes_are_long_and_differ() {
        let codes = recovery_codes();
        assert!(codes.iter().all(|code| code.len() == 16), "{codes:?}");
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), 10);
    }
}

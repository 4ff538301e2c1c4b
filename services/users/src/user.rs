//! Users and their fields. Every value is checked when it is parsed, so the types contain only valid values. Invalid
//! JSON is rejected with the name of its field.

use chassis::is_visible;
use events::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use unicode_normalization::UnicodeNormalization;

const MAX_NAME_CHARS: usize = 100;
const MAX_EMAIL_BYTES: usize = 254;
const MAX_LOCAL_PART_BYTES: usize = 64;
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;
/// Minimum number of guesses that a password must withstand, as a power of ten.
const GUESSES_LOG10: f64 = 6.0;
/// Minimum number of characters of a password outside the words that are known about its owner.
const LEAST_OF_ITS_OWN: usize = 4;

/// A user as returned to clients.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// Assigned by the database.
    pub id: i64,
    /// The user's name.
    pub name: String,
    /// The address as stated. Until it is verified, it gets only the mail to verify it.
    pub email: String,
    /// The address that gets mail, because its owner has verified it. Unique among users.
    pub verified_email: Option<String>,
    /// The number for text messages.
    pub phone: Option<String>,
    /// The time of the sign-up.
    pub created_at: Timestamp,
}

/// The fields of a sign-up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    pub name: Name,
    pub email: Email,
    pub phone: Option<Phone>,
    pub password: Option<NewPassword>,
}

/// The changes to a user. A field that is absent stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    pub name: Option<Name>,
    pub email: Option<Email>,
    /// `null` removes the number.
    #[serde(default, deserialize_with = "present")]
    pub phone: Option<Option<Phone>>,
    /// Needed to change the e-mail address of an account that has a password.
    pub current_password: Option<Password>,
}

/// The body of a request to close an account.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Needed by the owner of an account that has a password.
    pub current_password: Option<Password>,
}

/// Distinguishes a `null` from an absent field.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A name: 1 to 100 characters, without surrounding space and without invisible characters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Name(String);

/// A plausible e-mail address, in lower case; a domain outside ASCII is stored as Punycode.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Email(String);

/// A telephone number: an optional plus sign, then 5 to 15 digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Phone(String);

/// A password presented at log-in: 8 to 128 characters of any kind. Its text appears in no log.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Password {
    normal: String,
    /// The text as it was sent, if the normal form differs.
    sent: Option<String>,
}

/// A newly chosen password, in NFKC: 8 to 128 characters of any kind (NIST SP 800-63B, 3.1.1.2).
///
/// Two keyboards may encode the same letter as different code points; the normal form makes them
/// one password.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct NewPassword(String);

/// The reason why a text is invalid; sent to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// An invalid name.
    #[error(
        "a name has 1 to 100 characters, and none that is invisible or changes the direction of text"
    )]
    Name,
    /// An invalid e-mail address.
    #[error("this is not an e-mail address")]
    Email,
    /// An invalid telephone number.
    #[error("a telephone number has 5 to 15 digits, and may begin with a plus sign")]
    Phone,
    /// An invalid password.
    #[error("a password has 8 to 128 characters")]
    Password,
    /// A password among the first that a guesser tries.
    #[error(
        "this password is too common, or too close to the name or e-mail address; choose another"
    )]
    Guessable,
}

impl TryFrom<String> for Name {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let name = text.trim();
        let fits = !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS && is_visible(name);
        fits.then(|| Self(name.to_owned())).ok_or(Invalid::Name)
    }
}

impl TryFrom<String> for Email {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let address = text.trim();
        let (local, domain) = address.rsplit_once('@').ok_or(Invalid::Email)?;
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| Invalid::Email)?;
        let address = format!("{}@{domain}", local.to_ascii_lowercase());
        let fits = address.len() <= MAX_EMAIL_BYTES && is_local_part(local) && is_domain(&domain);
        fits.then_some(Self(address)).ok_or(Invalid::Email)
    }
}

fn is_local_part(local: &str) -> bool {
    let dots_fit = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
    (1..=MAX_LOCAL_PART_BYTES).contains(&local.len()) && dots_fit && local.bytes().all(allowed)
}

fn is_domain(domain: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    domain.contains('.') && domain.split('.').all(is_label)
}

impl std::str::FromStr for Email {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for Phone {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let number: String = text.chars().filter(|c| !" -().".contains(*c)).collect();
        let digits = number.strip_prefix('+').unwrap_or(&number);
        let fits =
            PHONE_DIGITS.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then_some(Self(number)).ok_or(Invalid::Phone)
    }
}

impl TryFrom<String> for Password {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let normal: String = text.nfkc().collect();
        let sent = (normal != text).then_some(text);
        let has_length = |text: &str| PASSWORD_CHARS.contains(&text.chars().count());

        if has_length(&normal) || sent.as_deref().is_some_and(has_length) {
            Ok(Self { normal, sent })
        } else {
            Err(Invalid::Password)
        }
    }
}

impl TryFrom<String> for NewPassword {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let normal: String = text.nfkc().collect();
        PASSWORD_CHARS
            .contains(&normal.chars().count())
            .then_some(Self(normal))
            .ok_or(Invalid::Password)
    }
}

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Email {
    /// Returns the address as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Phone {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Password {
    /// Returns the texts that may have been hashed: the normal form, and also the text as sent if it differs.
    pub fn spellings(&self) -> impl Iterator<Item = &[u8]> {
        let sent = self.sent.as_deref();
        std::iter::once(self.normal.as_str())
            .chain(sent)
            .map(str::as_bytes)
    }
}

impl NewPassword {
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns whether the password is easy to guess: a common password, which a guesser would try among the first
    /// million, or one made of words that are known `about` its owner. Takes some milliseconds.
    pub fn is_guessable(&self, about: &[String]) -> bool {
        let words = about
            .iter()
            .flat_map(|text| {
                text.split(|c: char| !c.is_alphanumeric())
                    .chain([text.as_str()])
            })
            .chain(["tidemark"])
            .filter(|word| word.chars().count() > 2);
        let words: Vec<&str> = words.collect();
        let mut rest = self.0.to_lowercase();

        for word in words.iter().rev() {
            rest = rest.replace(&word.to_lowercase(), "");
        }

        rest.chars().count() < LEAST_OF_ITS_OWN
            || zxcvbn::zxcvbn(&self.0, &words).guesses_log10() < GUESSES_LOG10
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(…)")
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::{Email, Invalid, Name, NewPassword, Password, Phone};

    fn email(text: &str) -> Result<String, Invalid> {
        Email::try_from(text.to_owned()).map(|email| email.as_str().to_owned())
    }

    #[test]
    fn an_address_is_kept_in_lower_case() {
        assert_eq!(
            email(" Demo.User+shop@Test.COM "),
            Ok("demo.user+shop@test.com".to_owned())
        );
    }

    #[test]
    fn invalid_addresses_are_refused() {
        let long = format!("{}@test.com", "a".repeat(65));
        for text in [
            "",
            "demo",
            "@test.com",
            "demo@",
            "demo@test",
            "a b@test.com",
            "a@b@test.com",
            "a@-b.com",
            "a@b..com",
            &long,
        ] {
            assert_eq!(email(text), Err(Invalid::Email), "{text}");
        }
    }

    #[test]
    fn a_telephone_number_loses_its_punctuation() {
        let phone =
            |text: &str| Phone::try_from(text.to_owned()).map(|phone| phone.as_str().to_owned());
        assert_eq!(phone("+1 (555) 010-9999"), Ok("+15550109999".to_owned()));
        for text in ["", "1234", "+", "12345678901234567", "555-CALL"] {
            assert_eq!(phone(text), Err(Invalid::Phone), "{text}");
        }
    }

    #[test]
    fn a_name_is_trimmed_and_not_empty() {
        for seen in [
            "Ada",
            "Zoë",
            "O’Brien",
            "李明",
            "می\u{200c}خواهم",
            "Ada 👩🏽",
            "Ada 👩\u{200d}🚀",
        ] {
            let name = Name::try_from(format!(" {seen} ")).unwrap();
            assert_eq!(name.as_str(), seen);
        }

        for text in [
            "",
            "  ",
            "a\nb",
            &"x".repeat(101),
            "\u{200b}",
            "\u{feff}",
            "\u{202e}gnp.exe",
            "a\u{2028}b",
            "a\u{2029}b",
            "a\u{200d}b",
            "\u{200c}",
            "a\u{ad}b",
            "\u{2066}a\u{2069}",
            "\u{61c}a",
            "\u{180e}",
            "\u{e0041}",
            "\u{3164}",
            "\u{2800}",
            "\u{e000}",
            "Ada\u{2060}",
            "\u{a0}",
        ] {
            assert_eq!(
                Name::try_from(text.to_owned()),
                Err(Invalid::Name),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_is_measured_in_characters_and_never_shown() {
        assert!(Password::try_from("pässwörd".to_owned()).is_ok());
        assert!(NewPassword::try_from("pässwörd".to_owned()).is_ok());
        assert!(
            NewPassword::try_from("e\u{301}".repeat(4)).is_err(),
            "four letters"
        );

        assert!(NewPassword::try_from("e\u{301}".repeat(128)).is_ok());
        assert!(Password::try_from("short".to_owned()).is_err());
        assert!(!format!("{:?}", Password::try_from("long enough".to_owned())).contains("enough"));
    }

    #[test]
    fn a_domain_outside_ascii_is_kept_as_punycode() {
        for (written, kept) in [
            ("a@münchen.example", "a@xn--mnchen-3ya.example"),
            ("a@MÜNCHEN.example", "a@xn--mnchen-3ya.example"),
            ("a@mu\u{308}nchen.example", "a@xn--mnchen-3ya.example"),
            ("a@xn--mnchen-3ya.example", "a@xn--mnchen-3ya.example"),
            ("o'brien@例え.jp", "o'brien@xn--r8jz45g.jp"),
        ] {
            assert_eq!(email(written), Ok(kept.to_owned()), "{written}");
        }

        for text in [
            "jörg@test.com",
            "a@xn--a.example",
            "a@m\u{200b}\u{202e}.",
            "a@ü",
        ] {
            assert_eq!(email(text), Err(Invalid::Email), "{text}");
        }
    }

    #[test]
    fn a_password_that_is_guessed_first_is_refused() {
        let about = [
            "ada.lovelace@test.com".to_owned(),
            "Ada Lovelace".to_owned(),
        ];

        let is_guessable = |text: &str| {
            NewPassword::try_from(text.to_owned())
                .unwrap()
                .is_guessable(&about)
        };

        for text in [
            "password",
            "password1",
            "Passw0rd",
            "12345678",
            "qwertyuiop",
            "iloveyou",
            "sunshine1",
            "aaaaaaaa",
            "letmein123",
            "ada.lovelace@test.com",
            "lovelace",
            "Lovelace1",
            "tidemark",
            "tidemark1",
            "LovelaceAda",
            "AdaLovelace99",
        ] {
            assert!(is_guessable(text), "{text}");
        }

        for text in [
            "correct horse",
            "battery staple",
            "mañana-pässword",
            "vK7#pq2x",
        ] {
            assert!(!is_guessable(text), "{text}");
        }
    }
}

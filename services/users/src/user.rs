//! Users and what they consist of. A value that exists is valid: each is parsed from text, and JSON that does not parse
//! is refused with the name of its field.

use events::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

const MAX_NAME_CHARS: usize = 100;
const MAX_EMAIL_BYTES: usize = 254;
const MAX_LOCAL_PART_BYTES: usize = 64;
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 5..=15;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=128;

/// A user as clients see one.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// Given by SQL.
    pub id: i64,
    /// What to call them.
    pub name: String,
    /// Unique among users.
    pub email: String,
    /// Where text messages go.
    pub phone: Option<String>,
    /// When they signed up.
    pub created_at: Timestamp,
}

/// What signing up takes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    pub name: Name,
    pub email: Email,
    pub phone: Option<Phone>,
    pub password: Option<Password>,
}

/// What may be changed of a user: what is absent stays.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    pub name: Option<Name>,
    pub email: Option<Email>,
    /// `null` takes the number away.
    #[serde(default, deserialize_with = "present")]
    pub phone: Option<Option<Phone>>,
}

/// Tells a `null` from an absent field.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A name: 1 to 100 characters, without space around it and without control characters.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Name(String);

/// An e-mail address that could be one, in lower case.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Email(String);

/// A telephone number: perhaps a plus sign, then 5 to 15 digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct Phone(String);

/// A password of 8 to 128 characters, of whatever kind. Its text appears in no log.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Password(String);

/// Why a text is not what it should be; said to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// No name.
    #[error("a name has 1 to 100 characters and no control characters")]
    Name,
    /// No e-mail address.
    #[error("this is not an e-mail address")]
    Email,
    /// No telephone number.
    #[error("a telephone number has 5 to 15 digits, and may begin with a plus sign")]
    Phone,
    /// No password.
    #[error("a password has 8 to 128 characters")]
    Password,
}

impl TryFrom<String> for Name {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let name = text.trim();
        let fits = !name.is_empty()
            && name.chars().count() <= MAX_NAME_CHARS
            && !name.contains(char::is_control);
        fits.then(|| Self(name.to_owned())).ok_or(Invalid::Name)
    }
}

impl TryFrom<String> for Email {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let address = text.trim();
        let (local, domain) = address.rsplit_once('@').ok_or(Invalid::Email)?;
        let fits = address.len() <= MAX_EMAIL_BYTES && is_local_part(local) && is_domain(domain);
        fits.then(|| Self(address.to_lowercase()))
            .ok_or(Invalid::Email)
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
        PASSWORD_CHARS
            .contains(&text.chars().count())
            .then_some(Self(text))
            .ok_or(Invalid::Password)
    }
}

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Email {
    /// The address as it is kept.
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
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::{Email, Invalid, Name, Password, Phone};

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
    fn what_is_no_address_is_refused() {
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
        assert_eq!(Name::try_from(" Ada ".to_owned()).unwrap().as_str(), "Ada");
        for text in ["", "  ", "a\nb", &"x".repeat(101)] {
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
        assert!(Password::try_from("short".to_owned()).is_err());
        assert!(!format!("{:?}", Password::try_from("long enough".to_owned())).contains("enough"));
    }
}

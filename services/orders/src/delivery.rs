//! The delivery address of an order.

use chassis::is_visible;
use serde::{Deserialize, Serialize};

/// Maximum length of a line of an address, in characters.
const MAX_CHARS: usize = 100;

/// A name and an address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The name of the recipient.
    pub name: Text,
    /// Street and number.
    pub street: Text,
    /// Postal code.
    pub postcode: Text,
    /// Town or city.
    pub city: Text,
    /// ISO 3166-1 code of the country.
    pub country: Country,
}

/// A line of an address: 1 to 100 characters, none of them invisible, without spaces at its
/// ends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Text(String);

/// The code of a country: two capital letters. It is not compared with the list of ISO 3166-1.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Country(String);

/// The reason a part of an address is rejected; its text is returned to the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAnAddress {
    #[error(
        "a line of an address has 1 to {MAX_CHARS} characters, and none that is invisible or changes the direction of text"
    )]
    Text,
    #[error("a country is two capital letters, such as DE (ISO 3166-1)")]
    Country,
}

impl TryFrom<String> for Text {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        let text = text.trim();
        let fits = (1..=MAX_CHARS).contains(&text.chars().count());
        (fits && is_visible(text))
            .then(|| Self(text.to_owned()))
            .ok_or(NotAnAddress::Text)
    }
}

impl TryFrom<String> for Country {
    type Error = NotAnAddress;

    fn try_from(code: String) -> Result<Self, NotAnAddress> {
        let fits = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        fits.then_some(Self(code)).ok_or(NotAnAddress::Country)
    }
}

#[cfg(test)]
mod tests {
    use super::{Country, NotAnAddress, Text};

    #[test]
    fn a_line_of_an_address_is_short_text() {
        let text = |text: &str| Text::try_from(text.to_owned());
        assert_eq!(text("  12 Café Lane "), Ok(Text("12 Café Lane".to_owned())));
        assert!(text(&"é".repeat(100)).is_ok());
        assert!(text("👩\u{200d}👧 House").is_ok());
        for bad in [
            "",
            "  ",
            "a\nb",
            "\u{7f}",
            "\u{200b}",
            "\u{202e}12 enaL",
            &"é".repeat(101),
            &format!("{}\u{200b}", "é".repeat(90)),
        ] {
            assert_eq!(text(bad), Err(NotAnAddress::Text), "{bad:?}");
        }
    }

    #[test]
    fn a_country_is_two_capital_letters() {
        assert!(Country::try_from("DE".to_owned()).is_ok());
        for bad in ["", "D", "de", "DEU", "D1", "Ä"] {
            assert_eq!(
                Country::try_from(bad.to_owned()),
                Err(NotAnAddress::Country)
            );
        }
    }
}

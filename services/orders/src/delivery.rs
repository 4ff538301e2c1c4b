//! The delivery address of an order.

use chassis::is_visible;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Maximum length of a line of an address, in characters.
const MAX_CHARS: usize = 100;
/// Countries and territories where an address is complete without a postal code: those without a format of codes in Google's
/// address metadata (<https://chromium-i18n.appspot.com/ssl-address/data>, as of February 2020; some have introduced codes
/// since, which stay optional), and Ireland, where mail is delivered without one. Uninhabited ones are left out.
const WITHOUT_POSTCODES: [&str; 69] = [
    "AE", "AG", "AO", "AW", "BF", "BI", "BJ", "BO", "BQ", "BS", "BW", "BZ", "CD", "CF", "CG", "CI",
    "CK", "CM", "CW", "DJ", "DM", "ER", "FJ", "GA", "GD", "GH", "GM", "GQ", "GY", "HK", "IE", "JM",
    "KI", "KM", "KN", "KP", "LC", "LY", "ML", "MO", "MR", "MS", "MW", "NR", "NU", "PA", "PS", "QA",
    "RW", "SB", "SC", "SL", "SR", "SS", "ST", "SX", "SY", "TD", "TG", "TK", "TL", "TO", "TT", "TV",
    "UG", "VU", "WS", "YE", "ZW",
];

/// A name and an address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The name of the recipient.
    pub name: Text,
    /// Street and number.
    pub street: Text,
    /// Postal code. Some countries have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postcode: Option<Text>,
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

/// Deserializes the address of a request. Without a postal code it is complete only in a country that has none; a stored
/// address is read without this rule, because the list of these countries changes.
///
/// # Errors
/// Returns an error that names the postal code if it is missing.
pub fn requested<'de, D: Deserializer<'de>>(given: D) -> Result<Option<Delivery>, D::Error> {
    let delivery = Option::<Delivery>::deserialize(given)?;
    let is_incomplete = |delivery: &Delivery| {
        delivery.postcode.is_none() && !WITHOUT_POSTCODES.contains(&delivery.country.0.as_str())
    };
    if delivery.as_ref().is_some_and(is_incomplete) {
        return Err(D::Error::missing_field("postcode"));
    }
    Ok(delivery)
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
    use serde_json::json;

    use super::{Country, NotAnAddress, Text, WITHOUT_POSTCODES, requested};

    #[test]
    fn a_postcode_is_needed_where_the_country_has_some() {
        let address = |country: &str| {
            let address =
                json!({"name": "Ada", "street": "1 Quay", "city": "Town", "country": country});
            requested(address)
        };
        for country in ["IE", "HK", "AE", "PA"] {
            assert!(address(country).unwrap().is_some(), "{country}");
        }
        for country in ["DE", "US", "GB", "SG", "XX"] {
            let error = address(country).unwrap_err().to_string();
            assert!(error.contains("`postcode`"), "{country}: {error}");
        }

        let mut with =
            json!({"name": "Ada", "street": "1 Quay", "city": "Dublin", "country": "IE"});
        with["postcode"] = "D02 AF30".into();
        assert_eq!(
            requested(&with).unwrap().map(|delivery| json!(delivery)),
            Some(with)
        );
        assert_eq!(requested(json!(null)).unwrap(), None);
    }

    #[test]
    fn the_countries_without_postcodes_are_sorted_codes() {
        assert!(WITHOUT_POSTCODES.is_sorted());
        assert!(
            WITHOUT_POSTCODES
                .iter()
                .all(|code| Country::try_from((*code).to_owned()).is_ok())
        );
    }

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

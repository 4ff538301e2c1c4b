//! Money: an amount is a whole number of minor units of one currency, and amounts of several currencies stay apart.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smallvec::SmallVec;

/// The code of a currency: three capital letters, as ISO 4217 has them.
///
/// Any three capital letters are a code: an order in a currency that is newer than this program is counted like any other.
/// Prices are compared with the list of ISO 4217 where they are set, in the products service.
///
/// ```
/// let yen: events::Currency = "JPY".parse()?;
/// assert_eq!(yen.to_string(), "JPY");
/// assert!("jpy".parse::<events::Currency>().is_err());
/// # Ok::<(), events::InvalidCurrency>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Currency([u8; 3]);

/// The text is not the code of a currency.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidCurrency;

/// An amount of money in one currency.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Amount {
    /// The currency.
    pub currency: Currency,
    /// The number of minor units; for yen, which have none, the number of yen. Sums saturate at [`u64::MAX`].
    pub minor_units: u64,
}

/// Amounts of money, one for each currency, ordered by the currencies' codes.
///
/// In JSON they are two fields of the object around them. `totals` is the list of the amounts. `total_cents` is the number of
/// minor units if there is one currency (or no order), and null if there are several. An older object without `totals` is
/// read as an amount of an unknown currency ([`Currency::UNKNOWN`]).
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Amounts(SmallVec<[Amount; 1]>);

impl Currency {
    /// ISO 4217's code for "no currency", which the Unicode CLDR shows as ¤. It is the currency of amounts that older
    /// versions counted without their currency.
    pub const UNKNOWN: Self = Self(*b"XXX");

    /// Returns the currency with this code, or none if it is not three capital letters.
    #[inline]
    pub fn of_code(code: &[u8]) -> Option<Self> {
        let code: [u8; 3] = code.try_into().ok()?;
        code.iter()
            .all(u8::is_ascii_uppercase)
            .then_some(Self(code))
    }

    /// Returns the letters of the code.
    pub fn letters(self) -> [u8; 3] {
        self.0
    }

    /// Returns the code.
    ///
    /// # Panics
    /// Never: a code is ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a code is ASCII")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        Self::of_code(text.as_bytes()).ok_or(InvalidCurrency)
    }
}

impl fmt::Display for InvalidCurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a currency is three capital letters, as in ISO 4217")
    }
}

impl std::error::Error for InvalidCurrency {}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Code;
        impl de::Visitor<'_> for Code {
            type Value = Currency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the code of a currency, as in ISO 4217")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Currency, E> {
                let invalid = |error| E::custom(format_args!("{error}, and not {text:?}"));
                text.parse().map_err(invalid)
            }
        }

        deserializer.deserialize_str(Code)
    }
}

impl Amounts {
    /// Returns the amounts that `total_cents` and `totals` stand for, or none if both are missing.
    pub fn of_fields(total_cents: Option<u64>, totals: Option<Vec<Amount>>) -> Option<Self> {
        let unknown = |minor_units| Amount {
            currency: Currency::UNKNOWN,
            minor_units,
        };

        match totals {
            Some(totals) => Some(totals.into_iter().collect()),
            None => {
                let of_unknown = |cents| (cents > 0).then(|| unknown(cents));
                total_cents.map(|cents| of_unknown(cents).into_iter().collect())
            }
        }
    }

    /// Adds an amount to the one of its currency.
    pub fn add(&mut self, amount: Amount) {
        let place = self
            .0
            .binary_search_by_key(&amount.currency, |own| own.currency);
        match place {
            Ok(at) => {
                let own = &mut self.0[at].minor_units;
                *own = own.saturating_add(amount.minor_units);
            }
            Err(at) => self.0.insert(at, amount),
        }
    }

    /// Returns the amounts, ordered by the currencies' codes.
    pub fn as_slice(&self) -> &[Amount] {
        &self.0
    }

    /// Returns the number of minor units if there is at most one currency.
    pub fn total_cents(&self) -> Option<u64> {
        match self.as_slice() {
            [] => Some(0),
            [only] => Some(only.minor_units),
            _ => None,
        }
    }

    /// Orders the amounts of users with equally many orders: by currency, then the higher amount first. Amounts of
    /// different currencies are not compared.
    pub fn higher_first(&self, other: &Self) -> Ordering {
        let ranks = |amount: &Amount| (amount.currency, Reverse(amount.minor_units));
        self.0.iter().map(ranks).cmp(other.0.iter().map(ranks))
    }
}

impl FromIterator<Amount> for Amounts {
    fn from_iter<I: IntoIterator<Item = Amount>>(amounts: I) -> Self {
        let mut sums = Self::default();
        sums.extend(amounts);
        sums
    }
}

impl Extend<Amount> for Amounts {
    fn extend<I: IntoIterator<Item = Amount>>(&mut self, amounts: I) {
        amounts.into_iter().for_each(|amount| self.add(amount));
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Amounts", 2)?;
        fields.serialize_field("total_cents", &self.total_cents())?;
        fields.serialize_field("totals", self.as_slice())?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Amounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            total_cents: Option<u64>,
            totals: Option<Vec<Amount>>,
        }

        let Fields {
            total_cents,
            totals,
        } = Fields::deserialize(deserializer)?;
        Self::of_fields(total_cents, totals).ok_or_else(|| de::Error::missing_field("totals"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(code: &str, minor_units: u64) -> Amount {
        Amount {
            currency: code.parse().unwrap(),
            minor_units,
        }
    }

    fn amounts(of: &[(&str, u64)]) -> Amounts {
        of.iter()
            .map(|(code, minor_units)| amount(code, *minor_units))
            .collect()
    }

    fn read(json: &str) -> Amounts {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_code_is_three_capital_letters() {
        for code in ["USD", "JPY", "XXX", "ZZZ"] {
            assert_eq!(code.parse::<Currency>().unwrap().as_str(), code);
        }
        for other in [
            "", "US", "USDT", "usd", "Usd", "U$D", " US", "EU€", "ÜSD", "US1",
        ] {
            assert_eq!(other.parse::<Currency>(), Err(InvalidCurrency), "{other}");
        }
    }

    #[test]
    fn amounts_of_one_currency_add_up_and_those_of_several_stay_apart() {
        let sums = amounts(&[
            ("USD", 5),
            ("JPY", 7),
            ("USD", 2),
            ("EUR", u64::MAX),
            ("EUR", 1),
        ]);

        assert_eq!(
            sums.as_slice(),
            [amount("EUR", u64::MAX), amount("JPY", 7), amount("USD", 7)]
        );

        assert_eq!(sums.total_cents(), None);
        assert_eq!(amounts(&[("JPY", 7)]).total_cents(), Some(7));
        assert_eq!(Amounts::default().total_cents(), Some(0));
    }

    #[test]
    fn in_json_there_is_one_number_only_where_there_is_one_currency() {
        let json = |of| serde_json::to_string(&amounts(of)).unwrap();
        assert_eq!(
            json(&[("JPY", 7)]),
            r#"{"total_cents":7,"totals":[{"currency":"JPY","minor_units":7}]}"#
        );
        assert_eq!(
            json(&[("USD", 1), ("JPY", 7)]),
            r#"{"total_cents":null,"totals":[{"currency":"JPY","minor_units":7},{"currency":"USD","minor_units":1}]}"#
        );
        assert_eq!(json(&[]), r#"{"total_cents":0,"totals":[]}"#);

        for of in [&[("JPY", 7)][..], &[("USD", 1), ("JPY", 7)], &[]] {
            assert_eq!(read(&json(of)), amounts(of));
        }
    }

    #[test]
    fn amounts_from_before_totals_have_an_unknown_currency() {
        assert_eq!(
            read(r#"{"total_cents":11994}"#),
            amounts(&[("XXX", 11_994)])
        );
        assert_eq!(read(r#"{"total_cents":0}"#), Amounts::default());
        assert!(serde_json::from_str::<Amounts>("{}").is_err());
        assert!(serde_json::from_str::<Amounts>(r#"{"total_cents":null}"#).is_err());
    }

    #[test]
    fn the_higher_amount_of_the_same_currencies_comes_first() {
        let mut ranked = [
            amounts(&[("USD", 1)]),
            amounts(&[("EUR", 1)]),
            amounts(&[("EUR", 1), ("USD", 3)]),
            amounts(&[("EUR", 9)]),
            amounts(&[("USD", 2)]),
        ];
        ranked.sort_by(Amounts::higher_first);

        let expected = [
            amounts(&[("EUR", 9)]),
            amounts(&[("EUR", 1)]),
            amounts(&[("EUR", 1), ("USD", 3)]),
            amounts(&[("USD", 2)]),
            amounts(&[("USD", 1)]),
        ];
        assert_eq!(ranked, expected);
    }
}

//! The client's settings, by the names that librdkafka gives them, so that a deployment can change clients.
//!
//! What this client has no use for is refused by name: a property that was set and does nothing is a mistake.

use std::time::Duration;

use super::wire::{Address, Network, Tcp};

/// Where the cluster is, and how to connect to it.
pub(super) struct Settings {
    pub brokers: Vec<Address>,
    pub network: Box<dyn Network>,
    /// How old a transaction may become before the brokers abort it (`transaction.timeout.ms`).
    pub transaction_timeout: Duration,
}

/// A transaction that a killed publisher left open holds readers back for no longer.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0:?} is no address of a broker; write host:port, several separated by commas")]
    Address(String),
    #[error("the native client has no property {0:?}; leave it out or use --client rdkafka")]
    Unknown(String),
    #[error("the property {name:?} cannot be {value:?}; the native client takes {expected}")]
    Value {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
}

impl Settings {
    pub fn new(brokers: &str, properties: &[(String, String)]) -> Result<Self, Refused> {
        let brokers = brokers
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(address)
            .collect::<Result<Vec<_>, _>>()?;

        if brokers.is_empty() {
            return Err(Refused::Address(String::new()));
        }

        let mut transaction_timeout = TRANSACTION_TIMEOUT;
        for (name, value) in properties {
            match name.as_str() {
                "transaction.timeout.ms" => transaction_timeout = milliseconds(value)?,
                "security.protocol" if value.eq_ignore_ascii_case("plaintext") => {}
                "security.protocol" => {
                    return Err(Refused::Value {
                        name: "security.protocol",
                        value: value.clone(),
                        expected: "plaintext",
                    });
                }
                _ => return Err(Refused::Unknown(name.clone())),
            }
        }

        Ok(Self {
            brokers,
            network: Box::new(Tcp),
            transaction_timeout,
        })
    }
}

/// A time of at least a second: shorter ones end transactions that are only slow.
fn milliseconds(value: &str) -> Result<Duration, Refused> {
    match value.parse() {
        Ok(milliseconds @ 1_000..=2_147_483_647) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Refused::Value {
            name: "transaction.timeout.ms",
            value: value.to_owned(),
            expected: "a number of milliseconds from 1000 to 2147483647",
        }),
    }
}

/// `host:port`, or `[address]:port` for IPv6; the port is 9092 if it is left out, as librdkafka has it.
fn address(text: &str) -> Result<Address, Refused> {
    let refused = || Refused::Address(text.to_owned());
    // librdkafka takes a listener's name in front.
    let text = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(refused)?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };

    let port = match port {
        Some(port) => port.parse().map_err(|_| refused())?,
        None => 9092,
    };

    if host.is_empty() || port == 0 {
        return Err(refused());
    }

    Ok(Address {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::{Refused, Settings, address};

    #[test]
    fn brokers_are_read_as_librdkafka_reads_them() {
        let read = |text| address(text).map(|read| (read.host, read.port)).ok();
        let found = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(read("kafka-1:9094"), found("kafka-1", 9094));
        assert_eq!(read("kafka-1"), found("kafka-1", 9092));
        assert_eq!(read("[::1]:9094"), found("::1", 9094));
        assert_eq!(read("PLAINTEXT://kafka-1:1"), found("kafka-1", 1));

        for wrong in ["", ":9092", "kafka:0", "kafka:port", "kafka:70000", "[::1"] {
            assert!(read(wrong).is_none(), "{wrong}");
        }

        let settings = Settings::new("a:1, b:2,", &[]).ok();
        assert_eq!(settings.map(|settings| settings.brokers.len()), Some(2));
    }

    #[test]
    fn properties_without_effect_are_refused_by_name() {
        let refused = |name: &str, value: &str| {
            let properties = [(name.to_owned(), value.to_owned())];
            Settings::new("a:1", &properties).err()
        };
        assert!(refused("security.protocol", "PLAINTEXT").is_none());

        for name in ["no.such.property", "isolation.level", "fetch.wait.max.ms"] {
            let error = refused(name, "1");
            assert!(matches!(error, Some(Refused::Unknown(named)) if named == name));
        }

        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("transaction.timeout.ms", "999"),
            ("transaction.timeout.ms", "15s"),
        ] {
            assert!(matches!(refused(name, value), Some(Refused::Value { .. })));
        }
    }

    #[test]
    fn the_age_of_transactions_is_a_setting() {
        let age = |properties: &[(String, String)]| {
            let settings = Settings::new("a:1", properties).ok();
            settings.map(|settings| settings.transaction_timeout.as_millis())
        };
        let named = [("transaction.timeout.ms".to_owned(), "2000".to_owned())];
        assert_eq!((age(&[]), age(&named)), (Some(15_000), Some(2_000)));
    }
}

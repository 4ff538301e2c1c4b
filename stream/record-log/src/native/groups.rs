//! Members of consumer groups. They are clients of librdkafka, because this client does not speak the protocol of groups.
//!
//! A member reads no records and stores no positions, so it takes no part in reading or publishing. It is created when
//! a group is joined, and a job joins none.

use crate::{LogError, Membership, kafka};

/// Prefix of the properties that librdkafka does not have: the sources of tokens.
const OWN: &str = "sasl.oauthbearer.token.";

/// The settings from which members are created.
pub(super) struct Groups {
    brokers: String,
    properties: Vec<(String, String)>,
}

/// The reason why a group cannot be joined with these settings.
#[derive(Debug, thiserror::Error)]
#[error(
    "group {group:?} cannot be joined: its members are clients of librdkafka, which have no property {name:?}; log in \
     by SCRAM, PLAIN or a client certificate"
)]
struct NotShared {
    group: String,
    name: String,
}

impl Groups {
    pub fn new(brokers: &str, properties: &[(String, String)]) -> Self {
        Self {
            brokers: brokers.to_owned(),
            properties: properties.to_vec(),
        }
    }

    /// Joins a group.
    ///
    /// # Errors
    /// [`LogError::Settings`] if librdkafka does not accept a property.
    pub fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        if let Some((name, _)) = self
            .properties
            .iter()
            .find(|(name, _)| name.starts_with(OWN))
        {
            return Err(LogError::Settings(Box::new(NotShared {
                group: group.to_owned(),
                name: name.clone(),
            })));
        }
        kafka::join(&self.brokers, &self.properties, group, topic)
    }
}

#[cfg(test)]
mod tests {
    use super::Groups;

    #[test]
    fn a_login_that_members_do_not_have_is_refused_by_name() {
        let property = (
            "sasl.oauthbearer.token.source".to_owned(),
            "google".to_owned(),
        );
        let groups = Groups::new("localhost:1", &[property]);
        let refused = groups.join("followers", "orders").err().unwrap();
        let sentence = refused.to_string();
        for named in ["followers", "sasl.oauthbearer.token.source", "SCRAM"] {
            assert!(sentence.contains(named), "{sentence}");
        }
        assert!(!refused.is_transient());
    }
}

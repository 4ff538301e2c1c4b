//! The banner that is printed at start: a short table of addresses.

use std::fmt;

use chassis::auth::AuthMode;

use crate::addresses::{Listening, Part};
use crate::data_folder::DataFolder;

/// A table with one line for each address.
pub struct Banner {
    addresses: Vec<(Part, String)>,
    operators: Vec<(Part, String)>,
    state: String,
    access: Callers,
}

/// The callers that must authenticate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Callers {
    /// No caller: access is open.
    Open,
    /// Every caller; the settings name an administrator.
    Authenticated,
    /// Every caller; the settings name no administrator.
    AuthenticatedWithoutAdmin,
}

impl Callers {
    /// Returns the meaning of the settings.
    pub fn of(access: AuthMode, names_admin: bool) -> Self {
        match (access, names_admin) {
            (AuthMode::Open, _) => Self::Open,
            (AuthMode::Enforced, true) => Self::Authenticated,
            (AuthMode::Enforced, false) => Self::AuthenticatedWithoutAdmin,
        }
    }
}

impl Banner {
    /// Creates the banner of the whole platform. Without a `folder`, all state is in the stores
    /// that the settings name.
    pub fn new(listening: &[&Listening], folder: Option<&DataFolder>, access: Callers) -> Self {
        let addresses = listening
            .iter()
            .map(|bound| (bound.part, bound.url()))
            .collect();

        let operators = listening
            .iter()
            .filter_map(|bound| Some((bound.part, bound.operator_url()?)))
            .collect();

        let state = match folder {
            Some(folder) if folder.is_ephemeral() => {
                format!("{} (removed at the end)", folder.path().display())
            }
            Some(folder) => folder.path().display().to_string(),
            None => "in the stores you named".to_owned(),
        };

        Self {
            addresses,
            operators,
            state,
            access,
        }
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  Tidemark is up.\n")?;
        for (part, url) in &self.addresses {
            writeln!(f, "  {:<16}{:<30}{}", part.name(), url, content_of(*part))?;
        }

        writeln!(f, "\n  For operators, /health and /metrics:\n")?;
        for (part, url) in &self.operators {
            writeln!(f, "  {:<20}{}", format!("of {}", part.name()), url)?;
        }
        writeln!(f, "\n  {:<16}{}", "state", self.state)?;
        writeln!(f, "  {:<16}{}", "access", access_of(self.access))?;

        writeln!(f, "  {:<16}Ctrl-C\n", "stop")
    }
}

fn access_of(access: Callers) -> &'static str {
    match access {
        Callers::Open => {
            "open: anyone who can connect may do everything (--auth enforced makes callers authenticate)"
        }
        Callers::Authenticated => "enforced: callers must authenticate",
        Callers::AuthenticatedWithoutAdmin => {
            "enforced: callers must authenticate. The settings name no administrator: unless an earlier start had one, \
             no account can change the catalogue (--users-admin-email and --users-admin-password name one)"
        }
    }
}

fn content_of(part: Part) -> &'static str {
    match part {
        Part::Gateway => "storefront, and /api for all services",
        Part::Users => "accounts",
        Part::Products => "the catalogue",
        Part::Orders => "orders, relayed to the topic `orders`",
        Part::Notifications => "messages to customers",
        Part::Analytics => "counts per user and minute",
        Part::StreamJob => "status and metrics of the stream job",
        Part::Files => "uploads, and the findings in them",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_states_whether_callers_must_authenticate() {
        let said = |access| Banner::new(&[], None, access).to_string();
        assert!(said(Callers::Open).contains("anyone who can connect may do everything"));
        assert!(said(Callers::Authenticated).contains("callers must authenticate\n"));
    }

    #[test]
    fn it_names_the_settings_of_a_missing_administrator() {
        let access = Callers::of(AuthMode::Enforced, false);
        let said = Banner::new(&[], None, access).to_string();
        assert!(said.contains("--users-admin-email"), "{said}");

        assert_eq!(
            Callers::of(AuthMode::Enforced, true),
            Callers::Authenticated
        );
        assert_eq!(Callers::of(AuthMode::Open, true), Callers::Open);
        assert_eq!(Callers::of(AuthMode::Open, false), Callers::Open);
    }
}

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
    access: Asked,
}

/// The callers that must authenticate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
    /// No caller.
    Nobody,
    /// Every caller; the settings name an administrator.
    Everybody,
    /// Every caller; the settings name no administrator.
    EverybodyWithoutAdmin,
}

impl Asked {
    /// Returns the meaning of the settings.
    pub fn of(access: AuthMode, names_admin: bool) -> Self {
        match (access, names_admin) {
            (AuthMode::Open, _) => Self::Nobody,
            (AuthMode::Enforced, true) => Self::Everybody,
            (AuthMode::Enforced, false) => Self::EverybodyWithoutAdmin,
        }
    }
}

impl Banner {
    /// Creates the banner of the whole platform. Without a `folder`, all state is in the stores
    /// that the settings name.
    pub fn new(listening: &[Listening], folder: Option<&DataFolder>, access: Asked) -> Self {
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
            writeln!(
                f,
                "  {:<16}{:<30}{}",
                part.name(),
                url,
                what_is_there(*part)
            )?;
        }

        writeln!(f, "\n  For those who run it, /health and /metrics:\n")?;
        for (part, url) in &self.operators {
            writeln!(f, "  {:<20}{}", format!("of {}", part.name()), url)?;
        }
        writeln!(f, "\n  {:<16}{}", "state", self.state)?;
        writeln!(f, "  {:<16}{}", "access", who_is_asked(self.access))?;

        writeln!(f, "  {:<16}Ctrl-C\n", "stop")
    }
}

fn who_is_asked(access: Asked) -> &'static str {
    match access {
        Asked::Nobody => {
            "open: anyone who can connect may do everything (--auth enforced makes callers authenticate)"
        }
        Asked::Everybody => "enforced: callers show who they are",
        Asked::EverybodyWithoutAdmin => {
            "enforced: callers show who they are. This start names no administrator: without one from an earlier start \
             nobody can change the catalogue (--users-admin-email and --users-admin-password name one)"
        }
    }
}

fn what_is_there(part: Part) -> &'static str {
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
    fn it_says_whether_callers_are_asked_who_they_are() {
        let said = |access| Banner::new(&[], None, access).to_string();
        assert!(said(Asked::Nobody).contains("anyone who can connect may do everything"));
        assert!(said(Asked::Everybody).contains("callers show who they are\n"));
    }

    #[test]
    fn it_says_how_a_shop_without_an_administrator_gets_one() {
        let access = Asked::of(AuthMode::Enforced, false);
        let said = Banner::new(&[], None, access).to_string();
        assert!(said.contains("--users-admin-email"), "{said}");

        assert_eq!(Asked::of(AuthMode::Enforced, true), Asked::Everybody);
        assert_eq!(Asked::of(AuthMode::Open, true), Asked::Nobody);
        assert_eq!(Asked::of(AuthMode::Open, false), Asked::Nobody);
    }
}

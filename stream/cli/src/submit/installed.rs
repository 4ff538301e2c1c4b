//! A job as it is installed on a machine: the content of its record.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::terminal::Terminal;
use super::variables::Variables;

/// A job as it is installed on a machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Installed {
    /// The hash of the program.
    pub release: String,
    /// The number of its processes.
    pub processes: u16,
    pub variables: Variables,
    #[serde(default)]
    pub terminal: Terminal,
}

impl Installed {
    /// Returns the job with the surroundings of a terminal, unless it has some: a record of an earlier version has none.
    pub fn in_terminal(
        mut self,
        folder: PathBuf,
        set: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        if self.terminal == Terminal::default() {
            self.terminal = Terminal::of(folder, set, &[], &mut self.variables);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_surroundings_gets_those_of_the_terminal() {
        let old = r#"{"release": "r", "processes": 1, "variables": {}}"#;
        let old: Installed = serde_json::from_str(old).unwrap();
        let set = [("HOME", "/home/shop"), ("https_proxy", "http://proxy")];
        let set = set.map(|(name, value)| (name.into(), value.into()));
        let filled = old.in_terminal(PathBuf::from("/shop"), set);
        assert_eq!(filled.variables.get("HOME"), Some("/home/shop"));
        assert!(filled.terminal.inherited.contains("https_proxy"));

        let again = filled.clone().in_terminal(PathBuf::from("/other"), []);
        assert_eq!(again, filled);
    }
}

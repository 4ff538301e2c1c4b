//! The variables that set a job up, as the command line and the environment have them.

use std::collections::BTreeMap;
use std::fmt;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::{Deserialize, Serialize};

/// Variables by name. Those that hold secrets are not shown.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Variables(BTreeMap<String, String>);

/// Variables whose values are not shown.
const SECRET: [&str; 2] = ["TIDEMARK_PROPERTIES", "TIDEMARK_CLUSTER_SECRET"];

impl Variables {
    /// Returns the variables of all settings that a flag or a variable sets. Defaults are left to
    /// the program.
    pub fn of(command: &clap::Command, matches: &ArgMatches) -> Self {
        let is_set = |id: &str| {
            let source = matches.value_source(id);
            matches!(
                source,
                Some(ValueSource::CommandLine | ValueSource::EnvVariable)
            )
        };

        let set = command.get_arguments().filter_map(|argument| {
            let name = argument.get_env()?.to_str()?.to_owned();
            let id = argument.get_id().as_str();
            // The place of a submission is not a setting of the job.
            if !is_set(id) || name.starts_with("CLOUDSDK_") {
                return None;
            }

            let values = matches.get_raw(id)?;
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            let delimiter = argument.get_value_delimiter().unwrap_or(',');
            Some((name, values.join(&delimiter.to_string())))
        });

        Self(set.collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Sets a variable that is not set.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        self.0
            .entry(name.to_owned())
            .or_insert_with(|| value.into());
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Removes the variables that hold secrets, and returns them.
    pub fn take_secrets(&mut self) -> Self {
        let taken = SECRET.iter().filter_map(|name| self.0.remove_entry(*name));
        Self(taken.collect())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter();
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Display for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.iter() {
            let shown = if SECRET.contains(&name) {
                "(not shown)"
            } else {
                value
            };
            writeln!(formatter, "{name}={shown}")?;
        }

        Ok(())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

//! The surroundings that a job on this machine gets from the terminal of its submission: a folder, and a few variables.
//!
//! Values that are no secrets are recorded with the job's settings, so that a later start from another terminal has the same.
//! Secrets are recorded by name alone: each start reads them from its own terminal. All other variables stay behind.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::variables::Variables;

/// Variables whose values are recorded.
const RECORDED: [&str; 21] = [
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "CLOUDSDK_CONFIG",
    "GCE_METADATA_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "RUST_BACKTRACE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
];
/// The beginnings of names whose values may be secrets: settings of the object stores and of logins.
const SECRET_PREFIXES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
/// Variables in lower or upper case whose values may contain a password.
const PROXIES: [&str; 4] = ["ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// The surroundings of a job's processes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terminal {
    /// The working folder, which relative paths of settings begin at.
    pub folder: PathBuf,
    /// The names of the variables that each start reads from its own terminal.
    pub inherited: BTreeSet<String>,
}

impl Terminal {
    /// Returns the surroundings that a job gets from a terminal in this folder with these variables. `passed` are the names of
    /// further variables that it gets. Adds the values that are recorded to `recorded`.
    pub fn of(
        folder: PathBuf,
        set: impl IntoIterator<Item = (OsString, OsString)>,
        passed: &[String],
        recorded: &mut Variables,
    ) -> Self {
        let mut inherited = BTreeSet::from_iter(passed.iter().cloned());
        for (name, value) in set {
            // A variable that is not text is none of these.
            let Ok(name) = name.into_string() else {
                continue;
            };

            match value.to_str() {
                _ if inherited.contains(&name) => {}
                Some(value) if RECORDED.contains(&&*name) => recorded.set_default(&name, value),
                _ if is_inherited(&name) => {
                    inherited.insert(name);
                }
                _ => {}
            }
        }

        Self { folder, inherited }
    }

    /// Returns the reason why a terminal with these variables cannot start the job, if there is one.
    pub fn missing(&self, is_set: impl Fn(&str) -> bool) -> Option<String> {
        let names = self.inherited.iter().map(String::as_str);
        let missing: Vec<&str> = names.filter(|name| !is_set(name)).collect();
        if !missing.is_empty() {
            let names = missing.join(", ");
            return Some(format!(
                "the job was submitted with {names} from the terminal, and this terminal does not set that: set it here, or \
                 `cancel local` and submit the job again without it"
            ));
        }

        let folder = &self.folder;
        let is_gone = !folder.as_os_str().is_empty() && !folder.is_dir();
        is_gone.then(|| {
            format!(
                "the job was submitted in {0}, which is not there: create it, or `cancel local` and submit the job again in \
                 another folder",
                folder.display()
            )
        })
    }
}

fn is_inherited(name: &str) -> bool {
    SECRET_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Vec<(OsString, OsString)> {
        let all = [
            ("AWS_REGION", "eu-central-1"),
            ("AWS_SECRET_ACCESS_KEY", "open sesame"),
            ("EDITOR", "vi"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/keys/job.json"),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", "open sesame"),
            ("HOME", "/home/shop"),
            ("SHOP_KEY", "open sesame"),
            ("SSH_AUTH_SOCK", "/tmp/agent"),
            ("TIDEMARK_WORKERS", "7"),
            ("https_proxy", "http://shop:sesame@proxy"),
        ];
        all.map(|(name, value)| (name.into(), value.into())).into()
    }

    #[test]
    fn secrets_are_recorded_by_name_and_the_rest_stays_behind() {
        let mut recorded = Variables::default();
        let passed = ["SHOP_KEY".to_owned()];
        let terminal = Terminal::of(PathBuf::from("/shop"), set(), &passed, &mut recorded);

        let inherited: Vec<&str> = terminal.inherited.iter().map(String::as_str).collect();
        let secrets = [
            "AWS_SECRET_ACCESS_KEY",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "SHOP_KEY",
            "https_proxy",
        ];
        assert_eq!(inherited, secrets);

        let kept: Vec<(&str, &str)> = recorded.iter().collect();
        let values = [
            ("AWS_REGION", "eu-central-1"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/keys/job.json"),
            ("HOME", "/home/shop"),
        ];
        assert_eq!(kept, values);
    }

    #[test]
    fn a_variable_or_a_folder_that_is_missing_is_named() {
        let mut recorded = Variables::default();
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("shop");
        let terminal = Terminal::of(folder.clone(), set(), &[], &mut recorded);

        let said = terminal.missing(|name| name != "https_proxy").unwrap();
        assert!(
            said.contains("with https_proxy from the terminal"),
            "{said}"
        );

        let said = terminal.missing(|_| true).unwrap();
        assert!(said.contains(&folder.display().to_string()), "{said}");

        std::fs::create_dir(folder).unwrap();
        assert_eq!(terminal.missing(|_| true), None);
    }
}

//! The settings of this service.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chassis::auth::Secret;
use url::Url;

/// The behaviour of the service. Its addresses and stores are passed to [`crate::run`].
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Config {
    /// Time for which notifications are kept, such as `30d`. An event that is delivered again after
    /// that creates another notification.
    #[arg(long, env = "TIDEMARK_NOTIFICATIONS_RETENTION", default_value = "30d",
          value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub notifications_retention: Duration,
    /// Base address of the users service, which returns the addresses of the users.
    #[arg(
        id = "notifications-users-url",
        long = "notifications-users-url",
        env = "TIDEMARK_USERS_URL",
        default_value = "http://127.0.0.1:5001",
        value_name = "URL"
    )]
    pub users_url: String,
    /// Mail server: `smtps://host` (TLS), `smtp://host?tls=required` (STARTTLS), `smtp://host`
    /// (unencrypted, for a local relay) [default: none, messages go to the simulated mailbox].
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_EMAIL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub notifications_email: Option<Secret>,
    /// Sender of the e-mails.
    #[arg(long, env = "TIDEMARK_NOTIFICATIONS_EMAIL_FROM", default_value = DEFAULT_FROM, value_name = "MAILBOX")]
    pub notifications_email_from: String,
    /// User at the mail server [default: none, no login].
    #[arg(long, env = "TIDEMARK_NOTIFICATIONS_EMAIL_USER", value_name = "NAME")]
    pub notifications_email_user: Option<String>,
    /// The user's password; preferably set by the variable or in a file.
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_EMAIL_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    pub notifications_email_password: Option<Secret>,
    /// File that holds the user's password.
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_EMAIL_PASSWORD_FILE",
        value_name = "FILE",
        conflicts_with = "notifications_email_password"
    )]
    pub notifications_email_password_file: Option<PathBuf>,
    /// File with the PEM certificate of an authority to trust for the mail server, in addition to
    /// those of the system.
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_EMAIL_AUTHORITY",
        value_name = "FILE"
    )]
    pub notifications_email_authority: Option<PathBuf>,
    /// SMS gateway that accepts `{"id","to","text"}`. It is used if no mail server is named [default:
    /// none].
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_SMS",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub notifications_sms: Option<Secret>,
    /// Bearer token for the SMS gateway; preferably set by the variable or in a file.
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_SMS_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub notifications_sms_token: Option<Secret>,
    /// File that holds the bearer token.
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_SMS_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "notifications_sms_token"
    )]
    pub notifications_sms_token_file: Option<PathBuf>,
    /// Number of attempts to send a message, over one to some hours, before it goes to the dead
    /// letters.
    #[arg(long, env = "TIDEMARK_NOTIFICATIONS_ATTEMPTS", default_value_t = DEFAULT_ATTEMPTS,
          value_parser = clap::value_parser!(u32).range(1..), value_name = "COUNT")]
    pub notifications_attempts: u32,
}

const DEFAULT_FROM: &str = "Tidemark <orders@tidemark.example>";
const DEFAULT_ATTEMPTS: u32 = 12;

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL is invalid or of the wrong kind.
    #[error("{flag} is not a URL that can be used: {reason}")]
    Url {
        /// The setting.
        flag: &'static str,
        /// The problem with it.
        reason: String,
    },
    /// The sender is no valid mailbox.
    #[error("--notifications-email-from is not a mailbox: {0}")]
    From(#[from] lettre::address::AddressError),
    /// Only one of user and password is given.
    #[error("--notifications-email-user and its password are needed together: set both or neither")]
    HalfALogin,
    /// A password or token would be sent unencrypted.
    #[error("{flag} would send a secret in the clear: choose an address with TLS")]
    InTheClear {
        /// The setting.
        flag: &'static str,
    },
    /// A file that a setting names cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file with the certificate of the authority is invalid.
    #[error("--notifications-email-authority cannot be used: {0}")]
    Authority(#[source] lettre::transport::smtp::Error),
    /// The HTTP client could not be created.
    #[error("no HTTP client can be created: {0}")]
    Client(#[from] reqwest::Error),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            notifications_retention: Duration::from_secs(30 * 24 * 3600),
            users_url: "http://127.0.0.1:5001".to_owned(),
            notifications_email: None,
            notifications_email_from: DEFAULT_FROM.to_owned(),
            notifications_email_user: None,
            notifications_email_password: None,
            notifications_email_password_file: None,
            notifications_email_authority: None,
            notifications_sms: None,
            notifications_sms_token: None,
            notifications_sms_token_file: None,
            notifications_attempts: DEFAULT_ATTEMPTS,
        }
    }
}

/// Returns the secret itself, or the content of its file.
pub(crate) fn secret(
    value: Option<&Secret>,
    file: Option<&PathBuf>,
) -> Result<Option<String>, SettingsError> {
    match file {
        Some(path) => {
            let text = read(path)?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        None => Ok(value.map(|secret| secret.expose().to_owned())),
    }
}

/// Reads a file that a setting names.
pub(crate) fn read(path: &Path) -> Result<String, SettingsError> {
    fs::read_to_string(path).map_err(|source| SettingsError::File {
        path: path.to_owned(),
        source,
    })
}

/// Returns whether data sent to this URL is protected from the network: it is encrypted, or stays
/// on this machine.
pub(crate) fn keeps_secrets(url: &Url) -> bool {
    let is_encrypted = ["smtps", "https"].contains(&url.scheme())
        || url
            .query_pairs()
            .any(|(name, value)| name == "tls" && value == "required");
    is_encrypted || url.host_str().is_some_and(is_here)
}

fn is_here(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_where_they_are_encrypted_or_stay_here() {
        let keeps = |url: &str| keeps_secrets(&url.parse().unwrap());
        for url in [
            "smtps://mail.test",
            "smtp://mail.test?tls=required",
            "https://sms.test/send",
            "smtp://127.0.0.1:25",
        ] {
            assert!(keeps(url), "{url}");
        }

        for url in [
            "smtp://mail.test",
            "smtp://mail.test?tls=opportunistic",
            "http://sms.test",
            "http://10.0.0.1",
        ] {
            assert!(!keeps(url), "{url}");
        }

        assert!(keeps("http://[::1]:9/") && keeps("http://localhost:9/"));
    }

    #[test]
    fn a_secret_in_a_file_is_read_without_the_end_of_its_line() {
        let path = std::env::temp_dir().join(format!("tidemark-secret-{}", uuid::Uuid::new_v4()));
        fs::write(&path, "pass word\n").unwrap();
        assert_eq!(
            secret(None, Some(&path)).unwrap().as_deref(),
            Some("pass word")
        );

        fs::remove_file(&path).unwrap();
        assert!(matches!(
            secret(None, Some(&path)),
            Err(SettingsError::File { .. })
        ));

        assert_eq!(
            secret("here".parse().ok().as_ref(), None)
                .unwrap()
                .as_deref(),
            Some("here")
        );
    }
}

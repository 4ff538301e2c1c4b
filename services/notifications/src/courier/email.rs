//! E-mail by SMTP.
//!
//! The `Message-ID` contains the event's id, so that mailboxes which remove duplicates remove a
//! second copy. With SMTP, the outcome of a message whose reply was lost is unknown (RFC 5321,
//! section 4.5.3.2.6).
//!
//! Each message has a connection of its own. A pool would reuse a connection on which a message was
//! cut off, and the next message would receive the replies to that one.

use std::time::Duration;

use futures::future::BoxFuture;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use url::Url;

use super::{Courier, Letter};
use crate::config::{Config, SettingsError, keeps_secrets, read, secret};
use crate::notification::{Channel, Refusal};
use crate::recipient::Recipient;

const FLAG: &str = "--notifications-email";
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Replies that concern the client and not the message, such as requests to log in or encrypt (RFC
/// 4954, section 6).
const ABOUT_US: std::ops::Range<u16> = 530..540;

/// A mail server, with the sender's mailbox.
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Email {
    /// Creates a courier for the mail server at `url`.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(url: &str, config: &Config) -> Result<Self, SettingsError> {
        let parsed: Url = url.parse().map_err(|error| unusable(&error))?;
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .map_err(|error| unusable(&error))?;
        let builder = builder.timeout(Some(CONNECT_LIMIT));

        let builder = match tls(&parsed, config)? {
            Some(tls) => builder.tls(tls),
            None => builder,
        };

        let password = secret(
            config.notifications_email_password.as_ref(),
            config.notifications_email_password_file.as_ref(),
        )?;
        let is_secret = password.is_some() || parsed.password().is_some();

        if is_secret && !keeps_secrets(&parsed) {
            return Err(SettingsError::InTheClear { flag: FLAG });
        }

        let builder = match (&config.notifications_email_user, password) {
            (Some(user), Some(password)) => {
                builder.credentials(Credentials::new(user.clone(), password))
            }
            (None, None) => builder,
            _ => return Err(SettingsError::HalfALogin),
        };

        Ok(Self {
            transport: builder.build(),
            from: config.notifications_email_from.parse()?,
        })
    }

    fn compose(&self, letter: Letter<'_>) -> Result<Message, Refusal> {
        let to: Address = letter
            .to
            .parse()
            .map_err(|error| Refusal::Never(format!("the address: {error}")))?;

        let message = letter.message;
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .message_id(Some(format!(
                "<{}@{}>",
                letter.id,
                self.from.email.domain()
            )))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&message.subject)
            // Prevents automatic replies, such as vacation notices (RFC 3834, section 5).
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(
                message.text.clone(),
                message.html.clone(),
            ))
            .map_err(|error| Refusal::Never(format!("the message cannot be composed: {error}")))
    }
}

impl Courier for Email {
    fn channel(&self) -> Channel {
        Channel::Email
    }

    fn address<'a>(&self, recipient: &'a Recipient) -> Option<&'a str> {
        recipient.email.as_deref()
    }

    fn carry<'a>(&'a self, letter: Letter<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let message = self.compose(letter)?;
            self.transport
                .send(message)
                .await
                .map(drop)
                .map_err(|error| refusal(&error))
        })
    }
}

/// Returns the TLS parameters with the authority that the settings name. Returns `None` if they
/// name none or the URL does not use TLS.
fn tls(url: &Url, config: &Config) -> Result<Option<Tls>, SettingsError> {
    let (Some(path), Some(host)) = (&config.notifications_email_authority, url.host_str()) else {
        return Ok(None);
    };

    let authority =
        Certificate::from_pem(read(path)?.as_bytes()).map_err(SettingsError::Authority)?;
    let trusting = TlsParameters::builder(host.to_owned())
        .add_root_certificate(authority)
        .build();
    let trusting = trusting.map_err(SettingsError::Authority)?;

    let asked = url
        .query_pairs()
        .find(|(name, _)| name == "tls")
        .map(|(_, value)| value.into_owned());

    Ok(match (url.scheme(), asked.as_deref()) {
        ("smtps", _) => Some(Tls::Wrapper(trusting)),
        (_, Some("required")) => Some(Tls::Required(trusting)),
        (_, Some("opportunistic")) => Some(Tls::Opportunistic(trusting)),
        _ => None,
    })
}

fn refusal(error: &smtp::Error) -> Refusal {
    let said = format!("the mail server: {error}");
    match error.status().map(u16::from) {
        Some(code) if error.is_permanent() && !ABOUT_US.contains(&code) => Refusal::Never(said),
        _ => Refusal::NotNow(said),
    }
}

fn unusable(error: &dyn std::fmt::Display) -> SettingsError {
    SettingsError::Url {
        flag: FLAG,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(url: &str, config: &Config) -> Result<Email, SettingsError> {
        Email::new(url, config)
    }

    #[test]
    fn addresses_that_are_no_mail_server_are_refused() {
        for url in [
            "mail.test",
            "http://mail.test",
            "smtp://mail.test?tls=maybe",
            "smtp://",
        ] {
            assert!(
                matches!(
                    email(url, &Config::default()),
                    Err(SettingsError::Url { .. })
                ),
                "{url}"
            );
        }

        assert!(email("smtp://mail.test:2525", &Config::default()).is_ok());
        let config = Config {
            notifications_email_from: "nobody".to_owned(),
            ..Config::default()
        };

        assert!(matches!(
            email("smtp://mail.test", &config),
            Err(SettingsError::From(_))
        ));
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear() {
        let config = Config {
            notifications_email_user: Some("shop".to_owned()),
            notifications_email_password: "hush".parse().ok(),
            ..Config::default()
        };
        let refused = email("smtp://mail.test", &config).err().unwrap();

        assert!(
            matches!(refused, SettingsError::InTheClear { .. })
                && !refused.to_string().contains("hush")
        );

        assert!(email("smtp://shop:hush@mail.test", &Config::default()).is_err());
        let half = Config {
            notifications_email_user: None,
            ..config.clone()
        };

        assert!(matches!(
            email("smtps://mail.test", &half),
            Err(SettingsError::HalfALogin)
        ));

        assert!(!format!("{config:?}").contains("hush"));
        assert!(
            email("smtps://mail.test", &config).is_ok()
                && email("smtp://127.0.0.1:25", &config).is_ok()
        );
    }
}

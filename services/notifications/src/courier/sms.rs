//! Text messages by an HTTP gateway: a POST of `{"id","to","text"}`. The event's id is also sent as
//! `Idempotency-Key`, so that a gateway which supports that header sends no second copy.

use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use url::Url;
use uuid::Uuid;

use super::{Courier, Letter};
use crate::config::{Config, SettingsError, keeps_secrets, secret};
use crate::notification::{Channel, Refusal};
use crate::recipient::Recipient;

const FLAG: &str = "--notifications-sms";
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const CALL_LIMIT: Duration = Duration::from_secs(8);

/// An SMS gateway.
pub struct Sms {
    client: Client,
    url: Url,
    token: Option<String>,
}

#[derive(Serialize)]
struct Request<'a> {
    id: Uuid,
    to: &'a str,
    text: &'a str,
}

impl Sms {
    /// Creates a courier for the gateway at `url`.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(url: &str, config: &Config) -> Result<Self, SettingsError> {
        let unusable = |reason: String| SettingsError::Url { flag: FLAG, reason };
        let url: Url = url
            .parse()
            .map_err(|error: url::ParseError| unusable(error.to_string()))?;

        if !["http", "https"].contains(&url.scheme()) {
            return Err(unusable("it is neither http nor https".to_owned()));
        }

        let token = secret(
            config.notifications_sms_token.as_ref(),
            config.notifications_sms_token_file.as_ref(),
        )?;

        if token.is_some() && !keeps_secrets(&url) {
            return Err(SettingsError::InTheClear { flag: FLAG });
        }

        // Redirects are not followed: the settings do not name their target, and it would receive
        // the token.
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT)
            .redirect(Policy::none())
            .no_proxy();

        Ok(Self {
            client: client.build()?,
            url,
            token,
        })
    }
}

impl Courier for Sms {
    fn channel(&self) -> Channel {
        Channel::Sms
    }

    fn address<'a>(&self, recipient: &'a Recipient) -> Option<&'a str> {
        recipient.phone.as_deref()
    }

    fn carry<'a>(&'a self, letter: Letter<'a>) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let body = Request {
                id: letter.id,
                to: letter.to,
                text: &letter.message.short,
            };

            let request = self
                .client
                .post(self.url.clone())
                .header("idempotency-key", letter.id.to_string());

            let request = match &self.token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let reply = request.json(&body).send().await;
            let reply = reply.map_err(|error| {
                Refusal::NotNow(format!("the SMS gateway: {}", error.without_url()))
            })?;

            verdict(reply.status())
        })
    }
}

/// Maps a status to a result. Only a rejection of the message itself is permanent; authentication
/// errors, overload and other statuses are retried.
fn verdict(status: StatusCode) -> Result<(), Refusal> {
    let said = format!("the SMS gateway answered {status}");
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(Refusal::Never(said)),
        _ => Err(Refusal::NotNow(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_message_is_for_good() {
        let is_final = |code| {
            matches!(
                verdict(StatusCode::from_u16(code).unwrap()),
                Err(Refusal::Never(_))
            )
        };
        assert!([400, 422].iter().all(|code| is_final(*code)));

        assert!(
            [301, 401, 403, 404, 408, 429, 500, 503]
                .iter()
                .all(|code| !is_final(*code))
        );

        assert!(
            [200, 202, 204]
                .iter()
                .all(|code| verdict(StatusCode::from_u16(*code).unwrap()).is_ok())
        );
    }

    #[test]
    fn a_token_is_not_sent_in_the_clear_and_other_addresses_are_refused() {
        let config = Config {
            notifications_sms_token: "hush".parse().ok(),
            ..Config::default()
        };

        assert!(matches!(
            Sms::new("http://sms.test/send", &config),
            Err(SettingsError::InTheClear { .. })
        ));

        assert!(Sms::new("https://sms.test/send", &config).is_ok());
        assert!(matches!(
            Sms::new("ftp://sms.test", &config),
            Err(SettingsError::Url { .. })
        ));
    }
}

//! Logging in on a connection (KIP-43, KIP-152): when it opens, and again before its session expires (KIP-368).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Connection, WireError};
use crate::native::api::{Code, SASL_AUTHENTICATE, SASL_HANDSHAKE};
use crate::native::codec::{Input, Malformed, Output};
use crate::native::login::{Login, MOST_MESSAGES};
use crate::native::network::Denied;

/// The percentage of a session's life after which the next request logs in first.
const RENEWED_AFTER_PERCENT: u32 = 85;
/// The least life of a session. Brokers refuse a login within a second of the previous one on a connection.
const LEAST_LIFE: Duration = Duration::from_millis(1_100);

/// A broker's answer to a message of the exchange.
pub(super) struct Authenticated {
    code: Code,
    reason: Option<String>,
    message: Vec<u8>,
    /// None if the session does not expire.
    life: Option<Duration>,
}

impl Connection {
    /// Logs in if the settings require it.
    pub(super) fn log_in(&mut self) -> Result<(), WireError> {
        let access = Arc::clone(&self.access);
        let Some(login) = &access.login else {
            return Ok(());
        };

        // The requests of the exchange must not begin another exchange.
        self.renewed_at = None;
        let begun_at = access.runtime.now();
        self.agree_on_mechanism(login)?;
        let life = self.exchange(login)?;

        self.renewed_at = life.map(|life| {
            let life = life * RENEWED_AFTER_PERCENT / 100;
            begun_at + life.max(LEAST_LIFE)
        });
        Ok(())
    }

    /// Returns `true` if the next request logs in first. All open answers must have been read by then.
    pub fn must_renew(&self) -> bool {
        let now = || self.access.runtime.now();
        self.renewed_at.is_some_and(|at| now() >= at)
    }

    /// Logs in again if the session is about to expire.
    pub(super) fn renew_session(&mut self) -> Result<(), WireError> {
        if self.must_renew() && self.open.is_empty() {
            return self.log_in();
        }
        Ok(())
    }

    fn agree_on_mechanism(&mut self, login: &Login) -> Result<(), WireError> {
        let mechanism = login.mechanism();
        let (code, offered) = self.offer(mechanism.name())?;

        match code {
            Code::NONE => Ok(()),
            Code::UNSUPPORTED_SASL_MECHANISM => Err(self.denied(format!(
                "does not offer the SASL mechanism {mechanism}, but {}: set sasl.mechanism to what it offers, or enable \
                 {mechanism} in the broker's sasl.enabled.mechanisms",
                listed(&offered)
            ))),
            Code::ILLEGAL_SASL_STATE => Err(self.denied(
                "accepts no login on this listener: set security.protocol without sasl_, or use the port of a listener \
                 with SASL"
                    .to_owned(),
            )),
            code => Err(self.refused(SASL_HANDSHAKE, mechanism.name(), code)),
        }
    }

    /// Proposes a mechanism. Returns the broker's answer and the mechanisms that it has.
    fn offer(&mut self, mechanism: &str) -> Result<(Code, Vec<String>), WireError> {
        let limit = self.access.request_limit;
        let ask = |output: &mut Output<'_>| {
            // The names of mechanisms are short.
            output.i16(mechanism.len() as i16);
            output.raw(mechanism.as_bytes());
        };
        self.call(SASL_HANDSHAKE, limit, ask, read_offered)
    }

    /// Performs the exchange. Returns the life of the session; none if it does not expire.
    fn exchange(&mut self, login: &Login) -> Result<Option<Duration>, WireError> {
        let begun = login.begin();
        let (mut exchange, mut message) = begun.map_err(|error| match error.is_passing() {
            true => WireError::Connect {
                broker: self.broker.clone(),
                source: io::Error::other(error),
            },
            false => self.denied(error.to_string()),
        })?;

        let limit = self.access.request_limit;
        for _ in 0..MOST_MESSAGES {
            let ask = |output: &mut Output<'_>| {
                output.bytes(&message);
                output.no_tags();
            };
            let answered = self.call(SASL_AUTHENTICATE, limit, ask, Authenticated::read)?;

            match answered.code {
                Code::NONE => {}
                Code::SASL_AUTHENTICATION_FAILED => {
                    return Err(self.denied(failed(login, &answered, exchange.complaint())));
                }
                code => return Err(self.refused(SASL_AUTHENTICATE, login.remedy(), code)),
            }

            let step = exchange.step(&answered.message);
            match step.map_err(|error| self.denied(error.to_string()))? {
                Some(next) => message = next,
                None => return Ok(answered.life),
            }
        }

        let mechanism = login.mechanism();
        Err(self.denied(format!("requests more messages than {mechanism} has")))
    }

    /// Returns a denial if the listener demands a login that the settings do not have. The connection must be new.
    pub(super) fn demand(&mut self) -> Option<Denied> {
        let (code, offered) = self.offer("PLAIN").ok()?;
        let is_demanded = matches!(code, Code::NONE | Code::UNSUPPORTED_SASL_MECHANISM);
        is_demanded.then(|| {
            Denied(format!(
                "demands a login by {}, and security.protocol is set to go without: set security.protocol to \
                 sasl_plaintext or sasl_ssl, and sasl.mechanism",
                listed(&offered)
            ))
        })
    }

    fn denied(&self, reason: String) -> WireError {
        WireError::Denied {
            broker: self.broker.clone(),
            reason: Denied(reason),
        }
    }
}

fn failed(login: &Login, answered: &Authenticated, complaint: Option<&str>) -> String {
    let reason = answered.reason.as_deref().unwrap_or("without a reason");
    let complaint = complaint.map_or(String::new(), |complaint| format!(", {complaint}"));
    format!(
        "refuses the login by {} ({reason}{complaint}) of {}",
        login.mechanism(),
        login.remedy()
    )
}

fn listed(offered: &[String]) -> String {
    if offered.is_empty() {
        return "none".to_owned();
    }
    offered.join(", ")
}

/// Reads the answer to SaslHandshake. It has its old form: lengths are of fixed width.
pub(super) fn read_offered(input: &mut Input<'_>) -> Result<(Code, Vec<String>), Malformed> {
    let code = Code(input.i16()?);
    let mut offered = Vec::new();
    for _ in 0..input.i32()? {
        let length = usize::try_from(input.i16()?);
        let length = length.map_err(|_| Malformed("a string has a negative length"))?;
        let name = std::str::from_utf8(input.take(length)?);
        let name = name.map_err(|_| Malformed("a string is not UTF-8"))?;
        offered.push(name.to_owned());
    }

    Ok((code, offered))
}

impl Authenticated {
    pub(super) fn read(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let code = Code(input.i16()?);
        let reason = input.nullable_string()?.map(str::to_owned);
        let message = input.nullable_bytes()?.unwrap_or_default().to_vec();
        let life_ms = input.i64()?;
        input.skip_tags()?;

        let life_ms = u64::try_from(life_ms).ok().filter(|life_ms| *life_ms > 0);
        Ok(Self {
            code,
            reason,
            message,
            life: life_ms.map(Duration::from_millis),
        })
    }
}

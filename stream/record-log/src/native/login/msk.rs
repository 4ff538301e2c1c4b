//! Tokens for Amazon MSK: signed URLs in the form of AWS's own signers for SASL.
//!
//! A broker accepts a pre-signed request ([SigV4]) for the action `kafka-cluster:Connect` as a bearer token, which IAM
//! verifies:
//!
//! ```text
//! base64url(https://kafka.REGION.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-…=…&User-Agent=…)
//! ```
//!
//! The credentials come from AWS's default chain, by AWS's own library: environment, profile files, web identity,
//! container, instance metadata. Temporary credentials are kept until shortly before they expire, so that many
//! connections that log in at once do not each request them. Others are looked up for each token, so that a change of a
//! file takes effect.
//!
//! Invariants: no part of the secret key or of a token is shown. No token is signed with credentials that have expired.
//!
//! [SigV4]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::issuer::{IssueError, Issuer, Secret};

/// The life of a token: that of AWS's own signers.
const TOKEN_LIFE: Duration = Duration::from_secs(900);
/// Credentials that expire sooner are looked up again.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);
/// The time limit for the whole chain, whose providers try several times each.
const LIMIT: Duration = Duration::from_secs(20);
/// The service, as signatures name it.
const SERVICE: &str = "kafka-cluster";
/// All but the characters that RFC 3986 leaves unreserved, as SigV4 demands.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Issues tokens for a region.
pub(super) struct Msk {
    /// The region; none if AWS's default chain names it.
    region: Option<String>,
    newest: Mutex<Option<Signer>>,
}

/// The means to sign.
#[derive(Clone)]
struct Signer {
    region: String,
    credentials: Credentials,
}

/// The reason why there is no token. It continues "cannot be given a token of AWS: ".
#[derive(Debug, thiserror::Error)]
enum MskError {
    #[error(
        "no AWS credentials were found ({0}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine or \
         pod a role"
    )]
    NoCredentials(String),
    #[error("the AWS credentials cannot be loaded: {0}")]
    Failed(String),
    #[error("the source of AWS credentials does not answer: {0}")]
    Unanswered(String),
    #[error("the AWS credentials {0} have expired: renew them where they come from")]
    Expired(String),
    #[error("no AWS region was found: set sasl.oauthbearer.token.region or AWS_REGION")]
    NoRegion,
    #[error("{0:?} is not an AWS region: correct sasl.oauthbearer.token.region or AWS_REGION")]
    Region(String),
    #[error("the request cannot be signed: {0}")]
    Unsigned(Box<dyn Error + Send + Sync>),
}

impl Msk {
    pub fn new(region: Option<String>) -> Self {
        Self {
            region,
            newest: Mutex::default(),
        }
    }

    /// Locks the newest signer. After a panic in another thread it is whole, or there is none.
    fn newest(&self) -> MutexGuard<'_, Option<Signer>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the newest signer if its credentials are valid for long enough; otherwise a new one from the chain.
    /// Logins at the same time wait for one look-up.
    fn signer(&self, now: SystemTime) -> Result<Signer, MskError> {
        let mut newest = self.newest();
        if let Some(signer) = newest.as_ref()
            && signer.is_good_for(RENEWED_BEFORE, now)
        {
            return Ok(signer.clone());
        }

        let found = look_up(self.region.clone())?;
        *newest = Some(found.clone());
        Ok(found)
    }
}

impl Issuer for Msk {
    fn token(&self, now_ms: u64) -> Result<Secret, IssueError> {
        let now = UNIX_EPOCH + Duration::from_millis(now_ms);
        let token = self.signer(now).and_then(|signer| signer.token(now));
        token.map_err(|error| IssueError {
            is_passing: matches!(error, MskError::Unanswered(_)),
            issuer: "AWS",
            source: Box::new(error),
        })
    }

    fn remedy(&self) -> String {
        let signer = self.newest();
        let signed = signer.as_ref().map_or(String::new(), |signer| {
            let key = signer.credentials.access_key_id();
            format!(" with access key {key}, for region {}", signer.region)
        });
        format!(
            "the AWS identity that signed{signed}: allow it kafka-cluster:Connect on the cluster, and sign for the \
             cluster's region (sasl.oauthbearer.token.region)"
        )
    }
}

impl fmt::Debug for Msk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Msk");
        shown.field("region", &self.region).finish_non_exhaustive()
    }
}

impl Signer {
    fn is_good_for(&self, time: Duration, now: SystemTime) -> bool {
        self.credentials
            .expiry()
            .is_some_and(|expiry| expiry > now + time)
    }

    fn token(&self, now: SystemTime) -> Result<Secret, MskError> {
        let key = self.credentials.access_key_id();
        if self
            .credentials
            .expiry()
            .is_some_and(|expiry| expiry <= now)
        {
            return Err(MskError::Expired(key.to_owned()));
        }

        let mut url = format!(
            "https://kafka.{}.amazonaws.com/?Action=kafka-cluster%3AConnect",
            self.region
        );
        for (name, value) in self.signature(&url, now)? {
            url += &format!("&{name}={}", encoded(&value));
        }

        // The agent is not signed.
        let agent = concat!("tidemark-record-log/", env!("CARGO_PKG_VERSION"));
        url += &format!("&User-Agent={}", encoded(agent));
        Ok(Secret(BASE64_URL.encode(url)))
    }

    /// Returns the parameters that make the request a signed one.
    fn signature(
        &self,
        url: &str,
        now: SystemTime,
    ) -> Result<Vec<(&'static str, Cow<'static, str>)>, MskError> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(TOKEN_LIFE);

        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| MskError::Unsigned(error.into()))?
            .into();

        let request = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::empty());
        let signed = request.and_then(|request| sign(request, &params));
        let signed = signed.map_err(|error| MskError::Unsigned(error.into()))?;
        Ok(signed.into_parts().0.into_parts().1)
    }
}

/// Looks for credentials and the region on a thread of its own, because the caller's thread may belong to a runtime,
/// and one runtime cannot wait for another.
fn look_up(region: Option<String>) -> Result<Signer, MskError> {
    let looked_up = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| MskError::Failed(error.to_string()))?;
            runtime.block_on(async {
                let limited = tokio::time::timeout(LIMIT, by_default_chain(region)).await;
                let silent = |_| MskError::Unanswered(format!("{} s have passed", LIMIT.as_secs()));
                limited.map_err(silent)?
            })
        });
        looking.join()
    });
    looked_up.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

async fn by_default_chain(region: Option<String>) -> Result<Signer, MskError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }

    let config = loader.load().await;
    let region = config.region().ok_or(MskError::NoRegion)?;
    let provider = config.credentials_provider();
    let provider = provider.ok_or_else(|| MskError::NoCredentials("the chain is empty".into()))?;
    let credentials = provider.provide_credentials().await.map_err(refused)?;

    Ok(Signer {
        region: checked(region.as_ref())?,
        credentials,
    })
}

/// Checks a region, which becomes a part of a host name.
fn checked(region: &str) -> Result<String, MskError> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.is_empty() || !region.chars().all(is_part) {
        return Err(MskError::Region(region.to_owned()));
    }
    Ok(region.to_owned())
}

fn refused(error: CredentialsError) -> MskError {
    let causes = causes(&error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => MskError::NoCredentials(causes),
        CredentialsError::ProviderTimedOut(_) => MskError::Unanswered(causes),
        error if is_unanswered(&error) => MskError::Unanswered(causes),
        _ => MskError::Failed(causes),
    }
}

/// Returns `true` if a connection failed in the chain. A missing file is not such a failure.
fn is_unanswered(error: &CredentialsError) -> bool {
    let is_of_connection = |error: &io::Error| {
        !matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::InvalidData
        )
    };
    chain(error).any(|cause| cause.downcast_ref().is_some_and(is_of_connection))
}

fn causes(error: &CredentialsError) -> String {
    let mut causes: Vec<String> = chain(error).skip(1).map(ToString::to_string).collect();
    causes.dedup();
    causes.join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn encoded(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, ENCODED)
}

#[cfg(test)]
mod tests;

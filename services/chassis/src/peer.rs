//! A client of another service: every call has a time limit, follows no redirect, identifies its
//! caller, and belongs to the trace of the request that caused it.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};

use crate::auth::Auth;
use crate::span::Call;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Shorter than the server's limit, so that no request is sent on a connection that is just being
/// closed.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// A client of another service. Clones share its connections.
#[derive(Clone)]
pub struct Peer {
    client: Client,
    auth: Auth,
    base_url: String,
}

impl Peer {
    /// Returns a client of the service at this base address, which sends the service token of
    /// `auth`. A call ends within `call_limit`, with an answer or an error.
    ///
    /// # Errors
    /// When the HTTP client cannot be created on this system.
    pub fn new(base_url: &str, auth: Auth, call_limit: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(call_limit)
            .pool_idle_timeout(IDLE_LIMIT)
            .no_proxy()
            .redirect(Policy::none())
            .build()?;

        Ok(Self {
            client,
            auth,
            base_url: base_url.trim_end_matches('/').to_owned(),
        })
    }

    /// Returns a request to the service; `path` begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("{}{path}", self.base_url));
        match self.auth.service_token() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
    /// Sends a request, in a span of its own.
    ///
    /// # Errors
    /// When there is no answer, or the request could not be made.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, reqwest::Error> {
        let (client, request) = request.build_split();
        let mut request = request?;
        let address = request.url().authority().to_owned();
        let method = request.method().clone();
        let call = Call::begin(&address, &method, request.headers_mut());
        call.answered(client.execute(request), Response::status)
            .await
    }
}

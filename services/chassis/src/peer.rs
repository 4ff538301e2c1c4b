//! Another service, as this one calls it: every call ends in time, follows no redirect, shows who calls, and belongs to the
//! trace of what it is made for.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};

use crate::auth::Auth;
use crate::span::Call;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Less than the server's, so that no request is sent on a connection that is just being closed.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// A client of another service. Clones share its connections.
#[derive(Clone)]
pub struct Peer {
    client: Client,
    auth: Auth,
    base_url: String,
}

impl Peer {
    /// A client of the service at this base address, which shows it what `auth` gives services. A call is over within
    /// `call_limit`, one way or the other.
    ///
    /// # Errors
    /// When the system cannot offer what HTTP needs.
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

    /// A request of the service; `path` begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("{}{path}", self.base_url));
        match self.auth.service_token() {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
    /// Makes a call of a request, and a span of the call.
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

//! A client that calls a router directly.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use chassis::{Health, Metrics};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// Time limit for a handler to begin its reply.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// Calls a service's router with the chassis's layer around it.
#[derive(Clone)]
pub struct TestClient {
    app: Router,
    token: Option<String>,
}

/// A reply that was read to its end.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null when it is empty, a text when it is not JSON.
    pub body: Value,
    /// The body as it came.
    pub bytes: Bytes,
}

/// A stream of server-sent events.
#[derive(Debug)]
pub struct Events {
    body: Body,
    text: String,
}

/// A server-sent event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServerSentEvent {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its data.
    pub data: String,
}

impl TestClient {
    /// Returns a client of `router`.
    pub fn new(router: Router) -> Self {
        let app = chassis::application(router, &Health::new(), &Metrics::new("test"), REPLY_LIMIT);
        Self { app, token: None }
    }

    /// Returns a client of the same router that sends this access token.
    #[must_use]
    pub fn showing(&self, token: String) -> Self {
        Self {
            app: self.app.clone(),
            token: Some(token),
        }
    }

    /// `GET`s the path.
    ///
    /// # Panics
    /// As [`TestClient::send`].
    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    /// `POST`s JSON to the path.
    ///
    /// # Panics
    /// As [`TestClient::send`].
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[], Some(body)).await
    }

    /// Sends a request with these headers, and the body as JSON.
    ///
    /// # Panics
    /// When the request cannot be built or the reply does not end.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }

        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };

        let response = self
            .app
            .clone()
            .oneshot(request.expect("a request"))
            .await
            .expect("routers are infallible");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body ends").to_bytes();

        Reply {
            status: head.status,
            headers: head.headers,
            body: value(&bytes),
            bytes,
        }
    }
}

impl TestClient {
    /// `GET`s a stream of server-sent events.
    ///
    /// # Panics
    /// If the reply is not a stream of events.
    pub async fn listen(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }

        let request = request.body(Body::empty()).expect("a request");
        let response = self
            .app
            .clone()
            .oneshot(request)
            .await
            .expect("routers are infallible");

        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );

        Events {
            body: response.into_body(),
            text: String::new(),
        }
    }
}

impl Events {
    /// Returns the next event that is not a comment; none at the stream's end.
    ///
    /// # Panics
    /// When the stream breaks.
    pub async fn next(&mut self) -> Option<ServerSentEvent> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                if event != ServerSentEvent::default() {
                    return Some(event);
                }
            }

            let frame = self.body.frame().await?.expect("the stream goes on");
            let data = frame.into_data().expect("streams have no trailers");
            self.text.push_str(&String::from_utf8_lossy(&data));
        }
    }
}

fn parse(text: &str) -> ServerSentEvent {
    let mut event = ServerSentEvent::default();
    for (field, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        match field {
            "event" => value.clone_into(&mut event.name),
            "id" => value.clone_into(&mut event.id),
            "data" => value.clone_into(&mut event.data),
            _ => {}
        }
    }

    event
}

impl Reply {
    /// Returns the invalid field that a problem document names.
    pub fn blamed(&self) -> &str {
        self.body["field"].as_str().unwrap_or_default()
    }

    /// Returns a header as text; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

fn value(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

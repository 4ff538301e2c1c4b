//! A client of the service that sends its requests without a network.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chassis::auth::Auth;
use chassis::sql::Database;
use chassis::{Health, Metrics, Shutdown, application};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use testbed::Identities;
use tower::ServiceExt;
use users::{Config, Parts};

pub struct Client {
    router: Router,
    token: Option<String>,
    address: Option<&'static str>,
}

/// The reply to a request.
pub struct Reply {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Value,
}

impl Client {
    /// Returns a client of a service with empty tables.
    pub async fn new(database: Database) -> Self {
        Self::of(database, &Config::default(), Auth::open()).await
    }

    /// Returns a client of a service that authenticates its callers.
    pub async fn enforced(database: Database, config: &Config) -> Self {
        Self::of(database, config, Identities::default().auth).await
    }

    pub async fn of(database: Database, config: &Config, auth: Auth) -> Self {
        Self::counted(database, config, auth, &Metrics::new("users")).await
    }

    /// The same with these metrics.
    pub async fn counted(
        database: Database,
        config: &Config,
        auth: Auth,
        metrics: &Metrics,
    ) -> Self {
        users::migrate(&database).await.unwrap();
        users::appoint_admin(config, &database, &Shutdown::new())
            .await
            .unwrap();

        let router = users::router(config, Parts { database, auth });
        let router = application(router, &Health::new(), metrics, Duration::from_secs(30));

        Self {
            router,
            token: None,
            address: None,
        }
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Logs in, and returns a client with the access token.
    pub async fn logged_in(&self, email: &str, password: &str) -> Self {
        let reply = self.log_in(email, password).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        self.showing(reply.body["access_token"].as_str().unwrap())
    }

    /// Returns a client that sends this access token.
    pub fn showing(&self, token: &str) -> Self {
        Self {
            router: self.router.clone(),
            token: Some(token.to_owned()),
            address: self.address,
        }
    }

    /// Returns a client for which the gateway states this address.
    pub fn at(&self, address: &'static str) -> Self {
        Self {
            router: self.router.clone(),
            token: self.token.clone(),
            address: Some(address),
        }
    }

    pub async fn log_in(&self, email: &str, password: &str) -> Reply {
        self.send(
            Method::POST,
            "/users/login",
            Some(json!({"email": email, "password": password})),
        )
        .await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");

        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(address) = self.address {
            request = request.header("tidemark-client-address", address);
        }

        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();

        let location = response
            .headers()
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());

        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };

        Reply {
            status,
            location,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, body: Value) -> Reply {
        self.send(Method::POST, "/users", Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send(Method::PATCH, path, Some(body)).await
    }
}

impl Reply {
    /// Asserts that it is a problem document with this status and field.
    pub fn assert_problem(&self, status: u16, field: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["status"], status);
        assert_eq!(
            self.body.get("field").and_then(Value::as_str),
            field,
            "{}",
            self.body
        );
    }
}

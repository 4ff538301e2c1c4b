//! Requests to the service by `oneshot`, as a client would send them.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chassis::sql::Database;
use chassis::{Health, Metrics, application};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use users::{Config, Parts};

pub struct Client(Router);

/// What came back.
pub struct Reply {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Value,
}

impl Client {
    /// A client of a service with empty tables.
    pub async fn new(database: Database) -> Self {
        users::migrate(&database).await.unwrap();
        let router = users::router(&Config::default(), Parts { database });
        Self(application(router, &Health::new(), &Metrics::new("users"), Duration::from_secs(30)))
    }

    pub fn router(&self) -> &Router {
        &self.0
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Reply {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.0.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Reply { status, location, body }
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
    /// That it is a problem with this status, blaming this field.
    pub fn assert_problem(&self, status: u16, field: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body.get("field").and_then(Value::as_str), field, "{}", self.body);
    }
}

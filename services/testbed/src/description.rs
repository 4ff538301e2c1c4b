//! Checks a service against its OpenAPI document; for the services' own tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use chassis::Unique;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

/// Returns the document that the router serves.
///
/// # Panics
/// If the router serves no JSON document at `/openapi.json`, or one in which an object has a key twice: readers
/// would take one of the two without a word.
pub async fn description(router: &Router) -> Value {
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let document = response.into_body().collect().await.unwrap().to_bytes();
    let unique: Result<Unique, _> = serde_json::from_slice(&document);
    unique.unwrap_or_else(|error| panic!("/openapi.json: {error}"));

    serde_json::from_slice(&document).unwrap()
}

/// Checks that every method of every path is answered as described, and that every other method is
/// refused.
///
/// # Panics
/// If an operation is not described, or a method without a description is accepted.
pub async fn assert_routes(router: &Router, document: &Value) {
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let operation = item.get(method.as_str().to_lowercase());
            let request = Request::builder()
                .method(&method)
                .uri(path.replace("{id}", "9").replace("{session}", "9"))
                .body(Body::empty())
                .unwrap();
            let status = router.clone().oneshot(request).await.unwrap().status();

            match operation {
                None => assert_eq!(
                    status,
                    StatusCode::METHOD_NOT_ALLOWED,
                    "{method} {path} is not described"
                ),
                Some(operation) => {
                    let described = operation["responses"].as_object().unwrap();
                    assert!(
                        described.contains_key(status.as_str()),
                        "{method} {path} answered {status}"
                    );
                }
            }
        }
    }
}

/// Checks that exactly the operations described as secured answer a 401 to a request without a
/// token.
///
/// # Panics
/// If a secured operation gives another status, or one that is not secured gives a 401.
pub async fn assert_guarded(router: &Router, document: &Value) {
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let Some(operation) = item.get(method.as_str().to_lowercase()) else {
                continue;
            };

            let request = Request::builder()
                .method(&method)
                .uri(path.replace("{id}", "9").replace("{session}", "9"))
                .body(Body::empty())
                .unwrap();
            let status = router.clone().oneshot(request).await.unwrap().status();
            let is_secured = operation["security"]
                .as_array()
                .is_some_and(|schemes| !schemes.is_empty());

            assert_eq!(
                status == StatusCode::UNAUTHORIZED,
                is_secured,
                "{method} {path} answered {status}"
            );
        }
    }
}

/// Checks that the value has the fields of the schema, no more and no fewer.
///
/// # Panics
/// When it does not, or the document has no such schema.
pub fn assert_fields(document: &Value, schema: &str, value: &Value) {
    let described = document["components"]["schemas"][schema]["properties"]
        .as_object()
        .unwrap();
    let described: BTreeSet<&String> = described.keys().collect();

    assert_eq!(
        value.as_object().unwrap().keys().collect::<BTreeSet<_>>(),
        described,
        "{schema}"
    );
}

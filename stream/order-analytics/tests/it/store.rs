//! A store of objects that speaks as much of S3 as checkpoints need, and honours create-only writes or ignores them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::pages;

/// The store's behaviour on a write that must not replace an object (`If-None-Match: *`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Conditions {
    Honoured,
    Ignored,
}

#[derive(Clone)]
struct Objects {
    conditions: Conditions,
    by_key: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

/// Serves an empty store on this machine for as long as the process lives.
pub fn serve(conditions: Conditions) -> SocketAddr {
    let objects = Objects {
        conditions,
        by_key: Arc::default(),
    };
    let pages = axum::Router::new()
        .route("/{bucket}", any(bucket))
        .route("/{bucket}/{*key}", any(object))
        .with_state(objects);

    pages::serve(pages)
}

async fn object(
    State(objects): State<Objects>,
    Path((_, key)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut by_key = objects.by_key.lock().unwrap();
    match method {
        Method::PUT => {
            let is_conditional = headers.contains_key(header::IF_NONE_MATCH);
            let is_refused = is_conditional && objects.conditions == Conditions::Honoured;
            if is_refused && by_key.contains_key(&key) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
            by_key.insert(key, body);
            [(header::ETAG, "\"tag\"")].into_response()
        }
        Method::DELETE => {
            by_key.remove(&key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => match by_key.get(&key) {
            None => StatusCode::NOT_FOUND.into_response(),
            Some(content) => {
                let head = [
                    (header::ETAG, "\"tag\"".to_owned()),
                    (header::LAST_MODIFIED, http_date()),
                ];
                (head, content.clone()).into_response()
            }
        },
    }
}

/// Lists the objects with a prefix, or deletes those that a request names.
async fn bucket(
    State(objects): State<Objects>,
    Query(query): Query<BTreeMap<String, String>>,
    method: Method,
    body: String,
) -> String {
    let mut by_key = objects.by_key.lock().unwrap();
    if method == Method::POST {
        let is_named = |key: &String| body.contains(&format!("<Key>{key}</Key>"));
        let gone: Vec<String> = by_key.keys().filter(|key| is_named(key)).cloned().collect();
        by_key.retain(|key, _| !is_named(key));
        let deleted = |key: &String| format!("<Deleted><Key>{key}</Key></Deleted>");
        let deleted: String = gone.iter().map(deleted).collect();
        return format!("<DeleteResult>{deleted}</DeleteResult>");
    }

    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let listed = by_key.iter().filter(|(key, _)| key.starts_with(&prefix));
    let now = events::Timestamp::from_ms(now_ms()).unwrap().to_string();
    let listed: String = listed
        .map(|(key, content)| {
            let size = content.len();
            format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{now}</LastModified></Contents>"
            )
        })
        .collect();
    format!("<ListBucketResult>{listed}</ListBucketResult>")
}

fn now_ms() -> u64 {
    stream::system_clock()()
}

/// A date of HTTP whose exact value does not matter here: listings date objects.
fn http_date() -> String {
    "Sun, 22 Nov 2026 10:00:00 GMT".to_owned()
}

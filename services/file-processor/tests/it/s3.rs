//! The function reads from S3: here a server of the test's own, with the part of S3's protocol that reading needs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use crate::runtime_api::{Function, created};
use crate::samples;

/// A bucket that keeps versions.
#[derive(Default)]
struct Bucket {
    /// By key and version.
    objects: HashMap<(String, String), Bytes>,
    /// The requested ranges.
    ranges: Mutex<Vec<String>>,
    /// The stored objects, by key.
    put: Mutex<HashMap<String, Bytes>>,
}

async fn read(
    State(bucket): State<Arc<Bucket>>,
    Path(key): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(version) = query.get("versionId") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(bytes) = bucket.objects.get(&(key, version.clone())) else {
        return StatusCode::NOT_FOUND.into_response();
    };

    let described = [
        ("etag", format!("\"tag-of-{version}\"")),
        ("last-modified", "Sun, 22 Nov 2026 10:00:00 GMT".to_owned()),
        ("x-amz-version-id", version.clone()),
    ];

    let Some(range) = headers
        .get("range")
        .map(|range| range.to_str().unwrap().to_owned())
    else {
        return (described, bytes.clone()).into_response();
    };

    assert_eq!(headers["if-match"], format!("\"tag-of-{version}\""));
    let (start, end) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let start: usize = start.parse().unwrap();
    let end: usize = end.parse().unwrap();
    bucket.ranges.lock().unwrap().push(range.clone());

    let content_range = [(
        "content-range",
        format!("bytes {start}-{end}/{}", bytes.len()),
    )];

    (
        StatusCode::PARTIAL_CONTENT,
        described,
        content_range,
        bytes.slice(start..=end),
    )
        .into_response()
}

async fn write(
    State(bucket): State<Arc<Bucket>>,
    Path(key): Path<String>,
    body: Bytes,
) -> impl IntoResponse {
    bucket.put.lock().unwrap().insert(key, body);
    [("etag", "\"tag\"")]
}

/// Starts a function that reads from this bucket.
async fn function_on(bucket: &Arc<Bucket>) -> Function {
    let routes = Router::new()
        .route("/uploads/{*key}", get(read).put(write))
        .with_state(Arc::clone(bucket));

    Function::start_on_s3(&testbed::serve(routes).await).await
}

#[tokio::test]
async fn the_version_that_was_told_of_is_read_in_ranges_and_no_other() {
    let row = "1,2\n";
    let old = Bytes::from(format!("a,b\n{}", row.repeat((9 << 20) / row.len())));
    let versions = [("v1", old.clone()), ("v2", Bytes::from_static(b"a,b\n"))];

    let keyed = versions.map(|(version, bytes)| {
        (
            ("uploads/my file.csv".to_owned(), version.to_owned()),
            bytes,
        )
    });

    let bucket = Arc::new(Bucket {
        objects: keyed.into(),
        ..Bucket::default()
    });
    let mut function = function_on(&bucket).await;

    let outcome = function
        .invoke(created(
            &json!({"key": "uploads/my+file.csv", "versionId": "v1"}),
        ))
        .await;
    let file = function.file(&outcome).await;

    assert_eq!(
        (&file["version"], &file["size_bytes"]),
        (&json!("v1"), &json!(old.len()))
    );

    assert_eq!(file["summary"]["rows"], (9 << 20) / row.len());
    let ranges = [
        "bytes=0-65535",
        "bytes=0-4194303",
        "bytes=4194304-8388607",
        "bytes=8388608-9437187",
    ];
    assert_eq!(*bucket.ranges.lock().unwrap(), ranges);
}

#[tokio::test]
async fn a_thumbnail_is_put_beside_a_picture() {
    let sample = samples::all()
        .into_iter()
        .find(|sample| sample.name == "shelf.png")
        .unwrap();

    let key = ("uploads/shelf.png".to_owned(), "v1".to_owned());
    let bucket = Arc::new(Bucket {
        objects: HashMap::from([(key, sample.bytes.into())]),
        ..Bucket::default()
    });
    let mut function = function_on(&bucket).await;

    let outcome = function
        .invoke(created(
            &json!({"key": "uploads/shelf.png", "versionId": "v1"}),
        ))
        .await;
    let file = function.file(&outcome).await;
    assert_eq!(file["status"], "processed");

    let put = bucket.put.lock().unwrap();
    let key = file["summary"]["thumbnail"]["key"].as_str().unwrap();
    assert_eq!(image::load_from_memory(&put[key]).unwrap().width(), 320);
}

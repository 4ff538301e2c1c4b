//! A failure of a store or service is an error, after which Lambda calls again. A finished version is not processed
//! again.

use std::time::Duration;

use serde_json::json;

use crate::runtime_api::{Function, created};

const CATALOGUE: &[u8] = b"name,price_cents\nLamp,1999\n";

#[tokio::test]
async fn a_service_that_is_away_is_an_error_and_the_file_waits() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    let error = function
        .upload("uploads/catalogue/new.csv", CATALOGUE)
        .await
        .unwrap_err();

    assert!(
        error["errorMessage"]
            .as_str()
            .unwrap()
            .contains("products service is unavailable"),
        "{error}"
    );
}

#[tokio::test]
async fn the_same_version_is_processed_once_and_another_version_again() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    let first = function.upload("uploads/a.csv", b"a,b\n1,2\n").await;
    let done = function.file(&first).await;
    let again = function
        .invoke(created(&json!({"key": "uploads/a.csv"})))
        .await;
    assert_eq!((&again, function.file(&again).await), (&first, done));

    let other = function.upload("uploads/a.csv", b"a,b\n1,2\n3,4\n").await;
    assert_ne!(
        other.as_ref().unwrap()["files"][0]["id"],
        first.unwrap()["files"][0]["id"]
    );
    assert_eq!(function.file(&other).await["summary"]["rows"], 2);
}

#[tokio::test]
async fn a_missing_object_and_a_foreign_event_are_ignored() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    let nothing = Ok(json!({"files": []}));
    assert_eq!(
        function
            .invoke(created(&json!({"key": "uploads/gone.csv", "eTag": "1"})))
            .await,
        nothing
    );

    assert_eq!(
        function.invoke(json!({"Event": "s3:TestEvent"})).await,
        nothing
    );

    assert_eq!(function.upload("thumbnails/a.png", b"x").await, nothing);
    assert_eq!(
        function
            .invoke(created(&json!({"key": "uploads/../../secret"})))
            .await,
        nothing
    );
}

#[tokio::test]
async fn a_file_that_takes_too_long_is_refused_before_the_time_limit() {
    let mut function = Function::start("http://127.0.0.1:1").await;
    function.set_timeout(Duration::from_secs(1));
    let outcome = function.upload("uploads/a.csv", b"a,b\n1,2\n").await;
    assert_eq!(function.file(&outcome).await["error"]["reason"], "too_slow");
}

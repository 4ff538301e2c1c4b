//! Bodies of requests: which are accepted, and the problem document for those that are refused.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::requests::{assert_problem, body, get_path, post_basket, send};

#[tokio::test]
async fn a_good_body_reaches_its_handler() {
    let response = post_basket(r#"{"items":[{"quantity":2},{"quantity":1}]}"#).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response).await, json!(3));
}

#[tokio::test]
async fn malformed_json_is_a_400() {
    assert_problem(
        post_basket(r#"{"items":"#).await,
        StatusCode::BAD_REQUEST,
        None,
    )
    .await;

    assert_problem(
        post_basket(r#"{"items":[]} x"#).await,
        StatusCode::BAD_REQUEST,
        None,
    )
    .await;
}

#[tokio::test]
async fn a_wrong_or_missing_field_is_a_422_with_its_path() {
    let wrong = post_basket(r#"{"items":[{"quantity":-1}]}"#).await;
    assert_problem(
        wrong,
        StatusCode::UNPROCESSABLE_ENTITY,
        Some("items[0].quantity"),
    )
    .await;

    let missing = post_basket(r#"{"items":[{"quantity":1},{}]}"#).await;
    assert_problem(
        missing,
        StatusCode::UNPROCESSABLE_ENTITY,
        Some("items[1].quantity"),
    )
    .await;

    assert_problem(
        post_basket("{}").await,
        StatusCode::UNPROCESSABLE_ENTITY,
        Some("items"),
    )
    .await;

    let refused = post_basket(r#"{"items":[]}"#).await;
    assert_problem(refused, StatusCode::UNPROCESSABLE_ENTITY, Some("items")).await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_for_who_sent_it() {
    let detail = async |sent: &str| {
        let answer = body(post_basket(sent.to_owned()).await).await;
        answer["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        detail(r#"{"items":[{"quantity":"two"}]}"#).await,
        "this must be a whole number, not a text"
    );
    assert_eq!(
        detail(r#"{"items":[{}]}"#).await,
        "quantity is missing; add it"
    );
    assert_eq!(
        detail(r#"{"items":[],"items":[]}"#).await,
        "items is there twice; send it once"
    );

    let query = body(get_path("/filter?user_id=x").await).await;
    assert_eq!(
        query["detail"],
        "this must be a whole number, in digits alone"
    );
}

#[tokio::test]
async fn any_json_in_the_place_of_a_word_is_a_422_with_its_path() {
    for value in [
        "null",
        "7",
        "true",
        "[]",
        "{}",
        "1.5",
        "[\"red\"]",
        "{\"red\":1}",
        "{\"red\":null,\"blue\":null}",
        "\"green\"",
    ] {
        let sent = format!(r#"{{"items":[{{"quantity":1,"colour":{value}}}]}}"#);
        let refused = post_basket(sent).await;
        let status = refused.status();
        let problem = body(refused).await;

        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{value}: {problem}"
        );
        let field = problem["field"].as_str().unwrap();
        assert!(field.starts_with("items[0].colour"), "{value}: {problem}");
        assert!(
            !problem["detail"].as_str().unwrap().contains("expected"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_compressed_body_is_a_415_and_is_not_expanded() {
    for (encoding, status) in [
        ("gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("br, gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("identity, gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("identity;gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("identity", StatusCode::OK),
        ("IDENTITY", StatusCode::OK),
    ] {
        let request = Request::post("/baskets")
            .header("content-type", "application/json")
            .header("content-encoding", encoding)
            .body(Body::from(r#"{"items":[{"quantity":2}]}"#));
        assert_eq!(
            send(request.unwrap()).await.status(),
            status,
            "{encoding:?}"
        );
    }

    // The header may be there twice, and either may name the compression.
    for (first, second) in [("identity", "gzip"), ("gzip", "identity")] {
        let request = Request::post("/baskets")
            .header("content-type", "application/json")
            .header("content-encoding", first)
            .header("content-encoding", second)
            .body(Body::from(r#"{"items":[{"quantity":2}]}"#));
        let status = send(request.unwrap()).await.status();
        assert_eq!(
            status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{first} {second}"
        );
    }
}

#[tokio::test]
async fn an_array_is_no_object_though_serde_would_take_it_for_one() {
    for body in [r#"[[{"quantity": 1}]]"#, "\n[]"] {
        assert_problem(
            post_basket(body).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            None,
        )
        .await;
    }
}

#[tokio::test]
async fn a_body_over_a_mebibyte_is_a_413() {
    let response = post_basket(vec![b' '; (1 << 20) + 1]).await;
    assert_problem(response, StatusCode::PAYLOAD_TOO_LARGE, None).await;
}

#[tokio::test]
async fn a_body_that_is_not_called_json_is_a_415() {
    let response = send(Request::post("/baskets").body(Body::from("{}")).unwrap()).await;
    assert_problem(response, StatusCode::UNSUPPORTED_MEDIA_TYPE, None).await;
}

#[tokio::test]
async fn a_key_that_is_there_twice_is_refused_wherever_it_is() {
    for (text, field) in [
        (
            r#"{"items": [{"quantity": 1}], "items": [{"quantity": 2}]}"#,
            "items",
        ),
        (
            r#"{"items": [{"quantity": 1, "quantity": 1}]}"#,
            "items[0].quantity",
        ),
        (
            r#"{"items": [{"quantity": 1, "\u0071uantity": 2}]}"#,
            "items[0].quantity",
        ),
        (
            r#"{"items": [{"quantity": 1}], "other": {"a": {"b": 1, "b": 1}}}"#,
            "other.a.b",
        ),
    ] {
        let answer = post_basket(text).await;
        assert_problem(answer, StatusCode::UNPROCESSABLE_ENTITY, Some(field)).await;
    }

    let once = r#"{"items": [{"quantity": 1}, {"quantity": 1}]}"#;
    assert_eq!(post_basket(once).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_whole_number_has_no_fraction_and_no_exponent() {
    for number in [
        "1.0",
        "1e0",
        "1E2",
        "1e-400",
        "-0.0",
        "1e400",
        "-1",
        "4294967296",
        "\"1\"",
        "null",
        "true",
    ] {
        let answer = post_basket(format!(r#"{{"items": [{{"quantity": {number}}}]}}"#)).await;
        let status = answer.status();
        let is_malformed = number == "1e400" && status == StatusCode::BAD_REQUEST;

        assert!(
            is_malformed || status == StatusCode::UNPROCESSABLE_ENTITY,
            "{number}: {status}"
        );
    }
}

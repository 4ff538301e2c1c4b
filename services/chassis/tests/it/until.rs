//! Replies without an end: a caller may read one until the token of its request expires.
//!
//! The clock of the runtime is paused, so each wait takes no time and is measured exactly.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use chassis::auth::{AccessClaims, Auth, Secret, Until};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use jsonwebtoken::get_current_timestamp;
use testbed::{PublishedKeys, Signer};
use tokio::time::Instant;
use tower::ServiceExt;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A stream of one event a second until the token expires.
async fn events(token: Until) -> Body {
    let event = |number: u64| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from("event\n")), number + 1))
    };
    let events = stream::unfold(0, event).take_until(Box::pin(token.passed()));
    Body::from_stream(events)
}

fn service(auth: &Auth) -> Router {
    auth.protect(Router::new().route("/events", get(events)))
}

async fn open(auth: &Auth, token: Option<&str>) -> Response {
    let mut request = Request::get("/events");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).unwrap();
    service(auth).oneshot(request).await.unwrap()
}

/// Callers with tokens of a user that begin now and live for this long.
fn authentication() -> (Auth, impl Fn(Duration) -> String) {
    let keys = PublishedKeys::default();
    let signer = Signer::new("first", 1);
    keys.publish([signer.jwk()]);

    let auth = Auth::enforced(keys, Some(&Secret::random()));
    let token = move |life| {
        let claims = AccessClaims::new(7, false, get_current_timestamp(), life);
        signer.sign(&claims)
    };
    (auth, token)
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_the_token_of_its_request() {
    let (auth, token) = authentication();
    for life in [MINUTE, 5 * MINUTE] {
        let reply = open(&auth, Some(&token(life))).await;
        assert_eq!(reply.status(), StatusCode::OK);

        let began = Instant::now();
        let reading = tokio::time::timeout(2 * life, reply.into_body().collect());
        let body = reading.await.unwrap().unwrap().to_bytes();
        let took = began.elapsed();

        // A token's times are whole seconds, and this test may take some.
        assert!(took <= life, "{took:?}");
        assert!(took > life - Duration::from_secs(30), "{took:?}");
        let events = body.len() / "event\n".len();
        assert!(events.abs_diff(took.as_secs() as usize) <= 1, "{events}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_does_not_begin_without_a_token_that_is_valid() {
    let (auth, _) = authentication();
    for token in [None, Some("forged")] {
        assert_eq!(open(&auth, token).await.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn where_callers_do_not_authenticate_a_stream_has_no_end() {
    let reply = open(&Auth::open(), None).await;
    let reading = reply.into_body().collect();
    assert!(tokio::time::timeout(DAY, reading).await.is_err());
}

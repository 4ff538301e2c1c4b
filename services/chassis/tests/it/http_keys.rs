//! Keys that are read over HTTP, and answers that contain none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use chassis::auth::{Auth, Caller, HttpKeys};
use testbed::{Signer, TestClient, claims};

type Asked = Arc<AtomicUsize>;

/// Starts a users service. Returns its address, and the number of requests for its keys.
async fn users() -> (String, Asked) {
    let asked = Asked::default();
    let published = serde_json::json!({"keys": [Signer::new("first", 1).jwk()]}).to_string();
    let padded = format!("{published}{}", " ".repeat(64 << 10));

    let keys = get(async move |State(asked): State<Asked>| {
        asked.fetch_add(1, Ordering::SeqCst);
        published
    });

    let routes = Router::new()
        .route("/keys", keys)
        .route("/moved", get(async || Redirect::temporary("/keys")))
        .route("/garbage", get("{\"keys\": 7}"))
        .route("/endless", get(async move || padded))
        .route("/broken", get(StatusCode::INTERNAL_SERVER_ERROR))
        .with_state(Arc::clone(&asked));

    (testbed::serve(routes).await, asked)
}

/// Returns the status for a caller with a valid token; the service reads its keys at `keys`.
async fn answered(keys: &str) -> u16 {
    let auth = Auth::enforced(HttpKeys::at(&keys.parse().unwrap()), None);
    let routes = Router::new().route("/caller", get(async |_: Caller| "welcome"));
    let token = Signer::new("first", 1).sign(&claims(7, false));

    TestClient::new(auth.protect(routes))
        .showing(token)
        .get("/caller")
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn keys_are_read_where_the_settings_say() {
    let (users, asked) = users().await;
    assert_eq!(answered(&format!("{users}/keys")).await, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn replies_without_keys_and_redirects_let_nobody_in() {
    let (users, asked) = users().await;
    for path in ["moved", "garbage", "endless", "broken", "nothing"] {
        assert_eq!(answered(&format!("{users}/{path}")).await, 503, "{path}");
    }
    assert_eq!(answered("http://127.0.0.1:1/keys").await, 503);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "no redirect is followed");
}

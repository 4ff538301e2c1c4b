//! Sessions of pages in a browser, whose refresh token is in a cookie that no script can read.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::client::Client;
use crate::databases::on_each_database;

const PAGE: (&str, &str) = ("tidemark-session", "cookie");
const TLS: (&str, &str) = ("x-forwarded-proto", "https");
const PASSWORD: &str = "correct horse";

struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    /// All cookies that the reply sets.
    cookies: Vec<String>,
    body: Value,
}

impl Answer {
    /// Returns the cookie in the form in which the browser sends it back.
    fn kept(&self) -> String {
        self.cookie
            .as_ref()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    }
}

async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    let mut request = Request::post(path).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }

    let body = if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    };

    let response = client
        .router()
        .clone()
        .oneshot(request.body(body).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let cookies = cookies(response.headers());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();

    Answer {
        status,
        cookie: cookies.first().cloned(),
        cookies,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let set = headers.get_all("set-cookie").into_iter();
    set.map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

async fn log_in(client: &Client, headers: &[(&str, &str)]) -> Answer {
    let new = json!({"name": "Demo", "email": "demo@test.com", "password": PASSWORD});
    client.post(new).await;
    post(
        client,
        "/users/login",
        headers,
        json!({"email": "demo@test.com", "password": PASSWORD}),
    )
    .await
}

#[tokio::test]
async fn a_page_gets_its_refresh_token_only_in_a_cookie() {
    on_each_database(async |database| {
        let client = Client::new(database).await;
        let answer = log_in(&client, &[PAGE]).await;
        let cookie = answer.cookie.as_ref().unwrap();

        assert!(
            cookie.starts_with("tidemark_refresh=")
                && cookie
                    .ends_with("; Max-Age=2592000; HttpOnly; SameSite=Strict; Path=/api/users"),
            "{cookie}"
        );

        assert!(
            answer.body["access_token"].is_string() && answer.body.get("refresh_token").is_none()
        );

        let other = log_in(&client, &[]).await;
        assert!(other.cookie.is_none() && other.body["refresh_token"].is_string());
    })
    .await;
}

#[tokio::test]
async fn over_tls_only_cookies_of_this_host_are_accepted() {
    on_each_database(async |database| {
        let client = Client::new(database).await;
        let own = log_in(&client, &[PAGE, TLS]).await;
        let cookie = own.cookie.as_ref().unwrap();
        assert!(
            cookie.starts_with("__Host-tidemark_refresh=")
                && cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/; Secure")
                && !cookie.contains("Domain"),
            "{cookie}"
        );

        assert_eq!(own.cookies.len(), 2, "the session's and the device's");
        for cookie in &own.cookies {
            assert!(cookie.starts_with("__Host-tidemark_"), "{cookie}");
        }

        // Another host of the domain, or a page without TLS, can only set a cookie without the prefix.
        let plain = log_in(&client, &[PAGE]).await.kept();
        let refresh = async |cookies: &str| {
            let headers = [PAGE, TLS, ("cookie", cookies)];
            post(&client, "/users/refresh", &headers, Value::Null).await
        };
        assert_eq!(refresh(&plain).await.status, StatusCode::UNAUTHORIZED);

        let renewed = refresh(&format!("{plain}; {}", own.kept())).await;
        assert_eq!(renewed.status, StatusCode::OK);
        let renewed = renewed.kept();
        assert!(renewed.starts_with("__Host-tidemark_refresh="), "{renewed}");

        let without_tls = [PAGE, ("cookie", renewed.as_str())];
        let refused = post(&client, "/users/refresh", &without_tls, Value::Null).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);

        let headers = [PAGE, TLS, ("cookie", renewed.as_str())];
        let out = post(&client, "/users/logout", &headers, Value::Null).await;
        let forgotten = out.cookie.unwrap();
        assert!(
            forgotten.starts_with("__Host-tidemark_refresh=; Max-Age=0;")
                && forgotten.ends_with("; Path=/; Secure"),
            "{forgotten}"
        );
        assert_eq!(refresh(&renewed).await.status, StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn a_cookie_is_good_once_and_beside_the_pages_header_only() {
    on_each_database(async |database| {
        let client = Client::new(database).await;
        let first = log_in(&client, &[PAGE]).await.kept();

        // The browser would send this for a page of another site.
        let forged = post(
            &client,
            "/users/refresh",
            &[("cookie", &first)],
            Value::Null,
        )
        .await;
        assert!(forged.status.is_client_error() && forged.cookie.is_none());

        assert!(
            post(&client, "/users/logout", &[("cookie", &first)], Value::Null)
                .await
                .status
                .is_client_error()
        );

        let others = format!("theme=dark; {first}; lang=en");
        let second = post(
            &client,
            "/users/refresh",
            &[PAGE, ("cookie", &others)],
            Value::Null,
        )
        .await;
        assert_eq!(second.status, StatusCode::OK);
        assert_ne!(second.kept(), first);

        let again = post(
            &client,
            "/users/refresh",
            &[PAGE, ("cookie", &first)],
            Value::Null,
        )
        .await;

        assert_eq!(
            (again.status, &again.body["status"]),
            (StatusCode::UNAUTHORIZED, &json!(401))
        );

        let ended = post(
            &client,
            "/users/refresh",
            &[PAGE, ("cookie", &second.kept())],
            Value::Null,
        )
        .await;

        assert_eq!(
            ended.status,
            StatusCode::UNAUTHORIZED,
            "a token that was used twice ends its session"
        );
    })
    .await;
}

#[tokio::test]
async fn a_known_device_needs_the_second_factor_too() {
    on_each_database(async |database| {
        let client = Client::new(database.clone()).await;
        let first = log_in(&client, &[PAGE]).await;
        let kept = first
            .cookies
            .iter()
            .map(|set| set.split(';').next().unwrap());
        let cookies = kept.collect::<Vec<_>>().join("; ");
        assert!(cookies.contains("tidemark_device="), "{cookies}");

        let confirmed = "INSERT INTO second_factors (user_id, secret, confirmed_at_ms, last_step) \
                         SELECT id, 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ', 1, 0 FROM users";
        let set = sqlx::query(confirmed).execute(database.pool()).await;
        assert_eq!(set.unwrap().rows_affected(), 1);

        let again = log_in(&client, &[PAGE, ("cookie", &cookies)]).await;
        assert_eq!(again.status, StatusCode::UNAUTHORIZED);
        assert_eq!(again.body["field"], "code");
    })
    .await;
}

#[tokio::test]
async fn a_cookie_added_by_another_host_is_not_accepted() {
    on_each_database(async |database| {
        let client = Client::new(database).await;
        let own = log_in(&client, &[PAGE]).await.kept();
        let planted = log_in(&client, &[PAGE]).await.kept();

        for all in [
            format!("{planted}; {own}"),
            format!("{own}; {planted}"),
            format!("{own}; {own}; {planted}"),
        ] {
            let headers = [PAGE, ("cookie", all.as_str())];
            let refused = post(&client, "/users/refresh", &headers, Value::Null).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{all}");
        }

        // A proxy may send each cookie in a separate header.
        let headers = [PAGE, ("cookie", own.as_str()), ("cookie", planted.as_str())];
        let refused = post(&client, "/users/refresh", &headers, Value::Null).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);

        // A cookie whose name differs in case or at its end is a different cookie.
        let (name, _) = own.split_once('=').unwrap();
        let others = format!("{}=1; {name}2=2", name.to_uppercase());
        let twice = format!("{others}; {own}; {own}");
        let headers = [PAGE, ("cookie", twice.as_str())];
        let renewed = post(&client, "/users/refresh", &headers, Value::Null).await;
        assert_eq!(
            renewed.status,
            StatusCode::OK,
            "nothing above used the token"
        );
    })
    .await;
}

#[tokio::test]
async fn a_log_out_ends_the_session_and_deletes_the_cookie() {
    on_each_database(async |database| {
        let client = Client::new(database).await;
        let cookie = log_in(&client, &[PAGE]).await.kept();
        let out = post(
            &client,
            "/users/logout",
            &[PAGE, ("cookie", &cookie)],
            Value::Null,
        )
        .await;
        assert_eq!(out.status, StatusCode::NO_CONTENT);

        assert!(
            out.cookie
                .unwrap()
                .starts_with("tidemark_refresh=; Max-Age=0;")
        );

        for cookie in [&[PAGE, ("cookie", cookie.as_str())][..], &[PAGE]] {
            assert_eq!(
                post(&client, "/users/refresh", cookie, Value::Null)
                    .await
                    .status,
                StatusCode::UNAUTHORIZED
            );
        }

        assert_eq!(
            post(&client, "/users/logout", &[PAGE], Value::Null)
                .await
                .status,
            StatusCode::NO_CONTENT
        );
    })
    .await;
}

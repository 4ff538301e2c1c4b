//! Sessions of pages in a browser, whose refresh token no script reads.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::client::Client;
use crate::databases::on_each_database;

const PAGE: (&str, &str) = ("tidemark-session", "cookie");
const PASSWORD: &str = "correct horse";

struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    body: Value,
}

impl Answer {
    /// The cookie as the browser sends it back.
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
    let cookie = cookie(response.headers());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();

    Answer {
        status,
        cookie,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get("set-cookie")
        .map(|value| value.to_str().unwrap().to_owned())
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
async fn a_page_is_given_its_refresh_token_in_a_cookie_and_nowhere_else() {
    on_each_database(async |database| {
        let client = Client::new(database).await;
        let answer = log_in(&client, &[PAGE]).await;
        let cookie = answer.cookie.as_ref().unwrap();

        assert!(
            cookie.ends_with("; Path=/api/users; Max-Age=2592000; HttpOnly; SameSite=Strict"),
            "{cookie}"
        );

        assert!(
            answer.body["access_token"].is_string() && answer.body.get("refresh_token").is_none()
        );

        let secure = log_in(&client, &[PAGE, ("x-forwarded-proto", "https")])
            .await
            .cookie
            .unwrap();
        assert!(secure.ends_with("; Secure"), "{secure}");

        let other = log_in(&client, &[]).await;
        assert!(other.cookie.is_none() && other.body["refresh_token"].is_string());
    })
    .await;
}

#[tokio::test]
async fn a_cookie_is_good_once_and_beside_the_pages_header_only() {
    on_each_database(async |database| {
        let client = Client::new(database).await;
        let first = log_in(&client, &[PAGE]).await.kept();

        // As a page of another site would have the browser send it.
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
async fn a_cookie_that_another_host_has_added_takes_nobody_elsewhere() {
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

        // A proxy may send each cookie in a header of its own.
        let headers = [PAGE, ("cookie", own.as_str()), ("cookie", planted.as_str())];
        let refused = post(&client, "/users/refresh", &headers, Value::Null).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);

        // A cookie whose name differs in case or at its end is another one.
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
async fn logging_out_ends_the_session_of_the_cookie_and_has_it_forgotten() {
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
                .starts_with("tidemark_refresh=; Path=/api/users; Max-Age=0;")
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

//! The shared layer: replies that all services give for errors, limits, health and metrics.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use chassis::{
    Health, Json, Metrics, Path, Problem, Query, Result, application, described, operator,
};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

#[derive(Deserialize)]
struct Basket {
    items: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    quantity: u32,
    #[serde(default)]
    colour: Colour,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Colour {
    #[default]
    Red,
    Blue,
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    user_id: u64,
}

async fn total(Json(basket): Json<Basket>) -> Result<Json<u32>> {
    let units = basket.items.iter().map(|line| match line.colour {
        Colour::Red => line.quantity,
        Colour::Blue => 2 * line.quantity,
    });
    let total = units.sum();
    if total == 0 {
        return Err(Problem::unprocessable("an order needs at least one item").field("items"));
    }
    Ok(Json(total))
}

fn app(health: &Health) -> Router {
    counted(health, &Metrics::new("test"))
}

/// The test service's description.
const DESCRIPTION: &str = r##"{
    "paths": {
        "/filter": {
            "parameters": [{"$ref": "#/components/parameters/User"}],
            "get": {"parameters": [{"name": "x-trace", "in": "header"}]}
        },
        "/baskets/{id}": {"get": {"parameters": [{"name": "limit", "in": "query"}]}}
    },
    "components": {"parameters": {"User": {"name": "user_id", "in": "query"}}}
}"##;

fn counted(health: &Health, metrics: &Metrics) -> Router {
    let routes = Router::new()
        .route("/baskets", post(total))
        .route(
            "/baskets/{id}",
            get(|Path(id): Path<u64>| async move { id.to_string() }),
        )
        .route(
            "/filter",
            get(|Query(filter): Query<Filter>| async move { filter.user_id.to_string() }),
        )
        .route("/json", get(async || Json(7)).post(async || Json(7)))
        .route("/panic", get(async || -> String { panic!("as planned") }))
        .route(
            "/stuck",
            get(async || -> String { std::future::pending().await }),
        );
    let routes = described(routes, DESCRIPTION);

    application(routes, health, metrics, Duration::from_millis(50))
}

pub async fn send(request: Request<Body>) -> Response {
    app(&Health::new()).oneshot(request).await.unwrap()
}

pub async fn get_path(path: &str) -> Response {
    send(Request::get(path).body(Body::empty()).unwrap()).await
}

pub async fn post_basket(body: impl Into<Body>) -> Response {
    let request = Request::post("/baskets").header("content-type", "application/json");
    send(request.body(body.into()).unwrap()).await
}

pub async fn body(response: Response) -> Value {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {bytes:?}"))
}

pub async fn assert_problem(response: Response, status: StatusCode, field: Option<&str>) {
    assert_eq!(response.status(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );

    let body = body(response).await;
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body.get("field").and_then(Value::as_str), field, "{body}");
}

#[tokio::test]
async fn json_is_not_sent_to_a_reader_that_accepts_none() {
    let ask = async |method: &str, path: &str, accept: &str| {
        let request = Request::builder().method(method).uri(path);
        send(
            request
                .header("accept", accept)
                .body(Body::empty())
                .unwrap(),
        )
        .await
    };
    for accept in ["text/csv", "application/vnd.apache.parquet"] {
        let refused = ask("GET", "/json", accept).await;
        assert_problem(refused, StatusCode::NOT_ACCEPTABLE, None).await;
        let missing = ask("GET", "/nothing", accept).await;
        assert_problem(missing, StatusCode::NOT_FOUND, None).await;

        // Its effect has happened, so its reply is sent.
        assert_eq!(ask("POST", "/json", accept).await.status(), StatusCode::OK);
    }

    for (path, accept) in [
        ("/json", "application/json"),
        ("/json", "text/html,*/*;q=0.8"),
        ("/filter", "text/csv"),
    ] {
        assert_eq!(ask("GET", path, accept).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn what_the_router_refuses_is_a_problem_too() {
    assert_problem(get_path("/nothing").await, StatusCode::NOT_FOUND, None).await;
    let response = get_path("/baskets").await;
    assert_eq!(response.headers()["allow"], "POST");
    assert_problem(response, StatusCode::METHOD_NOT_ALLOWED, None).await;
}

#[tokio::test]
async fn path_and_query_of_the_wrong_form_name_the_parameter() {
    assert_problem(
        get_path("/baskets/x").await,
        StatusCode::BAD_REQUEST,
        Some("id"),
    )
    .await;

    assert_problem(
        get_path("/filter?user_id=x").await,
        StatusCode::BAD_REQUEST,
        Some("user_id"),
    )
    .await;
}

#[tokio::test]
async fn a_reply_is_kept_nowhere_unless_its_handler_allows_it() {
    let kept = async || ([("cache-control", "public, max-age=5")], "for all");
    let routes = Router::new().route("/kept", get(kept));
    let metrics = Metrics::new("test");
    let limit = Duration::from_secs(5);
    let app = application(routes, &Health::new(), &metrics, limit);

    for (path, caching) in [("/kept", "public, max-age=5"), ("/nothing", "no-store")] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let reply = app.clone().oneshot(request).await.unwrap();
        assert_eq!(reply.headers()["cache-control"], caching, "{path}");
    }

    for reply in [
        post_basket(r#"{"items":[{"quantity":2}]}"#).await,
        post_basket("{}").await,
    ] {
        assert_eq!(reply.headers()["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing() {
    let response = get_path("/panic").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body(response).await.to_string().contains("as planned"));
}

#[tokio::test]
async fn a_handler_that_does_not_answer_is_given_up_with_a_503() {
    let response = get_path("/stuck").await;
    assert!(response.headers().contains_key("retry-after"));
    assert_problem(response, StatusCode::SERVICE_UNAVAILABLE, None).await;
}

#[tokio::test]
async fn a_sensible_request_id_is_kept_and_any_other_replaced() {
    let with_id = |id: &str| {
        Request::get("/nothing")
            .header("x-request-id", id)
            .body(Body::empty())
            .unwrap()
    };

    assert_eq!(
        send(with_id("abc-1")).await.headers()["x-request-id"],
        "abc-1"
    );

    assert_ne!(send(with_id("a b")).await.headers()["x-request-id"], "a b");
    assert_eq!(
        get_path("/nothing").await.headers()["x-request-id"].len(),
        36
    );
}

#[tokio::test]
async fn readiness_follows_the_checks_and_liveness_does_not() {
    let health = Health::new();
    health.register("mysql", async || Ok::<_, String>(()));
    health.register("log", async || Err("secret address"));

    let ask = async |path: &str| {
        app(&health)
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap()
    };
    let ready = ask("/health/ready").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);

    let expected =
        json!({"status": "unavailable", "checks": {"mysql": "ok", "log": "unavailable"}});
    assert_eq!(body(ready).await, expected);
    assert_eq!(ask("/health/live").await.status(), StatusCode::OK);
    health.register("log", async || Ok::<_, String>(()));

    assert_eq!(ask("/health").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn while_something_is_awaited_at_the_start_only_health_answers() {
    let health = Health::new();
    let hold = health.hold("tables");
    let ask = async |path: &str| {
        app(&health)
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap()
    };

    assert_problem(
        ask("/baskets/1").await,
        StatusCode::SERVICE_UNAVAILABLE,
        None,
    )
    .await;

    assert_eq!(
        ask("/health/ready").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );

    assert_eq!(ask("/health/live").await.status(), StatusCode::OK);
    assert_eq!(
        ask("/metrics").await.status(),
        StatusCode::NOT_FOUND,
        "metrics are the operator's"
    );

    drop(hold);
    assert_eq!(ask("/baskets/1").await.status(), StatusCode::OK);
    assert_eq!(ask("/health/ready").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn requests_are_counted_by_matched_route() {
    let health = Health::new();
    let metrics = Metrics::new("test");
    let app = counted(&health, &metrics);

    let ask = async |app: &Router, path: &str| {
        app.clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap()
    };
    ask(&app, "/baskets/1").await;
    ask(&app, "/baskets/2").await;
    ask(&app, "/who-knows").await;

    let text = ask(&operator(&health, &metrics), "/metrics")
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();

    let line = |route: &str, status, count| {
        format!(
            r#"http_requests_total{{method="GET",route="{route}",status="{status}",service="test"}} {count}"#
        )
    };
    assert!(text.contains(&line("/baskets/{id}", 200, 2)), "{text}");
    assert!(text.contains(&line("unmatched", 404, 1)), "{text}");
}

#[tokio::test]
async fn a_query_parameter_that_is_not_described_is_refused() {
    assert_eq!(get_path("/filter?user_id=7").await.status(), StatusCode::OK);
    assert_eq!(
        get_path("/baskets/1?limit=2").await.status(),
        StatusCode::OK
    );

    for (path, field) in [
        ("/filter?user_id=7&usr_id=8", "usr_id"),
        ("/filter?user_id=7&", ""),
        ("/filter?USER_ID=7", "USER_ID"),
        ("/filter?x-trace=1", "x-trace"),
        ("/filter?a%26b", "a&b"),
        ("/baskets/1?user_id=7", "user_id"),
    ] {
        let answer = get_path(path).await;
        if field.is_empty() {
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
        } else {
            assert_problem(answer, StatusCode::BAD_REQUEST, Some(field)).await;
        }
    }
}

#[tokio::test]
async fn a_query_that_is_not_utf_8_is_refused() {
    for query in ["user_id=%F0%28", "user_id=%ff", "user_id=%C0%AF"] {
        let answer = get_path(&format!("/filter?{query}")).await;
        assert_problem(answer, StatusCode::BAD_REQUEST, None).await;
    }
}

//! The audit, with an orders service whose replies the test sets.

use std::sync::{Arc, Mutex};

use analytics::Config;
use aws_sdk_dynamodb::Client;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use events::{Timestamp, WindowSummary};
use serde_json::{Value, json};

use crate::{Running, log, publish_summaries, summary};

testbed::on_both_dynamodbs!(
    books_balance_when_every_closed_minute_was_counted_whole,
    a_lost_order_shows_in_its_minute_until_it_is_counted,
    a_minute_whose_window_is_not_known_is_open,
    a_minute_without_a_window_is_a_difference_after_the_wait,
    orders_that_cannot_be_asked_are_a_503,
    ranges_that_cannot_be_audited_are_refused,
);

/// An orders service: its replies, and the requests that it received.
#[derive(Clone)]
pub struct Orders {
    this_minute_ms: u64,
    state: Arc<Mutex<(Vec<Value>, String)>>,
    /// The status and the body of replies about sales, and the query of the last request for them.
    pub sales: Arc<Mutex<(u16, Value, String)>>,
}

impl Orders {
    pub fn none() -> Self {
        Self {
            this_minute_ms: Timestamp::now().as_ms() / 60_000 * 60_000,
            state: Arc::default(),
            sales: Arc::default(),
        }
    }

    /// Starts an analytics service that reads the orders from this service.
    pub async fn audited_by(&self, dynamodb: &Client) -> Running {
        let router = Router::new()
            .route("/orders/minutes", get(minutes))
            .route("/orders/sales", get(sales))
            .with_state(self.clone());
        let orders_url = format!("{}/", testbed::serve(router).await);

        let log = log();
        Running::start_with(
            dynamodb,
            &log,
            log.clone(),
            Config {
                orders_url,
                ..Config::default()
            },
        )
        .await
    }

    pub fn minute(&self, minutes_ago: u64) -> Timestamp {
        Timestamp::from_ms(self.this_minute_ms - minutes_ago * 60_000).unwrap()
    }

    /// Stores orders of a dollar each in the minute that began this number of minutes before the current one.
    pub fn store(&self, minutes_ago: u64, orders: u64) {
        let minute = self.minute(minutes_ago);
        let stored = json!({"id": minute.as_ms(), "minute": minute, "orders": orders,
            "totals": [{"currency": "USD", "minor_units": orders * 100}]});
        self.state.lock().unwrap().0.push(stored);
    }

    /// Returns the window of that minute, with orders of a dollar each.
    pub fn window(&self, minutes_ago: u64, orders: u64, revision: u32) -> WindowSummary {
        let window_start = self.minute(minutes_ago);
        let window_end = self.minute(minutes_ago - 1);
        WindowSummary {
            window_start,
            window_end,
            ..summary(0, &[(1, orders)], revision)
        }
    }
}

async fn minutes(State(orders): State<Orders>, RawQuery(query): RawQuery) -> Json<Value> {
    let mut state = orders.state.lock().unwrap();
    state.1 = query.unwrap_or_default();
    Json(json!({"items": state.0, "next": null}))
}

async fn sales(
    State(orders): State<Orders>,
    RawQuery(query): RawQuery,
) -> (StatusCode, Json<Value>) {
    let mut sales = orders.sales.lock().unwrap();
    sales.2 = query.unwrap_or_default();
    let status = StatusCode::from_u16(sales.0).unwrap();
    (status, Json(sales.1.clone()))
}

async fn books_balance_when_every_closed_minute_was_counted_whole(dynamodb: Client) {
    let orders = Orders::none();
    let running = orders.audited_by(&dynamodb).await;
    orders.store(3, 3);
    orders.store(2, 1);

    publish_summaries(
        &running.log,
        &[orders.window(3, 3, 0), orders.window(2, 1, 0)],
    );

    running.caught_up().await;
    let audit = running.get("/analytics/audit").await;
    assert_eq!(
        (&audit["balanced"], &audit["open_minutes"]),
        (&json!(true), &json!(0)),
        "{audit}"
    );

    let totals = json!([{"currency": "USD", "minor_units": 400}]);
    assert_eq!(
        audit["stored"],
        json!({"orders": 4, "total_cents": 400, "totals": totals})
    );
    assert_eq!(audit["counted"], audit["stored"]);
    let lines = audit["items"].as_array().unwrap();

    assert_eq!(
        lines
            .iter()
            .map(|line| &line["difference"])
            .collect::<Vec<_>>(),
        [0, 0]
    );

    assert_eq!(
        audit["closed_until"],
        audit["freshness"]["newest_window_end"]
    );

    let asked = orders.state.lock().unwrap().1.clone();
    assert_eq!(
        asked,
        format!(
            "from={}&to={}",
            audit["from"].as_str().unwrap(),
            audit["to"].as_str().unwrap()
        )
    );
    running.stop().await;
}

async fn a_lost_order_shows_in_its_minute_until_it_is_counted(dynamodb: Client) {
    let orders = Orders::none();
    let running = orders.audited_by(&dynamodb).await;
    orders.store(3, 3);
    publish_summaries(&running.log, &[orders.window(3, 2, 0)]);
    running.caught_up().await;

    let audit = running.get("/analytics/audit").await;
    assert_eq!(
        (&audit["balanced"], &audit["items"][0]["difference"]),
        (&json!(false), &json!(1)),
        "{audit}"
    );

    publish_summaries(&running.log, &[orders.window(3, 3, 1)]);
    running.caught_up().await;
    assert_eq!(
        running.get("/analytics/audit").await["balanced"],
        json!(true)
    );
    running.stop().await;
}

async fn a_minute_whose_window_is_not_known_is_open(dynamodb: Client) {
    let orders = Orders::none();
    let running = orders.audited_by(&dynamodb).await;
    orders.store(3, 2);
    orders.store(1, 5);
    publish_summaries(&running.log, &[orders.window(3, 2, 0)]);
    running.caught_up().await;

    let audit = running.get("/analytics/audit").await;
    assert_eq!(
        (&audit["balanced"], &audit["open_minutes"]),
        (&json!(true), &json!(1)),
        "{audit}"
    );

    assert_eq!(audit["stored"]["orders"], json!(2));
    assert_eq!(audit["items"][1]["is_closed"], json!(false));
    running.stop().await;
}

async fn a_minute_without_a_window_is_a_difference_after_the_wait(dynamodb: Client) {
    let orders = Orders::none();
    let running = orders.audited_by(&dynamodb).await;
    orders.store(7, 1);
    running.caught_up().await;

    let audit = running.get("/analytics/audit").await;
    assert_eq!(
        (&audit["balanced"], &audit["items"][0]["is_closed"]),
        (&json!(false), &json!(true)),
        "{audit}"
    );
    running.stop().await;
}

async fn orders_that_cannot_be_asked_are_a_503(dynamodb: Client) {
    let log = log();
    for orders_url in ["http://127.0.0.1:9".to_owned(), failing().await] {
        let running = Running::start_with(
            &dynamodb,
            &log,
            log.clone(),
            Config {
                orders_url,
                ..Config::default()
            },
        )
        .await;
        let refused = running.client.get("/analytics/audit").await;

        assert_eq!(
            (refused.status.as_u16(), refused.header("retry-after")),
            (503, "1"),
            "{}",
            refused.body
        );
        running.stop().await;
    }
}

/// Serves an orders service that fails, and returns its address.
async fn failing() -> String {
    testbed::serve(Router::new().fallback(async || StatusCode::INTERNAL_SERVER_ERROR)).await
}

async fn ranges_that_cannot_be_audited_are_refused(dynamodb: Client) {
    let running = Orders::none().audited_by(&dynamodb).await;
    let now = Timestamp::now().as_ms();
    let ago = |hours: u64| Timestamp::from_ms(now - hours * 3_600_000).unwrap();

    for (query, field) in [
        ("from=yesterday".to_owned(), "from"),
        (format!("from={}&to={}", ago(1), ago(2)), "to"),
        (format!("from={}", ago(25)), "from"),
        (
            format!("from={}&to={}", ago(31 * 24), ago(31 * 24 - 1)),
            "from",
        ),
    ] {
        let refused = running
            .client
            .get(&format!("/analytics/audit?{query}"))
            .await;
        assert_eq!(
            (refused.status.as_u16(), refused.blamed()),
            (400, field),
            "{query}: {}",
            refused.body
        );
    }
    running.stop().await;
}

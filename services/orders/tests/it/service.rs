//! The whole service, from start to stop: on a port, with its relay and an embedded log.

use std::sync::Arc;
use std::time::Duration;

use chassis::Shutdown;
use chassis::auth::Auth;
use chassis::sql::Database;
use events::ORDERS;
use orders::{Config, Parts};
use record_log::{LogSettings, RecordLog};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::catalogue::Catalogue;
use crate::databases::{SqliteFile, on_each_database};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_taken_over_http_is_in_the_log_when_the_service_has_stopped() {
    on_each_database(async |database| {
        let folder = SqliteFile::new();
        let log = record_log::open(&LogSettings::Embedded {
            folder: folder.folder().join("log"),
        })
        .unwrap();

        let catalogue = Catalogue::default();
        let lamp = catalogue.add(1999, "USD", 9);
        let config = Config {
            products_url: catalogue.serve().await,
            orders_relay_stop_limit: Duration::from_secs(60),
            ..Config::default()
        };

        add_user(&database).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();

        let parts = Parts {
            database,
            log: Arc::clone(&log),
            auth: Auth::open(),
        };
        let running = tokio::spawn(orders::run(config, parts, listener, shutdown.clone()));
        order_when_ready(&url, lamp).await;
        shutdown.request();
        running.await.unwrap().unwrap();

        assert_eq!(records(log.as_ref()), 1);
    })
    .await;
}

async fn add_user(database: &Database) {
    users::migrate(database).await.unwrap();
    let mut transaction = database.write().await.unwrap();
    let insert =
        "INSERT INTO users (id, name, email, created_at_ms) VALUES (1, 'Demo', 'demo@test.com', 0)";

    sqlx::query(insert)
        .execute(transaction.connection())
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

/// Repeats the request until the tables exist.
async fn order_when_ready(url: &str, product: Uuid) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let order = json!({"user_id": 1, "items": [{"product_id": product, "quantity": 1}]});
    loop {
        let reply = client
            .post(format!("{url}/orders"))
            .json(&order)
            .send()
            .await
            .unwrap();

        if reply.status() != 503 {
            assert_eq!(reply.status(), 201);
            assert_eq!(reply.json::<Value>().await.unwrap()["total_cents"], 1999);
            return;
        }

        tokio::task::yield_now().await;
    }
}

fn records(log: &dyn RecordLog) -> u64 {
    log.offsets(ORDERS)
        .unwrap()
        .iter()
        .map(|range| range.end - range.start)
        .sum()
}

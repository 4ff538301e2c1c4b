//! A shop for tests: the orders service with a catalogue and a user, called without a network.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use chassis::auth::Auth;
use chassis::sql::Database;
use chassis::{Health, Metrics, Shutdown, application};
use http_body_util::BodyExt;
use orders::{Config, Provider, Service, Simulated};
use serde_json::{Value, json};
use sqlx::Row;
use tower::ServiceExt;
use uuid::Uuid;

use crate::catalogue::Catalogue;

pub struct Shop {
    pub catalogue: Catalogue,
    pub database: Database,
    pub config: Config,
    pub service: Service,
    pub user_id: i64,
    app: Router,
}

/// The differences between shops.
struct Settings {
    config: Config,
    provider: Arc<dyn Provider>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Config::default(),
            provider: Arc::new(Simulated),
        }
    }
}

/// The reply to a request.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Shop {
    /// Opens a shop with empty tables, one user and no products.
    pub async fn open(database: Database) -> Self {
        let catalogue = Catalogue::default();
        let products_url = catalogue.serve().await;
        Self::open_at(database, catalogue, products_url).await
    }

    /// Opens a shop whose callers must authenticate.
    pub async fn open_enforced(database: Database, auth: &Auth) -> Self {
        let catalogue = Catalogue::default();
        let products_url = catalogue.serve().await;
        Self::build(database, catalogue, products_url, auth, Settings::default()).await
    }

    /// Opens a shop with these settings.
    pub async fn open_with(database: Database, set: impl Fn(&mut Config)) -> Self {
        let mut config = Config::default();
        set(&mut config);
        let settings = Settings {
            config,
            ..Settings::default()
        };
        Self::open_set(database, settings).await
    }

    /// Opens a shop with this payment provider.
    pub async fn open_paying(database: Database, provider: Arc<dyn Provider>) -> Self {
        let settings = Settings {
            provider,
            ..Settings::default()
        };
        Self::open_set(database, settings).await
    }

    async fn open_set(database: Database, settings: Settings) -> Self {
        let catalogue = Catalogue::default();
        let products_url = catalogue.serve().await;
        Self::build(database, catalogue, products_url, &Auth::open(), settings).await
    }

    /// Opens a shop whose products service has this address.
    pub async fn open_at(database: Database, catalogue: Catalogue, products_url: String) -> Self {
        let settings = Settings::default();
        Self::build(database, catalogue, products_url, &Auth::open(), settings).await
    }

    async fn build(
        database: Database,
        catalogue: Catalogue,
        products_url: String,
        auth: &Auth,
        settings: Settings,
    ) -> Self {
        users::migrate(&database).await.unwrap();
        orders::migrate(&database).await.unwrap();
        let config = Config {
            products_url,
            orders_relay_lease: Duration::from_millis(300),
            orders_relay_stop_limit: Duration::from_secs(60),
            ..settings.config
        };
        let service = Service::with_provider(&config, &database, auth, settings.provider).unwrap();
        let health = Health::new();

        let app = application(
            service.router.clone(),
            &health,
            &Metrics::new("orders"),
            Duration::from_secs(30),
        );

        let mut shop = Self {
            catalogue,
            database,
            config,
            service,
            user_id: 0,
            app,
        };
        shop.user_id = shop.add_user("demo@test.com").await;

        shop
    }

    pub fn router(&self) -> &Router {
        &self.app
    }

    pub async fn add_user(&self, email: &str) -> i64 {
        let mut transaction = self.database.write().await.unwrap();
        let insert =
            sqlx::query("INSERT INTO users (name, email, created_at_ms) VALUES ('Demo', ?, 0)")
                .bind(email);
        let inserted = insert.execute(transaction.connection()).await.unwrap();
        let id = transaction.inserted_id(&inserted).await.unwrap();
        transaction.commit().await.unwrap();

        id
    }

    pub async fn count(&self, table: &'static str) -> i64 {
        let query = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        sqlx::query(query)
            .fetch_one(self.database.pool())
            .await
            .unwrap()
            .get(0)
    }

    pub async fn send(&self, request: axum::http::request::Builder, body: Option<Value>) -> Reply {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = request
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();

        Reply {
            status: head.status,
            headers: head.headers,
            text,
        }
    }

    /// Sends a request with this access token.
    pub async fn send_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Reply {
        let request = Request::builder().method(method).uri(path);
        self.send(
            request.header("authorization", format!("Bearer {token}")),
            body,
        )
        .await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path), None).await
    }

    pub async fn post(&self, body: Value) -> Reply {
        self.send(Request::post("/orders"), Some(body)).await
    }

    pub async fn post_with_key(&self, key: &str, body: Value) -> Reply {
        self.send(
            Request::post("/orders").header("idempotency-key", key),
            Some(body),
        )
        .await
    }

    pub async fn set_status(&self, id: i64, status: &str) -> Reply {
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("/orders/{id}"));
        self.send(request, Some(json!({ "status": status }))).await
    }

    /// Returns the body of an order of the shop's user.
    pub fn order(&self, items: &[(Uuid, i64)]) -> Value {
        let items: Vec<_> = items
            .iter()
            .map(|(id, quantity)| json!({"product_id": id, "quantity": quantity}))
            .collect();
        json!({"user_id": self.user_id, "items": items})
    }

    /// Releases stock until no claim is left.
    pub async fn return_stock(&self) {
        self.return_stock_but(0).await;
    }

    /// Releases stock until this number of claims is left.
    pub async fn return_stock_but(&self, left: i64) {
        let shutdown = Shutdown::new();
        let until_done = async {
            while self.count("stock_claims").await > left {
                tokio::task::yield_now().await;
            }
            shutdown.request();
        };
        let work = async { tokio::join!(self.service.return_stock(&shutdown), until_done) };
        tokio::time::timeout(Duration::from_secs(30), work)
            .await
            .unwrap();
    }
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Returns the id of the placed order.
    pub fn id(&self) -> i64 {
        assert_eq!(self.status, StatusCode::CREATED, "{}", self.text);
        self.json()["id"].as_i64().unwrap()
    }

    /// Asserts that it is a problem document with this status and field.
    pub fn assert_problem(&self, status: u16, field: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(
            self.json().get("field").and_then(Value::as_str),
            field,
            "{}",
            self.text
        );
    }
}

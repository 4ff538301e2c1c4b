//! A customer of the platform: the part of its REST API that the checks use, through the gateway.

use std::time::Duration;

use events::WindowCount;
use reqwest::blocking::{Client, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

/// The initial stock of each product on sale.
pub const STOCK: u64 = 1_000_000;

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// There was no answer, or one that the contract does not allow.
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    /// It was rejected.
    #[error("{path} answered {status}: {body}")]
    Refused {
        /// The path of the request.
        path: String,
        /// The status.
        status: u16,
        /// The body of the answer.
        body: String,
    },
}

/// The platform behind one address.
#[derive(Clone, Debug)]
pub struct Shop {
    base: String,
    client: Client,
}

/// An order that the platform acknowledged.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Order {
    /// Its id.
    pub id: u64,
    /// The user who ordered.
    pub user_id: u64,
    /// Its total.
    pub total_cents: u64,
}

/// A message to a customer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Notification {
    /// The id of its event.
    pub id: Uuid,
    /// The recipient.
    pub user_id: u64,
    /// The order.
    pub order_id: u64,
}

/// The platform's own audit of its books.
#[derive(Clone, Debug, Deserialize)]
pub struct Audit {
    /// `true` if no closed minute has a difference.
    pub balanced: bool,
    /// Minutes with orders that are not closed yet.
    pub open_minutes: usize,
    /// The sum of the closed minutes in SQL.
    pub stored: Value,
    /// The same, as counted by the stream job.
    pub counted: Value,
}

#[derive(Deserialize)]
struct Created<T> {
    id: T,
}

#[derive(Deserialize)]
struct Product {
    stock: u64,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl Shop {
    /// Returns a client of the gateway at `base`, such as `http://127.0.0.1:5000`.
    ///
    /// # Errors
    /// If the system has no random numbers or certificates.
    pub fn at(base: impl Into<String>) -> Result<Self, ShopError> {
        let client = Client::builder()
            .timeout(Duration::from_secs(10))
            .no_proxy()
            .build()?;
        Ok(Self {
            base: base.into(),
            client,
        })
    }

    /// Returns `true` if the gateway and everything behind it is healthy.
    pub fn is_healthy(&self) -> bool {
        self.get::<Value>("/health")
            .is_ok_and(|health| health["status"] == "ok")
    }

    /// Returns `true` if the gateway forwards requests to an orders service that answers.
    pub fn shows_orders(&self) -> bool {
        self.get::<Value>("/api/orders?limit=1").is_ok()
    }

    /// Signs a user up and returns the id.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn sign_up(&self, name: &str, email: &str) -> Result<u64, ShopError> {
        let created: Created<u64> =
            self.post("/api/users", &json!({ "name": name, "email": email }))?;
        Ok(created.id)
    }

    /// Puts a product on sale and returns its id.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn sell(&self, name: &str, price_cents: u64) -> Result<String, ShopError> {
        let product = json!({ "name": name, "price_cents": price_cents, "stock": STOCK });
        let created: Created<String> = self.post("/api/products", &product)?;
        Ok(created.id)
    }

    /// Places an order.
    ///
    /// # Errors
    /// [`ShopError`]: the order is not acknowledged, and may be stored or not.
    pub fn order(&self, user_id: u64, product_id: &str, quantity: u32) -> Result<Order, ShopError> {
        let items = json!([{ "product_id": product_id, "quantity": quantity }]);
        self.post(
            "/api/orders",
            &json!({ "user_id": user_id, "items": items }),
        )
    }

    /// Places an order under an idempotency key: a second request with the same key is the same
    /// order.
    ///
    /// # Errors
    /// [`ShopError`]: the order is not acknowledged, and may be stored or not.
    pub fn order_once(
        &self,
        key: Uuid,
        user_id: u64,
        product_id: &str,
        quantity: u32,
    ) -> Result<Order, ShopError> {
        let path = "/api/orders";
        let items = json!([{ "product_id": product_id, "quantity": quantity }]);
        let request = self
            .client
            .post(format!("{}{path}", self.base))
            .header("idempotency-key", key.to_string());

        answer(
            path,
            request.json(&json!({ "user_id": user_id, "items": items })),
        )
    }

    /// Returns all orders.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn orders(&self) -> Result<Vec<Order>, ShopError> {
        self.pages("/api/orders")
    }

    /// Returns the counts of the last windows.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn recent(&self) -> Result<Vec<WindowCount>, ShopError> {
        self.pages("/api/analytics/recent")
    }

    /// Returns all messages to customers.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn notifications(&self) -> Result<Vec<Notification>, ShopError> {
        self.pages("/api/notifications")
    }

    /// Returns the stock of a product.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn stock(&self, product_id: &str) -> Result<u64, ShopError> {
        let product: Product = self.get(&format!("/api/products/{product_id}"))?;
        Ok(product.stock)
    }

    /// Uploads a file and returns its id.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn upload(&self, name: &str, content: &'static str) -> Result<String, ShopError> {
        let path = format!("/api/files?name={name}");
        let created: Created<String> = answer(
            &path,
            self.client
                .post(format!("{}{path}", self.base))
                .body(content),
        )?;
        Ok(created.id)
    }

    /// Returns the metadata of a file.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn file(&self, id: &str) -> Result<Value, ShopError> {
        self.get(&format!("/api/files/{id}"))
    }

    /// Returns the audit: orders in SQL against orders counted, minute by minute.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn audit(&self) -> Result<Audit, ShopError> {
        self.get("/api/analytics/audit")
    }

    fn pages<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ShopError> {
        let mut items = Vec::new();
        let mut query = "?limit=100".to_owned();
        loop {
            let page: Page<T> = self.get(&format!("{path}{query}"))?;
            items.extend(page.items);
            let Some(next) = page.next else {
                return Ok(items);
            };
            query = format!("?limit=100&cursor={next}");
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ShopError> {
        answer(path, self.client.get(format!("{}{path}", self.base)))
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, ShopError> {
        answer(
            path,
            self.client.post(format!("{}{path}", self.base)).json(body),
        )
    }
}

fn answer<T: DeserializeOwned>(path: &str, request: RequestBuilder) -> Result<T, ShopError> {
    let answer = request.send()?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.json()?);
    }

    Err(ShopError::Refused {
        path: path.to_owned(),
        status: status.as_u16(),
        body: answer.text()?,
    })
}

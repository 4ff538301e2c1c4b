//! A platform with authentication on, which tests share, and its clients.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use reqwest::blocking::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform::{PATIENCE, Platform};

pub const ADMIN: &str = "admin@test.com";
pub const PASSWORD: &str = "correct horse";
/// Number of requests that an account, or an address without one, may send at once.
pub const BURST: usize = 60;

const ARGUMENTS: [&str; 19] = [
    "--ephemeral",
    "--auth",
    "enforced",
    "--users-admin-email",
    ADMIN,
    "--users-admin-password",
    PASSWORD,
    "--demo",
    "false",
    "--gateway-account-rate-limit",
    "5",
    "--gateway-account-rate-burst",
    "60",
    "--gateway-trusted-proxies",
    "127.0.0.0/8",
    "--gateway-allowed-origins",
    "https://shop.example",
    "--log",
    "debug",
];

/// Texts that a log contains only if it contains a secret: beginnings of tokens, hashed passwords and cookies.
const OF_SECRETS: [&str; 5] = [
    "eyJ",
    "$argon2",
    "tidemark_refresh=",
    "tidemark_device=",
    "Bearer ",
];
/// Fields of requests and replies whose values are secret.
const SECRET_FIELDS: [&str; 6] = [
    "password",
    "current_password",
    "new_password",
    "access_token",
    "refresh_token",
    "token",
];

/// The platform of the tests that run at the same time. The first test starts it, and it ends with the last one.
pub struct Shop {
    platform: Platform,
    visitors: AtomicU16,
    log: TestLog,
    /// The secrets that clients sent and received.
    secrets: Mutex<BTreeSet<String>>,
}

/// The file of the platform's log; it is removed when this is dropped.
struct TestLog(PathBuf);

/// A client with its own address, perhaps logged in.
pub struct Visitor {
    shop: Arc<Shop>,
    address: String,
    token: Option<String>,
    /// The id of the account, or 0 if the visitor has none.
    pub id: i64,
    /// The e-mail address of the account.
    pub email: String,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

pub fn shop() -> Arc<Shop> {
    static RUNNING: Mutex<Weak<Shop>> = Mutex::new(Weak::new());

    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shop) = running.upgrade() {
        return shop;
    }

    let log = TestLog::new();
    let platform = Platform::start_writing(&ARGUMENTS, log.create().into());
    platform.wait_until_healthy();
    let shop = Arc::new(Shop {
        platform,
        visitors: AtomicU16::new(1),
        log,
        secrets: Mutex::default(),
    });
    *running = Arc::downgrade(&shop);

    shop
}

impl Shop {
    /// Returns a client without an account, with an address of its own.
    pub fn stranger(self: &Arc<Self>) -> Visitor {
        let number = self.visitors.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.0.{}.{}", number / 256, number % 256);
        Visitor {
            shop: Arc::clone(self),
            address,
            token: None,
            id: 0,
            email: format!("visitor{number}@test.com"),
        }
    }

    /// Returns a client that has just signed up and logged in.
    pub fn customer(self: &Arc<Self>) -> Visitor {
        let mut visitor = self.stranger();
        let new = json!({"name": "Demo User", "email": visitor.email, "password": PASSWORD});
        let created = visitor.post("/api/users", new).expect(201);
        visitor.id = created["id"].as_i64().unwrap();
        visitor.logged_in(PASSWORD)
    }

    /// Returns a client that has logged in as the admin.
    pub fn admin(self: &Arc<Self>) -> Visitor {
        Visitor {
            email: ADMIN.to_owned(),
            ..self.stranger()
        }
        .logged_in(PASSWORD)
    }

    /// Creates a product with this stock, and returns its id.
    pub fn product(self: &Arc<Self>, stock: u64) -> String {
        let new = json!({"name": "Lamp", "price_cents": 1999, "stock": stock});
        self.admin().post("/api/products", new).expect(201)["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Notes the secrets in a body.
    fn note_secrets(&self, body: &Value) {
        let found = SECRET_FIELDS
            .iter()
            .filter_map(|field| body.get(field)?.as_str());
        let long = found.filter(|secret| secret.len() >= 8).map(str::to_owned);
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.extend(long);
    }

    /// Returns the address of a service itself, without the gateway.
    pub fn service(&self, name: &str) -> &str {
        self.platform.url_of(name)
    }
}

impl Drop for Shop {
    /// Checks that the log contains refusals or log-ins, and no secret.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }

        let log = self.log.read();
        assert!(
            log.contains("request_refused") || log.contains("logged_in"),
            "the security log is empty"
        );

        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let secrets = secrets.iter().map(String::as_str);
        for secret in OF_SECRETS.into_iter().chain(secrets) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in the log");
        }
    }
}

impl TestLog {
    fn new() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self(folder.join(format!("owasp-{}.log", Uuid::new_v4())))
    }

    fn create(&self) -> File {
        File::create(&self.0).unwrap()
    }

    fn read(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.0).unwrap()).into_owned()
    }
}

impl Drop for TestLog {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("the log of the platform stays: {error}");
        }
    }
}

impl Visitor {
    /// Logs in to the account; the answer contains its tokens.
    pub fn log_in(&self, password: &str) -> Answer {
        self.post(
            "/api/users/login",
            json!({"email": self.email, "password": password}),
        )
    }

    fn logged_in(self, password: &str) -> Self {
        let tokens = self.log_in(password).expect(200);
        Self {
            token: tokens["access_token"].as_str().map(str::to_owned),
            ..self
        }
    }

    /// Returns the same visitor, who sends this token.
    pub fn showing(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    /// Changes the address of the visitor's requests.
    pub fn move_on(&mut self) {
        self.address = self.shop.stranger().address;
    }

    /// Returns a request to a path at the gateway, or to a complete URL.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            self.shop.platform.url(path)
        };

        let request = self
            .shop
            .platform
            .client
            .request(method.parse().unwrap(), url);
        let request = request.header("x-forwarded-for", &self.address);

        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "tests write the body in place"
    )]
    pub fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.shop.note_secrets(&body);
        let answer = Answer::to(self.request(method, path).json(&body));
        self.shop
            .note_secrets(&serde_json::from_str(&answer.text).unwrap_or_default());
        answer
    }

    pub fn get(&self, path: &str) -> Answer {
        Answer::to(self.request("GET", path))
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body)
    }

    /// Orders this quantity of a product.
    pub fn order(&self, product: &str, quantity: u64) -> Answer {
        let items = json!([{"product_id": product, "quantity": quantity}]);
        self.post("/api/orders", json!({"user_id": self.id, "items": items}))
    }

    /// Repeats the request until the answer is as wanted, and returns it.
    pub fn get_until(&self, path: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path);
            if answer.status == 200 && is_wanted(&answer.json()) {
                return answer.json();
            }

            assert!(Instant::now() < deadline, "{path} still returns {answer:?}");
            // The account may send five requests a second.
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

impl Answer {
    pub fn to(request: RequestBuilder) -> Self {
        let answer = request.send().unwrap();
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();

        Self {
            status,
            headers,
            text: answer.text().unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the status, and returns the body.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

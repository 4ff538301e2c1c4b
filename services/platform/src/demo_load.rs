//! Simulated customers, for a demonstration: they sign up, order at random, pay, and refill products
//! that run low.
//!
//! They use the API as browsers do, through the gateway. After a restart the same accounts are used:
//! they are recognised by their e-mail addresses. A request that fails is logged, and the next customer
//! tries again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chassis::auth::{Auth, AuthMode};
use chassis::{Peer, Shutdown, in_one_line};
use clap::Args;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The names of the simulated customers.
const NAMES: [&str; 12] = [
    "Ada",
    "Barbara",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Jean",
    "John",
    "Katherine",
    "Leslie",
    "Margaret",
    "Tony",
];
/// The domain of their e-mail addresses. RFC 2606 reserves it, so no mail is delivered.
const DOMAIN: &str = "demo.example";
/// Time limit of one request.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// The wait after a request that failed.
const AFTER_A_FAILURE: Duration = Duration::from_millis(500);
/// The time for the services to start; failures after it are logged as warnings.
const STARTING: Duration = Duration::from_secs(10);
/// The most products in one order.
const MOST_PRODUCTS: usize = 3;
/// The most pieces of one product in an order.
const MOST_PIECES: usize = 2;
/// Below this stock a product is refilled.
const LOW_STOCK: i64 = 10;
/// The stock to which it is refilled.
const FULL_STOCK: i64 = 200;

/// The settings of the simulated customers.
#[derive(Args, Clone, Debug, Default)]
pub struct DemoLoad {
    /// Orders a minute that simulated customers place; 0 for none. They refill products that run low.
    /// Needs `--auth open`.
    #[arg(long, env = "TIDEMARK_DEMO_LOAD", value_name = "ORDERS", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(..=6_000))]
    pub demo_load: u32,
}

/// The error if simulated customers are wanted but callers must authenticate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "--demo-load needs --auth open: simulated customers have no passwords and refill the catalogue without an account"
)]
pub struct NeedsOpenAccess;

/// The reason why a simulated customer did not order.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{}", in_one_line(.0))]
    Away(#[from] reqwest::Error),
    #[error("{method} {path} was answered with {status}: {detail}")]
    Refused {
        method: Method,
        path: String,
        status: StatusCode,
        detail: String,
    },
    #[error("the catalogue has no product to order")]
    NothingToOrder,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: i64,
    email: String,
}

#[derive(Clone, Deserialize)]
struct Product {
    id: Uuid,
    currency: String,
    stock: Option<i64>,
}

#[derive(Serialize)]
struct NewUser {
    name: &'static str,
    email: String,
}

/// An order that was placed.
#[derive(Deserialize)]
struct Placed {
    id: i64,
}

/// A card of the simulated payment provider.
#[derive(Serialize)]
struct Card {
    token: &'static str,
}

#[derive(Serialize)]
struct NewOrder {
    user_id: i64,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    product_id: Uuid,
    quantity: usize,
}

#[derive(Serialize)]
struct Refill {
    stock: i64,
}

/// The shop, as a customer reaches it.
struct Shop {
    peer: Peer,
}

impl DemoLoad {
    /// Returns the settings if simulated customers are wanted and possible.
    ///
    /// # Errors
    /// [`NeedsOpenAccess`].
    pub fn wanted(self, access: AuthMode) -> Result<Option<Self>, NeedsOpenAccess> {
        match (self.demo_load, access) {
            (0, _) => Ok(None),
            (_, AuthMode::Open) => Ok(Some(self)),
            (_, AuthMode::Enforced) => Err(NeedsOpenAccess),
        }
    }

    /// Returns a pause that gives the rate on average.
    fn pause(&self) -> Duration {
        let mean = Duration::from_secs(60) / self.demo_load.max(1);
        // From half to one and a half times the mean, so that orders do not come at regular intervals.
        mean.mul_f64(0.5 + below(1_000) as f64 / 1_000.0)
    }
}

/// Orders at the rate of the settings until a shutdown is requested. `gateway` is the gateway's
/// address.
///
/// # Errors
/// When the HTTP client cannot be created on this system.
pub async fn run(
    settings: DemoLoad,
    gateway: String,
    shutdown: Shutdown,
) -> Result<(), reqwest::Error> {
    let shop = Shop {
        peer: Peer::new(&format!("{gateway}/api"), Auth::open(), CALL_LIMIT)?,
    };
    let mut customers = HashMap::new();
    let begun = Instant::now();
    let mut next = begun;

    while !shutdown.is_requested() {
        let wait = match shop.one_order(&mut customers).await {
            // The time that the order took is part of the pause. A delay of more than one pause is not
            // made up for.
            Ok(()) => {
                let pause = settings.pause();
                let now = Instant::now();
                next = (next + pause).max(now.checked_sub(pause).unwrap_or(now));
                next.saturating_duration_since(now)
            }
            Err(_) if begun.elapsed() < STARTING => AFTER_A_FAILURE,
            Err(error) => {
                tracing::warn!(%error, "a simulated customer could not order");
                AFTER_A_FAILURE
            }
        };

        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.requested() => {}
        }
    }

    Ok(())
}

impl Shop {
    /// Places and pays one order of some products of one currency. The customer signs up if needed.
    async fn one_order(&self, customers: &mut HashMap<String, i64>) -> Result<(), DemoError> {
        if customers.is_empty() {
            *customers = self.known_customers().await?;
        }

        let user_id = self.customer(customers).await?;
        let basket = self.basket().await?;
        for product in basket.iter().filter(|product| is_low(product)) {
            self.refill(product.id).await?;
        }

        let item = |product: Product| Item {
            product_id: product.id,
            quantity: 1 + below(MOST_PIECES),
        };
        let order = NewOrder {
            user_id,
            items: basket.into_iter().map(item).collect(),
        };
        let order: Placed = self
            .send(Method::POST, "/orders", &order)
            .await?
            .json()
            .await?;

        let card = Card {
            token: "sim-approve",
        };
        let path = format!("/orders/{}/payments", order.id);
        self.send(Method::POST, &path, &card).await.map(drop)
    }

    /// Returns the simulated customers of earlier starts.
    async fn known_customers(&self) -> Result<HashMap<String, i64>, DemoError> {
        let mut known = HashMap::new();
        let mut path = "/users?limit=100".to_owned();
        loop {
            let page: Page<User> = self.get(&path).await?;
            let ours = page.items.into_iter().filter(|user| {
                user.email
                    .rsplit_once('@')
                    .is_some_and(|(_, domain)| domain == DOMAIN)
            });
            known.extend(ours.map(|user| (user.email, user.id)));

            match page.next {
                Some(cursor) if known.len() < NAMES.len() => {
                    path = format!("/users?limit=100&cursor={cursor}");
                }
                _ => return Ok(known),
            }
        }
    }

    /// Draws a customer.
    async fn customer(&self, customers: &mut HashMap<String, i64>) -> Result<i64, DemoError> {
        let name = NAMES[below(NAMES.len())];
        let email = format!("{}@{DOMAIN}", name.to_lowercase());
        if let Some(id) = customers.get(&email) {
            return Ok(*id);
        }

        let new = NewUser {
            name,
            email: email.clone(),
        };
        let user: User = self
            .send(Method::POST, "/users", &new)
            .await?
            .json()
            .await?;
        customers.insert(email, user.id);

        Ok(user.id)
    }

    /// Draws some products of one currency.
    async fn basket(&self) -> Result<Vec<Product>, DemoError> {
        let page: Page<Product> = self.get("/products?limit=100").await?;
        let mut products = page.items;
        if products.is_empty() {
            return Err(DemoError::NothingToOrder);
        }

        let first = products.swap_remove(below(products.len()));
        products.retain(|product| product.currency == first.currency);

        let mut basket = vec![first];
        for _ in 0..below(MOST_PRODUCTS) {
            if products.is_empty() {
                break;
            }
            basket.push(products.swap_remove(below(products.len())));
        }

        Ok(basket)
    }

    async fn refill(&self, product: Uuid) -> Result<(), DemoError> {
        let refill = Refill { stock: FULL_STOCK };
        self.send(Method::PATCH, &format!("/products/{product}"), &refill)
            .await
            .map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DemoError> {
        let request = self.peer.request(Method::GET, path);
        let answer = self.peer.send(request).await?;
        Ok(accepted(Method::GET, path, answer).await?.json().await?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<reqwest::Response, DemoError> {
        let request = self.peer.request(method.clone(), path).json(body);
        let answer = self.peer.send(request).await?;
        accepted(method, path, answer).await
    }
}

/// Returns the answer if it is a success.
async fn accepted(
    method: Method,
    path: &str,
    answer: reqwest::Response,
) -> Result<reqwest::Response, DemoError> {
    if answer.status().is_success() {
        return Ok(answer);
    }

    Err(DemoError::Refused {
        method,
        path: path.to_owned(),
        status: answer.status(),
        detail: answer.text().await.unwrap_or_default(),
    })
}

fn is_low(product: &Product) -> bool {
    product.stock.is_some_and(|stock| stock < LOW_STOCK)
}

/// Draws a number below `end`.
fn below(end: usize) -> usize {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    usize::try_from(random % end as u64).expect("it is less than a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_customers_need_open_access() {
        let wanted = |orders, access| {
            DemoLoad { demo_load: orders }
                .wanted(access)
                .map(|load| load.is_some())
        };

        assert_eq!(wanted(0, AuthMode::Open), Ok(false));
        assert_eq!(wanted(0, AuthMode::Enforced), Ok(false));
        assert_eq!(wanted(20, AuthMode::Open), Ok(true));
        assert_eq!(wanted(20, AuthMode::Enforced), Err(NeedsOpenAccess));
    }

    #[test]
    fn the_pauses_give_the_rate_on_average() {
        let load = DemoLoad { demo_load: 60 };
        let total: Duration = (0..10_000).map(|_| load.pause()).sum();
        let mean = total.as_secs_f64() / 10_000.0;
        assert!((0.98..1.02).contains(&mean), "{mean}");
    }
}

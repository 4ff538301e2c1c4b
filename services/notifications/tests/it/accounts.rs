//! A users service with the users that a test gives it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Users by id, and the number of requests for each.
#[derive(Clone, Default)]
pub struct Accounts(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    users: HashMap<u64, Value>,
    asked: usize,
    is_away: bool,
    mail: Vec<Value>,
    settled: Vec<String>,
}

impl Accounts {
    /// Users 1 to 50, with an e-mail address and a telephone number each.
    pub fn of_fifty() -> Self {
        let accounts = Self::default();
        (1..=50).for_each(|id| accounts.set(id, Some(&format!("+4912345{id:05}"))));
        accounts
    }

    pub fn set(&self, id: u64, phone: Option<&str>) {
        let email = format!("user{id}@test.com");
        let user = json!({
            "id": id, "name": "Ada", "email": email, "verified_email": email, "phone": phone,
        });
        self.0.lock().unwrap().users.insert(id, user);
    }

    /// Forgets that the user has confirmed an e-mail address.
    pub fn unconfirm(&self, id: u64) {
        let mut known = self.0.lock().unwrap();
        known.users.get_mut(&id).unwrap()["verified_email"] = Value::Null;
    }

    /// Lets mail about accounts wait.
    pub fn put_mail(&self, mail: Value) {
        self.0.lock().unwrap().mail.push(mail);
    }

    /// The mails that were settled. All others are handed over again.
    pub fn settled(&self) -> Vec<String> {
        self.0.lock().unwrap().settled.clone()
    }

    pub fn remove(&self, id: u64) {
        self.0.lock().unwrap().users.remove(&id);
    }

    pub fn set_away(&self, is_away: bool) {
        self.0.lock().unwrap().is_away = is_away;
    }

    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    /// Serves on a port of its own; the address is its base.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/users/{id}", get(show))
            .route("/account-mail/take", post(take))
            .route("/account-mail/{id}/settled", post(settle))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });

        url
    }
}

async fn show(State(accounts): State<Accounts>, Path(id): Path<u64>) -> Response {
    let mut known = accounts.0.lock().unwrap();
    known.asked += 1;
    match known.users.get(&id) {
        _ if known.is_away => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(user) => Json(user.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn take(State(accounts): State<Accounts>) -> Response {
    let known = accounts.0.lock().unwrap();
    if known.is_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }

    let is_open = |mail: &&Value| !known.settled.iter().any(|id| mail["id"] == id.as_str());
    let items: Vec<&Value> = known.mail.iter().filter(is_open).collect();
    Json(json!({ "items": items })).into_response()
}

async fn settle(State(accounts): State<Accounts>, Path(id): Path<String>) -> StatusCode {
    accounts.0.lock().unwrap().settled.push(id);
    StatusCode::NO_CONTENT
}

//! A users service with the users that a test adds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// The users by id, the number of requests for them, and the mail about accounts.
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
    /// Returns users 1 to 50, each with a confirmed e-mail address and a phone number.
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

    /// Removes the confirmation of the user's e-mail address.
    pub fn unconfirm(&self, id: u64) {
        let mut known = self.0.lock().unwrap();
        known.users.get_mut(&id).unwrap()["verified_email"] = Value::Null;
    }

    /// Adds a mail about an account.
    pub fn put_mail(&self, mail: Value) {
        self.0.lock().unwrap().mail.push(mail);
    }

    /// Returns the ids of the mails that were settled. All others are handed over again.
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

    /// Serves on a port of its own, and returns the base address.
    pub async fn serve(&self) -> String {
        let router = Router::new()
            .route("/users/{id}", get(show))
            .route("/account-mail/take", post(take))
            .route("/account-mail/{id}/settled", post(settle))
            .with_state(self.clone());

        testbed::serve(router).await
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
